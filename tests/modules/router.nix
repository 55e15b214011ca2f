# Values for the tests of a Router that is a NixOS machine.
{
  lib,
  inputs,
}:
let
  cluster = import ../../nix/cluster.nix {
    root = ./router;
    inherit inputs;
  };
  inherit (cluster.nixosConfigurations) router;
  with' = system: module: system.extendModules { modules = [ module ]; };
  failed =
    system: map (entry: entry.message) (lib.filter (entry: !entry.assertion) system.config.assertions);
  open = {
    machinist.router.password = lib.mkForce false;
  };

  view =
    system:
    let
      inherit (system) config;
    in
    {
      failed = failed system;
      inherit (config) warnings;
      inherit (config.services.bird) preCheckConfig;
      bird = config.services.bird.config;
      unit = {
        inherit (config.systemd.services.bird) preStart;
        credentials = config.systemd.services.bird.serviceConfig.LoadCredential or [ ];
      };
      password = config.environment.etc."bird/password.conf".source or null;
      firewall = lib.splitString "\n" config.networking.firewall.extraInputRules;
      openTcp = config.networking.firewall.allowedTCPPorts;
      gates = config.environment.etc."machinist/gates".text;
      sysctl = config.boot.kernel.sysctl;
      etcd = config.services.etcd.enable;
      kubernetes = config.services.kubernetes.kubelet.enable;
    };
in
{
  ours = view router;
  open = view (with' router open);
  services = view (
    with' router {
      machinist.router.servicePrefixes = [
        "10.13.101.0/24"
        "10.13.102.7/32"
      ];
    }
  );
  nat = view (with' router { boot.kernel.sysctl."net.ipv4.conf.all.forwarding" = 1; });
  refused.family = failed (with' router { machinist.router.prefix = lib.mkForce "fd00::1/128"; });
  systems = [
    router
    (with' router {
      machinist.network.address = lib.mkForce "fd13::1";
      machinist.router.prefix = lib.mkForce "fd13:100::1/128";
    })
  ];
}
