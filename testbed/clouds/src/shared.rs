//! The state behind its lock, with what has to happen after a change: machines' commands, and the file.

use std::collections::BTreeMap;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::cloud::Cloud;
use crate::machines::{Job, Outcome};
use crate::message::Provider;
use crate::time::{self, Moment};

/// The command for machines.
#[derive(Debug, Clone)]
pub struct Machines {
    /// For a shell.
    pub text: String,
    /// It has failed if it takes longer for an event.
    pub bound: Duration,
}

/// The state of the clouds, shared by the listeners.
pub struct Shared {
    cloud: Mutex<Cloud>,
    file: Option<PathBuf>,
    jobs: UnboundedSender<Job>,
}

impl Shared {
    /// Shares a state, and runs its machines' commands if there is one.
    pub fn new(cloud: Cloud, file: Option<PathBuf>, command: Option<Machines>) -> Arc<Shared> {
        let (jobs, receiver) = unbounded_channel();
        let shared = Arc::new(Shared { cloud: Mutex::new(cloud), file, jobs });
        if let Some(command) = command {
            tokio::spawn(dispatch(receiver, Arc::downgrade(&shared), command));
        }
        shared
    }

    /// Runs a function on the state, with the moment of the clouds' clock.
    pub fn with<T>(&self, run: impl FnOnce(&mut Cloud, Moment) -> T) -> T {
        // A poisoned lock needs a panic, and the code below it has none.
        let mut cloud = self.cloud.lock().unwrap_or_else(PoisonError::into_inner);
        let now = time::now() + cloud.ahead_ms;
        run(&mut cloud, now)
    }

    /// Starts the commands that a request ordered, and writes the file after a change.
    pub fn after(&self, changed: bool) {
        for job in self.with(|cloud, _| cloud.new_jobs()) {
            // The receiver ends with the process.
            let _ = self.jobs.send(job);
        }
        if let (true, Some(file)) = (changed, &self.file) {
            let text = self.with(|cloud, _| serde_json::to_vec(&cloud));
            let written = text.map_err(std::io::Error::other).and_then(|text| replace(file, &text));
            if let Err(error) = written {
                self.with(|cloud, _| cloud.log.violations.push(format!("{}: {error}", file.display())));
            }
        }
    }
}

fn replace(file: &Path, text: &[u8]) -> std::io::Result<()> {
    let new = file.with_extension("new");
    std::fs::write(&new, text)?;
    std::fs::rename(&new, file)
}

/// Gives each machine a worker, which runs its commands in their order.
async fn dispatch(mut jobs: UnboundedReceiver<Job>, shared: std::sync::Weak<Shared>, command: Machines) {
    let mut workers: BTreeMap<(Provider, u64), UnboundedSender<Job>> = BTreeMap::new();
    while let Some(job) = jobs.recv().await {
        let key = (job.provider, job.server);
        let worker = workers.entry(key).or_insert_with(|| {
            let (sender, receiver) = unbounded_channel();
            tokio::spawn(work(receiver, shared.clone(), command.clone()));
            sender
        });
        // A worker ends with its channel only.
        let _ = worker.send(job);
    }
}

async fn work(mut jobs: UnboundedReceiver<Job>, shared: std::sync::Weak<Shared>, command: Machines) {
    while let Some(job) = jobs.recv().await {
        let Some(shared) = shared.upgrade() else { return };
        if !shared.with(|cloud, _| cloud.wants(&job)) {
            continue;
        }
        let outcome = run(&command, &job).await;
        shared.with(|cloud, now| cloud.machine_ended(now, &job, outcome));
        shared.after(true);
    }
}

async fn run(command: &Machines, job: &Job) -> Outcome {
    for event in &job.events {
        match tokio::time::timeout(command.bound, call(&command.text, event)).await {
            Ok(outcome) => outcome?,
            Err(_) => return Err(format!("{}: no end within {} s", event["event"], command.bound.as_secs_f64())),
        }
    }
    Ok(())
}

async fn call(command: &str, event: &Value) -> Outcome {
    let failed = |error: std::io::Error| format!("{}: {error}", event["event"]);
    // Not a pipe: processes of the machine may hold it open for as long as the machine runs.
    let mut errors = tempfile::tempfile().map_err(failed)?;
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(errors.try_clone().map_err(failed)?)
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    // Dropped when the command takes too long: its own children end with it.
    let group = Group(child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())));
    if let Some(mut input) = child.stdin.take() {
        // A command need not read its input; its exit status decides.
        let _ = input.write_all(event.to_string().as_bytes()).await;
    }
    let status = child.wait().await.map_err(failed)?;
    // The processes of a machine may outlive the command that began them.
    group.leave();
    if status.success() {
        return Ok(());
    }
    let mut text = Vec::new();
    errors.rewind().and_then(|()| errors.read_to_end(&mut text)).map_err(failed)?;
    let text = String::from_utf8_lossy(&text);
    Err(format!("{}: {status}: {}", event["event"], text.lines().last().unwrap_or_default()))
}

/// The process group of a command, which is killed unless it is left alone.
struct Group(Option<rustix::process::Pid>);

impl Group {
    fn leave(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // A group without processes has ended already.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}
