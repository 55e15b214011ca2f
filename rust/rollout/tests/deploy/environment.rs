//! Cluster of etcd members and workers, the runs that deploy it, and their reports as text.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use expect_test::Expect;
use machinist_model::NodeName;
use machinist_nix::{Nix, StorePath};
use machinist_rollout::{
    EventKind, Events, Interrupt,
    deploy::{
        Console, Context, Datastore, Deploy, DeployError, Outcome, Policy, Report, Request, Resume, Target, Topology,
        Traits, Workload,
    },
    identity::Known,
    journal::{Journal, Record, Records},
    lock::{Electorate, Keeper, claimant},
    step::{activate::Bounds, keys::Key},
};
use machinist_testkit::cluster::{Behaviour, FakeCluster};
use tempfile::TempDir;

/// Name of every run: no test begins two.
pub const RUN: &str = "r1";

pub fn name(text: &str) -> NodeName {
    NodeName::parse(text).unwrap()
}

pub fn names(text: &str) -> Vec<NodeName> {
    text.split_whitespace().map(name).collect()
}

/// Returns a node's initial system.
pub fn old(node: &NodeName) -> StorePath {
    StorePath::parse(&format!("/nix/store/{}-nixos-system-{node}-1", "0".repeat(32))).unwrap()
}

/// Returns a node's system to deploy.
pub fn new(node: &NodeName) -> StorePath {
    StorePath::parse(&format!("/nix/store/{}-nixos-system-{node}-2", "1".repeat(32))).unwrap()
}

/// A deploy of a cluster. The fields may be changed before it runs.
pub struct Environment {
    pub cluster: FakeCluster,
    pub policy: Policy,
    pub bootstrapped: bool,
    pub workload: Option<Arc<dyn Workload>>,
    pub console: Option<Arc<dyn Console>>,
    /// The private keys that each system needs.
    pub keys: Vec<String>,
    pub interrupt: Interrupt,
    traits: BTreeMap<NodeName, Traits>,
    members: Vec<NodeName>,
    directory: TempDir,
}

/// Report of a run and its messages to the user.
pub struct Ran {
    pub report: Report,
    pub notes: Vec<String>,
}

impl Environment {
    /// Returns a cluster with these members and workers, which run and boot their initial systems.
    pub fn new(members: &str, workers: &str) -> Self {
        let members = names(members);
        let nodes: Vec<NodeName> = members.iter().cloned().chain(names(workers)).collect();
        let systems = nodes.iter().map(|node| (node.clone(), old(node))).collect();
        let bounds = Bounds {
            activation: Duration::from_millis(200),
            confirmation: Duration::from_millis(200),
            reboot: Duration::from_secs(1),
            etcd: Duration::from_millis(300),
            grace: Duration::ZERO,
        };
        Self {
            cluster: FakeCluster::new(&systems).with_members(&members),
            policy: Policy { bounds, ..Policy::default() },
            bootstrapped: true,
            workload: None,
            console: None,
            keys: Vec::new(),
            interrupt: Interrupt::default(),
            traits: nodes.into_iter().map(|node| (node, Traits::default())).collect(),
            members,
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// Sets the behaviour of a node's new system.
    pub fn behaves(self, node: &str, behaviour: Behaviour) -> Self {
        let node = name(node);
        self.cluster.world().hosts.get_mut(&node).unwrap().behaviours.insert(new(&node), behaviour);
        self
    }

    fn topology(&self) -> Topology {
        let all: BTreeSet<NodeName> = self.members.iter().cloned().collect();
        let counted = if self.bootstrapped { all.clone() } else { BTreeSet::new() };
        Topology {
            members: self.cluster.world().members().clone(),
            bootstrapped: self.bootstrapped,
            datastore: Datastore::Etcd,
            electorate: Electorate { all, counted },
            known: Known { nodes: self.traits.keys().cloned().collect(), ..Known::default() },
            traits: self.traits.clone(),
            mesh: None,
        }
    }

    /// Deploys the new systems of these nodes.
    pub fn deploy(&self, targets: &str) -> Ran {
        let journal = Journal::begin(&self.runs(), RUN).unwrap();
        self.run(&names(targets), journal, None, BTreeSet::new()).unwrap()
    }

    /// Like [`Self::deploy`], for a run that fails before its first wave.
    pub fn refused(&self, targets: &str) -> DeployError {
        let journal = Journal::begin(&self.runs(), RUN).unwrap();
        self.run(&names(targets), journal, None, BTreeSet::new()).err().unwrap()
    }

    /// Continues the run that was cut off, from its journal.
    pub fn resume(&self) -> Ran {
        let record = self.record();
        assert!(!record.ended, "a run that ended is not resumed");
        let targets: Vec<NodeName> = record.systems.keys().cloned().collect();
        let journal = Journal::resume(&self.runs(), RUN).unwrap();
        self.run(&targets, journal, Some(Resume { rebooting: record.rebooting }), record.rebooted).unwrap()
    }

    fn run(
        &self,
        targets: &[NodeName],
        journal: Journal,
        resume: Option<Resume>,
        rebooted: BTreeSet<NodeName>,
    ) -> Result<Ran, DeployError> {
        let connector = Arc::new(self.cluster.clone());
        let claimant = claimant(RUN.to_owned(), "ann@desk".to_owned());
        let locks = Arc::new(Keeper::new(claimant, connector.clone(), self.interrupt.clone()));
        let notes = Arc::new(Mutex::new(Vec::new()));
        let target = |node: &NodeName| Target {
            node: node.clone(),
            system: new(node),
            keys: self.keys.clone(),
            installs_itself: false,
        };
        let deploy = Deploy {
            context: Context {
                connector,
                locks: Arc::clone(&locks),
                keys: Arc::new(|_, files| Ok(files.iter().map(|file| key(file)).collect())),
                nix: Nix::default(),
                workload: self.workload.clone(),
                console: self.console.clone(),
                events: note_into(&notes),
                journal: Arc::new(journal),
            },
            request: Request {
                run: RUN.to_owned(),
                targets: targets.iter().map(target).collect(),
                topology: self.topology(),
                // The hosts have the systems: these tests cover the loop, not the copy.
                from_host: true,
                planned: None,
                rebooted,
            },
            policy: self.policy.clone(),
            resume,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let report = runtime.block_on(deploy.run());
        locks.release();
        let notes = notes.lock().unwrap().clone();
        Ok(Ran { report: report?, notes })
    }

    fn runs(&self) -> PathBuf {
        self.directory.path().join("runs")
    }

    /// Returns the run's record, as the next command reads it.
    pub fn record(&self) -> Record {
        Records::read(&self.runs()).unwrap().runs.pop().unwrap()
    }

    /// Returns the view of another computer after this one has crashed: the hosts in their current state, and the
    /// written part of the journal.
    pub fn after_a_crash(&self) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("runs")).unwrap();
        let file = format!("runs/{RUN}.jsonl");
        std::fs::copy(self.directory.path().join(&file), directory.path().join(&file)).unwrap();
        let cluster = self.cluster.as_it_is();
        for host in cluster.world().hosts.values_mut() {
            host.lock.text = host.lock.text.replace(&std::process::id().to_string(), "4194305");
        }
        Self {
            cluster,
            policy: self.policy.clone(),
            bootstrapped: self.bootstrapped,
            workload: self.workload.clone(),
            console: self.console.clone(),
            keys: self.keys.clone(),
            interrupt: Interrupt::default(),
            traits: self.traits.clone(),
            members: self.members.clone(),
            directory,
        }
    }

    /// Returns the nodes that run and boot their new systems.
    pub fn changed(&self) -> String {
        let is_new = |node: &&NodeName| {
            let host = self.cluster.host(node);
            host.running == Some(new(node)) && host.profile == Some(new(node))
        };
        words(self.traits.keys().filter(is_new))
    }

    /// Returns the nodes that run and boot their initial systems.
    pub fn unchanged(&self) -> String {
        let is_old = |node: &&NodeName| {
            let host = self.cluster.host(node);
            host.running == Some(old(node)) && host.profile == Some(old(node))
        };
        words(self.traits.keys().filter(is_old))
    }

    /// Returns the nodes on which an activation was started, in order.
    pub fn activated(&self) -> String {
        words(self.cluster.requested("start the activation").iter())
    }

    /// Returns the nodes whose lock is still held.
    pub fn locked(&self) -> String {
        words(self.traits.keys().filter(|node| self.cluster.host(node).lock.holder().is_some()))
    }
}

fn key(file: &str) -> Key {
    Key { file: file.to_owned(), content: b"key".to_vec().into() }
}

pub fn words<'a>(nodes: impl Iterator<Item = &'a NodeName>) -> String {
    nodes.map(NodeName::as_str).collect::<Vec<_>>().join(" ")
}

