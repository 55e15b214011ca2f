# Prints the files that a system on this host would boot. Set before these lines: system.
for link in kernel initrd kernel-modules; do
  if [ -e "$system/$link" ]; then echo "$link=$(readlink -f "$system/$link")"; fi
done
for text in kernel-params init-interface-version; do
  if [ -r "$system/$text" ]; then echo "$text=$(cat "$system/$text")"; fi
done
