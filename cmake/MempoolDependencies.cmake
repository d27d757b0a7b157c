# Every outside library, found once; ci/apt-packages.txt has the Debian packages and the reasons. A build that
# makes the libraries alone asks for no more than they need.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(tl-expected REQUIRED)
find_package(spdlog REQUIRED)
find_program(MEMPOOL_FLATC flatc REQUIRED)
pkg_check_modules(mempool_fabric REQUIRED IMPORTED_TARGET libfabric)
pkg_check_modules(mempool_jemalloc REQUIRED IMPORTED_TARGET jemalloc)
pkg_check_modules(mempool_xxhash REQUIRED IMPORTED_TARGET libxxhash)
find_path(MEMPOOL_ASIO_INCLUDE_DIR asio.hpp REQUIRED)
find_path(MEMPOOL_FLATBUFFERS_INCLUDE_DIR flatbuffers/flatbuffers.h REQUIRED)

add_library(mempool_asio INTERFACE)
target_include_directories(mempool_asio SYSTEM INTERFACE ${MEMPOOL_ASIO_INCLUDE_DIR})
target_compile_definitions(mempool_asio INTERFACE ASIO_STANDALONE ASIO_NO_DEPRECATED
  # asio 1.22 looks for clang's coroutines where they were before C++20.
  $<$<CXX_COMPILER_ID:Clang>:ASIO_HAS_CO_AWAIT=1>)

if(MEMPOOL_PROGRAMS)
  find_package(CLI11 REQUIRED)
  find_package(OpenSSL REQUIRED)
  find_package(nlohmann_json REQUIRED)
  find_path(MEMPOOL_TOML_INCLUDE_DIR toml++/toml.h REQUIRED)

  # Headers alone, so that the errors of a file are values: the packaged library throws them.
  add_library(mempool_toml INTERFACE)
  target_include_directories(mempool_toml SYSTEM INTERFACE ${MEMPOOL_TOML_INCLUDE_DIR})
  target_compile_definitions(mempool_toml INTERFACE TOML_HEADER_ONLY=1 TOML_EXCEPTIONS=0)
endif()

# mempool_flatbuffers(TARGET schema.fbs): generates schema_generated.h for TARGET alone.
function(mempool_flatbuffers target schema)
  get_filename_component(name ${schema} NAME_WE)
  set(out ${CMAKE_CURRENT_BINARY_DIR}/generated/${name}_generated.h)
  add_custom_command(
    OUTPUT ${out}
    COMMAND ${MEMPOOL_FLATC} --cpp --scoped-enums -o ${CMAKE_CURRENT_BINARY_DIR}/generated
            ${CMAKE_CURRENT_SOURCE_DIR}/${schema}
    DEPENDS ${schema}
    VERBATIM)
  target_sources(${target} PRIVATE ${out})
  target_include_directories(${target} SYSTEM PRIVATE ${CMAKE_CURRENT_BINARY_DIR}/generated
                             ${MEMPOOL_FLATBUFFERS_INCLUDE_DIR})
endfunction()
