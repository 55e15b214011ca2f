//! Syntax of labels and taints.
//! Source: kubernetes.io, "Labels and Selectors" and "Taints and Tolerations".

use super::{Context, machine_path, names::is_domain};
use crate::{
    codes::Code,
    path::AttrPath,
    report::{Finding, Report},
    shape::MachineShape,
};

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// Checks all labels and taints.
pub fn check(context: &Context<'_>, report: &mut Report) {
    for (name, machine) in &context.shape.machines {
        labels(name, machine, report);
        for (position, taint) in machine.taints.iter().enumerate() {
            let path = machine_path(name).join("taints").join(position);
            if !report.is_broken(&path) {
                report_taint(path, taint, report);
            }
        }
    }
}

fn labels(name: &str, machine: &MachineShape, report: &mut Report) {
    for (key, value) in &machine.labels {
        let path = || machine_path(name).join("labels").join(key);
        if let Some(why) = bad_key(key) {
            let help = "write a key such as \"zone\" or \"example.org/zone\"";
            report.push(Finding::new(Code::BadLabel, path(), format!("{key:?} is not a label key"), why).help(help));
        }
        if let Some(why) = bad_value(value) {
            let help = plain(value).map(|plain| format!("write \"{plain}\""));
            report.push(
                Finding::new(Code::BadLabel, path(), format!("{value:?} is not a label value"), why).maybe_help(help),
            );
        }
    }
}

fn report_taint(path: AttrPath, taint: &str, report: &mut Report) {
    let why = match taint.rsplit_once(':') {
        None => "an effect such as `:NoSchedule` is missing",
        Some((_, effect)) if !EFFECTS.contains(&effect) => "an effect is NoSchedule, PreferNoSchedule or NoExecute",
        Some((front, _)) => {
            let (key, value) = front.split_once('=').unwrap_or((front, ""));
            match bad_key(key).or_else(|| bad_value(value)) {
                Some(why) => why,
                None => return,
            }
        }
    };
    let finding = Finding::new(Code::BadTaint, path, format!("{taint:?} is not a taint"), why);
    report.push(finding.help("write key=value:Effect, such as \"dedicated=db:NoSchedule\""));
}

const NAME: &str = "at most 63 of A-Z, a-z, 0-9, -, _ and ., with a letter or digit at both ends";

fn bad_key(key: &str) -> Option<&'static str> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    if prefix.is_some_and(|prefix| !is_domain(prefix)) {
        return Some("the prefix before the slash of a key must be a DNS domain in lower case");
    }
    (name.is_empty() || !is_name(name)).then_some(NAME)
}

fn bad_value(value: &str) -> Option<&'static str> {
    (!value.is_empty() && !is_name(value)).then_some(NAME)
}

fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_end = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    text.len() <= 63 && text.bytes().all(inner) && is_end(text.bytes().next()) && is_end(text.bytes().last())
}

/// Returns the value with each invalid character replaced by `-`.
fn plain(value: &str) -> Option<String> {
    let keep = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    let replaced: String = value.chars().map(|letter| if keep(letter) { letter } else { '-' }).collect();
    let plain = replaced.trim_matches(|letter: char| !letter.is_ascii_alphanumeric());
    (!plain.is_empty() && is_name(plain)).then(|| plain.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{bad_key, bad_value};

    #[test]
    fn label_syntax_is_that_of_kubernetes() {
        let long = "a".repeat(64);
        for key in ["zone", "example.org/zone", "a", "A_b.c-d", "topology.kubernetes.io/zone"] {
            assert_eq!(bad_key(key), None, "{key}");
        }
        for key in ["", "/", "a/", "/a", "a b", "-a", "a-", "A.org/b", "a/b/c", long.as_str()] {
            assert!(bad_key(key).is_some(), "{key}");
        }
        for (value, is_good) in
            [("", true), ("a", true), ("a_b.c", true), ("a b", false), (".a", false), (&long, false)]
        {
            assert_eq!(bad_value(value).is_none(), is_good, "{value}");
        }
    }
}
