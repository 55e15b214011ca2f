# Types of lists and attribute sets.
lib:
let
  inherit (builtins) all elem filter foldl' head isAttrs isList mapAttrs;
  inherit (lib.options) getFiles mergeEqualOption mergeOneOption showFiles showOption;
  inherit (lib.modules) mergeDefinitions;
  inherit (import ./helpers.nix lib) phrase elemFunctor nested simple;
  inherit (lib.types) addCheck mkOptionType;
in
rec {
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
}
