# Every option that nixos-lite declares, with the description of its type.
let
  lib = import ../lib;
  system = import ../nixos-system.nix { inherit lib; } {
    modules = [
      ../stand-ins/disko.nix
      ../stand-ins/sops.nix
      { nixpkgs.hostPlatform = "x86_64-linux"; }
    ];
  };
  docs = lib.internal.optionAttrSetToDocList system.options;
in
builtins.listToAttrs (map (o: { inherit (o) name; value = o.type; }) docs)
