//! `machinist sandbox fault` and `machinist sandbox heal`.

use std::time::Duration;

use clap::{Args, Subcommand};
use machinist_operations::{
    context::Context,
    sandbox::fault::{self, Healed, Request},
};
use machinist_sandbox::{Fault, Rate};

use crate::{failure::Failure, ui::Ui};

/// Injects a fault into a machine of the sandbox.
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

/// Kinds of faults.
#[derive(Debug, Subcommand)]
enum FaultKind {
    /// Pull its network cable
    Link,
    /// Drop packets for its sshd, on open connections too
    Ssh,
    /// Stop a unit
    Unit {
        /// The unit, such as etcd.service
        unit: String,
    },
    /// Fill the disk of /nix; the first time, the machine is restarted, to give /nix a separate disk
    Disk,
    /// Limit its incoming bandwidth
    Bandwidth {
        /// Such as 500kbit, 20mbit or 1gbit
        rate: Rate,
    },
    /// Kill its etcd with SIGKILL
    Etcd,
    /// Cut its power, and start it again
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

/// Runs `sandbox fault`.
pub(super) fn inject(args: &FaultArgs, context: &Context, ui: Ui) -> Result<(), Failure> {
    let machine = &args.machine;
    let fault = args.kind.fault();
    let duration = args.duration.map(Duration::from_secs);
    fault::inject(context, &Request { machine: machine.clone(), fault: fault.clone(), duration })?;
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

/// Runs `sandbox heal`.
pub(super) fn heal(args: &HealArgs, context: &Context, ui: Ui) -> Result<(), Failure> {
    let healed = fault::heal(context, args.machine.as_deref())?;
    if ui.json {
        let row = |one: &Healed| serde_json::json!({ "machine": one.machine, "fault": one.fault });
        ui.result_json(&serde_json::json!({ "healed": healed.iter().map(row).collect::<Vec<_>>() }));
        return Ok(());
    }
    for Healed { machine, fault } in &healed {
        ui.result(&format!("{machine} is healed: {fault}"));
    }
    if healed.is_empty() {
        ui.result("nothing to heal");
    }
    Ok(())
}
