{
  machinist.apps.notes.secrets.password = "/var/lib/secrets/notes";
}
