# A member of the database. The file with the password is brought there by sops-nix, say: it is no part of the system.
{
  machinist.apps.mariadb = {
    replicatesOver = "overlay";
    databases.notes.passwordFile = "/run/secrets/notes";
  };
}
