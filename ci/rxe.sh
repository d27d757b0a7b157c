# RDMA devices and their counters. Sourced, by ci/soft-roce, in its guest, and by tests/torture/run; needs
# the package iproute2.

# usable_device: "DEVICE ADDRESS" of the first RDMA device with a port that is up and a network device that
# has an IPv4 address which is not loopback, for nodes to listen on; nothing where there is none. Asked of
# `rdma`: sysfs of Linux 6.1 does not name the network device of iWARP. An InfiniBand port has none there.
# tests/support/rdma.cc looks for the same.
usable_device() {
  local port network address
  while read -r port network; do
    address=$(ip -4 -o address show dev "$network" up 2>/dev/null |
      awk '$4 !~ /^127[.]/ {sub("/.*", "", $4); print $4; exit}') || continue
    [[ -n $address ]] || continue
    echo "${port%%/*} $address"
    return
  done < <(rdma link 2>/dev/null |
    awk '/ state ACTIVE / {for (i = 2; i < NF; i++) if ($i == "netdev") print $2, $(i + 1)}')
}

# device_counters DEVICE: lines "NAME VALUE"; none for a device without, as soft-iWARP is.
device_counters() {
  local file
  for file in "/sys/class/infiniband/$1/ports/1/hw_counters/"*; do
    [[ ! -e $file || ${file##*/} == lifespan ]] || echo "${file##*/} $(cat "$file")"
  done
}

# counters_table BEFORE AFTER: two results of device_counters, side by side; the packets, and what else is
# not 0.
counters_table() {
  join <(echo "$1") <(echo "$2") | awk '
    BEGIN { printf "%-26s %12s %12s %12s\n", "counter", "before", "after", "difference" }
    /_pkts / || $3 > 0 { printf "%-26s %12d %12d %12d\n", $1, $2, $3, $3 - $2 }'
}
