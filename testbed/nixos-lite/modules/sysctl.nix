{
  config,
  lib,
  ...
}:
let
  inherit (lib) mkOption types;
  isValue = x: builtins.isBool x || builtins.isString x || builtins.isInt x || x == null;
  sysctlValue = types.mkOptionType {
    name = "sysctl option value";
    check = x: isValue x || (x._type or "" == "override" && isValue x.content);
    merge = lib.mergeOneOption;
  };
  # The largest of all values that are asked for.
  largest = types.ints.unsigned // {
    merge = _: defs: lib.foldl' (n: def: lib.max n def.value) 0 defs;
  };
  buffer =
    what:
    mkOption {
      type = types.nullOr largest;
      default = null;
      description = "The largest ${what} socket buffer, in bytes.";
    };
in
{
  options.boot.kernel.sysctl = mkOption {
    type = types.submodule {
      freeformType = types.attrsOf sysctlValue;
      options = {
        "net.core.rmem_max" = buffer "receive";
        "net.core.wmem_max" = buffer "send";
      };
    };
    default = { };
    description = "Kernel parameters.";
  };

  # NixOS sets some values by default; a nixos-lite machine shares its kernel and leaves them.
  config = {
    environment.etc."sysctl.d/60-nixos.conf".text = lib.concatStrings (
      lib.mapAttrsToList (
        n: v: lib.optionalString (v != null) "${n}=${if v == false then "0" else toString v}\n"
      ) config.boot.kernel.sysctl
    );
    systemd.services.systemd-sysctl = {
      wantedBy = [ "multi-user.target" ];
      restartTriggers = [ config.environment.etc."sysctl.d/60-nixos.conf".source ];
    };
  };
}
