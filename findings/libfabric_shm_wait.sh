#!/usr/bin/env bash
# Library:  libfabric 2.1.0 (Debian 13: libfabric1 and libfabric-dev 2.1.0-1.1), provider `shm`.
# Seen:     a completion queue that is to be waited for by a descriptor (FI_WAIT_FD) is refused with -FI_ENOSYS.
#           1.17.0 of Debian 12 does the same.
# Output:   fi_cq_open with FI_WAIT_FD: Function not implemented
# Matters:  an event loop with a descriptor for each provider has none for shm: such a program spins, or needs
#           FI_WAIT_YIELD and a thread, or leaves shm out.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

debian trixie libfabric1=2.1.0-1.1 libfabric-dev=2.1.0-1.1 "${fabric_needs[@]}" librdmacm1t64
cp "$(dirname "$script")/fabric.h" .

cat >wait.c <<'C'
#include "fabric.h"

int main(void) {
  static struct endpoint e;
  open_endpoint(&e, find_provider("shm", FI_PROGRESS_UNSPEC));
  printf("fi_cq_open with FI_WAIT_FD: done\n");
  return 0;
}
C
compile wait -lfabric
seen=$(with_root ./wait || true)
echo "$seen"
[[ $seen == "fi_cq_open with FI_WAIT_FD: Function not implemented" ]] || changed "$seen"
as_stated
