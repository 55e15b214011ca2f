{ command }:
command {
  name = "plan";
  description = "Show what a deploy would change, without changing anything";
  subcommand = [ "plan" ];
}
