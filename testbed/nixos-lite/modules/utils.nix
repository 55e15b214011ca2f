# The module argument `utils`: helpers that NixOS modules share.
{ lib }:
rec {
  # A path as the name of a systemd unit.
  escapeSystemdPath =
    s:
    let
      trimmed = lib.concatStringsSep "/" (lib.filter (p: p != "") (lib.splitString "/" (toString s)));
      replaceChar =
        first: c:
        if c == "/" then
          "-"
        else if builtins.match "[A-Za-z0-9:_]" c != null || (c == "." && !first) then
          c
        else
          lib.strings.escapeC [ c ] c;
    in
    if trimmed == "" then "-" else lib.concatStrings (lib.imap0 (i: replaceChar (i == 0)) (lib.stringToCharacters trimmed));
  # A word for an Exec line of a unit.
  escapeSystemdExecArg =
    arg:
    lib.replaceStrings [ "%" "$" ] [ "%%" "$$" ] (builtins.toJSON (toString arg));
  escapeSystemdExecArgs = lib.concatMapStringsSep " " escapeSystemdExecArg;
  toShellPath =
    shell: if shell ? shellPath then "/run/current-system/sw${shell.shellPath}" else if lib.isDerivation shell then throw "${shell} is not a shell package" else shell;
}
