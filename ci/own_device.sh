# Soft-RoCE with this machine's own kernel. Sourced by ci/soft-roce.

readonly own_device=mempool_rxe own_link=mempool_link  # names of devices: 15 characters at most
readonly own_address=198.18.77.1  # from the range for benchmarks, which no real network has
device=
device_address=
device_lock=

# Leaves in `device` and `device_address` one that is up, this machine's or one that is made; fails where
# neither can be had.
# Runs that use the made one at the same time share a lock, and the last takes it away.
take_device() {
  read -r device device_address < <(usable_device) || true
  [[ -z $device || $device == "$own_device" ]] || return 0
  may_make_device || return
  local file=/run/lock/mempool-soft-roce
  [[ -e $file ]] || (umask 0 && : >"$file") || return
  exec {device_lock}<"$file"
  flock --shared "$device_lock"
  # The last one may go between our two locks, hence again.
  until [[ -e /sys/class/infiniband/$own_device ]]; do
    flock --exclusive "$device_lock"
    make_device || { release_device; return 1; }
    flock --shared "$device_lock"
  done
  device=$own_device
  device_address=$own_address
}

may_make_device() {
  command -v rdma >/dev/null && as_root true 2>/dev/null &&
    { [[ -d /sys/module/rdma_rxe ]] || as_root modprobe --quiet --dry-run rdma_rxe 2>/dev/null; }
}

# On a network device of its own that leads nowhere: no real one need be up, and none is disturbed.
make_device() {
  [[ ! -e /sys/class/infiniband/$own_device ]] || return 0
  [[ -d /sys/module/rdma_rxe ]] || as_root modprobe rdma_rxe || return
  as_root modprobe --quiet rdma_ucm 2>/dev/null || true
  remove_link
  as_root ip link add "$own_link" type dummy && as_root ip link set "$own_link" mtu 9000 up &&
    as_root ip address add "$own_address/32" dev "$own_link" &&
    as_root rdma link add "$own_device" type rxe netdev "$own_link"
}

release_device() {
  [[ -n $device_lock ]] || return 0
  if flock --exclusive --nonblock "$device_lock"; then
    as_root rdma link delete "$own_device" 2>/dev/null || true
    remove_link
  fi
  exec {device_lock}<&-
  device_lock=
}

remove_link() {
  [[ ! -e /sys/class/net/$own_link ]] || as_root ip link delete "$own_link"
}

run_here() {
  local before status=0
  export MEMPOOL_HOST_1=$device_address
  note "uses $device of this machine, at $MEMPOOL_HOST_1"
  as_root prlimit --pid $$ --memlock=unlimited:unlimited 2>/dev/null ||
    note "the memory-lock limit stays at $(ulimit -l) KiB; a node that holds more cannot use RDMA"
  before=$(device_counters "$device")
  timeout --kill-after=10 "$timeout_s" "${command[@]}" </dev/null &
  running=$!
  wait "$running" || status=$?
  running=
  ((status != 124)) || note "the time limit of $timeout_s s is over"
  ! $counters || counters_table "$before" "$(device_counters "$device")" >&2
  return "$status"
}
