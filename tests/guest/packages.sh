# Small packages that are cut, laid out and packed as distributions do it with their kernels, in an archive
# of their own for apt. Sourced by `image`, which sets `work`.

archive=$work/archive

# le32 NUMBER: its four bytes, the lowest first, for printf.
le32() {
  printf '\\x%02x' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24))
}

# put FILE OFFSET BYTES
put() {
  printf "$3" | dd of="$1" bs=1 seek=$(($2)) conv=notrunc status=none
}

# packed METHOD <FILE
packed() {
  case $1 in
    none) cat ;;
    xz) xz --check=crc32 ;;
    zst) zstd -q ;;
    gz) gzip -n ;;
    other) printf 'OTHER'; cat ;;
  esac
}

# The kernel as an ELF file, which a guest is to start.
unpacked_kernel() {
  printf '\177ELF the kernel of %s\n' "$1"
  seq 5000
}

# kernel METHOD VERSION FILE: as a boot loader loads it (the kernel's documentation, arch/x86/boot): setup
# code with the header in it, some code, the packed kernel, the rest.
kernel() {
  local method=$1 version=$2 file=$3 code=16 setup_sectors=3
  mkdir -p "$(dirname "$file")"
  unpacked_kernel "$version" | packed "$method" >"$work/payload"
  [[ $method == gz ]] || printf "$(le32 "$(unpacked_kernel "$version" | wc -c)")" >>"$work/payload"
  head -c $(((setup_sectors + 1) * 512 + code)) /dev/zero >"$file"
  put "$file" 0x1f1 "\\x0$setup_sectors"
  put "$file" 0x202 HdrS
  put "$file" 0x248 "$(le32 $code)$(le32 "$(stat -c %s "$work/payload")")"
  cat "$work/payload" >>"$file"
  printf 'the rest' >>"$file"
}

# modules METHOD VERSION FOLDER NAME[=NEEDED,...]...
modules() {
  local method=$1 version=$2 folder=$3 module name suffix=
  shift 3
  [[ $method == none ]] || suffix=.$method
  mkdir -p "$folder/kernel/drivers"
  for module in "$@"; do
    name=${module%%=*}
    # An ELF file with these strings, as far as anybody reads it before it is loaded.
    printf '\177ELF\0license=GPL\0depends=%s\0name=%s\0vermagic=%s SMP preempt\0' \
      "$(sed 's/^[^=]*=*//' <<<"$module")" "$name" "$version" |
      packed "$method" >"$folder/kernel/drivers/$name.ko$suffix"
  done
}

# package NAME [DEPENDS]: of what is in $work/tree/NAME, and puts it into the archive.
package() {
  local name=$1 tree=$work/tree/$1 file=$archive/$1.deb
  mkdir -p "$tree/DEBIAN" "$archive"
  printf '%s\n' "Package: $name" "Version: 1" "Architecture: amd64" "Maintainer: nobody <nobody@localhost>" \
    "Description: for a test" ${2:+"Depends: $2"} >"$tree/DEBIAN/control"
  # Not what a user's umask makes of it.
  chmod -R u=rwX,go=rX "$tree"
  dpkg-deb --root-owner-group -Zgzip -b "$tree" "$file" >/dev/null
  {
    dpkg-deb -f "$file"
    echo "Filename: ./$name.deb"
    echo "Size: $(stat -c %s "$file")"
    echo "SHA256: $(sha256sum "$file" | cut -d ' ' -f 1)"
    echo
  } >>"$archive/Packages"
}

# Points apt, in this process and below, at the archive and nothing else.
use_archive() {
  local apt=$work/apt
  mkdir -p "$apt"/{etc/apt.conf.d,etc/preferences.d,etc/sources.list.d,etc/trusted.gpg.d,state/lists/partial} \
    "$apt"/cache/archives/partial "$archive"
  touch "$apt/status" "$archive/Packages"
  echo "deb [trusted=yes] copy:$archive ./" >"$apt/etc/sources.list"
  printf '%s "%s";\n' Dir::Etc "$apt/etc" Dir::State "$apt/state" Dir::State::status "$apt/status" \
    Dir::Cache "$apt/cache" APT::Architecture amd64 APT::Sandbox::User root >"$work/apt.conf"
  export APT_CONFIG=$work/apt.conf
  apt-get -q update >"$work/update" 2>&1 || { cat "$work/update"; exit 1; }
}
