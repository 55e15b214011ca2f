# Prints the boot loader, and if it cannot boot an entry once, why. Changes nothing.
find_loader
if [ -z "$once" ] && ! boots_by_default "$(readlink -f /nix/var/nix/profiles/system)"; then
  once="its default is not the system of the profile; is it Secure Boot, or an entry that was chosen by hand?"
fi
echo "loader=$loader"
if [ -n "$once" ]; then echo "once=$once"; fi
