{ command }:
command {
  name = "deploy";
  description = "Build the systems of nodes and activate them over SSH";
  subcommand = [ "deploy" ];
}
