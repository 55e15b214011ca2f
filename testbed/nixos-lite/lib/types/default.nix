# Option types, each with a check, a merge and a description.
lib:
builtins.foldl' (all: part: all // import part lib) { types = lib.types; } [
  ./base.nix
  ./plain.nix
  ./paths.nix
  ./collections.nix
  ./combined.nix
  ./module-types.nix
]
