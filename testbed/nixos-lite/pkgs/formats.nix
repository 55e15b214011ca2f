# Configuration formats: a type of the values and a generator of the file.
{
  lib,
  pkgs,
  system,
}:
let
  inherit (lib) types;
  atomOf =
    description: nullable: options:
    (if nullable then types.nullOr (types.oneOf options) else types.oneOf options) // { inherit description; };
  iniAtom = atomOf "INI atom (null, bool, int, float or string)" true [
    types.bool
    types.int
    types.float
    types.str
  ];
  listOrAtom =
    atom: listsAsDuplicateKeys:
    if listsAsDuplicateKeys then
      types.either atom (types.listOf atom) // { description = atom.description + " or a list of them for duplicate keys"; }
    else
      atom;
in
{
  json =
    { }:
    {
      type = types.json;
      generate = name: value: pkgs.writeText name (builtins.toJSON value);
    };
  # JSON is YAML, so the JSON text is the file.
  yaml =
    { }:
    {
      type = types.serializableValueWith { typeName = "YAML 1.1"; };
      generate = name: value: pkgs.writeText name (builtins.toJSON value);
    };
  # Tables are written inline, which is equivalent TOML.
  toml =
    { }:
    let
      print =
        value:
        if builtins.isAttrs value && !lib.isDerivation value then
          "{ ${lib.concatStringsSep ", " (lib.mapAttrsToList entry value)} }"
        else if builtins.isList value then
          "[ ${lib.concatMapStringsSep ", " print value} ]"
        else
          builtins.toJSON value;
      entry = name: value: "${builtins.toJSON name} = ${print value}";
    in
    {
      type = types.toml;
      generate =
        name: value: pkgs.writeText name (lib.concatStrings (lib.mapAttrsToList (n: v: entry n v + "\n") value));
    };
  keyValue =
    {
      listsAsDuplicateKeys ? false,
      ...
    }@args:
    {
      type = types.attrsOf (
        listOrAtom (atomOf "atom (null, bool, int, float or string)" true [
          types.bool
          types.int
          types.float
          types.str
        ]) listsAsDuplicateKeys
      );
      generate = name: value: pkgs.writeText name (lib.generators.toKeyValue args value);
    };
  ini =
    {
      listsAsDuplicateKeys ? false,
      ...
    }@args:
    {
      type = types.attrsOf (types.attrsOf (listOrAtom iniAtom listsAsDuplicateKeys)) // {
        description = "attribute set of section of an INI file (attrs of ${iniAtom.description}${
          lib.optionalString listsAsDuplicateKeys " or a list of them for duplicate keys"
        })";
      };
      lib.types.atom = iniAtom;
      generate = name: value: pkgs.writeText name (lib.generators.toINI args value);
    };
}
