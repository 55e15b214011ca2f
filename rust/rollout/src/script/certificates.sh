# Prints the public parts of the certificates that the running system has, each after a line with its name. Changes nothing.
for file in /etc/machinist/pki/*.pem /etc/machinist/pki/*.pub; do
  if [ -r "$file" ]; then
    echo "file=${file##*/}"
    cat "$file"
    echo
  fi
done
true
