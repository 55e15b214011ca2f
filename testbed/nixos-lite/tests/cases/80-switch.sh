# What switch-to-configuration does with each unit, decided on two trees of units and a systemctl that is a
# script: it shows the units in $fake/units and writes down what it is asked to do.
fake=$work/fake
mkdir -p "$fake/bin" "$fake/root/run/nixos"
cat > "$fake/bin/systemctl" <<'SH'
#!/bin/sh
case $1 in
  show) cat "$FAKE/units"; [ ! -e "$FAKE/units.after" ] || mv "$FAKE/units.after" "$FAKE/units" ;;
  is-active) exit 0 ;;
  status) exit 3 ;;
  *) echo "$@" >> "$FAKE/calls"; [ "$1" != "${FAKE_FAILS-}" ] ;;
esac
SH
chmod +x "$fake/bin/systemctl"
export FAKE=$fake
new=$fake/new
old=$fake/old
ln -sfn "$old" "$fake/root/run/current-system"

units() { # UNIT[:STATE[:FRAGMENT]]...
  local entry unit state fragment
  for entry in "$@"; do
    IFS=: read -r unit state fragment <<< "$entry"
    printf 'Id=%s\nActiveState=%s\nSubState=x\nFragmentPath=%s\nFollowing=\nExecMainStatus=%s\n\n' \
      "$unit" "${state:-active}" "${fragment:-/etc/systemd/system/$unit}" "$([ "$state" = activating ] && echo 1 || echo 0)"
  done > "$fake/units"
}
fresh() {
  rm -rf "$old" "$new" "$fake/calls" "$fake/units.after" "$fake/root/run/nixos"
  mkdir -p "$old/etc/systemd/system" "$new/etc/systemd/system" "$new/bin" "$fake/root/run/nixos"
  sed "s|@out@|$new|g" "$top/activation/switch-to-configuration.pl" > "$new/bin/switch-to-configuration"
  printf '#!/bin/sh\necho activate >> "$FAKE/calls"\n' > "$new/activate"
  chmod +x "$new/activate"
  printf 'systemd 2' | tee "$old/init-interface-version" > "$new/init-interface-version"
}
put() { mkdir -p "$(dirname "$1")"; printf '%b' "$2" > "$1"; }
switch_() { PATH="$fake/bin:$PATH" NIXOS_LITE_ROOT=$fake/root perl "$new/bin/switch-to-configuration" "$@" 2>&1; }
# Every plan ends with the activation: one without it, or with another status, is no plan.
plan() {
  local output
  output=$(switch_ dry-activate) || echo "status $?"
  grep -q 'activate the configuration' <<< "$output" || echo "no plan"
  grep -v 'activate the configuration' <<< "$output"
}

# NAME OLD-TEXT NEW-TEXT EXPECTED [UNIT]: the plan when one unit's text changes; `-` is no such unit.
decides() {
  local unit=${5-a.service}
  fresh
  units "$unit"
  [ "$2" = - ] || put "$old/etc/systemd/system/$unit" "$2"
  [ "$3" = - ] || put "$new/etc/systemd/system/$unit" "$3"
  same "switch: $1" "$4" "$(plan)"
}
both="would stop the following units: a.service
would start the following units: a.service"
service='[Unit]\nDescription=a\n[Service]\nExecStart=/x\n'
decides "an equal unit is left alone" "$service" "$service" ""
decides "another order of keys is no change" '[Service]\nA=1\nB=2\n' '[Service]\nB=2\nA=1\n' ""
decides "a changed service stops and starts" "$service" "${service}Environment=A=1\n" "$both"
decides "a description is no change" "$service" '[Unit]\nDescription=b\n[Service]\nExecStart=/x\n' ""
decides "the [Install] section is no change" "$service" "${service}[Install]\nWantedBy=multi-user.target\n" ""
decides "X-StopIfChanged=false restarts" "$service" "${service}X-StopIfChanged=false\n" "would restart the following units: a.service"
decides "X-RestartIfChanged=false leaves it running" "$service" "${service}X-RestartIfChanged=false\n" "would NOT stop the following changed units: a.service"
decides "RefuseManualStop leaves it running" "$service" '[Unit]\nRefuseManualStop=true\n[Service]\nExecStart=/y\n' "would NOT stop the following changed units: a.service"
decides "X-ReloadIfChanged=true reloads" "$service" "${service}X-ReloadIfChanged=true\nA=1\n" "would reload the following units: a.service"
decides "a reload trigger reloads" '[Unit]\nX-Reload-Triggers=1\n[Service]\nExecStart=/x\n' '[Unit]\nX-Reload-Triggers=2\n[Service]\nExecStart=/x\n' "would reload the following units: a.service"
decides "a restart trigger restarts" '[Unit]\nX-Restart-Triggers=1\n[Service]\nExecStart=/x\n' '[Unit]\nX-Restart-Triggers=2\n[Service]\nExecStart=/x\n' "$both"
decides "both triggers restart" '[Unit]\nX-Reload-Triggers=1\n[Service]\nExecStart=/x\n' '[Unit]\nX-Reload-Triggers=2\n[Service]\nExecStart=/y\n' "$both"
decides "another ExecReload reloads" "${service}ExecReload=/r\n" "${service}ExecReload=/s\n" "would reload the following units: a.service"
decides "no ExecReload any more is no change" "${service}ExecReload=/r\n" "$service" ""
decides "a repeated key counts each time" "${service}A=1\nA=2\n" "${service}A=1\n" "$both"
decides "an empty value clears the list" "${service}A=1\nA=\nA=2\n" "${service}A=2\n" ""
decides "a removed unit stops" "$service" - "would stop the following units: a.service"
decides "X-StopOnRemoval=false keeps a removed unit" '[Unit]\nX-StopOnRemoval=false\n[Service]\nExecStart=/x\n' - ""
decides "a changed timer restarts" '[Timer]\nOnCalendar=daily\n' '[Timer]\nOnCalendar=hourly\n' "would restart the following units: a.timer" a.timer
decides "a changed slice is left to the reload of systemd" '[Slice]\nA=1\n' '[Slice]\nA=2\n' "" a.slice
decides "a changed socket waits for its service" '[Socket]\nA=1\n' '[Socket]\nA=2\n' "" a.socket
decides "other options of a mount reload it" '[Mount]\nWhat=x\nOptions=ro\n' '[Mount]\nWhat=x\nOptions=rw\n' "would reload the following units: a.mount" a.mount
decides "another device of a mount restarts it" '[Mount]\nWhat=x\n' '[Mount]\nWhat=y\n' "would restart the following units: a.mount" a.mount

