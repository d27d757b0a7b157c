#!/usr/bin/env bash
# Library:  FlatBuffers 23.5.26 (Debian 13: flatbuffers-compiler 23.5.26+dfsg-4; runtime flatbuffers 23.5.26 of PyPI).
# Seen:     a buffer whose file identifier is another schema's is refused by flatc; generated Python code reads it as
#           its own and shows numbers. Nothing looks at the identifier unless BlobBufferHasIdentifier is called.
# Output:   python: another schema's buffer read, size 4711
#           flatc refuses it
# Matters:  the identifier looks like a check and is a label: readers in other languages must ask for it themselves,
#           before they read the root.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

need python3
debian trixie flatbuffers-compiler=23.5.26+dfsg-4 libflatbuffers23.5.26=23.5.26+dfsg-4 libc6 libgcc-s1 libstdc++6
python3 -m venv venv >venv.log 2>&1 || skip "python3 cannot make a virtual environment"
venv/bin/pip install --quiet flatbuffers==23.5.26 >pip.log 2>&1 || skip "PyPI's flatbuffers 23.5.26 cannot be had"

flatc() {
  with_root root/usr/bin/flatc "$@"
}
echo 'table Blob { size:ulong; } root_type Blob; file_identifier "BLOB";' >shelf.fbs
echo 'table Order { number:ulong; } root_type Order; file_identifier "ORDR"; file_extension "order";' >shop.fbs
echo '{ number: 4711 }' >one.json
flatc --binary shop.fbs one.json
flatc --python shelf.fbs

cat >read.py <<'P'
import Blob
with open("one.order", "rb") as file:
    data = file.read()
assert not Blob.Blob.BlobBufferHasIdentifier(data, 0)
print("python: another schema's buffer read, size", Blob.Blob.GetRootAs(data, 0).Size())
P
seen=$(venv/bin/python read.py)
echo "$seen"
[[ $seen == "python: another schema's buffer read, size 4711" ]] || changed "$seen"
flatc --json shelf.fbs -- one.order >flatc.log 2>&1 && changed "flatc takes it"
echo "flatc refuses it"
as_stated
