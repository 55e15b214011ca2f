# services.k3s: the options of k3s' unit and its files. Charts, which are fetched at build time, are
# left out.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.k3s;
  option =
    type: default: description:
    mkOption { inherit type default description; };
  text = option types.str "";
  texts = option (types.listOf types.str) [ ];
  maybe = option (types.nullOr types.str) null;
  file = option (types.nullOr types.path) null;
  directory = "/var/lib/rancher/k3s/server/manifests";
  yaml = pkgs.formats.yaml { };

  hasSuffix = name: lib.any (suffix: lib.hasSuffix suffix name) [ ".yaml" ".yml" ".json" ];
  document =
    name: content:
    yaml.generate name (
      if builtins.isList content then
        {
          apiVersion = "v1";
          items = content;
          kind = "List";
        }
      else
        content
    );
  manifest =
    {
      config,
      options,
      name,
      ...
    }:
    {
      options = {
        enable = option types.bool true "Whether the file is there.";
        content = option (types.nullOr (types.either types.attrs (types.listOf types.attrs))) null "The file's objects.";
        source = mkOption {
          type = types.path;
          description = "The file.";
        };
        target = mkOption {
          type = types.nonEmptyStr;
          description = "Its name.";
        };
      };
      config = {
        source = lib.mkIf (config.content != null) (
          lib.mkDerivedConfig options.content (document "${name}-manifest-${baseNameOf name}")
        );
        target = lib.mkDefault (if hasSuffix name then name else "${name}.yaml");
      };
    };
  link = name: source: lib.nameValuePair name { "L+".argument = "${source}"; };
  enabled = lib.attrValues (lib.filterAttrs (_: entry: entry.enable) cfg.manifests);
  flags = name: lib.optional (cfg.${name} != null);
in
{
  options.services.k3s = {
    enable = lib.mkEnableOption "k3s";
    package = lib.mkPackageOption pkgs "k3s" { };
    role = option (types.enum [ "server" "agent" ]) "server" "Whether it is a server or an agent.";
    serverAddr = text "The server to join.";
    token = text "The token.";
    tokenFile = file "The token's file.";
    agentToken = text "The agents' token.";
    agentTokenFile = file "The file of the agents' token.";
    clusterInit = option types.bool false "Whether it begins a cluster with etcd.";
    configPath = file "Its configuration.";
    disable = texts "Components that are left out.";
    disableAgent = option types.bool false "Whether a server runs no pods.";
    environmentFile = file "Its environment.";
    extraFlags = option (types.either types.str (types.listOf types.str)) [ ] "More flags.";
    images = option (types.listOf types.package) [ ] "Images that are there from the beginning.";
    manifests = option (types.attrsOf (types.submodule manifest)) { } "Objects that it applies.";
    nodeIP = maybe "The node's addresses.";
    nodeLabel = texts "The node's labels.";
    nodeName = maybe "The node's name.";
    nodeTaint = texts "The node's taints.";
    selinux = option types.bool false "Whether containerd uses SELinux.";
  };

  config = lib.mkIf cfg.enable {
    environment.systemPackages = [ cfg.package ];

    systemd.services.k3s = {
      description = "k3s service";
      after = [
        "firewall.service"
        "network-online.target"
      ];
      wants = [
        "firewall.service"
        "network-online.target"
      ];
      wantedBy = [ "multi-user.target" ];
      serviceConfig = {
        Type = if cfg.role == "agent" then "exec" else "notify";
        KillMode = "process";
        Delegate = "yes";
        Restart = "always";
        RestartSec = "5s";
        LimitNOFILE = 1048576;
        LimitNPROC = "infinity";
        LimitCORE = "infinity";
        TasksMax = "infinity";
        TimeoutStartSec = 0;
        EnvironmentFile = cfg.environmentFile;
        ExecStart = lib.concatStringsSep " \\\n " (
          [ "${cfg.package}/bin/k3s ${cfg.role}" ]
          ++ lib.optional (cfg.serverAddr != "") "--server ${cfg.serverAddr}"
          ++ lib.optional (cfg.token != "") "--token ${cfg.token}"
          ++ flags "tokenFile" "--token-file ${cfg.tokenFile}"
          ++ lib.optional (cfg.agentToken != "") "--agent-token ${cfg.agentToken}"
          ++ flags "agentTokenFile" "--agent-token-file ${cfg.agentTokenFile}"
          ++ flags "configPath" "--config ${cfg.configPath}"
          ++ map (name: "--disable=${name}") cfg.disable
          ++ flags "nodeName" "--node-name=${cfg.nodeName}"
          ++ map (label: "--node-label=${label}") cfg.nodeLabel
          ++ map (taint: "--node-taint=${taint}") cfg.nodeTaint
          ++ flags "nodeIP" "--node-ip=${cfg.nodeIP}"
          ++ lib.optional cfg.selinux "--selinux"
          ++ lib.optional cfg.clusterInit "--cluster-init"
          ++ lib.optional cfg.disableAgent "--disable-agent"
          ++ lib.flatten cfg.extraFlags
        );
      };
    };

    systemd.tmpfiles.settings."10-k3s" = builtins.listToAttrs (
      map (entry: link "${directory}/${entry.target}" entry.source) enabled
      ++ map (image: link "/var/lib/rancher/k3s/agent/images/${image.name}" image) cfg.images
    );

    assertions = [
      {
        assertion = cfg.role == "agent" -> !cfg.disableAgent;
        message = "k3s: disableAgent must be false if role is 'agent'";
      }
      {
        assertion = cfg.role == "agent" -> !cfg.clusterInit;
        message = "k3s: clusterInit must be false if role is 'agent'";
      }
    ];
    warnings =
      lib.optional (cfg.role == "agent" && cfg.manifests != { })
        "k3s: Auto deploying manifests are only installed on server nodes (role == server), they will be ignored by this node."
      ++
        lib.optional (cfg.role == "agent" && cfg.configPath == null && cfg.serverAddr == "")
          "k3s: serverAddr or configPath (with 'server' key) should be set if role is 'agent'"
      ++
        lib.optional (cfg.role == "agent" && cfg.configPath == null && cfg.tokenFile == null && cfg.token == "")
          "k3s: token, tokenFile or configPath (with 'token' or 'token-file' keys) should be set if role is 'agent'"
      ++
        lib.optional (cfg.role == "agent" && (cfg.agentTokenFile != null || cfg.agentToken != ""))
          "k3s: agentToken and agentTokenFile should not be set if role is 'agent'";
  };
}
