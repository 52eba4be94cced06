# How every target of Meridian is compiled, and the helpers that declare one.

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()
# Checks stay on in every build: a broken invariant must stop the process, not the night.
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g")

set(MERIDIAN_SANITIZE "" CACHE STRING "address,undefined or thread; empty for none")
option(MERIDIAN_FUZZ "build the libFuzzer targets (clang only)" OFF)
if(MERIDIAN_SANITIZE MATCHES "thread" AND MERIDIAN_SANITIZE MATCHES "address")
  message(FATAL_ERROR "MERIDIAN_SANITIZE: thread and address exclude each other; choose one")
endif()

add_library(mer_flags INTERFACE)
target_include_directories(mer_flags INTERFACE "${CMAKE_SOURCE_DIR}" "${CMAKE_BINARY_DIR}/generated")
target_compile_definitions(mer_flags INTERFACE _GNU_SOURCE MERIDIAN_VERSION="${PROJECT_VERSION}")
target_compile_options(mer_flags INTERFACE
  -Wall -Wextra -Werror -Wshadow -Wconversion -Wstrict-prototypes -Wold-style-definition
  -Wcast-align -Wformat=2 -Wimplicit-fallthrough -Wundef -Wdouble-promotion -Wvla
  -fno-common -fstack-protector-strong)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU" AND NOT MERIDIAN_SANITIZE)
  # With sanitizers on, gcc reports paths that its own instrumentation made up.
  target_compile_options(mer_flags INTERFACE -Wnull-dereference)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo" AND NOT MERIDIAN_SANITIZE)
  target_compile_definitions(mer_flags INTERFACE _FORTIFY_SOURCE=2)
endif()
# A checkpoint is only used by the build that wrote it (worker/jobs/build.h).
target_link_options(mer_flags INTERFACE -Wl,--build-id=sha1)
if(MERIDIAN_SANITIZE)
  target_compile_options(mer_flags INTERFACE -fsanitize=${MERIDIAN_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all)
  target_link_options(mer_flags INTERFACE -fsanitize=${MERIDIAN_SANITIZE})
endif()
if(MERIDIAN_FUZZ)
  target_compile_options(mer_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# meridian_library(NAME [DEPS targets...]): one static library from the .c files of this folder.
# What it links is what it may include; ops/check/includes holds the code to that.
function(meridian_library name)
  cmake_parse_arguments(arg "" "" "DEPS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*.c")
  add_library(${name} STATIC ${sources})
  set_property(GLOBAL APPEND PROPERTY MERIDIAN_LIBRARIES ${name})
  target_link_libraries(${name} PUBLIC mer_flags ${arg_DEPS})
endfunction()

# meridian_program(NAME SOURCES files... DEPS targets...): an executable in build/<preset>/bin.
function(meridian_program name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE mer_flags ${arg_DEPS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
endfunction()

# meridian_add_subdirectories([names...]): those (or, without names, all) that have a CMakeLists.txt.
function(meridian_add_subdirectories)
  set(names ${ARGN})
  if(NOT names)
    file(GLOB found CONFIGURE_DEPENDS RELATIVE "${CMAKE_CURRENT_SOURCE_DIR}"
      "${CMAKE_CURRENT_SOURCE_DIR}/*/CMakeLists.txt")
    foreach(file IN LISTS found)
      get_filename_component(dir "${file}" DIRECTORY)
      list(APPEND names "${dir}")
    endforeach()
  endif()
  foreach(dir IN LISTS names)
    if(EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${dir}/CMakeLists.txt")
      add_subdirectory(${dir})
    endif()
  endforeach()
endfunction()
