{ command }:
command {
  name = "check";
  description = "Check machines.nix";
  subcommand = [ "check" ];
}
