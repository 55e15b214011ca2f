# A standard environment that builds without sources and compilers: the build of what has a fetched source is replaced by one
# whose programs run the machine's own, or are those that `prepare` has compiled. What nixpkgs makes itself (scripts, files, links, NixOS' own parts) is built as it is.
{ lib, nixpkgs }:
let
  programs = import ./programs.nix;
  special = import ./special.nix { inherit nixpkgs; };

  # What has a fetched source, also a patched one, or a cargo build with its dependencies. What lies in nixpkgs or is made by
  # it is built.
  isFetched =
    attrs:
    isSource (attrs.src or null)
    || lib.any isSource (lib.toList (attrs.srcs or [ ]))
    || attrs ? cargoDeps
    || lib.elem (attrs.pname or attrs.name or "") compiled;
  isSource = src: lib.isAttrs src && (src ? outputHash || src.isStub or false);

  # Programs in nixpkgs itself that a compiler would make.
  compiled = [ "expand-response-params" "libredirect" ];

  # Interpreters are linked instead. The shell is bash, as in NixOS: /bin/sh becomes a link to it.
  linked = {
    bash = "/usr/bin/bash";
    sh = "/usr/bin/bash";
    perl = "/usr/bin/perl";
    python3 = "/usr/bin/python3";
  };

  # Attributes of a derivation that stay. Whether they are there, and these values, must not depend on the source: the source
  # may depend on them.
  isKept =
    name:
    lib.elem name [ "name" "pname" "version" "outputs" "meta" "passthru" "pos" ]
    || lib.any (prefix: lib.hasPrefix prefix name) [ "__" "do" "dont" "enable" "strict" "separate" "allow" ];
  # The values of others, of the type that nixpkgs expects.
  neutral =
    name:
    if name == "outputChecks" then
      { }
    else if name == "builder" then
      builtins.toFile "builder.sh" "genericBuild\n"
    else if name == "realBuilder" then
      "/bin/bash"
    else if lib.hasPrefix "hardening" name || lib.any (suffix: lib.hasSuffix suffix name) lists then
      [ ]
    else
      null;
  lists = [
    "Inputs" "Flags" "patches" "Build" "Host" "Target" "Platforms" "Propagated" "References" "Requisites" "Features"
  ];

  buildOf =
    args:
    let
      pname = args.pname or (lib.getName args.name);
      known = programs.${pname} or { };
      more = special.${pname} or { };
      names = lib.unique (
        [ (args.meta.mainProgram or known.main or pname) ] ++ known.programs or [ ] ++ more.programs or [ ]
      );
      install =
        name:
        if linked ? ${name} then
          ''ln -sfn ${linked.${name}} "$output/bin/${name}"''
        else
          ''
            built=/usr/lib/nixpkgs-host/${name}
            [ -e "$built" ] || built=${./run.sh}
            install -m 0755 "$built" "$output/bin/${name}"
          '';
      outputs = lib.filter (name: lib.elem name [ "out" "bin" "getent" ]) (args.outputs or [ "out" ]);
    in
    ''
      # Of the root ${lib.trim (builtins.readFile ./root)}, which the result is copied from and linked to.
      for output in $(getAllOutputNames); do mkdir -p "''${!output}"; done
      for output in ${lib.concatMapStringsSep " " (name: ''"''$${name}"'') outputs}; do
        mkdir -p "$output/bin"
        ln -s bin "$output/sbin"
        ${lib.concatMapStringsSep "\n  " install names}
      done
      ${more.build or ""}
    '';

  # As nixpkgs' own: a function of the final attributes, and what overrideAttrs gives is judged again.
  mkDerivation =
    make: fnOrAttrs:
    let
      function = lib.toFunction fnOrAttrs;
      args = function (args // { finalPackage = result; });
      isStub = isFetched args;
      choose =
        name: value:
        if isKept name then
          value
        else if name == "env" then
          lib.mapAttrs (_: variable: if isStub then "" else variable) value
        else if isStub then
          neutral name
        else
          value;
      result =
        make (
          lib.mapAttrs choose args
          // {
            buildCommand = if isStub then buildOf args else args.buildCommand or "";
          }
        )
        // {
          inherit isStub;
          overrideAttrs = change: mkDerivation make (lib.extends (lib.toExtension change) function);
          # Others read the source's name or version.
          ${if args ? src then "src" else null} = args.src;
        };
    in
    result;

  wrap =
    base:
    base
    // {
      mkDerivation = mkDerivation base.mkDerivation;
      override = args: wrap (base.override args);
    };
in
{
  inherit wrap;
}
