# A machine of the sandbox: a systemd-nspawn container whose network is made from outside.
{ config, lib, ... }:
let
  # Above the mkDefault of NixOS' own settings for containers, below what a person sets.
  override = lib.mkOverride 900;
in
{
  config = lib.mkIf (config.machinist.node.provider == "sandbox") {
    boot.isContainer = true;

    # The address is in the namespace before the machine boots. Setting it again would take it away, and with it the
    # deployment's own connection, whenever the unit that set it stops.
    machinist.network.configure = lib.mkDefault false;
    networking.useDHCP = lib.mkDefault false;

    services.openssh = {
      # A deployment waits for the listening sshd, which NixOS' containers start on demand only.
      startWhenNeeded = override false;
      # The sandbox puts its own key there when it makes the machine.
      authorizedKeysInHomedir = override true;
    };
  };
}