fresh; units a@1.service
put "$old/etc/systemd/system/a@.service" "$service"; put "$new/etc/systemd/system/a@.service" "${service}A=1\n"
same "switch: an instance restarts with its template" "would stop the following units: a@1.service
would start the following units: a@1.service" "$(plan)"

fresh; units a.service a.socket
put "$old/etc/systemd/system/a.service" "$service"; put "$new/etc/systemd/system/a.service" "${service}A=1\n"
put "$old/etc/systemd/system/a.socket" '[Socket]\n'; put "$new/etc/systemd/system/a.socket" '[Socket]\n'
same "switch: a socket starts its changed service" "would stop the following units: a.service, a.socket
would start the following units: a.socket" "$(plan)"

fresh; units a.service:inactive b.service:failed
for u in a b; do put "$old/etc/systemd/system/$u.service" "$service"; put "$new/etc/systemd/system/$u.service" "${service}A=1\n"; done
same "switch: what does not run is not started" "" "$(plan)"

fresh; units a.service:active:/usr/lib/systemd/system/a.service
put "$fake/root/usr/lib/systemd/system/a.service" "$service"
put "$old/etc/systemd/system/a.service.d/overrides.conf" '[Service]\nA=1\n'; put "$new/etc/systemd/system/a.service.d/overrides.conf" '[Service]\nA=2\n'
same "switch: what extends a unit of the machine counts" "$both" "$(plan)"

fresh; units sshd.service other.service
put "$fake/root/etc/systemd/system/sshd.service" '[Service]\nExecStart=/first\n'
put "$new/etc/systemd/system/sshd.service" "${service}X-StopIfChanged=false\n"
same "switch: the first switch takes over a unit of the machine, and no other" "would restart the following units: sshd.service" "$(plan)"

fresh; units multi-user.target:active:/usr/lib/systemd/system/multi-user.target
put "$fake/root/usr/lib/systemd/system/multi-user.target" '[Unit]\n'
mkdir -p "$new/etc/systemd/system/multi-user.target.wants"
put "$new/etc/systemd/system/fresh.service" "$service"
units multi-user.target:active:/usr/lib/systemd/system/multi-user.target
cp "$fake/units" "$fake/before"; units multi-user.target:active:/usr/lib/systemd/system/multi-user.target fresh.service; mv "$fake/units" "$fake/units.after"; mv "$fake/before" "$fake/units"
out=$(switch_ test; echo "status $?")
holds "switch: a new wanted unit starts with its target" "$out" "the following new units were started: fresh.service" "status 0"
same "switch: the work is in NixOS's order" "activate
reset-failed
daemon-reload
restart sysinit-reactivation.target
start -- multi-user.target" "$(cat "$fake/calls")"

