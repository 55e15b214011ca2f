# A closure is built as NixOS's is, whole and with what it refers to.
if nix build --no-link --json --impure --expr "(import $here/sample.nix { modules = [ {
    environment.etc.\"own/secret\" = { text = \"s\"; mode = \"0400\"; user = \"etcd\"; group = \"etcd\"; };
    systemd.services.off.enable = false;
    systemd.services.job = { script = \"true\"; startAt = \"hourly\"; };
    systemd.mounts = [ { what = \"/dev/x\"; where = \"/mnt/a b\"; wantedBy = [ \"local-fs.target\" ]; } ];
  } ]; }).config.system.build.toplevel" > "$work/build.json" 2> "$work/build.err"; then
  system=$(jq -r '.[0].outputs.out' "$work/build.json")
  same "toplevel has NixOS's name" "nixos-system-alpha-26.05-lite" "${system:44}"
  for file in activate init bin/switch-to-configuration dry-activate; do
    if [ -x "$system/$file" ]; then ok "toplevel has $file"; else no "toplevel has $file"; fi
  done
  same "toplevel knows its version and platform" "26.05-lite x86_64-linux systemd 2" \
    "$(cat "$system/nixos-version") $(cat "$system/system") $(cat "$system/init-interface-version")"
  same "toplevel has no specialisation" "" "$(ls -d "$system/specialisation" 2> /dev/null)"
  same "a wanted unit has its link" "../etcd.service" "$(readlink "$system/etc/systemd/system/multi-user.target.wants/etcd.service")"
  same "a unit of systemd's own is extended" "overrides.conf" "$(ls "$system/etc/systemd/system/systemd-sysctl.service.d")"
  same "a disabled unit is masked" "/dev/null" "$(readlink "$system/etc/systemd/system/off.service")"
  holds "startAt makes a timer" "$(cat "$system/etc/systemd/system/job.timer")" "OnCalendar=hourly"
  holds "a mount unit is named after its path" "$(cat "$system/etc/systemd/system/mnt-a\\x20b.mount" 2>&1)" "Where=/mnt/a b"
  same "a copied file has its owner" "0400 etcd etcd" "$(cat "$system"/etc/own/secret.{mode,uid,gid} | tr '\n' ' ' | sed 's/ $//')"
  closure=$(nix-store --query --requisites "$system")
  holds "the closure brings what its units run" "$closure" "-etcd-3.5.16" "-openssh-10.0p1" "-unit-script-network-addresses-eth0-start" "-nftables-rules"
  # Every store path that a file of the system names is in the closure.
  named=$(grep -rhoE '/nix/store/[0-9a-z]{32}-[A-Za-z0-9+._?=-]+' "$system" 2> /dev/null | sort -u)
  holds "the system names store paths" "$named" "-unit-script-network-addresses-eth0-start"
  same "the closure is complete" "" "$(comm -23 <(printf '%s\n' "$named") <(printf '%s\n' "$closure" | sort -u))"
  same "an unknown action is refused" "1" "$("$system/bin/switch-to-configuration" nonsense > /dev/null 2>&1; echo $?)"
  if [ ! -e /run/systemd/container ] && [ ! -e /etc/nixos-lite ] && [ -z "${container-}" ]; then
    holds "a machine that is no container is left alone" "$("$system/bin/switch-to-configuration" test 2>&1; "$system/activate" 2>&1)" \
      "This is not a NixOS installation of nixos-lite"
  else
    skip "a machine that is no container is left alone" "this machine is a container"
  fi
else
  no "toplevel builds" "$(tail -20 "$work/build.err")"
fi

if message=$(nix build --no-link --impure --expr "(import $here/sample.nix { modules = [ { networking.firewall.extraInputRules = \"nonsense\"; } ]; }).config.system.build.toplevel" 2>&1); then
  if command -v nft > /dev/null && unshare --net true 2> /dev/null; then no "a wrong firewall rule fails the build"; else skip "a wrong firewall rule fails the build" "no nft or no network namespaces"; fi
else
  holds "a wrong firewall rule fails the build" "$message" "nftables-rules"
fi
