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
  # The largest of all defined values.
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

  config = {
    # NixOS' own. A module that sets one of them at the same priority conflicts, even with an equal value.
    boot.kernel.sysctl = {
      "fs.inotify.max_user_instances" = lib.mkDefault 524288;
      "fs.inotify.max_user_watches" = lib.mkDefault 524288;
      "kernel.kptr_restrict" = lib.mkDefault 1;
      "vm.max_map_count" = lib.mkDefault 1048576;
    };
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
