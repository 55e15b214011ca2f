//! Systems that only a boot can bring: NixOS refuses to switch to them, or a switch would break the machine. Pure.
//!
//! The rules are those of nixpkgs' `switch-to-configuration-ng` and of its check `switchInhibitors`: a switch ends with
//! status 100 if the init interface differs, and with status 1 if the value of a key that both systems have in
//! `switch-inhibitors` differs. One rule is added: a system from before NixOS 26.05 has no such file, so that NixOS would
//! replace its D-Bus under all running services.

use serde_json::{Map, Value};

/// Files of a system that decide whether a running machine can be switched to or from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SwitchFiles {
    /// Text of `switch-inhibitors`, a JSON object of strings. None if the system has no such file.
    pub inhibitors: Option<String>,
    /// Contents of `init-interface-version`, such as `systemd 2`.
    pub interface: Option<String>,
    /// The D-Bus implementation that its units start: `dbus` or `broker`. None if it has no unit of one.
    pub dbus: Option<String>,
}

/// Key of the inhibitor for the D-Bus implementation.
const DBUS: &str = "dbus-implementation";

/// Size above which a file of inhibitors is not read, in bytes: real ones have some dozens.
const LONGEST: usize = 64 << 10;

/// Number of characters of a value that a reason shows.
const SHOWN: usize = 60;

/// Number of reasons that are listed.
const LISTED: usize = 8;

impl SwitchFiles {
    /// Reads lines `NAME=VALUE`: `interface`, `dbus`, and `inhibitors` for each line of that file. Other lines are
    /// ignored.
    #[must_use]
    pub fn from_lines(lines: &[&str]) -> Self {
        let mut files = Self::default();
        for (name, value) in lines.iter().filter_map(|line| line.split_once('=')) {
            match name {
                "interface" => files.interface = Some(value.trim().to_owned()),
                "dbus" => files.dbus = Some(value.trim().to_owned()),
                "inhibitors" => {
                    let text = files.inhibitors.get_or_insert_default();
                    // One byte more than the limit is enough to recognise the file as too large.
                    if text.len() <= LONGEST {
                        text.push_str(value);
                        text.push('\n');
                    }
                }
                _ => {}
            }
        }
        files
    }
}

/// Returns why a machine that runs one system can only boot the other, such as `dbus-implementation: dbus -> broker`.
/// Empty if it can be switched.
#[must_use]
pub fn boot_only(running: &SwitchFiles, new: &SwitchFiles) -> Vec<String> {
    let mut reasons = Vec::new();
    let was = running.interface.as_deref().unwrap_or_default().trim();
    let is = new.interface.as_deref().unwrap_or_default().trim();
    // A new system without the file is incomplete, which its activation reports.
    if was != is && new.interface.is_some() {
        reasons.push(change("init interface", was, is));
    }
    match inhibitors(running, new) {
        Ok(differences) => {
            let more = differences.len().saturating_sub(LISTED);
            reasons.extend(differences.into_iter().take(LISTED));
            if more > 0 {
                reasons.push(format!("{more} more switch inhibitors"));
            }
        }
        Err(unreadable) => reasons.push(unreadable),
    }
    reasons.extend(bus(running, new));
    reasons
}

/// Returns the keys that both systems have with different values, or the reason why they cannot be compared.
fn inhibitors(running: &SwitchFiles, new: &SwitchFiles) -> Result<Vec<String>, String> {
    let old = parse("running", running)?;
    let new_keys = parse("new", new)?;
    if old == new_keys {
        return Ok(Vec::new());
    }
    refuse_unknown("running", &old)?;
    refuse_unknown("new", &new_keys)?;
    let differs = |(key, was): (&String, &Value)| {
        let is = new_keys.get(key).filter(|is| *is != was)?;
        Some(change(key, was.as_str().unwrap_or_default(), is.as_str().unwrap_or_default()))
    };
    Ok(old.iter().filter_map(differs).collect())
}

/// Parses a system's inhibitors; a missing file has none. NixOS refuses a switch if either file cannot be parsed.
fn parse(whose: &str, files: &SwitchFiles) -> Result<Map<String, Value>, String> {
    let Some(text) = &files.inhibitors else { return Ok(Map::new()) };
    if text.len() > LONGEST {
        return Err(format!("switch-inhibitors of the {whose} system is larger than {} KiB", LONGEST >> 10));
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(keys)) => Ok(keys),
        Ok(_) => Err(format!("switch-inhibitors of the {whose} system has an unknown format: it is no object")),
        Err(error) => Err(format!("switch-inhibitors of the {whose} system is damaged: {error}")),
    }
}

/// Refuses values other than strings: a later format may give them another meaning.
fn refuse_unknown(whose: &str, keys: &Map<String, Value>) -> Result<(), String> {
    let Some((key, _)) = keys.iter().find(|(_, value)| !value.is_string()) else { return Ok(()) };
    let key = short(key);
    Err(format!("switch-inhibitors of the {whose} system has an unknown format: the value of `{key}` is no string"))
}

/// Compares the D-Bus implementations by their units, unless the inhibitors do.
fn bus(running: &SwitchFiles, new: &SwitchFiles) -> Option<String> {
    let has_key = |files: &SwitchFiles| parse("", files).is_ok_and(|keys| keys.contains_key(DBUS));
    if has_key(running) && has_key(new) {
        return None;
    }
    let (was, is) = (running.dbus.as_deref()?, new.dbus.as_deref()?);
    (was != is).then(|| format!("{}, which a switch would replace under running services", change("D-Bus", was, is)))
}

fn change(what: &str, was: &str, is: &str) -> String {
    let or_none = |text: &str| if text.is_empty() { "none".to_owned() } else { short(text) };
    format!("{}: {} -> {}", short(what), or_none(was), or_none(is))
}

