# The least that NixOS takes as a system, to compare the cost of a node with.
{
  nixpkgs,
  overlay ? null,
  # As a machine of the sandbox: no kernel, no boot loader.
  container ? false,
}:
let
  lib = import (nixpkgs + "/lib");
  system = import (nixpkgs + "/nixos/lib/eval-config.nix") {
    inherit lib;
    system = null;
    modules = [
      {
        boot.isContainer = container;
        boot.loader.grub.device = lib.mkIf (!container) "nodev";
        fileSystems = lib.mkIf (!container) {
          "/" = {
            device = "/dev/disk/by-label/root";
            fsType = "ext4";
          };
        };
        nixpkgs.hostPlatform = "x86_64-linux";
        nixpkgs.overlays = lib.optional (overlay != null) (import overlay);
        system.stateVersion = lib.trivial.release;
      }
    ];
  };
in
builtins.unsafeDiscardStringContext system.config.system.build.toplevel.drvPath
