//! Tests of commands on nodes that are local directories, on which the real scripts run.
#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Barrier},
    thread,
    time::Duration,
};

use machinist_model::NodeName;
use machinist_remote::{Endpoint, FakeRemote, Fault, Output, Remote, RemoteError, Request, Status};

use super::{Keeper, renew, table};
use crate::{
    Interrupt,
    lock::{Electorate, Refusals, Scope, claimant, lease::VALID},
    step::{Connect, StepError},
};

fn name(text: &str) -> NodeName {
    NodeName::parse(text).unwrap()
}

fn names(text: &str) -> BTreeSet<NodeName> {
    text.split_whitespace().map(name).collect()
}

/// A node: a directory that replaces /var/lib/machinist.
struct Node {
    at: Arc<Endpoint>,
    directory: PathBuf,
    programs: PathBuf,
}

impl Remote for Node {
    fn endpoint(&self) -> &Arc<Endpoint> {
        &self.at
    }

    fn run(&self, request: Request<'_>) -> Result<Output, RemoteError> {
        let id = self.directory.join("machine-id");
        let script = request.script.replace("/var/lib/machinist", &self.directory.to_string_lossy());
        let script = script.replace("/etc/machine-id", &id.to_string_lossy());
        let path = format!("{}:{}", self.programs.display(), std::env::var("PATH").unwrap());
        let output = Command::new("sh").args(["-c", &script]).env("PATH", path).output().unwrap();
        let status = Status::Exited(output.status.code().unwrap());
        Ok(Output { status, stdout: output.stdout, stderr: output.stderr })
    }
}

/// Nodes in one directory. The ones in `away` do not respond.
#[derive(Clone)]
struct Nodes {
    root: PathBuf,
    away: BTreeSet<NodeName>,
}

impl Connect for Nodes {
    fn connect(&self, node: &NodeName) -> Result<Box<dyn Remote>, RemoteError> {
        if self.away.contains(node) {
            return Ok(Box::new(FakeRemote::new(node.as_str()).fail_call(1, Fault::ConnectionLost)));
        }
        let at = FakeRemote::new(node.as_str()).endpoint().clone();
        let directory = self.root.join(node.as_str());
        fs::create_dir_all(&directory).unwrap();
        if !directory.join("machine-id").exists() {
            fs::write(directory.join("machine-id"), format!("{node}\n")).unwrap();
        }
        Ok(Box::new(Node { at, directory, programs: self.root.join("bin") }))
    }
}

fn nodes(root: &Path) -> Nodes {
    let program = root.join("bin/systemctl");
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    fs::write(&program, "#!/bin/sh\nexit 0\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    Nodes { root: root.to_owned(), away: BTreeSet::new() }
}

fn keeper(nodes: &Nodes, run: &str) -> Keeper {
    Keeper::new(claimant(run.to_owned(), format!("{run}@desk")), Arc::new(nodes.clone()), Interrupt::default())
}

/// Takes the lock of a node of a cluster with three voters.
fn take(keeper: &Keeper, node: &str) -> Result<BTreeSet<NodeName>, Refusals> {
    let voters = Electorate { all: names("a b c"), counted: names("a b c") };
    let scope = Scope { nodes: names(node), voters, ..Scope::default() };
    keeper.acquire(&scope, &BTreeMap::new(), &|_, _| {})
}

#[test]
fn of_two_commands_on_two_voters_one_gets_all_and_the_other_is_told_by_whom() {
    for _ in 0..8 {
        let directory = tempfile::tempdir().unwrap();
        let nodes = nodes(directory.path());
        let barrier = Barrier::new(2);
        let both = thread::scope(|scope| {
            let run = |run, node| {
                let (nodes, barrier) = (&nodes, &barrier);
                scope.spawn(move || {
                    let keeper = keeper(nodes, run);
                    barrier.wait();
                    let taken = take(&keeper, node);
                    (keeper, taken)
                })
            };
            [run("ann", "b"), run("ben", "c")].map(|thread| thread.join().unwrap())
        });
        let (winners, losers): (Vec<_>, Vec<_>) = both.iter().partition(|(_, taken)| taken.is_ok());
        assert_eq!((winners.len(), losers.len()), (1, 1));
        assert_eq!(winners[0].0.locked(), names("a b c"));
        let refusals = losers[0].1.as_ref().unwrap_err();
        let who = &winners[0].0.claimant().who;
        assert!(refusals.values().all(|error| error.to_string().contains(who)), "{refusals:?}");
        assert_eq!(losers[0].0.locked(), BTreeSet::new());
    }
}

#[test]
fn a_voter_that_does_not_answer_is_left_out_and_two_are_too_many() {
    let directory = tempfile::tempdir().unwrap();
    let mut nodes = nodes(directory.path());
    nodes.away = names("a");
    let first = keeper(&nodes, "ann");
    assert_eq!(take(&first, "b").unwrap(), names("a"));
    assert_eq!(first.locked(), names("b c"));
    nodes.away = names("c");
    let second = keeper(&nodes, "ben");
    assert!(take(&second, "a").is_err(), "b is locked");
    first.release();
    nodes.away = names("a b");
    let refusals = take(&keeper(&nodes, "cas"), "c").unwrap_err();
    let quorum = |error: &StepError| matches!(error, StepError::Quorum(why) if why.starts_with("only 1 of 3 voters"));
    assert!(refusals.values().all(quorum), "{refusals:?}");
    nodes.away = BTreeSet::new();
    assert!(take(&keeper(&nodes, "dan"), "c").is_ok(), "nothing was left locked");
}

/// Makes the locks look as old as after a suspension of the process.
fn suspended(keeper: &Keeper) {
    for held in table(&keeper.table).held.values_mut() {
        held.renewed = held.renewed.saturating_sub(VALID);
    }
}

#[test]
fn a_woken_process_whose_locks_are_still_its_own_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let keeper = keeper(&nodes(directory.path()), "ann");
    take(&keeper, "b").unwrap();
    suspended(&keeper);
    assert_eq!(keeper.token(&name("b")).unwrap().fence, 1);
    assert_eq!(keeper.lost(), None);
}

