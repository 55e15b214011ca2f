//! Permissions in etcd for the nodes of a service mesh, granted before the nodes change.

use std::sync::Arc;

use machinist_etcd::permissions::Rules;
use machinist_model::NodeName;

use super::{host::Hosts, run::Deploy};
use crate::{EventKind, permissions, step::StepError, text::chain};

impl Deploy {
    /// Grants permissions to new nodes and publishes the overlay's configuration for flannel, so that applications find
    /// both when they start. On failure the deploy continues: known nodes need nothing, and the end of the deploy tries
    /// again.
    pub(super) async fn welcome(self: &Arc<Self>, hosts: &Hosts) {
        let Some(rules) = self.topology().mesh.clone().filter(|_| self.context.locks.lost().is_none()) else { return };
        let (this, all) = (Arc::clone(self), hosts.clone());
        let note = match tokio::task::spawn_blocking(move || this.let_in(&all, &rules)).await {
            Ok(Ok(new)) => shut_out(
                &new,
                &self.topology().members.keys().filter(|member| !hosts.contains_key(*member)).collect::<Vec<_>>(),
            ),
            Ok(Err(error)) => Some(format!(
                "new nodes have no rights in etcd yet, which can fail their applications: {}",
                chain(&error)
            )),
            Err(_) => None,
        };
        if let Some(text) = note {
            self.context.events.run(EventKind::Note { text: format!("careful: {text}") });
        }
    }

    /// Tries the members until one responds, the connected ones first. Returns the nodes that are new to etcd.
    fn let_in(&self, hosts: &Hosts, rules: &Rules) -> Result<Vec<String>, StepError> {
        let mut last = StepError::Gate("no etcd member can be asked".to_owned());
        for host in self.topology().members.keys().filter_map(|member| hosts.get(member)) {
            match permissions::welcome(&*host.remote, rules) {
                Ok(new) => return Ok(new),
                Err(error) => last = error,
            }
        }
        for member in self.topology().members.keys().filter(|member| !hosts.contains_key(*member)) {
            let remote = self.context.connector.connect(member).map_err(StepError::from);
            match remote.and_then(|remote| permissions::welcome(&*remote, rules)) {
                Ok(new) => return Ok(new),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// Returns a warning about new nodes that are blocked by etcd members: a member's firewall allows only the nodes that
/// were known when the member was deployed.
fn shut_out(new: &[String], not_deployed: &[&NodeName]) -> Option<String> {
    let first = not_deployed.first().filter(|_| !new.is_empty())?;
    let (new, is) = (new.join(", "), if new.len() == 1 { "is" } else { "are" });
    Some(format!(
        "{new} {is} new to etcd, and members that this deploy leaves out ({first}) have no way open to new nodes: applications \
         come into the mesh when those are deployed too. `machinist deploy --all` does all in the right order"
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use machinist_model::NodeName;

    use super::shut_out;

    #[test]
    fn new_nodes_are_told_when_members_are_left_out() {
        let member = NodeName::parse("etcd1").unwrap();
        let new = ["w3".to_owned()];
        assert!(shut_out(&new, &[&member]).is_some_and(|text| text.starts_with("w3 is new to etcd")));
        assert_eq!(shut_out(&[], &[&member]), None);
        assert_eq!(shut_out(&new, &[]), None);
    }
}
