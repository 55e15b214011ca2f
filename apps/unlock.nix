{ command }:
command {
  name = "unlock";
  description = "Take the lock of a deploy that was left behind";
  subcommand = [ "unlock" ];
}
