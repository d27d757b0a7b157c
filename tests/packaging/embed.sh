#!/usr/bin/env bash
# embed.sh PREFIX TREE COMPILER HOW STANDARD LIBRARIES: a program's own build with this tree as a part
# (embedding/CMakeLists.txt), HOW being add_subdirectory or fetch_content, under C++ STANDARD, with static or shared
# LIBRARIES. What the programs, the tests and the benchmarks need is not to be had in it. Static libraries
# are installed as well, and used by find_package and pkg-config. It all happens beside PREFIX.
set -euo pipefail
tree=$2 compiler=$3 how=$4 standard=$5 libraries=$6
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(dirname "$1")/$how

if ! command -v "$compiler" >/dev/null; then
  echo "SKIPPED: $compiler is not installed; $how was not tried"
  exit 77
fi

choices=(-DMEMPOOL_TREE="$tree" -DHOW="$how" -DSTANDARD="$standard" -DPROGRAMS="$here/outside")
if [[ $libraries == static ]]; then
  # A parent that is stricter than we are.
  choices+=(-DBUILD_SHARED_LIBS=OFF -DMEMPOOL_INSTALL=ON -DWARNINGS=-Wconversion)
else
  # This compiler's warnings are errors in our sources as well.
  choices+=(-DBUILD_SHARED_LIBS=ON -DMEMPOOL_WERROR=ON)
fi
for package in CLI11 OpenSSL nlohmann_json GTest benchmark; do
  choices+=("-DCMAKE_DISABLE_FIND_PACKAGE_$package=ON")
done
if command -v ccache >/dev/null; then
  choices+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
  export CCACHE_BASEDIR=$tree CCACHE_NOHASHDIR=1
fi

rm -rf "$work"
"$CMAKE" -S "$here/embedding" -B "$work/build" -DCMAKE_CXX_COMPILER="$compiler" \
  -DCMAKE_INSTALL_LIBDIR="$LIBDIR" "${choices[@]}"
"$CMAKE" --build "$work/build" --parallel 2
cd "$work"
build/programs/store
build/programs/read

# needs PROGRAM LIBRARY
needs() { [[ $(ldd "build/programs/$1") == *"$2"* ]]; }

made=static
if needs store libmempool || needs read libmempool; then made=shared; fi
if [[ $made != "$libraries" ]]; then
  echo "the libraries are $made, and were to be $libraries" >&2
  exit 1
fi
if needs read jemalloc || ! needs store jemalloc; then
  echo "a pool that stores needs jemalloc, and a client must not" >&2
  exit 1
fi

if [[ $libraries == static ]]; then
  "$CMAKE" --install "$work/build" --prefix "$work/prefix"
  export CXX=$compiler
  bash "$here/find_package.sh" "$work/prefix" "$here/outside"
  bash "$here/pkg_config.sh" "$work/prefix" "$here/outside" --static
fi
