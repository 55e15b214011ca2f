# Names that must resolve without a DNS server: etcd members, control planes, the node itself.
{ config, lib, ... }:
let
  inherit (config.lib.machinist.types) ipAddress;
in
{
  options.machinist.hosts = lib.mkOption {
    type = lib.types.attrsOf (lib.types.listOf lib.types.str);
    default = { };
    example = {
      "10.13.13.2" = [
        "balthazar.magi.internal"
        "balthazar"
      ];
    };
    description = "Lines of {file}`/etc/hosts`: address to names, the canonical name first.";
  };

  config = {
    networking.hosts = config.machinist.hosts;

    assertions = [
      {
        assertion = lib.all ipAddress.check (lib.attrNames config.machinist.hosts);
        message =
          "machinist.hosts of ${config.machinist.node.name} has a key that is not an IP address: "
          + "run `machinist generate` again.";
      }
    ];
  };
}
