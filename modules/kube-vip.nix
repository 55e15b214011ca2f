# The environment of kube-vip that k3s and Kubernetes share, as a function of the API's endpoint.
{ config, lib }:
let
  inherit (config.lib.machinist.types) isIPv6 urlHost;
in
endpoint: {
  hasPassword = endpoint.vip.password or false;

  common = {
    address = endpoint.address;
    port = toString endpoint.port;
    # `vip_cidr` of older versions and of most examples is ignored.
    vip_subnet = if isIPv6 endpoint.address then "128" else "32";
    cp_enable = "true";
    cp_namespace = "kube-system";
    prometheus_server = "127.0.0.1:2112";
  };

  modes = {
    # No election: every control plane announces the address, and the Router balances between them.
    # kube-vip opens the BGP sessions, so no port listens.
    bgp = {
      vip_arp = "false";
      bgp_enable = "true";
      vip_interface = "lo";
      bgp_as = toString endpoint.vip.nodeAs;
      # The Router detects a vanished node after four seconds.
      bgp_keepalive_interval = "1";
      bgp_hold_time = "4";
    }
    # With a password, the peer is in the file that contains it. A peer in the environment would
    # take precedence over that file.
    // lib.optionalAttrs (!(endpoint.vip.password or false)) {
      bgp_peers = "${urlHost endpoint.vip.router}:${toString endpoint.vip.routerAs}::false";
    };
    arp = {
      vip_arp = "true";
      vip_leaderelection = "true";
      vip_leasename = "plndr-cp-lock";
      vip_leaseduration = "5";
      vip_renewdeadline = "3";
      vip_retryperiod = "1";
    };
  };
}
