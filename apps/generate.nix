{ command }:
command {
  name = "generate";
  description = "Write the nodes' facts from machines.nix";
  subcommand = [ "generate" ];
}
