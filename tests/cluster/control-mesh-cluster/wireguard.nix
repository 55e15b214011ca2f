# The machine is a container, which the sandbox has connected, and its kernel has no WireGuard: a program makes the
# interface.
{
  boot.isContainer = true;
  networking.useDHCP = false;
  services.openssh = {
    startWhenNeeded = false;
    authorizedKeysInHomedir = true;
  };
  systemd.services.wireguard-go = {
    before = [ "machinist-control-interface.service" ];
    requiredBy = [ "machinist-control-interface.service" ];
    serviceConfig = {
      Type = "forking";
      ExecStart = "/usr/bin/wireguard-go control";
      RuntimeDirectory = "wireguard";
    };
  };
}
