{ command }:
command {
  name = "history";
  description = "List the runs of deploys from this directory";
  subcommand = [ "history" ];
}
