//! Who decrypts a file: the operators, and the nodes that machines.nix names for it, by their SSH host keys.

use std::collections::BTreeSet;

use machinist_model::{Cluster, NodeName, Selection};
use machinist_secrets::KeyRecipient;
use machinist_sops::{Slot, value::DataKey};

use super::store::SecretName;
use crate::{
    certs::hosts,
    context::Context,
    failure::{Failure, Kind},
};

/// Someone who decrypts a file.
#[derive(Debug)]
pub struct Reader {
    /// An operator's or a node's name.
    pub name: String,
    /// The recipient.
    pub recipient: KeyRecipient,
}

/// Operators and nodes of a cluster, with their recipients.
pub(crate) struct Readers {
    pub(crate) operators: Vec<Reader>,
    pub(crate) nodes: Vec<(NodeName, Option<Reader>)>,
}

impl Readers {
    /// Collects them.
    ///
    /// # Errors
    /// An operator has no key that age can encrypt to, or a host key is invalid.
    pub(crate) fn of(context: &Context, cluster: &Cluster) -> Result<Self, Failure> {
        let operator = |operator: &machinist_model::Operator| {
            let recipient = KeyRecipient::of_operator(operator)
                .map_err(|error| Failure::from_error(Kind::Input, &error).maybe_hint(error.hint()))?;
            Ok(Reader { name: operator.name.clone(), recipient })
        };
        let operators = cluster.operators.iter().map(operator).collect::<Result<Vec<_>, Failure>>()?;
        let node = |host: machinist_pki::ssh::Host| {
            let line = host.key.map(|key| key.line());
            let recipient = line.as_deref().and_then(KeyRecipient::of_host_key);
            let reader = recipient.map(|recipient| Reader { name: host.node.to_string(), recipient });
            (host.node, reader)
        };
        let hosts = hosts::hosts(&context.project, cluster, &context.project.certs())?;
        Ok(Self { operators, nodes: hosts.into_iter().map(node).collect() })
    }

    /// Returns those of a file, and the nodes among them whose host key is not known.
    ///
    /// # Errors
    /// There is no operator, or a target matches no node.
    pub(crate) fn of_file(
        &self,
        cluster: &Cluster,
        file: &SecretName,
    ) -> Result<(Vec<&Reader>, Vec<NodeName>), Failure> {
        if self.operators.is_empty() {
            return Err(Failure::new(Kind::Input, "no operators: no one could decrypt the file")
                .hint("add one to `cluster.operators`; `machinist init` makes an identity"));
        }
        let named = nodes_of(cluster, file)?;
        let mut readers: Vec<&Reader> = self.operators.iter().collect();
        let mut without = Vec::new();
        for node in named {
            match self.nodes.iter().find(|(name, _)| *name == node) {
                Some((_, Some(reader))) => readers.push(reader),
                _ => without.push(node),
            }
        }
        let mut known = BTreeSet::new();
        readers.retain(|reader| known.insert(reader.recipient.text()));
        Ok((readers, without))
    }
}

/// Returns the readers of one file. Nodes without a host key are warned about.
pub(crate) fn wanted(context: &Context, cluster: &Cluster, file: &SecretName) -> Result<Vec<Reader>, Failure> {
    let all = Readers::of(context, cluster)?;
    let (readers, without) = all.of_file(cluster, file)?;
    warn(context, file, &without);
    let texts: BTreeSet<String> = readers.iter().map(|reader| reader.recipient.text().to_owned()).collect();
    let nodes = all.nodes.into_iter().filter_map(|(_, reader)| reader);
    let mut known = BTreeSet::new();
    let mut found: Vec<Reader> = all.operators.into_iter().chain(nodes).collect();
    found.retain(|reader| texts.contains(reader.recipient.text()) && known.insert(reader.recipient.text().to_owned()));
    Ok(found)
}

pub(crate) fn warn(context: &Context, file: &SecretName, without: &[NodeName]) {
    for node in without {
        context.events.warn(format!(
            "{node} cannot decrypt {file}: its SSH host key is not known yet; run `machinist secrets rekey` after its install"
        ));
    }
}

/// Wraps a data key for each reader, in their order.
pub(crate) fn wrapped<R: std::borrow::Borrow<Reader>>(key: &DataKey, readers: &[R]) -> Result<Vec<Slot>, Failure> {
    let slot = |reader: &R| {
        let Reader { name, recipient } = reader.borrow();
        let enc = recipient.wrap(&**key).map_err(|error| {
            let failure = Failure::from_error(Kind::Failed, &error);
            Failure { message: format!("{name}: {}", failure.message), ..failure }
        })?;
        Ok(Slot { recipient: recipient.text().to_owned(), enc })
    };
    readers.iter().map(slot).collect()
}

/// Returns the nodes that the cluster says decrypt a file.
fn nodes_of(cluster: &Cluster, file: &SecretName) -> Result<Vec<NodeName>, Failure> {
    let targets = cluster.secrets.get(file.as_str()).map(Vec::as_slice).unwrap_or_default();
    if targets.is_empty() {
        return Ok(Vec::new());
    }
    Selection::resolve(cluster, targets).map_err(|error| {
        let message = format!("machines.nix: secrets.{:?}.nodes: {error}", file.as_str());
        Failure::new(Kind::Input, message).maybe_hint(error.hint())
    })
}
