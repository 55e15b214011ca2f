# switch_files SYSTEM PREFIX: prints the files that decide whether this host can be switched from or to a system, a line
# each, after the prefix.
switch_files() {
  if [ -r "$1/init-interface-version" ]; then
    value=''
    IFS= read -r value <"$1/init-interface-version" || true
    printf '%sinterface=%s\n' "$2" "$value"
  fi
  if [ -f "$1/switch-inhibitors" ]; then
    # The first line makes an empty file another thing than a missing one.
    printf '%sinhibitors=\n' "$2"
    count=0
    while IFS= read -r value || [ -n "$value" ]; do
      printf '%sinhibitors=%s\n' "$2" "$value"
      count=$((count + 1))
      if [ "$count" -ge 5000 ]; then break; fi
    done <"$1/switch-inhibitors"
  fi
  if [ -e "$1/etc/systemd/system/dbus.service" ]; then
    case $(readlink "$1/etc/systemd/system/dbus.service") in
      dbus-broker.service) printf '%sdbus=broker\n' "$2" ;;
      *) printf '%sdbus=dbus\n' "$2" ;;
    esac
  fi
}
