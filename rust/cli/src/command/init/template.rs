//! Templates of a new cluster: machinist's examples, embedded in the binary.

use std::collections::BTreeMap;

use include_dir::{Dir, include_dir};

use crate::failure::{Failure, Kind};
use machinist_operations::library::text_files;

static EXAMPLES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../examples");

/// Names and descriptions, the same as in `nix flake init --template`.
const DESCRIPTIONS: &str = include_str!("../../../../../examples/templates.json");

/// Files of a template that `init` generates for each cluster, or that describe the example.
const NOT_COPIED: [&str; 6] = [".gitignore", "README.md", "flake.lock", "flake.nix", "machines.nix", "operators.nix"];

/// Initial content of a cluster.
pub struct Template {
    /// Text of machines.nix, with the cluster's own name.
    pub machines: String,
    /// Node modules and manifests, as paths and texts.
    pub files: Vec<(String, &'static str)>,
}

/// Returns the names of all templates with their descriptions.
pub fn all() -> BTreeMap<String, String> {
    serde_json::from_str(DESCRIPTIONS).unwrap_or_default()
}

/// Returns the template of this name, filled in for the cluster of that name.
pub fn find(name: &str, cluster: &str) -> Result<Template, Failure> {
    let folder = EXAMPLES.get_dir(name).filter(|_| all().contains_key(name)).ok_or_else(|| {
        let names: Vec<String> = all().into_keys().collect();
        Failure::new(Kind::Input, format!("there is no template `{name}`"))
            .hint(format!("the templates are {}; `machinist init --list-templates` describes them", names.join(", ")))
    })?;
    let mut machines = String::new();
    let mut files = Vec::new();
    for (path, text) in text_files(folder) {
        let own = path.strip_prefix(&format!("{name}/")).unwrap_or(&path).to_owned();
        if own == "machines.nix" {
            machines = named(text, name, cluster);
        } else if !NOT_COPIED.contains(&own.as_str()) {
            files.push((own, text));
        }
    }
    Ok(Template { machines, files })
}

/// Replaces the template's cluster name, also within its domain.
fn named(text: &str, template: &str, cluster: &str) -> String {
    text.replacen(&format!("name = \"{template}\";"), &format!("name = \"{cluster}\";"), 1).replacen(
        &format!("domain = \"{template}.internal\";"),
        &format!("domain = \"{cluster}.internal\";"),
        1,
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{EXAMPLES, all, find};
    use crate::command::init::flake_text;

    #[test]
    fn every_template_has_its_machines_under_the_clusters_name() {
        assert!(all().len() >= 7);
        for name in all().keys() {
            let template = find(name, "mine").unwrap();
            assert!(template.machines.contains("name = \"mine\";"), "{name}: {}", template.machines);
            assert!(template.machines.contains("domain = \"mine.internal\";"), "{name}: {}", template.machines);
            assert!(template.machines.contains("operators = import ./operators.nix;"), "{name}");
        }
    }

    #[test]
    fn what_a_template_has_beside_its_machines_comes_with_it() {
        let paths =
            |name: &str| find(name, "mine").unwrap().files.into_iter().map(|(path, _)| path).collect::<Vec<_>>();
        assert!(paths("ha-etcd").is_empty(), "{:?}", paths("ha-etcd"));
        assert!(paths("ha-mesh").contains(&"nodes/ingress1.nix".to_owned()));
        assert!(paths("single-k3s").contains(&"manifests/app.yaml".to_owned()));
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_names() {
        for wrong in ["ha-etc", "", "flat", "../modules"] {
            let failure = find(wrong, "mine").map(|_| ()).unwrap_err();
            assert!(failure.hints[0].contains("ha-etcd, ha-k3s"), "{failure:?}");
        }
    }

    #[test]
    fn a_template_of_nix_has_the_flake_and_the_gitignore_that_init_writes() {
        for name in all().keys() {
            let file = |file: &str| EXAMPLES.get_file(format!("{name}/{file}")).unwrap().contents_utf8().unwrap();
            assert_eq!(file("flake.nix"), flake_text("flake:machinist"), "{name}");
            assert_eq!(file(".gitignore"), crate::command::init::GITIGNORE, "{name}");
        }
    }
}
