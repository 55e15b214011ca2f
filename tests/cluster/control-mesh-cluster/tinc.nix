# The machine is a container, which the sandbox has connected.
{
  boot.isContainer = true;
  networking.useDHCP = false;
  services.openssh = {
    startWhenNeeded = false;
    authorizedKeysInHomedir = true;
  };
}
