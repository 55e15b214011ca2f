# The weight of the measured closures beside the system: about 50 MB, compressible like programs, and 200 small paths.
{ pkgs, ... }:
let
  build =
    name: script:
    derivation {
      inherit name;
      system = "x86_64-linux";
      builder = "/bin/sh";
      args = [
        "-c"
        "export PATH=/usr/bin:/bin; ${script}"
      ];
    };
  large =
    index:
    build "large-${toString index}" ''
      cat /usr/lib/x86_64-linux-gnu/*.so* /usr/bin/* | tail -c +$((${toString index} * 5000000 + 1)) | head -c 5000000 >$out
    '';
  small = index: build "small-${toString index}" "seq ${toString index} $((${toString index} + 800)) >$out";
  paths = builtins.genList large 10 ++ builtins.genList small 200;
in
{
  environment.etc."payload".text = builtins.concatStringsSep "\n" (map toString paths);
}
