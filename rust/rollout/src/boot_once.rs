//! Nodes whose new system only a boot can bring: their boot loaders, and the conditions under which a deploy boots such
//! a system. Pure.
//!
//! The system is installed for the next boot only. The default of the boot loader and the profile stay at the old system
//! until the new one has passed its gates and was confirmed, so that any other boot is the old system again.

use serde::Serialize;

use crate::waves::Reboots;

/// The boot loader of a host, as `script/loader-look.sh` prints it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Loader {
    /// Its name, such as `systemd-boot` or `GRUB`.
    pub name: String,
    /// The reason why it cannot boot a system once, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cannot: Option<String>,
}

impl Loader {
    /// Parses the script's output. None if it is incomplete.
    #[must_use]
    pub fn parse(output: &str) -> Option<Self> {
        let value = |key: &str| {
            let mut lines = output.lines().filter_map(|line| line.split_once('='));
            lines.find(|(name, _)| *name == key).map(|(_, value)| value.trim().to_owned())
        };
        Some(Self { name: value("loader").filter(|name| !name.is_empty())?, cannot: value("once") })
    }
}

/// Returns true if a system with another kernel, initial ramdisk or kernel parameters is to be booted once instead of
/// activated, if the boot loader can: a reboot for them is wanted, and the system is not the default already.
#[must_use]
pub fn is_wanted_for_kernel(due: bool, reboots: Reboots, is_default: bool) -> bool {
    due && reboots.wants(due) && !is_default
}

/// A refusal, and its remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub text: String,
    /// The remedy.
    pub hint: String,
}

/// Returns why a deploy refuses a node that can only boot its new system, for these reasons. `loader` is None if it was
/// not queried, because the node is not to be rebooted anyway.
#[must_use]
pub fn refusal(why: &[String], reboots: Reboots, loader: Option<&Loader>) -> Option<Refusal> {
    if why.is_empty() {
        return None;
    }
    let text = format!("only a boot can bring its system: {}", why.join("; "));
    if reboots == Reboots::Never {
        let hint = "`--reboot auto` boots it once, and makes it the default when it has passed its gates".to_owned();
        return Some(Refusal { text, hint });
    }
    let Loader { name, cannot } = loader?;
    let cannot = cannot.as_ref()?;
    Some(Refusal {
        text: format!("{text}; and its boot loader ({name}) cannot boot it once: {cannot}"),
        hint: BY_HAND.to_owned(),
    })
}

/// Remedy for a boot loader without one-time entries.
const BY_HAND: &str = "on the machine, with its console at hand: `nix-env -p /nix/var/nix/profiles/system --set SYSTEM`, \
                       `SYSTEM/bin/switch-to-configuration boot`, `reboot`; the next deploy accepts it as it is";

#[cfg(test)]
mod tests {
    use super::{Loader, is_wanted_for_kernel, refusal};
    use crate::waves::Reboots;

    fn why() -> Vec<String> {
        vec!["dbus-implementation: dbus -> broker".to_owned()]
    }

    fn loader(output: &str) -> Option<Loader> {
        Loader::parse(output)
    }

    #[test]
    fn a_loader_is_named_with_what_it_cannot_do() {
        assert_eq!(loader("Welcome!\nloader=systemd-boot\n").and_then(|loader| loader.cannot), None);
        let found = loader("loader=GRUB\nonce=a=b\n").unwrap_or_default();
        assert_eq!((found.name.as_str(), found.cannot.as_deref()), ("GRUB", Some("a=b")));
        assert_eq!(loader("loader=\n"), None);
        assert_eq!(loader("once=x\n"), None);
    }

    #[test]
    fn a_new_kernel_is_booted_once_before_it_is_the_default() {
        assert!(is_wanted_for_kernel(true, Reboots::Auto, false));
        assert!(is_wanted_for_kernel(true, Reboots::Always, false));
        assert!(!is_wanted_for_kernel(true, Reboots::Never, false));
        assert!(
            !is_wanted_for_kernel(false, Reboots::Always, false),
            "the kernel is the same: only a reboot is wanted"
        );
        assert!(!is_wanted_for_kernel(true, Reboots::Auto, true), "any boot would be of this system");
    }

    #[test]
    fn a_system_that_needs_a_boot_is_refused_without_one_and_where_it_would_be_the_default() {
        let text = |why: &[String], reboots, loader| refusal(why, reboots, loader).map(|refusal| refusal.text);
        let (good, bad) = (loader("loader=GRUB\n"), loader("loader=extlinux\nonce=it has no such entry\n"));
        assert_eq!(text(&[], Reboots::Never, None), None);
        assert_eq!(
            text(&why(), Reboots::Never, None).as_deref(),
            Some("only a boot can bring its system: dbus-implementation: dbus -> broker")
        );
        assert_eq!(text(&why(), Reboots::Auto, good.as_ref()), None);
        assert!(text(&why(), Reboots::Always, bad.as_ref()).is_some_and(|text| {
            text.ends_with("dbus -> broker; and its boot loader (extlinux) cannot boot it once: it has no such entry")
        }));
    }
}
