# Takes this node's instances out of the mesh, or puts them in again, all at the same time. Set before these lines: action (drain
# or undrain). Prints the names of those for which it was done. Status 3: some could not.
export PATH=/run/current-system/sw/bin:$PATH
told=$(mktemp -d) || exit 1
trap 'rm -rf "$told"' EXIT
# Those that the system declares, and of applications with two slots the one that runs.
for file in /etc/machinist/mesh/instances/*.json /run/machinist-apps/*.json; do
  if [ -e "$file" ]; then
    name=${file##*/}
    name=${name%.json}
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
for why in *.why; do
  if [ -e "$why" ]; then
    name=${why%.why}
    if [ -e "$name.done" ]; then
      echo "$name"
    else
      echo "$name: $(tail -n 1 "$why")" >&2
      status=3
    fi
  fi
done
exit $status
