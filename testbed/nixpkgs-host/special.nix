# Packages of which NixOS reads more than programs, by name: `programs` beside those of nixos-lite, and `build`, a script
# that adds to the outputs.
{ nixpkgs }:
let
  # Each has its own list of programs in nixos-lite, under another name.
  programsOf = name: { inherit ((import ./programs.nix).${name}) programs; };
in
{
  # /usr/bin/env becomes a link to this one.
  coreutils.build = ''
    rm -f "$out/bin/env"
    cp /usr/bin/env "$out/bin/env"
  '';
  etcdserver.programs = [ "etcd" ];
  coreutils-full = programsOf "coreutils";
  bash-interactive.programs = [ "sh" ];
  glibc-nolibgcc.programs = [ "getent" "getconf" "ldd" "locale" "localedef" "iconv" ];
  lndir.build = ''
    cp ${./lndir.sh} "$out/bin/lndir"
  '';
  nix.build = ''
    mkdir -p "$out/lib/systemd/system" "$out/lib/tmpfiles.d" "$out/etc/profile.d"
    cp ${./units}/nix-daemon.* "$out/lib/systemd/system/"
    echo 'd /nix/var/nix/daemon-socket 0755 root root - -' > "$out/lib/tmpfiles.d/nix-daemon.conf"
    touch "$out/etc/profile.d/nix.sh"
  '';
  util-linux.build = ''
    mkdir -p "$lastlog/lib/tmpfiles.d" "$lastlog/lib/systemd/system"
    touch "$lastlog/lib/tmpfiles.d/lastlog2-tmpfiles.conf"
  '';
  systemd.build = ''
    mkdir -p "$out/example" "$out/lib" "$out/share"
    cp -r /usr/lib/systemd "$out/example/systemd"
    for dir in tmpfiles.d sysctl.d sysusers.d; do cp -r "/usr/lib/$dir" "$out/example/$dir"; done
    # NixOS replaces the package's own path in it.
    sed -i "s|/usr/lib/systemd/|$out/lib/systemd/|" "$out/example/sysctl.d/50-coredump.conf"
    # Units that NixOS lists and the machine's systemd has not, as parts of it that are not installed: masked.
    grep -ohE '"[A-Za-z0-9@._-]+[.](automount|mount|path|service|slice|socket|target|timer)"' -r \
      ${nixpkgs}/nixos/modules/system/boot/systemd ${nixpkgs}/nixos/modules/system/boot/systemd.nix | tr -d '"' | sort -u |
      while read -r unit; do
        for kind in system user; do
          [ -e "$out/example/systemd/$kind/$unit" ] || ln -s /dev/null "$out/example/systemd/$kind/$unit"
        done
      done
    grep -ohE '"[a-z-]+[.]target[.]wants"' ${nixpkgs}/nixos/modules/system/boot/systemd.nix | tr -d '"' | while read -r wants; do
      mkdir -p "$out/example/systemd/system/$wants"
    done
    ln -s /usr/lib/systemd "$out/lib/systemd"
    ln -s /usr/lib/udev "$out/lib/udev"
    ln -s /usr/lib/x86_64-linux-gnu/security "$out/lib/security"
    ln -s /usr/share/dbus-1 "$out/share/dbus-1"
  '';
  dbus.build = ''
    mkdir -p "$out/share"
    ln -s /usr/share/dbus-1 /usr/share/xml "$out/share/"
    mkdir -p "$out/lib/systemd/system" "$out/lib/systemd/user"
    cp /usr/lib/systemd/system/dbus.* "$out/lib/systemd/system/"
    cp ${./units/user-dbus.socket} "$out/lib/systemd/user/dbus.socket"
  '';
  dbus-broker.build = ''
    mkdir -p "$out/lib/systemd/system" "$out/lib/systemd/user"
    cp ${./units/dbus-broker.service} "$out/lib/systemd/system/dbus-broker.service"
    cp ${./units/user-dbus-broker.service} "$out/lib/systemd/user/dbus-broker.service"
  '';
  linux-pam.build = ''
    mkdir -p "$out/lib"
    ln -s /usr/lib/x86_64-linux-gnu/security "$out/lib/security"
  '';
  tzdata.build = ''
    mkdir -p "$out/share"
    ln -s /usr/share/zoneinfo "$out/share/zoneinfo"
  '';
}
