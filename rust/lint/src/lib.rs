//! Linter for manifests that needs no API server: unknown fields and kinds, broken chains of ports, missing secrets,
//! selectors that match nothing. Pure: documents in, findings out.
//!
//! A set of manifests is checked as a unit. Objects created elsewhere are declared where they are used, by the
//! annotation [`EXTERNAL`].

mod deprecated;
mod finding;
mod item;
mod missing;
mod ports;
mod references;
mod schema;
mod selectors;

use machinist_kubernetes::manifest::Document;

pub use self::finding::{Finding, Severity};
use self::item::{Item, items};

/// The annotation that declares objects created elsewhere, separated by spaces: `Secret/db-password
/// ConfigMap/settings`.
pub const EXTERNAL: &str = "machinist.dev/external";

/// The minor version of Kubernetes whose schema is built in: 1.36.
pub const SCHEMA_MINOR: u16 = 36;

/// Returns the findings, sorted by place. `minor` is the minor version of the cluster's Kubernetes.
#[must_use]
pub fn lint(documents: &[Document], minor: u16) -> Vec<Finding> {
    let items: Vec<Item<'_>> = documents.iter().flat_map(items).collect();
    let set = Set { items: &items };
    let mut findings = Vec::new();
    for item in &items {
        schema::check(item, minor, &mut findings);
        deprecated::check(item, minor, &mut findings);
    }
    set.duplicates(&mut findings);
    ports::check(&set, &mut findings);
    selectors::check(&set, &mut findings);
    references::check(&set, &mut findings);
    findings.sort_by(|a, b| (&a.place, a.rule, &a.message).cmp(&(&b.place, b.rule, &b.message)));
    findings.dedup();
    findings
}

/// All objects of the manifests.
struct Set<'a> {
    items: &'a [Item<'a>],
}

impl<'a> Set<'a> {
    /// The objects of a kind in a namespace.
    fn of(&self, kind: &'a str, namespace: &'a str) -> impl Iterator<Item = &'a Item<'a>> {
        self.items.iter().filter(move |item| item.kind == kind && item.namespace == namespace)
    }

    fn find(&self, kind: &'a str, namespace: &'a str, name: &str) -> Option<&'a Item<'a>> {
        self.of(kind, namespace).find(|item| item.name == name)
    }

    fn duplicates(&self, findings: &mut Vec<Finding>) {
        let mut seen = std::collections::BTreeMap::new();
        for item in self.items {
            let group = item.api_version.split('/').next().filter(|_| item.api_version.contains('/'));
            let id = (group, item.kind, item.namespace, item.name);
            if let Some(first) = seen.insert(id, item) {
                let message = format!("duplicate {}", item.title());
                let hint = format!("also defined at {}; keep one", first.document.place_of(&first.base));
                findings.push(item.error("duplicate-object", "/metadata/name", message).hint(hint));
            }
        }
    }
}
