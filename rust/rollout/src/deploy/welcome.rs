//! What the nodes of a service mesh need in etcd before they change.

use std::sync::Arc;

use machinist_control_plane::permissions::Rules;
use machinist_remote::Remote;

use super::{Deploy, Hosts, chain};
use crate::{EventKind, permissions, step::StepError};

impl Deploy {
    /// Lets new nodes in and says to flannel what the overlay is, so that applications find both when they start. If it cannot be
    /// done the deploy goes on: nodes that are known need nothing, and the end of the deploy looks again.
    pub(super) async fn welcome(self: &Arc<Self>, hosts: &Hosts) {
        let Some(rules) = self.mesh.clone() else { return };
        let (this, hosts) = (Arc::clone(self), hosts.clone());
        let asked = tokio::task::spawn_blocking(move || this.let_in(&hosts, &rules)).await;
        if let Ok(Err(error)) = asked {
            let text = format!(
                "careful: new nodes have no rights in etcd yet, which can fail their applications: {}",
                chain(&error)
            );
            self.events.run(EventKind::Note { text });
        }
    }

    /// Asks members until one answers, those first that are connected.
    fn let_in(&self, hosts: &Hosts, rules: &Rules) -> Result<(), StepError> {
        let mut last = StepError::Gate("no etcd member can be asked".to_owned());
        let give = |remote: &dyn Remote| permissions::welcome(remote, rules).map(drop);
        for host in self.members.keys().filter_map(|member| hosts.get(member)) {
            match give(&*host.remote) {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
        }
        for member in self.members.keys().filter(|member| !hosts.contains_key(*member)) {
            match self.connector.connect(member).map_err(StepError::from).and_then(|remote| give(&*remote)) {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}
