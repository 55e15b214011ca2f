//! Unit files as `switch-to-configuration` parses them, and the action that a difference between two of them requires.
//!
//! The rules are those of nixpkgs' `switch-to-configuration-ng` (`parse_systemd_ini`, `compare_units`) as of release
//! 26.05. Before it, a change of `ExecReload` alone restarted the unit.

use std::collections::{BTreeMap, BTreeSet};

type Section = BTreeMap<String, Vec<String>>;

/// A unit file merged with its drop-ins: section to key to values. `[Install]` is left out, because it does not affect
/// a running unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitFile(BTreeMap<String, Section>);

/// The action that a difference requires, with the keys that differ, such as `Service.ExecStart`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// No action.
    None,
    /// The unit is reloaded.
    Reload(Vec<String>),
    /// The unit is restarted.
    Restart(Vec<String>),
}

/// Keys of `[Unit]` whose change does not affect a running unit.
const IGNORED: [&str; 13] = [
    "AllowIsolate",
    "CollectMode",
    "Description",
    "Documentation",
    "IgnoreOnIsolate",
    "OnFailure",
    "OnFailureJobMode",
    "OnSuccess",
    "RefuseManualStart",
    "RefuseManualStop",
    "SourcePath",
    "StopWhenUnneeded",
    "X-Reload-Triggers",
];

impl UnitFile {
    /// Parses a unit file followed by its drop-ins, in this order. Values of one key accumulate; an empty one clears
    /// them.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut unit = Self::default();
        for text in texts {
            unit.extend(text);
        }
        unit
    }

    fn extend(&mut self, text: &str) {
        let mut section: Option<&mut Section> = None;
        for line in logical_lines(text) {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = (name != "Install").then(|| self.0.entry(name.to_owned()).or_default());
            } else if let (Some(section), Some((key, value))) = (section.as_deref_mut(), line.split_once('=')) {
                let values = section.entry(key.trim_end().to_owned()).or_default();
                match value.trim_start() {
                    "" => values.clear(),
                    value => values.push(value.to_owned()),
                }
            }
        }
    }

    /// Returns a boolean key, or the default if it is not set. The last value applies.
    pub fn flag(&self, section: &str, key: &str, default: bool) -> bool {
        match self.values(section, key).last() {
            Some(value) => matches!(value.as_str(), "1" | "yes" | "true" | "on"),
            None => default,
        }
    }

    /// Returns a key's values in file order, empty if it is not set.
    pub fn values(&self, section: &str, key: &str) -> &[String] {
        self.0.get(section).and_then(|section| section.get(key)).map_or(&[], Vec::as_slice)
    }

    /// Returns the words of all values of a key.
    pub fn words(&self, section: &str, key: &str) -> impl Iterator<Item = &str> {
        self.values(section, key).iter().flat_map(|value| value.split_whitespace())
    }

    /// Returns true if a start may be skipped: the unit has a condition or an assertion.
    pub fn is_conditional(&self) -> bool {
        let conditional = |key: &String| key.starts_with("Condition") || key.starts_with("Assert");
        self.0.get("Unit").is_some_and(|unit| unit.keys().any(conditional))
    }
}

/// Returns the lines without comments and blank ones, trimmed and with backslash continuations joined.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut pending: Option<String> = None;
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with(['#', ';']) || (line.is_empty() && pending.is_none()) {
            continue;
        }
        let whole = pending.take().unwrap_or_default() + line;
        match whole.strip_suffix('\\') {
            Some(start) => pending = Some(format!("{start} ")),
            None => lines.push(whole),
        }
    }
    lines.extend(pending.map(|line| line.trim_end().to_owned()));
    lines
}

/// Severity of a changed key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    None,
    Reload,
    Restart,
}

