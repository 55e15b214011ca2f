# callPackage and overriding.
lib: rec {
  # Calls `f args` and adds `override` to the result, which calls it again with other arguments.
  makeOverridable =
    f:
    lib.mirrorFunctionArgs f (
      args:
      let
        result = f args;
        override = new: makeOverridable f (args // lib.toFunction new args);
      in
      if builtins.isAttrs result then
        result
        // {
          override = lib.setFunctionArgs override (lib.functionArgs f);
          overrideDerivation = _: throw "overrideDerivation is not part of nixos-lite";
        }
      else if builtins.isFunction result then
        lib.setFunctionArgs result (lib.functionArgs result) // { inherit override; }
      else
        result
    );
  callPackageWith =
    autoArgs: fn: args:
    let
      f = if lib.isFunction fn then fn else import fn;
      fargs = lib.functionArgs f;
      all = builtins.intersectAttrs fargs autoArgs // args;
      missing = builtins.filter (name: !fargs.${name} && !(all ? ${name})) (builtins.attrNames fargs);
    in
    if missing == [ ] then
      makeOverridable f all
    else
      throw "Function called without required argument \"${builtins.head missing}\" (callPackage of nixos-lite, which has a small package set)";
  callPackagesWith =
    autoArgs: fn: args:
    let
      f = if lib.isFunction fn then fn else import fn;
    in
    f (builtins.intersectAttrs (lib.functionArgs f) autoArgs // args);
  makeScope =
    newScope: f:
    let
      self = f self // {
        newScope = scope: newScope (self // scope);
        callPackage = self.newScope { };
        packages = f;
      };
    in
    self;
}
