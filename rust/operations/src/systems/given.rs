//! Systems built elsewhere, for example by CI: validated and deployed unchanged.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use machinist_model::NodeName;
use machinist_nix::StorePath;

use crate::{
    failure::{Failure, Kind, OrFail},
    project::Project,
};

/// System and its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Name of the node; absent if there is only one target.
    node: Option<NodeName>,
    system: StorePath,
}

impl Given {
    /// Reads `NODE=PATH` or `PATH`.
    ///
    /// # Errors
    /// The text has neither form.
    pub fn parse(text: &str) -> Result<Self, String> {
        // A path may contain `=` too, but begins with a slash.
        let (node, path) = match text.split_once('=') {
            Some((node, path)) if !node.starts_with('/') => (Some(node), path),
            _ => (None, text),
        };
        let node = node.map(NodeName::parse).transpose().map_err(|error| error.to_string())?;
        let path = path.strip_suffix('/').unwrap_or(path);
        Ok(Self { node, system: StorePath::parse(path).map_err(|error| error.to_string())? })
    }
}

/// Returns the targets' systems, or all problems with the given ones.
pub fn systems(
    project: &Project,
    given: &[Given],
    nodes: &[NodeName],
) -> Result<BTreeMap<NodeName, StorePath>, Failure> {
    let systems = assign(given, nodes).map_err(|problem| Failure::new(Kind::Input, problem))?;
    let paths: Vec<StorePath> = systems.values().cloned().collect();
    let valid = project.nix.valid(&paths).failed()?;
    let absent: Vec<&str> = paths.iter().filter(|path| !valid.contains(*path)).map(StorePath::as_str).collect();
    if !absent.is_empty() {
        let failure = Failure::new(Kind::Input, format!("not in this computer's store: {}", absent.join(", ")));
        return Err(failure.hint(format!(
            "fetch it from where it was built: `nix copy --from STORE {}`, with STORE such as ssh://ci.example.org",
            absent.join(" ")
        )));
    }
    let founded = project.state()?.etcd.bootstrapped;
    let problem = |(node, system): (&NodeName, &StorePath)| wrong(node, Path::new(system.as_str()), founded);
    let problems: Vec<String> = systems.iter().filter_map(problem).collect();
    if problems.is_empty() { Ok(systems) } else { Err(Failure::new(Kind::Refused, problems.join("\n"))) }
}

/// Assigns each target its system, or returns the mismatches.
fn assign(given: &[Given], nodes: &[NodeName]) -> Result<BTreeMap<NodeName, StorePath>, String> {
    let mut systems = BTreeMap::new();
    for Given { node, system } in given {
        let node = match (node, nodes) {
            (Some(node), _) => node,
            (None, [only]) => only,
            (None, _) => return Err(format!("whose system is {system}? Say `--store-path NODE={system}`")),
        };
        if !nodes.contains(node) {
            return Err(format!("--store-path names {node}, which is no target"));
        }
        if systems.insert(node.clone(), system.clone()).is_some() {
            return Err(format!("--store-path names {node} twice"));
        }
    }
    match nodes.iter().find(|node| !systems.contains_key(*node)) {
        Some(node) => Err(format!("--store-path is missing for {node}: `--store-path {node}=/nix/store/...`")),
        None => Ok(systems),
    }
}

/// Returns the reason why the system must not be deployed to the node, if any.
fn wrong(node: &NodeName, system: &Path, founded: bool) -> Option<String> {
    let shown = system.display();
    if !system.join("bin/switch-to-configuration").exists() {
        return Some(format!("{node}: {shown} is no NixOS system: it has no bin/switch-to-configuration"));
    }
    let name = fs::read_to_string(inside(system, "etc/hostname")).unwrap_or_default();
    if name.trim() != node.as_str() {
        return Some(format!("{node}: {shown} is the system of {:?}, as its /etc/hostname says", name.trim()));
    }
    let etcd = fs::read_to_string(inside(system, "etc/machinist/etcd.env")).unwrap_or_default();
    (founded && etcd.lines().any(|line| line.trim() == "ETCD_INITIAL_CLUSTER_STATE=new")).then(|| {
        format!(
            "{node}: {shown} was built before the first quorum was recorded: under it a member with an empty disk would \
             found a second etcd cluster. Build it again with state/cluster.json and generated/ as they are now"
        )
    })
}

/// Returns a path inside the system, provided that its links do not lead out of the store.
fn inside(system: &Path, name: &str) -> PathBuf {
    let path = system.join(name);
    match path.canonicalize() {
        Ok(target) if target.starts_with("/nix/store") || target.starts_with(system) => target,
        _ => PathBuf::new(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{fs, path::Path};

    use machinist_model::NodeName;

    use super::{Given, assign, wrong};

    const A: &str = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-nixos-system-a";
    const B: &str = "/nix/store/1123456789abcdfghijklmnpqrsvwxyz-nixos-system-b";

    fn names(names: &[&str]) -> Vec<NodeName> {
        names.iter().map(|name| NodeName::parse(name).unwrap()).collect()
    }

    fn assigned(given: &[String], nodes: &[&str]) -> Result<String, String> {
        let given: Vec<Given> = given.iter().map(|text| Given::parse(text)).collect::<Result<_, _>>()?;
        let systems = assign(&given, &names(nodes))?;
        Ok(systems.iter().map(|(node, system)| format!("{node}={system}")).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn each_target_gets_the_system_that_is_named_for_it() {
        let (a, b) = (format!("a={A}"), format!("b={B}"));
        assert_eq!(assigned(&[b.clone(), a.clone()], &["a", "b"]), Ok(format!("{a} {b}")));
        assert_eq!(assigned(&[format!("{A}/")], &["a"]), Ok(a.clone()));
        for (given, nodes, words) in [
            (vec![A.to_owned()], vec!["a", "b"], "whose system"),
            (vec![a.clone()], vec!["a", "b"], "missing for b"),
            (vec![a.clone(), b], vec!["a"], "names b, which is no target"),
            (vec![a.clone(), a], vec!["a"], "twice"),
            (vec!["a=/tmp/x".to_owned()], vec!["a"], "is not a store path"),
            (vec![format!("A b={A}")], vec!["a"], "A b"),
        ] {
            let error = assigned(&given, &nodes).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    fn system(hostname: &str, etcd: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in
            [("bin/switch-to-configuration", ""), ("etc/hostname", hostname), ("etc/machinist/etcd.env", etcd)]
        {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        directory
    }

    #[test]
    fn only_a_nodes_own_system_is_brought_to_it_and_none_that_founds_a_second_cluster() {
        let (a, new) = (&names(&["a"])[0], "X=1\nETCD_INITIAL_CLUSTER_STATE=new\n");
        assert_eq!(wrong(a, system("a\n", "").path(), true), None);
        assert_eq!(wrong(a, system("a\n", new).path(), false), None);
        for (system, words) in [
            (system("b\n", ""), "is the system of \"b\""),
            (system("", ""), "is the system of \"\""),
            (system("a\n", new), "found a second etcd cluster"),
        ] {
            let problem = wrong(a, system.path(), true).unwrap();
            assert!(problem.contains(words), "{problem}");
        }
        assert!(wrong(a, Path::new("/nowhere"), true).unwrap().contains("no NixOS system"));
    }
}
