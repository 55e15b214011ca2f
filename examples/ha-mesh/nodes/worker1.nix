{
  machinist.apps.notes.secrets.password = "/run/secrets/notes";
}
