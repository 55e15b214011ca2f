# Option types: a check, a merge, and a description each.
lib:
let
  inherit (builtins)
    all
    concatMap
    elem
    filter
    foldl'
    head
    isAttrs
    isBool
    isInt
    isList
    isString
    length
    mapAttrs
    match
    ;
  inherit (lib.options)
    getFiles
    getValues
    mergeDefaultOption
    mergeEqualOption
    mergeOneOption
    mergeUniqueOption
    showFiles
    showOption
    ;
  inherit (lib.modules) evalModules mergeDefinitions mergeOptionDecls fixupOptionType;

  # The description of `t`, in parentheses unless its kind of phrase is in `classes`.
  phrase = classes: t: if elem (t.descriptionClass or null) classes then t.description else "(${t.description})";

  # The functor of a type around one other type.
  elemFunctor = name: make: elemType: {
    inherit name;
    type = payload: make payload.elemType;
    payload = { inherit elemType; };
    binOp =
      a: b:
      let
        merged = a.elemType.typeMerge b.elemType.functor;
      in
      if merged == null then null else { elemType = merged; };
  };

  # What a type passes on of the submodules within the type it wraps.
  nested = elemType: make: {
    inherit (elemType) getSubModules;
    substSubModules = m: make (elemType.substSubModules m);
    nestedTypes = { inherit elemType; };
  };

  # A type of plain values, described by a noun.
  simple =
    name: description: check: merge:
    lib.types.mkOptionType {
      inherit name description check merge;
      descriptionClass = "noun";
    };
