# Soft-RoCE devices (rdma_rxe) and their counters. Sourced, by ci/soft-roce and in its guest; needs the
# package iproute2.

# usable_device: the first RDMA device with an active port; nothing where there is none.
usable_device() {
  local port
  for port in /sys/class/infiniband/*/ports/*; do
    [[ $(cat "$port/state" 2>/dev/null) == *ACTIVE ]] || continue
    port=${port#/sys/class/infiniband/}
    echo "${port%%/*}"
    return
  done
}

# device_address DEVICE: the first IPv4 address of its network device.
device_address() {
  local network
  network=$(cat "/sys/class/infiniband/$1/ports/1/gid_attrs/ndevs/0") || return
  ip -4 -o address show dev "$network" | awk '{sub("/.*", "", $4); print $4; exit}'
}

# device_counters DEVICE: lines "NAME VALUE".
device_counters() {
  local file
  for file in "/sys/class/infiniband/$1/ports/1/hw_counters/"*; do
    [[ ${file##*/} == lifespan ]] || echo "${file##*/} $(cat "$file")"
  done
}

# counters_table BEFORE AFTER: two results of device_counters, side by side; the packets, and what else is
# not 0.
counters_table() {
  join <(echo "$1") <(echo "$2") | awk '
    BEGIN { printf "%-26s %12s %12s %12s\n", "counter", "before", "after", "difference" }
    /_pkts / || $3 > 0 { printf "%-26s %12d %12d %12d\n", $1, $2, $3, $3 - $2 }'
}
