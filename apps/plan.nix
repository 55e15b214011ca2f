{ command }:
command {
  name = "plan";
  description = "Say what a deploy would change, and change nothing";
  subcommand = [ "plan" ];
}
