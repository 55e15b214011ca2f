{ command }:
command {
  name = "genCerts";
  description = "Issue certificates that are missing or have drifted";
  subcommand = [
    "certs"
    "gen"
  ];
}
