//! Acquires the locks of a command: all that it needs, or none. No command waits for a lock, so two commands cannot
//! wait for each other; the first voter is locked before the others, so of two commands that begin at the same time one
//! gets all locks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use machinist_model::{NodeName, quorum::quorum};
use machinist_remote::Remote;

use super::{
    keeper::{Keeper, each},
    lease::Electorate,
    process::has_ended,
    remote::{Look, look, take},
    state::{Claimant, Decision, Moment, decide},
    table::{Held, table, uptime},
    token::Token,
};
use crate::{
    identity::{Known, Machine},
    step::StepError,
};

/// Number of attempts to take a lock that someone else changes at the same time.
const TRIES: usize = 3;

/// Nodes and voters to lock for a command.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// The nodes to change; each must be locked.
    pub nodes: BTreeSet<NodeName>,
    /// The voters, if the command may take one of them down: every one that responds is locked, a majority at least.
    pub voters: Electorate,
    /// The known identity of each node's machine.
    pub known: Known,
}

/// Reasons for refused locks, by node.
pub type Refusals = BTreeMap<NodeName, StepError>;

/// Nodes with an open connection and the state of their locks.
type Looked = BTreeMap<NodeName, (Arc<dyn Remote>, Look)>;

impl Keeper {
    /// Takes the locks in the scope that the command does not hold yet. `open` are connections to reuse; `note`
    /// receives messages for the user. Returns the voters that do not respond.
    ///
    /// # Errors
    /// A lock is held by someone else or cannot be taken, or a node's name leads to a different machine. In that case
    /// none of these locks was taken.
    pub fn acquire(
        &self,
        scope: &Scope,
        open: &BTreeMap<NodeName, Arc<dyn Remote>>,
        note: &(dyn Fn(&NodeName, &str) + Sync),
    ) -> Result<BTreeSet<NodeName>, Refusals> {
        let held = self.locked();
        let wanted = scope.nodes.union(&scope.voters.all).filter(|node| !held.contains(*node));
        let wanted = wanted.map(|node| (node.clone(), open.get(node).cloned())).collect();
        let (looked, silent) = self.look_at_all(wanted);
        let mut refusals = Refusals::new();
        let mut absent = BTreeSet::new();
        for (node, error) in silent {
            if scope.nodes.contains(&node) {
                refusals.insert(node, error);
            } else {
                note(&node, &format!("is not locked, because it does not answer: {error}"));
                absent.insert(node);
            }
        }
        refusals.extend(self.strange(&scope.known, &looked));
        refusals.extend(looked.iter().filter_map(|(node, (_, look))| Some((node.clone(), self.refusal(look)?))));
        let locked: BTreeSet<NodeName> = held.iter().chain(looked.keys()).cloned().collect();
        if let (true, Some(objection)) = (refusals.is_empty(), scope.voters.objection(&locked)) {
            refusals.extend(absent.iter().map(|node| (node.clone(), StepError::Quorum(objection.clone()))));
        }
        if !refusals.is_empty() {
            return Err(refusals);
        }
        self.take_all(&scope.voters, looked, note)?;
        Ok(absent)
    }

    /// Reads the locks of all nodes at once.
    fn look_at_all(&self, wanted: BTreeMap<NodeName, Option<Arc<dyn Remote>>>) -> (Looked, Refusals) {
        let asked = each(wanted, |node, open| {
            let connected = open.clone().map_or_else(|| self.connector.connect(node).map(Arc::from), Ok);
            let looked = connected.and_then(|remote: Arc<dyn Remote>| {
                let look = look(&*remote)?;
                Ok((remote, look))
            });
            Some(looked.map_err(StepError::from))
        });
        let mut looked = Looked::new();
        let mut silent = Refusals::new();
        for (node, result) in asked {
            match result {
                Ok(found) => drop(looked.insert(node, found)),
                Err(error) => drop(silent.insert(node, error)),
            }
        }
        (looked, silent)
    }

