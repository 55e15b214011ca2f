# Merges one option's declarations to one declaration, and its definitions to one value.
lib:
let
  inherit (builtins) addErrorContext all any concatMap filter foldl' head length;
  inherit (lib.options) showDefs showFiles showOption;
  inherit (import ./properties.nix lib) defaultOverridePriority discharge filterOverrides' sortByOrder;
in
rec {
  # Merges all definitions of an option (or of an element of one) to one value.
  mergeDefinitions =
    loc: type: defs:
    let
      plain = length defs == 1 && addErrorContext "while evaluating definitions from `${(head defs).file}':" (!((head defs).value ? _type));
      discharged = concatMap (
        def:
        map (value: if value._type or null == "definition" then value else { inherit (def) file; inherit value; }) (
          addErrorContext "while evaluating definitions from `${def.file}':" (discharge def.value)
        )
      ) defs;
      filtered = filterOverrides' discharged;
      defsFinal' =
        if plain then
          {
            values = defs;
            highestPrio = defaultOverridePriority;
          }
        else
          {
            values = sortByOrder filtered.values;
            inherit (filtered) highestPrio;
          };
      defsFinal = defsFinal'.values;
      isDefined = defsFinal != [ ];
      mergedValue =
        if isDefined then
          if all (def: type.check def.value) defsFinal then
            type.merge loc defsFinal
          else
            throw "A definition for option `${showOption loc}' is not of type `${type.description}'. Definition values:${
              showDefs (filter (def: !type.check def.value) defsFinal)
            }"
        else if type.emptyValue ? value then
          type.emptyValue.value
        else
          throw "The option `${showOption loc}' was accessed but has no value defined. Try setting the option.";
    in
    {
      inherit defsFinal' defsFinal isDefined mergedValue;
      optionalValue = if isDefined then { value = mergedValue; } else { };
    };

  evalOptionValue =
    loc: opt: defs:
    let
      withDefault =
        lib.optional (opt ? default) {
          file = head opt.declarations;
          value = lib.mkOptionDefault opt.default;
        }
        ++ defs;
      merged =
        if opt.readOnly or false && length withDefault > 1 then
          throw "The option `${showOption loc}' is read-only, but it's set multiple times. Definition values:${
            showDefs (map (def: def // { value = (mergeDefinitions loc opt.type [ def ]).mergedValue; }) withDefault)
          }"
        else
          mergeDefinitions loc opt.type withDefault;
      value = if opt ? apply then opt.apply merged.mergedValue else merged.mergedValue;
    in
    opt
    // {
      value = addErrorContext "while evaluating the option `${showOption loc}':" value;
      inherit (merged.defsFinal') highestPrio;
      definitions = map (def: def.value) merged.defsFinal;
      files = map (def: def.file) merged.defsFinal;
      definitionsWithLocations = merged.defsFinal;
      inherit (merged) isDefined;
      __toString = _: showOption loc;
    };

  # Merges the declarations of one option in several modules.
  mergeOptionDecls =
    loc: decls:
    foldl'
      (
        res: decl:
        let
          opt = decl.options;
          bothHave = k: opt ? ${k} && res ? ${k};
          twice = throw "The option `${showOption loc}' in `${decl._file}' is already declared in ${showFiles res.declarations}.";
          mergedType = res.type.typeMerge opt.type.functor;
          submodules = opt.type.getSubModules or null;
        in
        if any bothHave [ "default" "example" "description" "apply" ] then
          twice
        else
          opt
          // res
          // {
            declarations = res.declarations ++ [ decl._file ];
            declarationPositions = res.declarationPositions ++ lib.optional (decl.pos != null) decl.pos;
            options =
              (if submodules == null then [ ] else map (lib.setDefaultModuleLocation decl._file) submodules)
              ++ res.options;
          }
          // lib.optionalAttrs (bothHave "type") { type = if mergedType == null then twice else mergedType; }
      )
      {
        inherit loc;
        declarations = [ ];
        declarationPositions = [ ];
        options = [ ];
      }
      decls;

  # Adds the modules of all declarations to an option's submodule type.
  fixupOptionType =
    loc: opt:
    if opt.type.getSubModules or null == null then
      opt // { type = opt.type or lib.types.unspecified; }
    else
      opt
      // {
        type = opt.type.substSubModules opt.options;
        options = [ ];
      };
}
