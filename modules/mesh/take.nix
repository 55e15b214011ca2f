# A shell command that prints a file of the agent, for units of root. The agent may replace the path
# by a link to any file, so it is opened with the agent's own permissions; and it may write to files
# it holds open, so root gets the bytes through a pipe. The file is renamed first: the agent's next
# file triggers the unit again.
{ pkgs }:
{
  path,
  # Maximum size in bytes; longer files are refused.
  longest,
}:
let
  read = pkgs.writeShellScript "take" ''
    ${pkgs.coreutils}/bin/mv "$1" "$1.taken" && exec ${pkgs.coreutils}/bin/cat "$1.taken"
  '';
in
"${pkgs.util-linux}/bin/setpriv --reuid=machinist-agent --regid=machinist-mesh --clear-groups --inh-caps=-all --bounding-set=-all "
+ "--no-new-privs --reset-env ${read} ${path} | ${pkgs.coreutils}/bin/head --bytes=${toString longest}"
