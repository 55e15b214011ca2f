# Templates of `nix flake init -t URL#NAME`, and of `machinist init --template NAME`, whose binary
# embeds them.
let
  descriptions = builtins.fromJSON (builtins.readFile ../examples/templates.json);
in
builtins.mapAttrs (name: description: {
  inherit description;
  path = ../examples + "/${name}";
  welcomeText = ''
    Next: write the URL of machinist as `inputs.machinist.url` into flake.nix (or give it that name on this computer:
    `nix registry add machinist URL`), add yourself to operators.nix, and run `nix run .#check`.
  '';
}) descriptions
