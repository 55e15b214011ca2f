# Types of paths and packages.
lib:
let
  inherit (builtins) isString;
  inherit (lib.options) mergeEqualOption mergeOneOption;
  inherit (import ./helpers.nix lib) simple;
  inherit (lib.types) addCheck attrs mkOptionType uniq;
in
rec {
  pathWith =
    {
      inStore ? null,
      absolute ? null,
    }:
    mkOptionType {
      name = "path";
      description =
        lib.optionalString (absolute != null) (if absolute then "absolute " else "relative ")
        + "path"
        + lib.optionalString (inStore != null) (if inStore then " in the Nix store" else " not in the Nix store");
      descriptionClass = "noun";
      merge = mergeEqualOption;
      check =
        x:
        let
          text = toString x;
          # As in nixpkgs: a real path value could be copied to the store later, so `inStore =
          # false` refuses it.
          fits = if inStore == false then isString x else lib.isStringLike x;
        in
        fits
        && (inStore == null || lib.hasPrefix (builtins.storeDir + "/") text == inStore)
        && (absolute == null || (builtins.substring 0 1 text == "/") == absolute);
      functor = {
        name = "path";
        type = pathWith;
        payload = { inherit inStore absolute; };
        binOp = a: b: if a == b then a else null;
      };
    };
  path = pathWith { absolute = true; };
  pathInStore = pathWith { inStore = true; };
  externalPath = pathWith {
    absolute = true;
    inStore = false;
  };
  package = simple "package" "package" (x: lib.isDerivation x || lib.isStorePath x) (
    loc: defs:
    let
      res = mergeOneOption loc defs;
    in
    if builtins.isPath res || (isString res && !builtins.hasContext res) then lib.toDerivation res else res
  );
  shellPackage = package // {
    check = x: lib.isDerivation x && x ? shellPath;
  };
  pkgs = addCheck (uniq attrs) (x: (x._type or null) == "pkgs") // {
    name = "pkgs";
    descriptionClass = "noun";
    description = "Nixpkgs package set";
  };
}
