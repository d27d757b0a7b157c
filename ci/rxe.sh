# RDMA devices and their counters. Sourced, by ci/soft-roce, in its guest, and by tests/torture/run; needs
# the package iproute2.

# usable_device: "DEVICE ADDRESS" of the first RDMA device with a port that is up and a network device that
# has an IPv4 address, for nodes to listen on; nothing where there is none. An InfiniBand port has no such
# network device, and its ndevs/0 cannot be read. tests/support/rdma.cc looks for the same.
usable_device() {
  local port network address
  for port in /sys/class/infiniband/*/ports/*; do
    [[ $(cat "$port/state" 2>/dev/null) == *ACTIVE ]] || continue
    network=$(cat "$port/gid_attrs/ndevs/0" 2>/dev/null) || continue
    address=$(ip -4 -o address show dev "$network" 2>/dev/null |
      awk '{sub("/.*", "", $4); print $4; exit}') || continue
    [[ -n $address ]] || continue
    port=${port#/sys/class/infiniband/}
    echo "${port%%/*} $address"
    return
  done
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
