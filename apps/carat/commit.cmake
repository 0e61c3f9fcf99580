# SPDX-License-Identifier: Apache-2.0
# Writes OUT, a header with the commit of the tree SOURCE, when that has changed.
cmake_minimum_required(VERSION 3.25)
set(COMMIT unknown)
find_program(GIT git)
if(GIT)
  execute_process(COMMAND ${GIT} -C ${SOURCE} describe --always --dirty --abbrev=12 --exclude=*
                  OUTPUT_VARIABLE FOUND OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET
                  RESULT_VARIABLE STATUS)
  if(STATUS EQUAL 0)
    set(COMMIT ${FOUND})
  endif()
endif()
file(CONFIGURE OUTPUT ${OUT} CONTENT "#define CARAT_COMMIT \"@COMMIT@\"\n" @ONLY)
