# The script that follows runs only under the lock of the run that sent it.
if ! holds; then
  echo "$gone" >&2
  exit 75
fi
