# Declared options against the types of NixOS (data/nixos-options.json).
if evaluate "$here/option-types.nix" > "$work/types.json" 2> "$work/types.err"; then
  differing=$(jq -r --slurpfile known "$top/data/nixos-options.json" '
    ($known[0].manual + $known[0].modules) as $types | to_entries[] | select(.key | contains("_module") | not)
    | select($types[.key] != null and $types[.key] != .value) | "\(.key): \(.value), in NixOS \($types[.key])"' "$work/types.json")
  same "options have the types of NixOS" "" "$differing"
  unknown=$(jq -r --slurpfile known "$top/data/nixos-options.json" '
    ($known[0].manual + $known[0].modules) as $types | to_entries[] | select(.key | contains("_module") | not)
    | select($types[.key] == null and $known[0].removed[.key] == null) | "\(.key): \(.value)"' "$work/types.json")
  same "no option is declared that NixOS does not have" "" "$unknown"
  missing=$(jq -r --slurpfile declared "$work/types.json" '(.manual + .modules) | keys[] | select($declared[0][.] == null)' "$top/data/nixos-options.json")
  same "no option of the list is left out" "" "$missing"
else
  no "the options evaluate" "$(cat "$work/types.err")"
fi
