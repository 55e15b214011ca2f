# shellcheck shell=bash
# Machines of the sandbox that run a real NixOS: sourced after tests/lib/cluster.sh by scripts that have called trial_begin.
#
#   prepare_nixos              what builds systems from NIXPKGS, see testbed/nixpkgs-host
#   install_nixos              installs each machine of `nodes` with a system without a role, and boots it
#   deploy_casper NAME [NIX]   deploys NIX, or casper's module as it is, to casper; NixOS must do what the plan said
declare -A first_boots=()

# debian_root: the root of the sandbox's machines, of which there is at least one.
debian_root() {
  # shellcheck source=/dev/null
  . "/var/lib/machinist/sandbox/$trial/machines/${nodes[0]}/settings" && echo "$root"
}
prepare_nixos() {
  local root
  root=$(debian_root)
  "$project/testbed/nixpkgs-host/prepare" "$here/nixos" "$root" "$NIXPKGS" ${NIXPKGS_OVERLAY:+"$NIXPKGS_OVERLAY"} || return
}
# rehearsal_base ROOT: the trees beneath rehearsal machines: Debian's programs, and of its /etc what these need, as an
# installation leaves it (testbed/nixpkgs-host/install.sh).
rehearsal_base() {
  local etc=$here/base/etc
  mkdir -p "$etc"
  # The opaque folder hides that of the layers below.
  python3 -c 'import os, sys; os.setxattr(sys.argv[1], "trusted.overlay.opaque", b"y")' "$etc" || return
  cp -a "$1"/etc/alternatives "$1"/etc/ld.so.conf* "$etc/" && cp "$here/nixos/extra/etc/ld.so.cache" "$etc/" || return
  echo "$here/base:$here/nixos/extra:$1"
}
# use_nixos: machinist and this script build with it from now on.
use_nixos() {
  local layouts secrets
  layouts=$(nix store add-path --name source "$DISKO") && secrets=$(nix store add-path --name source "$SOPS_NIX") || return
  PATH=$here/nixos/bin:$PATH
  # Each path that is added would wait for the disk.
  NIX_CONFIG+=$'\nfsync-metadata = false'
  export MACHINIST_OVERRIDE_INPUTS="machinist=git+file://$project machinist/nixpkgs=path:$here/nixos/flake
    machinist/disko=path:$layouts machinist/sops-nix=path:$secrets"
}

# installed: builds the machines' systems as an installation has them, without roles. Prints their paths.
installed() {
  local input options=() references=("${nodes[@]/#/git+file://$here/installed#nixosConfigurations.}")
  for input in $MACHINIST_OVERRIDE_INPUTS; do options+=(--override-input "${input%%=*}" "${input#*=}"); done
  sed -E 's/(roles|apps) = \[[^]]*\]/\1 = [ ]/g; s/orchestrator = "[a-z]*"/orchestrator = null/' "$cluster/machines.nix" >"$here/installed.nix"
  {
    machinist init "$here/installed" --from "$here/installed.nix" --ssh-public-key "$MACHINIST_SSH_KEY.pub" &&
      machinist -C "$here/installed" certs gen && machinist -C "$here/installed" generate && git -C "$here/installed" add --all
  } >"$log" 2>&1 &&
    nix build --no-link --print-out-paths --no-write-lock-file "${options[@]}" \
      "${references[@]/%/.config.system.build.toplevel}" 2>>"$log"
}
install_nixos() {
  local node system systems begun=$EPOCHREALTIME
  use_nixos
  mapfile -t systems < <(installed)
  if [ "${#systems[@]}" = "${#nodes[@]}" ]; then
    pass "systems of all machines ($(since "$begun") s, with all of their packages)"
  else
    fail "systems of all machines" "$(tail -n 30 "$log")"
    print_counts
    exit 1
  fi
  for node in "${!nodes[@]}"; do
    system=${systems[$node]} node=${nodes[$node]}
    first_boots[$node]=$(boot_of "$node")
    # shellcheck disable=SC2046
    nix-store --export $(nix-store --query --requisites "$system") |
      on_input "$node" "nix-store --option fsync-metadata false --import >/dev/null && nix-env --profile /nix/var/nix/profiles/system --set $system"
    on_input "$node" "$(cat "$project/testbed/nixpkgs-host/install.sh")" <"$here/nixos/programs.tar"
  done
}
# booted NODE: waits until an installed machine has booted its NixOS.
booted() {
  rebooted "$1" "${first_boots[$1]}" && on "$1" test -e /run/current-system
}

deploy_casper() {
  [ $# = 1 ] || echo "$2" >"$cluster/nodes/casper.nix"
  m plan casper --json >"$here/plan.json" 2>"$log"
  check "$1" m deploy casper
  equal "NixOS does what the plan said" "$(done_by_nixos)" "$(predicted)"
  predicted | sed 's/^/      /'
}
predicted() {
  jq -r '.nodes.casper.units[] | select(.action | IN("stop", "restart", "reload", "start")) | "\(.action) \(.unit)"' "$here/plan.json" | sort
}
# done_by_nixos: what switch-to-configuration printed in the last deploy, in the plan's words, without the slices that systemd
# makes for instances.
done_by_nixos() {
  local run
  run=$(basename "$(find "$cluster/.machinist/runs" -name '*.jsonl' | sort | tail -n 1)" .jsonl)
  on casper journalctl --output=cat --unit="machinist-activate-$run.service" | awk -F': ' '
    function set(into, list,   n, i, part) {
      n = split(list, part, ", ")
      for (i = 1; i <= n; i++) into[part[i]] = 1
    }
    /^stopping the following units: / { set(stopped, $2) }
    /^starting the following units: / { set(started, $2) }
    /^restarting the following units: / { set(restarted, $2) }
    /^reloading the following units: / { set(reloaded, $2) }
    /^the following new units were started: / { set(new, $2) }
    END {
      for (unit in stopped) if (unit in started) restarted[unit] = 1; else print "stop " unit
      for (unit in started) if (!(unit in stopped)) new[unit] = 1
      for (unit in restarted) print "restart " unit
      for (unit in reloaded) print "reload " unit
      for (unit in new) if (unit !~ /^system-.*[.]slice$/) print "start " unit
    }' | sort
}
