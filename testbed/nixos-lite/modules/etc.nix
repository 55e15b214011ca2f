{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;

  entry =
    {
      config,
      options,
      name,
      ...
    }:
    {
      options = {
        enable = mkOption {
          type = types.bool;
          default = true;
          description = "Creates this file.";
        };
        target = mkOption {
          type = types.str;
          description = "The path below /etc; the attribute's name if not set.";
        };
        text = mkOption {
          type = types.nullOr types.lines;
          default = null;
          description = "Text of the file.";
        };
        source = mkOption {
          type = types.path;
          description = "Path of the source file.";
        };
        mode = mkOption {
          type = types.str;
          default = "symlink";
          example = "0600";
          description = "`symlink`, or the mode of a copy.";
        };
        uid = mkOption {
          type = types.int;
          default = 0;
          description = "UID of a copy.";
        };
        gid = mkOption {
          type = types.int;
          default = 0;
          description = "GID of a copy.";
        };
        user = mkOption {
          type = types.str;
          default = "+${toString config.uid}";
          description = "Owner of a copy; it wins over `uid`.";
        };
        group = mkOption {
          type = types.str;
          default = "+${toString config.gid}";
          description = "Group of a copy; it wins over `gid`.";
        };
      };
      config = {
        target = lib.mkDefault name;
        source = lib.mkIf (config.text != null) (
          lib.mkDerivedConfig options.text (pkgs.writeText "etc-${lib.replaceStrings [ "/" ] [ "-" ] name}")
        );
      };
    };
in
{
  options.environment.etc = mkOption {
    type = types.attrsOf (types.submodule entry);
    default = { };
    description = "Files to link (or, with a mode, to copy) into /etc.";
  };

  config.system.activationScripts.etc = {
    text = ''
      echo "setting up /etc..." >&2
      /usr/bin/perl "$systemConfig/libexec/setup-etc" "$systemConfig/etc"
    '';
  };
}
