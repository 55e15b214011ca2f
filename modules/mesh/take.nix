# A shell command that prints what the agent laid out at a path, for units of root. The agent may replace the path by a link to any file,
# so it is opened with the agent's own rights; and it may write into what it holds open, so root gets the bytes through a pipe. The
# file is moved aside first: what the agent lays out from then on starts the unit again.
{ pkgs }:
{
  path,
  # Longer ones are refused, in bytes.
  longest,
}:
let
  read = pkgs.writeShellScript "take" ''
    ${pkgs.coreutils}/bin/mv "$1" "$1.taken" && exec ${pkgs.coreutils}/bin/cat "$1.taken"
  '';
in
"${pkgs.util-linux}/bin/setpriv --reuid=machinist-agent --regid=machinist-mesh --clear-groups --inh-caps=-all --bounding-set=-all "
+ "--no-new-privs --reset-env ${read} ${path} | ${pkgs.coreutils}/bin/head --bytes=${toString longest}"
