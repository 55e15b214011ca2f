# A node of a mesh with an overlay.
{
  lib,
  base,
  failed,
}:
let
  of =
    backend: more:
    base.extendModules {
      modules = [
        {
          machinist = {
            etcd.enable = lib.mkForce false;
            mesh = {
              enable = true;
              etcdMembers = [ "10.13.13.2" ];
              groups = [ "services" ];
              instances.web = {
                group = "services";
                port = 8080;
              };
            };
            overlay = {
              inherit backend;
              network = "10.10.0.0/16";
              subnet = "10.10.3.0/24";
              address = "10.10.3.1";
              nodesFile = ./sample/generated/_overlay.nix;
            };
            pki.certificates.mesh-flannel = {
              certificate = ./sample/generated/_overlay.nix;
              key = "/var/lib/machinist/keys/mesh-flannel-1.key";
            };
          };
        }
        more
      ];
    };
  wireguard = of "wireguard" { };
  address =
    system:
    (builtins.fromJSON system.config.environment.etc."machinist/mesh/instances/web.json".text).address;
in
{
  systems = [ wireguard ];
  failed = failed wireguard;
  unit = lib.splitString "\n" wireguard.config.systemd.units."flannel.service".text;
  own = wireguard.config.systemd.services.machinist-overlay.serviceConfig;
  inherit (wireguard.config.systemd.services.flannel) preStart;
  inherit (wireguard.config.machinist.overlay) nodes;
  gates = lib.attrNames wireguard.config.machinist.gates;
  modules = wireguard.config.boot.kernelModules;
  firewall = lib.genAttrs [ "wireguard" "vxlan" "host-gw" ] (
    backend: lib.splitString "\n" (of backend { }).config.networking.firewall.extraInputRules
  );
  peers = lib.filter (lib.hasInfix "dport 8472 ") (
    lib.splitString "\n"
      (of "vxlan" { machinist.network.peersFile = ./peers.nix; })
      .config.networking.firewall.extraInputRules
  );
  nftables = lib.genAttrs [ "wireguard" "vxlan" "host-gw" ] (
    backend: (of backend { }).config.networking.nftables.tables.machinist-overlay.content or null
  );
  stopped = lib.genAttrs [ "wireguard" "vxlan" "host-gw" ] (
    backend:
    map (lib.removePrefix "-${wireguard.pkgs.iproute2}/bin/ip ") (
      lib.tail (of backend { }).config.systemd.services.flannel.serviceConfig.ExecStopPost
    )
  );
  watch = lib.genAttrs [ "wireguard" "vxlan" "host-gw" ] (
    backend: (of backend { }).config.systemd.services ? machinist-overlay-watch
  );
  postgresql =
    (of "wireguard" {
      imports = [ ../../app_modules/postgresql ];
      machinist.apps.postgresql.enable = true;
    }).config.services.postgresql.authentication;
  instance = address wireguard;
  instanceBefore = address (of "wireguard" { machinist.overlay.carriesInstances = false; });
}
