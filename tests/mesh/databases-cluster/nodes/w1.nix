# An application in front of the replicated database, and databases that are not replicated.
{
  machinist.mesh = {
    leaseSeconds = 4;
    # It reaches the frontends like an ingress.
    groups = [
      "backends"
      "frontends"
      "services"
    ];
  };
  machinist.apps = {
    notes.secrets.password = "/var/lib/secrets/notes";
    nginx.server = "location = / { return 200 'first\\n'; }";
    redis.secrets.auth = "/var/lib/secrets/redis";
  };
}
