# shellcheck shell=bash
# Root and the directories of other users: tests/modules/ownership.nix walks the units of every system here.

check "there are units of every kind to look at" '.ownership.found | length > 15'
equal "a service user becomes root by no file that root reads, executes or copies" \
  '[.ownership.found | to_entries[] | .key as $node | .value[] | "\($node): \(.)"]' '[]'
equal "which each kind of it would be found by" '.ownership.wrong.wrong | sort' '[
  "ExecStartPre of app.service as root has +-/bin/tool /run/app/socket, where app can write (/run/app)",
  "script of bring.service as root has cd /var/lib/theirs, where them can write (/var/lib/theirs)",
  "script of bring.service as root has install /run/shared/file /etc/file, where group mesh can write (/run/shared)",
  "systemd reads for app.service /run/shared/env/db.env, where group mesh can write (/run/shared)",
  "systemd reads for app.service /var/lib/theirs/x, where them can write (/var/lib/theirs)",
  "systemd-tmpfiles makes /var/lib/theirs/first.cfg, where them can write (/var/lib/theirs)"]'
only "a unit that still reads variables where the service user writes is refused" .ownership.former \
  "EnvironmentFile of own on melchior is in /run/machinist-mesh/env/"
