{ command }:
command {
  name = "status";
  description = "Ask every node and the cluster how they are";
  subcommand = [ "status" ];
}
