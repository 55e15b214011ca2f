# Types whose values are modules.
lib:
let
  inherit (builtins) isAttrs;
  inherit (lib.options) showOption;
  inherit (lib.modules) evalModules;
  inherit (lib.types) mkOptionType path;
  inherit (import ./helpers.nix lib) phrase;
in
rec {
  submodule =
    modules:
    submoduleWith {
      shorthandOnlyDefinesConfig = true;
      modules = lib.toList modules;
    };
  submoduleWith =
    {
      modules,
      specialArgs ? { },
      shorthandOnlyDefinesConfig ? false,
      description ? null,
      class ? null,
    }@attrs:
    let
      nameless = {
        _file = "lib/types.nix";
        _module.args.name = lib.mkOptionDefault "‹name›";
      };
      base = evalModules {
        inherit specialArgs class;
        modules = [ nameless ] ++ modules;
      };
      unchecked = prefix: base.extendModules {
        inherit prefix;
        modules = [ { _module.check = lib.mkForce false; } ];
      };
      freeform = (unchecked [ ])._module.freeformType;
    in
    mkOptionType {
      name = "submodule";
      description =
        if description != null then
          description
        else if freeform ? description then
          "open submodule of ${phrase [ "noun" "composite" ] freeform}"
        else
          "submodule";
      check = x: isAttrs x || lib.isFunction x || path.check x;
      merge =
        loc: defs:
        (base.extendModules {
          prefix = loc;
          modules = [
            {
              _file = "lib/types.nix";
              _module.args.name = lib.last loc;
            }
          ]
          ++ map (
            def:
            {
              _file = def.file;
            }
            // (
              if isAttrs def.value && shorthandOnlyDefinesConfig then
                { config = def.value; }
              else
                { imports = [ def.value ]; }
            )
          ) defs;
        }).config;
      emptyValue.value = base.config;
      getSubOptions =
        prefix:
        let
          docs = unchecked prefix;
        in
        docs.options
        // lib.optionalAttrs (docs._module.freeformType != null) {
          _freeformOptions = docs._module.freeformType.getSubOptions prefix;
        };
      getSubModules = modules;
      substSubModules = m: submoduleWith (attrs // { modules = m; });
      functor = {
        name = "submodule";
        type = submoduleWith;
        payload = { inherit modules specialArgs shorthandOnlyDefinesConfig description class; };
        binOp =
          a: b:
          let
            # The value that one side sets, if the other sets none.
            same =
              field:
              if a.${field} == null then
                b.${field}
              else if b.${field} == null || a.${field} == b.${field} then
                a.${field}
              else
                throw "A submoduleWith option is declared multiple times with conflicting ${field} values";
          in
          {
            modules = a.modules ++ b.modules;
            specialArgs = lib.unionOfDisjoint a.specialArgs b.specialArgs;
            shorthandOnlyDefinesConfig = same "shorthandOnlyDefinesConfig";
            description = same "description";
            class = same "class";
          };
      };
    };
  deferredModule = deferredModuleWith { };
  deferredModuleWith =
    {
      staticModules ? [ ],
    }:
    mkOptionType {
      name = "deferredModule";
      description = "module";
      descriptionClass = "noun";
      check = x: isAttrs x || lib.isFunction x || path.check x;
      merge = loc: defs: {
        imports =
          staticModules
          ++ map (def: lib.setDefaultModuleLocation "${def.file}, via option ${showOption loc}" def.value) defs;
      };
      inherit (submoduleWith { modules = staticModules; }) getSubOptions getSubModules;
      substSubModules = m: deferredModuleWith { staticModules = m; };
      functor = {
        name = "deferredModuleWith";
        type = deferredModuleWith;
        payload = { inherit staticModules; };
        binOp = a: b: { staticModules = a.staticModules ++ b.staticModules; };
      };
    };
}
