{ command }:
command {
  name = "install";
  description = "Install NixOS on a bare machine";
  subcommand = [ "install" ];
  runtimeInputs = pkgs: [ pkgs.nixos-anywhere ];
}
