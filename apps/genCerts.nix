{ command }:
command {
  name = "genCerts";
  description = "Make the certificates that are missing or have drifted";
  subcommand = [
    "certs"
    "gen"
  ];
}
