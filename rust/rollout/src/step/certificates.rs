//! Certificates of a host's running system.

use std::{collections::BTreeMap, time::Duration};

use machinist_remote::Remote;

use super::{StepError, run};
use crate::script::CERTIFICATES;

/// Returns the certificates and public keys of the running system, file name to text. Empty on a host that never ran
/// one of our systems.
///
/// # Errors
/// The connection fails.
pub fn certificates(remote: &dyn Remote) -> Result<BTreeMap<String, String>, StepError> {
    let output = run(remote, "list certificates", CERTIFICATES, Duration::from_secs(30))?;
    Ok(parse(&output.stdout_text()))
}

fn parse(output: &str) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut name = None;
    for line in output.lines() {
        if let Some(next) = line.strip_prefix("file=") {
            name = Some(next.to_owned());
        } else if let Some(name) = &name {
            let text: &mut String = files.entry(name.clone()).or_default();
            text.push_str(line);
            text.push('\n');
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn each_file_begins_with_its_name_and_what_a_login_prints_before_is_passed_over() {
        let files = parse("Welcome!\nfile=a.pem\n-----BEGIN X-----\nA\n\nfile=b.pub\nB\n\n");
        let texts: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        assert_eq!(texts, [("a.pem", "-----BEGIN X-----\nA\n\n"), ("b.pub", "B\n\n")]);
        assert!(parse("").is_empty());
    }
}
