//! Rolls out an application's new definition on this node: the new instance joins the mesh before the old one leaves
//! it.
//!
//! Runs in a unit as root after a system's activation, and after a boot. The old instance is only stopped once the new
//! one is healthy and registered in etcd; otherwise it keeps running, and the activation fails. The roll may be
//! interrupted at any moment: the next run continues from the units' state.

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
    trial::{Canary, FULL},
};
use crate::{
    config::chain,
    control::{self, Action},
    files,
    status::InstanceState,
};

/// Interval between two checks of the state.
const PAUSE: Duration = Duration::from_millis(100);

/// An application of this node, as its NixOS module writes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Application {
    /// Name of the application.
    app: Name,
    /// One unit, or two that alternate.
    slots: Vec<Place>,
    /// Time to become healthy and registered, in seconds.
    start_seconds: u64,
    /// Time it must then stay healthy, in seconds.
    settle_seconds: u64,
    /// Canary phase before it replaces another instance.
    #[serde(default)]
    canary: Option<Canary>,
    /// File with the active slot and the started units.
    state: PathBuf,
    /// The agent's control socket.
    socket: PathBuf,
}

/// A unit and its instance in the mesh.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Place {
    instance: Name,
    unit: String,
    /// An identifier of the unit's content; it changes with every change of the unit.
    definition: String,
    /// The instance's definition in the mesh, if the agent gets it from here: as long as the unit of this definition
    /// runs, no other definition changes its check.
    offer: Option<Offer>,
}

/// An instance file for the agent.
#[derive(Clone, Debug, Deserialize)]
struct Offer {
    path: PathBuf,
    text: String,
}

/// State kept between runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Record {
    /// The last active slot, 0 or 1.
    active: usize,
    /// The last start of each unit.
    started: BTreeMap<String, Started>,
    /// The application's data directories, relative to /var/lib: the cleanup after its removal from this node reads
    /// them here.
    data: BTreeSet<String>,
}

/// One start of a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Started {
    /// systemd's invocation ID. A different ID is a start with an unknown definition.
    invocation: String,
    /// The definition that was started.
    definition: String,
}

/// Error of a roll.
#[derive(Debug, Error)]
pub enum RollError {
    /// The definition is unreadable or invalid.
    #[error("invalid application definition in {}", path.display())]
    Definition {
        /// Path of the definition.
        path: PathBuf,
        /// The I/O or parser error.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Path of the file.
        path: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// A request to systemd failed.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    /// The new instance did not become healthy.
    #[error("{app} did not become healthy: {why}{stays}\nlast lines of {unit}:\n{lines}")]
    Unhealthy {
        /// Name of the application.
        app: Name,
        /// The last failed condition.
        why: String,
        /// A clause about the instance that keeps running; may be empty.
        stays: String,
        /// The new instance's unit.
        unit: String,
        /// The unit's last log lines.
        lines: String,
    },
}

/// Rolls out the definition in the file.
///
/// # Errors
/// The new instance did not become healthy in time, or could not be started.
pub async fn run(definition: &Path) -> Result<(), RollError> {
    let read = fs::read(definition).and_then(|bytes| {
        let app: Application = serde_json::from_slice(&bytes)?;
        let fits = matches!(app.slots.len(), 1 | SLOTS);
        fits.then_some(app).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "expected one or two slots"))
    });
    let app = read.map_err(|source| RollError::Definition { path: definition.to_owned(), source })?;
    match app.slots.as_slice() {
        [a, b] => app.surge([a, b]).await,
        [place, ..] => app.recreate(place).await,
        [] => Ok(()),
    }
}

impl Application {
    /// One unit, which systemd has already restarted.
    async fn recreate(&self, place: &Place) -> Result<(), RollError> {
        self.wait(place, false).await.map_err(|failed| failed.with(""))?;
        let mut record = self.record();
        record.data.extend(systemd::show(&place.unit).await?.data);
        self.keep(&record)
    }

    /// Two slots: starts the new instance beside the old one.
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
        // A current instance already has the same offer.
        self.offer(place, canary.map_or(FULL, |canary| canary.weight)).await?;
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
                // There is no healthy instance to return to: systemd keeps restarting it.
                return Err(failed.with(""));
            }
            self.share(other, FULL).await?;
            self.retire(place).await?;
            return Err(failed.with(&format!("; {} stays active", other.unit)));
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

    /// Stops a slot's unit, which drains first, and removes its offer.
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

    /// Writes a slot's offer, with a share of its weight in percent.
    async fn offer(&self, place: &Place, share: u16) -> Result<(), RollError> {
        let Some(Offer { path, text }) = &place.offer else { return Ok(()) };
        let write_error = |source| RollError::Write { path: path.clone(), source };
        write(path, &trial::with_share(text, share).map_err(write_error)?)?;
        self.reload(place).await;
        Ok(())
    }

    /// An agent that is not running reads the files at its start.
    async fn reload(&self, place: &Place) {
        let _ = control::request(&self.socket, Action::Reload, &place.instance).await;
    }

    /// Waits until the instance is healthy and stays so. If it replaces another one, the other nodes must know it as
    /// well, which requires etcd.
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
                return Err(self.failed(place, format!("after {} s, {why}", bound.as_secs())).await);
            }
            sleep(PAUSE).await;
        }
    }

    /// Returns the condition that is not met yet, or `None` if all are. An error if it cannot be met any more.
    async fn objection(&self, place: &Place, must_be_registered: bool) -> Result<Option<String>, String> {
        let unit = systemd::show(&place.unit).await.map_err(|error| chain(&error))?;
        if !unit.runs {
            return Err(format!("{} is not running ({})", place.unit, unit.result));
        }
        let answer = match control::request(&self.socket, Action::Status, &place.instance).await {
            Ok(answer) => answer,
            Err(error) => return Ok(Some(chain(&error))),
        };
        let why = match answer.state {
            None => "the agent has not read it yet".to_owned(),
            Some(InstanceState::Draining) => {
                // A cancelled stop left it drained: undrain it.
                match control::request(&self.socket, Action::Undrain, &place.instance).await {
                    Ok(_) => "it is still draining".to_owned(),
                    Err(error) => chain(&error),
                }
            }
            Some(InstanceState::Healthy) if !must_be_registered || answer.registered => return Ok(None),
            Some(InstanceState::Healthy) => "it is healthy, but not registered in etcd".to_owned(),
            Some(_) => "its health check fails".to_owned(),
        };
        Ok(Some(why))
    }

    async fn failed(&self, place: &Place, why: String) -> Failed {
        let lines = systemd::last_lines(&place.unit).await;
        Failed { app: self.app.clone(), unit: place.unit.clone(), why, lines }
    }

    /// Returns the saved state, or an empty one: at worst, a current instance is then replaced once more.
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
    /// True if the unit runs its current definition, as far as is recorded.
    fn is_current(&self, place: &Place, unit: &UnitState) -> bool {
        self.started
            .get(&place.unit)
            .is_some_and(|started| started.invocation == unit.invocation && started.definition == place.definition)
    }
}

/// A failed instance, before its effect on the others is known.
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

/// Writes a file atomically, readable by everyone since the agent is not root.
fn write(path: &Path, text: &str) -> Result<(), RollError> {
    let result = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| {
        let prepared = files::prepare(path, text.as_bytes())?;
        fs::set_permissions(&prepared.new, fs::Permissions::from_mode(0o644))?;
        prepared.put_synced()
    });
    result.map_err(|source| RollError::Write { path: path.to_owned(), source })
}
