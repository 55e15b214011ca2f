{ command }:
command {
  name = "rollback";
  description = "Bring nodes back to a system that they still have";
  subcommand = [ "rollback" ];
}
