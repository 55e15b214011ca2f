# Lists the system generations of this host: `current=N`, then `generation=N PATH` for each, and `founds=N` for those
# that make etcd form a new cluster. Changes nothing.
export PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:$PATH
number() {
  link=${1##*/}
  link=${link#system-}
  echo "${link%-link}"
}
echo "current=$(number "$(readlink /nix/var/nix/profiles/system)")"
for link in /nix/var/nix/profiles/system-*-link; do
  [ -e "$link" ] || continue
  echo "generation=$(number "$link") $(readlink -f "$link")"
  if grep -qs '^ETCD_INITIAL_CLUSTER_STATE="\{0,1\}new' "$link/etc/machinist/etcd.env"; then
    echo "founds=$(number "$link")"
  fi
done