/// Compares the running version of a unit with the new one.
#[must_use]
pub fn compare(old: &UnitFile, new: &UnitFile) -> Difference {
    let mut heaviest = Weight::None;
    let mut changed: Vec<(Weight, String)> = Vec::new();
    let mut note = |weight: Weight, what: String| {
        heaviest = heaviest.max(weight);
        changed.push((weight, what));
    };
    let names: BTreeSet<&String> = old.0.keys().chain(new.0.keys()).collect();
    let appeared = new.0.keys().filter(|name| !old.0.contains_key(*name)).count();
    for name in names {
        let (before, after) = (old.0.get(name), new.0.get(name));
        if let Some(weight) = section_weight(name, before, after, appeared) {
            note(weight, format!("[{name}]"));
            continue;
        }
        let empty = Section::new();
        let (before, after) = (before.unwrap_or(&empty), after.unwrap_or(&empty));
        let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for key in keys {
            let (before, after) = (before.get(key), after.get(key));
            if before != after {
                note(key_weight(name, key, before.is_some(), after.is_some()), format!("{name}.{key}"));
            }
        }
    }
    let of_weight =
        |wanted: Weight| changed.into_iter().filter(move |(weight, _)| *weight == wanted).map(|(_, what)| what);
    match heaviest {
        Weight::None => Difference::None,
        Weight::Reload => Difference::Reload(of_weight(Weight::Reload).collect()),
        Weight::Restart => Difference::Restart(of_weight(Weight::Restart).collect()),
    }
}

/// A section that is added or removed restarts the unit regardless of its contents, with two exceptions whose keys are
/// compared.
fn section_weight(name: &str, before: Option<&Section>, after: Option<&Section>, appeared: usize) -> Option<Weight> {
    let only = match (before, after) {
        (Some(_), Some(_)) | (None, None) => return None,
        (None, Some(_)) if appeared > 1 => return Some(Weight::Restart),
        (Some(section), None) | (None, Some(section)) => section,
    };
    let only_reload = only.len() == 1 && only.contains_key("ExecReload");
    (name != "Unit" && !(name == "Service" && only_reload)).then_some(Weight::Restart)
}

fn key_weight(section: &str, key: &str, was_there: bool, is_there: bool) -> Weight {
    match (section, key) {
        // A removed key cannot trigger a reload any more; the unit keeps running.
        ("Unit", "X-Reload-Triggers") | ("Service", "ExecReload") if !is_there => Weight::None,
        ("Unit", "X-Reload-Triggers") | ("Service", "ExecReload") => Weight::Reload,
        ("Mount", "Options") if was_there && is_there => Weight::Reload,
        ("Unit", _) if IGNORED.contains(&key) => Weight::None,
        _ => Weight::Restart,
    }
}

#[cfg(test)]
mod tests {
    use super::{Difference, UnitFile, compare};

    #[track_caller]
    fn check(old: &str, new: &str, expect: &str) {
        let words = |kind: &str, keys: &[String]| format!("{kind} {}", keys.join(" "));
        let found = match compare(&UnitFile::parse([old]), &UnitFile::parse([new])) {
            Difference::None => "nothing".to_owned(),
            Difference::Reload(keys) => words("reload", &keys),
            Difference::Restart(keys) => words("restart", &keys),
        };
        assert_eq!(found, expect, "\n{old}\n->\n{new}");
    }

    #[test]
    fn order_comments_and_blanks_are_no_difference() {
        check("[Unit]\nA=1\nB=2\n", "# x\n[Unit]\n\nB = 2\n;y\nA=1", "nothing");
    }

    #[test]
    fn a_changed_added_or_removed_key_restarts() {
        check("[Service]\nExecStart=a", "[Service]\nExecStart=b", "restart Service.ExecStart");
        check("[Service]\nExecStart=a", "[Service]\nExecStart=a\nUser=x", "restart Service.User");
        check("[Unit]\nAfter=x", "[Unit]", "restart Unit.After");
        check("[Service]\nA=1\nB=1", "[Service]\nA=2\nB=2", "restart Service.A Service.B");
    }

    #[test]
    fn a_restart_trigger_is_a_key_like_any_other() {
        check("[Unit]\nX-Restart-Triggers=a", "[Unit]\nX-Restart-Triggers=b", "restart Unit.X-Restart-Triggers");
    }

