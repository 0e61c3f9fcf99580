# SPDX-License-Identifier: Apache-2.0
# carat_module(NAME DEPS...): one static library per folder of src/, made of its *.cc files, and one
# GoogleTest program NAME_test made of its *_test.cc files.

include(${CMAKE_CURRENT_LIST_DIR}/dependencies.cmake)

add_library(carat_options INTERFACE)
target_include_directories(carat_options INTERFACE ${PROJECT_SOURCE_DIR}/src
                                                   ${PROJECT_SOURCE_DIR}/include)
target_compile_options(carat_options INTERFACE -Wall -Wextra -Wshadow -fno-math-errno
                                               -ffp-contract=off)
if(CARAT_WERROR)
  target_compile_options(carat_options INTERFACE -Werror)
endif()
if(CARAT_SANITIZE)
  target_compile_options(carat_options INTERFACE -fsanitize=${CARAT_SANITIZE}
                         -fno-omit-frame-pointer -g1)
  target_link_options(carat_options INTERFACE -fsanitize=${CARAT_SANITIZE})
endif()
target_link_libraries(carat_options INTERFACE fmt::fmt Threads::Threads)

function(carat_module NAME)
  file(GLOB_RECURSE SRCS CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${NAME}/*.cc)
  if(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    list(FILTER SRCS EXCLUDE REGEX "/x86/")
  endif()
  set(TESTS ${SRCS})
  list(FILTER SRCS EXCLUDE REGEX "_test\\.cc$")
  list(FILTER TESTS INCLUDE REGEX "_test\\.cc$")
  if(NOT SRCS)
    return()
  endif()
  add_library(carat_${NAME} STATIC ${SRCS})
  target_link_libraries(carat_${NAME} PUBLIC carat_options)
  foreach(DEP IN LISTS ARGN)
    target_link_libraries(carat_${NAME} PUBLIC carat_${DEP})
  endforeach()
  if(CARAT_TESTS AND TESTS)
    add_executable(${NAME}_test ${TESTS})
    target_link_libraries(${NAME}_test PRIVATE carat_${NAME} GTest::gtest GTest::gmock GTest::gtest_main)
    target_compile_definitions(${NAME}_test PRIVATE
                               CARAT_TEST_DATA="${PROJECT_SOURCE_DIR}/tests")
    add_test(NAME ${NAME}_test COMMAND ${NAME}_test)
    set_tests_properties(${NAME}_test PROPERTIES LABELS unit)
  endif()
endfunction()
