{
  config,
  lib,
  ...
}:
let
  inherit (lib) mkOption types;
  sysctlValue = types.mkOptionType {
    name = "sysctl option value";
    check = v: builtins.elem (builtins.typeOf v) [ "bool" "int" "string" "null" ];
    merge = _: defs: (lib.last (lib.filterOverrides defs)).value;
  };
  text =
    v:
    if v == true then
      "1"
    else if v == false then
      "0"
    else
      toString v;
in
{
  options.boot.kernel.sysctl = mkOption {
    type =
      let
        highest = lib.foldl' lib.max 0;
        # The largest value that somebody asks for.
        atLeast = types.mkOptionType {
          name = "largest";
          description = "null or unsigned integer, meaning >=0";
          merge = _: defs: highest (map (def: def.value) defs);
        };
      in
      types.submodule {
        freeformType = types.attrsOf sysctlValue;
        options = lib.genAttrs [ "net.core.rmem_max" "net.core.wmem_max" ] (
          name:
          mkOption {
            type = types.nullOr types.ints.unsigned // {
              merge = loc: defs: if lib.all (def: def.value == null) defs then null else atLeast.merge loc (lib.filter (def: def.value != null) defs);
            };
            default = null;
            description = "${name}: the largest value that is asked for.";
          }
        );
      };
    default = { };
    description = "Kernel parameters.";
  };

  config = {
    environment.etc."sysctl.d/60-nixos.conf".text = lib.concatStrings (
      lib.mapAttrsToList (n: v: lib.optionalString (v != null) "${n}=${text v}\n") config.boot.kernel.sysctl
    );
    systemd.services.systemd-sysctl = {
      wantedBy = [ "multi-user.target" ];
      restartTriggers = [ config.environment.etc."sysctl.d/60-nixos.conf".source ];
    };
  };
}