fresh; units a.service r.service w.service x.service
put "$old/etc/systemd/system/a.service" "$service"; put "$new/etc/systemd/system/a.service" "${service}A=1\n"
put "$old/etc/systemd/system/r.service" "$service"; put "$new/etc/systemd/system/r.service" "${service}X-StopIfChanged=false\n"
put "$old/etc/systemd/system/w.service" "$service"; put "$new/etc/systemd/system/w.service" "${service}X-ReloadIfChanged=true\n"
put "$old/etc/systemd/system/x.service" "$service"
cp "$fake/units" "$fake/before"; units a.service:failed r.service w.service; mv "$fake/units" "$fake/units.after"; mv "$fake/before" "$fake/units"
out=$(switch_ switch; echo "status $?")
same "switch: stops, activates, reloads, restarts, starts" "stop -- a.service x.service
activate
reset-failed
daemon-reload
restart sysinit-reactivation.target
reload -- w.service
restart -- r.service
start -- a.service" "$(cat "$fake/calls")"
holds "switch: says what it does, and that a unit failed" "$out" "stopping the following units: a.service, x.service" \
  "reloading the following units: w.service" "restarting the following units: r.service" "starting the following units: a.service" \
  "warning: the following units failed: a.service" "status 4"

fresh; units a.service; put "$old/etc/systemd/system/a.service" "$service"; put "$new/etc/systemd/system/a.service" "$service"
same "switch: a job that fails gives status 4" "4" "$(FAKE_FAILS=start; export FAKE_FAILS; echo a.service > "$fake/root/run/nixos/start-list"; switch_ test > /dev/null; echo $?)"
fresh; units a.service; put "$old/etc/systemd/system/a.service" "$service"; put "$new/etc/systemd/system/a.service" "$service"
echo a.service > "$fake/root/run/nixos/restart-list"
holds "switch: what an interrupted run left is done" "$(switch_ test)" "restarting the following units: a.service"
same "switch: and then forgotten" "none" "$(ls "$fake/root/run/nixos/restart-list" 2> /dev/null || echo none)"
fresh; units a.service; printf '#!/bin/sh\nexit 1\n' > "$new/activate"
holds "switch: a failed activation gives status 2" "$(switch_ test; echo "status $?")" "Failed to run activate script" "status 2"
fresh; units a.service; put "$old/etc/systemd/system/a.service" "$service"
same "switch: boot does nothing to what runs" "0 none" "$(switch_ boot > /dev/null; echo "$? $(cat "$fake/calls" 2> /dev/null || echo none)")"

# What NixOS refuses before it changes anything: its pre-switch checks (status 1), and another init interface (100).
status() { # ACTION: the status and what was called
  local output status
  output=$(switch_ "$1")
  status=$?
  echo "$status $(cat "$fake/calls" 2> /dev/null || echo none)"
  grep -oE '^(Pre-switch checks failed|Warning: .*init.*)' <<< "$output" || true
}
fresh
units a.service
put "$fake/check" '#!/bin/sh\necho "$@" >> "$FAKE/checked"\n[ "$2" != test ]\n'
chmod +x "$fake/check"
rm -f "$fake/checked"
export PRE_SWITCH_CHECK=$fake/check
same "switch: a check that fails keeps everything as it is" "1 none
Pre-switch checks failed" "$(status test)"
same "switch: the check action runs the checks alone" "0 none" "$(status check)"
same "switch: NIXOS_NO_CHECK runs none" "0 activate" "$(NIXOS_NO_CHECK=1 status test | head -n 1)"
same "switch: a check gets the new system and the action" "$new test
$new check" "$(cat "$fake/checked")"
unset PRE_SWITCH_CHECK
fresh
units a.service
printf 'systemd 3' > "$new/init-interface-version"
same "switch: another init interface only boots" "100 none" "$(status test | head -n 1)"
same "switch: not even in a dry run" "100 none" "$(status dry-activate | head -n 1)"
same "switch: but it may be what boots" "0 none" "$(status boot)"
rm "$old/init-interface-version"
printf 'systemd 2' > "$new/init-interface-version"
same "switch: an old system without the file is another one" "100 none" "$(status test | head -n 1)"

inhibitors() { # OLD NEW: what the check says of two files, and its status
  printf '%s' "$1" > "$fake/one"
  printf '%s' "$2" > "$fake/two"
  perl "$top/activation/switch-inhibitors.pl" "$fake/one" "$fake/two" 2> /dev/null
  echo "status $?"
}
same "inhibitors: a changed value is named" "a : 1 -> 2
status 0" "$(inhibitors '{"a":"1","b":"x"}' '{ "a": "2", "c": "y" }')"
same "inhibitors: equal or new ones are not" "status 0" "$(inhibitors '{}' '{"a":"1"}')"
same "inhibitors: a damaged file is" "status 5" "$(inhibitors '{"a":' '{}')"
same "inhibitors: a missing file has none" "status 0" "$(perl "$top/activation/switch-inhibitors.pl" /nowhere "$fake/two"; echo "status $?")"
