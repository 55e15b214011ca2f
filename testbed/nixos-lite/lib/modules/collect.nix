# Collects all modules that a list of modules imports, each normalised to one shape.
lib:
let
  inherit (builtins) addErrorContext attrNames concatMap elem filter head isAttrs isString length mapAttrs removeAttrs;
  inherit (lib.options) unknownModule;
in
rec {
  # Normalises modules as written.
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

  # A function module is called with its named arguments, which are taken from `_module.args` if the
  # caller does not pass them.
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

  # All modules that `initial` imports, each once, without the disabled ones.
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
}