#[test]
fn a_woken_process_notices_that_another_run_has_its_locks_before_it_does_anything() {
    let directory = tempfile::tempdir().unwrap();
    let nodes = nodes(directory.path());
    let first = keeper(&nodes, "ann");
    take(&first, "b").unwrap();
    for node in ["a", "b", "c"] {
        let lock = directory.path().join(node).join("lock");
        let text = fs::read_to_string(&lock).unwrap();
        let expired = text.lines().map(|line| if line.starts_with("expires=") { "expires=0" } else { line });
        fs::write(&lock, expired.collect::<Vec<_>>().join("\n") + "\n").unwrap();
    }
    let second = keeper(&nodes, "ben");
    take(&second, "c").unwrap();
    suspended(&first);
    let error = first.token(&name("b")).unwrap_err().to_string();
    assert!(error.contains("is gone (ben@desk (run ben) holds it now)"), "{error}");
    assert!(first.lost().is_some());
    first.release();
    assert!(fs::read_to_string(directory.path().join("b/lock")).unwrap().contains("run=ben"), "it releases nothing");
    assert_eq!(second.token(&name("c")).unwrap().fence, 2);
}

#[test]
fn a_node_that_does_not_answer_keeps_no_other_lock_from_being_renewed() {
    let directory = tempfile::tempdir().unwrap();
    let nodes = nodes(directory.path());
    let keeper = keeper(&nodes, "ann");
    take(&keeper, "b").unwrap();
    if let Some(held) = table(&keeper.table).held.get_mut(&name("a")) {
        held.remote = Arc::new(FakeRemote::new("a").answer_with("renew", |_| {
            thread::sleep(Duration::from_secs(60));
            Output { status: Status::Exited(1), stdout: Vec::new(), stderr: Vec::new() }
        }));
    }
    suspended(&keeper);
    renew(&keeper.table, &keeper.connector);
    assert_eq!(keeper.token(&name("b")).unwrap().fence, 1, "two of three are renewed");
}

#[test]
fn two_nodes_that_lead_to_one_machine_are_not_locked() {
    let directory = tempfile::tempdir().unwrap();
    let nodes = nodes(directory.path());
    for node in ["a", "b"] {
        fs::create_dir_all(directory.path().join(node)).unwrap();
        fs::write(directory.path().join(node).join("machine-id"), "0f\n").unwrap();
    }
    let scope = Scope { nodes: names("a b"), ..Scope::default() };
    let refusals = keeper(&nodes, "ann").acquire(&scope, &BTreeMap::new(), &|_, _| {}).unwrap_err();
    assert!(refusals.values().all(|error| matches!(error, StepError::OtherMachine(_))), "{refusals:?}");
    assert!(!directory.path().join("a/lock").exists() && !directory.path().join("b/lock").exists());
}
