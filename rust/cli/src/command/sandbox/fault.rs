//! `machinist sandbox fault` and `machinist sandbox heal`: what goes wrong with real machines, on purpose.

use std::{path::Path, thread, time::Duration};

use clap::{Args, Subcommand};
use machinist_operations::sandbox::failed;
use machinist_sandbox::{self as sandbox, Fault, Rate};

use crate::{
    failure::{Failure, Kind},
    sandbox::tell,
    ui::Ui,
};

/// Makes a machine of the sandbox suffer something.
#[derive(Debug, Args)]
pub struct FaultArgs {
    /// The machine
    machine: String,

    /// Heal after this many seconds, and only then end
    #[arg(long = "for", value_name = "SECONDS", global = true)]
    duration: Option<u64>,

    /// What it suffers
    #[command(subcommand)]
    kind: FaultKind,
}

/// What a machine can suffer.
#[derive(Debug, Subcommand)]
enum FaultKind {
    /// Pull its network cable
    Link,
    /// Drop what arrives for its sshd, on connections that stand too
    Ssh,
    /// Stop a unit
    Unit {
        /// The unit, such as etcd.service
        unit: String,
    },
    /// Leave no byte free for /nix; the first time, the machine is stopped and started, to give /nix a disk of its own
    Disk,
    /// Slow down what it receives
    Bandwidth {
        /// Such as 500kbit, 20mbit or 1gbit
        rate: Rate,
    },
    /// Kill its etcd with SIGKILL
    Etcd,
    /// Pull the plug, and put it in again
    Reboot,
}

/// Ends faults.
#[derive(Debug, Args)]
pub struct HealArgs {
    /// The machine; all if none is named
    machine: Option<String>,
}

impl FaultKind {
    fn fault(&self) -> Fault {
        match self {
            Self::Link => Fault::Link,
            Self::Ssh => Fault::Ssh,
            Self::Unit { unit } => Fault::Unit(unit.clone()),
            Self::Disk => Fault::Disk,
            Self::Bandwidth { rate } => Fault::Bandwidth(*rate),
            Self::Etcd => Fault::Etcd,
            Self::Reboot => Fault::Reboot,
        }
    }
}

/// Does what `fault` says.
pub(super) fn inject(state: &Path, args: &FaultArgs, ui: Ui) -> Result<(), Failure> {
    let (machine, fault) = (&args.machine, args.kind.fault());
    if args.duration.is_some() && !fault.lasts() {
        let failure = Failure::new(Kind::Input, format!("`{fault}` happens once: there is nothing to heal"));
        return Err(failure.hint("leave `--for` out"));
    }
    sandbox::inject(state, machine, &fault, &|event| tell(ui, &event)).map_err(|error| failed(&error))?;
    if let Some(seconds) = args.duration {
        if !ui.json {
            ui.story(&format!("{machine} suffers: {fault}, for {seconds} s"));
        }
        thread::sleep(Duration::from_secs(seconds));
        let healed = sandbox::heal(state, machine, Some(&fault), &|event| tell(ui, &event));
        healed.map_err(|error| failed(&error))?;
    }
    let goes_on = fault.lasts() && args.duration.is_none();
    if ui.json {
        ui.result_json(&serde_json::json!({ "machine": machine, "fault": fault.to_string(), "goesOn": goes_on }));
        return Ok(());
    }
    let end = match (goes_on, args.duration) {
        (true, _) => format!(", until `machinist sandbox heal {machine}`"),
        (false, Some(seconds)) => format!(" for {seconds} s, and is healed"),
        (false, None) => String::new(),
    };
    ui.result(&format!("{machine} suffered: {fault}{end}"));
    Ok(())
}

/// Does what `heal` says.
pub(super) fn heal(state: &Path, args: &HealArgs, ui: Ui) -> Result<(), Failure> {
    let machines = match &args.machine {
        Some(machine) => vec![machine.clone()],
        None => {
            let status = sandbox::status(state).map_err(|error| failed(&error))?;
            status.machines.into_iter().map(|machine| machine.name).collect()
        }
    };
    let mut healed = Vec::new();
    for machine in machines {
        let faults = sandbox::heal(state, &machine, None, &|event| tell(ui, &event)).map_err(|error| failed(&error))?;
        healed.extend(faults.into_iter().map(|fault| (machine.clone(), fault.to_string())));
    }
    if ui.json {
        let row = |(machine, fault): &(String, String)| serde_json::json!({ "machine": machine, "fault": fault });
        ui.result_json(&serde_json::json!({ "healed": healed.iter().map(row).collect::<Vec<_>>() }));
        return Ok(());
    }
    for (machine, fault) in &healed {
        ui.result(&format!("{machine} is healed: {fault}"));
    }
    if healed.is_empty() {
        ui.result("nothing to heal");
    }
    Ok(())
}
