//! Differences between two closures, by the names of their store paths, as nvd and dix report them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use machinist_nix::StorePath;
use serde::{Deserialize, Serialize};

/// Differences between two closures. Each list is sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosureDiff {
    /// Packages that only the new closure has.
    pub added: Vec<Package>,
    /// Packages that only the old closure has.
    pub removed: Vec<Package>,
    /// Packages whose versions differ.
    pub changed: Vec<VersionChange>,
    /// Packages that were rebuilt in the same versions.
    pub rebuilt: Vec<Package>,
    /// Sizes of the two closures. None if a size is unknown.
    pub bytes: Option<Bytes>,
}

/// Sizes of two closures in bytes: of the contents, as Nix counts them, without the savings of hard links and
/// compression.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bytes {
    /// Size of the old closure.
    pub from: u64,
    /// Size of the new closure.
    pub to: u64,
}

impl Bytes {
    /// Returns the growth from the old closure to the new one.
    #[must_use]
    pub fn growth(self) -> i64 {
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        signed(self.to).saturating_sub(signed(self.from))
    }
}

/// A store path with its size in bytes, if known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SizedPath {
    /// The path.
    pub path: StorePath,
    /// Size of its contents, as Nix counts it.
    pub bytes: Option<u64>,
}

/// A package in a closure, with all its versions there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Name without version and output, such as `etcd`.
    pub name: String,
    /// Versions, sorted. Empty for configuration files.
    pub versions: Vec<String>,
    /// Growth of the closure by this package, in bytes; negative for a removed one. None if unknown.
    pub growth: Option<i64>,
}

/// A package whose versions differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionChange {
    /// Name without version and output.
    pub name: String,
    /// Versions in the old closure.
    pub from: Vec<String>,
    /// Versions in the new closure.
    pub to: Vec<String>,
    /// Growth of the closure by this package, in bytes. None if unknown.
    pub growth: Option<i64>,
}

/// Output names of derivations, which follow the version (`openssl-3.0.14-bin`).
const OUTPUTS: [&str; 18] = [
    "bin", "data", "debug", "dev", "devdoc", "dist", "doc", "getent", "info", "lib", "lib32", "lib64", "libgcc", "man",
    "modules", "out", "static", "terminfo",
];

/// All paths of one package in a closure.
#[derive(Default)]
struct Entry<'a> {
    versions: BTreeSet<&'a str>,
    paths: BTreeMap<&'a StorePath, Option<u64>>,
}

impl Entry<'_> {
    fn bytes(&self) -> Option<u64> {
        sum(self.paths.values().copied())
    }
}

/// Compares two closures by package name, version and size.
#[must_use]
pub fn closure_diff(old: &[SizedPath], new: &[SizedPath]) -> ClosureDiff {
    let before = by_name(old);
    let after = by_name(new);
    let mut diff = ClosureDiff { bytes: bytes(old, new), ..ClosureDiff::default() };
    let none = Entry::default();
    let package = |name: &str, was: &Entry<'_>, is: &Entry<'_>| Package {
        name: name.to_owned(),
        versions: owned(if is.paths.is_empty() { &was.versions } else { &is.versions }),
        growth: growth(was, is),
    };
    for (name, was) in &before {
        match after.get(name) {
            None => diff.removed.push(package(name, was, &none)),
            Some(is) if is.versions != was.versions => diff.changed.push(VersionChange {
                name: (*name).to_owned(),
                from: owned(&was.versions),
                to: owned(&is.versions),
                growth: growth(was, is),
            }),
            Some(is) if !is.paths.keys().eq(was.paths.keys()) => diff.rebuilt.push(package(name, was, is)),
            Some(_) => {}
        }
    }
    let added = after.iter().filter(|(name, _)| !before.contains_key(*name));
    diff.added.extend(added.map(|(name, is)| package(name, &none, is)));
    diff
}

fn bytes(old: &[SizedPath], new: &[SizedPath]) -> Option<Bytes> {
    let total = |paths: &[SizedPath]| sum(paths.iter().map(|path| path.bytes));
    Some(Bytes { from: total(old)?, to: total(new)? })
}

fn growth(was: &Entry<'_>, is: &Entry<'_>) -> Option<i64> {
    Some(Bytes { from: was.bytes()?, to: is.bytes()? }.growth())
}

/// Returns the sum, or none if one is unknown. A host's numbers may be any.
fn sum(mut all: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    all.try_fold(0_u64, |sum, bytes| Some(sum.saturating_add(bytes?)))
}

fn owned(versions: &BTreeSet<&str>) -> Vec<String> {
    versions.iter().map(|version| (*version).to_owned()).collect()
}

fn by_name(paths: &[SizedPath]) -> BTreeMap<&str, Entry<'_>> {
    let mut packages: BTreeMap<&str, Entry<'_>> = BTreeMap::new();
    for SizedPath { path, bytes } in paths {
        let (name, version) = name_and_version(path);
        let entry = packages.entry(name).or_default();
        entry.versions.extend(version);
        entry.paths.insert(path, *bytes);
    }
    packages
}

/// Splits a store path's name where Nix does: the version begins after the first dash that is not followed by a letter
/// (Nix manual, `builtins.parseDrvName`). The output's name is cut off the end.
#[must_use]
pub fn name_and_version(path: &StorePath) -> (&str, Option<&str>) {
    // Store paths are validated when they are parsed: the hash ends at the first dash.
    let whole = path.as_str().split_once('-').map_or("", |(_, name)| name);
    let whole = match whole.rsplit_once('-') {
        Some((rest, output)) if OUTPUTS.contains(&output) && version_start(rest).is_some() => rest,
        _ => whole,
    };
    match version_start(whole) {
        Some(at) => (&whole[..at], Some(&whole[at + 1..])),
        None => (whole, None),
    }
}

