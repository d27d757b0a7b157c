# Every outside library, found once; ci/apt-packages.txt has the Debian packages and the reasons.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(tl-expected REQUIRED)
find_package(spdlog REQUIRED)
find_package(CLI11 REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(nlohmann_json REQUIRED)
find_program(FLATC flatc REQUIRED)
pkg_check_modules(fabric REQUIRED IMPORTED_TARGET libfabric)
pkg_check_modules(jemalloc REQUIRED IMPORTED_TARGET jemalloc)
pkg_check_modules(xxhash REQUIRED IMPORTED_TARGET libxxhash)
find_path(ASIO_INCLUDE_DIR asio.hpp REQUIRED)
find_path(TOML_INCLUDE_DIR toml++/toml.h REQUIRED)
find_path(FLATBUFFERS_INCLUDE_DIR flatbuffers/flatbuffers.h REQUIRED)

add_library(mempool_asio INTERFACE)
target_include_directories(mempool_asio SYSTEM INTERFACE ${ASIO_INCLUDE_DIR})
target_compile_definitions(mempool_asio INTERFACE ASIO_STANDALONE ASIO_NO_DEPRECATED)

# Headers alone, so that the errors of a file are values: the packaged library throws them.
add_library(mempool_toml INTERFACE)
target_include_directories(mempool_toml SYSTEM INTERFACE ${TOML_INCLUDE_DIR})
target_compile_definitions(mempool_toml INTERFACE TOML_HEADER_ONLY=1 TOML_EXCEPTIONS=0)

# mempool_flatbuffers(TARGET schema.fbs): generates schema_generated.h for TARGET alone.
function(mempool_flatbuffers target schema)
  get_filename_component(name ${schema} NAME_WE)
  set(out ${CMAKE_CURRENT_BINARY_DIR}/generated/${name}_generated.h)
  add_custom_command(
    OUTPUT ${out}
    COMMAND ${FLATC} --cpp --scoped-enums -o ${CMAKE_CURRENT_BINARY_DIR}/generated
            ${CMAKE_CURRENT_SOURCE_DIR}/${schema}
    DEPENDS ${schema}
    VERBATIM)
  target_sources(${target} PRIVATE ${out})
  target_include_directories(${target} SYSTEM PRIVATE ${CMAKE_CURRENT_BINARY_DIR}/generated
                             ${FLATBUFFERS_INCLUDE_DIR})
endfunction()
