{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.programs.ssh;
  flag =
    default: description:
    mkOption {
      type = types.bool;
      inherit default description;
    };
  lines =
    description:
    mkOption {
      type = types.lines;
      default = "";
      inherit description;
    };

  knownHost =
    { name, config, ... }:
    {
      options = {
        certAuthority = flag false "Whether the key is an authority of host certificates.";
        hostNames = mkOption {
          type = types.listOf types.str;
          default = [ name ] ++ config.extraHostNames;
          defaultText = lib.literalExpression "[ ‹name› ] ++ config.${"programs.ssh.knownHosts.<name>.extraHostNames"}";
          description = "Names and addresses of the host.";
        };
        extraHostNames = mkOption {
          type = types.listOf types.str;
          default = [ ];
          description = "More names and addresses of the host.";
        };
        publicKey = mkOption {
          type = types.nullOr types.str;
          default = null;
          description = "The host's key.";
        };
        publicKeyFile = mkOption {
          type = types.nullOr types.path;
          default = null;
          description = "A file with the host's key.";
        };
      };
    };
  knownHostLine =
    h:
    lib.optionalString h.certAuthority "@cert-authority "
    + lib.concatStringsSep "," h.hostNames
    + " "
    + (if h.publicKey != null then h.publicKey else lib.removeSuffix "\n" (builtins.readFile h.publicKeyFile));
in
{
  imports = [ (lib.mkAliasOptionModule [ "services" "openssh" "knownHosts" ] [ "programs" "ssh" "knownHosts" ]) ];

  options.programs = {
    ssh = {
      package = lib.mkPackageOption pkgs "openssh" { };
      extraConfig = lines "More text of ssh_config.";
      startAgent = flag false "Whether an agent is started for users; without effect here.";
      setXAuthLocation = flag false "Whether xauth is named to ssh.";
      knownHosts = mkOption {
        type = types.attrsOf (types.submodule knownHost);
        default = { };
        description = "Keys of hosts.";
      };
    };
    bash = {
      interactiveShellInit = lines "Commands of interactive shells.";
      shellInit = lines "Commands of every shell.";
      loginShellInit = lines "Commands of login shells.";
      promptInit = lines "Commands that set the prompt.";
      shellAliases = mkOption {
        type = with types; attrsOf (nullOr (either str path));
        default = { };
        description = "Aliases of bash.";
      };
      completion.enable = flag true "Whether completion is on; without effect here.";
    };
  };
  options.documentation = {
    enable = flag true "Whether documentation is installed; without effect here.";
    man.enable = flag true "Whether manual pages are installed; without effect here.";
    doc.enable = flag true "Whether documents are installed; without effect here.";
    info.enable = flag true "Whether info pages are installed; without effect here.";
    nixos.enable = flag true "Whether the NixOS manual is installed; without effect here.";
  };

  config = {
    assertions = lib.mapAttrsToList (name: h: {
      assertion = (h.publicKey == null) != (h.publicKeyFile == null);
      message = "knownHost ${name} must contain either a publicKey or publicKeyFile";
    }) cfg.knownHosts;
    # In nixpkgs this is bashInteractive; with a path of the machine, root can log in without a
    # profile.
    users.defaultUserShell = lib.mkDefault "/bin/bash";
    environment = {
      shellAliases = config.programs.bash.shellAliases;
      shellInit = config.programs.bash.shellInit;
      loginShellInit = config.programs.bash.loginShellInit;
      interactiveShellInit = config.programs.bash.interactiveShellInit + config.programs.bash.promptInit;
      etc =
        lib.optionalAttrs (cfg.knownHosts != { }) {
          "ssh/ssh_known_hosts".text = lib.concatMapStrings (h: knownHostLine h + "\n") (lib.attrValues cfg.knownHosts);
        }
        // lib.optionalAttrs (cfg.extraConfig != "") { "ssh/ssh_config.d/nixos.conf".text = cfg.extraConfig; };
    };
  };
}
