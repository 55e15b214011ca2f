//! Actions that a changed `/etc/fstab` requires. Pure.
//!
//! The rules are those of nixpkgs' `switch-to-configuration-ng`: `local-fs.target` mounts new file systems, removed
//! ones are unmounted, a different device or type causes a new mount, different options a remount.

use std::collections::BTreeMap;

use crate::units::Switch;

struct FileSystem<'a> {
    device: &'a str,
    kind: &'a str,
    options: &'a str,
}

/// Adds the actions that follow from the differences between two versions of fstab.
pub fn file_systems(old: &str, new: &str, switch: &mut Switch) {
    let (before, after) = (parse(old), parse(new));
    for (place, was) in &before {
        let mount = format!("{}.mount", escape(place));
        let in_use = matches!(*place, "/" | "/nix");
        let mut note = |why: &str| {
            switch.why.entry(mount.clone()).or_insert_with(|| vec![why.to_owned()]);
        };
        match after.get(place) {
            None => {
                note("fstab does not have it any more");
                let automount = was.options.contains("x-systemd.automount");
                let unit = if automount { format!("{}.automount", escape(place)) } else { mount };
                switch.stop.insert(unit);
            }
            Some(is) if is.device != was.device || is.kind != was.kind => {
                note("another device or type in fstab");
                let set = match in_use {
                    true if is.options != was.options => &mut switch.reload,
                    true => &mut switch.keep,
                    false => &mut switch.restart,
                };
                set.insert(mount);
            }
            Some(is) if is.options != was.options => {
                note("other mount options in fstab");
                switch.reload.insert(mount);
            }
            Some(_) => {}
        }
    }
    for (place, is) in after.iter().filter(|(place, _)| !before.contains_key(*place)) {
        if is.options.split(',').any(|option| option == "noauto") {
            continue;
        }
        let kind = if is.options.contains("x-systemd.automount") { "automount" } else { "mount" };
        let unit = format!("{}.{kind}", escape(place));
        switch.why.entry(unit.clone()).or_insert_with(|| vec!["fstab has it now".to_owned()]);
        switch.start.insert(unit);
    }
    let swaps = |text| devices(text, "swap");
    for device in swaps(old) {
        if !swaps(new).contains(&device) {
            switch.stop.insert(format!("{}.swap", escape(device)));
        }
    }
}

fn lines(text: &str) -> impl Iterator<Item = [&str; 4]> {
    text.lines().filter(|line| !line.contains('#')).filter_map(|line| {
        let mut words = line.split_whitespace();
        Some([words.next()?, words.next()?, words.next()?, words.next().unwrap_or_default()])
    })
}

fn parse(text: &str) -> BTreeMap<&str, FileSystem<'_>> {
    let mounted = lines(text).filter(|[_, _, kind, _]| *kind != "swap");
    mounted.map(|[device, place, kind, options]| (place, FileSystem { device, kind, options })).collect()
}

fn devices<'a>(text: &'a str, kind: &str) -> Vec<&'a str> {
    lines(text).filter(|line| line[2] == kind).map(|[device, ..]| device).collect()
}

/// Returns the name of a path's unit, as `systemd-escape --path` does.
fn escape(path: &str) -> String {
    use std::fmt::Write as _;
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return "-".to_owned();
    }
    let mut name = String::new();
    for (at, byte) in parts.join("/").bytes().enumerate() {
        match byte {
            b'/' => name.push('-'),
            b'.' if at == 0 => name.push_str("\\x2e"),
            b':' | b'_' | b'.' => name.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => name.push(char::from(byte)),
            byte => {
                // Writing to a String cannot fail.
                let _infallible = write!(name, "\\x{byte:02x}");
            }
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::{Switch, escape, file_systems};

    #[track_caller]
    fn check(old: &str, new: &str, expect: &str) {
        let mut switch = Switch::default();
        file_systems(old, new, &mut switch);
        let kinds = [
            ("stop", &switch.stop),
            ("keep", &switch.keep),
            ("reload", &switch.reload),
            ("restart", &switch.restart),
            ("start", &switch.start),
        ];
        let found: Vec<String> =
            kinds.iter().flat_map(|(verb, units)| units.iter().map(move |unit| format!("{verb} {unit}"))).collect();
        assert_eq!(found.join(", "), expect, "\n{old}\n->\n{new}");
    }

    #[test]
    fn equal_tables_ask_for_nothing() {
        check("/dev/a / ext4 x 0 1\n# /dev/c /c ext4", "/dev/a / ext4 x 0 2", "");
    }

    #[test]
    fn a_new_file_system_is_mounted_unless_it_is_left_to_a_person() {
        check("", "/dev/b /b ext4 x", "start b.mount");
        check("", "/dev/b /b ext4 rw,x-systemd.automount", "start b.automount");
        check("", "/dev/b /b ext4 rw,noauto", "");
    }

    #[test]
    fn a_file_system_that_is_gone_is_unmounted() {
        check("/dev/b /srv/data ext4 x", "", "stop srv-data.mount");
        check("/dev/b /srv ext4 x-systemd.automount", "", "stop srv.automount");
    }

    #[test]
    fn another_device_or_type_is_mounted_anew_but_for_the_ones_in_use() {
        check("/dev/b /b ext4 x", "/dev/c /b ext4 x", "restart b.mount");
        check("/dev/b /b ext4 x", "/dev/b /b xfs x", "restart b.mount");
        check("/dev/b / ext4 x", "/dev/c / ext4 x", "keep -.mount");
        check("/dev/b /nix ext4 x", "/dev/c /nix ext4 y", "reload nix.mount");
    }

    #[test]
    fn other_options_are_a_remount() {
        check("/dev/b /b ext4 ro", "/dev/b /b ext4 rw", "reload b.mount");
    }

    #[test]
    fn a_swap_that_is_gone_is_turned_off() {
        check("/dev/s none swap x\n/dev/t none swap x", "/dev/t none swap x", "stop dev-s.swap");
    }

    #[test]
    fn names_are_escaped_as_systemd_does() {
        assert_eq!(escape("/var/lib/my-data/.x"), "var-lib-my\\x2ddata-.x");
        assert_eq!(escape("//"), "-");
        assert_eq!(escape("/.hidden"), "\\x2ehidden");
    }
}
