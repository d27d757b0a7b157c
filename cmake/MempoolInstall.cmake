# What `cmake --install` puts where: the public headers, the two libraries, the programs, and what
# find_package(Mempool) and pkg-config read. The tree may be moved after it is installed.
include(CMakePackageConfigHelpers)

set(mempool_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/Mempool)

# Before 1.0 a new minor version may change the binary interface.
set_target_properties(mempool-client mempool PROPERTIES
  VERSION ${PROJECT_VERSION}
  SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
  INSTALL_RPATH "$ORIGIN")
set_target_properties(mempool-client PROPERTIES EXPORT_NAME client)

foreach(library mempool-client mempool)
  target_include_directories(${library} PUBLIC $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_compile_features(${library} PUBLIC cxx_std_20)
endforeach()
add_library(mempool::client ALIAS mempool-client)
add_library(mempool::mempool ALIAS mempool)

file(RELATIVE_PATH from_bin_to_lib ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
set_target_properties(mempoold mempool-cli mempool-torture
  PROPERTIES INSTALL_RPATH "$ORIGIN/${from_bin_to_lib}")

install(TARGETS mempool-client mempool EXPORT MempoolTargets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS mempoold mempool-cli mempool-torture RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
# detail/ is shared by the layers and no public header includes it.
install(DIRECTORY ${CMAKE_SOURCE_DIR}/api/include/mempool DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.h" PATTERN detail EXCLUDE)

install(EXPORT MempoolTargets NAMESPACE mempool:: DESTINATION ${mempool_package_dir})
configure_package_config_file(
  ${CMAKE_CURRENT_LIST_DIR}/MempoolConfig.cmake.in ${CMAKE_BINARY_DIR}/package/MempoolConfig.cmake
  INSTALL_DESTINATION ${mempool_package_dir})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/package/MempoolConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES
  ${CMAKE_BINARY_DIR}/package/MempoolConfig.cmake
  ${CMAKE_BINARY_DIR}/package/MempoolConfigVersion.cmake
  DESTINATION ${mempool_package_dir})

file(RELATIVE_PATH from_pc_to_prefix ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" from_pc_to_prefix ${from_pc_to_prefix})
foreach(name mempool-client mempool)
  configure_file(${CMAKE_CURRENT_LIST_DIR}/${name}.pc.in ${CMAKE_BINARY_DIR}/package/${name}.pc @ONLY)
  install(FILES ${CMAKE_BINARY_DIR}/package/${name}.pc
          DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endforeach()
