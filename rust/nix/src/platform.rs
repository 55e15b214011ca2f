//! Platforms for which this computer's nix can build: its own, emulated ones, and those of its remote builders.

use std::{collections::BTreeSet, fs, path::Path};

use serde::Deserialize;

use crate::{
    Nix, NixError,
    command::{BOUND, answer},
    process::run,
};

/// The part of nix' configuration that decides where derivations of a platform are built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildConfig {
    /// The platform of nix itself, such as `x86_64-linux`.
    pub system: String,
    /// Platforms that are built here too, by the processor or by emulation.
    pub extra_platforms: BTreeSet<String>,
    /// Remote builders.
    pub builders: Vec<RemoteBuilder>,
}

/// A remote builder of nix' `builders` setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteBuilder {
    /// The store, such as `ssh://arm.example.org`.
    pub store: String,
    /// Its platforms; empty if it has that of this computer.
    pub platforms: Vec<String>,
}

impl BuildConfig {
    /// Returns true if nix would try to build derivations of the platform.
    #[must_use]
    pub fn builds(&self, platform: &str) -> bool {
        let is_remote = |builder: &RemoteBuilder| builder.platforms.iter().any(|known| known == platform);
        self.builds_here(platform) || self.builders.iter().any(is_remote)
    }

    /// Returns true if nix would try to build derivations of the platform on this computer.
    #[must_use]
    pub fn builds_here(&self, platform: &str) -> bool {
        self.system == platform || self.extra_platforms.contains(platform)
    }
}

impl Nix {
    /// Queries nix' configuration.
    ///
    /// # Errors
    /// The program fails, or its output has an unexpected form.
    pub fn build_config(&self) -> Result<BuildConfig, NixError> {
        let features = ["--extra-experimental-features", "nix-command", "--json"];
        let query =
            |verb: &[&str]| run("nix", &verb.iter().chain(&features).map(Into::into).collect::<Vec<_>>(), Some(BOUND));
        // `nix config show` since 2.20; the older name is deprecated there.
        let mut finished = query(&["config", "show"])?;
        if !finished.status.success() {
            finished = query(&["show-config"])?;
        }
        let stdout = finished.success("nix show-config")?;
        parse(&stdout, &|path| fs::read_to_string(path).ok())
    }
}

#[derive(Deserialize)]
struct Setting<T> {
    value: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Settings {
    system: Setting<String>,
    #[serde(default)]
    extra_platforms: Option<Setting<BTreeSet<String>>>,
    #[serde(default)]
    builders: Option<Setting<String>>,
}

fn parse(stdout: &[u8], read: &dyn Fn(&Path) -> Option<String>) -> Result<BuildConfig, NixError> {
    let settings: Settings = serde_json::from_slice(stdout).map_err(|error| answer("nix show-config", &error))?;
    let mut builders = Vec::new();
    let text = settings.builders.map(|builders| builders.value).unwrap_or_default();
    add_builders(&text, read, FILES, &mut builders);
    Ok(BuildConfig {
        system: settings.system.value,
        extra_platforms: settings.extra_platforms.map(|platforms| platforms.value).unwrap_or_default(),
        builders,
    })
}

/// Maximum depth of files that name further files.
const FILES: usize = 4;

/// Parses machines, separated by newlines or semicolons; `@FILE` is replaced by the file's content, and `#` begins a
/// comment (Nix manual, "Remote builds").
fn add_builders(text: &str, read: &dyn Fn(&Path) -> Option<String>, files: usize, builders: &mut Vec<RemoteBuilder>) {
    for line in text.split(['\n', ';']) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(file) = line.strip_prefix('@') {
            // A missing file means no builders.
            if let Some(text) = read(Path::new(file.trim())).filter(|_| files > 0) {
                add_builders(&text, read, files - 1, builders);
            }
            continue;
        }
        let mut fields = line.split_whitespace();
        let Some(store) = fields.next() else { continue };
        let platforms = fields.next().filter(|field| *field != "-").unwrap_or_default();
        let platforms = platforms.split(',').filter(|platform| !platform.is_empty()).map(str::to_owned).collect();
        builders.push(RemoteBuilder { store: store.to_owned(), platforms });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::{BuildConfig, parse};
    use crate::Nix;

    fn config(builders: &str) -> BuildConfig {
        let read = |path: &Path| match path.to_str() {
            Some("/etc/nix/machines") => Some("# arm\nssh://arm aarch64-linux,armv7l-linux key 4\n@/loop\n".to_owned()),
            Some("/loop") => Some("@/loop".to_owned()),
            _ => None,
        };
        let text = serde_json::json!({
            "system": { "value": "x86_64-linux", "description": "x" },
            "extra-platforms": { "value": ["i686-linux"] },
            "builders": { "value": builders },
            "substituters": { "value": [] },
        });
        parse(text.to_string().as_bytes(), &read).unwrap()
    }

    #[track_caller]
    fn check(builders: &str, expected: bool) {
        assert_eq!(config(builders).builds("aarch64-linux"), expected, "{builders:?}");
    }

    #[test]
    fn a_platform_of_this_computer_or_of_a_builder_can_be_built() {
        let none = config("");
        assert!(none.builds("x86_64-linux") && none.builds("i686-linux"));
        check("", false);
        check("@/etc/nix/machines", true);
        check("@/missing", false);
        check("ssh://a x86_64-linux,aarch64-linux - 4 1 kvm ; ssh://b", true);
        check("ssh://a;ssh://b - - 4", false);
        check("# ssh://a aarch64-linux", false);
        check("ssh-ng://a aarch64-linux-extra", false);
    }

    #[test]
    fn this_computers_nix_says_for_which_platforms_it_builds() {
        let config = Nix::default().build_config().unwrap();
        assert_eq!(config.system, format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS));
        assert!(config.builds(&config.system) && !config.builds("no-such-platform"));
    }

    #[test]
    fn another_answer_is_an_error() {
        for text in ["", "[]", "{}", r#"{"system": {"value": 1}}"#] {
            assert!(parse(text.as_bytes(), &|_| None).is_err(), "{text}");
        }
    }
}
