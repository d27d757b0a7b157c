#!/usr/bin/env bash
# sanitizer.sh PREFIX SOURCE: a program with a node in it, built with the address sanitizer by somebody who has
# the installed tree. The installed suppressions hide what libfabric loses and nothing of the program's own.
set -euo pipefail
prefix=$1
source=$2

build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
export PKG_CONFIG_PATH=$prefix/$LIBDIR/pkgconfig
cd "$build"

# pkg-config prints words for the shell to split.
# shellcheck disable=SC2046
"$CXX" -std=c++20 -g -fsanitize=address "$source/node.cc" -o node $(pkg-config --cflags --libs mempool)
export LD_LIBRARY_PATH=$prefix/$LIBDIR
suppressions=$(pkg-config --variable=lsan_suppressions mempool)

# leaks SUPPRESSIONS [ARGUMENT]: whether the sanitizer reports leaks; any other end is an end of this test.
leaks() {
  local status=0
  LSAN_OPTIONS=exitcode=23:$1 timeout 60 ./node "${@:2}" >log 2>&1 || status=$?
  cat log
  case $status in
    0) return 1 ;;
    23) return 0 ;;
    *) exit "$status" ;;
  esac
}

if leaks "suppressions=$suppressions"; then
  echo "a program with a node in it does not pass under $suppressions" >&2
  exit 1
fi
if ! leaks "suppressions=$suppressions" lose || ! grep -q '10000 byte(s) in 10 object(s)' log; then
  echo "$suppressions hides what the program itself loses" >&2
  exit 1
fi
if ! leaks "" && [[ $(pkg-config --modversion libfabric) == 1.* ]]; then
  echo "libfabric loses nothing here: $suppressions has nothing to hide" >&2
  exit 1
fi
