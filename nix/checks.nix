# What `nix flake check` builds besides evaluating the flake.
{
  inputs,
  machinist,
  pkgs,
}:
let
  inherit (pkgs) lib;

  sample = import ./cluster.nix {
    inherit inputs;
    root = ../tests/modules/sample;
  };

  # The values that hold the cluster together, from a node's evaluated modules: reading them runs every assertion that
  # concerns machinist, without building a system.
  summary =
    { config, ... }:
    let
      failed = lib.filter (
        entry: !entry.assertion && lib.hasInfix "machinist" entry.message
      ) config.assertions;
    in
    assert lib.assertMsg (failed == [ ]) (lib.concatMapStringsSep "\n" (entry: entry.message) failed);
    {
      inherit (config.networking) hostName;
      firewall = config.networking.firewall.extraInputRules;
      etcd = config.services.etcd.initialCluster;
      credentials = config.systemd.services.etcd.serviceConfig.LoadCredential;
    };
in
{
  inherit machinist;

  # The modules evaluate with this nixpkgs, for every node of a sample cluster.
  modules = pkgs.writeText "machinist-modules.json" (
    builtins.toJSON (lib.mapAttrs (_: summary) sample.nixosConfigurations)
  );
}
