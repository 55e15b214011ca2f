# A worker. A sandbox machine's file system does not support the overlays of podman's layers, and it has no keyring.
{
  machinist.mesh.leaseSeconds = 4;
  machinist.apps.notes.secrets.password = "/var/lib/secrets/notes";
  virtualisation.containers = {
    storage.settings.storage.driver = "vfs";
    containersConf.settings.containers.keyring = false;
  };
}
