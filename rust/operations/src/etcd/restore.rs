//! Restore of etcd from a snapshot. Nothing is changed until every member has the snapshot; from then on a member
//! restores before its etcd starts, regardless of the trigger (`modules/etcd-restore.nix`). An interrupted restore
//! therefore continues, and the same request may be repeated.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufRead, BufReader, BufWriter, Read, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use machinist_etcd::snapshot::{Whole, check};
use machinist_model::{NodeName, moving::Command, quorum::quorum};
use machinist_remote::Remote;
use machinist_rollout::{
    deploy::{Outcome, Report},
    lock::{Scope, Token},
    membership::Voice,
    step::StepError,
    upkeep::{self, Restore},
};
use machinist_secrets::decrypt_from;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::session::{Session, failed};
use crate::{
    consent::Question,
    context::Context,
    failure::{self, Failure, Kind, OrFail as _},
    locks, project, query,
    rollout::{options::Options, run::Run, target::voters},
    run_id::run_id,
    size::size,
    systems::{BuildOn, Building},
};

/// Number of leading bytes that distinguish an age file from a snapshot.
const AGE_BINARY: &[u8] = b"age-encryption.org/";
const AGE_ARMORED: &[u8] = b"-----BEGIN AGE";

/// Time limit for all members of etcd to become healthy.
const SETTLING: Duration = Duration::from_secs(120);

/// Request to restore etcd.
#[derive(Clone, Debug)]
pub struct Request {
    /// Path of a file, encrypted or not; `NODE:PATH` on a member; or `latest`.
    pub snapshot: String,
    /// Restores even if etcd is running: writes since the snapshot are moved aside.
    pub discard_running_data: bool,
    /// Rollout options for members that are new.
    pub options: Options,
}

/// Outcome of a restore.
#[derive(Clone, Debug)]
pub enum End {
    /// etcd runs with the snapshot's data.
    Restored(Restored),
    /// Not all new members got their systems.
    NotDone {
        /// Outcome of each node.
        report: Box<Report>,
    },
}

/// etcd after a restore.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Size of the snapshot, in bytes.
    pub bytes: u64,
    /// Number of keys.
    pub keys: usize,
    /// Revision of etcd.
    pub revision: u64,
    /// Directory on each member that holds the former data.
    pub before: String,
    /// Description of a quota alarm that is part of the snapshot.
    pub quota_notice: Option<String>,
    /// True if Kubernetes components still cache the former data.
    pub runs_kubernetes: bool,
    /// True if all members are present and healthy.
    pub healthy: bool,
}

/// Restores etcd from a snapshot.
///
/// # Errors
/// Nothing was changed; or the restore was interrupted, and the same request continues.
pub fn run(context: &Context, request: &Request) -> Result<End, Failure> {
    Session::open(context, request.options.accept_host_key)?.restore(request)
}

/// Members, each with its connection.
type Members = BTreeMap<NodeName, Arc<dyn Remote>>;

