# Values for the tests of k3s: the flags of servers and agents, and the settings that decide which server
# founds the cluster.
{
  lib,
  inputs,
}:
let
  cluster = import ../../nix/cluster.nix {
    root = ./k3s;
    inherit inputs;
  };
  inherit (cluster.nixosConfigurations)
    s1
    s2
    s3
    a1
    ;
  with' = system: module: system.extendModules { modules = [ module ]; };
  failed =
    system: map (entry: entry.message) (lib.filter (entry: !entry.assertion) system.config.assertions);
  founded = {
    machinist.k3s.founded = lib.mkForce true;
  };
  alone = {
    machinist.k3s.servers = lib.mkForce { s2 = "10.13.13.3"; };
  };

  # Splits a command line into words; a quoted part is one word.
  words =
    text:
    lib.concatLists (
      lib.imap0 (
        position: part:
        if lib.mod position 2 == 1 then
          [ part ]
        else
          lib.filter (word: lib.isString word && word != "") (builtins.split "[ \\\n]+" part)
      ) (lib.splitString "\"" text)
    );

  view =
    system:
    let
      inherit (system) config;
      unit = config.systemd.services.k3s;
    in
    {
      failed = failed system;
      inherit (config) warnings;
      flags = lib.tail (words unit.serviceConfig.ExecStart);
      restarts = unit.restartTriggers or [ ];
      credentials = unit.serviceConfig.LoadCredential;
      environmentFile = unit.serviceConfig.EnvironmentFile;
      environment = config.environment.etc."machinist/k3s.env".text or null;
      preStart = unit.preStart or "";
      guarded = unit.serviceConfig.ExecStartPre or [ ] != [ ];
      gates = lib.attrNames config.machinist.gates;
      password = lib.optionalString config.machinist.bgpPassword.enable config.machinist.bgpPassword.file;
      manifests = lib.mapAttrs (_: manifest: lib.toList manifest.content) config.services.k3s.manifests;
      sources = lib.mapAttrs (_: manifest: "${manifest.source}") config.services.k3s.manifests;
      firewall = lib.splitString "\n" config.networking.firewall.extraInputRules;
      openTcp = config.networking.firewall.allowedTCPPorts;
      trusted = config.networking.firewall.trustedInterfaces;
      sysctl = config.boot.kernel.sysctl;
      packages = map (package: package.name or "") config.environment.systemPackages;
    };
  refused = module: failed (with' s1 module);
  # BGP with a password, whose key is the same on every server.
  password = {
    machinist.k3s.endpoint.vip = lib.mkForce {
      mode = "bgp";
      nodeAs = 64512;
      password = true;
      router = "10.13.13.1";
      routerAs = 64513;
    };
    machinist.pki.keyPairs.bgp-password = {
      public = ./kubernetes/certs/shared/service-account.pub;
      key = "/var/lib/machinist/keys/bgp-password-0123456789abcdef.key";
    };
  };
  issuers = {
    machinist.k3s.certManager = {
      enable = true;
      email = "ops@magi.dev";
    };
  };
in
{
  nodes = {
    s1 = view s1;
    s2 = view s2;
    s3 = view s3;
    a1 = view a1;
  };
  founded = {
    s1 = view (with' s1 founded);
    s2 = view (with' s2 founded);
    s3 = view (with' s3 founded);
  };
  alone = {
    new = view (with' s2 alone);
    recorded = view (
      with' s2 {
        imports = [
          alone
          founded
        ];
      }
    );
  };
  variants = {
    issuers = view (with' s1 issuers);
    issuers3 = view (with' s3 issuers);
    bgp = view (
      with' s1 {
        machinist.k3s.endpoint.vip = lib.mkForce {
          mode = "bgp";
          nodeAs = 64512;
          router = "10.13.13.1";
          routerAs = 64513;
        };
      }
    );
    password = view (with' s1 password);
    password3 = view (with' s3 password);
    services = view (with' s1 { machinist.k3s.serviceLoadBalancer = "kube-vip"; });
    vxlan = view (with' a1 { machinist.k3s.overlay = lib.mkForce "vxlan"; });
    loadBalancer = view (with' s1 { machinist.k3s.endpoint.vip = lib.mkForce null; });
    withoutVip = view (with' a1 { machinist.k3s.endpoint = lib.mkForce null; });
  };
  refused = {
    token = refused { services.k3s.token = "secret"; };
    clusterInit = refused { services.k3s.clusterInit = true; };
    serverAddr = refused { services.k3s.serverAddr = "https://10.13.13.3:6443"; };
    swap = refused { swapDevices = [ { device = "/dev/sdb"; } ]; };
    kubeVipExternal = refused {
      machinist.k3s = {
        serviceLoadBalancer = "kube-vip";
        endpoint.vip = lib.mkForce null;
      };
    };
    kubeVip = refused {
      machinist.k3s.serviceLoadBalancer = "kube-vip";
      machinist.k3s.endpoint = lib.mkForce null;
    };
  };
  systems = [
    s1
    a1
    (with' s1 issuers)
  ];
}
