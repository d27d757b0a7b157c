#!/usr/bin/env bash
# Library:  libfabric 1.17.0 (Debian 12: libfabric1 and libfabric-dev 1.17.0-3), provider `net`.
# Seen:     after a client's first read the descriptor of its completion queue (FI_WAIT_FD) stays readable for
#           ever, though the queue is empty and fi_trywait says that one may wait.
# Output:   readable in one idle second: 1 before the read, 250000 after it   (the second number varies)
# Matters:  a program that waits as the manual says, fi_trywait then poll, spins on a core as soon as it has read
#           once. Only a bound on wake-ups that find nothing keeps it from that.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

debian bookworm libfabric1=1.17.0-3 libfabric-dev=1.17.0-3 \
  "${fabric_needs[@]}" librdmacm1 libpsm-infinipath1 libuuid1
cp "$(dirname "$script")/fabric.h" .

cat >idle.c <<'C'
#include "fabric.h"

/* How often poll says in a second, in which nothing happens, that there is something. */
static long wake_ups(struct endpoint* e) {
  struct fid* const queue = &e->cq->fid;
  struct pollfd descriptor = {.events = POLLIN};
  long count = 0;
  check(fi_control(queue, FI_GETWAIT, &descriptor.fd), "FI_GETWAIT");
  for (const double until = now_s() + 1; now_s() < until;) {
    struct fid* queues[] = {queue};
    if (fi_trywait(e->fabric, queues, 1) == FI_SUCCESS && poll(&descriptor, 1, 100) > 0) ++count;
    if (read_queue(e)) printf("something arrived\n");
  }
  return count;
}

int main(void) {
  static struct endpoint e;
  struct remote owner;
  int to_reader[2];
  if (pipe(to_reader) != 0) return 2;
  const pid_t child = fork();
  open_endpoint(&e, find_provider("net", FI_PROGRESS_UNSPEC));
  if (child == 0) {
    owner = describe(&e);
    if (write(to_reader[1], &owner, sizeof owner) < 0) return 2;
    for (const double until = now_s() + 20; now_s() < until; usleep(100)) read_queue(&e);
    return 0;
  }
  if (read(to_reader[0], &owner, sizeof owner) != sizeof owner) return 2;
  const long before = wake_ups(&e);
  const int done = read_remote(&e, &owner, 10);
  const long after = wake_ups(&e);
  kill(child, SIGKILL);
  printf("readable in one idle second: %ld before the read, %ld after it\n", before, after);
  if (!done) return printf("the read did not complete\n"), 2;
  return before < 100 && after > 1000 ? 0 : 1;
}
C
compile idle -lfabric
with_root ./idle || changed "the descriptor of an idle queue is not readable, or the program did not run: status $?"
as_stated
