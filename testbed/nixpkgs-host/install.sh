#!/bin/sh
# Makes the machine one of NixOS, as an installation does: what is on standard input is extracted, of /etc remains what
# makes this the machine that it is and what Debian's programs need, and it boots the system of its profile.
set -e
tar --extract --directory / --skip-old-files
ldconfig
mkdir /root/etc
cd /etc
ls -A | grep -vxE 'machine-id|alternatives|ld\.so\..*|ssh' | xargs mv -t /root/etc
find ssh -type f ! -name 'ssh_host_*' -delete
touch NIXOS
# After this session: sshd finds no accounts any more.
nohup sh -c 'sleep 0.5; systemctl reboot --force' >/dev/null 2>&1 &
