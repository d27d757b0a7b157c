#!/usr/bin/env bash
# programs.sh PREFIX VERSION: the installed programs find the installed libraries, without any help of
# the environment, and one can talk to the other.
set -euo pipefail
prefix=$1
version=$2
unset LD_LIBRARY_PATH

work=$(mktemp -d)
node=
cleanup() {
  [[ -z $node ]] || kill "$node" 2>/dev/null || true
  wait
  rm -rf "$work"
}
trap cleanup EXIT

installed=$(cd "$prefix/$LIBDIR" && pwd -P)
for program in mempoold mempool mempool-torture; do
  found=$(ldd "$prefix/bin/$program" | awk '/libmempool-client/ {print $3}')
  if [[ $(readlink -f "$found") != "$installed/libmempool-client.so.$version" ]]; then
    echo "$program takes libmempool-client from ${found:-nowhere}, not from $installed" >&2
    exit 1
  fi
  [[ $("$prefix/bin/$program" --version) == "$program $version" ]]
done

mkfifo "$work/ready"
"$prefix/bin/mempoold" --listen 127.0.0.1:0 --max-memsize 16MiB --spill-dir "$work/spill" \
  --log-level warn >"$work/ready" &
node=$!
read -r -t 30 word address _ <"$work/ready"
[[ $word == ready ]]

export MEMPOOL_NODE=$address
ref=$(echo "installed" | "$prefix/bin/mempool" set -)
[[ $("$prefix/bin/mempool" get "$ref") == installed ]]
