# The machines of a VM test, from a directory with a machines.nix: the modules and the facts that a deploy of that
# directory has, with certificates and keys of one test.
{
  inputs,
  machinist,
  pkgs,
}:
root:
let
  inherit (pkgs) lib;

  # ../cluster.nix with a nixosSystem that returns its modules: what a deploy evaluates, for the test framework to evaluate.
  modulesOf =
    (import ../cluster.nix {
      inherit root;
      inputs = inputs // {
        nixpkgs = inputs.nixpkgs // {
          lib = inputs.nixpkgs.lib // {
            nixosSystem = { modules }: { imports = modules; };
          };
        };
      };
    }).nixosConfigurations;

  # THROWAWAY KEYS, IN PLAIN TEXT AND READABLE FOR EVERYONE WHO READS THE STORE. A deploy's keys are in no store.
  throwaway =
    pkgs.runCommand "throwaway-cluster"
      {
        nativeBuildInputs = [
          machinist
          pkgs.age
          pkgs.git
          pkgs.nix
          pkgs.openssl
        ];
      }
      ''
        bash ${./throwaway-cluster.sh} ${root + "/machines.nix"} "$out"
      '';

  # The facts name files of certs/, which is not committed, and keys by digests of another run's keys: the files are
  # replaced, the names of the keys stay.
  pkiOf =
    name:
    let
      inherit ((import (root + "/generated/${name}.nix")).machinist) pki;
      certs = "${throwaway}/cluster/certs";
      certificates = lib.mapAttrs (leaf: entry: {
        certificate = "${certs}/nodes/${name}/${leaf}.pem";
        inherit (entry) key;
      }) (pki.certificates or { });
      keyPairs = lib.mapAttrs (pair: entry: {
        public = "${certs}/shared/${pair}.pub";
        inherit (entry) key;
      }) (pki.keyPairs or { });
      # As a deploy leaves them: for root only, before any unit starts.
      deliver =
        from: leaf: entry:
        "C ${entry.key} 0400 root root - ${throwaway}/keys/${from}/${leaf}.key";
    in
    {
      machinist.pki = {
        authorities = lib.mkForce (
          lib.mapAttrs (authority: _: "${certs}/authorities/${authority}.pem") (pki.authorities or { })
        );
        certificates = lib.mkForce certificates;
        keyPairs = lib.mkForce keyPairs;
      };
      systemd.tmpfiles.rules =
        lib.mapAttrsToList (deliver "nodes/${name}") certificates
        ++ lib.mapAttrsToList (deliver "shared") keyPairs;
    };

  # In the place of disks, boot loader and network devices of a machine: those of QEMU. The nodes' network is VLAN 1.
  hardware =
    { config, ... }:
    {
      nixpkgs.pkgs = pkgs;
      machinist.disk.layout = false;
      disko.enableConfig = false;
      virtualisation.interfaces.${config.machinist.network.interface} = {
        vlan = 1;
        assignIP = false;
      };
      # The test framework's list has addresses of its own.
      networking.extraHosts = lib.mkForce "";
      services.timesyncd.enable = false;
    };
in
{
  inherit throwaway;

  nodes = lib.mapAttrs (name: deployed: {
    imports = [
      deployed
      (pkiOf name)
      hardware
    ];
  }) modulesOf;

  # A machine of the same network that is no node, such as an operator's computer.
  machineAt = address: {
    nixpkgs.pkgs = pkgs;
    virtualisation.interfaces.eth1 = {
      vlan = 1;
      assignIP = false;
    };
    networking.interfaces.eth1.ipv4.addresses = [
      {
        inherit address;
        prefixLength = 24;
      }
    ];
  };
}
