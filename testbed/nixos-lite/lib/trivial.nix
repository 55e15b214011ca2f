# Functions on any value: identity, booleans, functions, numbers, files.
lib: {
  id = x: x;
  const = x: _: x;
  pipe = builtins.foldl' (x: f: f x);
  flip =
    f: a: b:
    f b a;
  concat = x: y: x ++ y;
  mergeAttrs = x: y: x // y;
  mapNullable = f: a: if a == null then a else f a;
  defaultTo = default: maybe: if maybe == null then default else maybe;

  or = x: y: x || y;
  and = x: y: x && y;
  xor = x: y: (x && !y) || (!x && y);
  boolToString = b: if b then "true" else "false";
  boolToYesNo = b: if b then "yes" else "no";

  min = x: y: if x < y then x else y;
  max = x: y: if x > y then x else y;
  mod = base: int: base - (int * (base / int));
  compare =
    a: b:
    if a < b then
      -1
    else if a > b then
      1
    else
      0;

  toHexString =
    let
      digit = n: builtins.substring n 1 "0123456789ABCDEF";
    in
    i: lib.concatMapStrings digit (lib.toBaseDigits 16 i);

  toBaseDigits =
    base: i:
    let
      go = i: if i < base then [ i ] else go (i / base) ++ [ (lib.mod i base) ];
    in
    assert base >= 2;
    assert i >= 0;
    go i;

  # A function, or an attribute set that can be called.
  isFunction = f: builtins.isFunction f || (f ? __functor && lib.isFunction (f.__functor f));
  functionArgs =
    f:
    if f ? __functor then
      f.__functionArgs or (lib.functionArgs (f.__functor f))
    else
      builtins.functionArgs f;
  setFunctionArgs = f: args: {
    __functor = self: f;
    __functionArgs = args;
  };
  mirrorFunctionArgs = f: g: lib.setFunctionArgs g (lib.functionArgs f);
  toFunction = v: if lib.isFunction v then v else _: v;

  importJSON = path: builtins.fromJSON (builtins.readFile path);
  importTOML = path: builtins.fromTOML (builtins.readFile path);

  warn = msg: builtins.trace "evaluation warning: ${msg}";
  warnIf = cond: msg: if cond then lib.warn msg else x: x;
  warnIfNot = cond: msg: if cond then x: x else lib.warn msg;
  throwIf = cond: msg: if cond then throw msg else x: x;
  throwIfNot = cond: msg: if cond then x: x else throw msg;
  checkListOfEnum =
    msg: valid: given:
    let
      unexpected = lib.subtractLists valid given;
    in
    lib.throwIfNot (unexpected == [ ])
      "${msg}: ${lib.concatStringsSep ", " (map toString unexpected)} unexpected; valid ones: ${lib.concatStringsSep ", " (map toString valid)}";

  # The release whose options nixos-lite doubles.
  release = "26.05";
  oldestSupportedRelease = 2511;
  isInOldestRelease = release: lib.oldestSupportedRelease <= release;
  codeName = "Yarara";
  versionSuffix = "-lite";
  version = lib.release + lib.versionSuffix;
  inPureEvalMode = !(builtins ? currentSystem);
  nixpkgsVersion = lib.version;
}
