#!/usr/bin/env bash
# Unpacks the King James Bible of the package bible-kjv-text to plain text, one verse a line: deploy/corpus.sh FILE
set -euo pipefail
[[ $# -eq 1 ]] || { echo "usage: deploy/corpus.sh FILE" >&2; exit 2; }
file=$1
[[ -s "$file" ]] && exit 0
command -v bible >/dev/null || { echo "corpus: the command 'bible' is missing; deploy/setup.sh installs it" >&2; exit 1; }
mkdir -p "$(dirname "$file")"
# Without the reference in front of each verse.
bible -f 'gen1:1-rev22:21' </dev/null | sed 's/^[^ ]* //' >"$file.partial"
lines=$(wc -l <"$file.partial")
if [[ $lines -ne 31102 ]]; then
  rm -f "$file.partial"
  echo "corpus: expected 31102 verses, got $lines" >&2
  exit 1
fi
mv "$file.partial" "$file"
