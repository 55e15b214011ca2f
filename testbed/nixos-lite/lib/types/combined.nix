# Types made of other types.
lib:
let
  inherit (builtins) all elem filter foldl' head isBool isInt isString length;
  inherit (lib.options) getFiles mergeEqualOption mergeOneOption mergeUniqueOption showFiles showOption;
  inherit (lib.modules) mergeDefinitions;
  inherit (import ./helpers.nix lib) phrase elemFunctor nested;
  inherit (lib.types) attrsOf bool defaultFunctor float int listOf mkOptionType path str;
in
rec {
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
}
