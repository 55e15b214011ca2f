# The module system: collects modules, matches definitions with declarations, merges values.
lib:
let
  inherit (builtins)
    addErrorContext
    all
    any
    attrNames
    concatLists
    concatMap
    elem
    filter
    foldl'
    head
    isAttrs
    isBool
    isString
    length
    mapAttrs
    removeAttrs
    seq
    zipAttrsWith
    ;
  inherit (lib.options) isOption showDefs showFiles showOption unknownModule;

  defaultOverridePriority = 100;
  defaultOrderPriority = 1000;

  # Modules as written to modules in one shape.

  normalise =
    file: key: m:
    let
      extra =
        config:
        let
          parts =
            [ config ]
            ++ lib.optional (m ? meta && (m ? config || m ? options)) { inherit (m) meta; }
            ++ lib.optional (m ? freeformType) { _module.freeformType = m.freeformType; };
        in
        if length parts == 1 then config else lib.mkMerge parts;
      common = {
        _file = toString (m._file or file);
        key = toString (m.key or key);
        disabledModules = m.disabledModules or [ ];
      };
      reserved = [ "_class" "_file" "key" "disabledModules" "imports" "freeformType" ];
    in
    if !isAttrs m then
      throw "module ${file} (${key}) does not look like a module."
    else if m ? config || m ? options then
      let
        unknown = attrNames (removeAttrs m (reserved ++ [ "options" "config" "meta" ]));
      in
      if unknown != [ ] then
        throw "Module `${key}' has an unsupported attribute `${head unknown}'. This is caused by introducing a top-level `config' or `options' attribute. Add configuration attributes immediately on the top level instead, or move all of them (namely: ${toString unknown}) into the explicit `config' attribute."
      else
        common
        // {
          imports = m.imports or [ ];
          options = m.options or { };
          config = extra (m.config or { });
        }
    else
      common
      // {
        imports = m.require or [ ] ++ m.imports or [ ];
        options = { };
        config = extra (removeAttrs m (reserved ++ [ "require" ]));
      };

  # A function module is called with what it names; other arguments come from `_module.args`.
  callModule =
    key: f: args:
    f (
      args
      // mapAttrs (
        name: _:
        addErrorContext "while evaluating the module argument `${name}' in \"${key}\":" (
          args.${name} or args.config._module.args.${name}
        )
      ) (lib.functionArgs f)
    );

  load =
    args: parentFile: parentKey: m:
    if lib.isFunction m then
      normalise parentFile parentKey (callModule parentKey m args)
    else if isAttrs m then
      if elem (m._type or "module") [ "module" "if" "override" ] then
        normalise parentFile parentKey (if m ? _type && m._type != "module" then { config = m; } else m)
      else
        throw "Expected a module, but found a value of type ${builtins.toJSON m._type}, while trying to load a module into ${parentFile}."
    else if builtins.isList m then
      throw "Module imports can't be nested lists. Perhaps you meant to remove one level of lists? Definitions: ${parentFile}"
    else
      let
        path = toString m;
        loaded = import m;
      in
      normalise path path (if lib.isFunction loaded then callModule path loaded args else loaded);

  # All modules that `initial` leads to, each once, without the disabled ones.
  collect =
    modulesPath: initial: args:
    let
      tree =
        parentFile: parentKey: modules:
        lib.imap1 (
          n: x:
          let
            module = load args parentFile "${parentKey}:anon-${toString n}" x;
          in
          {
            inherit (module) key;
            inherit module;
            children = tree module._file module.key module.imports;
          }
        ) modules;
      roots = tree unknownModule "" initial;
      disabledIn =
        node:
        map (
          m:
          if isString m then
            (if lib.hasPrefix "/" m then m else "${toString modulesPath}/${m}")
          else
            toString (m.key or m)
        ) node.module.disabledModules
        ++ concatMap disabledIn node.children;
      disabled = concatMap disabledIn roots;
      enabled = if disabled == [ ] then (nodes: nodes) else filter (node: !elem node.key disabled);
    in
    map (node: node.module) (
      builtins.genericClosure {
        startSet = enabled roots;
        operator = node: enabled node.children;
      }
    );

  # Properties (mkIf, mkMerge, mkOverride, mkOrder) of definitions.

  # The plain sets that a definition of several options stands for, its conditions moved to each option.
  pushDown =
    value:
    let
      type = value._type or null;
      onEach = wrap: set: if isAttrs set then mapAttrs (_: wrap) set else set;
    in
    if type == null then
      [ value ]
    else if type == "merge" then
      concatMap pushDown value.contents
    else if type == "if" then
      map (onEach (lib.mkIf value.condition)) (pushDown value.content)
    else if type == "override" then
      map (onEach (lib.mkOverride value.priority)) (pushDown value.content)
    else
      [ value ];

  # The values that hold, their conditions decided.
  discharge =
    def:
    let
      type = def._type or null;
    in
    if type == "merge" then
      concatMap discharge def.contents
    else if type == "if" then
      if !isBool def.condition then
        throw "‘mkIf’ called with a non-Boolean condition"
      else if def.condition then
        discharge def.content
      else
        [ ]
    else
      [ def ];

  priorityOf = def: if def.value._type or null == "override" then def.value.priority else defaultOverridePriority;

  # Definitions of the best priority only, the wrapper taken off.
  filterOverrides' =
    defs:
    let
      best = foldl' (prio: def: lib.min prio (priorityOf def)) 9999 defs;
      strip = def: if def.value._type or null == "override" then def // { value = def.value.content; } else def;
    in
    {
      values = map strip (filter (def: priorityOf def == best) defs);
      highestPrio = best;
    };

  sortByOrder =
    defs:
    if any (def: def.value._type or null == "order") defs then
      builtins.sort (a: b: (a.priority or defaultOrderPriority) < (b.priority or defaultOrderPriority)) (
        map (
          def:
          if def.value._type or null == "order" then
            def
            // {
              value = def.value.content;
              inherit (def.value) priority;
            }
          else
            def
        ) defs
      )
    else
      defs;

  # One value from all definitions of an option (or of an element of one).
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

  # Declarations of one option in several modules as one.
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

  # Puts the modules of all declarations into an option's submodule type.
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

  # The option tree.

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

      # A group of options, declared beside a submodule option of the same name, as a submodule.
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

  internalModule = prefix: specialArgs: extendModules: moduleType: {
    _file = "lib/modules.nix";
    key = "lib/modules.nix";
    options._module = {
      args = lib.mkOption {
        type = lib.types.lazyAttrsOf lib.types.raw;
        description = "Additional arguments passed to each module.";
        internal = prefix != [ ];
      };
      check = lib.mkOption {
        type = lib.types.bool;
        default = true;
        internal = true;
        description = "Whether to check whether all option definitions have matching declarations.";
      };
      freeformType = lib.mkOption {
        type = lib.types.nullOr lib.types.optionType;
        default = null;
        internal = true;
        description = "The type of the definitions that no option declares, if they are allowed.";
      };
      specialArgs = lib.mkOption {
        readOnly = true;
        internal = true;
        description = "Arguments from outside that a module can use in its imports.";
      };
    };
    config._module = {
      args = { inherit extendModules moduleType; };
      inherit specialArgs;
    };
  };

  evalModules =
    {
      modules,
      prefix ? [ ],
      specialArgs ? { },
      class ? null,
    }@evalArgs:
    let
      collected = collect (specialArgs.modulesPath or "") (
        modules ++ [ (internalModule prefix specialArgs extendModules type) ]
      ) (
        {
          lib = lib.public;
          inherit options specialArgs;
          _class = class;
          _prefix = prefix;
          config = addErrorContext "if you get an infinite recursion here, you probably reference `config` in `imports`. If you are trying to achieve a conditional import behavior dependent on `config`, consider importing unconditionally, and using `mkEnableOption` and `mkIf` to control its effect." config;
        }
        // specialArgs
      );
      # Later modules first, as in nixpkgs: it decides the order of merged lists.
      ordered = lib.reverseList collected;
      matched = matchTree prefix ordered (
        concatMap (m: map (config: { file = m._file; inherit config; }) (pushDown m.config)) ordered
      );
      inherit (matched) options;
      declared = lib.mapAttrsRecursiveCond (v: !isOption v) (_: v: v.value) options;
      inherit (declared._module) freeformType;
      freeform =
        if matched.unmatched == [ ] then
          { }
        else
          freeformType.merge prefix (
            map (def: { inherit (def) file; value = lib.setAttrByPath def.prefix def.value; }) matched.unmatched
          );
      config = if freeformType == null then declared else lib.recursiveUpdate freeform declared;
      checkUnmatched =
        if declared._module.check && freeformType == null && matched.unmatched != [ ] then
          let
            def = head matched.unmatched;
            name = showOption (prefix ++ def.prefix);
            message = "The option `${name}' does not exist. Definition values:${showDefs [ def ]}${suggest prefix options def}";
          in
          if attrNames options != [ "_module" ] then
            throw message
          else if prefix == [ ] then
            throw "${message}\n\nIt seems as if you're trying to declare an option by placing it into `config' rather than `options'!\n"
          else
            throw "${message}\n\nHowever there are no options defined in `${showOption prefix}'. Are you sure you've\ndeclared your options properly? This can happen if you e.g. declared your options in `types.submodule'\nunder `config' rather than `options'.\n"
        else
          null;
      extendModules =
        args@{
          modules ? [ ],
          specialArgs ? { },
          prefix ? [ ],
        }:
        evalModules (
          evalArgs
          // {
            modules = evalArgs.modules ++ modules;
            specialArgs = evalArgs.specialArgs or { } // specialArgs;
            prefix = args.prefix or evalArgs.prefix or [ ];
          }
        );
      type = lib.types.submoduleWith { inherit modules specialArgs class; };
    in
    {
      _type = "configuration";
      options = seq checkUnmatched options;
      config = seq checkUnmatched (removeAttrs config [ "_module" ]);
      _module = seq checkUnmatched config._module;
      inherit extendModules type class;
    };