/// Collects the messages to the user other than the outcomes.
fn note_into(notes: &Arc<Mutex<Vec<String>>>) -> Events {
    let notes = Arc::clone(notes);
    Events::new(move |event| {
        if let EventKind::Note { text } = event.kind {
            let node = event.node.map_or_else(String::new, |node| format!("{node}: "));
            notes.lock().unwrap().push(format!("{node}{text}"));
        }
    })
}

impl Ran {
    /// Compares the report: one line per node, then etcd and whether the run was stopped.
    #[track_caller]
    pub fn check(&self, expect: &Expect) {
        let mut text = String::new();
        for (node, outcome) in &self.report.nodes {
            let words = match outcome {
                Outcome::Unchanged => "unchanged".to_owned(),
                Outcome::Changed => "changed".to_owned(),
                Outcome::NotStarted { why } => format!("not started: {why}"),
                Outcome::Refused { why } => format!("refused: {why}"),
                Outcome::Failed { why, verdict } => format!("failed, {verdict:?}: {why}"),
                Outcome::Reverted { why } => format!("went back: {why}"),
            };
            writeln!(text, "{node} {words}").unwrap();
        }
        if let Some(etcd) = &self.report.etcd {
            let healthy = etcd.healthy.map_or_else(|| "?".to_owned(), |healthy| healthy.to_string());
            writeln!(text, "etcd {healthy} of {}", etcd.members).unwrap();
        }
        if self.report.interrupted {
            text.push_str("interrupted\n");
        }
        expect.assert_eq(&text);
    }
}

/// Records its calls, and fails to drain one node.
#[derive(Default)]
pub struct Pods {
    /// The calls, as sentences.
    pub said: Mutex<Vec<String>>,
    /// The node that is not drained.
    pub stays_on: Option<NodeName>,
}

impl Workload for Pods {
    fn leave(&self, node: &NodeName, _tell: &(dyn Fn(&str) + Send + Sync)) -> Result<(), String> {
        self.said.lock().unwrap().push(format!("leave {node}"));
        if self.stays_on.as_ref() == Some(node) { Err("a pod stays".to_owned()) } else { Ok(()) }
    }

    fn come_back(&self, node: &NodeName) -> Result<(), String> {
        self.said.lock().unwrap().push(format!("come back to {node}"));
        Ok(())
    }
}
