# Mistakes in a configuration are named with the option and the file.
# NAME MODULE-TEXT PART...: building the sample with a module fails, and the message holds the parts.
refused() {
  local name=$1 message
  printf '%s\n' "$2" > "$work/mistake.nix"
  shift 2
  if message=$(evaluate --expr "(import $here/sample.nix { modules = [ $work/mistake.nix ]; }).config.system.build.toplevel.drvPath" 2>&1); then
    no "refuses $name" "it evaluates: $message"
  else
    holds "refuses $name" "$message" "$@"
  fi
}

refused "an option that does not exist" '{ services.etcd.nonsense = true; }' \
  "The option \`services.etcd.nonsense' does not exist" "mistake.nix"
refused "a misspelt option, with a suggestion" '{ networking.hostNam = "x"; }' "Did you mean \`networking.hostName'"
refused "a value of another type" '{ services.etcd.enable = "yes"; }' \
  "A definition for option \`services.etcd.enable' is not of type \`boolean'" "mistake.nix" '"yes"'
refused "a wrong type deep in a submodule" '{ networking.interfaces.eth1.ipv4.addresses = [ { address = 1; prefixLength = 24; } ]; }' \
  "networking.interfaces.eth1.ipv4.addresses" "is not of type \`string'"
refused "a prefix that is too long" '{ networking.interfaces.eth1.ipv4.addresses = [ { address = "10.1.1.1"; prefixLength = 33; } ]; }' \
  "integer between 0 and 32 (both inclusive)"
refused "two definitions that differ" '{ networking.domain = "other"; }' \
  "The option \`networking.domain' has conflicting definition values" "mistake.nix" "lib.mkForce"
refused "a value that is not in an enumeration" '{ services.etcd.initialClusterState = "fresh"; }' 'one of "new", "existing"'
refused "a unit name without a suffix" '{ systemd.services.x.wantedBy = [ "multi-user" ]; }' "systemd.services.x.wantedBy" "string matching the pattern"
refused "an unknown service type" '{ systemd.services.x.serviceConfig.Type = "onesot"; }' "systemd.services.x.serviceConfig" "onesot"
refused "a port that is no port" '{ networking.firewall.allowedTCPPorts = [ 70000 ]; }' "16 bit unsigned integer"
refused "an option of systemd units that does not exist" '{ systemd.services.x.serviceConfg = { }; }' "systemd.services.x.serviceConfg" "does not exist"
refused "a declared option that has no value" '{ lib, config, ... }: { options.own.x = lib.mkOption { type = lib.types.str; }; config.environment.etc.x.text = config.own.x; }' \
  "The option \`own.x' was accessed but has no value defined"
refused "a read-only option that is set" '{ system.nixos.release = "1"; }' "The option \`system.nixos.release' is read-only"
refused "an assertion that does not hold" '{ assertions = [ { assertion = false; message = "the moon is up"; } ]; }' "Failed assertions" "the moon is up"
refused "a machine without a root file system" '{ lib, ... }: { fileSystems = lib.mkForce { }; }' "fileSystems" "root file system"
refused "GRUB without a disk" '{ lib, ... }: { boot.loader.grub.device = lib.mkForce ""; }' "boot.loader.grub.devices"
refused "a kernel parameter that NixOS sets itself, with its own value" \
  '{ lib, ... }: { boot.kernel.sysctl."fs.inotify.max_user_watches" = lib.mkDefault 524288; }' \
  "fs.inotify.max_user_watches" "defined multiple times"
refused "the iptables firewall" '{ lib, ... }: { networking.nftables.enable = lib.mkForce false; }' "nixos-lite has the nftables firewall only"
refused "a user without a group" '{ users.users.x.isSystemUser = true; }' "users.users.x.group is unset"
refused "a user that is neither of the system nor a person" '{ users.users.x.group = "root"; }' "isSystemUser and users.users.x.isNormalUser"
refused "locking everybody out" '{ lib, ... }: { users.mutableUsers = false; users.users.root.openssh.authorizedKeys.keys = lib.mkForce [ ]; }' "locked out"
refused "a removed option" '{ services.openssh.banner = "x"; }' "services.openssh.banner" "services.openssh.settings.Banner"
refused "sops secrets" "{ imports = [ $top/stand-ins/sops.nix ]; sops.defaultSopsFile = \"/s.yaml\"; sops.secrets.x = { }; }" "real sops-nix"
refused "a disk without content" "{ imports = [ $top/stand-ins/disko.nix ]; disko.devices.disk.main = { }; }" "disko.devices.disk.main"
refused "two packages sets of options for one name" '{ lib, ... }: { options.networking.hostName = lib.mkOption { type = lib.types.int; }; }' \
  "networking.hostName" "is already declared in"

warned=$(evaluate --expr "(import $here/sample.nix { modules = [ { warnings = [ \"a small matter\" ]; services.openssh.permitRootLogin = \"no\"; } ]; }).config.system.build.toplevel.drvPath" 2>&1)
holds "shows warnings and goes on" "$warned" "warning: a small matter" "/nix/store/"
holds "warns of a renamed option and obeys it" "$warned" "services.openssh.permitRootLogin" "has been renamed to \`services.openssh.settings.PermitRootLogin'"
