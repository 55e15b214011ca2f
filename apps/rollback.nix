{ command }:
command {
  name = "rollback";
  description = "Roll nodes back to a system that they still have";
  subcommand = [ "rollback" ];
}
