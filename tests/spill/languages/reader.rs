//! reader FILE PAYLOAD: prints what generated Rust code reads in a blob file, one field a line, and whether
//! its payload is the bytes of the file PAYLOAD.
#[allow(dead_code, unused_imports, clippy::all)]
mod spill_generated;
use spill_generated::mempool::spill::format::{blob_file_buffer_has_identifier, root_as_blob_file};

/// flatc 2 shows a vector of bytes as a slice, later ones as a `Vector`, which has this method itself.
#[allow(dead_code)]
trait Bytes<'a> {
    fn bytes(self) -> &'a [u8];
}

impl<'a> Bytes<'a> for &'a [u8] {
    fn bytes(self) -> &'a [u8] {
        self
    }
}

fn main() {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let file = std::fs::read(&paths[0]).unwrap();
    assert!(blob_file_buffer_has_identifier(&file), "not a blob file");
    let blob = root_as_blob_file(&file).unwrap();
    let payload = blob.payload().bytes();
    let same = payload == std::fs::read(&paths[1]).unwrap();
    println!("format_version {}", blob.format_version());
    println!("header_checksum {}", blob.header_checksum());
    println!("payload_checksum {}", blob.payload_checksum());
    println!("length {}", blob.length());
    println!("payload_start {}", blob.payload_start());
    println!("cluster {}", blob.cluster());
    println!("node {}", blob.node());
    println!("incarnation {}", blob.incarnation());
    println!("object {}", blob.object());
    println!("type_name {}", blob.type_name());
    println!("payload {} bytes, {}", payload.len(), if same { "as set" } else { "others" });
}
