# A boot that cannot strand a node. A new system that only a boot can bring is booted once, by a one-time entry of the boot
# loader; any other boot is the old system. This module makes the machine leave a boot by itself that does not come up:
# a panic resets it, a hang of systemd resets it where there is a watchdog, and a system that nobody confirms in time
# reboots.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.machinist.boot.fallback;
  inherit (config.boot) loader;

  trial = pkgs.writeShellScript "boot-trial" ''
    # The record that machinist wrote before this boot, and that the confirmation of the boot replaces.
    record=/var/lib/machinist/activation
    value() { sed -n "s/^$1=//p" "$record" 2>/dev/null | tail -n 1; }
    on_trial() { [ "$(value new)" = "$(readlink -f /run/booted-system)" ]; }
    uptime_seconds() { cut -d. -f1 /proc/uptime; }

    on_trial && [ "$(value state)" = booting ] || exit 0
    deadline=${toString cfg.deadline}
    echo "this boot is a trial: without a confirmation within $deadline s the machine reboots into its old system"
    while [ "$(uptime_seconds)" -lt "$deadline" ]; do
      sleep 2
      on_trial || exit 0
      case $(value state) in confirmed*) exit 0 ;; esac
    done

    why="it was not confirmed within $deadline s of its boot"
    echo "rebooting into the old system: $why"
    # If the disk is full, the reboot is more important than its record.
    if grep -v '^state=' "$record" >"$record.trial" && echo "state=reverted $why" >>"$record.trial" && sync "$record.trial"; then
      mv -f "$record.trial" "$record" && sync "''${record%/*}"
    fi
    systemctl --no-block reboot
    sleep 120
    systemctl --force reboot
    sleep 30
    systemctl --force --force reboot
  '';
in
{
  options.machinist.boot.fallback = {
    enable = lib.mkOption {
      type = lib.types.bool;
      default = !config.boot.isContainer && (loader.systemd-boot.enable || loader.grub.enable);
      defaultText = lib.literalExpression "!boot.isContainer && (systemd-boot or GRUB is enabled)";
      description = ''
        Makes the machine leave a boot that does not come up: a kernel panic or a failure of the initial ramdisk resets
        the machine, systemd's watchdog resets it if systemd hangs, a failing file system does not stop the boot for a
        person at the console, and a new system that `machinist deploy` boots on trial is left for the old one unless
        it is confirmed before the deadline.
      '';
    };

    deadline = lib.mkOption {
      type = lib.types.ints.between 60 86400;
      default = 1800;
      description = ''
        Time from the start of the kernel until a boot on trial must be confirmed, in seconds. It must cover the boot,
        the gates, and the time until the deploy logs in: `--reboot-timeout`, `--activation-timeout` and
        `--confirm-timeout` together are 1020 seconds by default.
      '';
    };

    panicReset = lib.mkOption {
      type = lib.types.ints.between 1 3600;
      default = 30;
      description = "Time from a kernel panic to the reset, in seconds: long enough to read it on a console.";
    };
  };

  config = lib.mkIf cfg.enable {
    boot.kernelParams = [
      "panic=${toString cfg.panicReset}"
      # The initial ramdisk ends in a panic in the place of a shell on the console.
      "boot.panic_on_fail"
    ];
    systemd = {
      enableEmergencyMode = lib.mkDefault false;
      settings.Manager.RuntimeWatchdogSec = lib.mkDefault "30s";

      services.machinist-boot-trial = {
        description = "Reboot into the old system unless this boot is confirmed";
        wantedBy = [ "sysinit.target" ];
        before = [ "shutdown.target" ];
        conflicts = [ "shutdown.target" ];
        unitConfig = {
          # A boot that hangs before basic.target, or that ends in another target, is left, too.
          DefaultDependencies = false;
          IgnoreOnIsolate = true;
        };
        restartIfChanged = false;
        serviceConfig.ExecStart = trial;
      };
    };
    # `machinist plan` reads it.
    environment.etc."machinist/boot-fallback".text = ''
      deadline=${toString cfg.deadline}
      panic=${toString cfg.panicReset}
    '';
  };
}
