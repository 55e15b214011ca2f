# The library and the module system against values that nixpkgs' lib gives (expected/lib.json).
cat > "$work/lib.nix" <<EOF
let
  lib = import $top/lib;
  value = f: let r = builtins.tryEval (let v = f lib; in builtins.deepSeq v (builtins.toJSON v)); in
    if r.success then { value = builtins.fromJSON r.value; } else { throws = true; };
in builtins.mapAttrs (_: value) (import $top/tests/lib-cases.nix)
EOF
if evaluate "$work/lib.nix" > "$work/lib.json" 2> "$work/lib.err"; then
  while IFS=$'\t' read -r name equal expected actual; do
    if [ "$equal" = true ]; then ok "lib $name"; else no "lib $name" "expected $expected
got      $actual"; fi
  done < <(jq -r --slurpfile expected "$here/expected/lib.json" '
    . as $actual | ($expected[0] + $actual) | keys[] |
    [ ., ($expected[0][.] == $actual[.]), ($expected[0][.] | tojson), ($actual[.] | tojson) ] | @tsv' "$work/lib.json")
else
  no "lib evaluates" "$(cat "$work/lib.err")"
fi
