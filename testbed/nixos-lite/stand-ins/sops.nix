# Stand-in for sops-nix's NixOS module: the options are declared; a machine with secrets does not
# build.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.sops;
  formats = types.enum [ "yaml" "json" "binary" "dotenv" "ini" ];

  flag =
    default: description:
    mkOption {
      type = types.bool;
      inherit default description;
    };
  nullable =
    type: default: description:
    mkOption {
      type = types.nullOr type;
      inherit default description;
    };
  unitNames =
    description:
    mkOption {
      type = types.listOf types.str;
      default = [ ];
      inherit description;
    };

  secret =
    { name, config, ... }:
    {
      options = {
        name = mkOption {
          type = types.str;
          default = name;
          description = "Name of the file in /run/secrets.";
        };
        key = mkOption {
          type = types.str;
          default = if cfg.defaultSopsKey != null then cfg.defaultSopsKey else name;
          description = "The key in the sops file.";
        };
        path = mkOption {
          type = types.str;
          default = if config.neededForUsers then "/run/secrets-for-users/${config.name}" else "/run/secrets/${config.name}";
          description = "Path of the secret.";
        };
        format = mkOption {
          type = formats;
          default = cfg.defaultSopsFormat;
          description = "The sops file's format.";
        };
        mode = mkOption {
          type = types.str;
          default = "0400";
          description = "The secret's mode.";
        };
        owner = nullable types.str null "The secret's owner.";
        uid = nullable types.int 0 "The owner's uid.";
        group = nullable types.str null "The secret's group.";
        gid = nullable types.int 0 "The group's gid.";
        sopsFile = mkOption {
          type = types.path;
          default = cfg.defaultSopsFile;
          defaultText = lib.literalExpression "\${config.sops.defaultSopsFile}";
          description = "The sops file.";
        };
        restartUnits = unitNames "Units to restart when the secret has changed.";
        reloadUnits = unitNames "Units to reload when the secret has changed.";
        neededForUsers = flag false "Installs the secret before users are created.";
      };
    };
in
{
  options.sops = {
    secrets = mkOption {
      type = types.attrsOf (types.submodule secret);
      default = { };
      description = "Secrets to install.";
    };
    defaultSopsFile = mkOption {
      type = types.path;
      description = "Default sops file of secrets.";
    };
    defaultSopsFormat = mkOption {
      type = types.str;
      default = "yaml";
      description = "The format of sops files.";
    };
    defaultSopsKey = nullable types.str null "Default key of secrets.";
    validateSopsFiles = flag true "Checks sops files at build time.";
    keepGenerations = mkOption {
      type = types.ints.unsigned;
      default = 1;
      description = "Number of generations of secrets to keep.";
    };
    log = mkOption {
      type = types.listOf (types.enum [ "keyImport" "secretChanges" ]);
      default = [ "keyImport" "secretChanges" ];
      description = "Log messages.";
    };
    environment = mkOption {
      type = types.attrsOf (types.either types.str types.path);
      default = { };
      description = "Environment variables of sops.";
    };
    age = {
      keyFile = nullable (types.externalPath // { description = "path not in the Nix store"; }) null "The file with the age key.";
      generateKey = flag false "Generates the age key if it does not exist.";
      plugins = mkOption {
        type = types.listOf types.package;
        default = [ ];
        description = "age plugins.";
      };
      sshKeyPaths = mkOption {
        type = types.listOf types.path;
        default = map (k: k.path) (lib.filter (k: k.type == "ed25519") config.services.openssh.hostKeys);
        defaultText = lib.literalMD "the machine's ed25519 host keys";
        description = "SSH keys used as age keys.";
      };
    };
    gnupg = {
      home = nullable types.str null "The GnuPG home.";
      sshKeyPaths = mkOption {
        type = types.listOf types.path;
        default = map (k: k.path) (lib.filter (k: k.type == "rsa") config.services.openssh.hostKeys);
        defaultText = lib.literalMD "the machine's RSA host keys";
        description = "SSH keys used as GnuPG keys.";
      };
    };
    useTmpfs = flag false "Stores secrets on a tmpfs.";
  };

  config.assertions = [
    {
      assertion = cfg.secrets == { };
      message = "sops.secrets needs the real sops-nix: nixos-lite, a test double of nixpkgs, installs no secrets (${toString (lib.attrNames cfg.secrets)}).";
    }
  ];
}
