//! Changes that take effect only after a reboot. Pure.

use machinist_nix::StorePath;
use serde::{Deserialize, Serialize};

use crate::closure_diff::name_and_version;

/// The files that a machine boots, as resolved links of a system, and its kernel parameters. A field is None if the
/// system has no such file, as in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BootFiles {
    /// Target of the link `kernel`.
    pub kernel: Option<String>,
    /// Target of the link `initrd`.
    pub initrd: Option<String>,
    /// Program of the initrd: `scripted`, or `systemd`, the default since NixOS 26.05. None if it is not known.
    pub stage_1: Option<String>,
    /// Target of the link `kernel-modules`.
    pub modules: Option<String>,
    /// Contents of `kernel-params`.
    pub params: Option<String>,
}

/// A required reboot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reboot {
    /// The changes that it would put into effect, such as `kernel 6.12.1 -> 6.12.3`.
    pub why: Vec<String>,
    /// True if the same changes required a reboot before this deploy already.
    pub was_due: bool,
}

impl BootFiles {
    /// Reads lines `NAME=VALUE`, named like the files of a system: `kernel`, `initrd`, `kernel-modules`,
    /// `kernel-params`, and `stage-1` for the initrd's program. Other lines are ignored.
    #[must_use]
    pub fn from_lines(lines: &[&str]) -> Self {
        let value = |key: &str| {
            let named = lines.iter().filter_map(|line| line.split_once('='));
            named.filter(|(name, _)| *name == key).map(|(_, value)| value.trim().to_owned()).next()
        };
        Self {
            kernel: value("kernel"),
            initrd: value("initrd"),
            stage_1: value("stage-1"),
            modules: value("kernel-modules"),
            params: value("kernel-params"),
        }
    }
}

/// Compares the booted system with the new one, and checks whether the running system differed already.
#[must_use]
pub fn reboot(booted: &BootFiles, running: &BootFiles, new: &BootFiles) -> Option<Reboot> {
    let why = differences(booted, new);
    let was_due = !why.is_empty() && differences(running, new).is_empty();
    (!why.is_empty()).then_some(Reboot { why, was_due })
}

fn differences(old: &BootFiles, new: &BootFiles) -> Vec<String> {
    let mut found = Vec::new();
    if let (Some(was), Some(is)) = (&old.kernel, &new.kernel)
        && was != is
    {
        found.push(match (version(was), version(is)) {
            (Some(was), Some(is)) if was != is => format!("kernel {was} -> {is}"),
            _ => "kernel (built anew)".to_owned(),
        });
    } else if let (Some(was), Some(is)) = (&old.modules, &new.modules)
        && was != is
    {
        found.push("kernel modules".to_owned());
    }
    if let (Some(was), Some(is)) = (&old.initrd, &new.initrd)
        && was != is
    {
        found.push(match (&old.stage_1, &new.stage_1) {
            (Some(was), Some(is)) if was != is => format!("initrd ({was} -> {is})"),
            _ => "initrd".to_owned(),
        });
    }
    if let (Some(was), Some(is)) = (&old.params, &new.params) {
        found.extend(parameters(was, is));
    }
    found
}

fn version(path: &str) -> Option<String> {
    let path: String = path.split('/').take(4).collect::<Vec<_>>().join("/");
    let path = StorePath::parse(&path).ok()?;
    name_and_version(&path).1.map(str::to_owned)
}

fn parameters(was: &str, is: &str) -> Option<String> {
    if was == is {
        return None;
    }
    let (before, after): (Vec<&str>, Vec<&str>) = (was.split_whitespace().collect(), is.split_whitespace().collect());
    let gone = before.iter().filter(|word| !after.contains(word)).map(|word| format!("-{word}"));
    let come = after.iter().filter(|word| !before.contains(word)).map(|word| format!("+{word}"));
    let words: Vec<String> = gone.chain(come).collect();
    Some(if words.is_empty() {
        "order of kernel parameters".to_owned()
    } else {
        format!("kernel parameters {}", words.join(" "))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{BootFiles, reboot};

    fn files(kernel: &str, initrd: &str, params: &str) -> BootFiles {
        let store = |name: &str| Some(format!("/nix/store/{}-{name}", "0".repeat(32)));
        BootFiles {
            kernel: store(&format!("linux-{kernel}/bzImage")),
            initrd: store(&format!("initrd-{initrd}/initrd")),
            params: Some(params.to_owned()),
            ..BootFiles::default()
        }
    }

    #[track_caller]
    fn check(booted: &BootFiles, running: &BootFiles, new: &BootFiles, expect: &[&str], was_due: bool) {
        let found = reboot(booted, running, new).unwrap_or_default();
        assert_eq!((found.why, found.was_due), (expect.iter().map(|&word| word.to_owned()).collect(), was_due));
    }

    #[test]
    fn what_is_booted_already_needs_no_reboot() {
        let a = files("6.12.1", "a", "quiet");
        assert_eq!(reboot(&a, &a, &a), None);
    }

    #[test]
    fn another_kernel_is_told_by_its_version() {
        let (a, b) = (files("6.12.1", "a", "quiet"), files("6.12.3", "a", "quiet"));
        check(&a, &a, &b, &["kernel 6.12.1 -> 6.12.3"], false);
    }

    #[test]
    fn a_kernel_of_the_same_version_may_be_another_one() {
        let a = files("6.12.1", "a", "");
        let b = BootFiles { kernel: a.kernel.clone().map(|path| path.replace("/000", "/111")), ..a.clone() };
        check(&a, &a, &b, &["kernel (built anew)"], false);
    }

    #[test]
    fn initrd_and_parameters_count_too() {
        let (a, b) = (files("6.12.1", "a", "quiet splash"), files("6.12.1", "b", "quiet nosmt"));
        check(&a, &a, &b, &["initrd", "kernel parameters -splash +nosmt"], false);
    }

    #[test]
    fn an_initrd_that_runs_systemd_instead_of_a_script_is_named() {
        let stage_1 = |program: &str| Some(program.to_owned());
        let a = BootFiles { stage_1: stage_1("scripted"), ..files("6.12.1", "a", "") };
        let b = BootFiles { stage_1: stage_1("systemd"), ..files("6.12.1", "b", "") };
        check(&a, &a, &b, &["initrd (scripted -> systemd)"], false);
        check(&BootFiles { stage_1: None, ..a.clone() }, &a, &b, &["initrd"], false);
    }

    #[test]
    fn a_reboot_that_was_due_before_is_told_as_such() {
        let (a, b) = (files("6.12.1", "a", ""), files("6.12.3", "a", ""));
        check(&a, &b, &b, &["kernel 6.12.1 -> 6.12.3"], true);
    }

    #[test]
    fn a_container_boots_nothing() {
        let none = BootFiles::default();
        assert_eq!(reboot(&none, &none, &none), None);
        assert_eq!(reboot(&none, &none, &files("6.12.1", "a", "")), None);
    }
}
