# Texts of units and files against golden/. With UPDATE_GOLDEN=1 the golden files are written anew.
if evaluate "$here/golden.nix" > "$work/golden.json" 2> "$work/golden.err"; then
  while IFS= read -r file; do
    text=$(jq -r --arg file "$file" '.[$file]' "$work/golden.json" | unhash)
    [ "${UPDATE_GOLDEN-}" != 1 ] || printf '%s\n' "$text" > "$here/golden/$file"
    same "golden $file" "$(cat "$here/golden/$file")" "$text"
  done < <(jq -r 'keys[]' "$work/golden.json")
else
  no "the golden texts evaluate" "$(cat "$work/golden.err")"
fi