impl Session<'_> {
    fn restore(&self, request: &Request) -> Result<End, Failure> {
        let begun = Instant::now();
        let nodes: Vec<NodeName> = voters(&self.cluster).into_keys().collect();
        self.refuse_conflicts()?;
        self.context.require_certificates(&self.cluster, &nodes)?;
        let members = self.reach(request, &nodes)?;
        let (file, taken) = self.fetch(&request.snapshot, &members)?;
        let whole = self.examine(&file)?;
        self.agree(request, &nodes, &taken, &whole)?;
        let mark = run_id(self.context);
        let restore = Restore { mark: &mark, digest: &whole.digest };
        self.send(&restore, &file, &members)?;
        self.say("etcd is stopped on all members; the data that is there now is kept beside the restored");
        for (node, remote) in &members {
            let token = self.token_of(node)?;
            restore.ask(&**remote, &token).map_err(|error| self.cut_off(node, &error))?;
        }
        let mut lacking = BTreeSet::new();
        for (node, remote) in &members {
            let token = self.token_of(node)?;
            if !restore.start(&**remote, &token).map_err(|error| self.cut_off(node, &error))? {
                lacking.insert(node.clone());
            }
        }
        for (node, remote) in members.iter().filter(|(node, _)| !lacking.contains(*node)) {
            restore.wait(&**remote).map_err(|error| self.cut_off(node, &error))?;
        }
        if !lacking.is_empty() {
            self.say(&format!("{} get their systems", names(&lacking.into_iter().collect::<Vec<_>>())));
            if let Some(report) = self.bring_systems(request, nodes, begun)? {
                return Ok(End::NotDone { report });
            }
        }
        self.end(&mark, &whole)
    }

    /// Refuses conflicts except for addresses: the restored cluster is bootstrapped at those in machines.nix, but its
    /// data has the former ranges and names.
    fn refuse_conflicts(&self) -> Result<(), Failure> {
        let state = self.context.project.state()?;
        let mut conflicts = state.conflicts_with(&self.cluster, Command::RestoreEtcd);
        conflicts.retain(|conflict| !conflict.is_address());
        project::refuse(&conflicts)
    }

    /// Connects to all members: an absent one would come back with the former data.
    fn reach(&self, request: &Request, nodes: &[NodeName]) -> Result<Members, Failure> {
        let mut members = Members::new();
        for (node, asked) in query::nodes(nodes, &self.connector)? {
            let (remote, _) = asked.map_err(|error| {
                let message = format!("{node} must be there for a restore: {}", failure::words(&node, &error));
                Failure::new(Kind::Failed, message).maybe_hint(error.hint())
            })?;
            members.insert(node, Arc::from(remote));
        }
        let state = self.context.project.state()?;
        let accepts_new = request.options.accept_host_key.is_some();
        let scope = locks::of_voters(&self.cluster, &state, nodes.iter().cloned());
        let known = locks::known(&self.cluster, &state, accepts_new);
        self.locks.hold(&Scope { known, ..scope }, &members)?;
        Ok(members)
    }

    /// Returns a file on this computer, and a description of its source.
    fn fetch(&self, wanted: &str, members: &Members) -> Result<(PathBuf, String), Failure> {
        if wanted == "latest" {
            let newest = self.snapshots().0.into_iter().next();
            let newest = newest.ok_or_else(|| {
                Failure::new(Kind::Input, "no member has a snapshot of its own")
                    .hint("name a file: `.machinist/snapshots/` has those that `machinist node` took")
            })?;
            let from = format!("the snapshot of {} from {}", newest.node, time(newest.taken));
            return Ok((self.bring(&newest.node, &newest.path, members)?, from));
        }
        let node = wanted.split_once(':').and_then(|(node, path)| Some((NodeName::parse(node).ok()?, path)));
        if let Some((node, path)) = node.filter(|(node, _)| members.contains_key(node)) {
            return Ok((self.bring(&node, path, members)?, format!("{path} of {node}")));
        }
        let file = PathBuf::from(wanted);
        if !file.is_file() {
            let failure = Failure::new(Kind::Input, format!("there is no file {wanted}"));
            return Err(
                failure.hint("`machinist etcd snapshots` lists those on the members; `latest` takes the newest")
            );
        }
        Ok((file, wanted.to_owned()))
    }

    /// Fetches a snapshot from a member without decrypting it.
    fn bring(&self, node: &NodeName, path: &str, members: &Members) -> Result<PathBuf, Failure> {
        let directory = self.context.project.local().join("snapshots");
        std::fs::create_dir_all(&directory).failed()?;
        let name = Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let file = directory.join(format!("{node}-{name}"));
        let remote = members.get(node).ok_or_else(|| Failure::new(Kind::Input, format!("{node} is no member")))?;
        let mut partial = tempfile::NamedTempFile::new_in(&directory).failed()?;
        let mut output = BufWriter::new(partial.as_file_mut());
        upkeep::read_file(&**remote, path, &mut output).map_err(|error| failed(&error))?;
        output.flush().failed()?;
        drop(output);
        machinist_durable::persist(partial, &file).failed()?;
        Ok(file)
    }

    /// Opens the file for each read, decrypting it if it is encrypted.
    fn read(&self, file: &Path) -> Result<Box<dyn Read + Send>, Failure> {
        let mut content = BufReader::with_capacity(1 << 18, File::open(file).failed()?);
        let head = content.fill_buf().failed()?;
        if !head.starts_with(AGE_BINARY) && !head.starts_with(AGE_ARMORED) {
            return Ok(Box::new(content));
        }
        let identities = self
            .context
            .keyring
            .open()
            .map_err(|error| Failure::from_error(Kind::Input, &error).maybe_hint(error.hint()))?;
        let opened = decrypt_from(&identities, file, content, &self.cluster.operators)
            .map_err(|error| Failure::from_error(Kind::Input, &error).maybe_hint(error.hint()))?;
        Ok(Box::new(opened))
    }

    fn examine(&self, file: &Path) -> Result<Whole, Failure> {
        check(self.read(file)?).map_err(|error| {
            let message = format!("{} cannot be restored", file.display());
            Failure::new(Kind::Input, format!("{message}: {}", Failure::from_error(Kind::Input, &error).in_one_line()))
                .hint("take another one: `machinist etcd snapshots` lists those on the members")
        })
    }

    /// Requires an explicit confirmation before data is lost.
    fn agree(&self, request: &Request, nodes: &[NodeName], taken: &str, whole: &Whole) -> Result<(), Failure> {
        let running = self.voice().ok().filter(|voice| voice.health.healthy() >= quorum(nodes.len()));
        if let Some(voice) = running.filter(|_| !request.discard_running_data) {
            let message = format!("etcd runs ({} of {} members are healthy)", voice.health.healthy(), nodes.len());
            return Err(Failure::new(Kind::Refused, format!("{message}: a restore would take it back in time")).hint(
                "one member that lost its data: `machinist node replace NODE`; to go back all the same: --discard-running-data",
            ));
        }
        let cluster = self.cluster.name.as_str();
        let size = size(whole.bytes);
        let question = format!(
            "{taken}, {size}, becomes the data of etcd on {}. Everything written since then is put aside. Type {cluster} to go on:",
            names(nodes)
        );
        let consequence = format!("the data of etcd on {} would be replaced", names(nodes));
        let accepted = vec![cluster.to_owned()];
        self.context.consent.ask(&Question { text: question, accepted, consequence })
    }

    fn send(&self, restore: &Restore<'_>, file: &Path, members: &Members) -> Result<(), Failure> {
        for (node, remote) in members {
            self.say(&format!("the snapshot goes to {node}"));
            let token = self.locks.token(node).map_err(|error| failed(&error))?;
            restore.send(&**remote, &token, self.read(file)?).map_err(|error| {
                let message = format!("{node} has not got the snapshot: {error}");
                Failure::new(Kind::Failed, message).hint("nothing was changed; run the same command again")
            })?;
        }
        Ok(())
    }

    /// Deploys the members' systems, which starts etcd where it was missing.
    fn bring_systems(
        &self,
        request: &Request,
        nodes: Vec<NodeName>,
        begun: Instant,
    ) -> Result<Option<Box<Report>>, Failure> {
        let state = self.context.project.state()?;
        let run = Run {
            context: self.context,
            build_on: &BuildOn::Local,
            building: &Building::default(),
            options: &request.options,
            cluster: &self.cluster,
            nodes,
            voters: voters(&self.cluster),
            connector: self.connector.clone(),
            locks: &self.locks,
        };
        let report = run.pass(&state, None, None, BTreeSet::new())?;
        let is_done = |outcome: &Outcome| matches!(outcome, Outcome::Changed | Outcome::Unchanged);
        if report.nodes.values().all(is_done) {
            return Ok(None);
        }
        run.report(&report, begun.elapsed());
        Ok(Some(Box::new(report)))
    }

    fn end(&self, mark: &str, whole: &Whole) -> Result<End, Failure> {
        let voice = self.settled()?;
        let at_their_addresses = voice.health.members.iter().filter(|(_, member)| member.id.is_some());
        self.context
            .project
            .record_running(&self.cluster, &at_their_addresses.map(|(name, _)| name.clone()).collect())?;
        let (revision, keys) = upkeep::get(&voice, upkeep::Keys { key: "", prefix: true }, false)
            .map(|(revision, entries)| (revision, entries.len()))
            .map_err(|error| failed(&error))?;
        Ok(End::Restored(Restored {
            bytes: whole.bytes,
            keys,
            revision,
            before: format!("/var/lib/etcd/member.before-{mark}"),
            quota_notice: voice.health.quota_notice(),
            runs_kubernetes: self.cluster.nodes.values().any(|node| self.cluster.runs_kubernetes(node)),
            healthy: voice.health.is_whole(),
        }))
    }

    /// Waits until every member is healthy, within the time needed for an election and for reading a large database.
    fn settled(&self) -> Result<Voice, Failure> {
        let deadline = Instant::now() + SETTLING;
        loop {
            match self.voice() {
                Ok(voice) if voice.health.is_whole() || Instant::now() >= deadline => return Ok(voice),
                Err(failure) if Instant::now() >= deadline => return Err(failure),
                _ => thread::sleep(Duration::from_millis(200)),
            }
        }
    }

    fn say(&self, text: &str) {
        self.context.events.note_all(text);
    }

    fn token_of(&self, node: &NodeName) -> Result<Token, Failure> {
        self.locks.token(node).map_err(|error| self.cut_off(node, &error))
    }

    fn cut_off(&self, node: &NodeName, error: &StepError) -> Failure {
        let message = format!("the restore is not done on {node}: {}", failure::words(node, error));
        Failure::new(Kind::Failed, message)
            .maybe_hint(error.hint())
            .hint("run the same command again: members that are restored already are restored once more from the same snapshot")
    }
}

fn names(nodes: &[NodeName]) -> String {
    nodes.iter().map(NodeName::as_str).collect::<Vec<_>>().join(", ")
}

/// Formats a time for people and programs.
fn time(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}
