# k3s as an agent. It needs one server to start; then it learns of all of them and balances between
# them itself.
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
