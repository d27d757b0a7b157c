// reader FILE PAYLOAD: prints what generated TypeScript code reads in a blob file, one field a line, and
// whether its payload is the bytes of the file PAYLOAD.
import {readFileSync} from 'fs';

import {ByteBuffer} from 'flatbuffers';

import {BlobFile} from './mempool/spill/format/blob-file';

const file = new ByteBuffer(readFileSync(process.argv[2]!));
if (!BlobFile.bufferHasIdentifier(file)) throw new Error('not a blob file');
const blob = BlobFile.getRootAsBlobFile(file);
const payload = blob.payloadArray()!;
const same = payload.length === blob.payloadLength() &&
    Buffer.compare(payload, readFileSync(process.argv[3]!)) === 0;
console.log(`format_version ${blob.formatVersion()}`);
console.log(`header_checksum ${blob.headerChecksum()}`);
console.log(`payload_checksum ${blob.payloadChecksum()}`);
console.log(`length ${blob.length()}`);
console.log(`payload_start ${blob.payloadStart()}`);
console.log(`cluster ${blob.cluster()}`);
console.log(`node ${blob.node()}`);
console.log(`incarnation ${blob.incarnation()}`);
console.log(`object ${blob.object()}`);
console.log(`type_name ${blob.typeName()}`);
console.log(`payload ${payload.length} bytes, ${same ? 'as set' : 'others'}`);
