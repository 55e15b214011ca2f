# Users who may log in: the operators of machines.nix, as root.
{ config, lib, ... }:
let
  cfg = config.machinist.operators;
  keys = lib.concatLists (lib.attrValues cfg);
in
{
  options.machinist.operators = lib.mkOption {
    type = lib.types.attrsOf (lib.types.listOf lib.types.singleLineStr);
    default = { };
    example = {
      ops = [ "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample ops" ];
    };
    description = "Operators of the cluster by name, each with the SSH public keys that log in as root.";
  };

  config = {
    users.users.root.openssh.authorizedKeys.keys = keys;

    # Without operators, accounts set up by hand are the only access: keep them.
    users.mutableUsers = lib.mkDefault (keys == [ ]);

    warnings = lib.optional (keys == [ ]) (
      "machinist.operators is empty on ${config.machinist.node.name}: machinist cannot log in to the node. "
      + "Add an operator with an SSH key to cluster.operators in machines.nix and run `machinist generate`."
    );
  };
}
