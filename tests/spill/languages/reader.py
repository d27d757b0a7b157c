"""reader.py FILE PAYLOAD: prints what generated Python code reads in a blob file, one field a line, and
whether its payload is the bytes of the file PAYLOAD."""
import mmap
import sys

from mempool.spill.format.BlobFile import BlobFile


def mapped(path):
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def payload_of(blob):
    """The generated code shows a vector byte by byte, or as an array of NumPy; the bytes lie at its start."""
    table = blob._tab
    start = table.Vector(table.Offset(24))
    return memoryview(table.Bytes)[start : start + blob.PayloadLength()]


def same_bytes(payload, path):
    with open(path, "rb") as file:
        for at in range(0, len(payload), 1 << 20):
            if file.read(1 << 20) != payload[at : at + (1 << 20)]:
                return False
        return file.read(1) == b""


buffer = mapped(sys.argv[1])
if not BlobFile.BlobFileBufferHasIdentifier(buffer, 0):
    sys.exit("not a blob file")
blob = BlobFile.GetRootAs(buffer, 0)
payload = payload_of(blob)
assert not payload or (payload[0], payload[-1]) == (blob.Payload(0), blob.Payload(len(payload) - 1))
print("format_version", blob.FormatVersion())
print("header_checksum", blob.HeaderChecksum())
print("payload_checksum", blob.PayloadChecksum())
print("length", blob.Length())
print("payload_start", blob.PayloadStart())
print("cluster", blob.Cluster())
print("node", blob.Node())
print("incarnation", blob.Incarnation())
print("object", blob.Object())
print("type_name", blob.TypeName().decode())
print("payload", len(payload), "bytes,", "as set" if same_bytes(payload, sys.argv[2]) else "others")
