# Modules that forward, rename or remove options.
lib:
let
  forward =
    {
      from,
      to,
      visible,
      warn,
      use,
    }:
    { config, options, ... }:
    let
      fromOpt = lib.getAttrFromPath from options;
      toOf = lib.attrByPath to (abort "Renaming error: option `${lib.showOption to}' does not exist.");
      toType = lib.attrByPath (to ++ [ "type" ]) null options;
    in
    {
      options = lib.setAttrByPath from (
        lib.mkOption (
          {
            inherit visible;
            description = "Alias of {option}`${lib.showOption to}`.";
            apply = x: use (toOf config);
          }
          // lib.optionalAttrs (toType != null) { type = toType; }
        )
      );
      config = lib.mkMerge [
        (lib.optionalAttrs (options ? warnings) {
          warnings = lib.optional (warn && fromOpt.isDefined)
            "The option `${lib.showOption from}' defined in ${lib.showFiles fromOpt.files} has been renamed to `${lib.showOption to}'.";
        })
        (lib.mkAliasAndWrapDefsWithPriority (lib.setAttrByPath to) fromOpt)
      ];
    };
in
{
  doRename = args: forward { inherit (args) from to visible warn use; };
  mkRenamedOptionModule =
    from: to:
    forward {
      inherit from to;
      visible = false;
      warn = true;
      use = lib.id;
    };
  mkAliasOptionModule =
    from: to:
    forward {
      inherit from to;
      visible = true;
      warn = false;
      use = lib.id;
    };
  mkAliasOptionModuleMD = lib.mkAliasOptionModule;
  mkRemovedOptionModule =
    name: replacement:
    { options, ... }:
    {
      options = lib.setAttrByPath name (
        lib.mkOption {
          visible = false;
          apply = _: throw "The option `${lib.showOption name}' can no longer be used since it's been removed. ${replacement}";
        }
      );
      config.assertions =
        let
          opt = lib.getAttrFromPath name options;
        in
        [
          {
            assertion = !opt.isDefined;
            message = "The option definition `${lib.showOption name}' in ${lib.showFiles opt.files} no longer has any effect; please remove it.\n${replacement}\n";
          }
        ];
    };
  mkChangedOptionModule =
    from: to: changeFn:
    lib.mkMergedOptionModule [ from ] to changeFn;
  mkMergedOptionModule =
    from: to: mergeFn:
    { config, options, ... }:
    {
      options = lib.foldl' lib.recursiveUpdate { } (
        map (
          path:
          lib.setAttrByPath path (
            lib.mkOption {
              visible = false;
              default = "_mkMergedOptionModule";
            }
          )
        ) from
      );
      config =
        lib.optionalAttrs (options ? warnings) {
          warnings = lib.concatMap (
            path:
            let
              opt = lib.getAttrFromPath path options;
            in
            lib.optional (lib.getAttrFromPath path config != "_mkMergedOptionModule")
              "The option `${lib.showOption path}' defined in ${lib.showFiles opt.files} has been changed to `${lib.showOption to}' that has a different type."
          ) from;
        }
        // lib.setAttrByPath to (
          lib.mkMerge (
            lib.optional (lib.any (path: lib.getAttrFromPath path config != "_mkMergedOptionModule") from) (
              mergeFn config
            )
          )
        );
    };
}
