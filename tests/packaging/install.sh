#!/usr/bin/env bash
# install.sh PREFIX BUILD: installs into another folder and moves it to PREFIX, so that the tests behind
# this one also see that nothing remembers where it was installed.
set -euo pipefail
prefix=$1
build=$2

rm -rf "$prefix" "$prefix.staging"
"$CMAKE" --install "$build" --prefix "$prefix.staging"
mv "$prefix.staging" "$prefix"

if grep -rlF "$prefix.staging" "$prefix"; then
  echo "the files above name the folder that they were installed to" >&2
  exit 1
fi
if [[ -e $prefix/include/mempool/detail ]]; then
  echo "private headers were installed" >&2
  exit 1
fi
