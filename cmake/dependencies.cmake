# SPDX-License-Identifier: Apache-2.0
# The third-party targets that every module may use: fmt::fmt, nlohmann_json::nlohmann_json,
# GTest::gtest, GTest::gmock and GTest::gtest_main (the last three only with CARAT_TESTS).

find_package(Threads REQUIRED)

if(NOT CMAKE_CROSSCOMPILING)
  find_package(fmt REQUIRED)
  find_package(nlohmann_json REQUIRED)
  if(CARAT_TESTS)
    find_package(GTest REQUIRED)
  endif()
  return()
endif()

# Cross builds use no packages of the foreign architecture: the libraries' headers are enough, and
# GoogleTest is built from its source package. The compiler must not see the host's whole include
# folder, so the few headers are linked into a folder of the build tree.
set(CROSS_HEADERS ${CMAKE_BINARY_DIR}/third_party)
file(MAKE_DIRECTORY ${CROSS_HEADERS})
foreach(FOLDER fmt nlohmann tl CLI)
  file(CREATE_LINK /usr/include/${FOLDER} ${CROSS_HEADERS}/${FOLDER} SYMBOLIC)
endforeach()
set(CLI11_INCLUDE_DIR ${CROSS_HEADERS})
add_library(carat_cross_headers INTERFACE)
target_include_directories(carat_cross_headers SYSTEM INTERFACE ${CROSS_HEADERS})

add_library(carat_cross_fmt INTERFACE)
target_compile_definitions(carat_cross_fmt INTERFACE FMT_HEADER_ONLY=1)
target_link_libraries(carat_cross_fmt INTERFACE carat_cross_headers)
add_library(fmt::fmt ALIAS carat_cross_fmt)
add_library(nlohmann_json::nlohmann_json ALIAS carat_cross_headers)

if(CARAT_TESTS)
  add_subdirectory(/usr/src/googletest ${CMAKE_BINARY_DIR}/googletest EXCLUDE_FROM_ALL)
  foreach(NAME gtest gmock gtest_main)
    if(NOT TARGET GTest::${NAME})
      add_library(GTest::${NAME} ALIAS ${NAME})
    endif()
  endforeach()
endif()
