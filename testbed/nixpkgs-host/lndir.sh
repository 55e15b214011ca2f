#!/bin/bash
# lndir [-silent] FROM [TO]: makes links in TO to the files of FROM, and its folders.
set -eu
while [ "${1-}" = -silent ] || [ "${1-}" = -ignorelinks ]; do shift; done
from=$1 to=${2:-.}
to=$(cd "$to" && pwd)
cd "$from"
from=$PWD
find . -mindepth 1 -type d -exec mkdir -p "$to/{}" \;
find . -mindepth 1 ! -type d -printf '%P\n' | while IFS= read -r file; do
  [ -e "$to/$file" ] || [ -L "$to/$file" ] || ln -s "$from/$file" "$to/$file"
done
