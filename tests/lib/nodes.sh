# shellcheck shell=bash
# Waits for states of a cluster's machines. Sourced after tests/lib/cluster.sh.

# pid NODE UNIT: prints the main process of a unit, which changes when the unit restarts.
pid() {
  on "$1" systemctl show --property=MainPID --value "$2"
}
boot_of() {
  on "$1" cat /proc/sys/kernel/random/boot_id
}
# rebooted NODE BOOT: waits until the node responds in another boot.
rebooted() {
  wait_until 120 is_another_boot "$1" "$2"
}
is_another_boot() {
  local now
  now=$(boot_of "$1") && [ "$now" != "$2" ]
}
# healthy: waits until `machinist status` reports no problem.
healthy() {
  wait_until 120 m status
}
etcd_healthy() {
  wait_until 120 m etcd status
}

# hold NODE [NIX]: from the next deploy on, an activation of the node waits in a unit until let_go NODE. NIX is added to
# its module.
hold() {
  # The time makes it a different unit, which a switch starts again.
  cat >"$cluster/nodes/$1.nix" <<NIX
{
  systemd.services.held = $(held_unit);
  ${2:-}
}
NIX
  on "$1" touch /run/held
}
held_unit() {
  cat <<NIX
{
    wantedBy = [ "multi-user.target" ];
    serviceConfig = {
      Type = "oneshot";
      RemainAfterExit = true;
      ExecStart = "/bin/sh -c 'while test -e /run/held; do sleep 0.1; done; echo $EPOCHREALTIME'";
    };
  }
NIX
}
let_go() {
  on "$1" rm -f /run/held
}
# waits_held NODE: waits until the activation has reached that unit.
waits_held() {
  wait_until 180 is_held "$1"
}
is_held() {
  [ "$(on "$1" systemctl show --property=ActiveState --value held)" = activating ]
}
# no_activation NODE: waits until no activation is running.
no_activation() {
  wait_until 120 has_no_activation "$1"
}
has_no_activation() {
  local units
  units=$(on "$1" "systemctl list-units --plain --no-legend 'machinist-activate-*'") && [ -z "$units" ]
}

# Not through a function: a signal must reach machinist itself.
start_first() {
  machinist -C "$cluster" "$@" >"$here/first" 2>&1 &
  first=$!
}
first_ended() {
  wait "$first" 2>/dev/null
  equal "$1" "$?: $(grep -Eo -- "$3" "$here/first" | head -n 1)" "$2: $3"
}
