{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.networking.nftables;

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

  table =
    { name, ... }:
    {
      options = {
        enable = flag true "Whether the table is loaded.";
        name = mkOption {
          type = types.str;
          description = "The table's name.";
        };
        content = mkOption {
          type = types.lines;
          description = "Content of the table.";
        };
        family = mkOption {
          type = types.enum [
            "ip"
            "ip6"
            "inet"
            "arp"
            "bridge"
            "netdev"
          ];
          description = "The table's family.";
        };
      };
      config.name = lib.mkDefault name;
    };

  enabled = lib.attrValues (lib.filterAttrs (_: t: t.enable) cfg.tables);
  saved = "/var/lib/nftables/deletions.nft";
  nft = lib.getExe pkgs.nftables;

  deletions = pkgs.writeScript "nftables-deletions" ''
    ${
      if cfg.flushRuleset then
        "flush ruleset"
      else
        lib.concatMapStringsSep "\n" (t: ''
          table ${t.family} ${t.name}
          delete table ${t.family} ${t.name}
        '') enabled
    }
    ${cfg.extraDeletions}
  '';
  ensureDeletions = pkgs.writeShellScript "nftables-ensure-deletions" "touch ${saved}";
  saveDeletions = pkgs.writeShellScript "nftables-save-deletions" "cp ${deletions} ${saved}";
  cleanupDeletions = pkgs.writeShellScript "nftables-cleanup-deletions" "rm ${saved}";

  rules = pkgs.writeTextFile {
    name = "nftables-rules";
    executable = true;
    text = ''
      #! ${nft} -f
      # previous deletions, if any
      include "${saved}"
      # current deletions
      include "${deletions}"
      ${lib.concatMapStringsSep "\n" (t: ''
        table ${t.family} ${t.name} {
          ${t.content}
        }
      '') enabled}
      ${cfg.ruleset}
      ${
        if cfg.rulesetFile == null then
          ""
        else if cfg.flattenRulesetFile then
          builtins.readFile cfg.rulesetFile
        else
          ''
            include "${cfg.rulesetFile}"
          ''
      }
    '';
    # nixpkgs checks with a user-mode kernel; here the builder's own kernel checks in an empty
    # network namespace, if it can create one.
    checkPhase = lib.optionalString cfg.checkRuleset ''
      if command -v nft > /dev/null && unshare --net true 2> /dev/null; then
        sed 's|include "${saved}"||' "$out" > ruleset.conf
        ${cfg.preCheckRuleset}
        unshare --net nft --check --file ruleset.conf
      fi
    '';
  };
in
{
  options.networking.nftables = {
    enable = flag false "Whether nftables is used, also by the firewall.";
    checkRuleset = flag true "Whether the ruleset is checked when it is built.";
    checkRulesetRedirects = mkOption {
      type = types.addCheck (types.attrsOf types.path) (attrs: lib.all types.path.check (lib.attrNames attrs));
      default = { };
      description = "Files to read other ones for in the check; without effect here.";
    };
    preCheckRuleset = lines "Shell commands before the check, on ruleset.conf.";
    flushRuleset = flag false "Whether the whole ruleset is emptied first.";
    flattenRulesetFile = flag false "Whether the ruleset file is read at evaluation.";
    extraDeletions = lines "More commands that delete what is loaded.";
    ruleset = lines "The ruleset.";
    rulesetFile = mkOption {
      type = types.nullOr types.path;
      default = null;
      description = "A file with the ruleset.";
    };
    tables = mkOption {
      type = types.attrsOf (types.submodule table);
      default = { };
      description = "Tables, each deleted before it is loaded again.";
    };
  };

  config = lib.mkIf cfg.enable {
    boot.blacklistedKernelModules = [ "ip_tables" ];
    environment.systemPackages = [ pkgs.nftables ];
    networking.nftables.flushRuleset = lib.mkDefault (
      lib.versionOlder config.system.stateVersion "23.11" || cfg.rulesetFile != null || cfg.ruleset != ""
    );

    systemd.services.nftables = {
      description = "nftables firewall";
      after = [ "sysinit.target" ];
      before = [
        "network-pre.target"
        "shutdown.target"
      ];
      conflicts = [ "shutdown.target" ];
      wants = [
        "network-pre.target"
        "sysinit.target"
      ];
      wantedBy = [ "multi-user.target" ];
      reloadIfChanged = true;
      unitConfig.DefaultDependencies = false;
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        ExecStart = [
          ensureDeletions
          rules
        ];
        ExecStartPost = saveDeletions;
        ExecReload = [
          ensureDeletions
          rules
          saveDeletions
        ];
        ExecStop = [
          "${nft} -f ${saved}"
          cleanupDeletions
        ];
        StateDirectory = "nftables";
      };
    };
  };
}
