#!/usr/bin/env bash
# Library:  FlatBuffers 23.5.26 (Debian 13: flatbuffers-compiler 23.5.26+dfsg-4; runtimes flatbuffers 23.5.26 of PyPI
#           and npm). The same with 2.0.8 and, in Java, with flatbuffers-java.
# Seen:     a FlatBuffer of 2^31 - 1 bytes is read in Python and in node. With one byte more - which C++'s 32-bit
#           unsigned offsets still reach - Python reads it, and node refuses to load the file.
# Output:   2147483647 bytes: python reads 2147483607; node reads 2147483607
#           2147483648 bytes: python reads 2147483608; node RangeError [ERR_FS_FILE_TOO_LARGE]
# Matters:  "up to 2 GiB" is not one limit: a producer that goes to the last byte of one language makes files that
#           another cannot open. The safe bound for a file is 2^31 - 1 bytes.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

need python3 node npm
debian trixie flatbuffers-compiler=23.5.26+dfsg-4 libflatbuffers23.5.26=23.5.26+dfsg-4 libc6 libgcc-s1 libstdc++6
python3 -m venv venv >venv.log 2>&1 || skip "python3 cannot make a virtual environment"
venv/bin/pip install --quiet flatbuffers==23.5.26 >pip.log 2>&1 || skip "PyPI's flatbuffers 23.5.26 cannot be had"
npm install --no-audit --no-fund --no-package-lock --loglevel=error flatbuffers@23.5.26 typescript@4.9.5 \
  >npm.log 2>&1 || skip "npm has no flatbuffers 23.5.26 or typescript 4.9.5: $(tail -n 1 npm.log)"

echo "table Blob { data:[ubyte]; } root_type Blob;" >shelf.fbs
with_root root/usr/bin/flatc --ts --python shelf.fbs
node_modules/.bin/tsc --target es2020 --module commonjs --moduleResolution node blob.ts

# One small buffer whose vector comes last; its length and the file's are raised, the rest is a hole.
cat >grow.py <<'P'
import os, struct, sys
import flatbuffers
import Blob
builder = flatbuffers.Builder(64)
data = builder.CreateByteVector(b"")
Blob.BlobStart(builder)
Blob.BlobAddData(builder, data)
builder.Finish(Blob.BlobEnd(builder))
head = bytes(builder.Output())
head = head + b"" if head[-4:] == b"\0\0\0\0" else sys.exit("the vector is not the last element")
size = int(sys.argv[1])
with open("blob.bin", "wb") as file:
    file.write(head[:-4] + struct.pack("<I", size - len(head)))
    file.truncate(size)
P
cat >read.py <<'P'
import mmap
import Blob
with open("blob.bin", "rb") as file:
    print("reads", Blob.Blob.GetRootAs(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), 0).DataLength())
P
cat >read.js <<'J'
const {ByteBuffer} = require('flatbuffers');
const {Blob} = require('./blob');
try {
  console.log('reads', Blob.getRootAsBlob(new ByteBuffer(require('fs').readFileSync('blob.bin'))).dataLength());
} catch (error) {
  console.log(`${error.name} [${error.code}]`);
}
J
try() {
  venv/bin/python grow.py "$1"
  echo "$1 bytes: python $(venv/bin/python read.py); node $(node read.js)"
}
try 2147483647 | tee seen
try 2147483648 | tee -a seen
diff - seen <<'T' || changed "see above"
2147483647 bytes: python reads 2147483607; node reads 2147483607
2147483648 bytes: python reads 2147483608; node RangeError [ERR_FS_FILE_TOO_LARGE]
T
as_stated
