# The module system: collects modules, matches definitions with declarations, merges values.
lib:
let
  inherit (builtins) addErrorContext attrNames concatMap head removeAttrs seq;
  inherit (lib.options) isOption showDefs showOption;
  properties = import ./properties.nix lib;
  merging = import ./merge.nix lib;
  inherit (properties) pushDown;
  inherit (import ./collect.nix lib) collect normalise;
  inherit (import ./tree.nix lib) matchTree suggest;

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
builtins.removeAttrs properties [ "pushDown" "discharge" "priorityOf" "sortByOrder" ]
// merging
// {
  inherit evalModules;
  pushDownProperties = pushDown;
  dischargeProperties = properties.discharge;
  filterOverrides = defs: (properties.filterOverrides' defs).values;
  sortProperties = properties.sortByOrder;
  unifyModuleSyntax = normalise;
}
