//! `machinist sandbox`.

mod fault;

use clap::{Args, Subcommand};
use machinist_operations::{
    connect::KNOWN_HOSTS,
    context::Context,
    sandbox::{machines, why_stopped},
};
use machinist_sandbox::{self as sandbox, MachineState};

use crate::{
    args::Global,
    context,
    failure::{Failure, Outcome, exit_code},
    ui::{Tone, Ui},
};

/// Manages test machines on this computer: containers with their own network, /nix, systemd and sshd.
#[derive(Debug, Subcommand)]
pub enum SandboxCommand {
    /// Create and start the machines with `provider = "sandbox"`
    Up,
    /// Remove the machines and their data
    Down(DownArgs),
    /// Show the machines and their state
    Status,
    /// Inject a fault into a machine
    Fault(fault::FaultArgs),
    /// End the faults of a machine, or of all
    Heal(fault::HealArgs),
}

/// Removes the machines.
#[derive(Debug, Args)]
pub struct DownArgs {
    /// Also remove the Debian root that all sandboxes of this computer share; rebuilding it takes a minute
    #[arg(long)]
    cache: bool,
}

/// Runs the command.
pub fn run(command: &SandboxCommand, global: &Global, ui: Ui) -> Outcome {
    let context = context::open(global, ui)?;
    match command {
        SandboxCommand::Up => up(&context, ui)?,
        SandboxCommand::Down(args) => down(args, &context, ui)?,
        SandboxCommand::Status => status(&context, ui)?,
        SandboxCommand::Fault(args) => fault::inject(args, &context, ui)?,
        SandboxCommand::Heal(args) => fault::heal(args, &context, ui)?,
    }
    Ok(exit_code(None))
}

fn up(context: &Context, ui: Ui) -> Result<(), Failure> {
    let report = machines::up(context)?;
    if ui.json {
        let machine = |machine: &sandbox::MachineReport| serde_json::json!({ "name": machine.name, "ip": machine.ip, "started": machine.started });
        let machines: Vec<serde_json::Value> = report.machines.iter().map(machine).collect();
        ui.result_json(&serde_json::json!({ "machines": machines, "operatorNamespace": report.operator_namespace }));
        return Ok(());
    }
    let started = report.machines.iter().filter(|machine| machine.started).count();
    let names: Vec<&str> = report.machines.iter().map(|machine| machine.name.as_str()).collect();
    ui.result(&format!("{} up ({started} started); their host keys are pinned in {KNOWN_HOSTS}", names.join(", ")));
    Ok(())
}

fn down(args: &DownArgs, context: &Context, ui: Ui) -> Result<(), Failure> {
    machines::down(context, args.cache)?;
    if !ui.json {
        ui.result("the sandbox is gone");
    }
    Ok(())
}

fn status(context: &Context, ui: Ui) -> Result<(), Failure> {
    let status = machines::status(context)?;
    let word = |state: MachineState| match state {
        MachineState::Running => "running",
        MachineState::Changing => "starting or ending",
        MachineState::Unsupervised => "unsupervised",
        MachineState::Stopped => "stopped",
    };
    if ui.json {
        let machine = |machine: &sandbox::MachineStatus| {
            let faults: Vec<String> = machine.faults.iter().map(ToString::to_string).collect();
            let why = (machine.state == MachineState::Stopped).then(|| why_stopped(machine));
            serde_json::json!({ "name": machine.name, "ip": machine.ip, "state": word(machine.state), "faults": faults,
                "namespace": machine.namespace, "why": why })
        };
        let machines: Vec<serde_json::Value> = status.machines.iter().map(machine).collect();
        ui.result_json(&serde_json::json!({ "machines": machines, "operatorNamespace": status.operator_namespace }));
        return Ok(());
    }
    let row = |machine: &sandbox::MachineStatus| {
        let faults: Vec<String> = machine.faults.iter().map(ToString::to_string).collect();
        vec![machine.name.clone(), machine.ip.to_string(), word(machine.state).to_owned(), faults.join(", ")]
    };
    ui.result_table(&["MACHINE", "ADDRESS", "STATE", "FAULTS"], status.machines.iter().map(row).collect());
    for machine in status.machines.iter().filter(|machine| machine.state == MachineState::Stopped) {
        ui.story(&format!("{} does not run: {}", ui.paint(Tone::Strong, &machine.name), why_stopped(machine)));
    }
    let namespace = status.operator_namespace.display();
    ui.story(&format!("reach them from here: nsenter --net={namespace} ssh root@ADDRESS"));
    Ok(())
}
