# The node itself: name, disk, sandbox, a person's own module, and that all options exist.

check "the node has its name in machines.nix" '
  .nodes.balthazar | .hostName == "balthazar" and .domain == "magi.internal" and .stateVersion == "26.05"'
for node in balthazar casper melchior; do
  equal "no assertion fails on $node" ".failed.$node" '[]'
done

check "nodes/<name>.nix replaces defaults and adds to lists" '
  .nodes.balthazar | .gc == ["daily"] and .ssh.ports == [22, 2022]
  and (.firewall[0] | contains("10.13.13.50"))' '.nodes.balthazar | [.gc, .ssh.ports, .firewall]'
equal "a node without its own module keeps the defaults" .nodes.casper.gc '["weekly"]'
check "nodes/<name>/*.nix is imported, and a fact outranks its default" \
  '[.nodes.casper.hostPlatform | if type == "object" then .system else . end] == ["x86_64-linux"]' .nodes.casper.hostPlatform

equal "a disk is laid out for UEFI" '.nodes.balthazar.disk.main | [.device, (.content.partitions | keys)]' \
  '["/dev/disk/by-id/nvme-balthazar", ["ESP", "root"]]'
check "UEFI boots by systemd-boot" '.nodes.balthazar.boot | .systemdBoot and (.grub | not)'
equal "a disk is laid out for BIOS" '.variants.bios.disk.main.content.partitions | map_values(.type // "8300")' \
  '{ boot: "EF02", root: "8300" }'
check "BIOS boots by GRUB" '.variants.bios.boot | .grub and (.systemdBoot | not)'
equal "a user's layout replaces ours completely" '.variants.ownDisk.disk | keys' '["own"]'
equal "a machine of the sandbox has no disk laid out, even if it names one" .variants.sandboxDisk.disk '{}'
only "a machine without a root file system is refused" .failed.noRoot "balthazar has no root file system" '`disk`' nodes/balthazar.nix
equal "unless the user defines one" .failed.rootOfOnesOwn '[]'
only "a layout without a disk is refused" .failed.noDisk "machinist.disk.layout is true on balthazar" '`disk`'

check "a machine of the sandbox is a container with a listening sshd" '
  .nodes.melchior | .boot.isContainer and .ssh.startWhenNeeded == false and .ssh.authorizedKeysInHomedir
  and (.boot.systemdBoot | not)' .nodes.melchior

equal "lib.machines calls a machines.nix that is a function of pkgs" '.machines.casper.etcd.enable' true
for part in default disk etcd k3s kubernetes mesh router; do
  equal "nixosModules.$part is a configuration by itself" ".parts.$part" '{failed: [], isSystem: true}'
done
check "nixosModules are all known to the tests" '.parts | keys == ["default", "disk", "etcd", "k3s", "kubernetes", "mesh", "router"]' .parts
