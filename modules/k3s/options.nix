# Facts of k3s beyond ../api-endpoint.nix, and the user's choices. A choice that must be the same on
# all servers belongs in a module that all of them import.
{ config, lib, ... }:
let
  cfg = config.machinist.k3s;
  inherit (config.lib.machinist.types) ipAddress urlHost;
in
{
  options.machinist.k3s = {
    enable = lib.mkEnableOption "k3s on this node";

    role = lib.mkOption {
      type = lib.types.enum [
        "agent"
        "server"
      ];
      description = "`server`: the node runs the control plane, etcd and pods. `agent`: pods only.";
    };

    servers = lib.mkOption {
      type = lib.types.attrsOf ipAddress;
      default = { };
      example = {
        s1 = "10.13.13.2";
      };
      description = "All servers of the cluster: name to address. They are the members of its etcd.";
    };

    founder = lib.mkOption {
      type = lib.types.str;
      default = "";
      example = "s1";
      description = "The server that founds the cluster, before that is recorded. All others join it.";
    };

    founded = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = ''
        The recorded state: the cluster was founded. From then on no server founds another one: a server that returns
        with an empty disk joins the others, or does not start.
      '';
    };

    serviceLoadBalancer = lib.mkOption {
      type = lib.types.enum [
        "kube-vip"
        "none"
        "servicelb"
      ];
      default = "servicelb";
      description = ''
        Provider of addresses for services of the type LoadBalancer: k3s' own `servicelb` (the nodes' addresses), or
        `kube-vip`. Both are not possible: kube-vip would announce the nodes' own addresses, which servicelb writes
        (kube-vip issue 836). The same on all servers.
      '';
    };

    ingress = lib.mkOption {
      type = lib.types.enum [
        "none"
        "traefik"
      ];
      default = "traefik";
      description = "Ingress controller: the Traefik that k3s includes, or none. The same on all servers.";
    };

    snapshots = {
      schedule = lib.mkOption {
        type = lib.types.strMatching "[^\"'\\]+";
        default = "0 */6 * * *";
        description = "Schedule of a server's snapshots of etcd, in cron's format.";
      };
      retention = lib.mkOption {
        type = lib.types.ints.positive;
        default = 20;
        description = "Number of snapshots that a server keeps.";
      };
    };

    url = lib.mkOption {
      type = lib.types.functionTo lib.types.str;
      internal = true;
      readOnly = true;
      default = address: "https://${urlHost address}:${toString cfg.port}";
      description = "URL of the server at an address.";
    };
  };
}
