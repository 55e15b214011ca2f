//! Cluster directory: reading, validation and writing of its files.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use machinist_codegen::{
    facts::Shared,
    tree::{self, Change},
};
use machinist_model::{
    Cluster, Conflict, Directory, NodeName, RecordedState,
    load::{self, Loaded},
    moving::Command,
    path::AttrPath,
    source::{SourceIndex, SourceText},
};
use machinist_nix::{EvalError, FlakeRef, Nix, Position, nesting::Step};

use crate::{
    certs,
    event::{Event, Events},
    failure::{Failure, Kind, OrFail},
    files, library,
    stage::Stage,
};

/// Paths that the flake must include even if git does not track them yet.
pub(crate) const VISIBLE: [&str; 11] = [
    "flake.nix",
    "flake.lock",
    "machines.nix",
    "operators.nix",
    "generated",
    "certs",
    "nodes",
    "modules",
    "app_modules",
    "secrets",
    "state",
];

/// Maximum number of steps shown of a path that is too deep.
const SHOWN_STEPS: usize = 6;

/// Cluster directory and the programs that work on it.
#[derive(Clone)]
pub struct Project {
    /// Path of the directory.
    pub directory: PathBuf,
    /// Nix programs.
    pub nix: Nix,
    /// Receiver of events.
    pub events: Events,
    /// Stage of the cluster's machines, if the directory is a copy for a rehearsal.
    pub stage: Option<Stage>,
}

/// Comparison of `generated/` with its intended content.
pub struct Generated {
    /// Intended number of files.
    pub files: usize,
    /// Differences by file.
    pub changes: BTreeMap<String, Change>,
}

impl Project {
    /// Evaluates and validates machines.nix. Its warnings are events. A node that is moving has the addresses of the
    /// step that is recorded.
    ///
    /// # Errors
    /// machines.nix failed to evaluate, the checks found errors, or the recorded state is invalid.
    pub fn load(&self) -> Result<Loaded, Failure> {
        let loaded = self.load_planned()?;
        refuse_without_addresses(&loaded.cluster)?;
        Ok(loaded)
    }

    /// Evaluates and validates machines.nix as [`load`](Self::load) does, also if servers have no address before
    /// `provision` has created them: a placeholder stands for it.
    ///
    /// # Errors
    /// machines.nix failed to evaluate, the checks found errors, or the recorded state is invalid.
    pub fn load_planned(&self) -> Result<Loaded, Failure> {
        let mut loaded = self.load_written()?;
        if let Some(moving) = self.state()?.moving {
            moving.apply(&mut loaded.cluster);
        }
        Ok(loaded)
    }

    /// Evaluates and validates machines.nix, with the addresses that it declares.
    ///
    /// # Errors
    /// machines.nix failed to evaluate, or the checks found errors.
    pub fn load_declared(&self) -> Result<Loaded, Failure> {
        let loaded = self.load_written()?;
        refuse_without_addresses(&loaded.cluster)?;
        Ok(loaded)
    }

    fn load_written(&self) -> Result<Loaded, Failure> {
        let json = self.evaluate()?;
        let path = self.directory.join("machines.nix");
        let source = files::read_optional(&path).failed()?.unwrap_or_default();
        match load::load(&json, &source, "machines.nix", &self.surroundings()?) {
            Ok(mut loaded) => {
                match &self.stage {
                    Some(stage) => stage.set(&mut loaded.cluster),
                    None => self.state()?.reach_servers(&mut loaded.cluster),
                }
                for warning in &loaded.warnings {
                    self.events.send(Event::Diagnostic { diagnostic: Box::new(warning.clone()) });
                }
                Ok(loaded)
            }
            Err(diagnostics) => Err(Failure::diagnosed(&path.display().to_string(), diagnostics)),
        }
    }

    /// Evaluates machines.nix, unchecked.
    ///
    /// # Errors
    /// machines.nix failed to evaluate.
    pub fn evaluate(&self) -> Result<serde_json::Value, Failure> {
        self.nix.evaluate(&self.directory).map_err(|error| self.not_evaluated(error))
    }

    /// Lists the files beside machines.nix, as nix/cluster.nix reads them, and the recorded addresses.
    fn surroundings(&self) -> Result<Directory, Failure> {
        let nodes = self.directory.join("nodes");
        let own_file = |name: String| name.strip_suffix(".nix").map(str::to_owned);
        let has_module =
            |name: &String| files::names(&nodes.join(name)).into_iter().any(|name| own_file(name).is_some());
        let files = files::names(&nodes).into_iter().filter_map(own_file);
        let folders = files::folders(&nodes).into_iter().filter(has_module);
        let mut apps: BTreeSet<String> = files::folders(&self.directory.join("app_modules")).into_iter().collect();
        // Modules from a flake input include machinist's applications.
        if !self.directory.join("nix/cluster.nix").exists() {
            apps.extend(library::applications());
        }
        let addresses = self.state()?.given_addresses();
        Ok(Directory { apps, node_modules: files.chain(folders).collect(), addresses })
    }

