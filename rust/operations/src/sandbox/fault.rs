//! Fault injection for machines of the sandbox.

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

/// Poll interval for an interruption while waiting for the end of a fault.
const TICK: Duration = Duration::from_millis(50);

/// Request to inject a fault.
#[derive(Clone, Debug)]
pub struct Request {
    /// Name of the machine.
    pub machine: String,
    /// Kind of the fault.
    pub fault: Fault,
    /// Duration until the fault is healed; unlimited if absent.
    pub duration: Option<Duration>,
}

/// Injects a fault. With a duration, returns once it is healed; an interruption heals it immediately.
///
/// # Errors
/// There is no such machine, or a duration was given for an instantaneous fault.
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
    /// Name of the machine.
    pub machine: String,
    /// Description of the fault.
    pub fault: String,
}

/// Ends the faults of one machine, or of all machines.
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