fn short(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    short
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::{LONGEST, SwitchFiles, boot_only};

    fn files(inhibitors: &str, interface: &str, dbus: &str) -> SwitchFiles {
        let some = |text: &str| (text != "-").then(|| text.to_owned());
        SwitchFiles { inhibitors: some(inhibitors), interface: some(interface), dbus: some(dbus) }
    }

    #[track_caller]
    fn check(running: &SwitchFiles, new: &SwitchFiles, expect: &Expect) {
        expect.assert_eq(&boot_only(running, new).join("\n"));
    }

    /// Compares two files of inhibitors; `-` is none.
    #[track_caller]
    fn inhibitors(running: &str, new: &str, expect: &Expect) {
        check(&files(running, "systemd 2", "-"), &files(new, "systemd 2", "-"), expect);
    }

    #[test]
    fn a_key_counts_if_both_systems_have_it_with_different_values() {
        inhibitors(r#"{"a":"1"}"#, r#"{"a":"1"}"#, &expect![""]);
        inhibitors(r#"{"a":"1","gone":"x"}"#, r#"{"a":"1","come":"y"}"#, &expect![""]);
        inhibitors(
            r#"{"a":"1","b":"2"}"#,
            r#"{"b":"3","a":""}"#,
            &expect![[r#"
            a: 1 -> none
            b: 2 -> 3"#]],
        );
        inhibitors("-", r#"{"a":"1"}"#, &expect![""]);
        inhibitors(r#"{"a":"1"}"#, "-", &expect![""]);
        inhibitors("{}", r#"{"a":"1"}"#, &expect![""]);
    }

    #[test]
    fn a_damaged_file_cannot_be_switched_from_or_to() {
        inhibitors(
            r#"{"a":"#,
            "{}",
            &expect![[
                "switch-inhibitors of the running system is damaged: EOF while parsing a value at line 1 column 5"
            ]],
        );
        inhibitors(
            "{}",
            "",
            &expect![["switch-inhibitors of the new system is damaged: EOF while parsing a value at line 1 column 0"]],
        );
        // NixOS refuses this, too: it parses both before it compares them.
        inhibitors(
            "x",
            "x",
            &expect![["switch-inhibitors of the running system is damaged: expected value at line 1 column 1"]],
        );
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(LONGEST));
        inhibitors("-", &long, &expect!["switch-inhibitors of the new system is larger than 64 KiB"]);
    }

    #[test]
    fn a_format_that_is_not_known_is_not_guessed() {
        inhibitors(
            "[]",
            "{}",
            &expect!["switch-inhibitors of the running system has an unknown format: it is no object"],
        );
        let later = r#"{"version":2,"inhibitors":{"a":"1"}}"#;
        inhibitors(later, later, &expect![""]);
        inhibitors(
            "{}",
            later,
            &expect![
                "switch-inhibitors of the new system has an unknown format: the value of `inhibitors` is no string"
            ],
        );
    }

    #[test]
    fn another_init_interface_cannot_be_switched_to() {
        check(
            &files("-", "systemd 2", "-"),
            &files("-", "systemd 3", "-"),
            &expect!["init interface: systemd 2 -> systemd 3"],
        );
        check(&files("-", "-", "-"), &files("-", "systemd 2", "-"), &expect!["init interface: none -> systemd 2"]);
        check(&files("-", "systemd 2", "-"), &files("-", "-", "-"), &expect![""]);
    }

    #[test]
    fn from_25_11_to_26_05_the_bus_is_not_replaced_under_running_services() {
        let (old, new) =
            (files("-", "systemd 2", "dbus"), files(r#"{"dbus-implementation":"broker"}"#, "systemd 2", "broker"));
        let says = expect!["D-Bus: dbus -> broker, which a switch would replace under running services"];
        check(&old, &new, &says);
        check(&new, &old, &expect!["D-Bus: broker -> dbus, which a switch would replace under running services"]);
        // The user keeps the old one, or the units are not known.
        let same = files(r#"{"dbus-implementation":"dbus"}"#, "systemd 2", "dbus");
        check(&old, &same, &expect![""]);
        check(&files("-", "systemd 2", "-"), &new, &expect![""]);
        // Both have the key: it is one reason, and the units are not compared.
        check(&same, &new, &expect!["dbus-implementation: dbus -> broker"]);
    }

    #[test]
    fn many_or_long_differences_are_cut_off() {
        let file = |value: &str| {
            let keys: Vec<String> = (0..10).map(|key| format!("\"k{key}\":\"{value}\"")).collect();
            format!("{{{}}}", keys.join(","))
        };
        let found = boot_only(&files(&file("a"), "-", "-"), &files(&file(&"b".repeat(99)), "-", "-"));
        assert_eq!(found.len(), 9);
        assert_eq!(found.first().map(String::as_str), Some(format!("k0: a -> {}...", "b".repeat(60)).as_str()));
        assert_eq!(found.last().map(String::as_str), Some("2 more switch inhibitors"));
    }

    #[test]
    fn a_file_of_several_lines_is_sent_line_by_line() {
        let lines = [
            "inhibitors={",
            "inhibitors=  \"a\": \"x=y\"",
            "inhibitors=}",
            "interface=systemd 2",
            "dbus=broker",
            "junk",
        ];
        let expect = files("{\n  \"a\": \"x=y\"\n}\n", "systemd 2", "broker");
        assert_eq!(SwitchFiles::from_lines(&lines), expect);
        let endless = vec!["inhibitors=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"; 5000];
        assert!(SwitchFiles::from_lines(&endless).inhibitors.is_some_and(|text| text.len() < LONGEST + 100));
    }
}
