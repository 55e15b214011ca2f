# A machine of the sandbox: a systemd-nspawn container whose network is configured from outside.
{ config, lib, ... }:
let
  # Stronger than the mkDefault of NixOS' own settings for containers, weaker than the user's
  # settings.
  override = lib.mkOverride 900;
in
{
  config = lib.mkIf (config.machinist.node.provider == "sandbox") {
    boot.isContainer = true;

    # The address exists in the namespace before the machine boots. If a unit set it again, it would
    # be removed, and the deploy's connection with it, whenever that unit stops.
    machinist.network.configure = lib.mkDefault false;
    networking.useDHCP = lib.mkDefault false;

    services.openssh = {
      # A deploy waits for a listening sshd, which NixOS' containers start on demand only.
      startWhenNeeded = override false;
      # The sandbox installs its own key there when it creates the machine.
      authorizedKeysInHomedir = override true;
    };
  };
}