    /// Returns the refusals of nodes whose name leads to the machine of another node.
    fn strange(&self, known: &Known, looked: &Looked) -> Refusals {
        let mut machines: BTreeMap<NodeName, Machine> =
            table(&self.table).held.iter().map(|(node, held)| (node.clone(), held.machine.clone())).collect();
        machines.extend(looked.iter().map(|(node, (_, look))| (node.clone(), look.machine.clone())));
        let objection = |(node, (_, look)): (&NodeName, &(_, Look))| {
            let why = known.objection(node, &look.machine, &machines)?;
            Some((node.clone(), StepError::OtherMachine(why)))
        };
        looked.iter().filter_map(objection).collect()
    }

    fn decide(&self, look: &Look) -> Decision {
        let holder = look.lock.holder.as_ref();
        let Claimant { run, process, .. } = &self.claimant;
        if holder.is_some_and(|holder| holder.run == *run && holder.process == *process) {
            // An earlier attempt of this process took it, and the response was lost.
            return Decision::Resume;
        }
        let holder_ended = holder.is_some_and(has_ended);
        decide(&look.lock, &self.claimant.run, &Moment { holder_ended, ..look.moment.clone() })
    }

    fn refusal(&self, look: &Look) -> Option<StepError> {
        match self.decide(look) {
            Decision::Refuse { why } => Some(StepError::Locked(why)),
            Decision::Take | Decision::Resume | Decision::TakeOver { .. } => None,
        }
    }

    fn take_all(
        &self,
        voters: &Electorate,
        mut looked: Looked,
        note: &(dyn Fn(&NodeName, &str) + Sync),
    ) -> Result<(), Refusals> {
        let first = voters.all.iter().find(|voter| looked.contains_key(*voter)).or(looked.keys().next()).cloned();
        let first = first.and_then(|node| looked.remove_entry(&node)).into_iter().collect();
        let mut taken = BTreeMap::new();
        let mut refusals = Refusals::new();
        for group in [first, looked] {
            if !refusals.is_empty() {
                break;
            }
            for (node, result) in each(group, |node, found| Some(self.take_one(node, found, note))) {
                match result {
                    Ok(held) => drop(taken.insert(node, held)),
                    Err(error) => drop(refusals.insert(node, error)),
                }
            }
        }
        if !refusals.is_empty() {
            self.give_back(taken);
            return Err(refusals);
        }
        self.keep(voters, taken);
        Ok(())
    }

    fn take_one(
        &self,
        node: &NodeName,
        (remote, look): &(Arc<dyn Remote>, Look),
        note: &(dyn Fn(&NodeName, &str) + Sync),
    ) -> Result<Held, StepError> {
        let mut found = look.clone();
        for _ in 0..TRIES {
            match self.decide(&found) {
                Decision::Take | Decision::Resume => {}
                Decision::TakeOver { why } => note(node, &format!("taking the lock over: {why}")),
                Decision::Refuse { why } => return Err(StepError::Locked(why)),
            }
            let renewed = uptime();
            match take(&**remote, &found.lock, &self.claimant)? {
                Ok(token) => return Ok(held(remote, token, found.machine, renewed)),
                Err(now) => found = now,
            }
        }
        Err(StepError::Locked("someone else keeps changing the lock".to_owned()))
    }

    fn keep(&self, voters: &Electorate, taken: BTreeMap<NodeName, Held>) {
        {
            let mut table = table(&self.table);
            table.held.extend(taken);
            table.voters.extend(voters.all.iter().cloned());
            let locked = table.voters.iter().filter(|voter| table.held.contains_key(*voter)).count();
            // Before the first quorum a majority may not have been locked: then all locked voters are required.
            table.needed = quorum(table.voters.len()).min(locked);
        }
        self.renew_from_now_on();
    }
}

fn held(remote: &Arc<dyn Remote>, token: Token, machine: Machine, renewed: Duration) -> Held {
    Held { remote: Arc::clone(remote), token, machine, renewed, renewing: false, lost: None, activation: None }
}
