#!/usr/bin/env bash
# Library:  libfabric 1.17.0 (Debian 12: libfabric1 1.17.0-3, with libpsm-infinipath1).
# Seen:     loading the library replaces the dispositions of SIGINT, SIGTERM, SIGILL, SIGABRT, SIGBUS and SIGSEGV
#           before main begins, and takes some 150 ms, on a machine without such an adapter. The constructors of
#           libpsm-infinipath do it. IPATH_NO_BACKTRACE=1 in the environment leaves the signals alone.
#           libfabric 2.1.0 (Debian 13) changes none.
# Output:   replaced by loading libfabric: 2 4 6 7 11 15
# Matters:  a program that installs no handlers of its own prints another library's backtrace and exits where it
#           would have left a core file; one that asks "is there a handler?" finds somebody else's; each short-lived
#           command line tool that is linked to libfabric starts 150 ms late.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

debian bookworm libfabric1=1.17.0-3 "${fabric_needs[@]}" librdmacm1 libpsm-infinipath1 libuuid1

cat >load.c <<'C'
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

int main(void) {
  struct sigaction before[32], after;
  struct timespec from, to;
  for (int number = 1; number < 32; ++number) sigaction(number, NULL, &before[number]);
  clock_gettime(CLOCK_MONOTONIC, &from);
  if (dlopen("libfabric.so.1", RTLD_NOW) == NULL) return fprintf(stderr, "%s\n", dlerror()), 2;
  clock_gettime(CLOCK_MONOTONIC, &to);
  printf("replaced by loading libfabric:");
  for (int number = 1; number < 32; ++number) {
    sigaction(number, NULL, &after);
    if (after.sa_handler != before[number].sa_handler) printf(" %d", number);
  }
  printf("\n");
  fprintf(stderr, "took %ld ms\n", (to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000);
  return 0;
}
C
compile load -ldl
seen=$(with_root ./load)
echo "$seen"
echo "with IPATH_NO_BACKTRACE=1: $(IPATH_NO_BACKTRACE=1 with_root ./load)"
[[ $seen == "replaced by loading libfabric: 2 4 6 7 11 15" ]] || changed "$seen"
as_stated
