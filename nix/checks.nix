# Builds of `nix flake check` besides evaluating the flake: the samples of tests/modules, evaluated
# with this nixpkgs, and the VM tests.
{
  inputs,
  machinist,
  pkgs,
}:
let
  inherit (pkgs) lib;

  nodes =
    sample:
    (import ./cluster.nix {
      inherit inputs;
      root = ../tests/modules + "/${sample}";
    }).nixosConfigurations;

  etcd = nodes "sample";
  mesh.melchior = etcd.melchior.extendModules {
    modules = [
      {
        machinist.pki.certificates.mesh-agent = {
          certificate = ../tests/modules/sample/certs/nodes/melchior/etcd-peer.pem;
          key = "/var/lib/machinist/keys/mesh-agent-0123456789abcdef.key";
        };
        machinist.mesh = {
          enable = true;
          etcdMembers = [ "10.13.13.2" ];
          groups = [ "services" ];
          instances.web = {
            group = "frontends";
            port = 8080;
            publish.port = 80;
          };
          ingress.acme.email = "ops@example.org";
          ingress.hosts."www.example.org".locations."/" = {
            app = "web";
            port = 80;
          };
        };
      }
    ];
  };

  # The derivation of a system exists only if every option has its type, every assertion holds and
  # every package exists. Nothing of it is built.
  derivation =
    { config, ... }:
    assert lib.assertMsg (config.warnings == [ ]) (lib.concatStringsSep "\n" config.warnings);
    builtins.unsafeDiscardStringContext config.system.build.toplevel.drvPath;

  withoutEmptyValue = lib.replaceStrings [ "=:" ] [ ":" ];
  taintOf = taint: withoutEmptyValue "${taint.key}=${taint.value}:${taint.effect}";
  kubernetesNode =
    system:
    let
      taints = map taintOf (lib.attrValues system.config.services.kubernetes.kubelet.taints);
      wanted = map withoutEmptyValue system.config.machinist.kubernetes.taints;
      sorted = lib.sort lib.lessThan;
    in
    assert lib.assertMsg (sorted taints == sorted wanted) (
      "the kubelet of ${system.config.networking.hostName} registers with the taints ${toString taints}, "
      + "and should with ${toString wanted}"
    );
    derivation system;

  evaluate =
    name: describe: systems:
    pkgs.writeText "machinist-${name}.json" (builtins.toJSON (lib.mapAttrs (_: describe) systems));
in
{
  inherit machinist;

  modules-etcd = evaluate "etcd" derivation { inherit (etcd) balthazar; };
  modules-kubernetes = evaluate "kubernetes" kubernetesNode (nodes "kubernetes");
  modules-k3s = evaluate "k3s" derivation { inherit (nodes "k3s") s1 a1; };
  modules-mesh = evaluate "mesh" derivation mesh;
  modules-router = evaluate "router" derivation { inherit (nodes "router") router; };
}
# Machines that run: they need a nixpkgs with the NixOS test framework, and KVM to build.
// import ./tests { inherit inputs machinist pkgs; }
