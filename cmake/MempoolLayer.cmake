# mempool_layer(NAME DIRECTORY dir [USES layer...]): an interface target mempool_NAME that carries the
# layer's include path and those of the layers it may see, and nothing else. A layer's headers are
# included as "NAME/file.h"; the link in the build tree makes exactly that one folder visible, so that
# an include against the direction of the layers does not compile. The vocabulary is what users see, so our
# flags come with the other layers alone.
function(mempool_layer name)
  cmake_parse_arguments(arg "" "DIRECTORY" "USES" ${ARGN})
  add_library(mempool_${name} INTERFACE)
  if(name STREQUAL "vocabulary")
    target_include_directories(mempool_${name} INTERFACE ${PROJECT_SOURCE_DIR}/${arg_DIRECTORY})
    target_link_libraries(mempool_${name} INTERFACE tl::expected)
    return()
  endif()
  set(visible ${PROJECT_BINARY_DIR}/layers/${name})
  file(MAKE_DIRECTORY ${visible})
  file(CREATE_LINK ${PROJECT_SOURCE_DIR}/${arg_DIRECTORY} ${visible}/${name} SYMBOLIC)
  target_include_directories(mempool_${name} INTERFACE ${visible})
  list(TRANSFORM arg_USES PREPEND mempool_)
  target_link_libraries(mempool_${name} INTERFACE ${arg_USES} mempool_flags)
endfunction()

# Warnings and sanitizers, for every target of the project. Designated initializers leave fields at
# their defaults on purpose.
add_library(mempool_flags INTERFACE)
target_compile_options(mempool_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wold-style-cast
  -Wcast-qual -Woverloaded-virtual
  -Wno-missing-field-initializers)
# A library's own functions are its own: calls among them are direct, and may be inlined.
target_compile_options(mempool_flags INTERFACE -fno-semantic-interposition)
if(MEMPOOL_WERROR)
  target_compile_options(mempool_flags INTERFACE -Werror)
elseif(NOT PROJECT_IS_TOP_LEVEL)
  # The flags of the build around are meant for its own sources.
  target_compile_options(mempool_flags INTERFACE -Wno-error)
endif()
if(MEMPOOL_SANITIZE)
  target_compile_options(mempool_flags INTERFACE
    -fsanitize=${MEMPOOL_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(mempool_flags INTERFACE -fsanitize=${MEMPOOL_SANITIZE})
  if(MEMPOOL_SANITIZE MATCHES "thread")
    # asio has fences, which the thread sanitizer does not see; its locks, which it does see, are enough.
    target_compile_options(mempool_flags INTERFACE -Wno-tsan)
  endif()
  if(MEMPOOL_SANITIZE MATCHES "undefined")
    target_compile_options(mempool_flags INTERFACE -fno-sanitize-recover=undefined)
  endif()
endif()

# mempool_library(NAME sources... PUBLIC targets... OURS targets... PRIVATE targets...): a library that others
# link, shared or static. OURS are layers and object libraries, which become part of it; PRIVATE are outside
# libraries, which users of a static one must link as well.
function(mempool_library name)
  cmake_parse_arguments(arg "" "" "PUBLIC;OURS;PRIVATE" ${ARGN})
  add_library(${name} ${arg_UNPARSED_ARGUMENTS})
  target_link_libraries(${name}
    PUBLIC ${arg_PUBLIC} $<BUILD_INTERFACE:mempool_vocabulary>
    PRIVATE "$<BUILD_INTERFACE:${arg_OURS}>" ${arg_PRIVATE})
  target_compile_features(${name} PUBLIC cxx_std_20)
  if(BUILD_SHARED_LIBS)
    target_link_options(${name} PRIVATE -Wl,-Bsymbolic-functions)
  endif()
  # Before 1.0 a new minor version may change the binary interface.
  set_target_properties(${name} PROPERTIES
    VERSION ${PROJECT_VERSION}
    SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
endfunction()
