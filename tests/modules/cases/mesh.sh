# shellcheck shell=bash
# The service mesh: instances as files, the agent and its haproxy as units.

equal "an instance is a file with all that it is" .mesh.instance '{address: "10.13.13.3", app: "web",
  check: {command: [], fall: 2, http: "/ping", intervalMs: 500, rise: 1, timeoutMs: 500}, drainSeconds: 30,
  env: {path: "", prefix: "WEB", protocol: "tcp"}, group: "frontends", name: "web", port: 8080, publish: {port: 80},
  weight: 100}'
equal "a node of a mesh evaluates" .mesh.failed '[]'
check "the agent runs as its own user, with a watchdog" \
  '.mesh.agent | .User == "machinist-agent" and .WatchdogSec == "30s" and .CapabilityBoundingSet == ""' .mesh.agent
check "and gets its key as a credential" '.mesh.agent.LoadCredential | length == 1 and (.[0] | startswith("mesh-agent.key:"))' \
  .mesh.agent.LoadCredential
check "haproxy is reloaded on its masters socket" '.mesh.haproxy | contains("haproxy-master.sock")' .mesh.haproxy
equal "and is never restarted by a deploy" .mesh.reloads true
equal "NixOS writes its configuration only where there is none, as the agent's user" .mesh.first \
  '{ConditionPathExists: "!/var/lib/machinist-mesh/haproxy.cfg", User: "machinist-agent"}'
check "an instances port is open to the nodes" \
  '.mesh.firewall | contains("ip saddr { 10.13.13.0/24 } tcp dport 8080 accept comment \"mesh-web\"")' .mesh.firewall
only "an invalid name is refused" .mesh.wrong 'machinist.mesh.instances."x.y" on melchior is not a valid name'
only "two checks are refused" .mesh.wrong "machinist.mesh.instances.x.y.check on melchior has both a path and a command"
only "a program without its path is refused" .mesh.wrong "does not begin with an absolute path"
only "a mesh without etcd is refused" .mesh.noMembers "machinist.mesh.etcdMembers of melchior is empty"
equal "a file of another program is followed as soon as it is laid out" .mesh.files.follows '{PathExists: "/run/machinist-agent/files/targets.json"}'
equal "and is at the configured path" '.mesh.files | [.path, .failed]' '["/var/lib/machinist-mesh-files/targets.json", []]'
only "an invalid file name is refused" .mesh.files.wrong 'machinist.mesh.files."a b" on melchior'
only "and a check without its path" .mesh.files.wrong 'machinist.mesh.files."x" on melchior'
