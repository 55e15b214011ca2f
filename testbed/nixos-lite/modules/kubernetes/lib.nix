# Shared by the modules of services.kubernetes: short forms of options, and command lines as lists
# of flags.
{
  lib,
  pkgs,
  config,
  options,
}:
let
  inherit (lib) mkOption types;
  top = config.services.kubernetes;
  otop = options.services.kubernetes;
in
rec {
  option =
    type: default: description:
    mkOption { inherit type default description; };
  flag = option types.bool;
  text = option types.str;
  file = option (types.nullOr types.path) null;
  required = type: description: mkOption { inherit type description; };
  like =
    name: type: description:
    mkOption {
      inherit type description;
      default = top.${name};
      defaultText = lib.literalExpression "config.${otop.${name}}";
    };
  caFile = like "caFile" (types.nullOr types.path);
  featureGates = like "featureGates" (types.attrsOf types.bool) "Feature gates.";
  extraOpts = option (types.separatedString " ") "" "More flags.";
  verbosity = option (types.nullOr types.int) null "Verbosity of the log.";
  kubeconfig = who: {
    caFile = caFile "Authority of the API server, for ${who}.";
    certFile = file "Client certificate of ${who}.";
    keyFile = file "Client key of ${who}.";
    server = required types.str "API server of ${who}.";
  };

  # Flags by name and value; null leaves one out.
  given = name: value: lib.optional (value != null) "--${name}=${toString value}";
  always = name: value: [ "--${name}=${toString value}" ];
  bool = name: value: always name (lib.boolToString value);
  comma = name: list: always name (lib.concatStringsSep "," list);
  gates =
    gates:
    lib.optional (gates != { }) "--feature-gates=${
      lib.concatStringsSep "," (lib.mapAttrsToList (name: on: "${name}=${lib.boolToString on}") gates)
    }";
  raw = text: lib.optional (text != "") text;

  command =
    program: flags:
    lib.concatStringsSep " \\\n  " ([ "${top.package}/bin/${program}" ] ++ lib.concatLists flags);

  mkKubeConfig =
    name: conf:
    pkgs.writeText "${name}-kubeconfig" (
      builtins.toJSON {
        apiVersion = "v1";
        kind = "Config";
        clusters = [
          {
            name = "local";
            cluster.certificate-authority = conf.caFile or top.caFile;
            cluster.server = conf.server;
          }
        ];
        users = [
          {
            inherit name;
            user.client-certificate = conf.certFile;
            user.client-key = conf.keyFile;
          }
        ];
        contexts = [
          {
            name = "local";
            context.cluster = "local";
            context.user = name;
          }
        ];
        current-context = "local";
      }
    );

  # Settings of all units.
  unit = {
    wantedBy = [ "kubernetes.target" ];
    unitConfig.StartLimitIntervalSec = 0;
  };
  serviceConfig = {
    Slice = "kubernetes.slice";
    WorkingDirectory = top.dataDir;
    Restart = "on-failure";
  };
  asKubernetes = serviceConfig // {
    User = "kubernetes";
    Group = "kubernetes";
  };
}