fn version_start(name: &str) -> Option<usize> {
    let begins = |(at, _): &(usize, &str)| name.as_bytes().get(at + 1).is_some_and(|next| !next.is_ascii_alphabetic());
    name.match_indices('-').find(begins).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use machinist_nix::StorePath;

    use super::{Bytes, ClosureDiff, Package, SizedPath, closure_diff, name_and_version};

    /// Words are names of store paths; the prefix `#x` makes a word a different build, the suffix `:7` is its size.
    fn paths(text: &str) -> Vec<SizedPath> {
        let path = |word: &str| {
            let (hash, name) =
                word.strip_prefix('#').map_or(('0', word), |rest| (rest.chars().next().unwrap(), &rest[1..]));
            let (name, bytes) = name.split_once(':').map_or((name, None), |(name, size)| (name, size.parse().ok()));
            let path = StorePath::parse(&format!("/nix/store/{}-{name}", hash.to_string().repeat(32))).unwrap();
            SizedPath { path, bytes }
        };
        text.split_whitespace().map(path).collect()
    }

    fn names(packages: &[Package]) -> Vec<String> {
        packages
            .iter()
            .map(|package| format!("{} {}", package.name, package.versions.join(" ")).trim_end().to_owned())
            .collect()
    }

    #[track_caller]
    fn check_name(text: &str, name: &str, version: Option<&str>) {
        assert_eq!(name_and_version(&paths(text)[0].path), (name, version), "{text}");
    }

    #[test]
    fn the_version_begins_where_nix_says() {
        check_name("etcd-3.5.16", "etcd", Some("3.5.16"));
        check_name("nixos-system-casper-26.05.20261101.abcdef", "nixos-system-casper", Some("26.05.20261101.abcdef"));
        check_name("unit-etcd.service", "unit-etcd.service", None);
        check_name("python3.12-six-1.16.0", "python3.12-six", Some("1.16.0"));
        check_name("X-Restart-Triggers-etcd", "X-Restart-Triggers-etcd", None);
        check_name("linux-6.12.1-modules", "linux", Some("6.12.1"));
        check_name("a-", "a-", None);
    }

    #[test]
    fn an_output_is_not_a_part_of_the_version() {
        check_name("openssl-3.0.14-bin", "openssl", Some("3.0.14"));
        check_name("libfoo-1.2-rc1", "libfoo", Some("1.2-rc1"));
        check_name("etc-man", "etc-man", None);
    }

    #[test]
    fn sizes_of_packages_and_closures_are_compared() {
        let diff = closure_diff(&paths("a-1:10 a-1-bin:5 b-1:7 etc:1 same:3"), &paths("a-2:20 c-1:4 #1etc:3 same:3"));
        assert_eq!(diff.bytes, Some(Bytes { from: 26, to: 30 }));
        assert_eq!(diff.bytes.unwrap().growth(), 4);
        let growth = |packages: &[Package]| packages.iter().map(|package| package.growth.unwrap()).collect::<Vec<_>>();
        assert_eq!((growth(&diff.added), growth(&diff.removed), growth(&diff.rebuilt)), (vec![4], vec![-7], vec![2]));
        assert_eq!(diff.changed[0].growth, Some(5));
    }

    #[test]
    fn an_unknown_or_absurd_size_is_no_wrong_total() {
        let diff = closure_diff(&paths("a-1:10 b-1"), &paths("a-2:20 b-2:7"));
        assert_eq!((diff.bytes, diff.changed[0].growth, diff.changed[1].growth), (None, Some(10), None));
        let most = u64::MAX;
        let diff = closure_diff(&paths(&format!("a-1:{most} b-1:{most}")), &paths("a-2:1"));
        assert_eq!(diff.changed[0].growth, Some(1 - i64::MAX));
    }

    #[test]
    fn equal_closures_do_not_differ() {
        assert_eq!(closure_diff(&paths("a-1 b-2"), &paths("b-2 a-1")), ClosureDiff::default());
    }

    #[test]
    fn added_removed_changed_and_rebuilt_packages_are_told_apart() {
        let diff = closure_diff(&paths("a-1 b-2 c-3 etc"), &paths("a-1 b-2.1 d-4 #1etc"));
        assert_eq!(names(&diff.added), ["d 4"]);
        assert_eq!(names(&diff.removed), ["c 3"]);
        assert_eq!(names(&diff.rebuilt), ["etc"]);
        assert_eq!(
            (diff.changed[0].name.as_str(), &diff.changed[0].from[..], &diff.changed[0].to[..]),
            ("b", &["2".to_owned()][..], &["2.1".to_owned()][..])
        );
    }

    #[test]
    fn several_versions_of_one_package_are_one_line() {
        let diff = closure_diff(&paths("gcc-12 gcc-13"), &paths("gcc-13 gcc-14"));
        assert_eq!(diff.changed.len(), 1);
        assert_eq!(
            (diff.changed[0].from.join(" "), diff.changed[0].to.join(" ")),
            ("12 13".to_owned(), "13 14".to_owned())
        );
    }

    #[test]
    fn outputs_of_one_package_are_one_package() {
        let diff =
            closure_diff(&paths("curl-8.1 curl-8.1-bin curl-8.1-man"), &paths("curl-8.2 curl-8.2-bin curl-8.2-man"));
        assert_eq!(diff.changed.len(), 1);
    }
}
