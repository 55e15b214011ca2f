{ command }:
command {
  name = "unlock";
  description = "Remove the lock that an interrupted deploy left behind";
  subcommand = [ "unlock" ];
}
