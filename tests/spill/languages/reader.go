// reader FILE PAYLOAD: prints what generated Go code reads in a blob file, one field a line, and whether its
// payload is the bytes of the file PAYLOAD.
package main

import (
	"bytes"
	"fmt"
	"os"
	"syscall"

	"reader/mempool/spill/format"
)

func mapped(path string) []byte {
	file, err := os.Open(path)
	if err != nil {
		panic(err)
	}
	info, err := file.Stat()
	if err != nil {
		panic(err)
	}
	if info.Size() == 0 {
		return nil
	}
	data, err := syscall.Mmap(int(file.Fd()), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	return data
}

func main() {
	blob := format.GetRootAsBlobFile(mapped(os.Args[1]), 0)
	payload := blob.PayloadBytes()
	same := "others"
	if len(payload) == blob.PayloadLength() && bytes.Equal(payload, mapped(os.Args[2])) {
		same = "as set"
	}
	fmt.Println("format_version", blob.FormatVersion())
	fmt.Println("header_checksum", blob.HeaderChecksum())
	fmt.Println("payload_checksum", blob.PayloadChecksum())
	fmt.Println("length", blob.Length())
	fmt.Println("payload_start", blob.PayloadStart())
	fmt.Println("cluster", blob.Cluster())
	fmt.Println("node", blob.Node())
	fmt.Println("incarnation", blob.Incarnation())
	fmt.Println("object", blob.Object())
	fmt.Println("type_name", string(blob.TypeName()))
	fmt.Println("payload", len(payload), "bytes,", same)
}
