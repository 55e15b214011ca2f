# A worker. A machine of the sandbox has no file system below its own that podman could lay layers over, and no keyring.
{
  machinist.mesh.leaseSeconds = 4;
  machinist.apps.notes.secrets.password = "/var/lib/secrets/notes";
  virtualisation.containers = {
    storage.settings.storage.driver = "vfs";
    containersConf.settings.containers.keyring = false;
  };
}
