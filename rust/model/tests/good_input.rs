//! Cases of valid files: each has a machines.nix, evaluated by nix, and the resulting cluster as JSON, defaults filled
//! in. `UPDATE_EXPECT=1` rewrites the expected clusters.

#![allow(clippy::unwrap_used, clippy::panic)]

mod cases;

use cases::{evaluate_all, render};
use machinist_model::load;
use serde_json::json;

#[test]
fn every_good_file_means_the_expected_cluster() {
    let mut differing = Vec::new();
    for case in evaluate_all(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/good-input")) {
        let loaded = load(&case.json, &case.source, "machines.nix", &case.directory()).unwrap_or_else(|diagnostics| {
            panic!("{}: {}", case.name, diagnostics.iter().map(render).collect::<String>())
        });
        let warnings: Vec<String> =
            loaded.warnings.iter().map(|warning| format!("{} {}", warning.code, warning.path)).collect();
        let text = serde_json::to_string_pretty(&json!({ "warnings": warnings, "cluster": loaded.cluster })).unwrap();
        if !case.matches("cluster.json", &text) {
            differing.push(case.name);
        }
    }
    assert!(differing.is_empty(), "run with UPDATE_EXPECT=1 and review the differences: {differing:?}");
}
