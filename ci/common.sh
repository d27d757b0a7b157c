# What the scripts of this folder share. Sourced, not run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

section() {
  printf '\n======== %s ========\n' "$*"
}

die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit "${die_status:-1}"
}

# parallel_jobs [PER_CORE]: how many compilers (one a core) or tests (two, which wait for each other half
# of the time) may run at once: each with a gigabyte of memory, because a machine that swaps is slower than
# one that waits. A container's own limit counts as well.
parallel_jobs() {
  local most memory_kib limit
  most=$(($(nproc) * ${1:-1}))
  memory_kib=$(awk '/^MemAvailable:/ {print $2}' /proc/meminfo)
  limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || true)
  if [[ $limit =~ ^[0-9]+$ ]] && ((limit / 1024 < memory_kib)); then
    memory_kib=$((limit / 1024))
  fi
  local jobs=$((memory_kib / (1024 * 1024)))
  ((jobs >= 1)) || jobs=1
  ((jobs <= most)) || jobs=$most
  echo "$jobs"
}

# How to become root here: nothing when we are, sudo without a question when we may.
as_root() {
  if [[ $(id -u) -eq 0 ]]; then
    "$@"
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    sudo -n "$@"
  else
    return 126
  fi
}
