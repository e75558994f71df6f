# Language level, warnings, hardening and sanitizers: the same for every target.
set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_LINK_DEPENDS_NO_SHARED ON)
set(CMAKE_CXX_SCAN_FOR_MODULES OFF)

set(CAIRN_SANITIZE "" CACHE STRING "sanitizers, comma separated")
option(CAIRN_FUZZ "build the libFuzzer targets (clang)" OFF)
option(CAIRN_COVERAGE "gcov counters" OFF)
set(CAIRN_RUN_ROOT "" CACHE PATH "Debian 13 root folder whose loader and libraries the programs use at run time")

# Sources of one library are compiled together, ten at a time: a third of the work of a clean build. The fuzz preset
# compiles them one by one, so that a file which leans on its neighbours' includes is still noticed.
set(CMAKE_UNITY_BUILD ON CACHE BOOL "compile the sources of a library together")
set(CMAKE_UNITY_BUILD_BATCH_SIZE 10)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
set(CMAKE_CXX_FLAGS_DEV "-O1 -g1")
set(CMAKE_C_FLAGS_DEV "-O1 -g1")
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g0 -DNDEBUG")
set(CMAKE_C_FLAGS_RELEASE "-O2 -g0 -DNDEBUG")

if(NOT CAIRN_SANITIZE)
  set(protector -fstack-protector-strong -fcf-protection=full)
  set(clash_protection -fstack-clash-protection)
endif()
add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wformat=2 -Wundef
  -Wnon-virtual-dtor -Wno-missing-field-initializers -Werror -fno-strict-aliasing ${protector}
  -ffile-prefix-map=${CMAKE_SOURCE_DIR}=.)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  # GCC 14 reports false positives of these in coroutines and inlined std code.
  add_compile_options(-Wno-error=maybe-uninitialized -Wno-error=dangling-reference -Wno-error=array-bounds
    -Wno-error=stringop-overflow -Wno-error=free-nonheap-object ${clash_protection})
  if(CMAKE_UNITY_BUILD)
    add_compile_options(-Wno-subobject-linkage)  # means types in headers; here a source's own look like them
  endif()
else()
  add_compile_options(-Wno-error=deprecated-declarations)
endif()
add_link_options(-Wl,-z,relro,-z,now -Wl,-z,noexecstack -Wl,--as-needed -Wl,--gc-sections)
add_compile_options(-ffunction-sections -fdata-sections)

if(CAIRN_SANITIZE)
  add_compile_options(-fsanitize=${CAIRN_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${CAIRN_SANITIZE})
  if(CAIRN_SANITIZE MATCHES address AND CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    # A fifth of the compiler's time; unoptimized code also keeps every access that the sanitizers could see.
    set(CMAKE_CXX_FLAGS_DEV "-O0 -g1")
    set(CMAKE_C_FLAGS_DEV "-O0 -g1")
    add_compile_options("SHELL:--param asan-instrumentation-with-call-threshold=0")
  endif()
  if(CAIRN_SANITIZE MATCHES thread AND CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    add_compile_options(-Wno-tsan)  # asio's fences, which the sanitizer does not see
  endif()
else()
  add_compile_definitions(_FORTIFY_SOURCE=3)  # in dev too: its checked results are errors
endif()
if(CAIRN_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)  # coverage feedback from every library, not only the target's file
endif()
add_compile_definitions(_GLIBCXX_ASSERTIONS)
if(CAIRN_COVERAGE)
  add_compile_options(--coverage)
  add_link_options(--coverage)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  add_link_options(-fuse-ld=mold)
else()
  add_link_options(-fuse-ld=mold)
endif()
if(CAIRN_RUN_ROOT)
  add_link_options(-Wl,--dynamic-linker=${CAIRN_RUN_ROOT}/lib64/ld-linux-x86-64.so.2
    -Wl,--disable-new-dtags -Wl,-rpath,${CAIRN_RUN_ROOT}/usr/lib/x86_64-linux-gnu)
endif()
