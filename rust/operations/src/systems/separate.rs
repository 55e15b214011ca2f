//! Separation of the nodes that failed from the others, which were evaluated and built in one process.

use std::collections::BTreeSet;

use machinist_model::NodeName;
use machinist_nix::{Built, FailedBuild, NixError, StorePath, failed_builds};

use super::{Builder, Chunk, attempt::Failed, attribute};
use crate::failure::{Failure, Kind};

/// Nodes that were built together, with the name of their first link.
pub(super) type Success = (Vec<NodeName>, String, Built);

/// Returns the systems of all chunks, and the failures. If other nodes are to be built nevertheless, the nodes of a
/// failed chunk are separated: by the derivations that failed, or by evaluating each node alone.
pub(super) fn successes(builder: &Builder<'_>, chunks: Vec<Chunk<'_>>) -> (Vec<Success>, Vec<Failed>) {
    let (mut successes, mut failed) = (Vec::new(), Vec::new());
    for Chunk { nodes, link, built } in chunks {
        match built {
            Ok(built) => successes.push((nodes.to_vec(), link, built)),
            Err(error) if !builder.keep_going => failed.push((nodes.to_vec(), failure(error))),
            Err(error) => separate(builder, nodes, &link, error, &mut successes, &mut failed),
        }
    }
    (successes, failed)
}

fn separate(
    builder: &Builder<'_>,
    nodes: &[NodeName],
    link: &str,
    error: NixError,
    successes: &mut Vec<Success>,
    failed: &mut Vec<Failed>,
) {
    let builds = failed_builds(&message(&error));
    if let [node] = nodes {
        failed.push((vec![node.clone()], failure_of(&builds, error)));
        return;
    }
    let Some(needed) = needed(builder, nodes, &builds) else {
        return one_by_one(builder, nodes, link, successes, failed);
    };
    let mut others = Vec::new();
    for (node, needed) in nodes.iter().zip(needed) {
        let own: Vec<FailedBuild> = builds.iter().filter(|build| needed.contains(&build.derivation)).cloned().collect();
        if own.is_empty() {
            others.push(node.clone());
        } else {
            failed.push((vec![node.clone()], of_builds(&own)));
        }
    }
    if !others.is_empty() {
        let link = format!("{link}-others");
        match builder.build(&others, &link) {
            Ok(built) => successes.push((others, link, built)),
            Err(_) => one_by_one(builder, &others, &link, successes, failed),
        }
    }
}

/// Returns the derivations that each node's system needs, in the order of the nodes. None if the failure is not one of
/// builds, or the evaluation fails.
fn needed(builder: &Builder<'_>, nodes: &[NodeName], builds: &[FailedBuild]) -> Option<Vec<BTreeSet<StorePath>>> {
    if builds.is_empty() {
        return None;
    }
    let nix = &builder.project.nix;
    let attributes: Vec<String> = nodes.iter().map(attribute).collect();
    let derivations = nix.derivations(builder.flake, &attributes).ok()?.derivations;
    let closure = |derivation: StorePath| Some(nix.closure(&[derivation]).ok()?.into_iter().collect());
    derivations.into_iter().map(closure).collect()
}

fn one_by_one(
    builder: &Builder<'_>,
    nodes: &[NodeName],
    link: &str,
    successes: &mut Vec<Success>,
    failed: &mut Vec<Failed>,
) {
    for (index, node) in nodes.iter().enumerate() {
        let link = format!("{link}-{index}-alone");
        match builder.build(std::slice::from_ref(node), &link) {
            Ok(built) => successes.push((vec![node.clone()], link, built)),
            Err(error @ NixError::Interrupted { .. }) => {
                return failed.push((nodes[index..].to_vec(), failure(error)));
            }
            Err(error) => failed.push((vec![node.clone()], failure_of(&failed_builds(&message(&error)), error))),
        }
    }
}

/// Returns the messages of nix, without the command line.
fn message(error: &NixError) -> String {
    match error {
        NixError::Failed { message, .. } => message.clone(),
        _ => String::new(),
    }
}

fn failure_of(builds: &[FailedBuild], error: NixError) -> Failure {
    match error {
        _ if !builds.is_empty() => of_builds(builds),
        // Newer versions begin with `error:` and the trace in the next lines.
        NixError::Failed { message, .. } => {
            Failure::new(Kind::Failed, message.strip_prefix("error:").unwrap_or(&message).trim())
        }
        error => failure(error),
    }
}

fn of_builds(builds: &[FailedBuild]) -> Failure {
    let messages: Vec<&str> = builds.iter().map(|build| build.message.as_str()).collect();
    let failure = Failure::new(Kind::Failed, messages.join("\n"));
    let first = builds.first().map(|build| format!("`nix log {}` prints the complete log", build.derivation));
    failure.maybe_hint(first)
}

fn failure(error: NixError) -> Failure {
    Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint())
}

#[cfg(test)]
mod tests {
    use machinist_nix::NixError;

    use super::failure_of;

    #[test]
    fn an_evaluation_that_failed_has_nix_own_words_without_the_command() {
        let failed =
            |message: &str| NixError::Failed { command: "nix build x".to_owned(), message: message.to_owned() };
        assert_eq!(failure_of(&[], failed("error: no disk")).message, "no disk");
        let traced = failed("error:\n       … while calling\n\n       error: no disk");
        assert_eq!(failure_of(&[], traced).message, "… while calling\n\n       error: no disk");
    }
}
