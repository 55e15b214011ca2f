//! Brings in the new definition of an application on this node: the new one is in the mesh before the old one leaves it.
//!
//! A unit of root's runs this after a new system was activated, and after a boot. What has run before is stopped only when
//! what shall run is healthy and etcd has it; otherwise it stays as it was, and the activation fails. It can be cut off at
//! any moment: the next run looks at what is there and goes on.

mod plan;
mod systemd;
mod trial;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use machinist_mesh::Name;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::time::sleep;

use self::{
    plan::{Plan, SLOTS, Slot, plan},
    systemd::{SystemdError, UnitState},
    trial::{Canary, WHOLE},
};
use crate::{
    config::chain,
    control::{self, Action},
    files,
    status::InstanceState,
};

/// The time between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// An application on this node, as its module writes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Application {
    /// Its name.
    app: Name,
    /// The one unit, or the two that take turns.
    slots: Vec<Place>,
    /// How long it may take until it is in the mesh, in seconds.
    start_seconds: u64,
    /// How long it must be healthy then, in seconds.
    settle_seconds: u64,
    /// How it proves itself before it replaces another one.
    #[serde(default)]
    canary: Option<Canary>,
    /// Where it is kept which slot is active.
    state: PathBuf,
    /// The agent's socket.
    socket: PathBuf,
}

/// A unit and its instance in the mesh.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Place {
    instance: Name,
    unit: String,
    /// What the unit is, in some words that change with it.
    definition: String,
    /// What it offers in the mesh, where the agent learns that from here: as long as the unit that was started by this
    /// definition runs, no other definition says how it is checked.
    offer: Option<Offer>,
}

/// A file for the agent.
#[derive(Clone, Debug, Deserialize)]
struct Offer {
    path: PathBuf,
    text: String,
}

/// What is kept between runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Record {
    /// The slot that was chosen last.
    active: usize,
    /// By unit, what was started.
    started: BTreeMap<String, Started>,
    /// Directories of its data, relative to /var/lib: whoever takes the application off this node for good finds them here.
    data: BTreeSet<String>,
}

/// A start of a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Started {
    /// Its identifier. Another one is another start, of which nobody knows what it started.
    invocation: String,
    /// What was started.
    definition: String,
}

/// Why the new one is not there.
#[derive(Debug, Error)]
pub enum RollError {
    /// The definition cannot be read.
    #[error("{} is no application", path.display())]
    Definition {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What must be written cannot be.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// systemd does not do it.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    /// It did not get healthy.
    #[error("{app} did not come into the mesh: {why}{stays}\nlast lines of {unit}:\n{lines}")]
    Unhealthy {
        /// The application.
        app: Name,
        /// What was missing.
        why: String,
        /// What runs in its place.
        stays: String,
        /// Its unit.
        unit: String,
        /// What it wrote.
        lines: String,
    },
}

/// Brings in the definition that the file has.
///
/// # Errors
/// It did not come into the mesh in its time, or could not be started.
pub async fn run(definition: &Path) -> Result<(), RollError> {
    let read = fs::read(definition).and_then(|bytes| {
        let app: Application = serde_json::from_slice(&bytes)?;
        let fits = matches!(app.slots.len(), 1 | SLOTS);
        fits.then_some(app).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it has one unit or two"))
    });
    let app = read.map_err(|source| RollError::Definition { path: definition.to_owned(), source })?;
    match app.slots.as_slice() {
        [a, b] => app.surge([a, b]).await,
        [place, ..] => app.recreate(place).await,
        [] => Ok(()),
    }
}

impl Application {
    /// One unit, which systemd has started again by now.
    async fn recreate(&self, place: &Place) -> Result<(), RollError> {
        self.wait(place, false).await.map_err(|failed| failed.with(""))?;
        let mut record = self.record();
        record.data.extend(systemd::show(&place.unit).await?.data);
        self.keep(&record)
    }

    /// Two slots: the new one beside the old one.
    async fn surge(&self, places: [&Place; SLOTS]) -> Result<(), RollError> {
        let mut record = self.record();
        let units = [systemd::show(&places[0].unit).await?, systemd::show(&places[1].unit).await?];
        let slot =
            |slot: usize| Slot { runs: units[slot].runs, current: record.is_current(places[slot], &units[slot]) };
        let Plan { slot, starts, clears, replaces } = plan([slot(0), slot(1)], record.active);
        let (place, other) = (places[slot], places[1 - slot]);
        if clears {
            self.retire(place).await?;
        }
        let canary = self.canary.as_ref().filter(|_| starts && replaces);
        // What was current already offers the same as before.
        self.offer(place, canary.map_or(WHOLE, |canary| canary.weight)).await?;
        if starts {
            eprintln!("{}: starting {}", self.app, place.unit);
            systemd::start(&place.unit).await?;
        }
        let mut result = self.wait(place, replaces).await;
        if let (Ok(()), Some(canary)) = (&result, canary) {
            result = self.prove(canary, place, other).await;
        }
        if let Err(failed) = result {
            if !(starts && replaces) {
                // There is nothing better to go back to: systemd goes on trying.
                return Err(failed.with(""));
            }
            self.share(other, WHOLE).await?;
            self.retire(place).await?;
            return Err(failed.with(&format!("; {} stays", other.unit)));
        }
        let unit = systemd::show(&place.unit).await?;
        record.active = slot;
        record.data.extend(unit.data);
        let started = Started { invocation: unit.invocation, definition: place.definition.clone() };
        record.started = [(place.unit.clone(), started)].into();
        self.keep(&record)?;
        if replaces {
            eprintln!("{}: {} is in the mesh, stopping {}", self.app, place.unit, other.unit);
        }
        self.retire(other).await
    }