    #[test]
    fn a_reload_trigger_reloads_unless_it_is_gone() {
        check("[Unit]\nX-Reload-Triggers=a", "[Unit]\nX-Reload-Triggers=b", "reload Unit.X-Reload-Triggers");
        check("[Unit]", "[Unit]\nX-Reload-Triggers=b", "reload Unit.X-Reload-Triggers");
        check("[Service]\nA=1", "[Unit]\nX-Reload-Triggers=b\n[Service]\nA=1", "reload Unit.X-Reload-Triggers");
        check("[Unit]\nX-Reload-Triggers=a", "[Unit]", "nothing");
    }

    #[test]
    fn a_restart_outweighs_a_reload() {
        check("[Unit]\nX-Reload-Triggers=a\nWants=a", "[Unit]\nX-Reload-Triggers=b\nWants=b", "restart Unit.Wants");
    }

    #[test]
    fn words_for_people_restart_nothing() {
        check("[Unit]\nDescription=a", "[Unit]\nDescription=b\nDocumentation=c\nOnFailure=d", "nothing");
        check("[Unit]\nDescription=a\n[Service]\nA=1", "[Service]\nA=1", "nothing");
    }

    #[test]
    fn install_says_nothing_about_a_running_unit() {
        check("[Install]\nWantedBy=a", "[Install]\nWantedBy=b", "nothing");
    }

    #[test]
    fn a_new_way_to_reload_is_used_at_once_and_a_lost_one_not_missed() {
        check("[Service]\nExecReload=a", "[Service]\nExecReload=b", "reload Service.ExecReload");
        check("[Service]\nA=1", "[Service]\nA=1\nExecReload=b", "reload Service.ExecReload");
        check("[Service]\nA=1\nExecReload=b", "[Service]\nA=1", "nothing");
        check("[Unit]", "[Unit]\n[Service]\nExecReload=b", "reload Service.ExecReload");
        check("[Service]\nA=1", "[Service]\nA=1\nExecReload=b\nUser=x", "restart Service.User");
    }

    #[test]
    fn options_of_a_mount_are_changed_by_a_remount() {
        check("[Mount]\nOptions=ro", "[Mount]\nOptions=rw", "reload Mount.Options");
        check("[Mount]\nWhat=a", "[Mount]\nWhat=a\nOptions=rw", "restart Mount.Options");
    }

    #[test]
    fn a_section_that_comes_or_goes_restarts() {
        check("[Unit]", "[Unit]\n[Service]\nA=1", "restart [Service]");
        check("[Unit]\n[Socket]", "[Unit]", "restart [Socket]");
        check("", "[Unit]\nDescription=a\n[Service]\nExecReload=b", "restart [Service] [Unit]");
    }

    #[test]
    fn extensions_add_values_and_an_empty_one_clears_them() {
        let whole = UnitFile::parse([
            "[Service]\nExecStart=a\nEnvironment=A=1",
            "[Service]\nExecStart=\nExecStart=b\nEnvironment=B=2",
        ]);
        assert_eq!(whole.values("Service", "ExecStart"), ["b"]);
        assert_eq!(whole.values("Service", "Environment"), ["A=1", "B=2"]);
    }

    #[test]
    fn a_line_goes_on_after_a_backslash() {
        let unit = UnitFile::parse(["[Service]\nExecStart=a \\\n# not this\n  b\nUser=x"]);
        assert_eq!(unit.words("Service", "ExecStart").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(unit.values("Service", "User"), ["x"]);
    }

    #[test]
    fn the_last_value_of_a_flag_counts() {
        let unit = UnitFile::parse(["[Service]\nX-RestartIfChanged=true\nX-RestartIfChanged=false"]);
        assert!(!unit.flag("Service", "X-RestartIfChanged", true));
        assert!(unit.flag("Service", "X-StopIfChanged", true));
    }

    #[test]
    fn no_text_makes_it_panic() {
        for text in ["[", "]", "=", "[Unit", "a=b", "[Unit]\n=\n\\", "\\\n\\", "[Unit]\nkey"] {
            let _parsed = UnitFile::parse([text]);
        }
    }
}
