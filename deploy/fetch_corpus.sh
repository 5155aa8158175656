#!/usr/bin/env bash
# Fetches a larger public corpus for --data. This needs the internet, and nothing else in this repository does.
#   deploy/fetch_corpus.sh enwik8 [FOLDER]     the first 10^8 bytes of an English Wikipedia dump (36 MB to fetch) -> FOLDER/enwik8
#   deploy/fetch_corpus.sh minipile [FOLDER]   a million documents of many kinds (about 3 GB to fetch, 6 GB of text)
#                                              -> FOLDER/minipile.txt, and its test documents -> FOLDER/minipile-test.txt
# FOLDER is data/ of this repository where none is given. Documents are joined by a zero byte, which starts the model's state anew.
# minipile comes through the Python package `datasets`; EGGROLL_PYTHON names the Python that has it (default python3).
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
corpus=${1:-}
folder=${2:-$top/data}
python=${EGGROLL_PYTHON:-python3}
fail() { echo "fetch_corpus: $*" >&2; exit 1; }
if [[ $# -lt 1 || $# -gt 2 || ("$corpus" != minipile && "$corpus" != enwik8) ]]; then
  echo "usage: deploy/fetch_corpus.sh minipile|enwik8 [FOLDER]" >&2
  exit 2
fi

# Everything is made in here and moved when it is complete.
made_folder=0
[[ -d "$folder" ]] || made_folder=1
mkdir -p "$folder" 2>/dev/null || fail "cannot create the folder $folder"
aside=$(mktemp -d "$folder/.fetch.XXXXXX" 2>/dev/null) || fail "cannot write in the folder $folder"
leave() {
  rm -rf "$aside"
  ((made_folder == 0)) || rmdir "$folder" 2>/dev/null || true  # stays where something is in it
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fetch_enwik8() {
  local url=https://mattmahoney.net/dc/enwik8.zip bytes
  [[ -s "$folder/enwik8" ]] && { echo "fetch_corpus: $folder/enwik8 is there already"; return; }
  command -v unzip >/dev/null || command -v "$python" >/dev/null || fail "needs unzip or python3 to unpack"
  echo "fetch_corpus: enwik8 from the internet: $url (36 MB)"
  if command -v curl >/dev/null; then
    curl -fsSL --connect-timeout 20 -o "$aside/enwik8.zip" "$url" 2>"$aside/why" ||
      fail "cannot fetch $url: $(tail -n 1 "$aside/why"); this script needs the internet"
  elif command -v wget >/dev/null; then
    wget -nv --timeout=20 --tries=2 -O "$aside/enwik8.zip" "$url" 2>"$aside/why" ||
      fail "cannot fetch $url: $(tail -n 1 "$aside/why"); this script needs the internet"
  else
    fail "needs curl or wget"
  fi
  if command -v unzip >/dev/null; then
    unzip -q "$aside/enwik8.zip" enwik8 -d "$aside" >"$aside/why" 2>&1 || fail "what came from $url is no zip archive with enwik8"
  else
    "$python" -m zipfile -e "$aside/enwik8.zip" "$aside" >"$aside/why" 2>&1 || fail "what came from $url is no zip archive"
  fi
  bytes=$(stat -c %s "$aside/enwik8" 2>/dev/null || echo 0)
  [[ "$bytes" == 100000000 ]] || fail "enwik8 has $bytes bytes, expected are 100000000"
  mv "$aside/enwik8" "$folder/enwik8"
  echo "fetch_corpus: $folder/enwik8, 100000000 bytes"
}

fetch_minipile() {
  [[ -s "$folder/minipile.txt" && -s "$folder/minipile-test.txt" ]] &&
    { echo "fetch_corpus: $folder/minipile.txt is there already"; return; }
  command -v "$python" >/dev/null || fail "needs $python"
  "$python" -c 'import datasets' 2>/dev/null ||
    fail "$python lacks the package datasets: install it with '$python -m pip install datasets' (in a virtual environment; EGGROLL_PYTHON names its python)"
  echo "fetch_corpus: minipile from the internet: the Hugging Face data set JeanKaddour/minipile (about 3 GB)"
  "$python" - "$aside" 2>"$aside/why" <<'PYTHON' || fail "cannot fetch minipile: $(tail -n 1 "$aside/why"); this script needs the internet"
import os
import sys

import datasets

for split, name in (("train", "minipile.txt"), ("test", "minipile-test.txt")):
    documents = datasets.load_dataset("JeanKaddour/minipile", split=split)
    with open(os.path.join(sys.argv[1], name), "wb") as file:
        for number, document in enumerate(documents):
            if number > 0:
                file.write(b"\0")
            file.write(document["text"].encode("utf-8", "replace").replace(b"\0", b""))
    print(f"fetch_corpus: {split}: {len(documents)} documents", flush=True)
PYTHON
  mv "$aside/minipile-test.txt" "$folder/minipile-test.txt"
  mv "$aside/minipile.txt" "$folder/minipile.txt"
  echo "fetch_corpus: $folder/minipile.txt, $(stat -c %s "$folder/minipile.txt") bytes"
}

"fetch_$corpus"
