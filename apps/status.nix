{ command }:
command {
  name = "status";
  description = "Show the state of every node and the cluster";
  subcommand = [ "status" ];
}
