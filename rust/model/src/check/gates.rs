//! Gates: each has one condition that can be tested.

use super::{Context, machine_path};
use crate::{
    codes::Code,
    path::AttrPath,
    report::{Finding, Report},
    shape::GateShape,
};

/// Longest timeout of a gate, in seconds. The operator waits for it.
const LONGEST: u16 = 600;

/// Checks all gates.
pub fn check(context: &Context<'_>, report: &mut Report) {
    for (machine, name, gate) in
        context.shape.machines.iter().flat_map(|(machine, shape)| shape.gates.iter().map(move |(n, g)| (machine, n, g)))
    {
        let path = machine_path(machine).join("gates").join(name);
        if report.is_broken(&path) {
            continue;
        }
        for (attribute, message, help) in wrong(name, gate) {
            let at: AttrPath = if attribute.is_empty() { path.clone() } else { path.join(attribute) };
            if !report.is_broken(&at) {
                let why = "a deploy tests it on the machine before it keeps the new system";
                report.push(Finding::new(Code::BadGate, at, message, why).help(help));
            }
        }
    }
}

/// Returns what is wrong with a gate: attribute, message and help.
fn wrong(name: &str, gate: &GateShape) -> Vec<(&'static str, String, String)> {
    let mut found = Vec::new();
    let is_letter = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    if name.is_empty() || name.len() > 63 || !name.chars().all(is_letter) || name.starts_with('-') {
        found.push(("", format!("{name:?} is not a valid gate name"), "write a-z, 0-9 and -, such as web".to_owned()));
    }
    match (&gate.http, gate.command.is_empty()) {
        (Some(_), false) => {
            let help = "leave one out, or split it into two gates".to_owned();
            found.push(("command", format!("the gate {name} has both a command and a URL"), help));
        }
        (None, true) => {
            let help =
                format!("write gates.{name}.command = [ \"true\" ]; or gates.{name}.http = \"http://127.0.0.1/\";");
            found.push(("", format!("the gate {name} has neither a command nor a URL"), help));
        }
        (Some(url), true) if !is_url(url) => {
            let help =
                "write http:// or https://, a host and a path, such as \"http://127.0.0.1:8080/health\"".to_owned();
            found.push(("http", format!("{url:?} is not an HTTP URL"), help));
        }
        (None, false) if gate.command[0].is_empty() || gate.command.iter().any(|word| word.contains('\0')) => {
            let help = "the first word is the program, such as [ \"pg_isready\" \"-q\" ]".to_owned();
            found.push(("command", format!("the command of gate {name} is empty"), help));
        }
        _ => {}
    }
    if gate.status.is_some() && gate.http.is_none() {
        found.push(("status", "a command has no HTTP status, only exit code 0".to_owned(), "leave it out".to_owned()));
    } else if let Some(status) = gate.status.filter(|status| !(100..=599).contains(status)) {
        found.push(("status", format!("{status} is not an HTTP status"), "write 100 to 599, such as 200".to_owned()));
    }
    if let Some(timeout) = gate.timeout.filter(|timeout| !(1..=LONGEST).contains(timeout)) {
        let help = format!("write 1 to {LONGEST} seconds");
        found.push(("timeout", format!("timeout of {timeout} seconds is out of range"), help));
    }
    found
}

/// Returns true if the text is certainly an HTTP URL and nothing else, which the machine's own client can request.
fn is_url(url: &str) -> bool {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    host.is_some_and(|host| !host.is_empty() && !host.contains('@')) && url.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::wrong;
    use crate::shape::GateShape;

    #[track_caller]
    fn check(name: &str, change: impl FnOnce(&mut GateShape), expect: &[&str]) {
        let mut gate = GateShape { http: Some("http://[::1]:80/x?y".to_owned()), ..GateShape::default() };
        change(&mut gate);
        let found: Vec<String> =
            wrong(name, &gate).into_iter().map(|(attribute, message, _)| format!("{attribute}: {message}")).collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn a_gate_has_one_condition() {
        check("web", |_| {}, &[]);
        check("db", |gate| (gate.http, gate.command) = (None, vec!["true".to_owned()]), &[]);
        check("db", |gate| gate.http = None, &[": the gate db has neither a command nor a URL"]);
        check("x", |gate| gate.command.push("true".to_owned()), &["command: the gate x has both a command and a URL"]);
        check(
            "x",
            |gate| (gate.http, gate.command) = (None, vec![String::new()]),
            &["command: the command of gate x is empty"],
        );
    }

    #[test]
    fn an_invalid_condition_is_reported() {
        for url in ["", "ftp://a/", "http://", "http:///x", "http://user@host/", "http://a b", "file:///etc/passwd"] {
            check("x", |gate| gate.http = Some(url.to_owned()), &[&format!("http: {url:?} is not an HTTP URL")]);
        }
        check("X", |_| {}, &[": \"X\" is not a valid gate name"]);
        check("../x", |_| {}, &[": \"../x\" is not a valid gate name"]);
        check("x", |gate| gate.timeout = Some(0), &["timeout: timeout of 0 seconds is out of range"]);
        check("x", |gate| gate.timeout = Some(601), &["timeout: timeout of 601 seconds is out of range"]);
        check("x", |gate| gate.status = Some(99), &["status: 99 is not an HTTP status"]);
        let command = |gate: &mut GateShape| {
            *gate = GateShape { command: vec!["true".to_owned()], status: Some(200), ..GateShape::default() };
        };
        check("x", command, &["status: a command has no HTTP status, only exit code 0"]);
    }
}
