#!/usr/bin/env bash
# Makes the certificates of a test cluster, and all of its private keys IN PLAIN TEXT, for machines that exist as long as
# one test. usage: throwaway-cluster.sh MACHINES OUT
# MACHINES is a machines.nix that imports ./operators.nix. OUT gets
#   identity.txt  the age identity of the cluster's only operator
#   cluster/      a directory with certs/, as `machinist certs gen` makes it for that operator
#   keys/         what a deploy delivers to the nodes: certs/nodes/w1/LEAF.key.age is keys/nodes/w1/LEAF.key
set -euo pipefail
machines=$1 out=$2
export HOME=$out/home MACHINIST_IDENTITY=$out/identity.txt
mkdir -p "$out/cluster" "$out/keys" "$HOME"
age-keygen --output "$MACHINIST_IDENTITY" 2>/dev/null
cp "$machines" "$out/cluster/machines.nix"
printf '[ { name = "throwaway"; age = "%s"; } ]\n' "$(age-keygen -y "$MACHINIST_IDENTITY")" >"$out/cluster/operators.nix"
# The machines.nix of a test is plain data, whose evaluation needs no store.
NIX_REMOTE=dummy:// machinist -C "$out/cluster" certs gen >"$out/log" 2>&1 || { cat "$out/log" >&2; exit 1; }

secret() { # < PEM: the 32 octets that a deploy derives from it
  openssl dgst -sha256 -binary
}
# delivered NAME < PEM: as rust/pki/src/inventory.rs gives it to a node.
delivered() {
  case $1 in
    secrets-encryption)
      printf '{"apiVersion":"apiserver.config.k8s.io/v1","kind":"EncryptionConfiguration","resources":[{"resources":["secrets"],'
      printf '"providers":[{"secretbox":{"keys":[{"name":"throwaway","secret":"%s"}]}}]}]}' "$(secret | base64)"
      ;;
    k3s-*-token) printf %s "$(secret | od -An -v -tx1 | tr -d ' \n')" ;;
    *) cat ;;
  esac
}
cd "$out/cluster/certs"
find . -name '*.key.age' -printf '%P\n' | while read -r key; do
  mkdir -p "$out/keys/$(dirname "$key")"
  age --decrypt --identity "$MACHINIST_IDENTITY" "$key" | delivered "$(basename "$key" .key.age)" >"$out/keys/${key%.age}"
done
rm -r "$HOME" "$out/log"
