# The library of nixos-lite: the functions of nixpkgs' `lib` that modules use, with the same
# meaning. One file per concern; every file is a function from the finished library to an attribute
# set.
let
  # Sub-libraries that nixpkgs also exposes by name (`lib.strings.hasPrefix`).
  named = lib: {
    trivial = import ./trivial.nix lib;
    lists = import ./lists.nix lib;
    attrsets = import ./attrsets.nix lib;
    strings = import ./strings.nix lib;
    versions = import ./versions.nix lib;
    derivations = import ./derivations.nix lib;
    customisation = import ./customisation.nix lib;
    fixedPoints = import ./fixed-points.nix lib;
    asserts = import ./asserts.nix lib;
    debug = import ./debug.nix lib;
    sources = import ./sources.nix lib;
    stringsWithDeps = import ./strings-with-deps.nix lib;
    options = import ./options.nix lib;
    modules = import ./modules lib;
    optionAliases = import ./option-aliases.nix lib;
  };

  # Sub-libraries that nixpkgs does not merge into the top level.
  apart = lib: {
    types = import ./types lib;
    generators = import ./generators.nix lib;
  };

  make =
    lib:
    let
      parts = named lib;
    in
    builtins.foldl' (all: part: all // part) { } (builtins.attrValues parts)
    // builtins.removeAttrs parts [ "optionAliases" ]
    // apart lib
    // {
      inherit (builtins)
        add
        addErrorContext
        all
        any
        attrNames
        attrValues
        bitAnd
        bitOr
        bitXor
        catAttrs
        compareVersions
        concatLists
        concatMap
        concatStringsSep
        ceil
        deepSeq
        div
        elem
        elemAt
        filter
        foldl'
        floor
        fromJSON
        genList
        genericClosure
        getAttr
        groupBy
        hasAttr
        getContext
        hasContext
        hashFile
        hashString
        head
        intersectAttrs
        isAttrs
        isBool
        isFloat
        isInt
        isList
        isPath
        isString
        length
        lessThan
        listToAttrs
        mapAttrs
        match
        mul
        parseDrvName
        partition
        pathExists
        readDir
        readFile
        removeAttrs
        replaceStrings
        seq
        split
        splitVersion
        storeDir
        stringLength
        sub
        substring
        tail
        trace
        tryEval
        toFile
        typeOf
        unsafeGetAttrPos
        unsafeDiscardStringContext
        zipAttrsWith
        ;
      inherit (lib.types)
        defaultFunctor
        defaultTypeMerge
        isOptionType
        isType
        mkOptionType
        setType
        ;
      meta = parts.derivations;
      # nixpkgs' own isFunction and functionArgs support functors.
      inherit (parts.trivial) isFunction functionArgs;
      # If two functions have the same name, the list's is at the top level.
      inherit (parts.lists) replicate;
    };

  lib = make lib // {
    inherit public;
  };

  # nixpkgs exposes these in a sub-library only (`lib.strings.escapeNixString`), or not at all: a
  # module that used them here would not evaluate there.
  public = builtins.removeAttrs lib [
    "allEqual"
    "asciiTable"
    "assertEachOneOf"
    "charToInt"
    "checkAssertWarn"
    "codeName"
    "commonPrefixLength"
    "defaultOrderPriority"
    "defaultOverridePriority"
    "escapeC"
    "escapeNixIdentifier"
    "escapeNixString"
    "filterOverrides'"
    "findFirstIndex"
    "floatToString"
    "isConvertibleWithToString"
    "levenshtein"
    "levenshteinAtMost"
    "literalCode"
    "major"
    "majorMinor"
    "minor"
    "mkAliasAndWrapDefsWithPriority"
    "nixKeywords"
    "oldestSupportedRelease"
    "pad"
    "patch"
    "public"
    "release"
    "renderOptionValue"
    "sanitizeDerivationName"
    "showDefs"
    "storeDir"
    "unionOfDisjoint"
    "versionSuffix"
  ];
in
public // { internal = lib; }
