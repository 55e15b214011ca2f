# Prints the files that a system on this host would boot, and those that decide whether the host can be switched to it.
# Set before these lines: system.
for link in kernel initrd kernel-modules; do
  if [ -e "$system/$link" ]; then echo "$link=$(readlink -f "$system/$link")"; fi
done
if [ -r "$system/kernel-params" ]; then echo "kernel-params=$(cat "$system/kernel-params")"; fi
switch_files "$system" ''
