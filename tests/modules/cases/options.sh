# Every option that modules/ sets is one of NixOS, of the type that options.json says (the NixOS manual's text, from
# the manuals of 25.11 and 26.05). Another double of nixpkgs could accept more than NixOS does; this list does not.

# shellcheck disable=SC2016
wrong=$(jq -r --slurpfile known "$here/options.json" '
  ($known[0] | to_entries | map({segments: (.key | split("."))} + .value + {key})) as $options

  # The option that a path falls into: the longest that matches it, `<name>` matching any one segment.
  | def option($path):
      $options
      | map(select((.segments | length) <= ($path | length)))
      | map(select(.segments as $s
          | all(range($s | length); $s[.] == $path[.] or ($s[.] | startswith("<")))))
      | max_by(.segments | length);

    # Below an option only what its type leaves open may be set.
    def problem($found; $path):
      if $found == null then "is no option"
      elif $found.removed or $found.removedAfter then "is removed from NixOS"
      elif ($found.segments | length) < ($path | length) and ($found.freeform != true)
        and ($found.type | test("\\(submodule\\)") or (startswith("attribute set") | not))
      then "is not in \($found.key), which is of type \($found.type)"
      else empty end;

  .defined[] as $set
  | ($set.path | join(".")) as $name
  | (option($set.path) as $found | problem($found; $set.path) | "\($name) \(.)"),
    ($known[0][$set.option] // {type: "unknown"} | select(.type != $set.type)
      | "\($set.option) is of type \(.type), and here of \($set.type)")
' "$work/out.json" 2>&1 | sort -u)
no_problem() { # SENTENCE PROBLEMS
  report "$([ -z "$2" ] && echo ok)" "$1" "$2"
}
no_problem "modules/ sets options of NixOS only, of NixOS' types" "$wrong"
check "all of modules/ was looked at" '[.defined[].path[0]] | unique | contains(["boot", "disko", "networking",
  "nix", "services", "system", "systemd", "users"])' '[.defined[].path[0]] | unique'
