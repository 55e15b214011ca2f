//! The mesh's agent on each node: registers what runs there in etcd, and gives haproxy its routing.

mod backoff;
mod check;
mod config;
mod control;
mod environment;
mod etcd;
mod files;
mod haproxy;
mod http;
mod registrar;
mod roll;
mod router;
mod status;
mod watch;

use std::{io, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::{Parser, Subcommand};
use machinist_mesh::Name;
use sd_notify::NotifyState;
use thiserror::Error;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc::{Sender, channel},
    time::interval,
};

use crate::{
    config::{Config, ConfigError, chain},
    control::{Action, ControlError, Place},
    etcd::Etcd,
    registrar::{Registrar, Wish},
    router::{Router, RouterError},
    status::{SILENCE, Status},
};

/// The mesh's agent on a node.
#[derive(Debug, Parser)]
#[command(name = "machinist-agent", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Keep this node's instances in etcd, and haproxy's routing as etcd has it
    Run {
        /// The agent's configuration
        #[arg(long)]
        config: PathBuf,
    },
    /// Take an instance of this node out of the mesh, and wait until its connections are gone
    Drain(DrainArguments),
    /// Put an instance of this node in again
    Undrain(InstanceArguments),
    /// Before an instance's program starts: it is in the mesh when it is healthy, whatever was before
    Start(InstanceArguments),
    /// Bring in an application as it is defined now: stop what ran before when this is in the mesh
    Roll {
        /// The application's definition
        #[arg(long)]
        definition: PathBuf,
    },
    /// Check the variables of consumers on standard input, and write an environment file an application
    Environment {
        /// Directory of the files; files of other applications in it are removed
        #[arg(long)]
        directory: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct DrainArguments {
    #[command(flatten)]
    instance: InstanceArguments,

    /// Do not wait for connections
    #[arg(long)]
    no_wait: bool,

    /// Count the connections in the network of this process
    #[arg(long, value_name = "PID")]
    process: Option<u32>,

    /// Count those of this port
    #[arg(long)]
    port: Option<u16>,
}

#[derive(Debug, clap::Args)]
struct InstanceArguments {
    /// The instance's name on this node
    #[arg(value_parser = Name::parse)]
    instance: Name,

    /// The agent's socket
    #[arg(long, default_value = "/run/machinist-agent/agent.sock")]
    socket: PathBuf,
}

#[derive(Debug, Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Router(#[from] RouterError),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(transparent)]
    Roll(#[from] roll::RollError),
    #[error(transparent)]
    Environment(#[from] environment::EnvironmentError),
    #[error("cannot listen for signals")]
    Signal(#[source] io::Error),
    #[error("a part of the agent ended by itself")]
    Ended,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run { config } => run(&config).await,
        Command::Drain(arguments) => drain(&arguments).await,
        Command::Undrain(InstanceArguments { instance, socket }) => {
            control::request(&socket, Action::Undrain, &instance).await.map(drop).map_err(Failure::from)
        }
        Command::Start(InstanceArguments { instance, socket }) => {
            control::request(&socket, Action::Start, &instance).await.map(drop).map_err(Failure::from)
        }
        Command::Roll { definition } => roll::run(&definition).await.map_err(Failure::from),
        Command::Environment { directory } => environment::install(io::stdin(), &directory).map_err(Failure::from),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("machinist-agent: {}", machinist_text::visible(&chain(&error)));
            ExitCode::FAILURE
        }
    }
}

async fn drain(arguments: &DrainArguments) -> Result<(), Failure> {
    let DrainArguments { instance: InstanceArguments { instance, socket }, no_wait, process, port } = arguments;
    let place = (!no_wait).then_some(Place { process: *process, port: *port });
    let left = control::drain(socket, instance, place).await?;
    if left > 0 {
        eprintln!("machinist-agent: {left} connections of {instance} are left");
    }
    Ok(())
}

async fn run(config: &std::path::Path) -> Result<(), Failure> {
    let config = Arc::new(Config::read(config)?);
    let status = Arc::new(Status::new());
    let router = Router::new(Arc::clone(&config), Arc::clone(&status))?;
    let etcd = Arc::new(Etcd::new(&config));
    let (wish, wishes) = channel(16);
    let (to_router, news) = channel(256);
    let registrar = Registrar::new(Arc::clone(&config), Arc::clone(&etcd), Arc::clone(&status), wishes);
    tokio::spawn(http::serve(config.listen, Arc::clone(&status)));
    tokio::spawn(control::serve(config.control_socket(), wish.clone(), Arc::clone(&status)));
    let watch = tokio::spawn(watch::follow(etcd, Arc::clone(&status), to_router));
    let registrar = tokio::spawn(registrar.run());
    let router = tokio::spawn(router.run(news));
    // Not only when etcd has answered: a node whose etcd is away is as good as it can be.
    notify(&[NotifyState::Ready]);
    tokio::select! {
        result = signals(wish) => result,
        () = watchdog(&status) => Ok(()),
        _ = watch => Err(Failure::Ended),
        _ = registrar => Err(Failure::Ended),
        _ = router => Err(Failure::Ended),
    }
}

/// Ends when the agent is told to. What it registered stays for as long as its lease: a successor takes it over.
async fn signals(wishes: Sender<Wish>) -> Result<(), Failure> {
    let mut hangup = signal(SignalKind::hangup()).map_err(Failure::Signal)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::Signal)?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => drop(wishes.send(Wish::Reload).await),
        }
    }
}

/// Tells systemd that the routing loop is alive. If it is not, systemd starts the agent anew.
async fn watchdog(status: &Status) {
    let mut ticks = interval(Duration::from_secs(2));
    loop {
        ticks.tick().await;
        if status.with(|facts| facts.alive.elapsed() < SILENCE) {
            notify(&[NotifyState::Watchdog]);
        }
    }
}

/// Without systemd there is nobody to tell.
fn notify(states: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(false, states);
}
