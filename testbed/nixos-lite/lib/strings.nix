# Functions on strings.
lib:
let
  inherit (builtins)
    concatStringsSep
    genList
    head
    isList
    isString
    length
    match
    replaceStrings
    split
    stringLength
    substring
    ;
in
rec {
  concatStrings = concatStringsSep "";
  concatMapStrings = f: list: concatStrings (map f list);
  concatImapStrings = f: list: concatStrings (lib.imap1 f list);
  intersperse =
    separator: list:
    if list == [ ] || length list == 1 then
      list
    else
      builtins.tail (
        builtins.concatMap (x: [
          separator
          x
        ]) list
      );
  concatMapStringsSep =
    sep: f: list:
    concatStringsSep sep (map f list);
  concatImapStringsSep =
    sep: f: list:
    concatStringsSep sep (lib.imap1 f list);
  concatMapAttrsStringSep =
    sep: f: attrs:
    concatStringsSep sep (lib.mapAttrsToList f attrs);
  concatLines = concatMapStrings (s: s + "\n");
  join = concatStringsSep;
  replicate = n: s: concatStrings (lib.lists.replicate n s);
  optionalString = cond: s: if cond then s else "";

  trim = trimWith {
    start = true;
    end = true;
  };
  trimWith =
    {
      start ? false,
      end ? false,
    }:
    s:
    let
      chars = " \t\r\n";
      first = if start then "[${chars}]*" else "";
      rest = if end then "(.*[^${chars}])[${chars}]*" else "(.*)";
      res = match (first + rest) s;
    in
    if res == null then "" else head res;

  makeSearchPath =
    sub: paths: concatStringsSep ":" (map (path: path + "/" + sub) (builtins.filter (x: x != null) paths));
  makeSearchPathOutput =
    output: sub: pkgs:
    makeSearchPath sub (map (lib.getOutput output) pkgs);
  makeBinPath = makeSearchPathOutput "bin" "bin";
  makeLibraryPath = makeSearchPathOutput "lib" "lib";
  makeIncludePath = makeSearchPathOutput "dev" "include";

  hasPrefix = pref: str: substring 0 (stringLength pref) str == pref;
  hasSuffix =
    suffix: content:
    let
      lc = stringLength content;
      ls = stringLength suffix;
    in
    lc >= ls && substring (lc - ls) lc content == suffix;
  hasInfix = infix: content: match ".*${escapeRegex infix}.*" "${content}" != null;
  removePrefix =
    prefix: str: if hasPrefix prefix str then substring (stringLength prefix) (stringLength str) str else str;
  removeSuffix =
    suffix: str:
    if hasSuffix suffix str then substring 0 (stringLength str - stringLength suffix) str else str;

  stringToCharacters = s: genList (p: substring p 1 s) (stringLength s);
  stringAsChars = f: s: concatStrings (map f (stringToCharacters s));
  charToInt = c: asciiTable.${c};
  escape = list: replaceStrings list (map (c: "\\${c}") list);
  escapeC =
    list:
    replaceStrings list (map (c: "\\x${lib.toLower (lib.fixedWidthString 2 "0" (lib.toHexString (charToInt c)))}") list);
  escapeURL =
    let
      unreserved = stringToCharacters "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~";
      toEscape = builtins.removeAttrs asciiTable unreserved;
    in
    replaceStrings (builtins.attrNames toEscape) (
      lib.mapAttrsToList (_: c: "%${fixedWidthString 2 "0" (lib.toHexString c)}") toEscape
    );
  escapeShellArg =
    arg:
    let
      string = toString arg;
    in
    if match "[[:alnum:],._+:@%/-]+" string == null then
      "'${replaceStrings [ "'" ] [ "'\\''" ] string}'"
    else
      string;
  escapeShellArgs = concatMapStringsSep " " escapeShellArg;
  isValidPosixName = name: match "[a-zA-Z_][a-zA-Z0-9_]*" name != null;
  toShellVar =
    name: value:
    lib.throwIfNot (isValidPosixName name) "toShellVar: ${name} is not a valid shell variable name" (
      if builtins.isAttrs value && !isStringLike value then
        "declare -A ${name}=(${
          concatStringsSep " " (lib.mapAttrsToList (n: v: "[${escapeShellArg n}]=${escapeShellArg v}") value)
        })"
      else if isList value then
        "declare -a ${name}=(${escapeShellArgs value})"
      else
        "${name}=${escapeShellArg value}"
    );
  toShellVars = vars: concatStringsSep "\n" (lib.mapAttrsToList toShellVar vars);
  escapeNixString = s: escape [ "$" ] (builtins.toJSON s);
  escapeRegex = escape (stringToCharacters "\\[{()^$?*+|.");
  escapeNixIdentifier =
    s:
    if match "[a-zA-Z_][a-zA-Z0-9_'-]*" s != null && !builtins.elem s nixKeywords then
      s
    else
      escapeNixString s;
  escapeXML =
    replaceStrings
      [ "\"" "'" "<" ">" "&" ]
      [ "&quot;" "&apos;" "&lt;" "&gt;" "&amp;" ];
  toJSON = builtins.toJSON;

  toLower = replaceStrings upperChars lowerChars;
  toUpper = replaceStrings lowerChars upperChars;
  upperChars = stringToCharacters "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  lowerChars = stringToCharacters "abcdefghijklmnopqrstuvwxyz";
  toSentenceCase = s: toUpper (substring 0 1 s) + toLower (substring 1 (stringLength s) s);

  addContextFrom = src: target: substring 0 0 src + target;
  splitString =
    sep: s:
    map (addContextFrom s) (
      builtins.filter isString (
        split (escapeRegex (builtins.unsafeDiscardStringContext (toString sep))) (
          builtins.unsafeDiscardStringContext (toString s)
        )
      )
    );
  splitStringBy =
    predicate: keepSplit: str:
    let
      chars = stringToCharacters str;
      step =
        acc: cur:
        if predicate acc.prev cur then
          {
            prev = cur;
            words = acc.words ++ [ acc.word ];
            word = if keepSplit then cur else "";
          }
        else
          acc
          // {
            prev = cur;
            word = acc.word + cur;
          };
      end = builtins.foldl' step {
        prev = "";
        words = [ ];
        word = "";
      } chars;
    in
    end.words ++ [ end.word ];

  fixedWidthString =
    width: filler: str:
    let
      missing = width - stringLength str;
    in
    assert lib.assertMsg (missing >= 0)
      "fixedWidthString: requested string length (${toString width}) must not be shorter than actual length (${toString (stringLength str)})";
    if missing == 0 then str else fixedWidthString width filler (filler + str);
  fixedWidthNumber = width: n: fixedWidthString width "0" (toString n);
  floatToString = float: toString float;
  isStringLike = x: isString x || builtins.isPath x || x ? outPath || x ? __toString;
  isConvertibleWithToString =
    x:
    x == null
    || builtins.elem (builtins.typeOf x) [ "string" "int" "float" "bool" "path" ]
    || (isList x && builtins.all isConvertibleWithToString x)
    || x ? outPath
    || x ? __toString;
  isStorePath =
    x:
    isStringLike x
    && (
      let
        str = toString x;
      in
      substring 0 1 str == "/" && dirOf str == builtins.storeDir
    );

  toInt =
    str:
    let
      stripped = match "[[:space:]]*(-?[[:digit:]]+)[[:space:]]*" str;
      leadingZero = match "[[:space:]]*0[[:digit:]]+[[:space:]]*" str != null;
    in
    if stripped == null then
      throw "toInt: Could not convert ${escapeNixString str} to int."
    else if leadingZero then
      throw "toInt: Ambiguity in interpretation of ${escapeNixString str} between octal and zero padded integer."
    else
      builtins.fromJSON (head stripped);
  toIntBase10 =
    str:
    let
      parts = match "[[:space:]]*(-?)0*([[:digit:]]+)[[:space:]]*" str;
    in
    if parts == null then
      throw "toIntBase10: Could not convert ${escapeNixString str} to int."
    else
      builtins.fromJSON (head parts + builtins.elemAt parts 1);

  versionOlder = v1: v2: builtins.compareVersions v2 v1 == 1;
  versionAtLeast = v1: v2: !versionOlder v1 v2;
  getName = x: if isString x then (builtins.parseDrvName x).name else x.pname or (builtins.parseDrvName x.name).name;
  getVersion = x: if isString x then (builtins.parseDrvName x).version else x.version or (builtins.parseDrvName x.name).version;
  nameFromURL = url: sep: head (splitString sep (lib.last (splitString "/" url)));
  sanitizeDerivationName =
    string:
    let
      clean = builtins.unsafeDiscardStringContext (toString string);
      kept = concatMapStrings (s: if isList s then "-" else s) (split "[^[:alnum:]+._?=-]+" clean);
      undotted = head (match "\\.*(.*)" kept);
      short = substring (lib.max (stringLength undotted - 207) 0) (-1) undotted;
    in
    if short == "" then "unknown" else short;

  commonPrefixLength =
    a: b:
    let
      m = lib.min (stringLength a) (stringLength b);
      go = i: if i >= m || substring i 1 a != substring i 1 b then i else go (i + 1);
    in
    go 0;
  # Edit distance, row by row.
  levenshtein =
    a: b:
    let
      as = stringToCharacters a;
      bs = stringToCharacters b;
      first = lib.range 0 (length bs);
      row =
        prev: i: ca:
        builtins.foldl' (
          acc: j:
          acc
          ++ [
            (lib.min (lib.min (lib.last acc + 1) (builtins.elemAt prev (j + 1) + 1)) (
              builtins.elemAt prev j + (if ca == builtins.elemAt bs j then 0 else 1)
            ))
          ]
        ) [ (i + 1) ] (lib.range 0 (length bs - 1));
    in
    lib.last (
      builtins.foldl' (prev: i: row prev i (builtins.elemAt as i)) first (lib.range 0 (length as - 1))
    );
  levenshteinAtMost =
    k: a: b:
    lib.max (stringLength a - stringLength b) (stringLength b - stringLength a) <= k && levenshtein a b <= k;

  cmakeBool = condition: if condition then "ON" else "OFF";
  enableFeature = flag: feature: "--${if flag then "enable" else "disable"}-${feature}";
  fileContents = file: removeSuffix "\n" (builtins.readFile file);

  nixKeywords = [ "assert" "else" "if" "in" "inherit" "let" "or" "rec" "then" "with" ];
  # Printable ASCII (and tab, newline, return) to code point.
  asciiTable =
    builtins.listToAttrs (
      lib.imap0 (i: c: {
        name = c;
        value = 32 + i;
      }) (stringToCharacters " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~")
    )
    // {
      "\t" = 9;
      "\n" = 10;
      "\r" = 13;
    };
}
