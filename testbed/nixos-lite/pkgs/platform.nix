# The platform and the standard environment's name for it.
{
  lib,
  pkgs,
  system,
}:
let
  cpu = builtins.head (lib.splitString "-" system);
  platform = {
    inherit system;
    config = "${cpu}-unknown-linux-gnu";
    libc = "glibc";
    isLinux = true;
    isDarwin = false;
    isUnix = true;
    is64bit = true;
    is32bit = false;
    isBigEndian = false;
    isLittleEndian = true;
    isStatic = false;
    isMusl = false;
    isGnu = true;
    isx86_64 = cpu == "x86_64";
    isx86 = cpu == "x86_64";
    isAarch64 = cpu == "aarch64";
    isAarch = cpu == "aarch64";
    linuxArch = if cpu == "aarch64" then "arm64" else cpu;
    parsed = {
      cpu.name = cpu;
      kernel.name = "linux";
    };
    uname.processor = cpu;
    rust.rustcTarget = "${cpu}-unknown-linux-gnu";
  };
in
{
  stdenv = {
    name = "stdenv-nixos-lite";
    inherit system;
    hostPlatform = platform;
    buildPlatform = platform;
    targetPlatform = platform;
    shell = "/bin/bash";
    inherit (pkgs) mkDerivation;
    inherit (platform) isLinux isDarwin isx86_64 isAarch64;
  };
  stdenvNoCC = pkgs.stdenv;
  hostPlatform = platform;
  targetPlatform = platform;
  runtimeShell = "/bin/bash";
}
