#!/usr/bin/env bash
# Library:  FlatBuffers 23.5.26 (Debian 13: flatbuffers-compiler 23.5.26+dfsg-4; runtimes flatbuffers 23.5.26 of npm,
#           flatbuffers-java 23.5.26). 2.0.8 of Debian 12 does the same.
# Seen:     flatc takes a table with a vector `data` and a field `data_offset` without a word; the TypeScript and the
#           Java code that it generates does not compile, because generated functions call their argument for
#           the vector `dataOffset`. The C++ code does compile.
# Output:   typescript: error TS2300: Duplicate identifier 'dataOffset'.
#           java: variable dataOffset is already defined in method createBlob
# Matters:  a file format with "X, and where X starts" has just these two names. Who publishes the schema hears of it
#           from the first reader in another language, when the names are in everybody's code.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

need node npm javac mvn
debian trixie flatbuffers-compiler=23.5.26+dfsg-4 libflatbuffers23.5.26=23.5.26+dfsg-4 libc6 libgcc-s1 libstdc++6
npm install --no-audit --no-fund --no-package-lock --loglevel=error flatbuffers@23.5.26 typescript@4.9.5 \
  >npm.log 2>&1 || skip "npm has no flatbuffers 23.5.26 or typescript 4.9.5: $(tail -n 1 npm.log)"
mvn --batch-mode --quiet "-Dmaven.repo.local=$work/maven" \
  org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy \
  -Dartifact=com.google.flatbuffers:flatbuffers-java:23.5.26 "-DoutputDirectory=$work" >mvn.log 2>&1 ||
  skip "Maven has no flatbuffers-java 23.5.26: $(tail -n 1 mvn.log)"

typescript() {
  node_modules/.bin/tsc --strict --target es2020 --module commonjs --moduleResolution node --noEmit blob.ts
}
java_code() {
  javac -cp flatbuffers-java-23.5.26.jar -d classes Blob.java
}

# generate NAME: a table with the vector `data` and a field called NAME.
generate() {
  echo "table Blob { $1:ulong; data:[ubyte]; } root_type Blob;" >shelf.fbs
  with_root root/usr/bin/flatc --ts --java shelf.fbs
}

generate data_start
typescript && java_code || changed "code with another name does not compile either"
generate data_offset
status=0
typescript >seen && status=1
grep -o 'error TS2300: Duplicate identifier.*' seen | sort -u | sed 's/^/typescript: /' || status=1
java_code 2>seen && status=1
grep -o 'variable dataOffset is already defined in method [a-zA-Z]*' seen | sed 's/^/java: /' || status=1
((status == 0)) || changed "the code compiles, or fails otherwise"
as_stated
