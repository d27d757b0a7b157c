# What the findings share; each sources it first. Sourced, not run.
set -euo pipefail
script=$(readlink -f "$0")
finding=$(basename "$script" .sh)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# What libfabric is linked to in every Debian.
# shellcheck disable=SC2034
fabric_needs=(libc6 libgcc-s1 libatomic1 libibverbs1 ibverbs-providers libnl-3-200 libnl-route-3-200 libnuma1 libpsm2-2)

skip() {
  printf 'SKIPPED: %s: %s\n' "$finding" "$*" >&2
  exit 77
}

# The behaviour is another one than the head of the script states.
changed() {
  printf 'CHANGED: %s: %s\n' "$finding" "$*" >&2
  exit 1
}

as_stated() {
  printf 'as stated: %s\n' "$finding"
}

need() {
  local program
  for program in "$@"; do
    command -v "$program" >/dev/null || skip "$program is not installed"
  done
}

# apt with lists and a cache of its own: what this machine has installed does not matter.
private_apt() {
  local suite=$1 mirror
  mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' 2>/dev/null |
    awk '$2 !~ /-/ {print $1; exit}')
  [[ -n $mirror ]] || skip "apt knows no mirror"
  mkdir -p "apt/state/lists/partial" "apt/cache/archives/partial"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >apt/sources.list
  apt=(-qq -o "Dir::State=$work/apt/state" -o Dir::State::status=/dev/null -o "Dir::Cache=$work/apt/cache"
    -o "Dir::Etc::sourcelist=$work/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o APT::Sandbox::User=root)
}

# debian SUITE NAME[=VERSION]...: unpacks these packages below ./root. A library that is not the subject has no
# version: the suite has one.
debian() {
  local suite=$1 package apt
  shift
  need apt-get dpkg-deb
  private_apt "$suite"
  apt-get "${apt[@]}" update >apt.log 2>&1 || skip "no package lists of $suite: $(tail -n 1 apt.log)"
  mkdir debs root
  (cd debs && apt-get "${apt[@]}" download "$@") >apt.log 2>&1 ||
    skip "$suite lacks one of: $*: $(tail -n 1 apt.log)"
  for package in debs/*.deb; do dpkg-deb -x "$package" root; done
}

# Runs a program with the libraries in ./root alone, their C library included.
with_root() {
  local loader
  loader=$(find root -name 'ld-linux-*.so.*' | head -n 1)
  "$loader" --inhibit-cache --library-path "$work/root/lib/x86_64-linux-gnu:$work/root/usr/lib/x86_64-linux-gnu" "$@"
}

# compile NAME FLAGS...: NAME.c with the headers and libraries in ./root.
compile() {
  local name=$1
  shift
  need gcc
  gcc -O1 -Wall -Wextra -o "$name" "$name.c" -Iroot/usr/include -Lroot/usr/lib/x86_64-linux-gnu \
    -Wl,--allow-shlib-undefined "$@"
}
