{
  config,
  lib,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.environment;

  value =
    with types;
    nullOr (oneOf [
      (listOf (oneOf [
        int
        str
        path
      ]))
      int
      str
      path
    ]);
  variables =
    description:
    mkOption {
      type = types.attrsOf value;
      default = { };
      inherit description;
      apply =
        set:
        builtins.mapAttrs (_: v: if builtins.isList v then lib.concatMapStringsSep ":" toString v else toString v) (
          lib.filterAttrs (_: v: v != null) set
        );
    };
  lines =
    description:
    mkOption {
      type = types.lines;
      default = "";
      inherit description;
    };
  exports = lib.concatStrings (lib.mapAttrsToList (n: v: "export ${n}=\"${v}\"\n") (cfg.variables // cfg.sessionVariables));
  aliases = lib.concatStrings (
    lib.mapAttrsToList (n: v: "alias -- ${n}=${lib.escapeShellArg v}\n") (lib.filterAttrs (_: v: v != null) cfg.shellAliases)
  );
in
{
  options.environment = {
    systemPackages = mkOption {
      type = types.listOf types.package;
      default = [ ];
      description = "Packages of the system: /run/current-system/sw.";
    };
    variables = variables "Environment variables of login shells.";
    sessionVariables = variables "Environment variables of sessions.";
    shellAliases = mkOption {
      type = with types; attrsOf (nullOr (either str path));
      default = { };
      description = "Aliases of shells.";
    };
    shellInit = lines "Commands of every shell.";
    loginShellInit = lines "Commands of login shells.";
    interactiveShellInit = lines "Commands of interactive shells.";
    pathsToLink = mkOption {
      type = types.listOf types.str;
      default = [ ];
      description = "Folders of packages in the system's profile; nixos-lite always links bin only.";
    };
  };

  config.environment.etc."profile.d/nixos-lite.sh".text = ''
    # Written by nixos-lite from environment.variables and environment.shellAliases.
    export PATH="/run/current-system/sw/bin:$PATH"
    ${exports}${cfg.shellInit}
    ${cfg.loginShellInit}
    case $- in
      *i*)
        ${aliases}${cfg.interactiveShellInit}
        : ;;
    esac
  '';
}
