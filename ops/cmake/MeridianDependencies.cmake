# Every third-party library, found once; the name after "dep::" is what a folder links.
# Each has one door: see "one door" in ops/check/layers.txt.

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

# meridian_dependency(NAME [PKG modules...] [LIB names... HEADER file]): the first that is found.
function(meridian_dependency name)
  cmake_parse_arguments(arg "" "HEADER" "PKG;LIB" ${ARGN})
  add_library(dep_${name} INTERFACE)
  add_library(dep::${name} ALIAS dep_${name})
  foreach(module IN LISTS arg_PKG)
    pkg_check_modules(${name} IMPORTED_TARGET ${module})
    if(${name}_FOUND)
      target_link_libraries(dep_${name} INTERFACE PkgConfig::${name})
      return()
    endif()
  endforeach()
  find_path(${name}_include ${arg_HEADER})
  find_library(${name}_library NAMES ${arg_LIB})
  if(NOT ${name}_include OR NOT ${name}_library)
    message(FATAL_ERROR "${name} is missing: see ops/packages.txt, or run ops/test, which installs it")
  endif()
  target_include_directories(dep_${name} SYSTEM INTERFACE "${${name}_include}")
  target_link_libraries(dep_${name} INTERFACE "${${name}_library}")
endfunction()

meridian_dependency(uv PKG libuv)
meridian_dependency(hiredis PKG hiredis LIB hiredis HEADER hiredis/hiredis.h)
# msgpack-c changed its name at 5 and 6, and Debian 13's pkg-config file has a relative path: found by its files.
meridian_dependency(msgpack LIB msgpack-c msgpackc HEADER msgpack.h)
meridian_dependency(pq PKG libpq)
meridian_dependency(jansson PKG jansson)
meridian_dependency(crypto PKG libcrypto)
meridian_dependency(zlib PKG zlib)
meridian_dependency(utf8proc PKG libutf8proc LIB utf8proc HEADER utf8proc.h)
meridian_dependency(openblas PKG openblas blas-openblas LIB openblas HEADER cblas.h)
meridian_dependency(cmocka PKG cmocka LIB cmocka HEADER cmocka.h)
