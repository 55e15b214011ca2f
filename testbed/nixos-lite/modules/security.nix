{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.security;
  flag =
    default: description:
    mkOption {
      type = types.bool;
      inherit default description;
    };
  strings =
    default: description:
    mkOption {
      type = types.listOf types.str;
      inherit default description;
    };
  names =
    description:
    mkOption {
      type = types.listOf (types.either types.str types.int);
      default = [ ];
      inherit description;
    };

  command = {
    options = {
      command = mkOption {
        type = types.str;
        description = "A command with or without arguments, or `ALL`.";
      };
      options = mkOption {
        type = types.listOf (types.enum [ "NOPASSWD" "PASSWD" "NOEXEC" "EXEC" "SETENV" "NOSETENV" "LOG_INPUT" "NOLOG_INPUT" "LOG_OUTPUT" "NOLOG_OUTPUT" "MAIL" "NOMAIL" "FOLLOW" "NOFLLOW" "INTERCEPT" "NOINTERCEPT" ]);
        default = [ ];
        description = "Tags of the command.";
      };
    };
  };
  rule = {
    options = {
      users = names "Users that the rule is for.";
      groups = names "Groups that the rule is for.";
      host = mkOption {
        type = types.str;
        default = "ALL";
        description = "Hosts that the rule is for.";
      };
      runAs = mkOption {
        type = types.str;
        default = "ALL:ALL";
        description = "As whom the commands may run.";
      };
      commands = mkOption {
        type = types.listOf (types.either types.str (types.submodule command));
        description = "The commands.";
      };
    };
  };
  commandText =
    c: if builtins.isString c then c else lib.concatMapStrings (o: o + ":") c.options + lib.optionalString (c.options != [ ]) " " + c.command;
  ruleText =
    r:
    let
      who = map toString r.users ++ map (g: if builtins.isInt g then "%#${toString g}" else "%${g}") r.groups;
    in
    lib.concatMapStrings (w: "${w} ${r.host}=(${r.runAs}) ${lib.concatMapStringsSep ", " commandText r.commands}\n") (
      lib.optionals (r.commands != [ ]) who
    );
in
{
  options.security = {
    sudo = {
      enable = flag true "Whether sudo may be used (where the machine has it).";
      package = lib.mkPackageOption pkgs "sudo" { };
      wheelNeedsPassword = flag true "Whether users in wheel give their password.";
      execWheelOnly = flag false "Whether only wheel may run sudo; without effect here.";
      keepTerminfo = flag true "Whether TERMINFO is kept.";
      defaultOptions = strings [ "SETENV" ] "Tags of the rules of root and wheel.";
      extraRules = mkOption {
        type = types.listOf (types.submodule rule);
        default = [ ];
        description = "More rules.";
      };
      extraConfig = mkOption {
        type = types.lines;
        default = "";
        description = "More text of sudoers.";
      };
      configFile = mkOption {
        type = types.lines;
        description = "The text of sudoers.";
      };
    };
    pam.loginLimits = mkOption {
      type = types.listOf types.attrs;
      default = [ ];
      description = "Limits of login sessions.";
    };
    pki = {
      certificateFiles = mkOption {
        type = types.listOf types.path;
        default = [ ];
        description = "Files with authorities that the machine trusts besides its own.";
      };
      certificates = strings [ ] "Authorities that the machine trusts besides its own, as text.";
    };
  };

  config = {
    security.sudo = {
      extraRules = lib.mkMerge [
        (lib.mkBefore [
          {
            users = [ "root" ];
            commands = [ { command = "ALL"; options = cfg.sudo.defaultOptions; } ];
          }
        ])
        [
          {
            groups = [ "wheel" ];
            commands = [
              {
                command = "ALL";
                options = lib.optional (!cfg.sudo.wheelNeedsPassword) "NOPASSWD" ++ cfg.sudo.defaultOptions;
              }
            ];
          }
        ]
      ];
      configFile = lib.mkDefault (
        "# Don't edit this file. Set the NixOS options ‘security.sudo.configFile’\n# or ‘security.sudo.extraRules’ instead.\n\n"
        + lib.concatMapStrings ruleText cfg.sudo.extraRules
        + cfg.sudo.extraConfig
      );
    };
    environment.etc =
      lib.optionalAttrs cfg.sudo.enable {
        sudoers = {
          text = cfg.sudo.configFile;
          mode = "0440";
        };
      }
      // lib.optionalAttrs (cfg.pam.loginLimits != [ ]) {
        "security/limits.d/nixos.conf".text = lib.concatMapStrings (
          l: "${l.domain} ${l.type} ${l.item} ${toString l.value}\n"
        ) cfg.pam.loginLimits;
      }
      // lib.optionalAttrs (cfg.pki.certificateFiles != [ ] || cfg.pki.certificates != [ ]) {
        "ssl/certs/nixos-lite-extra.crt".source = pkgs.concatText "extra-certificates.crt" (
          cfg.pki.certificateFiles ++ map (pkgs.writeText "certificate.crt") cfg.pki.certificates
        );
      };
  };
}
