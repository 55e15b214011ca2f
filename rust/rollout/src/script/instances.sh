# Takes this node's instances out of the mesh, or puts them back, all at the same time. Set before these lines: action
# (drain or undrain). Prints the names of those for which it succeeded. Status 3: it failed for some.
export PATH=/run/current-system/sw/bin:$PATH
told=$(mktemp -d) || exit 1
trap 'rm -rf "$told"' EXIT
names=''
# Instances of modules, and of started applications that this system still has.
for file in /etc/machinist/mesh/instances/*.json /run/machinist-apps/*.json; do
  name=$(basename "$file" .json)
  case $file in
    /run/*) grep -qs "\"instance\":\"$name\"" /etc/machinist/apps/*.json || continue ;;
  esac
  if [ -e "$file" ]; then
    names="$names $name"
    (
      if machinist-agent "$action" "$name" >"$told/$name.why" 2>&1; then
        : >"$told/$name.done"
      fi
    ) &
  fi
done
wait
cd "$told" || exit 1
status=0
for name in $names; do
  if [ -e "$name.done" ]; then
    echo "$name"
  else
    # Without disk space for its output the request was not sent.
    echo "$name: $(tail -n 1 "$name.why" 2>/dev/null || echo "no room in $told")" >&2
    status=3
  fi
done
exit $status
