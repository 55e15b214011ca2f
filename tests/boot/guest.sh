# shellcheck shell=bash
# The guest of tests/boot/run: its disk, its power, and what it says. Sourced; the script has called trial_begin and set `guest`.

ssh_port=2222
guest_process=
override_inputs=()
for one in $MACHINIST_OVERRIDE_INPUTS; do override_inputs+=(--override-input "${one%%=*}" "${one#*=}"); done
trial_finish() {
  guest_cut
}

# system SETTINGS: what differs between the systems of the guest, as attributes of Nix.
system() {
  printf '{ lib }: { loader = "%s"; %s }\n' "$loader" "$1" >"$cluster/nodes/boot/system.nix"
  git -C "$cluster" add --all
}
# Prints the store path of the system that the directory describes.
built() {
  nix build --no-link --json --no-write-lock-file "${override_inputs[@]}" \
    "git+file://$cluster#nixosConfigurations.vm.config.system.build.toplevel" 2>>"$log" | jq -r '.[0].outputs.out'
}

# guest_make LOADER: the cluster's directory, and a disk with its first system, whose menu that system has written.
guest_make() {
  local first root=$guest/root archive=$here/programs.tar base
  rm -rf "$cluster" "$root" "$guest"/disk* "$guest/vars"
  must "init" 0 '' machinist -C "$cluster" init --from "$project/tests/boot/machines.nix" --ssh-public-key "$MACHINIST_SSH_KEY.pub"
  mkdir -p "$cluster/nodes/boot"
  cp "$project/tests/boot/guest.nix" "$cluster/nodes/vm.nix"
  cp "$guest/kernel/vmlinuz" "$guest"/kernel/initrd.* "$project/tests/boot/install-boot-loader.pl" "$cluster/nodes/boot/"
  system ''
  must "certificates" 0 '' m certs gen
  must "facts" 0 '' m generate
  git -C "$cluster" add --all
  first=$(built)
  base=$(machinist_root)
  check "the sandbox's Debian root" test -d "${base:-/nowhere}"
  mkdir -p "$root"
  cp --archive "$base/." "$root/"
  [ -s "$archive" ] || "$project/testbed/programs" "$base" systemd-boot-tools systemd-boot-efi grub-common kmod e2fsprogs >"$archive" 2>>"$log"
  tar --extract --file "$archive" --directory "$root" --skip-old-files
  ldconfig -r "$root"
  mkdir -p "$root/boot" "$root/nix/var/nix/profiles"
  touch "$root/etc/nixos-lite"
  must "the first system" 0 '' nix copy --no-check-sigs --to "$root" "$first"
  ln -s "$first" "$root/nix/var/nix/profiles/system-1-link"
  ln -s system-1-link "$root/nix/var/nix/profiles/system"
  must "its menu" 0 '' chroot "$root" "$first/libexec/install-boot-loader" "$first"
  must "a disk" 0 '' "$project/tests/boot/image" disk "$loader" "$root" "$guest/disk"
  [ "$loader" = grub ] || cp /usr/share/OVMF/OVMF_VARS_4M.fd "$guest/vars"
  rm -rf "$root"
}
# Prints the Debian root of the sandbox. A machine that goes again at once makes it, if it is missing.
machinist_root() {
  local machines=$here/root-of-sandbox
  sed "s/name = \"fleet\"/name = \"$trial\"/; s/10\.13\.27\./$net./; /node2/d; s/10\.13\.27\.2/$net.2/" \
    "$project/tests/cluster/fleet-cluster/machines.nix" >"$here/fleet.nix"
  {
    [ -e "$machines" ] || machinist -C "$machines" init --from "$here/fleet.nix" --ssh-public-key "$MACHINIST_SSH_KEY.pub"
    machinist -C "$machines" sandbox up
  } >>"$log" 2>&1
  # shellcheck source=/dev/null
  (. "/var/lib/machinist/sandbox/$trial/machines/node1/settings" && echo "$root")
  machinist -C "$machines" sandbox down >>"$log" 2>&1
}

