#!/usr/bin/env bash
# pkg_config.sh PREFIX SOURCE [--static]: the same programs, built by hand with the flags of pkg-config.
set -euo pipefail
prefix=$1
source=$2
static=${3:-}

build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
export PKG_CONFIG_PATH=$prefix/$LIBDIR/pkgconfig
cd "$build"

# pkg-config prints words for the shell to split.
# shellcheck disable=SC2046,SC2086
"$CXX" -std=c++20 "$source/store.cc" -o store $(pkg-config $static --cflags --libs mempool)
# shellcheck disable=SC2046,SC2086
"$CXX" -std=c++20 "$source/read.cc" -o read $(pkg-config $static --cflags --libs mempool-client)

export LD_LIBRARY_PATH=$prefix/$LIBDIR
./store
./read
