//! Versions in a system: NixOS, its kernel, systemd, Kubernetes, etcd. Pure, but for [`of_system`] and
//! [`running`], which read a system in the local store and the running one of a host.

use std::{collections::BTreeMap, fmt, fs, path::Path, time::Duration};

use machinist_nix::StorePath;
use machinist_remote::Remote;
use serde::{Serialize, Serializer};

use crate::{etcd_version, step};

/// Versions by component, in the order of display. A component that a system does not have is left out.
pub type Software = BTreeMap<Component, String>;

/// Components of a system with a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Component {
    /// NixOS itself.
    Nixos,
    /// etcd.
    Etcd,
    /// Kubernetes, all of its components.
    Kubernetes,
    /// The kernel.
    Kernel,
    /// systemd.
    Systemd,
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nixos => "NixOS",
            Self::Etcd => "etcd",
            Self::Kubernetes => "Kubernetes",
            Self::Kernel => "kernel",
            Self::Systemd => "systemd",
        })
    }
}

/// A NixOS release, such as 26.05: the fifth or eleventh month of a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    year: u32,
    month: u32,
}

impl Release {
    /// Parses the release at the beginning of a version, such as `26.05.20260714.8eeec93`.
    #[must_use]
    pub fn parse(version: &str) -> Option<Self> {
        let mut parts = version.trim().splitn(3, '.');
        let (year, month) = (parts.next()?, parts.next()?);
        let month = month.get(..2).filter(|month| matches!(*month, "05" | "11"))?;
        Some(Self { year: year.parse().ok().filter(|_| year.len() == 2)?, month: month.parse().ok()? })
    }

    /// Returns the release half a year later.
    #[must_use]
    pub const fn next(self) -> Self {
        if self.month == 5 { Self { month: 11, ..self } } else { Self { year: self.year + 1, month: 5 } }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}.{:02}", self.year, self.month)
    }
}

impl Serialize for Release {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads the versions of a system in the local store.
#[must_use]
pub fn of_system(system: &StorePath) -> Software {
    let at = Path::new(system.as_str());
    let text = |name: &str| fs::read_to_string(at.join(name)).unwrap_or_default();
    let link = |name: &str| fs::canonicalize(at.join(name)).map(|path| path.display().to_string()).unwrap_or_default();
    let kernel = link("kernel");
    let etcd = text(etcd_version::UNIT);
    read(&Raw {
        nixos: &text("nixos-version"),
        kubernetes: &text("etc/machinist/kubernetes-version"),
        kernel: &kernel,
        systemd: &link("systemd"),
        etcd: &etcd,
    })
}

/// Reads the versions of a host's running system.
///
/// # Errors
/// The connection fails.
pub fn running(remote: &dyn Remote) -> Result<Software, step::StepError> {
    let output = step::run(remote, "read the versions of the system", RUNNING, Duration::from_secs(30))?.stdout_text();
    let sections = crate::plan::inspect::sections(&output);
    let of = |name: &str| sections.get(name).map(|lines| lines.join("\n")).unwrap_or_default();
    let [nixos, kubernetes, kernel, systemd, etcd] = ["nixos", "kubernetes", "kernel", "systemd", "etcd"].map(of);
    let raw = Raw { nixos: &nixos, kubernetes: &kubernetes, kernel: &kernel, systemd: &systemd, etcd: &etcd };
    Ok(read(&raw))
}

/// Prints texts of the running system that its versions are read from.
pub const RUNNING: &str = "\
cd /run/current-system || exit 0
echo '== nixos'; cat nixos-version 2>/dev/null
echo; echo '== kubernetes'; cat etc/machinist/kubernetes-version 2>/dev/null
echo '== kernel'; readlink -f kernel
echo '== systemd'; readlink -f systemd
echo '== etcd'; cat etc/systemd/system/etcd.service 2>/dev/null
true
";

/// Texts that versions are read from.
struct Raw<'a> {
    nixos: &'a str,
    kubernetes: &'a str,
    /// Path of the kernel, in a store path such as `HASH-linux-6.18.3`.
    kernel: &'a str,
    systemd: &'a str,
    etcd: &'a str,
}

fn read(raw: &Raw<'_>) -> Software {
    let word = |text: &str| text.split_whitespace().next().map(|word| word.chars().take(64).collect::<String>());
    let found = [
        (Component::Nixos, word(raw.nixos)),
        (Component::Etcd, etcd_version::of_unit(raw.etcd).map(|version| version.to_string())),
        (Component::Kubernetes, word(raw.kubernetes)),
        (Component::Kernel, of_path(raw.kernel, "-linux-")),
        (Component::Systemd, of_path(raw.systemd, "-systemd-")),
    ];
    found.into_iter().filter_map(|(component, version)| Some((component, version?))).collect()
}

/// Returns the version after a package's name in a store path.
fn of_path(path: &str, name: &str) -> Option<String> {
    let (_, rest) = path.split_once(name)?;
    let version: String = rest.chars().take_while(|c| !matches!(c, '/' | '\n')).take(64).collect();
    version.starts_with(|c: char| c.is_ascii_digit()).then_some(version)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Raw, Release, read};

    #[test]
    fn versions_are_read_from_the_files_of_a_system() {
        let raw = Raw {
            nixos: "26.05.20260714.8eeec93",
            kubernetes: "1.36.1\n",
            kernel: "/nix/store/0000-linux-6.18.3/bzImage",
            systemd: "/nix/store/0000-systemd-260.1",
            etcd: "ExecStart=/nix/store/0000-etcd-3.6.12/bin/etcd\n",
        };
        let found: Vec<String> =
            read(&raw).iter().map(|(component, version)| format!("{component} {version}")).collect();
        let expect = "NixOS 26.05.20260714.8eeec93, etcd 3.6.12, Kubernetes 1.36.1, kernel 6.18.3, systemd 260.1";
        assert_eq!(found.join(", "), expect);
        let nothing = Raw { nixos: "", kubernetes: "", kernel: "/boot/vmlinuz", systemd: "", etcd: "" };
        assert!(read(&nothing).is_empty());
    }

    #[test]
    fn a_release_has_a_next_one() {
        let of = |text: &str| Release::parse(text);
        assert_eq!(of("25.11.8123.b3d51a0").unwrap().next(), of("26.05").unwrap());
        assert_eq!(of("26.05pre1.x").unwrap().next().to_string(), "26.11");
        for text in ["", "26", "26.06", "2026.05", "x.05"] {
            assert_eq!(of(text), None, "{text}");
        }
        assert!(of("25.11") < of("26.05"));
    }
}
