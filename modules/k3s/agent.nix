# An agent of k3s. It needs one server to begin with; later it knows all of them and spreads over them itself.
{ config, lib, ... }:
let
  cfg = config.machinist.k3s;
  first = lib.head (lib.attrValues cfg.servers);
in
{
  config = lib.mkIf (cfg.enable && cfg.role == "agent") {
    services.k3s.serverAddr = cfg.url (if cfg.endpoint == null then first else cfg.endpoint.address);
  };
}
