# Excerpt of the output of nixos-generate-config.
{ lib, ... }:
{
  boot.initrd.availableKernelModules = [ "nvme" ];
  nixpkgs.hostPlatform = lib.mkDefault "x86_64-linux";
}
