# Matches the definitions of all modules with the tree of declared options.
lib:
let
  inherit (builtins) all any attrNames concatLists concatMap filter head isAttrs length mapAttrs removeAttrs zipAttrsWith;
  inherit (lib.options) isOption showOption;
  inherit (import ./properties.nix lib) pushDown;
  inherit (import ./merge.nix lib) evalOptionValue fixupOptionType mergeOptionDecls;
in
rec {
  # Matches definitions with declarations below `prefix`.
  # `decls`: [ { _file; options; } ], `defs`: [ { file; config; } ] with plain sets in `config`.
  matchTree =
    prefix: decls: defs:
    let
      declsByName = zipAttrsWith (_: values: values) (
        map (
          decl:
          if !isAttrs decl.options then
            throw "An option declaration for `${showOption prefix}' has type `${builtins.typeOf decl.options}' rather than an attribute set.\nDid you mean to define this outside of `options'?\n"
          else
            mapAttrs (name: options: {
              inherit (decl) _file;
              pos = builtins.unsafeGetAttrPos name decl.options;
              inherit options;
            }) decl.options
        ) decls
      );
      checkedDefs =
        if all (def: isAttrs def.config) defs then
          defs
        else
          let
            bad = head (filter (def: !isAttrs def.config) defs);
          in
          throw "In module `${bad.file}', you're trying to define a value of type `${builtins.typeOf bad.config}'\nrather than an attribute set for the option\n`${showOption prefix}'!\n\nThis usually happens if `${showOption prefix}' has option\ndefinitions inside that are not matched. Please check how to properly define\nthis option by e.g. referring to `man 5 configuration.nix'!\n";
      byName = zipAttrsWith (_: values: values) (
        map (def: mapAttrs (_: value: { inherit (def) file; inherit value; }) def.config) checkedDefs
      );

      # A group of options that is declared beside a submodule option of the same name, as a
      # submodule.
      asOption =
        decl:
        if isOption decl.options then
          decl
        else
          decl
          // {
            options = lib.mkOption {
              type = lib.types.submoduleWith {
                modules = [ { inherit (decl) options; } ];
                shorthandOnlyDefinesConfig = null;
              };
            };
          };

      results = mapAttrs (
        name: decls:
        let
          loc = prefix ++ [ name ];
          raw = byName.${name} or [ ];
          leaf = decls: {
            options = evalOptionValue loc (fixupOptionType loc (mergeOptionDecls loc decls)) raw;
            unmatched = [ ];
          };
          notOption = decl: decl.options ? _type && decl.options._type != "option";
          optionDecls = filter (decl: isOption decl.options) decls;
          groups = filter (decl: !isOption decl.options) decls;
        in
        if any notOption decls then
          let
            bad = head (filter notOption decls);
          in
          throw "In module ${bad._file}: expected an option declaration at option path `${showOption loc}` but got an attribute set with type ${bad.options._type}"
        else if groups == [ ] then
          leaf decls
        else if optionDecls == [ ] then
          matchTree loc decls (
            concatMap (def: map (config: { inherit (def) file; inherit config; }) (pushDown def.value)) raw
          )
        else if all (decl: decl.options.type.name or null == "submodule") optionDecls then
          leaf (map asOption decls)
        else
          throw "The option `${showOption loc}' in module `${(head optionDecls)._file}' would be a parent of the following options, but its type `${
            (head optionDecls).options.type.description or "<no description>"
          }' does not support nested options.\n${
            lib.concatMapStringsSep "\n" (
              decl:
              lib.concatMapStringsSep "\n" (n: "- option(s) with prefix `${showOption (loc ++ [ n ])}' in module `${decl._file}'") (
                attrNames decl.options
              )
            ) groups
          }"
      ) declsByName;

      unmatchedByName =
        mapAttrs (_: res: res.unmatched) results
        // mapAttrs (
          _: map (def: { inherit (def) file value; prefix = [ ]; })
        ) (removeAttrs byName (attrNames results));
    in
    {
      options = mapAttrs (_: res: res.options) results;
      # Definitions of options that nothing declares.
      unmatched =
        if defs == [ ] then
          [ ]
        else
          concatLists (
            lib.mapAttrsToList (name: map (def: def // { prefix = [ name ] ++ def.prefix; })) unmatchedByName
          );
    };

  suggest =
    prefix: options: def:
    let
      parent = lib.init def.prefix;
      name = lib.last def.prefix;
      siblings = filter (n: n != "_module") (attrNames (lib.attrByPath parent { } options));
      near = if length siblings < 100 then siblings else filter (lib.levenshteinAtMost 2 name) siblings;
      best = lib.take 3 (lib.sortOn (lib.levenshtein name) near);
      shown = map (s: "`${showOption (prefix ++ parent ++ [ s ])}'") best;
    in
    if best == [ ] then
      ""
    else if length best == 1 then
      "\n\nDid you mean ${head shown}?"
    else
      "\n\nDid you mean ${lib.concatStringsSep ", " (lib.init shown)} or ${lib.last shown}?";
}
