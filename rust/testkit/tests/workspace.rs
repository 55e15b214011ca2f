//! Rules of the workspace: the allowed dependencies between crates, and the allowed licences.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// The crates of ours that each crate may use. A new edge is a design decision: a separate commit, with the reason.
const LAYERS: [(&str, &[&str]); 25] = [
    // Our only program on nodes: it has no dependency that a node does not need.
    ("agent", &["mesh", "text"]),
    ("durable", &[]),
    // Shared by all crates that start programs on the operator's computer.
    ("environment", &[]),
    ("ledger", &[]),
    ("mesh", &[]),
    ("model", &[]),
    ("nix", &["environment"]),
    ("remote", &["durable", "environment"]),
    // Independent of the client that it tests: it shares no type with it.
    ("test-cloud", &[]),
    ("text", &[]),
    ("codegen", &["model"]),
    ("etcd", &["mesh", "model"]),
    ("kubernetes", &["model"]),
    ("lint", &["kubernetes", "model"]),
    ("pki", &["durable", "model", "secrets", "text"]),
    ("providers", &["model", "text"]),
    ("sandbox", &["durable", "environment"]),
    ("secrets", &["durable", "model"]),
    // The data key is wrapped by its caller, so it has no identities.
    ("sops", &[]),
    // Only for store paths as a type.
    ("switch", &["nix"]),
    ("topology", &["model"]),
    ("rollout", &["durable", "etcd", "model", "nix", "remote", "switch", "text"]),
    // Its fake cluster takes the place of what rollout connects to.
    ("testkit", &["model", "nix", "remote", "rollout"]),
    (
        "operations",
        &[
            "codegen",
            "durable",
            "etcd",
            "kubernetes",
            "lint",
            "mesh",
            "model",
            "nix",
            "pki",
            "providers",
            "remote",
            "rollout",
            "sandbox",
            "secrets",
            "sops",
            "text",
            "topology",
        ],
    ),
    (
        "cli",
        &[
            "codegen",
            "durable",
            "etcd",
            "kubernetes",
            "lint",
            "mesh",
            "model",
            "nix",
            "operations",
            "pki",
            "providers",
            "remote",
            "rollout",
            "sandbox",
            "secrets",
            "sops",
            "text",
            "topology",
        ],
    ),
];

/// Licences that a dependency may have, as an alternative or as one of several that all apply.
const LICENCES: [&str; 15] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Otherwise crates of platforms that are never built for would have to be fetched.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

fn metadata() -> Metadata {
    MetadataCommand::new()
        .other_options(["--offline", "--filter-platform", PLATFORM].map(str::to_owned).to_vec())
        .exec()
        .unwrap()
}

#[test]
fn the_crates_keep_one_direction_of_dependency() {
    let allowed: BTreeMap<&str, &[&str]> = LAYERS.into_iter().collect();
    let metadata = metadata();
    for package in metadata.workspace_packages() {
        let name = package.name.strip_prefix("machinist-").unwrap();
        let ours = package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development);
        let used: BTreeSet<&str> = ours.filter_map(|dependency| dependency.name.strip_prefix("machinist-")).collect();
        let allowed: BTreeSet<&str> =
            allowed.get(name).unwrap_or_else(|| panic!("{name} has no row in LAYERS")).iter().copied().collect();
        let too_many: Vec<_> = used.difference(&allowed).collect();
        assert!(too_many.is_empty(), "machinist-{name} must not use {too_many:?}");
    }
}

#[test]
fn every_dependency_has_a_licence_that_ours_goes_with() {
    let mut refused = Vec::new();
    for package in &metadata().packages {
        let licence = package.license.as_deref().unwrap_or("none");
        let acceptable = |one: &str| LICENCES.contains(&one.trim().trim_matches(['(', ')']));
        // `A OR B` needs one of them, `A AND B` all; the old `/` means OR.
        let any = |part: &str| part.replace('/', " OR ").split(" OR ").any(acceptable);
        if !licence.split(" AND ").all(any) {
            refused.push(format!("{} {}: {licence}", package.name, package.version));
        }
    }
    assert!(refused.is_empty(), "licences to look at: {refused:#?}");
}

#[test]
fn every_ignored_advisory_has_a_reason() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deny.toml")).unwrap();
    let (_, section) = text.split_once("\n[advisories]\n").unwrap();
    let section = section.split("\n[").next().unwrap();
    let ignored: Vec<&str> = section.lines().filter(|line| line.contains("RUSTSEC-")).collect();
    assert!(!ignored.is_empty() && section.contains("ignore = ["), "{section}");
    for line in ignored {
        let reason = line.split_once("reason = \"").map(|(_, reason)| reason.trim_end_matches(['"', '}', ',', ' ']));
        assert!(reason.is_some_and(|reason| reason.len() > 40), "why is this ignored? {line}");
    }
}
