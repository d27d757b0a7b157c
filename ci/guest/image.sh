# What a guest boots: the distribution's kernel (`kernel`, `version`) and a small first file system
# (`initramfs`: busybox, modules, ci/guest/init), made once and kept in the cache folder. Sourced by
# ci/soft-roce.
#
# Into which packages a kernel is cut, where its parts lie in them and how they are packed differs between
# distributions and their releases. So all is found by what is in the packages.

# Debian's and Ubuntu's newest kernel. Debian's `cloud` kernels have neither rdma_rxe nor 9p.
readonly kernel_packages=(linux-image-amd64 linux-image-generic)
readonly guest_modules=(
  virtio_pci virtio_console virtio_net  # the machine's devices
  9pnet_virtio 9p overlay               # this machine's files, written in memory only
  dummy                                 # the network device of a guest that is alone
  sch_netem                             # loss and delay between two
  rdma_rxe rdma_ucm                     # soft-RoCE
)
readonly older_modules=(crc32_generic)  # rdma_rxe of newer kernels has its own
readonly image_room_mib=700  # while it is made; a tenth of it stays

making=  # the folder of an image that is not complete

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

  can_make_image
  mkdir -p "$cache" || die "cannot make $cache"
  exec {lock}>"$cache/lock"
  interruptible flock "$lock"
  if [[ ! -d $image ]]; then
    rm -rf "$cache"/making-*  # of runs that were killed
    find "$cache" -maxdepth 1 -name 'image-*' -mtime +30 -exec rm -rf {} +
    make_image "$cache"
  fi
  exec {lock}>&-
}

can_make_image() {
  local program
  [[ $(uname -m) == x86_64 ]] || die "the guest is an x86-64 machine; this one is $(uname -m)"
  command -v apt-get >/dev/null ||
    die "the guest's kernel comes from packages of Debian or Ubuntu, and apt-get is not here"
  for program in cpio xz zstd; do
    command -v "$program" >/dev/null || die "there is no $program, to make what the guest boots: ci/setup"
  done
}

# make_image CACHE: what is left of it after a failure, forget_image removes.
make_image() {
  local cache=$1 free_mib
  free_mib=$(($(df -Pk "$cache" | awk 'NR == 2 {print $4}') / 1024))
  ((free_mib >= image_room_mib)) ||
    die "$cache has room for $free_mib MiB; $image_room_mib MiB are needed to make the guest's kernel"
  note "making the guest's kernel in $cache; this is done once"
  making=$cache/making-$$
  mkdir -p "$making"/{unpacked,image}
  fetch_kernel "$making/unpacked"
  fetch busybox-static "$making/unpacked"
  kernel_to_start "$making/unpacked" "$making/image/kernel"
  first_file_system "$making/unpacked" "$making/first"
  find "$making/first/modules" -name '*.ko' -exec cat {} + | strings_of_modules vermagic |
    sort -u >"$making/image/version"
  (cd "$making/first" && find . | cpio --create --format=newc --quiet) >"$making/image/initramfs"
  mv -T "$making/image" "$image"
  rm -rf "$making"
  making=
}

# forget_image STATUS: removes what was begun. Prints the status to end with.
forget_image() {
  local status=$1
  if [[ -n $making ]]; then
    rm -rf "$making"
    # A signal's own stays.
    ((status > 128)) || status=$die_status
  fi
  echo "$status"
}

# Runs a command that a signal need not wait for.
interruptible() {
  local status=0
  "$@" &
  running=$!
  wait "$running" || status=$?
  running=
  return "$status"
}

