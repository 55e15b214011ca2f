//! Remote builds: systems are evaluated here and realised on other machines.

use std::{collections::BTreeMap, thread};

use machinist_model::NodeName;
use machinist_nix::{FlakeRef, StorePath};
use machinist_rollout::step::{Connector, StepError, build};

use crate::{
    context::Context,
    event::Event,
    failure::{Failure, Kind},
};

/// Location of builds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum BuildOn {
    /// This computer.
    #[default]
    Local,
    /// Each target builds its own system.
    Target,
    /// One node of the cluster builds all targets.
    Node(NodeName),
}

impl BuildOn {
    /// Reads `local`, `target` or a node's name.
    ///
    /// # Errors
    /// The text is neither of these.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "local" => Ok(Self::Local),
            "target" => Ok(Self::Target),
            name => NodeName::parse(name).map(Self::Node).map_err(|error| error.to_string()),
        }
    }
}

/// Evaluates the targets' systems here and builds them on the builders. With [`BuildOn::Target`], each target has its
/// system afterwards, and this computer has none of them.
pub fn build(
    context: &Context,
    flake: &FlakeRef,
    nodes: &[NodeName],
    on: &BuildOn,
    connector: &Connector,
) -> Result<BTreeMap<NodeName, StorePath>, Failure> {
    let attributes: Vec<String> = nodes.iter().map(attribute).collect();
    let evaluated = context
        .project
        .nix
        .derivations(flake, &attributes)
        .map_err(|error| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint()))?;
    evaluated.warnings.iter().for_each(|warning| context.events.warn(warning));
    let wanted: BTreeMap<NodeName, StorePath> = nodes.iter().cloned().zip(evaluated.derivations).collect();
    match on {
        BuildOn::Node(builder) => {
            let (systems, remote) = realise(context, builder, &wanted, connector)?;
            let paths: Vec<StorePath> = systems.values().cloned().collect();
            build::fetch(&context.project.nix, &*remote, &paths).map_err(|error| failure(builder, &error))?;
            Ok(systems)
        }
        BuildOn::Local | BuildOn::Target => {
            let results: Vec<_> = thread::scope(|scope| {
                let one = |(node, derivation): (&NodeName, &StorePath)| {
                    let wanted = BTreeMap::from([(node.clone(), derivation.clone())]);
                    let node = node.clone();
                    scope.spawn(move || realise(context, &node, &wanted, connector).map(|(systems, _)| systems))
                };
                let threads: Vec<_> = wanted.iter().map(one).collect();
                threads.into_iter().map(thread::ScopedJoinHandle::join).collect()
            });
            let mut systems = BTreeMap::new();
            for result in results {
                systems.extend(result.map_err(|_| Failure::new(Kind::Failed, "a build ended without an answer"))??);
            }
            Ok(systems)
        }
    }
}

type Realised = (BTreeMap<NodeName, StorePath>, Box<dyn machinist_remote::Remote>);

/// Builds on one machine, one system after the other: Nix already parallelises each build.
fn realise(
    context: &Context,
    builder: &NodeName,
    wanted: &BTreeMap<NodeName, StorePath>,
    connector: &Connector,
) -> Result<Realised, Failure> {
    let remote = connector.connect(builder).map_err(|error| failure(builder, &error.into()))?;
    let mut systems = BTreeMap::new();
    for (node, derivation) in wanted {
        context.events.progress(format!("{builder} builds the system of {node}"));
        let line =
            |text: &str| context.events.send(Event::BuildOutput { builder: builder.clone(), text: text.to_owned() });
        let system = build::realise(&context.project.nix, &*remote, derivation, node.as_str(), line)
            .map_err(|error| failure(builder, &error))?;
        systems.insert(node.clone(), system);
    }
    Ok((systems, remote))
}

/// Returns the flake attribute of a node's system.
pub(super) fn attribute(node: &NodeName) -> String {
    format!("nixosConfigurations.{node}.config.system.build.toplevel")
}

fn failure(builder: &NodeName, error: &StepError) -> Failure {
    let mut failure = Failure::from_error(Kind::Failed, error).maybe_hint(error.hint());
    failure.message = format!("{builder} did not build: {}", failure.message);
    let text = failure.in_one_line();
    let needs_another = PLATFORM.iter().any(|words| text.contains(words));
    failure.maybe_hint(needs_another.then(|| format!("{builder} is of another platform: {ANOTHER_BUILDER}")))
}

/// Words of nix about a derivation of another platform: until 2.30, and later.
const PLATFORM: [&str; 2] = ["is required to build '", "required system or feature not available"];

const ANOTHER_BUILDER: &str = "`--build-on target` builds each system on its own machine";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use machinist_model::NodeName;
    use machinist_rollout::step::StepError;

    use super::failure;

    #[test]
    fn a_builder_of_another_platform_is_named_as_the_reason() {
        let hints = |why: &str| {
            failure(&NodeName::parse("a").unwrap(), &StepError::Unknown { why: why.to_owned() }).hints.join("\n")
        };
        assert!(
            hints("error: a 'aarch64-linux' with features {} is required to build '/x', but I am").contains("target")
        );
        assert!(hints("Reason: required system or feature not available").contains("a is of another platform"));
        assert!(!hints("error: builder failed").contains("platform"));
    }
}
