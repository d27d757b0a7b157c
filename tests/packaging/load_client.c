/* Loads the library that is named on the command line and looks up Pool::connect. */
#include <dlfcn.h>
#include <stdio.h>

static const char kConnect[] =
    "_ZN7mempool4Pool7connectERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEERKNS_"
    "14ClusterOptionsE";

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  void* library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (library == NULL || dlsym(library, kConnect) == NULL) {
    fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  return 0;
}
