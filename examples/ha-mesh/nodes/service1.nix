# A member of the database. The password file is delivered by sops-nix, for example: it is not part
# of the system.
{
  machinist.apps.mariadb = {
    replicatesOver = "overlay";
    databases.notes.passwordFile = "/run/secrets/notes";
  };
}
