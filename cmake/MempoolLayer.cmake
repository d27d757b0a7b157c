# mempool_layer(NAME DIRECTORY dir [USES layer...]): an interface target mempool_NAME that carries the
# layer's include path and those of the layers it may see, and nothing else. A layer's headers are
# included as "NAME/file.h"; the link in the build tree makes exactly that one folder visible, so that
# an include against the direction of the layers does not compile.
function(mempool_layer name)
  cmake_parse_arguments(arg "" "DIRECTORY" "USES" ${ARGN})
  add_library(mempool_${name} INTERFACE)
  if(name STREQUAL "vocabulary")
    target_include_directories(mempool_${name} INTERFACE
      $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/${arg_DIRECTORY}>)
    target_link_libraries(mempool_${name} INTERFACE tl::expected mempool_flags)
    return()
  endif()
  set(visible ${CMAKE_BINARY_DIR}/layers/${name})
  file(MAKE_DIRECTORY ${visible})
  file(CREATE_LINK ${CMAKE_SOURCE_DIR}/${arg_DIRECTORY} ${visible}/${name} SYMBOLIC)
  target_include_directories(mempool_${name} INTERFACE ${visible})
  list(TRANSFORM arg_USES PREPEND mempool_)
  target_link_libraries(mempool_${name} INTERFACE ${arg_USES})
endfunction()

# Warnings and sanitizers, for every target of the project. Designated initializers leave fields at
# their defaults on purpose.
add_library(mempool_flags INTERFACE)
target_compile_options(mempool_flags INTERFACE
  $<BUILD_INTERFACE:-Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wold-style-cast
  -Wcast-qual -Woverloaded-virtual
  -Wno-missing-field-initializers>)
# A library's own functions are its own: calls among them are direct, and may be inlined.
target_compile_options(mempool_flags INTERFACE $<BUILD_INTERFACE:-fno-semantic-interposition>)
target_link_options(mempool_flags INTERFACE $<BUILD_INTERFACE:-Wl,-Bsymbolic-functions>)
if(MEMPOOL_WERROR)
  target_compile_options(mempool_flags INTERFACE $<BUILD_INTERFACE:-Werror>)
endif()
if(MEMPOOL_SANITIZE)
  target_compile_options(mempool_flags INTERFACE
    $<BUILD_INTERFACE:-fsanitize=${MEMPOOL_SANITIZE} -fno-omit-frame-pointer>)
  target_link_options(mempool_flags INTERFACE $<BUILD_INTERFACE:-fsanitize=${MEMPOOL_SANITIZE}>)
  if(MEMPOOL_SANITIZE MATCHES "thread")
    # asio has fences, which the thread sanitizer does not see; its locks, which it does see, are enough.
    target_compile_options(mempool_flags INTERFACE $<BUILD_INTERFACE:-Wno-tsan>)
  endif()
  if(MEMPOOL_SANITIZE MATCHES "undefined")
    target_compile_options(mempool_flags INTERFACE $<BUILD_INTERFACE:-fno-sanitize-recover=undefined>)
  endif()
endif()
