# The stages of a nixpkgs whose environment is the machine: one without packages, and the packages.
nixpkgs:
{
  lib,
  localSystem,
  crossSystem,
  config,
  overlays,
  ...
}:
assert crossSystem == localSystem;
let
  inherit (import ./wrapped.nix { inherit lib nixpkgs; }) wrap;
  generic = import (nixpkgs + "/pkgs/stdenv/generic") { defaultConfig = config; };
  environment =
    {
      cc ? null,
      fetchurl ? null,
    }:
    generic {
      buildPlatform = localSystem;
      hostPlatform = localSystem;
      targetPlatform = localSystem;
      initialPath = [
        "/usr"
        "/"
      ];
      shell = "/bin/bash";
      fetchurlBoot = fetchurl;
      overrides = _: _: { inherit fetchurl; };
      inherit cc;
    };
in
[
  (
    { }:
    let
      bare = environment { };
      package =
        pname: passthru: buildCommand:
        bare.mkDerivation {
          inherit pname passthru buildCommand;
          version = "0";
        };
      # The activation tells a cache of names that accounts have changed; there is none.
      libc = package "glibc" { } ''
        mkdir -p "$out/bin"
        ln -s /usr/bin/ldd "$out/bin/ldd"
        ln -s /usr/bin/true "$out/bin/nscd"
      '';
      tools = {
        inherit libc;
        isGNU = true;
        isClang = false;
        targetPrefix = "";
      };
      bintools = package "bintools" (
        tools // { dynamicLinker = "/lib64/ld-linux-x86-64.so.2"; }
      ) ''mkdir "$out"'';
    in
    {
      __raw = true;
      # No compiler: modules only ask it for its library and loader.
      cc = package "cc" (
        tools
        // {
          inherit bintools;
          cc = bintools;
        }
      ) ''mkdir "$out"'';
      fetchurl = import (nixpkgs + "/pkgs/build-support/fetchurl") {
        inherit lib;
        stdenvNoCC = bare;
        curl = null;
        inherit (config) hashedMirrors rewriteURL;
      };
    }
  )
  (before: {
    inherit config overlays;
    stdenv = wrap (environment {
      inherit (before) cc fetchurl;
    });
  })
]