in
rec {
  isType = type: x: (x._type or "") == type;
  setType = name: value: value // { _type = name; };
  isOptionType = isType "option-type";

  defaultFunctor = name: {
    inherit name;
    type = types.${name} or null;
    payload = null;
    binOp = _: _: null;
  };
  # Two declarations' types as one, or null when they cannot be one.
  defaultTypeMerge =
    f: f':
    if f.name != f'.name then
      null
    else if f.payload == null then
      f.type
    else
      let
        payload = f.binOp f.payload f'.payload;
      in
      if payload == null then null else f.type payload;

  mkOptionType =
    {
      name,
      description ? null,
      descriptionClass ? null,
      check ? (_: true),
      merge ? mergeDefaultOption,
      emptyValue ? { },
      getSubOptions ? (_: { }),
      getSubModules ? null,
      substSubModules ? (_: null),
      functor ? defaultFunctor name,
      typeMerge ? defaultTypeMerge functor,
      deprecationMessage ? null,
      nestedTypes ? { },
    }:
    {
      _type = "option-type";
      inherit
        name
        descriptionClass
        check
        merge
        emptyValue
        getSubOptions
        getSubModules
        substSubModules
        typeMerge
        functor
        deprecationMessage
        nestedTypes
        ;
      description = if description == null then name else description;
    };

  optionDescriptionPhrase = unparenthesize: t: if unparenthesize (t.descriptionClass or null) then t.description else "(${t.description})";

  # A type like `base` whose values also satisfy `check`.
  addCheck = base: check: base // { check = x: base.check x && check x; };

  # Plain values.

  raw = simple "raw" "raw value" (_: true) mergeOneOption;
  unspecified = simple "unspecified" "unspecified value" (_: true) mergeDefaultOption;
  bool = simple "bool" "boolean" isBool mergeEqualOption;
  boolByOr = simple "boolByOr" "boolean (merged using or)" isBool (_: defs: builtins.any (def: def.value) defs);
  int = simple "int" "signed integer" isInt mergeEqualOption;
  float = simple "float" "floating point number" builtins.isFloat mergeEqualOption;
  number = either int float;
  str = simple "str" "string" isString mergeEqualOption;
  nonEmptyStr = simple "nonEmptyStr" "non-empty string" (
    x: isString x && match "[ \t\n]*" x == null
  ) mergeEqualOption;
  singleLineStr =
    simple "singleLineStr" "(optionally newline-terminated) single-line string"
      (x: isString x && match "[^\n\r]*\n?" x != null)
      (loc: defs: lib.removeSuffix "\n" (mergeEqualOption loc defs));
  optionType = simple "optionType" "optionType" isOptionType (
    loc: defs:
    if length defs == 1 then
      (head defs).value
    else
      (fixupOptionType loc (
        mergeOptionDecls loc (
          map (def: {
            _file = def.file;
            pos = null;
            options = lib.mkOption { type = def.value; };
          }) defs
        )
      )).type
  );

  ints =
    let
      inclusive = lowest: highest: "${toString lowest} and ${toString highest} (both inclusive)";
      between =
        lowest: highest:
        assert lib.assertMsg (lowest <= highest) "ints.between: lowest must be smaller than highest";
        addCheck int (x: x >= lowest && x <= highest)
        // {
          name = "intBetween";
          description = "integer between ${inclusive lowest highest}";
        };
      sized =
        lowest: highest: name: text:
        between lowest highest
        // {
          inherit name;
          description = "${text}; between ${inclusive lowest highest}";
        };
      unsignedBits = bits: count: sized 0 (count - 1) "unsignedInt${toString bits}" "${toString bits} bit unsigned integer";
      signedBits =
        bits: count:
        sized (0 - (count / 2)) (count / 2 - 1) "signedInt${toString bits}" "${toString bits} bit signed integer";
    in
    {
      inherit between;
      unsigned = addCheck int (x: x >= 0) // {
        name = "unsignedInt";
        description = "unsigned integer, meaning >=0";
        descriptionClass = "nonRestrictiveClause";
      };
      positive = addCheck int (x: x > 0) // {
        name = "positiveInt";
        description = "positive integer, meaning >0";
        descriptionClass = "nonRestrictiveClause";
      };
      u8 = unsignedBits 8 256;
      u16 = unsignedBits 16 65536;
      u32 = unsignedBits 32 4294967296;
      s8 = signedBits 8 256;
      s16 = signedBits 16 65536;
      s32 = signedBits 32 4294967296;
    };
  port = ints.u16;
  numbers = {
    between =
      lowest: highest:
      addCheck number (x: x >= lowest && x <= highest)
      // {
        name = "numberBetween";
        description = "integer or floating point number between ${builtins.toJSON lowest} and ${builtins.toJSON highest} (both inclusive)";
      };
    nonnegative = addCheck number (x: x >= 0) // {
      name = "numberNonnegative";
      description = "nonnegative integer or floating point number, meaning >=0";
      descriptionClass = "nonRestrictiveClause";
    };
    positive = addCheck number (x: x > 0) // {
      name = "numberPositive";
      description = "positive integer or floating point number, meaning >0";
      descriptionClass = "nonRestrictiveClause";
    };
  };

  strMatching =
    pattern:
    simple "strMatching ${lib.escapeNixString pattern}" "string matching the pattern ${pattern}" (
      x: isString x && match pattern x != null
    ) mergeEqualOption
    // rec {
      functor = {
        name = "strMatching";
        type = payload: strMatching payload.pattern;
        payload = { inherit pattern; };
        binOp = a: b: if a == b then a else null;
      };
      typeMerge = defaultTypeMerge functor;
    };

  # Strings of several definitions, joined.
  separatedString =
    sep:
    mkOptionType {
      name = "separatedString";
      description = "strings concatenated with ${builtins.toJSON sep}";
      descriptionClass = "noun";
      check = isString;
      merge = _: defs: lib.concatStringsSep sep (getValues defs);
      functor = {
        name = "separatedString";
        type = payload: separatedString payload.sep;
        payload = { inherit sep; };
        binOp = a: b: if a == b then a else null;
      };
    };
  lines = separatedString "\n";
  commas = separatedString ",";
  envVar = separatedString ":";

  passwdEntry =
    entryType:
    addCheck entryType (x: !(lib.hasInfix ":" x || lib.hasInfix "\n" x))
    // {
      name = "passwdEntry ${entryType.name}";
      description = "${phrase [ "noun" ] entryType}, not containing newlines or colons";
      descriptionClass = "nonRestrictiveClause";
    };

  # Paths and packages.

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
          # As nixpkgs: a real path value could be copied to the store later, so `inStore = false` refuses it.
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

  # Collections.

  attrs = mkOptionType {
    name = "attrs";
    description = "attribute set";
    check = isAttrs;
    merge = _: foldl' (res: def: res // def.value) { };
    emptyValue.value = { };
  };

  listOf =
    elemType:
    mkOptionType (
      {
        name = "listOf";
        description = "list of ${phrase [ "noun" "composite" ] elemType}";
        descriptionClass = "composite";
        check = isList;
        merge =
          loc: defs:
          map (x: x.value) (
            filter (x: x ? value) (
              builtins.concatLists (
                lib.imap1 (
                  n: def:
                  lib.imap1 (
                    m: value:
                    (mergeDefinitions (loc ++ [ "[definition ${toString n}-entry ${toString m}]" ]) elemType [
                      {
                        inherit (def) file;
                        inherit value;
                      }
                    ]).optionalValue
                  ) def.value
                ) defs
              )
            )
          );
        emptyValue.value = [ ];
        getSubOptions = prefix: elemType.getSubOptions (prefix ++ [ "*" ]);
        functor = elemFunctor "listOf" listOf elemType;
      }
      // nested elemType listOf
    );
  nonEmptyListOf =
    elemType:
    let
      list = addCheck (listOf elemType) (l: l != [ ]);
    in
    list
    // {
      description = "non-empty ${phrase [ "noun" ] list}";
      emptyValue = { };
      substSubModules = m: nonEmptyListOf (elemType.substSubModules m);
    };

  attrsWith =
    {
      elemType,
      lazy ? false,
      placeholder ? "name",
    }:
    mkOptionType (
      {
        name = if lazy then "lazyAttrsOf" else "attrsOf";
        description = "${lib.optionalString lazy "lazy "}attribute set of ${phrase [ "noun" "composite" ] elemType}";
        descriptionClass = "composite";
        check = isAttrs;
        merge =
          loc: defs:
          let
            byName = builtins.zipAttrsWith (name: mergeDefinitions (loc ++ [ name ]) elemType) (
              map (
                def:
                mapAttrs (_: value: {
                  inherit (def) file;
                  inherit value;
                }) def.value
              ) defs
            );
          in
          if lazy then
            mapAttrs (_: merged: merged.optionalValue.value or elemType.emptyValue.value or merged.mergedValue) byName
          else
            mapAttrs (_: merged: merged.optionalValue.value) (
              lib.filterAttrs (_: merged: merged.optionalValue ? value) byName
            );
        emptyValue.value = { };
        getSubOptions = prefix: elemType.getSubOptions (prefix ++ [ "<${placeholder}>" ]);
        functor = {
          name = "attrsWith";
          type = attrsWith;
          payload = { inherit elemType lazy placeholder; };
          binOp =
            a: b:
            let
              merged = a.elemType.typeMerge b.elemType.functor;
              # The declaration that names its keys wins over one that does not.
              name = if a.placeholder == "name" then b.placeholder else a.placeholder;
            in
            if merged == null || a.lazy != b.lazy || !elem b.placeholder [ "name" name ] then
              null
            else
              {
                elemType = merged;
                inherit (a) lazy;
                placeholder = name;
              };
        };
      }
      // nested elemType (elemType: attrsWith { inherit elemType lazy placeholder; })
    );
  attrsOf = elemType: attrsWith { inherit elemType; };
  lazyAttrsOf =
    elemType:
    attrsWith {
      inherit elemType;
      lazy = true;
    };

  anything = simple "anything" "anything" (_: true) (
    loc: defs:
    let
      kind = v: if isAttrs v && lib.isStringLike v then "stringCoercibleSet" else builtins.typeOf v;
      common = kind (head defs).value;
      by = {
        set = (attrsOf anything).merge;
        stringCoercibleSet = mergeOneOption;
        lambda =
          loc: defs: arg:
          anything.merge (loc ++ [ "<function body>" ]) (map (def: def // { value = def.value arg; }) defs);
      };
    in
    if all (def: kind def.value == common) defs then
      (by.${common} or mergeEqualOption) loc defs
    else
      throw "The option `${showOption loc}' has conflicting option types in ${showFiles (getFiles defs)}"
  );

  # Types around other types.

  uniq = unique { message = ""; };
  unique =
    { message }:
    type:
    mkOptionType {
      name = "unique";
      inherit (type) description descriptionClass check emptyValue getSubOptions getSubModules;
      merge = mergeUniqueOption {
        inherit message;
        inherit (type) merge;
      };
      substSubModules = m: unique { inherit message; } (type.substSubModules m);
      functor = elemFunctor "unique" (unique { inherit message; }) type;
      nestedTypes.elemType = type;
    };

  nullOr =
    elemType:
    mkOptionType (
      {
        name = "nullOr";
        description = "null or ${phrase [ "noun" "conjunction" ] elemType}";
        descriptionClass = "conjunction";
        check = x: x == null || elemType.check x;
        merge =
          loc: defs:
          let
            nulls = length (filter (def: def.value == null) defs);
          in
          if nulls == 0 then
            elemType.merge loc defs
          else if nulls == length defs then
            null
          else
            throw "The option `${showOption loc}` is defined both null and not null, in ${showFiles (getFiles defs)}.";
        emptyValue.value = null;
        inherit (elemType) getSubOptions;
        functor = elemFunctor "nullOr" nullOr elemType;
      }
      // nested elemType nullOr
    );

  either =
    t1: t2:
    mkOptionType rec {
      name = "either";
      description =
        if t1.descriptionClass or null == "nonRestrictiveClause" then
          "${t1.description}, or ${phrase [ "noun" "conjunction" ] t2}"
        else
          "${phrase [ "noun" "conjunction" ] t1} or ${phrase [ "noun" "conjunction" "composite" ] t2}";
      descriptionClass = "conjunction";
      check = x: t1.check x || t2.check x;
      merge =
        loc: defs:
        let
          fits = t: all (def: t.check def.value) defs;
        in
        if fits t1 then
          t1.merge loc defs
        else if fits t2 then
          t2.merge loc defs
        else
          mergeOneOption loc defs;
      typeMerge =
        f':
        let
          other = f'.payload.elemType or null;
          left = t1.typeMerge (head other).functor;
          right = t2.typeMerge (builtins.elemAt other 1).functor;
        in
        if f'.name != name || left == null || right == null then null else either left right;
      functor = (defaultFunctor name) // {
        payload.elemType = [
          t1
          t2
        ];
      };
      nestedTypes = {
        left = t1;
        right = t2;
      };
    };
  oneOf =
    ts:
    if ts == [ ] then
      throw "types.oneOf needs to get at least one type in its argument"
    else
      foldl' either (head ts) (builtins.tail ts);

  enum =
    values:
    let
      show =
        v:
        if isString v then
          ''"${v}"''
        else if isInt v then
          toString v
        else if isBool v then
          lib.boolToString v
        else
          "<${builtins.typeOf v}>";
      one = length values < 2;
    in
    mkOptionType {
      name = "enum";
      description =
        if values == [ ] then
          "impossible (empty enum)"
        else if one then
          "value ${show (head values)} (singular enum)"
        else
          "one of ${lib.concatMapStringsSep ", " show values}";
      descriptionClass = if one then "noun" else "conjunction";
      check = v: elem v values;
      merge = mergeEqualOption;
      functor = {
        name = "enum";
        type = payload: enum payload.values;
        payload = { inherit values; };
        binOp = a: b: { values = lib.unique (a.values ++ b.values); };
      };
    };

  coercedTo =
    coercedType: coerceFunc: finalType:
    mkOptionType {
      name = "coercedTo";
      description = "${phrase [ "noun" ] finalType} or ${phrase [ "noun" ] coercedType} convertible to it";
      check = x: (coercedType.check x && finalType.check (coerceFunc x)) || finalType.check x;
      merge =
        loc: defs:
        finalType.merge loc (
          map (def: if coercedType.check def.value then def // { value = coerceFunc def.value; } else def) defs
        );
      inherit (finalType) emptyValue getSubOptions getSubModules;
      substSubModules = m: coercedTo coercedType coerceFunc (finalType.substSubModules m);
      typeMerge = _: null;
      nestedTypes = { inherit coercedType finalType; };
    };

  functionTo =
    elemType:
    mkOptionType (
      {
        name = "functionTo";
        description = "function that evaluates to a(n) ${phrase [ "noun" "composite" ] elemType}";
        descriptionClass = "composite";
        check = lib.isFunction;
        merge =
          loc: defs:
          {
            __functionArgs = builtins.zipAttrsWith (_: all (x: x)) (map (def: lib.functionArgs def.value) defs);
            __functor =
              _: args:
              (mergeDefinitions (loc ++ [ "<function body>" ]) elemType (
                map (def: def // { value = def.value args; }) defs
              )).mergedValue;
          };
        getSubOptions = prefix: elemType.getSubOptions (prefix ++ [ "<function body>" ]);
        functor = elemFunctor "functionTo" functionTo elemType;
      }
      // nested elemType functionTo
    );

  # Any JSON-like value, for settings of a format.
  serializableValueWith =
    {
      typeName,
      nullable ? true,
    }:
    let
      base = oneOf [
        bool
        int
        float
        str
        path
        (attrsOf value)
        (listOf value)
      ];
      value = (if nullable then nullOr base else base) // {
        description = "${typeName} value";
      };
    in
    value;
  json = serializableValueWith { typeName = "JSON"; };
  toml = serializableValueWith {
    typeName = "TOML";
    nullable = false;
  };

  # Modules as values.

  submodule =
    modules:
    submoduleWith {
      shorthandOnlyDefinesConfig = true;
      modules = lib.toList modules;
    };
  submoduleWith =
    {
      modules,
      specialArgs ? { },
      shorthandOnlyDefinesConfig ? false,
      description ? null,
      class ? null,
    }@attrs:
    let
      nameless = {
        _file = "lib/types.nix";
        _module.args.name = lib.mkOptionDefault "‹name›";
      };
      base = evalModules {
        inherit specialArgs class;
        modules = [ nameless ] ++ modules;
      };
      unchecked = prefix: base.extendModules {
        inherit prefix;
        modules = [ { _module.check = lib.mkForce false; } ];
      };
      freeform = (unchecked [ ])._module.freeformType;
    in
    mkOptionType {
      name = "submodule";
      description =
        if description != null then
          description
        else if freeform ? description then
          "open submodule of ${phrase [ "noun" "composite" ] freeform}"
        else
          "submodule";
      check = x: isAttrs x || lib.isFunction x || path.check x;
      merge =
        loc: defs:
        (base.extendModules {
          prefix = loc;
          modules = [
            {
              _file = "lib/types.nix";
              _module.args.name = lib.last loc;
            }
          ]
          ++ map (
            def:
            {
              _file = def.file;
            }
            // (
              if isAttrs def.value && shorthandOnlyDefinesConfig then
                { config = def.value; }
              else
                { imports = [ def.value ]; }
            )
          ) defs;
        }).config;
      emptyValue.value = base.config;
      getSubOptions =
        prefix:
        let
          docs = unchecked prefix;
        in
        docs.options
        // lib.optionalAttrs (docs._module.freeformType != null) {
          _freeformOptions = docs._module.freeformType.getSubOptions prefix;
        };
      getSubModules = modules;
      substSubModules = m: submoduleWith (attrs // { modules = m; });
      functor = {
        name = "submodule";
        type = submoduleWith;
        payload = { inherit modules specialArgs shorthandOnlyDefinesConfig description class; };
        binOp =
          a: b:
          let
            # The value that one side states, where the other says nothing.
            same =
              field:
              if a.${field} == null then
                b.${field}
              else if b.${field} == null || a.${field} == b.${field} then
                a.${field}
              else
                throw "A submoduleWith option is declared multiple times with conflicting ${field} values";
          in
          {
            modules = a.modules ++ b.modules;
            specialArgs = lib.unionOfDisjoint a.specialArgs b.specialArgs;
            shorthandOnlyDefinesConfig = same "shorthandOnlyDefinesConfig";
            description = same "description";
            class = same "class";
          };
      };
    };
  deferredModule = deferredModuleWith { };
  deferredModuleWith =
    {
      staticModules ? [ ],
    }:
    mkOptionType {
      name = "deferredModule";
      description = "module";
      descriptionClass = "noun";
      check = x: isAttrs x || lib.isFunction x || path.check x;
      merge = loc: defs: {
        imports =
          staticModules
          ++ map (def: lib.setDefaultModuleLocation "${def.file}, via option ${showOption loc}" def.value) defs;
      };
      inherit (submoduleWith { modules = staticModules; }) getSubOptions getSubModules;
      substSubModules = m: deferredModuleWith { staticModules = m; };
      functor = {
        name = "deferredModuleWith";
        type = deferredModuleWith;
        payload = { inherit staticModules; };
        binOp = a: b: { staticModules = a.staticModules ++ b.staticModules; };
      };
    };

  types = lib.types;
}
