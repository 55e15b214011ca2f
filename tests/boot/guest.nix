# What is special about the guest: its kernel and initrd, which nixos-lite cannot make, in the places of NixOS; and its
# boot loader. boot/system.nix, which the test writes, has what differs between two systems.
{ config, lib, ... }:
let
  system = import ./boot/system.nix { inherit lib; };
  installer = ./boot + "/install-boot-loader.pl";
in
{
  fileSystems."/" = {
    device = "/dev/vda2";
    fsType = "ext4";
  };
  fileSystems."/boot" = lib.mkIf (system.loader == "systemd-boot") {
    device = "/dev/vda1";
    fsType = "vfat";
  };
  boot.loader.systemd-boot.enable = system.loader == "systemd-boot";
  boot.loader.grub = lib.mkIf (system.loader == "grub") {
    enable = true;
    device = "/dev/vda";
  };
  boot.kernelParams = [
    "console=ttyS0"
    "net.ifnames=0"
  ]
  ++ system.params or [ ];
  system.systemBuilderCommands = ''
    ln -s ${./boot + "/vmlinuz"} kernel
    ln -s ${./boot + "/initrd.${system.initrd or "good"}"} initrd
    sed 's|@loader@|${system.loader}|; s|@boot@|/boot|; s|@limit@|10|; s|@timeout@|1|' ${installer} \
      > libexec/install-boot-loader
    # Its own boot loader in the place of nixos-lite's double.
    rm -f sw/bin/bootctl
    printf '%s' ${lib.escapeShellArg (lib.concatStringsSep " " config.boot.kernelParams)} > kernel-params
  '';
  # The test does not wait for half an hour.
  machinist.boot.fallback = {
    deadline = 150;
    panicReset = 3;
  };
  imports = [ system.module or { } ];
}
