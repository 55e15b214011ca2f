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
equal "a disk is laid out for both" '.variants.hybrid.disk.main.content.partitions | map_values(.type // "8300")' \
  '{ boot: "EF02", ESP: "EF00", root: "8300" }'
check "both boot by GRUB" '.variants.hybrid.boot | .grub and (.systemdBoot | not)'
equal "an installation knows the firmware of the layout" \
  '[.nodes.balthazar, .variants.bios, .variants.hybrid | .install.firmware]' '["uefi", "bios", "hybrid"]'
equal "an installation knows the disks that are erased, and those that are not" \
  '[.nodes.balthazar, .variants.keptDisk | .install | [.disks, .kept]]' \
  '[[["/dev/disk/by-id/nvme-balthazar"], []], [["/dev/sda"], ["/dev/sdb"]]]'
equal "an installation knows whether the node asks for its address, or has one" \
  '[.nodes.balthazar, .variants.keptDisk | .install | [.dhcp, (.addresses | keys)]]' \
  '[[true, ["enp2s0"]], [false, ["enp2s0"]]]'
equal "an installation knows the drivers of the initial ramdisk" \
  '.variants.keptDisk.install | [.initrdModules, .initrdNetwork]' '[["megaraid_sas"], false]'
equal "two disks mirror each other, boot partitions included" \
  '.variants.mirror.devices | [.disk | map_values(.content.partitions | map_values(.content.name // .type)) | .main, .mirror]' \
  '[{ boot: "EF02", ESP: "boot", root: "root" }, { boot: "EF02", ESP: "boot", root: "root" }]'
equal "firmware reads a mirrored boot partition by itself" '.variants.mirror.devices.mdadm.boot | [.level, .metadata, .content.format]' \
  '[1, "1.0", "vfat"]'
check "a lost disk of a mirror is reported" '.variants.mirror.swraid | .enable and (.mdadmConf | startswith("PROGRAM /nix/store/"))'
check "other nodes assemble no arrays" '.nodes.balthazar.swraid.enable == false and .variants.zfs.swraid.enable == false'
only "ZFS does not boot by BIOS alone" .failed.zfsByBios "without a boot partition that GRUB can read" hybrid
only "a mirror does not boot by UEFI alone" .failed.mirrorByUefi "systemd-boot writes to one of them only" machinist.disk.firmware
equal "ZFS mirrors by itself, except for the boot partition" \
  '.variants.zfsMirror.devices | [.zpool.rpool.mode, (.mdadm | keys), .disk.mirror.content.partitions.root.content.pool]' \
  '["mirror", ["boot"], "rpool"]'
equal "a pool of one disk has no mirror" '.variants.zfs.devices | [.zpool.rpool.mode, .mdadm]' '["", null]'
check "a pool belongs to its node" '.variants.zfs.hostId | test("^[0-9a-f]{8}$")'
equal "other nodes need no host id" .nodes.balthazar.hostId null
equal "data is mounted as it is, and the node boots without it" '.variants.dataDisk.data | [.device, .fsType, .options[1]]' \
  '["/dev/sdb1", "xfs", "nofail"]'
equal "data is no part of what disko does" '.variants.dataDisk | [(.disk | keys), .install.kept]' '[["main"], ["/dev/sdb1"]]'
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
