{ command }:
command {
  name = "showCert";
  description = "Show one certificate";
  subcommand = [
    "certs"
    "show"
  ];
}