in
{
  inherit
    evalModules
    mergeDefinitions
    evalOptionValue
    mergeOptionDecls
    fixupOptionType
    filterOverrides'
    defaultOverridePriority
    defaultOrderPriority
    ;
  pushDownProperties = pushDown;
  dischargeProperties = discharge;
  filterOverrides = defs: (filterOverrides' defs).values;
  sortProperties = sortByOrder;
  unifyModuleSyntax = normalise;
  setDefaultModuleLocation = file: m: {
    _file = file;
    imports = [ m ];
  };

  mkIf = condition: content: {
    _type = "if";
    inherit condition content;
  };
  mkAssert =
    assertion: message: content:
    lib.mkIf (assertion || throw "\nFailed assertion: ${message}") content;
  mkMerge = contents: {
    _type = "merge";
    inherit contents;
  };
  mkOverride = priority: content: {
    _type = "override";
    inherit priority content;
  };
  mkOptionDefault = lib.mkOverride 1500;
  mkDefault = lib.mkOverride 1000;
  mkImageMediaOverride = lib.mkOverride 60;
  mkForce = lib.mkOverride 50;
  mkVMOverride = lib.mkOverride 10;
  mkOrder = priority: content: {
    _type = "order";
    inherit priority content;
  };
  mkBefore = lib.mkOrder 500;
  mkAfter = lib.mkOrder 1500;
  mkDefinition = args@{ file, value, ... }: args // { _type = "definition"; };

  # A definition by the same properties as another option's, its values through `f`.
  mkAliasDefinitions = lib.mkAliasAndWrapDefinitions lib.id;
  mkAliasAndWrapDefinitions =
    wrap: option: lib.mkIf (option.isDefined or false) (wrap (lib.mkMerge option.definitions));
  mkAliasAndWrapDefsWithPriority =
    wrap: option:
    lib.mkIf (option.isDefined or false) (
      wrap (lib.mkMerge (map (lib.mkOverride (option.highestPrio or defaultOverridePriority)) option.definitions))
    );
  mkDerivedConfig = opt: f: lib.mkOverride (opt.highestPrio or defaultOverridePriority) (f opt.value);
}
