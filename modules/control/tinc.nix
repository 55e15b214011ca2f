# tinc 1.1 as the control mesh. A node's name there contains the digest of its key, so while keys are rotated the others
# know it by two names, and it uses the one that it has the private half for.
{
  config,
  lib,
  ...
}:
let
  cfg = config.machinist.control;
  inherit (config.machinist.keys.units."tinc.control") files;

  # tinc takes letters, digits and underscores; names of nodes have no underscore.
  nameOf = node: key: "${lib.replaceStrings [ "-" ] [ "_" ] node}_${key.id}";
  named = node: peer: map (key: lib.nameValuePair (nameOf node key) (host peer key)) peer.keys;

  host = peer: key: {
    addresses = lib.optional (peer.endpoint != null) {
      address = peer.endpoint;
      inherit (cfg) port;
    };
    subnets = map (address: { inherit address; }) peer.addresses;
    settings = {
      Ed25519PublicKey = key.key;
      Port = cfg.port;
    };
  };

  ownKey = lib.head cfg.own.keys;
  ownName = nameOf config.machinist.node.name ownKey;
  hosts = lib.listToAttrs (
    lib.concatLists (lib.mapAttrsToList named cfg.peers)
    ++ [ (lib.nameValuePair ownName (host cfg.own ownKey)) ]
  );
  reachable = lib.filterAttrs (_: peer: peer.endpoint != null) cfg.peers;
in
{
  config = lib.mkIf (cfg.backend == "tinc" && cfg.own != null) {
    services.tinc.networks.control = {
      name = ownName;
      ed25519PrivateKeyFile = files.${cfg.own.pair}.key;
      hostSettings = hosts;
      settings = {
        Interface = cfg.interface;
        ConnectTo = lib.concatLists (
          lib.mapAttrsToList (node: peer: map (nameOf node) peer.keys) reachable
        );
        AutoConnect = false;
        # A node has the addresses that these files give it, and no others.
        StrictSubnets = true;
        # Seconds. A name that is not in use is tried again and again; the default waits up to 15 minutes for one that is.
        MaxTimeout = 5;
        PingInterval = 10;
      };
    };

    # The names of files are links to the store elsewhere; here copies that tinc's user would own.
    environment.etc = lib.mapAttrs' (
      name: _: lib.nameValuePair "tinc/control/hosts/${name}" { user = lib.mkForce "root"; }
    ) hosts;

    systemd.services."tinc.control" = {
      after = [ "machinist-control-interface.service" ];
      wants = [ "machinist-control-interface.service" ];
      # NixOS' own makes an RSA key for the protocol of tinc 1.0, which nothing here uses, and gives the directory to tinc's
      # user, although root reads it.
      preStart = lib.mkOverride 90 "";
      startLimitIntervalSec = 0;
    };
  };
}
