//! Mesh agent of a node: registers local instances in etcd, and routes haproxy accordingly.

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
mod routing;
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
    registrar::{Registrar, Request},
    routing::{RoutingError, RoutingLoop},
    status::{SILENCE, Status},
};

/// Mesh agent of a node
#[derive(Debug, Parser)]
#[command(name = "machinist-agent", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Register this node's instances in etcd, and keep haproxy's routing up to date
    Run {
        /// Configuration file of the agent
        #[arg(long)]
        config: PathBuf,
    },
    /// Take an instance of this node out of the mesh, and wait until its connections are closed
    Drain(DrainArguments),
    /// Return an instance of this node to the mesh
    Undrain(InstanceArguments),
    /// Reset an instance before its program starts: it joins the mesh once it is healthy
    Start(InstanceArguments),
    /// Roll out an application's current definition: stop the old instance once the new one is in the mesh
    Roll {
        /// The application's definition
        #[arg(long)]
        definition: PathBuf,
    },
    /// Check the consumers' variables on standard input, and write one environment file per application
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

    /// Count the connections in the network namespace of this process
    #[arg(long, value_name = "PID")]
    process: Option<u32>,

    /// Count the connections to this port
    #[arg(long)]
    port: Option<u16>,
}

#[derive(Debug, clap::Args)]
struct InstanceArguments {
    /// Name of the instance on this node
    #[arg(value_parser = Name::parse)]
    instance: Name,

    /// Control socket of the agent
    #[arg(long, default_value = "/run/machinist-agent/agent.sock")]
    socket: PathBuf,
}

#[derive(Debug, Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Routing(#[from] RoutingError),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(transparent)]
    Roll(#[from] roll::RollError),
    #[error(transparent)]
    Environment(#[from] environment::EnvironmentError),
    #[error("cannot listen for signals")]
    Signal(#[source] io::Error),
    #[error("a task of the agent ended unexpectedly")]
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
        eprintln!("machinist-agent: {instance}: {left} connections still open");
    }
    Ok(())
}

async fn run(config: &std::path::Path) -> Result<(), Failure> {
    let config = Arc::new(Config::read(config)?);
    let status = Arc::new(Status::new());
    let routing = RoutingLoop::new(Arc::clone(&config), Arc::clone(&status))?;
    let etcd = Arc::new(Etcd::new(&config));
    let (to_registrar, requests) = channel(16);
    let (to_routing, news) = channel(256);
    let registrar = Registrar::new(Arc::clone(&config), Arc::clone(&etcd), Arc::clone(&status), requests);
    tokio::spawn(http::serve(config.listen, Arc::clone(&status)));
    tokio::spawn(control::serve(config.control_socket(), to_registrar.clone(), Arc::clone(&status)));
    let watch = tokio::spawn(watch::follow(etcd, Arc::clone(&status), to_routing));
    let registrar = tokio::spawn(registrar.run());
    let routing = tokio::spawn(routing.run(news));
    // Not only after etcd has answered: without etcd, this is the best state that the node can reach.
    notify(&[NotifyState::Ready]);
    tokio::select! {
        result = signals(to_registrar) => result,
        () = watchdog(&status) => Ok(()),
        _ = watch => Err(Failure::Ended),
        _ = registrar => Err(Failure::Ended),
        _ = routing => Err(Failure::Ended),
    }
}

/// Ends on SIGTERM or SIGINT. Registrations stay until the lease expires: a successor takes them over.
async fn signals(requests: Sender<Request>) -> Result<(), Failure> {
    let mut hangup = signal(SignalKind::hangup()).map_err(Failure::Signal)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::Signal)?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => drop(requests.send(Request::Reload).await),
        }
    }
}

/// Tells systemd's watchdog that the routing loop is alive. Otherwise systemd restarts the agent.
async fn watchdog(status: &Status) {
    let mut ticks = interval(Duration::from_secs(2));
    loop {
        ticks.tick().await;
        if status.with(|facts| facts.alive.elapsed() < SILENCE) {
            notify(&[NotifyState::Watchdog]);
        }
    }
}

/// Does nothing without systemd.
fn notify(states: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(false, states);
}
