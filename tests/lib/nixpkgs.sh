#!/usr/bin/env bash
# Sourced by tests/nixpkgs/* and tests/examples/run: a real nixpkgs, views of nodes, and their comparison.
judge=$project/tests/nixpkgs
lite_path=$project/testbed/nixos-lite

skip_all() { # REASON
  skip "real nixpkgs" "$1"
  print_counts
  exit
}
# Sets NIXPKGS, DISKO and SOPS_NIX.
find_sources() {
  [ -z "${NIXPKGS-}" ] || {
    : "${DISKO:?is missing: a checkout of disko beside NIXPKGS}" "${SOPS_NIX:?is missing: a checkout of sops-nix beside NIXPKGS}"
    return
  }
  local inputs
  inputs=$(timeout 300 nix flake archive --json "git+file://$project" 2>/dev/null) \
    || skip_all "NIXPKGS names no checkout, and what flake.lock pins cannot be fetched from here"
  NIXPKGS=$(jq -r .inputs.nixpkgs.path <<<"$inputs")
  DISKO=$(jq -r .inputs.disko.path <<<"$inputs")
  SOPS_NIX=$(jq -r '.inputs["sops-nix"].path' <<<"$inputs")
}

# lite_view DIRECTORY NODE: the node as evaluated by nixos-lite.
lite_view() {
  nix-instantiate --eval --read-write-mode --strict --json "$judge/view.nix" \
    --arg nixpkgs "$lite_path" --arg root "$1" --argstr node "$2"
}
parts() { # < VIEW: its parts, sorted
  jq -S -L "$judge" 'include "normal"; .view | parts'
}
# differences DOUBLE REAL: compares two files of parts; prints differences without a reason in the README.
differences() {
  jq -n -r -L "$judge" --argjson known "$("$judge/known")" '
    include "normal"; input as $double | input as $real
    | compare($double; $real; $known)[]
    | "\(.path)", (.double[] | "  only nixos-lite: \(.)"), (.real[] | "  only NixOS:      \(.)"),
      (select(.double + .real == []) | "  the same lines in another order")' "$1" "$2"
}
# as_expected DIRECTORY NODE FILE: the node has the parts that nixpkgs gave. With UPDATE_EXPECT=1, FILE is updated to
# the result of nixos-lite, with each changed part marked as unconfirmed: the next `tests/nixpkgs/run --update` confirms
# or corrects it.
as_expected() {
  local double=$here/double.json real=$here/real.json known
  known=$("$judge/known")
  lite_view "$1" "$2" 2>"$here/err" | parts >"$double"
  [ -s "$double" ] || { cat "$here/err"; return 1; }
  jq .parts "$3" >"$real"
  if [ -n "${UPDATE_EXPECT-}" ]; then
    jq -S -L "$judge" --argjson known "$known" --slurpfile double "$double" 'include "normal";
      def name: split(" ") | .[0:2] | join(" ");
      $double[0] as $double
      | ((.parts | keys | names) - ($double | keys | names)) as $gone
      | (compare($double; .parts; $known) | map(.path) | names) as $changed
      | .parts |= (with_entries(select(.key | name | IN($gone[], $changed[]) | not))
          + ($double | with_entries(select(.key | name | IN($changed[])))))
      | .unconfirmed = (.unconfirmed + $changed - $gone | unique)' "$3" >"$here/updated.json" && cp "$here/updated.json" "$3"
    return
  fi
  differences "$double" "$real" >"$here/differences"
  [ ! -s "$here/differences" ] || {
    cat "$here/differences"
    echo "nixpkgs $(jq -r .version "$3") made this in $(basename "$(dirname "$3")")/$(basename "$3"). A difference of nixos-lite is a fault in it."
    echo "After a change of modules/: NIXPKGS=... ./test nixpkgs --update, or without a nixpkgs UPDATE_EXPECT=1 $0"
    return 1
  }
}
