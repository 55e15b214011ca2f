# Sends the requests on standard input, at once, and prints `NUMBER ok` or `NUMBER REASON` for each. A line is
# `NUMBER http URL`, which must answer with a status from 200 to 399, or `NUMBER tcp HOST PORT`, which must accept a connection
# and keep it.
export PATH=/run/current-system/sw/bin:$PATH
http() {
  answer=$(curl --silent --show-error --globoff --noproxy '*' --max-time 10 --output /dev/null --write-out '%{http_code}' "$2" 2>&1 </dev/null)
  case $answer in
    2?? | 3??) echo "$1 ok" ;;
    [0-9][0-9][0-9]) echo "$1 status $answer" ;;
    *) echo "$1 $(printf '%s' "${answer%000}" | tr '\n' ' ')" ;;
  esac
}
tcp() {
  # The end of the connection is a status of 1; a server that waits for its client, or speaks first, has another.
  if timeout 5 bash -c 'exec 3<>"/dev/tcp/$1/$2" || exit 1; read -r -t 1 -n 1 <&3; [ $? -ne 1 ]' bash "$2" "$3" 2>/dev/null </dev/null; then
    echo "$1 ok"
  else
    echo "$1 no connection is accepted, or it is closed at once"
  fi
}
begun=0
while read -r number kind first second; do
  case $kind in
    http) http "$number" "$first" & ;;
    tcp) tcp "$number" "$first" "$second" & ;;
  esac
  begun=$((begun + 1))
  if [ $((begun % 32)) = 0 ]; then wait; fi
done
wait
