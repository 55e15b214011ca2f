# Prints what this node has that a test requests, a `key=value` a line, JSON without line breaks. Changes nothing.
export PATH=/run/current-system/sw/bin:$PATH
for device in flannel-wg flannel.1; do
  ip -o address show dev "$device" scope global 2>/dev/null | while read -r _ _ _ address _; do
    echo "flannel=${address%/*}"
  done
done
for file in /etc/machinist/mesh/instances/*.json /run/machinist-apps/*.json; do
  [ -e "$file" ] || continue
  name=${file##*/}
  name=${name%.json}
  # The offer of an application that this system has no more is not one.
  case $file in /run/*) grep -qs "\"instance\":\"$name\"" /etc/machinist/apps/*.json || continue ;; esac
  echo "instance=$(tr -d '\n' <"$file")"
done
if [ -r /etc/machinist/ingress/hosts.json ]; then echo "ingress=$(tr -d '\n' </etc/machinist/ingress/hosts.json)"; fi
config=$(systemctl cat machinist-agent.service 2>/dev/null | sed -n 's/^ExecStart=.* --config \([^ ]*\).*/\1/p' | tail -n 1)
if [ -n "$config" ]; then
  echo "agent=$(tr -d '\n' <"$config")"
  listen=$(tr -d ' \n' <"$config" | sed -n 's/.*"listen":"\([^"]*\)".*/\1/p')
  for path in healthz status routing; do
    echo "$path=$(curl --silent --noproxy '*' --max-time 5 "http://$listen/$path" | tr -d '\n')"
  done
fi
echo end=yes
