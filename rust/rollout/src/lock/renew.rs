//! Renewal of held locks, each by a thread of its own, and an interruption on its way to the hosts.

use std::{sync::Arc, thread, time::Duration};

use machinist_model::NodeName;
use machinist_remote::{Remote, RemoteError};

use super::{
    lease,
    remote::{self, Kept},
    table::{Shared, table, uptime},
    token::Token,
};
use crate::step::{Connector, activate::Activation};

/// Tells each host in the middle to go back. The host decides: one that was just confirmed stays.
pub fn abort(shared: &Shared) {
    let told: Vec<(Activation, Arc<dyn Remote>)> = table(shared)
        .held
        .values_mut()
        .filter_map(|held| Some((held.activation.take()?, Arc::clone(&held.remote))))
        .collect();
    for (activation, remote) in told {
        // If it cannot be told, no confirmation comes and it goes back by itself.
        let _told = activation.ask_to_abort(&*remote, "the operator stopped the run");
    }
}

/// Renews the locks, each by a thread of its own: a node that does not answer must not let the other locks grow old. One that is
/// still at it is left alone.
pub fn renew(shared: &Shared, connector: &Connector) {
    let now = uptime();
    let mut table = table(shared);
    let lasts = lease::lasts(table.group_since().unwrap_or(now), now);
    for (node, held) in table.held.iter_mut().filter(|(_, held)| !held.renewing) {
        held.renewing = true;
        let renewal =
            Renewal { node: node.clone(), remote: Arc::clone(&held.remote), token: held.token.clone(), lasts };
        let shared = Arc::clone(shared);
        let connector = Arc::clone(connector);
        thread::spawn(move || renewal.run(&shared, &connector));
    }
}

struct Renewal {
    node: NodeName,
    remote: Arc<dyn Remote>,
    token: Token,
    lasts: u64,
}

impl Renewal {
    fn run(&self, shared: &Shared, connector: &Connector) {
        let first = self.ask(&*self.remote);
        let (answer, fresh) = match first {
            Ok(answer) => (Some(answer), None),
            Err(_) => match connector.connect(&self.node).map(Arc::<dyn Remote>::from) {
                Ok(fresh) => (self.ask(&*fresh).ok(), Some(fresh)),
                Err(_) => (None, None),
            },
        };
        let mut table = table(shared);
        // It may have been given back and taken again meanwhile.
        let Some(held) = table.held.get_mut(&self.node).filter(|held| held.token == self.token) else { return };
        held.renewing = false;
        if let Some(fresh) = fresh {
            held.remote = fresh;
        }
        match answer {
            None => {}
            Some((sent, Kept::Ours)) => held.renewed = held.renewed.max(sent),
            Some((_, Kept::Lost(holder))) => {
                let why = format!("the lock of this run on {} is gone ({holder} holds it now)", self.node);
                held.lost.get_or_insert_with(|| why.clone());
                if table.voters.contains(&self.node) {
                    table.lost.get_or_insert(why);
                }
            }
        }
    }

    /// Returns when the renewal was sent, and what the node said.
    fn ask(&self, remote: &dyn Remote) -> Result<(Duration, Kept), RemoteError> {
        let sent = uptime();
        Ok((sent, remote::renew(remote, &self.token, self.lasts)?))
    }
}