    /// Stops a slot, which drains it before, and says that it offers nothing.
    async fn retire(&self, place: &Place) -> Result<(), RollError> {
        if systemd::show(&place.unit).await?.runs {
            systemd::stop(&place.unit).await?;
        }
        let Some(Offer { path, .. }) = &place.offer else { return Ok(()) };
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(RollError::Write { path: path.clone(), source }),
            Ok(()) => {
                self.reload(place).await;
                Ok(())
            }
        }
    }

    /// Says what a slot offers from now on, with a share of its weight in percent.
    async fn offer(&self, place: &Place, share: u16) -> Result<(), RollError> {
        let Some(Offer { path, text }) = &place.offer else { return Ok(()) };
        let write_error = |source| RollError::Write { path: path.clone(), source };
        write(path, &trial::with_share(text, share).map_err(write_error)?)?;
        self.reload(place).await;
        Ok(())
    }

    /// An agent that is away reads the files when it comes.
    async fn reload(&self, place: &Place) {
        let _ = control::request(&self.socket, Action::Reload, &place.instance).await;
    }

    /// Waits until the instance is healthy and stays so. Where it replaces another one, the other nodes must have heard of it
    /// too, which takes etcd.
    async fn wait(&self, place: &Place, must_be_registered: bool) -> Result<(), Failed> {
        let begun = Instant::now();
        let (bound, settle) = (Duration::from_secs(self.start_seconds), Duration::from_secs(self.settle_seconds));
        let mut since: Option<Instant> = None;
        loop {
            let why = match self.objection(place, must_be_registered).await {
                Ok(None) => {
                    let since = *since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= settle {
                        return Ok(());
                    }
                    None
                }
                Ok(Some(why)) => {
                    since = None;
                    Some(why)
                }
                Err(why) => return Err(self.failed(place, why).await),
            };
            if let (Some(why), true) = (why, begun.elapsed() >= bound) {
                return Err(self.failed(place, format!("after {} s {why}", bound.as_secs())).await);
            }
            sleep(PAUSE).await;
        }
    }

    /// Returns what is still missing. An error if nothing will come of it.
    async fn objection(&self, place: &Place, must_be_registered: bool) -> Result<Option<String>, String> {
        let unit = systemd::show(&place.unit).await.map_err(|error| chain(&error))?;
        if !unit.runs {
            return Err(format!("{} has ended ({})", place.unit, unit.result));
        }
        let answer = match control::request(&self.socket, Action::Ask, &place.instance).await {
            Ok(answer) => answer,
            Err(error) => return Ok(Some(chain(&error))),
        };
        let why = match answer.state {
            None => "the agent does not know it yet".to_owned(),
            Some(InstanceState::Draining) => {
                // It was to be stopped, and is not: in again.
                match control::request(&self.socket, Action::Undrain, &place.instance).await {
                    Ok(_) => "it is still out of the mesh".to_owned(),
                    Err(error) => chain(&error),
                }
            }
            Some(InstanceState::Healthy) if !must_be_registered || answer.registered => return Ok(None),
            Some(InstanceState::Healthy) => "it is healthy, but etcd has not confirmed it".to_owned(),
            Some(_) => "its check does not succeed".to_owned(),
        };
        Ok(Some(why))
    }

    async fn failed(&self, place: &Place, why: String) -> Failed {
        let lines = systemd::last_lines(&place.unit).await;
        Failed { app: self.app.clone(), unit: place.unit.clone(), why, lines }
    }

    /// What is kept, or nothing: then what runs is replaced once more than was needed.
    fn record(&self) -> Record {
        let text = fs::read(&self.state).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    fn keep(&self, record: &Record) -> Result<(), RollError> {
        let failed = |source| RollError::Write { path: self.state.clone(), source };
        let text = serde_json::to_string(record).map_err(|error| failed(error.into()))?;
        write(&self.state, &text)
    }
}

impl Record {
    /// Whether the unit runs what it is now, as far as is known.
    fn is_current(&self, place: &Place, unit: &UnitState) -> bool {
        self.started
            .get(&place.unit)
            .is_some_and(|started| started.invocation == unit.invocation && started.definition == place.definition)
    }
}

/// An instance that did not come, before it is known what becomes of the others.
struct Failed {
    app: Name,
    unit: String,
    why: String,
    lines: String,
}

impl Failed {
    fn with(self, stays: &str) -> RollError {
        let Self { app, unit, why, lines } = self;
        RollError::Unhealthy { app, unit, why, lines, stays: stays.to_owned() }
    }
}

/// Writes a file, whole or not at all. Everyone may read it: the agent is not root.
fn write(path: &Path, text: &str) -> Result<(), RollError> {
    let result = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| {
        let prepared = files::prepare(path, text.as_bytes())?;
        fs::set_permissions(&prepared.new, fs::Permissions::from_mode(0o644))?;
        prepared.put_synced()
    });
    result.map_err(|source| RollError::Write { path: path.to_owned(), source })
}
