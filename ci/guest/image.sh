# What a guest boots: Debian's kernel and a small first file system (busybox, modules, ci/guest/init), made
# once and kept in the cache folder. Sourced by ci/soft-roce.

# Debian's `cloud` kernels have neither rdma_rxe nor 9p.
readonly kernel_package=linux-image-amd64
readonly guest_modules=(
  virtio_pci virtio_console virtio_net  # the machine's devices
  9pnet_virtio 9p overlay               # this machine's files, written in memory only
  dummy                                 # the network device of a guest that is alone
  sch_netem                             # loss and delay between two
  crc32_generic rdma_rxe rdma_ucm       # soft-RoCE
)
readonly image_room_mib=700  # while it is made; a third of it stays

cache_folder() {
  local base=${XDG_CACHE_HOME:-${HOME:+$HOME/.cache}}
  [[ -n $base ]] || die "neither HOME nor XDG_CACHE_HOME says where the guest's kernel can be kept"
  echo "$base/mempool/soft-roce"
}

# Leaves the image's folder in `image`. It is complete or not there: made aside, and renamed; one run at a
# time makes it, the others wait. What its recipe decides is in its name.
prepare_image() {
  local cache recipe lock
  cache=$(cache_folder) || exit
  recipe=$(cat "$root/ci/guest/image.sh" "$root/ci/guest/init" | sha256sum)
  image=$cache/image-${recipe:0:16}
  [[ ! -d $image ]] || { touch "$image"; return 0; }

  [[ $(uname -m) == x86_64 ]] || die "the guest is an x86-64 machine; this one is $(uname -m)"
  command -v apt-get >/dev/null || die "the guest's kernel is a Debian package, and apt-get is not here"
  mkdir -p "$cache" || die "cannot make $cache"
  exec {lock}>"$cache/lock"
  flock "$lock"
  if [[ ! -d $image ]]; then
    rm -rf "$cache"/making-*  # of runs that were interrupted
    find "$cache" -maxdepth 1 -name 'image-*' -mtime +30 -exec rm -rf {} +
    make_image "$cache" "$cache/making-$$"
    mv -T "$cache/making-$$" "$image"
  fi
  exec {lock}>&-
}

# make_image CACHE FOLDER
make_image() {
  local cache=$1 folder=$2 free_mib
  free_mib=$(($(df -Pk "$cache" | awk 'NR == 2 {print $4}') / 1024))
  ((free_mib >= image_room_mib)) ||
    die "$cache has room for $free_mib MiB; $image_room_mib MiB are needed to make the guest's kernel"
  note "making the guest's kernel in $cache; this is done once"
  mkdir -p "$folder/unpacked"
  unpack_package "$cache" busybox-static "$folder/unpacked"
  unpack_package "$cache" "$(kernel_of_today)" "$folder/unpacked"
  busybox=$folder/unpacked/bin/busybox
  [[ -x $busybox ]] || busybox=$folder/unpacked/usr/bin/busybox

  local compressed
  compressed=$(echo "$folder"/unpacked/boot/vmlinuz-*)
  uncompressed_kernel "$compressed" >"$folder/kernel" 2>/dev/null || cp "$compressed" "$folder/kernel"
  first_file_system "$folder/unpacked" "$folder/first"
  (cd "$folder/first" && find . | "$busybox" cpio -o -H newc 2>/dev/null) >"$folder/initramfs"
  rm -rf "$folder/unpacked" "$folder/first"
}

# $kernel_package names the kernel of the day by what it depends on.
kernel_of_today() {
  local package
  package=$(LC_ALL=C apt-cache depends "$kernel_package" 2>/dev/null |
    awk '/Depends: linux-image-/ {print $2; exit}')
  [[ -n $package ]] ||
    die "apt knows no package $kernel_package: its lists are missing (apt-get update), or this is no Debian"
  echo "$package"
}

# unpack_package CACHE PACKAGE FOLDER: the package is unpacked, never installed.
unpack_package() {
  local cache=$1 package=$2 folder=$3 log
  mkdir "$folder/package"
  log=$(cd "$folder/package" && apt-get -q -o APT::Sandbox::User=root -o Acquire::Retries=1 \
    -o Acquire::http::Timeout=30 download "$package" 2>&1) ||
    die "cannot download $package (no network? stale lists? apt-get update):"$'\n'"$log"
  dpkg-deb -x "$folder"/package/*.deb "$folder" || die "cannot unpack $package; is there room in $cache?"
  rm -r "$folder/package"
}

# The kernel as an ELF file, which the machine starts at once: to let it unpack itself costs seconds under
# emulation. Fails where it is not packed with xz. The layout is in the kernel's documentation,
# arch/x86/boot: how many sectors of setup code come first, where the packed kernel is, how long it is.
uncompressed_kernel() {
  local setup_sectors offset length
  setup_sectors=$(od -An -tu1 -j $((0x1f1)) -N 1 "$1")
  read -r offset length < <(od -An -tu4 -j $((0x248)) -N 8 "$1")
  # Its last four bytes are its size, and none of the packed data.
  xz -dc < <(tail -c +$(((setup_sectors + 1) * 512 + offset + 1)) "$1" | head -c $((length - 4)))
}

# first_file_system UNPACKED FOLDER: the modules lie in /modules; /modules/order is how they are loaded.
first_file_system() {
  local unpacked=$1 folder=$2 version module
  mkdir -p "$folder"/{bin,dev,proc,sys,modules,below,above,root}
  cp "$busybox" "$folder/bin/busybox"
  install -m 755 "$root/ci/guest/init" "$folder/init"

  version=$(basename "$(echo "$unpacked"/lib/modules/*)")
  find "$unpacked/lib/modules" -name '*.ko.xz' -exec xz -d {} +
  "$busybox" depmod -b "$unpacked" "$version" || die "cannot read the modules of kernel $version"
  for module in $(in_loading_order "$unpacked/lib/modules/$version/modules.dep"); do
    cp "$unpacked/lib/modules/$version/$module" "$folder/modules/"
    basename "$module"
  done >"$folder/modules/order"
}

# in_loading_order FILE: modules.dep has a line "MODULE: all that it needs", last needed first.
in_loading_order() {
  local wanted
  for wanted in "${guest_modules[@]}"; do
    sed -n "s|^\(.*/${wanted//[-_]/[-_]}\.ko\):\(.*\)|\1\2|p" "$1" | tr ' ' '\n' | tac
  done | awk 'NF && !seen[$0]++'
}
