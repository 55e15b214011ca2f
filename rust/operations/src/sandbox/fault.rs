//! Faults of machines of the sandbox: what goes wrong with real machines, on purpose.

use std::{
    thread,
    time::{Duration, Instant},
};

use machinist_sandbox::{self as sandbox, Fault, default_state_dir};

use super::failed;
use crate::{
    context::Context,
    failure::{Failure, Kind},
};

/// How soon an interruption ends the wait for the end of a fault.
const TICK: Duration = Duration::from_millis(50);

/// A fault.
#[derive(Clone, Debug)]
pub struct Request {
    /// The machine.
    pub machine: String,
    /// What it suffers.
    pub fault: Fault,
    /// When it is healed; else it lasts.
    pub duration: Option<Duration>,
}

/// Injects a fault. With a duration, returns when it is healed, which an interruption does at once.
///
/// # Errors
/// There is no such machine, or the fault happens once and has a duration.
pub fn inject(context: &Context, request: &Request) -> Result<(), Failure> {
    let cluster = context.project.load()?.cluster;
    let state = default_state_dir(&cluster.name);
    let Request { machine, fault, duration } = request;
    if duration.is_some() && !fault.lasts() {
        let failure = Failure::new(Kind::Input, format!("`{fault}` happens once: there is nothing to heal"));
        return Err(failure.hint("leave `--for` out"));
    }
    sandbox::inject(&state, machine, fault, &|event| context.events.sandbox(&event)).map_err(|error| failed(&error))?;
    let Some(duration) = *duration else { return Ok(()) };
    context.events.progress(format!("{machine} suffers: {fault}, for {} s", duration.as_secs()));
    let end = Instant::now() + duration;
    while Instant::now() < end && !context.interrupt.is_set() {
        thread::sleep(TICK.min(end.saturating_duration_since(Instant::now())));
    }
    let healed = sandbox::heal(&state, machine, Some(fault), &|event| context.events.sandbox(&event));
    healed.map(drop).map_err(|error| failed(&error))
}

/// A fault that was ended.
#[derive(Clone, Debug)]
pub struct Healed {
    /// The machine.
    pub machine: String,
    /// What it suffered, in words.
    pub fault: String,
}

/// Ends the faults of a machine, or of all.
///
/// # Errors
/// There is no such machine.
pub fn heal(context: &Context, machine: Option<&str>) -> Result<Vec<Healed>, Failure> {
    let cluster = context.project.load()?.cluster;
    let state = default_state_dir(&cluster.name);
    let machines = match machine {
        Some(machine) => vec![machine.to_owned()],
        None => {
            let status = sandbox::status(&state).map_err(|error| failed(&error))?;
            status.machines.into_iter().map(|machine| machine.name).collect()
        }
    };
    let mut healed = Vec::new();
    for machine in machines {
        let faults = sandbox::heal(&state, &machine, None, &|event| context.events.sandbox(&event))
            .map_err(|error| failed(&error))?;
        healed.extend(faults.into_iter().map(|fault| Healed { machine: machine.clone(), fault: fault.to_string() }));
    }
    Ok(healed)
}
