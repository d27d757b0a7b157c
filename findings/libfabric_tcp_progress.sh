#!/usr/bin/env bash
# Library:  libfabric 2.1.0 (Debian 13: libfabric1 and libfabric-dev 2.1.0-1.1), provider `tcp`.
# Seen:     asked for it, an endpoint of reliable datagrams says FI_PROGRESS_AUTO for data and control; and yet the
#           target of a read must poll its completion queue. If it sleeps, the read does not complete.
# Output:   progress: data auto, control auto
#           target sleeps: no completion in 3 s
#           target polls: completed
# Matters:  a server that trusts the attribute and has no thread for progress serves nobody, without an error on
#           either side.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

debian trixie libfabric1=2.1.0-1.1 libfabric-dev=2.1.0-1.1 "${fabric_needs[@]}" librdmacm1t64
cp "$(dirname "$script")/fabric.h" .

cat >sleeper.c <<'C'
#include "fabric.h"

static const char* name_of(enum fi_progress progress) {
  return progress == FI_PROGRESS_AUTO ? "auto" : "manual";
}

/* 1: a read from a target that polls, or sleeps, completed in 3 s. */
static int reads_from(int polls) {
  struct endpoint* const e = calloc(1, sizeof *e);
  struct remote owner;
  int to_reader[2];
  if (pipe(to_reader) != 0) exit(2);
  const pid_t child = fork();
  open_endpoint(e, find_provider("tcp", FI_PROGRESS_AUTO));
  if (child == 0) {
    owner = describe(e);
    if (write(to_reader[1], &owner, sizeof owner) < 0) exit(2);
    for (const double until = now_s() + 20; now_s() < until; usleep(100))
      if (polls) read_queue(e);
    exit(0);
  }
  if (read(to_reader[0], &owner, sizeof owner) != sizeof owner) exit(2);
  if (polls)
    printf("progress: data %s, control %s\n", name_of(e->info->domain_attr->data_progress),
           name_of(e->info->domain_attr->control_progress));
  const int done = read_remote(e, &owner, 3);
  kill(child, SIGKILL);
  printf("target %s: %s\n", polls ? "polls" : "sleeps", done ? "completed" : "no completion in 3 s");
  return done;
}

int main(void) {
  setvbuf(stdout, NULL, _IONBF, 0);
  const int polling = reads_from(1), sleeping = reads_from(0);
  return polling && !sleeping ? 0 : 1;
}
C
compile sleeper -lfabric
status=0
with_root ./sleeper >seen || status=$?
cat seen
((status == 0)) && grep -qx 'progress: data auto, control auto' seen || changed "see above; status $status"
as_stated
