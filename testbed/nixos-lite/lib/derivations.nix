# Functions on the metadata of packages.
lib: {
  # The path of a package's main program.
  getExe =
    x:
    lib.getExe' x (
      x.meta.mainProgram or (lib.warn
        "getExe: Package ${
          lib.escapeNixString (x.meta.name or x.pname or x.name)
        } does not have the meta.mainProgram attribute. We'll assume that the main program has the same name for now, but this behavior is deprecated."
        (lib.getName x)
      )
    );
  getExe' =
    x: y:
    assert lib.assertMsg (lib.isDerivation x)
      "lib.meta.getExe': The first argument is of type ${builtins.typeOf x}, but it should be a derivation instead.";
    assert lib.assertMsg (builtins.isString y)
      "lib.meta.getExe': The second argument is of type ${builtins.typeOf y}, but it should be a string instead.";
    assert lib.assertMsg (builtins.match ".*/.*" y == null)
      "lib.meta.getExe': The second argument \"${y}\" is a nested path with a \"/\" character, but it should just be the name of the executable instead.";
    "${lib.getBin x}/bin/${y}";
  addMetaAttrs = new: drv: drv // { meta = (drv.meta or { }) // new; };
  setName = name: drv: drv // { inherit name; };
  hiPrio = drv: lib.addMetaAttrs { priority = -10; } drv;
  lowPrio = drv: lib.addMetaAttrs { priority = 10; } drv;
  lazyDerivation =
    {
      derivation,
      meta ? null,
      passthru ? { },
      outputs ? [ "out" ],
    }:
    {
      type = "derivation";
      inherit (derivation) outPath drvPath name system outputName;
      inherit outputs;
    }
    // lib.genAttrs outputs (output: derivation.${output})
    // lib.optionalAttrs (meta != null) { inherit meta; }
    // passthru;
  licenses = builtins.listToAttrs (
    map
      (spdxId: {
        name = lib.toLower (lib.replaceStrings [ "-" "." ] [ "" "" ] spdxId);
        value = { inherit spdxId; };
      })
      [ "Apache-2.0" "BSD-3-Clause" "GPL-2.0-only" "GPL-3.0-only" "ISC" "MIT" "MPL-2.0" ]
  ) // { asl20.spdxId = "Apache-2.0"; mit.spdxId = "MIT"; };
  maintainers = { };
  teams = { };
  platforms = rec {
    linux = [ "x86_64-linux" "aarch64-linux" ];
    unix = linux;
    all = linux;
  };
}
