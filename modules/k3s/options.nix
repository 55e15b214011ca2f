# The facts of k3s, and what a person may choose. A choice that must be the same on all servers belongs in a module that all of
# them import.
{ config, lib, ... }:
let
  cfg = config.machinist.k3s;
  inherit (import ../types.nix { inherit lib; }) ipAddress ipRange urlHost;
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

    clusterDomain = lib.mkOption {
      type = lib.types.str;
      default = "cluster.local";
      description = "DNS domain of services and pods.";
    };

    pods = lib.mkOption {
      type = lib.types.listOf ipRange;
      example = [ "10.42.0.0/16" ];
      description = "Ranges of the pods: one, or two for dual stack.";
    };

    services = lib.mkOption {
      type = lib.types.listOf ipRange;
      example = [ "10.96.0.0/16" ];
      description = "Ranges of the services: one, or two for dual stack.";
    };

    dns = lib.mkOption {
      type = ipAddress;
      example = "10.96.0.10";
      description = "Address of the cluster's DNS, a service.";
    };

    overlay = lib.mkOption {
      type = lib.types.enum [
        "host-gw"
        "vxlan"
        "wireguard"
      ];
      default = "wireguard";
      description = "How packets of pods travel between nodes. Only `wireguard` encrypts them.";
    };

    taints = lib.mkOption {
      type = lib.types.listOf (lib.types.strMatching "[^=:]+(=[^=:]*)?:(NoSchedule|PreferNoSchedule|NoExecute)");
      default = [ ];
      example = [ "dedicated=gpu:NoExecute" ];
      description = "Taints that the node registers with, `key=value:Effect`.";
    };

    endpoint = lib.mkOption {
      type = lib.types.nullOr (
        lib.types.submodule {
          options = {
            address = lib.mkOption {
              type = ipAddress;
              description = "Virtual address.";
            };
            name = lib.mkOption {
              type = lib.types.str;
              description = "DNS name.";
            };
            port = lib.mkOption {
              type = lib.types.port;
              description = "TCP port, of the servers too: nothing stands between.";
            };
            vip = lib.mkOption {
              type = lib.types.nullOr (
                lib.types.attrsOf (
                  lib.types.oneOf [
                    lib.types.bool
                    lib.types.int
                    lib.types.str
                  ]
                )
              );
              default = null;
              description = "How the address reaches a server. Only servers know it.";
            };
          };
        }
      );
      default = null;
      description = "Where the API is reached from outside of the servers.";
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

    port = lib.mkOption {
      type = lib.types.port;
      readOnly = true;
      default = if cfg.endpoint == null then 6443 else cfg.endpoint.port;
      defaultText = lib.literalExpression "the endpoint's port, or 6443";
      description = "TCP port of the servers.";
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
