# Two addresses of a node that moves from one to the other (`machinist node readdress`).
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.machinist.network;
  inherit (config.machinist) node;
  inherit (config.lib.machinist.types) isIPv6;
  prefixLength = if isIPv6 cfg.address then "128" else "32";

  # Where the network configures the interface, an address that is missing is added, and the others
  # are left as they are.
  isOurs = cfg.configure || node.provider == "sandbox";
  prefix = toString cfg.prefixLength;

  # `replace` in this order never leaves the node without one of the two, whatever
  # net.ipv4.conf.*.promote_secondaries is. The address in use gets the network's prefix: packets
  # are sent from it.
  configured =
    if isIPv6 cfg.address then
      ''
        ip address replace "$address/${prefix}" dev "$device" nodad valid_lft forever preferred_lft forever
        ip address replace "$second/128" dev "$device" nodad valid_lft forever preferred_lft 0
      ''
    else
      ''
        ip address replace "$address/32" dev "$device"
        ip address replace "$second/32" dev "$device"
        ip address replace "$address/${prefix}" dev "$device"
        ip address del "$second/${prefix}" dev "$device" 2>/dev/null || true
        ip address replace "$address/${prefix}" dev "$device"
        ip address del "$address/32" dev "$device"
      '';
  found = ''
    for ip in "$address" "$second"; do
      [ -n "$(device_of "$ip")" ] || ip address add "$ip/${prefixLength}" dev "$device"
    done
  '';
in
{
  config = lib.mkIf (cfg.secondAddress != null) {
    # It has no stop: the last step of a move removes the old address, after the last listener.
    systemd.services.machinist-addresses = {
      description = "Both addresses of a node that moves";
      wantedBy = [ "multi-user.target" ];
      after = [
        "network-pre.target"
      ]
      ++ lib.optional (cfg.interface != null) "network-addresses-${cfg.interface}.service";
      before = [
        "network.target"
        "etcd.service"
      ];
      path = [ pkgs.iproute2 ];
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
      };
      script = ''
        address=${cfg.address} second=${cfg.secondAddress}
        device_of() {
          ip -o address show to "$1" | { read -r _ name _ && printf %s "$name"; }
        }
        for _ in {1..60}; do
          device=$(device_of "$address" || device_of "$second") && break
          sleep 0.5
        done
        if [ -z "$device" ]; then
          echo "no interface has $address or $second" >&2
          exit 1
        fi
        ${if isOurs then configured else found}
        echo ${if isOurs then "configured" else "found"} >/run/machinist-addresses
      '';
    };
    assertions = [
      {
        assertion = isIPv6 cfg.address == isIPv6 cfg.secondAddress;
        message = "machinist.network.secondAddress of ${node.name} is of another family than its address.";
      }
    ];
  };
}
