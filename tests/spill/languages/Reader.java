// Reader FILE PAYLOAD: prints what generated Java code reads in a blob file, one field a line, and whether
// its payload is the bytes of the file PAYLOAD.
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;

import mempool.spill.format.BlobFile;

class Reader {
  static ByteBuffer mapped(String path) throws IOException {
    try (FileChannel file = FileChannel.open(Path.of(path))) {
      return file.map(FileChannel.MapMode.READ_ONLY, 0, file.size());
    }
  }

  public static void main(String[] paths) throws IOException {
    ByteBuffer file = mapped(paths[0]);
    if (!BlobFile.BlobFileBufferHasIdentifier(file)) throw new IOException("not a blob file");
    BlobFile blob = BlobFile.getRootAsBlobFile(file);
    ByteBuffer payload = blob.payloadAsByteBuffer();
    boolean same = payload.remaining() == blob.payloadLength() && payload.equals(mapped(paths[1]));
    System.out.println("format_version " + blob.formatVersion());
    System.out.println("header_checksum " + Long.toUnsignedString(blob.headerChecksum()));
    System.out.println("payload_checksum " + Long.toUnsignedString(blob.payloadChecksum()));
    System.out.println("length " + Long.toUnsignedString(blob.length()));
    System.out.println("payload_start " + Long.toUnsignedString(blob.payloadStart()));
    System.out.println("cluster " + Long.toUnsignedString(blob.cluster()));
    System.out.println("node " + Long.toUnsignedString(blob.node()));
    System.out.println("incarnation " + Long.toUnsignedString(blob.incarnation()));
    System.out.println("object " + Long.toUnsignedString(blob.object()));
    System.out.println("type_name " + blob.typeName());
    System.out.println("payload " + payload.remaining() + " bytes, " + (same ? "as set" : "others"));
  }
}
