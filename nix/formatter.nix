# `nix fmt`: every Nix file that git knows, or the files that are named. Older versions of nix name the folder `.`.
{ pkgs }:
pkgs.writeShellApplication {
  name = "format-nix";
  runtimeInputs = [
    pkgs.findutils
    pkgs.git
    pkgs.nixfmt
  ];
  text = ''
    if [ "$*" = "" ] || [ "$*" = . ]; then
      git ls-files -z -- '*.nix' | xargs --null --no-run-if-empty nixfmt
    else
      nixfmt "$@"
    fi
  '';
}
