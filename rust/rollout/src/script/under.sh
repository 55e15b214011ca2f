# What follows is done only under the lock of the run that sends it.
if ! holds; then
  echo "$gone" >&2
  exit 75
fi
