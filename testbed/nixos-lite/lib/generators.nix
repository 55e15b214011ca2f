# Values as text: JSON, INI, key=value, and Nix for error messages.
lib:
let
  inherit (builtins) isAttrs isList isString typeOf;
in
rec {
  mkValueStringDefault =
    { }:
    v:
    let
      err = t: throw "generators.mkValueStringDefault: ${t} not supported: ${toPretty { } v}";
    in
    if builtins.isInt v then
      toString v
    else if lib.isDerivation v then
      toString v
    else if isString v then
      v
    else if v == true then
      "true"
    else if v == false then
      "false"
    else if v == null then
      "null"
    else if isList v then
      err "lists"
    else if isAttrs v then
      err "attrsets"
    else if lib.isFunction v then
      err "functions"
    else if builtins.isFloat v then
      lib.floatToString v
    else
      err "this value is ${typeOf v}, which is";

  mkKeyValueDefault =
    {
      mkValueString ? mkValueStringDefault { },
    }:
    sep: k: v:
    "${lib.escape [ sep ] k}${sep}${mkValueString v}";

  toKeyValue =
    {
      mkKeyValue ? mkKeyValueDefault { } "=",
      listsAsDuplicateKeys ? false,
      indent ? "",
    }:
    attrs:
    let
      line = k: v: "${indent}${mkKeyValue k v}\n";
      entry = k: v: if listsAsDuplicateKeys then lib.concatMapStrings (line k) (lib.toList v) else line k v;
    in
    lib.concatStrings (lib.mapAttrsToList entry attrs);

  toINI =
    {
      mkSectionName ? (name: lib.escape [ "[" "]" ] name),
      mkKeyValue ? mkKeyValueDefault { } "=",
      listsAsDuplicateKeys ? false,
    }:
    sections:
    lib.concatStringsSep "\n" (
      lib.mapAttrsToList (
        name: values: "[${mkSectionName name}]\n${toKeyValue { inherit mkKeyValue listsAsDuplicateKeys; } values}"
      ) sections
    );
  toINIWithGlobalSection =
    {
      mkSectionName ? (name: lib.escape [ "[" "]" ] name),
      mkKeyValue ? mkKeyValueDefault { } "=",
      listsAsDuplicateKeys ? false,
    }:
    {
      globalSection,
      sections ? { },
    }:
    (if globalSection == { } then "" else toKeyValue { inherit mkKeyValue listsAsDuplicateKeys; } globalSection + "\n")
    + toINI { inherit mkSectionName mkKeyValue listsAsDuplicateKeys; } sections;

  toJSON = { }: builtins.toJSON;
  toYAML = toJSON;

  # Truncates a value below a depth, so that printing it terminates.
  withRecursion =
    {
      depthLimit,
      throwOnDepthLimit ? true,
    }:
    let
      special = [ "__functor" "__functionArgs" "__toString" "__pretty" ];
      cut =
        depth: v:
        if depth > depthLimit then
          if throwOnDepthLimit then
            throw "Exceeded maximum eval-depth limit of ${toString depthLimit} while trying to evaluate with `generators.withRecursion'!"
          else
            "<unevaluated>"
        else if isAttrs v then
          if lib.isDerivation v then
            v
          else
            builtins.mapAttrs (name: value: if builtins.elem name special then value else cut (depth + 1) value) v
        else if isList v then
          map (cut (depth + 1)) v
        else
          v;
    in
    cut 0;

  # A value as Nix text.
  toPretty =
    {
      allowPrettyValues ? false,
      multiline ? true,
      indent ? "",
    }:
    let
      go =
        indent: v:
        let
          intro = if multiline then "\n${indent}  " else " ";
          outro = if multiline then "\n${indent}" else " ";
        in
        if builtins.isInt v then
          toString v
        else if builtins.isFloat v then
          builtins.toJSON v
        else if isString v then
          showString indent v
        else if v == true then
          "true"
        else if v == false then
          "false"
        else if v == null then
          "null"
        else if builtins.isPath v then
          toString v
        else if isList v then
          if v == [ ] then "[ ]" else "[${intro}${lib.concatMapStringsSep intro (go (indent + "  ")) v}${outro}]"
        else if builtins.isFunction v || (isAttrs v && v ? __functor) then
          showFunction v
        else if allowPrettyValues && v ? __pretty && v ? val then
          v.__pretty v.val
        else if v == { } then
          "{ }"
        else if lib.isDerivation v then
          "<derivation ${v.name or "???"}>"
        else
          "{${intro}${
            lib.concatStringsSep intro (
              lib.mapAttrsToList (
                name: value:
                "${lib.escapeNixIdentifier name} = ${
                  builtins.addErrorContext "while evaluating an attribute `${name}`" (go (indent + "  ") value)
                };"
              ) v
            )
          }${outro}}";
      showFunction =
        f:
        let
          args = lib.functionArgs f;
          shown = lib.concatStringsSep ", " (lib.mapAttrsToList (name: optional: if optional then name + "?" else name) args);
        in
        if args == { } then "<function>" else "<function, args: {${shown}}>";
      showString =
        indent: v:
        let
          lines = lib.splitString "\n" v;
          escapeMulti = builtins.replaceStrings [ "\${" "''" ] [ "''\${" "'''" ];
          escapeSingle = builtins.replaceStrings [ "\\" "\"" "\${" "\n" "\r" "\t" ] [ "\\\\" "\\\"" "\\\${" "\\n" "\\r" "\\t" ];
          body = lib.concatStringsSep "\n${indent}  " (map escapeMulti (if lib.last lines == "" then lib.init lines else lines));
        in
        if multiline && builtins.length lines > 1 then
          "''\n${indent}  ${body}${if lib.last lines == "" then "\n${indent}''" else "''"}"
        else
          "\"${escapeSingle v}\"";
    in
    go indent;
}
