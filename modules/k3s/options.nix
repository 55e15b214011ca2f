# The facts of k3s beyond ../api-endpoint.nix, and what a person may choose. A choice that must be the same on all servers
# belongs in a module that all of them import.
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
      description = "Whether the node runs the control plane and etcd, and pods, or pods only.";
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
      description = "The server that founds the cluster, if nothing is recorded yet. All others join it.";
    };

    founded = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = ''
        Whether the cluster was founded once, as recorded. From then on no server founds another one: a server that comes
        back with an empty disk joins what is there, or does not start.
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
        What gives addresses to services of the type LoadBalancer: k3s' own `servicelb` (the nodes' addresses), or
        `kube-vip`. There is no value for both: kube-vip would announce what servicelb wrote, the nodes' own addresses
        (kube-vip issue 836). The same on all servers.
      '';
    };

    ingress = lib.mkOption {
      type = lib.types.enum [
        "none"
        "traefik"
      ];
      default = "traefik";
      description = "Ingress controller: the Traefik that k3s brings, or none. The same on all servers.";
    };

    snapshots = {
      schedule = lib.mkOption {
        type = lib.types.strMatching "[^\"'\\]+";
        default = "0 */6 * * *";
        description = "When a server takes a snapshot of etcd, as cron has it.";
      };
      retention = lib.mkOption {
        type = lib.types.ints.positive;
        default = 20;
        description = "How many snapshots a server keeps.";
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
