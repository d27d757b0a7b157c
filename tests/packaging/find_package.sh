#!/usr/bin/env bash
# find_package.sh PREFIX SOURCE: a CMake project that has the installed tree and nothing else of ours.
set -euo pipefail
prefix=$1
source=$2

build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
"$CMAKE" -S "$source" -B "$build" -DCMAKE_CXX_COMPILER="$CXX" -DCMAKE_PREFIX_PATH="$prefix"
"$CMAKE" --build "$build"
cd "$build"
./store
./read
