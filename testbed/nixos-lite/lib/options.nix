# Option declarations, the merging of plain values, and how options are shown in errors.
lib:
let
  inherit (builtins) all concatMap filter foldl' head isBool isString length;
  hint = "Use `lib.mkForce value` or `lib.mkDefault value` to change the priority on any of these definitions.";
in
rec {
  isOption = lib.types.isType "option";

  mkOption =
    {
      default ? null,
      defaultText ? null,
      example ? null,
      description ? null,
      relatedPackages ? null,
      type ? null,
      apply ? null,
      internal ? null,
      visible ? null,
      readOnly ? null,
    }@attrs:
    attrs // { _type = "option"; };

  mkEnableOption =
    name:
    mkOption {
      type = lib.types.bool;
      default = false;
      example = true;
      description = "Whether to enable ${name}.";
    };

  mkPackageOption =
    pkgs: name:
    {
      nullable ? false,
      default ? name,
      example ? null,
      extraDescription ? "",
      pkgsText ? "pkgs",
    }:
    let
      shown = lib.last (lib.toList name);
      path = lib.toList default;
      pathText = lib.showAttrPath path;
    in
    mkOption (
      {
        type = if nullable then lib.types.nullOr lib.types.package else lib.types.package;
        description = "The ${shown} package to use.${lib.optionalString (extraDescription != "") " ${extraDescription}"}";
      }
      // (
        if default != null then
          {
            default = lib.attrByPath path (throw "${pathText} cannot be found in ${pkgsText}") pkgs;
            defaultText = literalExpression "${pkgsText}.${pathText}";
          }
        else
          lib.optionalAttrs nullable { default = null; }
      )
      // lib.optionalAttrs (example != null) {
        example = literalExpression (
          if builtins.isList example then "${pkgsText}.${lib.showAttrPath example}" else example
        );
      }
    );

  # Merges by the kind of the values: lists and strings are joined, sets united, booleans or-ed.
  mergeDefaultOption =
    loc: defs:
    let
      list = getValues defs;
    in
    if length list == 1 then
      head list
    else if all lib.isFunction list then
      x: mergeDefaultOption loc (map (def: def // { value = def.value x; }) defs)
    else if all builtins.isList list then
      builtins.concatLists list
    else if all builtins.isAttrs list then
      foldl' (a: b: a // b) { } list
    else if all isBool list then
      builtins.any (x: x) list
    else if all isString list then
      lib.concatStrings list
    else if all builtins.isInt list && all (x: x == head list) list then
      head list
    else
      throw "Cannot merge definitions of `${showOption loc}'. Definition values:${showDefs defs}";

  mergeOneOption = mergeUniqueOption { message = ""; };
  mergeUniqueOption =
    {
      message,
      merge ? (_: defs: (head defs).value),
    }:
    loc: defs:
    if length defs == 1 then
      merge loc defs
    else
      throw "The option `${showOption loc}' is defined multiple times while it's expected to be unique.\n${message}\nDefinition values:${showDefs defs}\n${hint}";

  mergeEqualOption =
    loc: defs:
    let
      first = head defs;
      differing = filter (def: def.value != first.value) (builtins.tail defs);
    in
    if length defs == 1 || differing == [ ] then
      first.value
    else
      throw "The option `${showOption loc}' has conflicting definition values:${
        showDefs [
          first
          (head differing)
        ]
      }\n${hint}";

  getValues = map (def: def.value);
  getFiles = map (def: def.file);

  literalExpression =
    text:
    if isString text then
      {
        _type = "literalExpression";
        inherit text;
      }
    else
      throw "literalExpression expects a string.";
  literalMD =
    text:
    if isString text then
      {
        _type = "literalMD";
        inherit text;
      }
    else
      throw "literalMD expects a string.";
  literalCode = language: text: literalMD "```${language}\n${text}\n```";
  renderOptionValue =
    v: if v ? _type && v ? text then v else literalExpression (lib.generators.toPretty { } v);

  # A path of attribute names in Nix syntax; `<name>` and `*` stay as they are.
  showOption =
    parts:
    let
      show =
        part:
        if builtins.elem part [ "*" ] || builtins.match "<.*>" part != null then
          part
        else
          lib.escapeNixIdentifier part;
    in
    lib.concatMapStringsSep "." show parts;
  showFiles = files: lib.concatMapStringsSep " and " (f: "`${f}'") files;

  # One line (or a short block) for each definition: the file and the value.
  showDefs =
    defs:
    lib.concatMapStrings (
      def:
      let
        printed = builtins.tryEval (
          lib.generators.toPretty { } (
            lib.generators.withRecursion {
              depthLimit = 10;
              throwOnDepthLimit = false;
            } def.value
          )
        );
        lines = lib.splitString "\n" printed.value;
        shown = lib.take 5 lines ++ lib.optional (length lines > 5) "...";
        text = if printed.success then ": ${lib.concatStringsSep "\n    " shown}" else "";
      in
      "\n- In `${def.file}'${text}"
    ) defs;
  showOptionWithDefLocs = opt: ''
    ${showOption opt.loc}, with values defined in:
    ${lib.concatMapStringsSep "\n" (defFile: "  - ${defFile}") opt.files}
  '';
  unknownModule = "<unknown-file>";

  # All options below `options` as a flat list, submodules included: for documentation and tests.
  optionAttrSetToDocList =
    options:
    concatMap (
      opt:
      let
        visible = opt.visible or true;
        sub = opt.type.getSubOptions opt.loc;
      in
      [
        {
          inherit (opt) loc;
          name = showOption opt.loc;
          description = opt.description or null;
          declarations = filter (x: x != unknownModule) opt.declarations;
          internal = opt.internal or false;
          visible = if isBool visible then visible else visible == "shallow";
          readOnly = opt.readOnly or false;
          type = opt.type.description or "unspecified";
        }
      ]
      ++ lib.optionals (if isBool visible then visible else visible == "transparent") (
        if sub == { } then [ ] else optionAttrSetToDocList sub
      )
    ) (lib.collect isOption options);
}
