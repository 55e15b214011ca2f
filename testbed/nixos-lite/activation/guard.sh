# nixos-lite is only for disposable machines: it would overwrite the accounts and /etc of a real one.
if [ -z "${container:-}" ] && [ ! -e /run/systemd/container ] && [ ! -e /etc/nixos-lite ]; then
  echo "This is not a NixOS installation of nixos-lite: systems of this test double are activated in a container only (or where /etc/nixos-lite exists)." >&2
  exit 1
fi
