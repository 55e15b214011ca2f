# Less than root's shell for people and programs that log in: keys that only read, and a user with a sudo rule.
# `machinist privileges` lists what is run.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.machinist;
  user = if cfg.sudoUser == null then "root" else cfg.sudoUser;
  readers = lib.concatLists (lib.attrValues cfg.readers);
  operators = lib.concatLists (lib.attrValues cfg.operators);
  # Its type and its blob: the comment after them is free.
  identity = key: lib.take 2 (lib.filter (word: word != "") (lib.splitString " " key));

  gate = pkgs.writeShellScript "machinist-read" ''
    table=${./read-scripts}
    ${builtins.readFile ./gate.sh}
  '';
in
{
  options.machinist = {
    readers = mkOption {
      type = types.attrsOf (types.listOf types.singleLineStr);
      default = { };
      example = {
        dashboard = [ "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample dashboard" ];
      };
      description = ''
        SSH public keys by name that may only read: `machinist status`, `drift`, `plan` and `logs`, and no other command.
        A key that is an operator's, too, stays one that may do everything.
      '';
    };
    sudoUser = mkOption {
      type = types.nullOr (types.strMatching "[a-z_][a-z0-9_-]{0,30}");
      default = null;
      example = "deploy";
      description = ''
        User that operators log in as instead of root, with a sudo rule for the one command that machinist runs by sudo.
        Set `ssh.user` of the machine in machines.nix to the same name after the deploy that makes this user.
        Whoever may deploy is root in effect: the rule keeps other commands out, and each use in the journal.
      '';
    };
  };

  config = lib.mkMerge [
    (lib.mkIf (readers != [ ]) {
      users.users.${user}.openssh.authorizedKeys.keys = map (
        key: ''restrict,command="${gate}" ${key}''
      ) readers;
      assertions = [
        {
          assertion = lib.intersectLists (map identity readers) (map identity operators) == [ ];
          message =
            "machinist.readers of ${cfg.node.name} has a key that is an operator's in machines.nix: sshd takes the first line of "
            + "a key, so it could do everything. Give the reader a key of its own.";
        }
      ];
    })

    (lib.mkIf (cfg.sudoUser != null) {
      users.users.${user} = {
        isNormalUser = true;
        description = "machinist's operators";
        openssh.authorizedKeys.keys = operators;
      };
      # The rule names the program in this place.
      environment.systemPackages = [ pkgs.coreutils ];
      security.sudo = {
        enable = true;
        extraConfig =
          builtins.replaceStrings [ "@user@" ] [ user ] (builtins.readFile ./sudoers)
          + lib.optionalString (readers != [ ]) "${user} ALL=(root) NOPASSWD: ${gate}\n";
      };
    })
  ];
}