    /// Returns Nix' own message, plus the line of machines.nix if nix reports its number.
    fn not_evaluated(&self, error: EvalError) -> Failure {
        if let EvalError::Refused { message, position: Some(Position { line, column }) } = &error {
            let shown = message.contains(&format!("{line}|"));
            let place = format!("{}:{line}:{column}", self.directory.join("machines.nix").display());
            if !shown {
                return Failure::new(Kind::Input, format!("machines.nix has no value ({place})\n{message}"));
            }
        }
        if let EvalError::Deep { path } = &error {
            let place = self.place_of(path);
            let hint = error.hint();
            return Failure::new(Kind::Input, format!("{error} ({place})")).maybe_hint(hint);
        }
        evaluation_failure(error)
    }

    /// Returns the attribute and its location in machines.nix, or the location of its nearest parent.
    fn place_of(&self, path: &[Step]) -> String {
        let text = files::read_optional(&self.directory.join("machines.nix")).ok().flatten().unwrap_or_default();
        let path = path.iter().fold(AttrPath::root(), |path, step| match step {
            Step::Name(name) => path.join(name.as_str()),
            Step::Index(index) => path.join(*index),
        });
        let range = SourceIndex::parse(&text).locate(&path);
        let position = SourceText::new("machines.nix", &text).position(range.start);
        let attribute = AttrPath::root().extend(path.segments().iter().take(SHOWN_STEPS).cloned());
        format!("machines.nix:{}:{}: {attribute}...", position.line, position.column)
    }

    /// Reads the recorded state.
    pub fn state(&self) -> Result<RecordedState, Failure> {
        let path = self.directory.join("state/cluster.json");
        match files::read_optional(&path).failed()? {
            None => Ok(RecordedState::default()),
            Some(text) => RecordedState::parse(&text).map_err(|error| {
                Failure::from_error(Kind::Input, &error)
                    .hint(format!("get it back with `git -C {} checkout state/cluster.json`", self.directory.display()))
            }),
        }
    }

    /// Returns the changes in machines.nix that are unsafe for the running cluster.
    pub fn conflicts(&self, cluster: &Cluster) -> Result<Vec<Conflict>, Failure> {
        Ok(self.state()?.conflicts(cluster))
    }

    /// Refuses changes that are unsafe for the running cluster, before anything is generated or changed, and a move that
    /// the command would disturb.
    pub fn refuse_conflicts(&self, cluster: &Cluster, command: Command) -> Result<(), Failure> {
        refuse(&self.state()?.conflicts_with(cluster, command))
    }

    /// Refuses to disturb a move that is unfinished.
    pub fn refuse_in_move(&self, command: Command) -> Result<(), Failure> {
        let state = self.state()?;
        let Some(moving) = state.unsafe_move(command) else { return Ok(()) };
        let failure = Failure::new(Kind::Refused, format!("{moving}, and has not arrived"));
        Err(failure.hint(moving.continuation()))
    }

    /// Records the running cluster's configuration. `seen` are the voters that etcd has at their addresses. Nothing is
    /// written if the record is unchanged.
    pub fn record_running(&self, cluster: &Cluster, seen: &BTreeSet<NodeName>) -> Result<(), Failure> {
        let before = self.state()?;
        if !before.etcd.bootstrapped {
            return Ok(());
        }
        let mut state = before.clone();
        state.record_running(cluster, seen);
        if state == before { Ok(()) } else { self.record(&state) }
    }

    /// Writes the recorded state.
    pub fn record(&self, state: &RecordedState) -> Result<(), Failure> {
        files::write(&self.directory.join("state/cluster.json"), &state.to_text()).failed()
    }

    /// Removes the recorded machine identity of each of the nodes, which a new machine replaces.
    ///
    /// # Errors
    /// The record cannot be read or written.
    pub fn forget_machines(&self, nodes: &BTreeSet<String>) -> Result<(), Failure> {
        let before = self.state()?;
        let mut state = before.clone();
        state.machines.retain(|node, _| !nodes.contains(node.as_str()));
        if state == before { Ok(()) } else { self.record(&state) }
    }

    /// Compares `generated/` with its intended content.
    pub fn generated(&self, cluster: &Cluster) -> Result<Generated, Failure> {
        self.generated_for(cluster, &self.state()?)
    }

    /// Compares `generated/` with its content for another recorded state.
    pub(crate) fn generated_for(&self, cluster: &Cluster, state: &RecordedState) -> Result<Generated, Failure> {
        let certificates = certs::facts(&self.directory, cluster)?;
        let shared = Shared::new(cluster, state, &certificates);
        let mut expected = shared.shared_files().input()?;
        for node in cluster.deployable() {
            expected.insert(format!("{}.nix", node.name), shared.file(node).input()?);
        }
        let existing = files::read_directory(&self.directory.join("generated"), ".nix").failed()?;
        Ok(Generated { files: expected.len(), changes: tree::changes(&expected, &existing) })
    }

    /// Writes the files that differ, and makes them visible to the flake.
    pub fn write_generated(&self, generated: &Generated) -> Result<(), Failure> {
        generated.write(&self.directory.join("generated"))?;
        // Without a flake, visibility does not matter, but the facts are still written.
        match self.flake() {
            Ok(flake) => flake.make_visible(&VISIBLE).failed(),
            Err(failure) => {
                self.events.warn(format!("{}; the files are written, but no flake can see them", failure.message));
                Ok(())
            }
        }
    }

