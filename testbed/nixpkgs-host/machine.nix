# What a machine of the sandbox needs beside machinist's own modules: Debian's files stay where its programs look for
# them.
{ lib, ... }:
{
  # Debian's programs are loaded by Debian's loader.
  environment.stub-ld.enable = false;
  environment.ldso = "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2";
  # nixpkgs itself, 450 MB, would be in each system.
  nixpkgs.flake.setFlakeRegistry = false;
  nixpkgs.flake.setNixPath = false;
  # Computed from the configuration of the kernel, which would be compiled.
  environment.etc."sysctl.d/55-nixos-aslr-entropy.conf".enable = false;
  # The only locale that Debian has without being asked.
  i18n.defaultLocale = "C.UTF-8";
  services.logrotate.checkConfig = false;
  xdg.mime.enable = false;
  fonts.fontconfig.enable = false;
  # Machines have no name servers, and Debian no nsncd.
  networking.resolvconf.enable = false;
  services.nscd.enable = false;
  system.nssModules = lib.mkForce [ ];
  # Small programs in C, and what needs them.
  security.enableWrappers = false;
  security.sudo.enable = false;
  # A program in Python, which nothing here uses.
  system.tools.nixos-rebuild.enable = false;
}
