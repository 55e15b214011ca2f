# The BGP password in the format of kube-vip: a configuration file with its peer, written on the
# node from the delivered password. kube-vip's alternatives are the environment and arguments, which
# are part of the pod's text, and so of the store.
{ config, lib, ... }:
let
  cfg = config.machinist.bgpPassword;
  inherit (config.lib.machinist) pki;
  unit = "machinist-bgp-password";
  key = config.machinist.keys.units.${unit}.files.bgp-password.key;

  peer = {
    Address = cfg.peer.address;
    AS = cfg.peer.as;
    Password = "%s";
  };
  # kube-vip's defaults that are missing in the file count as empty: without this one, its watches
  # fail.
  template = builtins.toJSON {
    DebounceTime = "0s";
    BGPConfig.Peers = [ peer ];
  };
  # The name changes with the content, so that a pod that mounts the file is recreated.
  digest = lib.substring 0 16 (builtins.hashString "sha256" "${template} ${pki.key "bgp-password"}");
in
{
  options.machinist.bgpPassword = {
    enable = lib.mkEnableOption "a password in the BGP sessions of kube-vip";

    peer = {
      address = lib.mkOption {
        type = config.lib.machinist.types.ipAddress;
        description = "The Router's address.";
      };
      as = lib.mkOption {
        type = lib.types.ints.positive;
        description = "The Router's AS number.";
      };
    };

    file = lib.mkOption {
      type = lib.types.str;
      readOnly = true;
      default = "/run/${unit}/${digest}.json";
      defaultText = lib.literalExpression ''"/run/machinist-bgp-password/<digest>.json"'';
      description = "The file on the node, for `kube-vip --config-file`. Only root reads it.";
    };
  };

  config = lib.mkIf cfg.enable {
    machinist.keys.units.${unit}.keyPairs = [ "bgp-password" ];

    systemd.services.${unit} = {
      description = "BGP password for kube-vip";
      wantedBy = [ "multi-user.target" ];
      before = [
        "k3s.service"
        "kubelet.service"
      ];
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        RuntimeDirectory = unit;
        RuntimeDirectoryMode = "0700";
        UMask = "0377";
      };
      # printf is a builtin of the shell: the password never appears in the arguments of a process.
      script = ''
        password=$(<${key})
        if [[ ! $password =~ ^[0-9a-f]{64}$ ]]; then
          echo "the delivered BGP password is invalid: deploy again" >&2
          exit 1
        fi
        printf ${lib.escapeShellArg "${template}\\n"} "$password" >${cfg.file}
      '';
    };
  };
}
