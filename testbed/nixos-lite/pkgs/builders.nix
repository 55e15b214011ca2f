# Builders: each is a derivation that the machine's own shell runs (no standard environment, no
# sandbox).
{
  lib,
  pkgs,
  system,
}:
let
  # Attributes that describe a package and are not passed to its builder.
  described = [
    "meta"
    "passthru"
    "pname"
    "version"
    "nativeBuildInputs"
    "buildInputs"
    "propagatedBuildInputs"
    "checkInputs"
    "nativeCheckInputs"
    "allowSubstitutes"
    "preferLocalBuild"
    "strictDeps"
    "dontUnpack"
    "phases"
    "doCheck"
    "outputs"
    "__structuredAttrs"
    "env"
    "buildCommand"
  ];

  hostPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

  # A derivation of `attrs`, whose `buildCommand` is run by bash with the inputs' programs in PATH.
  mkBuild =
    attrs:
    let
      name = attrs.name or "${attrs.pname}-${attrs.version}";
      inputs = attrs.nativeBuildInputs or [ ] ++ attrs.buildInputs or [ ];
      passed = builtins.removeAttrs attrs described // attrs.env or { };
      drv = derivation (
        passed
        // {
          inherit name system;
          builder = "/bin/sh";
          args = [
            "-c"
            "exec /bin/bash -e \"$buildCommandPath\""
          ];
          PATH = lib.concatStringsSep ":" (lib.optional (inputs != [ ]) (lib.makeBinPath inputs) ++ [ hostPath ]);
          inherit (attrs) buildCommand;
          passAsFile = attrs.passAsFile or [ ] ++ [ "buildCommand" ];
        }
        // lib.optionalAttrs (attrs ? outputs) { inherit (attrs) outputs; }
      );
      extra = {
        inherit name;
        meta = {
          inherit name;
        }
        // attrs.meta or { };
        passthru = attrs.passthru or { };
        overrideAttrs =
          f:
          let
            changed = lib.toFunction f attrs;
          in
          mkBuild (attrs // (if lib.isFunction changed then changed attrs else changed));
      }
      // lib.filterAttrs (n: _: n == "pname" || n == "version") attrs
      // attrs.passthru or { };
    in
    drv // extra;
in
rec {
  # Phases of a small mkDerivation: unpack, patch, build, install; `buildCommand` replaces all of
  # them.
  mkDerivation =
    fnOrAttrs:
    let
      attrs =
        if lib.isFunction fnOrAttrs then
          lib.internal.fix (finalAttrs: fnOrAttrs (finalAttrs // { finalPackage = mkDerivation fnOrAttrs; }))
        else
          fnOrAttrs;
      phase =
        name: default:
        lib.concatStringsSep "\n" [
          (attrs."pre${name}" or "")
          (attrs."${lib.toLower (builtins.substring 0 1 name)}${builtins.substring 1 20 name}Phase" or default)
          (attrs."post${name}" or "")
        ];
      unpack = ''
        cp -r --no-preserve=mode "$src" source
        cd source
      '';
    in
    mkBuild (
      {
        buildCommand = ''
          runHook() { :; }
          cd "$(mktemp -d)"
          ${lib.optionalString (attrs ? src && attrs.dontUnpack or false == false) (phase "Unpack" unpack)}
          ${phase "Patch" ""}
          ${phase "Build" ""}
          ${phase "Install" ''mkdir -p "$out"''}
        '';
      }
      // builtins.removeAttrs attrs (
        lib.concatMap (n: [
          "pre${n}"
          "post${n}"
          "${lib.toLower (builtins.substring 0 1 n)}${builtins.substring 1 20 n}Phase"
        ]) [ "Unpack" "Patch" "Build" "Install" "Check" "Fixup" "Configure" ]
      )
    );

  runCommand =
    name: env: buildCommand:
    mkBuild (env // { inherit name buildCommand; });
  runCommandLocal = runCommand;
  runCommandCC = runCommand;
  runCommandNoCC = runCommand;

  # One tree of links to all files of several packages; of a file in several packages, the first is
  # used.
  symlinkJoin =
    {
      name ? "${args.pname}-${args.version}",
      paths ? [ ],
      postBuild ? "",
      ...
    }@args:
    runCommand name
      (
        builtins.removeAttrs args [
          "name"
          "postBuild"
          "stripPrefix"
        ]
        // {
          paths = lib.concatStringsSep "\n" (map toString paths);
          passAsFile = [ "paths" ];
        }
      )
      ''
        mkdir -p "$out"
        while IFS= read -r path || [ -n "$path" ]; do
          [ -d "$path" ] || continue
          (cd "$path" && find . -mindepth 1 -type d) | while IFS= read -r dir; do mkdir -p "$out/$dir"; done
          (cd "$path" && find . -mindepth 1 ! -type d) | while IFS= read -r file; do
            [ -e "$out/$file" ] || ln -s "$path/''${file#./}" "$out/$file"
          done
        done < "$pathsPath"
        ${postBuild}
      '';
  buildEnv =
    {
      name,
      paths,
      postBuild ? "",
      meta ? { },
      passthru ? { },
      ...
    }:
    symlinkJoin {
      inherit name paths postBuild meta passthru;
    };

  linkFarm =
    name: entries:
    let
      list = if builtins.isAttrs entries then lib.mapAttrsToList (name: path: { inherit name path; }) entries else entries;
    in
    runCommand name { } (
      ''
        mkdir -p "$out"
        cd "$out"
      ''
      + lib.concatMapStrings (entry: ''
        mkdir -p "$(dirname ${lib.escapeShellArg entry.name})"
        ln -s ${lib.escapeShellArg "${entry.path}"} ${lib.escapeShellArg entry.name}
      '') list
    );
  linkFarmFromDrvs = name: drvs: linkFarm name (map (drv: { inherit (drv) name; path = drv; }) drvs);

  # A shell for `nix develop`: its builder is bash itself, as that command requires.
  mkShell =
    {
      name ? "nix-shell",
      packages ? [ ],
      inputsFrom ? [ ],
      buildInputs ? [ ],
      nativeBuildInputs ? [ ],
      shellHook ? "",
      ...
    }@attrs:
    let
      inputs = packages ++ nativeBuildInputs ++ buildInputs ++ lib.concatMap (i: i.nativeBuildInputs or [ ]) inputsFrom;
      drv = derivation (
        builtins.removeAttrs attrs (
          described
          ++ [
            "packages"
            "inputsFrom"
          ]
        )
        // attrs.env or { }
        // {
          inherit name system shellHook;
          builder = "/bin/bash";
          # `nix develop` writes the environment to these outputs.
          outputs = [ "out" ];
          args = [
            "-c"
            "echo 'a shell of nixos-lite: use it by nix develop' > $out"
          ];
          PATH = lib.makeBinPath inputs + ":" + hostPath;
        }
      );
    in
    drv // { meta = attrs.meta or { }; nativeBuildInputs = inputs; };
  mkShellNoCC = mkShell;

  # Functions that would need the network.
  fetchurl = _: throw "nixos-lite cannot fetch: it is a test double of nixpkgs for machines without network access";
  fetchzip = fetchurl;
  fetchgit = fetchurl;
  fetchFromGitHub = fetchurl;
}
