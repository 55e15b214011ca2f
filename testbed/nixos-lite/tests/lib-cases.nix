# Expressions that nixpkgs' lib evaluates to the same values: name to a function of a library. The values that
# are expected are in expected/lib.json.
let
  opt = lib: type: lib.mkOption { inherit type; };
  config = lib: modules: builtins.removeAttrs (lib.evalModules { inherit modules; }).config [ "_module" ];
  # The value of one option of a type under definitions.
  merged = lib: type: defs: (lib.evalModules { modules = [ { options.x = opt lib type; } ] ++ map (x: { inherit x; }) defs; }).config.x;
  described = lib: type: type.description;
in
{
  # Lists.
  lists-take = l: [ (l.take 2 [ 1 2 3 ]) (l.take 9 [ 1 ]) (l.drop 1 [ 1 2 ]) (l.drop 5 [ 1 ]) (l.sublist 1 2 [ 1 2 3 4 ]) ];
  lists-ends = l: [ (l.head [ 1 2 ]) (l.last [ 1 2 ]) (l.init [ 1 2 3 ]) (l.tail [ 1 2 ]) ];
  lists-last-empty = l: l.last [ ];
  lists-unique = l: [ (l.unique [ 3 1 3 2 1 ]) (l.allUnique [ 1 2 ]) (l.allUnique [ 1 1 ]) ];
  lists-find = l: [ (l.findFirst (x: x > 2) 0 [ 1 3 4 ]) (l.findFirst (x: x > 9) null [ 1 ]) (l.findSingle (x: x == 1) "none" "many" [ 1 1 ]) ];
  lists-flatten = l: l.flatten [ 1 [ 2 [ 3 ] ] [ ] 4 ];
  lists-fold = l: [ (l.foldr (a: b: "${a}${b}") "." [ "a" "b" ]) (l.foldl (a: b: "${a}${b}") "." [ "a" "b" ]) (l.foldl' (a: b: a + b) 0 [ 1 2 ]) ];
  lists-imap = l: [ (l.imap0 (i: x: "${x}${toString i}") [ "a" "b" ]) (l.imap1 (i: x: "${x}${toString i}") [ "a" "b" ]) ];
  lists-optional = l: [ (l.optional true 1) (l.optional false 1) (l.optionals true [ 1 2 ]) (l.optionals false [ 1 ]) (l.singleton 1) (l.toList 1) (l.toList [ 1 ]) ];
  lists-range = l: [ (l.range 2 4) (l.range 3 1) (l.replicate 2 "x") (l.reverseList [ 1 2 3 ]) (l.remove 2 [ 1 2 3 2 ]) (l.count (x: x > 1) [ 1 2 3 ]) ];
  lists-sort = l: [ (l.sort (a: b: a < b) [ 3 1 2 ]) (l.sortOn (x: 0 - x) [ 3 1 2 ]) (l.naturalSort [ "a10" "a9" "a1" ]) ];
  lists-zip = l: [ (l.zipLists [ 1 2 ] [ "a" "b" "c" ]) (l.zipListsWith (a: b: a + b) [ 1 2 ] [ 3 4 ]) (l.intersectLists [ 1 2 ] [ 2 3 ]) (l.subtractLists [ 1 ] [ 1 2 ]) (l.mutuallyExclusive [ 1 ] [ 2 ]) ];
  lists-groupBy = l: l.groupBy (x: if x > 1 then "big" else "small") [ 1 2 3 ];
  lists-partition = l: l.partition (x: x > 1) [ 1 2 3 ];
  lists-prefix = l: [ (l.lists.hasPrefix [ 1 ] [ 1 2 ]) (l.lists.removePrefix [ 1 ] [ 1 2 ]) (l.lists.commonPrefixLength or null == null) ];
  lists-any = l: [ (l.any (x: x) [ false true ]) (l.all (x: x) [ ]) (l.elem 1 [ 1 ]) (l.concatMap (x: [ x x ]) [ 1 2 ]) (l.concatLists [ [ 1 ] [ 2 ] ]) ];
  lists-compare = l: l.compareLists l.compare [ 1 2 ] [ 1 3 ];
  lists-cross = l: l.cartesianProduct { a = [ 1 2 ]; b = [ 3 4 ]; };
  lists-mapCross = l: l.mapCartesianProduct ({ a, b }: a * b) { a = [ 1 2 ]; b = [ 3 4 ]; };

  # Attribute sets.
  attrs-path = l: [ (l.attrByPath [ "a" "b" ] 0 { a.b = 1; }) (l.attrByPath [ "a" "c" ] 0 { a.b = 1; }) (l.hasAttrByPath [ "a" "b" ] { a.b = 1; }) (l.setAttrByPath [ "a" "b" ] 1) (l.getAttrFromPath [ "a" ] { a = 1; }) ];
  attrs-filter = l: [ (l.filterAttrs (n: v: v > 1) { a = 1; b = 2; }) (l.filterAttrsRecursive (n: v: v != null) { a = null; b.c = null; b.d = 1; }) ];
  attrs-map = l: [ (l.mapAttrs (n: v: n + v) { a = "x"; }) (l.mapAttrs' (n: v: l.nameValuePair "p${n}" v) { a = 1; }) (l.mapAttrsToList (n: v: n) { b = 1; a = 2; }) (l.attrsToList { a = 1; }) ];
  attrs-recursive = l: [ (l.mapAttrsRecursive (p: v: l.concatStringsSep "." p) { a.b = 1; c = 2; }) (l.mapAttrsRecursiveCond (a: !(a ? leaf)) (p: v: v) { a.leaf = 1; b.c = 2; }) (l.mapAttrsToListRecursive (p: v: p) { a.b = 1; c = 2; }) ];
  attrs-gen = l: [ (l.genAttrs [ "a" "b" ] (n: n + n)) (l.listToAttrs [ { name = "a"; value = 1; } { name = "a"; value = 2; } ]) (l.concatMapAttrs (n: v: { ${n + "1"} = v; }) { a = 1; }) ];
  attrs-update = l: [ (l.recursiveUpdate { a = { b = 1; c = 2; }; d = 1; } { a.b = 3; d.e = 2; }) (l.recursiveUpdateUntil (p: a: b: p == [ "a" ]) { a.b = 1; } { a.c = 2; }) (l.updateManyAttrsByPath [ { path = [ "a" "b" ]; update = old: old + 1; } ] { a.b = 1; }) ];
  attrs-zip = l: [ (l.zipAttrs [ { a = 1; } { a = 2; b = 3; } ]) (l.zipAttrsWith (n: vs: l.length vs) [ { a = 1; } { a = 2; } ]) (l.foldAttrs (i: acc: [ i ] ++ acc) [ ] [ { a = 1; } { a = 2; } ]) (l.mergeAttrsList [ { a = 1; } { a = 2; } ]) ];
  attrs-collect = l: [ (l.collect builtins.isList { a = [ 1 ]; b.c = [ 2 ]; }) (l.collect (x: x ? outPath) { a.outPath = "x"; }) (l.foldlAttrs (acc: n: v: acc + n) "" { a = 1; b = 2; }) ];
  attrs-get = l: [ (l.getAttrs [ "a" ] { a = 1; b = 2; }) (l.attrVals [ "a" ] { a = 1; }) (l.optionalAttrs true { a = 1; }) (l.optionalAttrs false { a = 1; }) (l.matchAttrs { a = 1; } { a = 1; b = 2; }) (l.overrideExisting { a = 1; } { a = 2; b = 3; }) ];
  attrs-show = l: l.showAttrPath [ "a" "b c" ];
  attrs-catAttrs = l: [ (l.catAttrs "a" [ { a = 1; } { b = 2; } ]) (l.intersectAttrs { a = 1; } { a = 2; b = 3; }) ];
  attrs-outputs = l: [ (l.getOutput "dev" { outPath = "o"; dev = "d"; }) (l.getBin { outPath = "o"; out = { outPath = "o"; }; }).outPath (l.getLib { outPath = "p"; }).outPath ];

  # Strings.
  strings-concat = l: [ (l.concatStringsSep "," [ "a" "b" ]) (l.concatMapStringsSep "," (x: x + x) [ "a" "b" ]) (l.concatStrings [ "a" "b" ]) (l.concatMapStrings (x: x + ";") [ "a" ]) (l.concatImapStringsSep "-" (i: x: "${toString i}${x}") [ "a" "b" ]) (l.concatLines [ "a" "b" ]) (l.intersperse "," [ "a" "b" ]) ];
  strings-affix = l: [ (l.hasPrefix "a" "ab") (l.hasSuffix "b" "ab") (l.hasInfix "b" "abc") (l.removePrefix "a" "ab") (l.removeSuffix "b" "ab") (l.removeSuffix "x" "ab") (l.hasInfix "." "abc") ];
  strings-case = l: [ (l.toUpper "aBc") (l.toLower "aBc") (l.strings.toSentenceCase "hELLO") ];
  strings-escape = l: [ (l.escapeShellArg "a b'c") (l.escapeShellArg "plain-1.0") (l.escapeShellArgs [ "a" "b c" ]) (l.escapeRegex "[^a-z]*") (l.escapeXML "<a&\"'>") (l.escape [ "(" ")" ] "(x)") ];
  strings-escapeNix = l: [ (l.strings.escapeNixString "a\"\${b}\n") (l.strings.escapeNixIdentifier "a b") (l.strings.escapeNixIdentifier "a-b") (l.strings.escapeNixIdentifier "in") ];
  strings-escapeC = l: [ (l.strings.escapeC [ " " "\n" "\\" ] "a b\nc\\") (l.strings.escapeURL "a b/c~ü") ];
  strings-split = l: [ (l.splitString "." "a.b..c") (l.splitString "/" "/x") (l.stringToCharacters "abc") (l.strings.splitStringBy (p: c: c == "-") false "a-b-c") ];
  strings-trim = l: [ (l.trim "  a b \n") (l.strings.trimWith { end = true; } " a ") (l.trim "   ") ];
  strings-fixed = l: [ (l.fixedWidthString 5 "0" "42") (l.fixedWidthNumber 3 7) (l.strings.replicate 3 "ab") ];
  strings-int = l: [ (l.toInt "42") (l.toInt " -7 ") (l.toIntBase10 "007") ];
  strings-int-octal = l: l.toInt "042";
  strings-int-wrong = l: l.toInt "x";
  strings-version = l: [ (l.versionAtLeast "1.10" "1.9") (l.versionOlder "1.9" "1.10") (l.getName "hello-1.2") (l.getVersion "hello-1.2") (l.versions.major "1.2.3") (l.versions.majorMinor "1.2.3") (l.versions.pad 3 "1.2-rc") ];
  strings-optional = l: [ (l.optionalString true "a") (l.optionalString false "a") (l.nameFromURL "http://x/hello-1.tar.gz" "-") (l.strings.sanitizeDerivationName "..a b/c") ];
  strings-shellvars = l: [ (l.toShellVars { a = "x y"; b = [ "1" "2 3" ]; }) (l.strings.toShellVar "m" { k = "v"; }) ];
  strings-path = l: [ (l.makeBinPath [ "/a" "/b" ]) (l.makeSearchPath "sbin" [ "/a" ]) (l.makeSearchPathOutput "dev" "lib" [ { outPath = "/o"; dev.outPath = "/d"; } ]) ];
  strings-levenshtein = l: [ (l.strings.levenshtein "kitten" "sitting") (l.strings.levenshteinAtMost 1 "abc" "abd") (l.strings.commonPrefixLength "abc" "abd") ];
  strings-like = l: [ (l.isStringLike "x") (l.isStringLike { outPath = "x"; }) (l.isStringLike 1) (l.strings.isConvertibleWithToString [ 1 "a" ]) ];

  # Other functions.
  trivial = l: [ (l.id 1) (l.const 1 2) (l.flip (a: b: a - b) 1 2) (l.pipe 1 [ (x: x + 1) (x: x * 2) ]) (l.max 1 2) (l.min 1 2) (l.mod 7 3) (l.compare 1 2) (l.boolToString true) (l.xor true false) (l.toHexString 255) (l.toBaseDigits 2 6) (l.mapNullable (x: x) null) (l.defaultTo 1 null) ];
  functions = l: [ (l.isFunction (x: x)) (l.isFunction { __functor = s: x: x; }) (l.functionArgs ({ a, b ? 1 }: a)) (l.functionArgs (l.setFunctionArgs (x: x) { z = true; })) (l.toFunction 1 2) ];
  fixed = l: [ (l.fix (self: { a = 1; b = self.a + 1; })) (l.fix (l.extends (final: prev: { a = prev.a + 1; }) (self: { a = 1; b = self.a; }))) ((l.makeExtensible (self: { a = 1; })).extend (f: p: { a = p.a + 5; })).a ];
  asserts = l: [ (l.assertMsg true "m") (l.asserts.assertOneOf "n" 1 [ 1 2 ]) ];
  generators-keyvalue = l: l.generators.toKeyValue { } { a = 1; b = true; c = "x"; };
  generators-keyvalue-dup = l: l.generators.toKeyValue { listsAsDuplicateKeys = true; mkKeyValue = l.generators.mkKeyValueDefault { } " "; } { a = [ 1 2 ]; };
  generators-ini = l: l.generators.toINI { } { s = { a = 1; }; "t[]" = { b = "x"; }; };
  generators-ini-global = l: l.generators.toINIWithGlobalSection { } { globalSection.a = 1; sections.s.b = 2; };
  generators-pretty = l: l.generators.toPretty { } { a = [ 1 "x\ny" ]; b = { }; c = [ ]; "d e" = null; f = x: x; g = 1.5; h = "q\"\${z}"; };
  generators-pretty-line = l: l.generators.toPretty { multiline = false; } { a = [ 1 true ]; };
  textClosure = l: l.stringsWithDeps.textClosureMap (x: x) { a = l.fullDepEntry "A" [ "b" ]; b = l.noDepEntry "B"; c = l.stringAfter [ "a" ] "C"; } [ "c" "a" ];
  callPackage = l: (l.callPackageWith { a = 1; b = 2; } ({ a, c ? 3 }: { s = a + c; }) { c = 5; }).s;
  makeOverridable = l: ((l.makeOverridable ({ a }: { r = a; }) { a = 1; }).override { a = 2; }).r;

  # Options and the text that errors show of them.
  showOption = l: [ (l.showOption [ "a" "b.c" "<name>" "*" ]) (l.showFiles [ "x" "y" ]) ];
  literal = l: [ (l.literalExpression "x") (l.literalMD "y") ];
  enableOption = l: builtins.removeAttrs (l.mkEnableOption "foo") [ "type" ];
  packageOption = l: let o = l.mkPackageOption { hello = "drv"; sub.x = "y"; } [ "sub" "x" ] { }; in { inherit (o) default defaultText description; };
  properties = l: [ (l.mkForce 1) (l.mkDefault 1) (l.mkOverride 5 1) (l.mkBefore [ 1 ]) (l.mkAfter [ 1 ]) (l.mkIf true 1) (l.mkMerge [ 1 ]) (l.mkOptionDefault 1) (l.mkOrder 7 1) ];

  # The module system.
  module-merge-order = l: merged l (l.types.listOf l.types.int) [ [ 1 ] [ 2 ] [ 3 ] ];
  module-order = l: merged l (l.types.listOf l.types.int) [ (l.mkAfter [ 1 ]) [ 2 ] (l.mkBefore [ 3 ]) (l.mkOrder 1 [ 4 ]) ];
  module-lines-order = l: merged l l.types.lines [ (l.mkAfter "last") "middle" (l.mkBefore "first") ];
  module-priority = l: [ (merged l l.types.int [ (l.mkDefault 1) 2 ]) (merged l l.types.int [ (l.mkForce 1) 2 (l.mkDefault 3) ]) (merged l l.types.int [ (l.mkOverride 10 5) (l.mkForce 1) ]) ];
  module-conflict = l: merged l l.types.int [ 1 2 ];
  module-equal = l: merged l l.types.int [ 1 1 ];
  module-if = l: [ (merged l l.types.int [ (l.mkIf false 1) 2 ]) (merged l (l.types.attrsOf l.types.int) [ (l.mkIf false { a = 1; }) (l.mkIf true { b = 2; }) { c = l.mkIf false 3; } ]) ];
  module-merge-nested = l: merged l (l.types.listOf l.types.int) [ (l.mkMerge [ [ 1 ] (l.mkIf true (l.mkMerge [ [ 2 ] [ 3 ] ])) ]) ];
  module-default = l: config l [ { options.x = l.mkOption { type = l.types.listOf l.types.int; default = [ 9 ]; }; } { x = [ 1 ]; } ];
  module-default-used = l: config l [ { options.x = l.mkOption { type = l.types.int; default = 9; }; } ];
  module-default-with-mkDefault = l: config l [ { options.x = l.mkOption { type = l.types.int; default = 9; }; } { x = l.mkDefault 8; } ];
  module-undefined = l: (config l [ { options.x = opt l l.types.int; } ]).x;
  module-undeclared = l: config l [ { options.x = opt l l.types.int; } { y = 1; } ];
  module-undeclared-off = l: config l [ { options.x = l.mkOption { default = 1; }; } { y = 1; _module.check = false; } ];
  module-wrong-type = l: merged l l.types.int [ "a" ];
  module-apply = l: config l [ { options.x = l.mkOption { type = l.types.int; apply = x: x * 2; }; config.x = 21; } ];
  module-readonly = l: config l [ { options.x = l.mkOption { type = l.types.int; readOnly = true; default = 1; }; } { x = 2; } ];
  module-recursive = l: config l [ ({ config, ... }: { options.a = opt l l.types.int; options.b = opt l l.types.int; config.a = config.b + 1; config.b = 1; }) ];
  module-imports = l: config l [ { imports = [ { options.x = opt l l.types.int; } ]; x = 1; } ];
  module-args = l: config l [ ({ lib, special, ... }: { options.x = lib.mkOption { type = lib.types.int; }; config.x = special; }) { _module.args.special = 7; } ];
  module-specialArgs = l: builtins.removeAttrs (l.evalModules { modules = [ ({ s, ... }: { imports = [ s ]; }) ]; specialArgs.s = { options.x = l.mkOption { default = 3; }; }; }).config [ "_module" ];
  module-extend = l: let e = l.evalModules { modules = [ { options.x = l.mkOption { type = l.types.int; default = 1; }; } ]; }; in [ e.config.x (e.extendModules { modules = [ { x = 2; } ]; }).config.x ];
  module-disabled = l: config l [ { key = "a"; options.x = l.mkOption { default = 1; }; } { disabledModules = [ { key = "b"; } ]; } { key = "b"; config.x = 2; } ];
  module-same-key = l: config l [ { options.x = opt l (l.types.listOf l.types.int); } { key = "k"; config.x = [ 1 ]; } { key = "k"; config.x = [ 1 ]; } ];
  module-freeform = l: config l [ { freeformType = l.types.attrsOf l.types.int; options.x = l.mkOption { type = l.types.str; default = "s"; }; } { y = 1; z = l.mkIf false 2; } ];
  module-freeform-wrong = l: config l [ { freeformType = l.types.attrsOf l.types.int; } { y = "a"; } ];
  module-options-info = l: let e = l.evalModules { modules = [ { options.x = l.mkOption { type = l.types.int; default = 1; }; } { x = l.mkForce 4; } ]; }; in { inherit (e.options.x) isDefined highestPrio loc definitions; shown = "${e.options.x}"; };
  module-aliasDefinitions = l: config l [ ({ options, ... }: { options.a = opt l (l.types.listOf l.types.int); options.b = opt l (l.types.listOf l.types.int); config.b = l.mkAliasDefinitions options.a; }) { a = [ 1 2 ]; } ];
  module-renamed = l: (config l [ (l.mkRenamedOptionModule [ "old" ] [ "new" "x" ]) { options.new.x = opt l l.types.int; options.warnings = l.mkOption { type = l.types.listOf l.types.str; default = [ ]; }; } { _file = "f"; old = 3; } ]).new;
  module-renamed-warns = l: (config l [ (l.mkRenamedOptionModule [ "old" ] [ "new" ]) { options.new = opt l l.types.int; options.warnings = l.mkOption { type = l.types.listOf l.types.str; default = [ ]; }; } { _file = "f"; old = 3; } ]).warnings;
  module-alias = l: (config l [ (l.mkAliasOptionModule [ "old" ] [ "new" ]) { options.new = opt l l.types.int; } { old = l.mkDefault 3; } { new = 4; } ]).old;
  module-removed = l: (config l [ (l.mkRemovedOptionModule [ "old" ] "Do x.") { options.assertions = l.mkOption { type = l.types.listOf l.types.unspecified; }; } ]).assertions;
  module-nested-decl = l: config l [ { options.a = l.mkOption { type = l.types.submodule { options.b = l.mkOption { default = 1; }; }; default = { }; }; } { options.a.c = l.mkOption { default = 2; }; } ];
  module-decl-twice = l: config l [ { options.a = l.mkOption { default = 1; }; } { options.a = l.mkOption { default = 2; }; } ];
  module-decl-merge = l: config l [ { options.a = l.mkOption { type = l.types.attrsOf (l.types.submodule { options.b = l.mkOption { default = 1; }; }); }; } { options.a = l.mkOption { type = l.types.attrsOf (l.types.submodule { options.c = l.mkOption { default = 2; }; }); }; } { a.x = { }; } ];
  module-enum-merge = l: config l [ { options.a = l.mkOption { type = l.types.enum [ "x" ]; }; } { options.a = l.mkOption { type = l.types.enum [ "y" ]; }; } { a = "y"; } ];
  module-parent-of-options = l: config l [ { options.a = l.mkOption { type = l.types.int; }; } { options.a.b = l.mkOption { }; } ];
  module-bad-attr = l: config l [ { options.x = l.mkOption { default = 1; }; y = 2; } ];

  # Types.
  types-scalars = l: with l.types; [ (merged l bool [ true ]) (merged l int [ 1 ]) (merged l str [ "a" ]) (merged l float [ 1.5 ]) (merged l number [ 1 ]) (merged l port [ 80 ]) (merged l singleLineStr [ "a\n" ]) (merged l nonEmptyStr [ "a" ]) (merged l (strMatching "a+") [ "aa" ]) ];
  types-bool-wrong = l: merged l l.types.bool [ 1 ];
  types-port-wrong = l: merged l l.types.port [ 70000 ];
  types-between = l: [ (merged l (l.types.ints.between 1 3) [ 2 ]) (l.types.ints.u8.check 256) (l.types.ints.positive.check 0) (l.types.ints.unsigned.check 0) (l.types.ints.s8.check (-128)) ];
  types-strings = l: with l.types; [ (merged l lines [ "a" "b" ]) (merged l commas [ "a" "b" ]) (merged l envVar [ "a" "b" ]) (merged l (separatedString " ") [ "a" "b" ]) ];
  types-empty-str = l: merged l l.types.nonEmptyStr [ " " ];
  types-two-lines = l: merged l l.types.singleLineStr [ "a\nb" ];
  types-path = l: [ (l.types.path.check "/x") (l.types.path.check "x") (l.types.path.check ./lib-cases.nix) (l.types.path.check 1) (l.types.pathInStore.check "/nix/store/00000000000000000000000000000000-x") (l.types.externalPath.check "/etc") ];
  types-package = l: [ (l.types.package.check { type = "derivation"; }) (l.types.package.check "x") (l.types.package.check "/nix/store/00000000000000000000000000000000-x") ];
  types-enum = l: [ (merged l (l.types.enum [ "a" 1 true ]) [ 1 ]) (l.types.enum [ "a" ]).description (l.types.enum [ "a" 1 true ]).description (l.types.enum [ ]).description ];
  types-enum-wrong = l: merged l (l.types.enum [ "a" ]) [ "b" ];
  types-nullOr = l: with l.types; [ (merged l (nullOr int) [ null ]) (merged l (nullOr int) [ 1 ]) (merged l (nullOr (listOf int)) [ [ 1 ] [ 2 ] ]) ];
  types-nullOr-both = l: merged l (l.types.nullOr l.types.int) [ null 1 ];
  types-nullOr-undefined = l: merged l (l.types.nullOr l.types.int) [ ];
  types-either = l: with l.types; [ (merged l (either int str) [ "a" ]) (merged l (oneOf [ int str bool ]) [ true ]) (merged l (either (listOf int) str) [ [ 1 ] [ 2 ] ]) ];
  types-either-wrong = l: merged l (l.types.either l.types.int l.types.str) [ true ];
  types-listOf = l: with l.types; [ (merged l (listOf int) [ ]) (merged l (listOf (attrsOf int)) [ [ { a = 1; } ] ]) (merged l (listOf int) [ [ (l.mkIf false 1) 2 ] ]) ];
  types-listOf-wrong = l: merged l (l.types.listOf l.types.int) [ [ "a" ] ];
  types-nonEmptyListOf = l: [ (merged l (l.types.nonEmptyListOf l.types.int) [ [ 1 ] ]) (l.types.nonEmptyListOf l.types.int).description ];
  types-attrsOf = l: with l.types; [ (merged l (attrsOf int) [ { a = 1; } { b = 2; } ]) (merged l (attrsOf (listOf int)) [ { a = [ 1 ]; } { a = [ 2 ]; } ]) (merged l (attrsOf int) [ { a = l.mkDefault 1; } { a = 2; } ]) ];
  types-attrsOf-conflict = l: merged l (l.types.attrsOf l.types.int) [ { a = 1; } { a = 2; } ];
  types-lazyAttrsOf = l: (merged l (l.types.lazyAttrsOf l.types.int) [ { a = 1; b = throw "lazy"; } ]).a;
  types-attrs = l: merged l l.types.attrs [ { a = 1; } { b.c = 2; } ];
  types-anything = l: with l.types; [ (merged l anything [ { a.b = [ 1 ]; } { a.c = 2; } ]) (merged l anything [ [ 1 ] [ 1 ] ]) (merged l anything [ { a = l.mkForce 1; } { a = 2; } ]) ];
  types-anything-lists = l: merged l l.types.anything [ [ 1 ] [ 2 ] ];
  types-anything-conflict = l: merged l l.types.anything [ { a = 1; } { a = "x"; } ];
  types-raw = l: [ (merged l l.types.raw [ { a = 1; } ]) ];
  types-raw-twice = l: merged l l.types.raw [ 1 1 ];
  types-unspecified = l: [ (merged l l.types.unspecified [ [ 1 ] [ 2 ] ]) (merged l l.types.unspecified [ { a = 1; } { b = 2; } ]) (merged l l.types.unspecified [ "a" "b" ]) ];
  types-coercedTo = l: [ (merged l (l.types.coercedTo l.types.int toString l.types.str) [ 1 ]) (merged l (l.types.coercedTo l.types.str (s: [ s ]) (l.types.listOf l.types.str)) [ "a" [ "b" ] ]) ];
  types-uniq = l: merged l (l.types.uniq (l.types.listOf l.types.int)) [ [ 1 ] ];
  types-uniq-twice = l: merged l (l.types.uniq (l.types.listOf l.types.int)) [ [ 1 ] [ 1 ] ];
  types-functionTo = l: (merged l (l.types.functionTo (l.types.listOf l.types.int)) [ (x: [ x ]) (x: [ (x + 1) ]) ]) 1;
  types-submodule = l: merged l (l.types.submodule { options.a = l.mkOption { type = l.types.int; default = 1; }; options.b = l.mkOption { type = l.types.int; default = 2; }; }) [ { a = 5; } { b = 6; } ];
  types-submodule-name = l: merged l (l.types.attrsOf (l.types.submodule ({ name, config, ... }: { options.n = l.mkOption { default = name; }; options.m = l.mkOption { default = config.n + "!"; }; }))) [ { x = { }; y.n = "z"; } ];
  types-submodule-function = l: merged l (l.types.attrsOf (l.types.submodule { options.n = l.mkOption { type = l.types.str; }; })) [ { x = { name, ... }: { n = name; }; } ];
  types-submodule-if = l: merged l (l.types.attrsOf (l.types.submodule { options.a = l.mkOption { type = l.types.int; default = 1; }; })) [ { x = l.mkIf true { a = 2; }; y = l.mkIf false { }; } ];
  types-submodule-undeclared = l: merged l (l.types.submodule { options.a = l.mkOption { default = 1; }; }) [ { b = 1; } ];
  types-submodule-freeform = l: merged l (l.types.submodule { freeformType = l.types.attrsOf l.types.int; options.a = l.mkOption { type = l.types.str; default = "s"; }; }) [ { b = 1; } ];
  types-submoduleWith = l: merged l (l.types.submoduleWith { modules = [ ({ extra, ... }: { options.a = l.mkOption { default = extra; }; }) ]; specialArgs.extra = 4; }) [ { } ];
  types-deferredModule = l: config l [ { options.d = l.mkOption { type = l.types.deferredModule; default = { }; }; } { d.x = 1; } ] ? d;
  types-optionType = l: (merged l l.types.optionType [ l.types.int ]).name;
  types-passwdEntry = l: [ (l.types.passwdEntry l.types.str).description ((l.types.passwdEntry l.types.str).check "a:b") ];
  types-addCheck = l: merged l (l.types.addCheck l.types.int (x: x > 3)) [ 2 ];
  types-json = l: [ (merged l l.types.json [ { a = [ 1 null "x" ]; } ]) l.types.json.description ];
  types-descriptions = l: with l.types; map (described l) [
    bool int str path package port lines commas (listOf str) (nullOr str) (nullOr (listOf str)) (listOf (nullOr str)) (attrsOf (listOf int))
    (attrsOf (nullOr (oneOf [ str path package ]))) (either int str) (listOf (submodule { })) (submodule { freeformType = attrsOf int; }) attrs (listOf attrs)
    (coercedTo str (x: [ x ]) (listOf str)) ints.positive (nullOr ints.unsigned) (either ints.positive (enum [ "auto" ])) (functionTo str) raw anything unspecified
    (lazyAttrsOf raw) (uniq str) (nonEmptyListOf str) (ints.between 1 5) ints.u8 singleLineStr (strMatching "x") externalPath pathInStore (either (enum [ "a" ]) bool) (nullOr (enum [ "a" "b" ]))
  ];
}