# fetch PACKAGE FOLDER: it is unpacked there, never installed.
fetch() {
  local package=$1 folder=$2
  rm -rf "$making/package"
  mkdir "$making/package"
  interruptible env -C "$making/package" apt-get -q -o APT::Sandbox::User=root -o Acquire::Retries=1 \
    -o Acquire::http::Timeout=30 download "$package" >"$making/log" 2>&1 ||
    die "cannot download $package (no network? stale lists? apt-get update):"$'\n'"$(cat "$making/log")"
  interruptible dpkg-deb -x "$making"/package/*.deb "$folder" ||
    die "cannot unpack $package; is there room in ${making%/*}?"
}

# fetch_kernel FOLDER: a kernel's package may be empty, or have a part; the others it depends on.
fetch_kernel() {
  local folder=$1 package queue
  declare -A seen=()
  queue=("$(known_package "${kernel_packages[@]}")")
  [[ -n ${queue[0]} ]] ||
    die "apt knows none of the packages ${kernel_packages[*]}: its lists are missing (apt-get update)," \
      "or this is neither Debian nor Ubuntu"
  while ((${#queue[@]} > 0)); do
    package=${queue[0]}
    queue=("${queue[@]:1}")
    [[ -z ${seen[$package]:-} ]] || continue
    seen[$package]=yes
    fetch "$package" "$folder"
    # shellcheck disable=SC2207  # names of packages are words
    queue+=($(parts_of_kernel "$package"))
  done
}

# Prints the first of them that apt can download.
known_package() {
  local package
  for package in "$@"; do
    if [[ -n $(apt-cache --no-all-versions show "$package" 2>/dev/null) ]]; then
      echo "$package"
      return
    fi
  done
}

# What PACKAGE depends on of the kernel itself has the kernel's version in its name; linux-base and
# linux-firmware, for example, have none.
parts_of_kernel() {
  LC_ALL=C apt-cache depends "$1" |
    sed -nE 's/^ *\|?(Pre)?Depends: (linux-[^ ]*-[0-9][^ ]*)$/\2/p'
}

# kernel_to_start UNPACKED FILE: the kernel as an ELF file, which the machine starts at once: to let it
# unpack itself costs seconds under emulation. It does where it is packed in a way that is not known here.
kernel_to_start() {
  local packed
  packed=$(packed_kernel "$1")
  [[ -n $packed ]] || die "the packages of this distribution's kernel hold no kernel for x86-64"
  payload_of_kernel "$packed" >"$making/payload"
  unpack "$making/payload" >"$2" 2>/dev/null || cp "$packed" "$2"
}

# What a boot loader loads is laid out as the kernel's documentation says, arch/x86/boot: its mark, how many
# sectors of setup code come first, where the payload is, how long it is.
packed_kernel() {
  local file
  find "$1" -type f ! -name '*.ko*' | while IFS= read -r file; do
    [[ $(od -An -tx4 -j $((0x202)) -N 4 "$file" 2>/dev/null) != ' 53726448' ]] || echo "$file"
  done | sort -V | tail -n 1
}

# The payload's last four bytes are its size when it is unpacked. To gzip they are part of the packed data,
# to the others not.
payload_of_kernel() {
  local setup_sectors offset length packing
  setup_sectors=$(od -An -tu1 -j $((0x1f1)) -N 1 "$1")
  read -r offset length < <(od -An -tu4 -j $((0x248)) -N 8 "$1")
  offset=$((offset + (setup_sectors + 1) * 512))
  packing=$(od -An -tx1 -j "$offset" -N 2 "$1")
  [[ $packing == ' 1f 8b' ]] || length=$((length - 4))
  head -c $((offset + length)) "$1" | tail -c "$length"
}

# unpack FILE: prints it unpacked. Fails where it is packed in a way that is not known.
unpack() {
  case $(od -An -tx1 -N 6 "$1" | tr -d ' \n') in
    7f454c46*) cat ;;
    1f8b*) gzip -dc ;;
    fd377a585a00) xz -dc ;;
    28b52ffd*) zstd -dcq ;;
    *) return 1 ;;
  esac <"$1"
}

# first_file_system UNPACKED FOLDER: the modules lie in /modules; /modules/order is how they are loaded.
first_file_system() {
  local unpacked=$1 folder=$2 busybox file name
  declare -A module_files=() added=()
  mkdir -p "$folder"/{bin,dev,proc,sys,modules,below,above,root}
  busybox=$(find "$unpacked" -type f -path '*/bin/busybox' | head -n 1)
  [[ -n $busybox ]] || die "the package busybox-static holds no busybox"
  cp "$busybox" "$folder/bin/busybox"
  install -m 755 "$root/ci/guest/init" "$folder/init"

  # The kernel takes - and _ in a module's name for the same.
  while IFS= read -r file; do
    name=${file##*/}
    name=${name%%.ko*}
    module_files[${name//-/_}]=$file
  done < <(find "$unpacked" -type f -name '*.ko*')
  for name in "${guest_modules[@]}"; do add_module "$name"; done
  for name in "${older_modules[@]}"; do
    [[ -z ${module_files[$name]:-} ]] || add_module "$name"
  done
}

# add_module NAME: after all that it needs.
add_module() {
  local name=${1//-/_} file=$folder/modules/${1//-/_}.ko needed
  [[ -z ${added[$name]:-} ]] || return 0
  added[$name]=yes
  if [[ -z ${module_files[$name]:-} ]]; then
    is_built_in "$name" || die "this distribution's kernel has no module $name"
    return 0
  fi
  unpack "${module_files[$name]}" >"$file" ||
    die "cannot unpack ${module_files[$name]##*/}: packed in an unknown way, or there is no room"
  for needed in $(strings_of_modules depends <"$file" | tr ',' ' '); do add_module "$needed"; done
  echo "$name.ko" >>"$folder/modules/order"
}

is_built_in() {
  find "$unpacked" -type f -name modules.builtin -exec cat {} + | grep -q "/${1//_/[-_]}\.ko"
}

# A module says what it is in strings NAME=VALUE: in `depends` are the modules that it needs, with commas
# between them, and `vermagic` begins with the kernel's version.
strings_of_modules() {
  tr '\0' '\n' | sed -n "s/^$1=//p"
}
