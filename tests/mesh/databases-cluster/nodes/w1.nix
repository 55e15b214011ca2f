# An application in front of the replicated database, and databases that are not replicated.
{
  machinist.mesh = {
    leaseSeconds = 4;
    # It asks the frontends as an ingress would.
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
