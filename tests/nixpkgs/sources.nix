# A cluster's inputs from checkouts: `nixpkgs`, or testbed/nixos-lite in its place; `disko` and `sops-nix` beside a real one.
{
  nixpkgs,
  disko,
  sops-nix,
}:
let
  flake = (import (nixpkgs + "/flake.nix")).outputs { inherit self; };
  # Attributes that the flake machinery adds. The source is only named, never read.
  self = flake // {
    outPath = "${builtins.storeDir}/00000000000000000000000000000000-source";
    lastModifiedDate = "19700101000000";
  };
in
{
  nixpkgs = self;
  disko = if disko == null then self else { nixosModules.disko = import (disko + "/module.nix"); };
  sops-nix =
    if sops-nix == null then self else { nixosModules.sops = import (sops-nix + "/modules/sops"); };
}