    /// Returns the reference to the cluster's flake.
    pub fn flake(&self) -> Result<FlakeRef, Failure> {
        FlakeRef::find(&self.directory)
            .map_err(|error| Failure::from_error(Kind::Input, &error).maybe_hint(error.hint()))
    }

    /// Returns the flake as it will be after `write_generated`: the original if nothing differs, else a copy in the
    /// empty directory `to`. The cluster's directory is not changed.
    pub fn flake_after(&self, generated: &Generated, to: &Path) -> Result<FlakeRef, Failure> {
        let flake = self.flake()?;
        if generated.changes.is_empty() && !flake.hides(&VISIBLE).failed()? {
            return Ok(flake);
        }
        let (copy, directory) = flake.snapshot(to, &VISIBLE).failed()?;
        generated.write(&directory.join("generated"))?;
        copy.make_visible(&["generated"]).failed()?;
        Ok(copy)
    }

    /// Copies what the flake shows of the directory into the empty directory `to`. Returns the flake of the copy, and its
    /// directory.
    pub(crate) fn copy(&self, to: &Path) -> Result<(FlakeRef, PathBuf), Failure> {
        self.flake()?.snapshot(to, &VISIBLE).failed()
    }

    /// Returns the operator's private, git-ignored directory for this cluster.
    pub fn local(&self) -> PathBuf {
        self.directory.join(".machinist")
    }

    /// Returns the directory of the certificates.
    pub fn certs(&self) -> PathBuf {
        self.directory.join("certs")
    }
}

impl Generated {
    /// Writes the files that differ into the directory.
    pub(crate) fn write(&self, directory: &Path) -> Result<(), Failure> {
        for (name, change) in &self.changes {
            let path = directory.join(name);
            match change {
                Change::Create { new } | Change::Update { new, .. } => files::write(&path, new).failed()?,
                Change::Remove { .. } => files::remove(&path).failed()?,
                Change::Foreign => {}
            }
        }
        Ok(())
    }

    /// Returns the kind of change of each file that differs.
    pub fn summary(&self) -> BTreeMap<&str, &'static str> {
        let verb = |change: &Change| match change {
            Change::Create { .. } => "create",
            Change::Update { .. } => "update",
            Change::Remove { .. } => "remove",
            Change::Foreign => "foreign",
        };
        self.changes.iter().map(|(name, change)| (name.as_str(), verb(change))).collect()
    }

    /// Refuses to continue if a file that machinist did not write is in the way.
    pub fn refuse_foreign(&self) -> Result<(), Failure> {
        let foreign: Vec<String> = self
            .changes
            .iter()
            .filter(|(_, change)| **change == Change::Foreign)
            .map(|(name, _)| format!("generated/{name}"))
            .collect();
        if foreign.is_empty() {
            return Ok(());
        }
        let message = format!("generated/ holds files that machinist did not write: {}", foreign.join(", "));
        Err(Failure::new(Kind::Input, message).hint(
            "a person's own module for a node belongs in nodes/<name>.nix; move them there, nothing was overwritten",
        ))
    }
}

/// Refuses to work with servers whose addresses nobody knows.
fn refuse_without_addresses(cluster: &Cluster) -> Result<(), Failure> {
    let waiting = cluster.nodes.values().filter(|node| node.awaits_address());
    let names: Vec<&str> = waiting.map(|node| node.name.as_str()).collect();
    if names.is_empty() {
        return Ok(());
    }
    let have = if names.len() == 1 { "has" } else { "have" };
    Err(Failure::new(Kind::Input, format!("{} {have} no address yet", names.join(", ")))
        .hint("`machinist provision` creates the servers, and records the addresses that their provider gives them"))
}

/// Turns conflicts with the running cluster into a refusal with a hint for each.
pub fn refuse(conflicts: &[Conflict]) -> Result<(), Failure> {
    if conflicts.is_empty() {
        return Ok(());
    }
    let words: Vec<String> = conflicts.iter().map(ToString::to_string).collect();
    let message = format!("machines.nix changes what the running cluster cannot take: {}", words.join("; "));
    let remedies: BTreeSet<&str> = conflicts.iter().map(|conflict| conflict.remedy.as_str()).collect();
    let failure = remedies.into_iter().fold(Failure::new(Kind::Refused, message), Failure::hint);
    Err(failure.hint("after a change by hand, write it into `running` of state/cluster.json"))
}

/// Converts a failed evaluation into a failure.
pub fn evaluation_failure(error: EvalError) -> Failure {
    let hint = error.hint();
    let failure = match &error {
        EvalError::Refused { message, .. } => {
            Failure::new(Kind::Input, format!("machines.nix has no value\n{message}"))
        }
        EvalError::Nix(_) => Failure::from_error(Kind::Failed, &error),
        _ => Failure::from_error(Kind::Input, &error),
    };
    failure.maybe_hint(hint)
}
