# What nixos-generate-config writes, in short.
{ lib, ... }:
{
  boot.initrd.availableKernelModules = [ "nvme" ];
  nixpkgs.hostPlatform = lib.mkDefault "x86_64-linux";
}
