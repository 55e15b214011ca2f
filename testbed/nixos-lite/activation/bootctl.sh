#!/bin/sh
# bootctl as far as machinist uses it, for a container that stands for a machine with systemd-boot. The EFI variable of the
# entry to boot once is the file /boot/loader/oneshot.
boot=/boot/loader
case $1 in
  --print-esp-path | --print-boot-path | -p | -x) echo /boot ;;
  status)
    printf 'System:\n      Firmware: nixos-lite\n\n'
    if [ -e "$boot/loader.conf" ]; then
      printf 'Current Boot Loader:\n      Product: systemd-boot 257\n     Features: One-shot entry control\n\n'
    fi
    ;;
  set-oneshot)
    if ! [ -e "$boot/loader.conf" ]; then
      echo "Not booted with a supported boot loader." >&2
      exit 1
    fi
    if [ -z "$2" ]; then
      rm -f "$boot/oneshot"
    else
      printf '%s\n' "$2" >"$boot/oneshot.tmp" && sync "$boot/oneshot.tmp" && mv -f "$boot/oneshot.tmp" "$boot/oneshot"
    fi
    ;;
  *)
    echo "bootctl of nixos-lite: unknown verb $1" >&2
    exit 1
    ;;
esac
