#!/usr/bin/env bash
# Sourced by tests/nixpkgs/* and tests/examples/run, which have set `here`: a real nixpkgs and evaluations with it, views of
# nodes, and their comparison.
judge=$project/tests/nixpkgs
lite_path=$project/testbed/nixos-lite

skip_all() { # REASON
  skip "real nixpkgs" "$1"
  print_counts
  exit
}
# recorded_servers NAME DIRECTORY: an example whose provider chooses addresses gets the record of a `provision`, made up.
recorded_servers() {
  local record=$project/tests/examples/state/$1.json
  [ ! -e "$record" ] || install -D -m 644 "$record" "$2/state/cluster.json"
}
# The oldest Nix that nixpkgs accepts.
oldest=2.18

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

is_new_enough() { # VERSION
  [ "$(printf '%s\n' "$oldest" "$1" | sort -V | head -n 1)" = "$oldest" ]
}
version_of() { # COMMAND...
  "$@" nix-instantiate --version 2>/dev/null | grep -oE '[0-9]+[.][0-9]+[.0-9]*' | head -n 1
}
# in_nix_root COMMAND...: runs it in the root file system, which stays unchanged; the paths that an evaluation reads are
# mounted at their usual places.
in_nix_root() {
  # shellcheck disable=SC2016
  unshare --mount --propagation private -- bash -c '
    set -e
    here=$1 root=$2 shown=$3
    shift 3
    mkdir -p "$here/upper" "$here/work" "$here/merged"
    mount -t overlay overlay -o "lowerdir=$root,upperdir=$here/upper,workdir=$here/work" "$here/merged"
    mkdir -p "$here/merged/proc" "$here/merged/dev"
    mount -t proc proc "$here/merged/proc"
    mount --rbind /dev "$here/merged/dev"
    while read -r path; do
      mkdir -p "$here/merged$path"
      mount --bind "$path" "$here/merged$path"
    done <<<"$shown"
    exec chroot "$here/merged" env HOME=/root "$@"' in_nix_root "$here/root" "$nix_root" "$shown" "$@"
}
# Sets `nix`, the command before a program of a Nix that is new enough.
find_nix() {
  local version
  version=$(version_of env)
  nix=(env)
  is_new_enough "${version:-0}" && return
  # shellcheck disable=SC2012
  nix_root=${NIX_ROOT:-$(ls -d /var/cache/machinist/root-*/complete 2>/dev/null | head -n 1 | sed "s/complete$/tree/")}
  [ -n "$nix_root" ] || skip_all "it needs Nix $oldest, this one is ${version:-missing}, and there is no NIX_ROOT"
  mkdir -p "$here/clusters" "$here/root"
  shown=$(printf '%s\n' "$project" "$NIXPKGS" "$DISKO" "$SOPS_NIX" "$here/clusters" ${NIXPKGS_OVERLAY:+"$(dirname "$NIXPKGS_OVERLAY")"} | sort -u)
  nix=(in_nix_root)
  version=$(version_of in_nix_root)
  is_new_enough "${version:-0}" || skip_all "it needs Nix $oldest, and $nix_root has ${version:-none}"
}
# want PREFIX FILE ARGUMENTS...: adds an evaluation for evaluate_all, which runs them concurrently.
want() {
  printf '%s ' "$out/$1" "$judge/$2" "${@:3}" >>"$here/wanted"
  echo >>"$here/wanted"
}
evaluate_all() {
  # The first program that opens a store creates it, and several at once would conflict.
  "${nix[@]}" nix-store --init
  sed 's/ *$//' "$here/wanted" | "${nix[@]}" xargs -L 1 -P "${JOBS:-$(nproc)}" "$judge/evaluate"
}
cost() { # < stderr of an evaluation: "6.1 s, 580 MB"
  sed -n '/^{/,$p' | jq -r '"\(.cpuTime * 10 | round / 10) s, \((.gc.heapSize // 0) / 1000000 | round) MB"' 2>/dev/null
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
