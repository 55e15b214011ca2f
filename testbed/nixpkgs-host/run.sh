#!/usr/bin/dash
# Runs the machine's own program of the name this was called by. The usual directories come first, so that it never
# finds itself, then the caller's PATH outside the store.
name=${0##*/}
name=${name%-wrapped}
name=${name#.}
dirs=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/openssh:/usr/lib/frr:/opt/cni/plugins:/usr/lib/cni:/usr/lib/postgresql/17/bin:$PATH
IFS=:
for dir in $dirs; do
  case $dir in /nix/store/* | /run/current-system/* | "") continue ;; esac
  if [ -x "$dir/$name" ]; then exec "$dir/$name" "$@"; fi
done
echo "this machine has no program '$name': packages of this nixpkgs only run what is installed" >&2
exit 127
