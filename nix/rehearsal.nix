# A node as a rehearsal machine, which `machinist rehearse` adds to the node's modules in its copy of the directory: the
# container variant of the same configuration. It replaces what a container cannot have (kernel, boot loader, disks, network
# devices, clock), and nothing else: units, users, firewall, /etc and packages are the node's own.
{ lib, options, ... }:
let
  # Stronger than mkForce in nodes/<name>.nix: this machine has no such hardware.
  only = lib.mkOverride 10;
  # Options of NixOS that not every release or module set has.
  ifDeclared =
    path: value:
    lib.optionalAttrs (lib.hasAttrByPath path options) (lib.setAttrByPath path (only value));
in
{
  config = lib.mkMerge [
    {
      boot.isContainer = only true;
      boot.loader.grub.enable = only false;
      boot.loader.systemd-boot.enable = only false;

      fileSystems = only { };
      swapDevices = only [ ];
      machinist.disk.layout = only false;

      # The network namespace has the node's address before the machine boots.
      machinist.network.configure = only false;
      networking.useDHCP = only false;
      networking.interfaces = only { };

      # Rehearsal machines have this computer's clock.
      services.timesyncd.enable = only false;

      services.openssh.startWhenNeeded = only false;
      services.openssh.settings.PermitRootLogin = only "prohibit-password";
    }
    (ifDeclared [ "disko" "enableConfig" ] false)
    (ifDeclared [ "networking" "defaultGateway" ] null)
    (ifDeclared [ "networking" "defaultGateway6" ] null)
    (ifDeclared [ "networking" "networkmanager" "enable" ] false)
    (ifDeclared [ "systemd" "network" "enable" ] false)
    (ifDeclared [ "services" "chrony" "enable" ] false)
    (ifDeclared [ "services" "ntp" "enable" ] false)
    (ifDeclared [ "services" "smartd" "enable" ] false)
    (ifDeclared [ "services" "qemuGuest" "enable" ] false)
    (ifDeclared [ "services" "cloud-init" "enable" ] false)
  ];
}
