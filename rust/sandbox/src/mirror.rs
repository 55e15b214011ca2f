//! The Debian mirror: the one that the host's own apt uses.

use super::{error::Error, programs};

/// Fields that apt prints, tab-separated, one line per source.
const FORMAT: &str = "$(REPO_URI)\t$(COMPONENT)\t$(ORIGIN)\t$(LABEL)\t$(CODENAME)";

/// Returns the URI of the Debian main archive in apt's sources.
///
/// # Errors
/// apt failed, or has no such source.
pub(super) fn debian() -> Result<String, Error> {
    let targets = programs::run("apt-get", &["indextargets", "--format", FORMAT, "Created-By: Packages"])?;
    choose(&targets).ok_or(Error::NoMirror)
}

/// Returns apt's proxy settings as configuration lines, so that mmdebstrap reaches the same mirrors.
pub(super) fn proxies() -> Vec<String> {
    let arguments = ["dump", "--format", "%f \"%v\";%n", "Acquire::http", "Acquire::https"];
    // Without apt-config no settings are passed on, and mmdebstrap reports itself which program it is missing.
    let dump = programs::run("apt-config", &arguments).unwrap_or_default();
    dump.lines().filter(|line| line.contains("::Proxy ")).map(str::to_owned).collect()
}

fn choose(targets: &str) -> Option<String> {
    let sources: Vec<Source<'_>> = targets.lines().filter_map(Source::parse).collect();
    let declared = sources.iter().find(|source| source.is_declared_debian());
    // Before the first `apt-get update`, apt has no origin for its sources, and only the URI is left to go by.
    let guessed = || sources.iter().find(|source| source.looks_like_debian());
    declared.or_else(guessed).map(|source| source.uri.trim_end_matches('/').to_owned())
}

struct Source<'a> {
    uri: &'a str,
    component: &'a str,
    origin: &'a str,
    label: &'a str,
}

impl<'a> Source<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split('\t').map(str::trim);
        let mut next = || fields.next();
        Some(Self { uri: next()?, component: next()?, origin: next()?, label: next()? })
    }

    /// Returns true for the main archive; the security archive is labelled `Debian-Security`, backports `Debian
    /// Backports`.
    fn is_declared_debian(&self) -> bool {
        self.component == "main" && self.origin == "Debian" && self.label == "Debian"
    }

    fn looks_like_debian(&self) -> bool {
        self.component == "main" && self.origin.is_empty() && self.uri.trim_end_matches('/').ends_with("/debian")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(targets: &[&str], expected: Option<&str>) {
        assert_eq!(choose(&targets.join("\n")).as_deref(), expected);
    }

    #[test]
    fn the_main_archive_is_chosen_and_neither_security_nor_others() {
        check(
            &[
                "https://tools.example/apt/\tmain\tTools\tTools\tbookworm",
                "http://mirror.example/debian-security/\tmain\tDebian\tDebian-Security\tbookworm-security",
                "http://mirror.example/debian/\tcontrib\tDebian\tDebian\tbookworm",
                "http://mirror.example/debian/\tmain\tDebian\tDebian\tbookworm",
            ],
            Some("http://mirror.example/debian"),
        );
    }

    #[test]
    fn before_the_first_update_the_address_decides() {
        check(
            &["http://mirror.example/debian-security/\tmain\t\t\t", "http://mirror.example/debian/\tmain\t\t\t"],
            Some("http://mirror.example/debian"),
        );
    }

    #[test]
    fn a_computer_without_debian_has_no_mirror() {
        check(&["http://mirror.example/ubuntu/\tmain\tUbuntu\tUbuntu\tnoble"], None);
        check(&["", "nonsense"], None);
    }
}
