# shellcheck shell=bash
# Applications: units, instances, and the rollout of a changed one.

check "there are applications" '.apps.known | length >= 1'
while read -r name; do
  equal "$name is an application without a mistake" ".apps.each.\"$name\" | .failed + .warnings" '[]'
  check "$name has a README" ".apps.each.\"$name\".readme"
  check "$name has an instance for each slot" \
    ".apps.each.\"$name\" | (.instances | length) == (if .strategy == \"surge\" then 2 else 1 end)" ".apps.each.\"$name\".instances"
done < <(jq -r '.apps.known[]' "$work/out.json")
equal "an application that no machine names is nowhere" .apps.none '{units: [], instances: {}}'
check "a slot gets its address and port" '.apps.web.slot | contains(["Environment=\"PORT=8081\"", "Environment=\"ADDRESS=10.13.13.3\""])' \
  .apps.web.slot
check "and only the rollout starts or restarts it" \
  '.apps.web.slot | contains(["X-RestartIfChanged=false"]) and (any(startswith("WantedBy")) | not)' .apps.web.slot
equal "it leaves the mesh, is told, and is waited for before it is stopped (facts 8.2.21: ExecStopPre is no word of systemd)" \
  '.apps.web.slot | map(select(startswith("ExecStop="))) | map(gsub("/nix/store/[^ ]*/"; "") | gsub("/run/current-system/sw/bin/"; ""))' \
  '["ExecStop=+-machinist-agent drain --no-wait web-b", "ExecStop=+-kill -USR1 $MAINPID", "ExecStop=+-machinist-agent drain web-b"]'
equal "the rollout runs at a boot and at a switch" .apps.web.roll '["multi-user.target"]'
equal "it knows both slots" '.apps.web.definition.slots | map([.instance, .unit, .offer.path])' \
  '[["web-a", "app-web-a.service", "/run/machinist-apps/web-a.json"], ["web-b", "app-web-b.service", "/run/machinist-apps/web-b.json"]]'
equal "both are instances of one application" '.apps.web.definition.slots[1].offer.text | fromjson | [.app, .name, .port, .publish.port]' \
  '["web", "web-b", 8081, 8000]'
equal "which the agent gets from the rollout only" .apps.web.instances '[]'
check "another check is another definition" .apps.web.checks
equal "the canary is not part of the definition, and the rollout has time for it" .apps.canary \
  '{said: {command: [], seconds: 100, weight: 5}, slots: true, without: null, seconds: 192, failed: []}'
only "a strategy of recreate cannot have a canary" .apps.wrong.canaryOfOne "machinist.apps.box.canary needs the old one"
only "a command needs an absolute path" .apps.wrong.canaryAnywhere "machinist.apps.web.canary.command does not begin"
check "both ports are open to the nodes" '.apps.web.firewall | contains("dport 8080 ") and contains("dport 8081 ")' .apps.web.firewall
check "a change of the application changes its definition" .apps.web.changes
check "and nothing else does" .apps.web.stays
check "a native one finds secrets as credentials and others by their variables" \
  '.apps.native | contains(["LoadCredential=password:/run/secrets/box", "EnvironmentFile=/run/machinist-env/web.env"])' .apps.native
equal "a container has its slots port and its secrets as files" \
  '.apps.container | [.failed, .autoStart, .ports, .volumes, .environment, .user, .networks]' \
  '[[], false, ["10.13.13.3:9001:80"], ["/run/credentials/app-box-b.service/password:/run/secrets/password:ro"],
    {ADDRESS: "0.0.0.0", LOG: "info", PORT: "80"}, "1000", []]'
check "and the unit that a native one has" '.apps.container.slot | contains(["X-RestartIfChanged=false", "Restart=always",
  "LoadCredential=password:/run/secrets/box", "TimeoutStopSec=60"])' .apps.container.slot
check "no secret is an argument or a variable" '[.apps.container.slot, .apps.native] | flatten
  | map(select(test("^Exec|^Environment=")) | test("password|/run/secrets")) | any | not' .apps.container.slot
only "an application without a module is refused" .apps.wrong.unknown "apps of melchior in machines.nix names nothing"
check "one that declares its option itself, as all did once, is an application too" \
  '.apps.former | .failed == [] and (.slot | contains(["ExecStart=/bin/box hello", "Environment=\"PORT=9000\""]))' .apps.former
equal "an option that one application adds does not exist on another" .apps.mixed false
only "an application without a mesh is refused" .apps.wrong.noMesh "melchior has applications (web), but is not in a service mesh"
only "one without a program is refused" .apps.wrong.nothing "machinist.apps.box must have exactly one of service, container and unit"
only "and one with two" .apps.wrong.both "machinist.apps.box must have exactly one of service, container and unit"
only "another module's unit has no slots" .apps.wrong.twoOfOne "machinist.apps.box.unit is one unit"
only "two on one port are refused" .apps.wrong.ports "two applications of melchior listen on port 8081"
only "an image without a digest is refused" .apps.wrong.tag "machinist.apps.box.container.image is registry.example/box:latest"
only "a separate network does not reach other applications" .apps.wrong.bridged "machinist.apps.box consumes web, which is at 127.0.0.1"
equal "a secret in the store is refused (facts 8.1.7)" .apps.keyInStore false
check "an application with state is one unit, which a switch restarts" \
  '.apps.redis | contains(["WantedBy=multi-user.target", "StateDirectory=redis"]) and (any(startswith("X-RestartIfChanged")) | not)' .apps.redis
check "its password is a credential" '.apps.redis | contains(["LoadCredential=auth:/run/secrets/redis"])' .apps.redis
check "another module's unit leaves the mesh before it stops" '.apps.postgresql.unit
  | contains(["ExecStop=+-/run/current-system/sw/bin/machinist-agent drain postgresql", "TimeoutStopSec=35", "KillSignal=SIGINT"])' \
  .apps.postgresql.unit
equal "it listens where its instance is" '.apps.postgresql | [.listen_addresses, .port, .instance.address, .instance.port]' \
  '["10.13.13.3", 5432, "10.13.13.3", 5432]'
check "the nodes come in with a password" '.apps.postgresql.authentication | startswith("host all all 10.13.13.0/24 scram-sha-256")' \
  .apps.postgresql.authentication
check "a database is checked with its own client" '.apps.postgresql.instance.check.command[0] | endswith("/bin/pg_isready")'
check "the rollout waits for that unit, also if a switch requests the rollout first" '.apps.postgresql.roll | contains(["postgresql.service"])' .apps.postgresql.roll
equal "and without the application there is no database" .apps.postgresql.own false
equal "the registry listens where its instance is, and requires a password if one is set" '.apps.registry | [.listenAddress, .auth]' \
  '["10.13.13.3", {htpasswd: {path: "/run/credentials/docker-registry.service/htpasswd", realm: "registry"}}]'
check "which is a credential" '.apps.registry.unit | contains(["LoadCredential=htpasswd:/run/secrets/registry"])' .apps.registry.unit
equal "a node takes it without TLS if it fetches from it, and nothing else" .apps.registry.insecure '[["localhost:5000"], []]'
