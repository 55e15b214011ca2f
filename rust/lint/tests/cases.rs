//! Every file of `cases/` produces exactly the findings beside it. `UPDATE_EXPECT=1` rewrites them: read the
//! difference.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use machinist_kubernetes::manifest;
use machinist_lint::{Finding, SCHEMA_MINOR, Severity, lint};

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|ending| ending == "yaml")).collect();
    files.sort();
    files
}

fn findings(case: &Path, minor: u16) -> Vec<Finding> {
    let name = PathBuf::from(case.file_name().unwrap());
    lint(&manifest::parse(&name, &fs::read_to_string(case).unwrap()).unwrap(), minor)
}

fn shown(findings: &[Finding]) -> String {
    let line = |finding: &Finding| {
        let severity = if finding.severity == Severity::Error { "error" } else { "warning" };
        let hint = finding.hint.as_ref().map(|hint| format!("\n  {hint}")).unwrap_or_default();
        format!("{}: {severity} {}: {}{hint}\n", finding.place, finding.rule, finding.message)
    };
    findings.iter().map(line).collect()
}

#[test]
fn each_case_gives_its_findings_and_no_others() {
    let mut rules = BTreeSet::new();
    for case in cases() {
        let found = findings(&case, SCHEMA_MINOR);
        rules.extend(found.iter().map(|finding| finding.rule));
        let expected = case.with_extension("txt");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&expected, shown(&found)).unwrap();
        }
        assert_eq!(shown(&found), fs::read_to_string(&expected).unwrap(), "{}", case.display());
    }
    assert_eq!(rules.len(), 18, "every rule has a case: {rules:?}");
}

#[test]
fn what_a_version_removes_later_is_only_a_warning_before() {
    let case = cases().into_iter().find(|path| path.ends_with("removed-apis.yaml")).unwrap();
    let of = |minor| {
        let found = findings(&case, minor);
        found.iter().filter(|finding| finding.rule == "removed-api").map(|finding| finding.severity).collect::<Vec<_>>()
    };
    assert_eq!(of(36), [Severity::Error; 3]);
    assert_eq!(of(24), [Severity::Error, Severity::Warning, Severity::Warning]);
}

#[test]
fn the_application_of_the_single_machine_has_no_findings() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/single-k3s");
    let documents = manifest::read(&root, "manifests").unwrap();
    assert!(documents.len() > 5);
    assert_eq!(shown(&lint(&documents, SCHEMA_MINOR)), "");
}
