# What `cmake --install` puts where: the public headers, the two libraries, the programs, and what
# find_package(Mempool) and pkg-config read. The tree may be moved after it is installed.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(mempool_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/Mempool)
set(mempool_data_dir ${CMAKE_INSTALL_DATADIR}/mempool)

set_target_properties(mempool-client mempool PROPERTIES INSTALL_RPATH "$ORIGIN")
foreach(library mempool-client mempool)
  target_include_directories(${library} PUBLIC $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
endforeach()
install(TARGETS mempool-client mempool EXPORT MempoolTargets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
# detail/ is shared by the layers and no public header includes it.
install(DIRECTORY ${PROJECT_SOURCE_DIR}/api/include/mempool DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.h" PATTERN detail EXCLUDE)
install(FILES ${CMAKE_CURRENT_LIST_DIR}/lsan.supp ${CMAKE_CURRENT_LIST_DIR}/tsan.supp
        DESTINATION ${mempool_data_dir})

if(MEMPOOL_PROGRAMS)
  file(RELATIVE_PATH from_bin_to_lib ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
  set_target_properties(mempoold mempool-cli mempool-torture
    PROPERTIES INSTALL_RPATH "$ORIGIN/${from_bin_to_lib}")
  install(TARGETS mempoold mempool-cli mempool-torture RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

install(EXPORT MempoolTargets NAMESPACE mempool:: DESTINATION ${mempool_package_dir})
set(mempool_built ${PROJECT_BINARY_DIR}/package)
configure_package_config_file(
  ${CMAKE_CURRENT_LIST_DIR}/MempoolConfig.cmake.in ${mempool_built}/MempoolConfig.cmake
  INSTALL_DESTINATION ${mempool_package_dir}
  PATH_VARS mempool_data_dir)
write_basic_package_version_file(${mempool_built}/MempoolConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${mempool_built}/MempoolConfig.cmake ${mempool_built}/MempoolConfigVersion.cmake
        DESTINATION ${mempool_package_dir})

# What a static library needs is for who links it; a shared one brings it along.
foreach(library fabric xxhash jemalloc)
  list(JOIN mempool_${library}_LDFLAGS " " libs_of_${library})
endforeach()
if(BUILD_SHARED_LIBS)
  set(mempool_client_private "")
  set(mempool_private "")
else()
  # Not "Requires.private: libfabric", which asks for the development packages of all its providers.
  set(mempool_client_private
      "Requires.private: spdlog\nLibs.private: ${libs_of_fabric} ${libs_of_xxhash} -pthread")
  set(mempool_private "Libs.private: ${libs_of_jemalloc}")
endif()
file(RELATIVE_PATH from_pc_to_prefix ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" from_pc_to_prefix ${from_pc_to_prefix})
foreach(name mempool-client mempool)
  configure_file(${CMAKE_CURRENT_LIST_DIR}/${name}.pc.in ${mempool_built}/${name}.pc @ONLY)
  install(FILES ${mempool_built}/${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endforeach()
