{
  cluster = { name = "magi"; operators = import ../operators.nix; };
  network.nodes = "10.13.13.0/24";

  machines = builtins.listToAttrs (
    map (number: {
      name = "node${toString number}";
      value = { ip = "10.13.14.${toString number}"; };
    }) [ 2 3 ]
  );
}
