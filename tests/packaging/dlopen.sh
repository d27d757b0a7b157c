#!/usr/bin/env bash
# dlopen.sh PREFIX SOURCE: the client library can be loaded into a running C program, as languages load
# their modules, and brings no jemalloc: a library that needs it cannot be loaded late.
set -euo pipefail
prefix=$1
source=$2

build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
library=$prefix/$LIBDIR/libmempool-client.so

"${CC:-cc}" -std=c11 -Wall -Wextra -Werror "$source" -o "$build/load_client" -ldl
"$build/load_client" "$library"

if ldd "$library" | grep jemalloc; then
  echo "the client library must not need jemalloc" >&2
  exit 1
fi
if [[ $(ldd "$prefix/$LIBDIR/libmempool.so") != *jemalloc* ]]; then
  echo "this test cannot see jemalloc even where it is" >&2
  exit 1
fi
