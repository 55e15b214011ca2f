# Properties of definitions: conditions, merges, priorities, order.
lib:
let
  inherit (builtins) any concatMap filter foldl' isAttrs isBool mapAttrs;

  defaultOverridePriority = 100;
  defaultOrderPriority = 1000;
in
rec {
  inherit defaultOverridePriority defaultOrderPriority;

  # Splits a definition of several options into plain sets, with its conditions moved to each
  # option.
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

  # The values whose conditions hold.
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

  # Only the definitions of the strongest priority, without their wrappers.
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

  # A definition with the properties of another option's, and its values mapped by `f`.
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
