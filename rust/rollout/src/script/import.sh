# import_durably: imports an export from stdin. nix calls a path valid before its files are on the disk, and after a power
# failure it would be a valid path with empty files. So they are synced before that, by nix if it can (2.25), and in any
# case before this returns.
export PATH=/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:$PATH
import_durably() {
  nix-store --option fsync-store-paths true --import >/dev/null && sync -f /nix/store
}
