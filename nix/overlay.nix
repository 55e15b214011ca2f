# machinist's programs as an overlay of nixpkgs.
final: _: {
  machinist = import ./package.nix { pkgs = final; };
  machinist-agent = import ./agent.nix { pkgs = final; };
}
