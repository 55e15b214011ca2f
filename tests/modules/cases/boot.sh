# shellcheck shell=bash
# A boot that does not come up is left by itself.

equal "a panic resets the machine, and so does an initial ramdisk that cannot go on" .nodes.balthazar.boot.params \
  '["panic=30","boot.panic_on_fail"]'
check "no file system that fails stops the boot for a person at the console" '.nodes.balthazar.boot.emergency | not'
equal "a systemd that hangs resets the machine, where it has a watchdog" .nodes.balthazar.boot.watchdog '"30s"'
check "a boot on trial is watched from its beginning, whatever target it ends in" '.nodes.balthazar.boot.trial
  | .wantedBy == ["sysinit.target"] and (.unitConfig | .DefaultDependencies == false and .IgnoreOnIsolate)
    and (.restartIfChanged | not)' .nodes.balthazar.boot.trial
equal "a plan can read the bounds" .nodes.balthazar.boot.fallback '"deadline=1800\npanic=30\n"'
equal "with GRUB it is the same" .variants.bios.boot.fallback '"deadline=1800\npanic=30\n"'
equal "the bounds are settings" .variants.quickFallback.boot.fallback '"deadline=300\npanic=5\n"'
check "and emergency mode is one" '.variants.quickFallback.boot | .emergency and .params[0] == "panic=5"' \
  .variants.quickFallback.boot
equal "without the fallback there is none of it" '.variants.noFallback.boot | [.params, .emergency, .watchdog, .trial, .fallback]' \
  '[[],true,null,null,null]'
equal "nor in a container, which has no boot loader" '.nodes.melchior.boot | [.isContainer, .params, .trial, .fallback]' \
  '[true,[],null,null]'