guest_start() {
  local firmware=()
  if [ "$loader" != grub ]; then
    firmware=(-drive "if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd"
      -drive "if=pflash,format=raw,unit=1,file=$guest/vars")
  fi
  # Only this computer's loopback leads to the guest, and nothing leads out of it.
  qemu-system-x86_64 -accel tcg,thread=multi,tb-size=256 -cpu max -M q35 -m 768 -smp 1 -nodefaults -display none \
    -chardev "file,id=console,path=$guest/console,append=on" -serial chardev:console "${firmware[@]}" \
    -drive "file=$guest/disk,format=raw,if=none,id=disk,cache=unsafe" -device virtio-blk-pci,drive=disk,bootindex=0 \
    -netdev "user,id=net,net=10.0.2.0/24,restrict=on,hostfwd=tcp:127.0.0.1:$ssh_port-:$ssh_port" \
    -device virtio-net-pci,netdev=net,romfile= >"$guest/qemu" 2>&1 </dev/null &
  guest_process=$!
}
# A power failure.
guest_cut() {
  [ -n "$guest_process" ] || return 0
  kill -KILL "$guest_process" 2>/dev/null
  wait "$guest_process" 2>/dev/null
  guest_process=
}

# on_guest COMMAND...: runs it on the guest. Any host key: the test reads it there first.
on_guest() {
  timeout 60 ssh -q -p "$ssh_port" -i "$MACHINIST_SSH_KEY" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
    -o ConnectTimeout=5 -o BatchMode=yes root@127.0.0.1 "$*" </dev/null
}
guest_answers() {
  local deadline=$((SECONDS + 400))
  until on_guest true; do
    if [ "$SECONDS" -ge "$deadline" ]; then
      tail -n 20 "$guest/console"
      return 1
    fi
    sleep 1
  done
}
key_of_guest() {
  on_guest 'ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub' | awk '{ print $2 }'
}
booted_system() {
  on_guest 'readlink -f /run/booted-system'
}
# The system that the menu's default boots, read with the loader's own programs and files.
default() {
  if [ "$loader" = grub ]; then
    on_guest "grep -om1 'init=[^ ]*' /boot/grub/grub.cfg | sed 's,init=,,; s,/init,,'"
  else
    # shellcheck disable=SC2016 # The guest's shell expands it.
    on_guest 'entry=$(sed -n "s/^default //p" /boot/loader/loader.conf); grep -o "init=[^ ]*" "/boot/loader/entries/$entry" | sed "s,init=,,; s,/init,,"'
  fi
}
# The entry that is booted once, or `the default`.
boots_next() {
  local entry
  if [ "$loader" = grub ]; then
    entry='grub-editenv /boot/grub/grubenv list 2>/dev/null | sed -n "s/^next_entry=//p"'
  else
    entry='cat /sys/firmware/efi/efivars/LoaderEntryOneShot-* 2>/dev/null | tr -d "\000-\037"'
  fi
  on_guest "entry=\$($entry); echo \${entry:-the default}"
}
# choose ENTRY: chooses an entry for one boot by the loader's own program; none without a name.
choose() {
  if [ "$loader" = grub ]; then
    if [ -n "$1" ]; then set -- "set next_entry=$1"; else set -- "unset next_entry"; fi
    on_guest "grub-editenv /boot/grub/grubenv $1"
  else
    on_guest "bootctl set-oneshot '$1'"
  fi
}
# cut_at WORDS: cuts the guest's power when a deploy says these words, and starts it again.
cut_at() {
  local deadline=$((SECONDS + 400)) deploy
  # No function in between: the signal must reach the program itself.
  machinist -C "$cluster" deploy vm --reboot auto "${bounds[@]}" >"$here/cut" 2>&1 </dev/null &
  deploy=$!
  until grep -q -- "$1" "$here/cut"; do
    if ! kill -0 "$deploy" 2>/dev/null || [ "$SECONDS" -ge "$deadline" ]; then break; fi
    sleep 0.05
  done
  guest_cut
  kill -KILL "$deploy" 2>/dev/null
  wait "$deploy" 2>/dev/null
  if grep -q -- "$1" "$here/cut"; then pass "the power fails at \"$1\""; else fail "the power fails at \"$1\"" "$(tail -n 20 "$here/cut")"; fi
  guest_start
}
one_of() {
  case $1 in "$old" | "$new") echo yes ;; *) echo "no: $1" ;; esac
}
