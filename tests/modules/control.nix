# A node of a control mesh, with either backend, while the keys of another one are rotated.
{
  lib,
  base,
  failed,
}:
let
  key = character: {
    id = lib.concatStrings (lib.genList (_: character) 16);
    key = lib.concatStrings (lib.genList (_: character) 43);
  };
  node =
    address: endpoint: keys:
    {
      addresses = [ address ];
      pair = "control-of-${lib.replaceStrings [ "." ] [ "-" ] address}";
      public = ./sample/generated/_overlay.nix;
      inherit keys;
    }
    // lib.optionalAttrs (endpoint != null) { inherit endpoint; };
  nodes = {
    melchior = node "10.13.13.3" "203.0.113.3" [ (key "a") ];
    balthazar = node "10.13.13.2" "vpn.example.org" [
      (key "b")
      (key "c")
    ];
    a-b = node "10.13.13.4" null [ (key "d") ];
  };
  of =
    backend: more:
    base.extendModules {
      modules = [
        {
          machinist.control = {
            inherit backend;
            port = 655;
            nodes = lib.mkDefault nodes;
          };
          machinist.pki.keyPairs.${nodes.melchior.pair} = {
            public = ./sample/generated/_overlay.nix;
            key = "/var/lib/machinist/keys/control-1.key";
          };
        }
        more
      ];
    };
  tinc = of "tinc" { };
  wireguard = of "wireguard" { };
  text = system: path: system.config.environment.etc.${path}.text;
  lines = lib.splitString "\n";
  interface = system: system.config.systemd.services.machinist-control-interface;
in
{
  systems = [
    tinc
    wireguard
  ];
  failed = failed tinc ++ failed wireguard;
  withoutNftables = failed (of "wireguard" { networking.nftables.enable = lib.mkForce false; });
  interface = lib.mapAttrs (_: system: {
    inherit (interface system) after before script;
    stop = (interface system).serviceConfig ? ExecStop;
  }) { inherit tinc wireguard; };
  conf = lines (text tinc "tinc/control/tinc.conf");
  hosts = lib.filter (lib.hasPrefix "tinc/control/hosts/") (
    lib.attrNames tinc.config.environment.etc
  );
  host = lines (text tinc "tinc/control/hosts/balthazar_bbbbbbbbbbbbbbbb");
  hidden = lines (text tinc "tinc/control/hosts/a_b_dddddddddddddddd");
  owners = lib.unique (
    lib.mapAttrsToList (_: file: file.user) (
      lib.filterAttrs (name: _: lib.hasPrefix "tinc/control/" name) tinc.config.environment.etc
    )
  );
  preStart = tinc.config.systemd.services."tinc.control".preStart or "";
  unit = lines tinc.config.systemd.units."tinc.control.service".text;
  wireguardUnit = lines wireguard.config.systemd.units."machinist-control.service".text;
  public = lib.filter (lib.hasPrefix "machinist/pki/control-") (
    lib.attrNames tinc.config.environment.etc
  );
  ports = lib.mapAttrs (_: system: {
    tcp = lib.elem 655 system.config.networking.firewall.allowedTCPPorts;
    udp = lib.elem 655 system.config.networking.firewall.allowedUDPPorts;
  }) { inherit tinc wireguard; };
  nftables = tinc.config.networking.nftables.tables.machinist-control.content;
  listens = tinc.config.services.etcd.listenPeerUrls;
  withoutKeys =
    {
      inherit (of "tinc" { machinist.control.nodes = removeAttrs nodes [ "melchior" ]; }) config;
    }
    .config.warnings;
  without = base.config.systemd.services ? machinist-control-interface;
}
