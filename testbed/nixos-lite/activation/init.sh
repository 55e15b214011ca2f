#!/bin/sh
# Stage 2 of the boot: the machine's first process. It activates the system and executes systemd.
systemConfig='@out@'
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

echo
echo "<<< NixOS Stage 2 (nixos-lite) >>>"
echo

mkdir -p /run
ln -sfn "$systemConfig" /run/booted-system
# A system whose activation failed partially still boots, as in NixOS: an operator must be able to log in and
# inspect it.
"$systemConfig/activate" || echo "activation of $systemConfig failed" >&2

for systemd in /usr/lib/systemd/systemd /lib/systemd/systemd; do
  [ ! -x "$systemd" ] || exec "$systemd" "$@"
done
echo "this machine has no systemd" >&2
exit 1
