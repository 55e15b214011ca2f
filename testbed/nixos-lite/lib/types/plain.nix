# Types of plain values: booleans, numbers, strings.
lib:
let
  inherit (builtins) head isBool isInt isString length match;
  inherit (lib.options) getValues mergeDefaultOption mergeEqualOption mergeOneOption;
  inherit (lib.modules) fixupOptionType mergeOptionDecls;
  inherit (import ./helpers.nix lib) phrase simple;
  inherit (lib.types) addCheck defaultTypeMerge either isOptionType mkOptionType;
in
rec {
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
}
