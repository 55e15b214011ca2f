# Prints the public parts of the running system's certificates, each after a line with its name. Changes nothing.
for file in /etc/machinist/pki/*.pem /etc/machinist/pki/*.pub; do
  if [ -r "$file" ]; then
    echo "file=${file##*/}"
    cat "$file"
    echo
  fi
done
true
