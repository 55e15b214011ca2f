//! A test cloud: the documented HTTP APIs of Hetzner Cloud and DigitalOcean on loopback, strictly.
//!
//! [`cloud::Cloud`] is the state of both, and pure: [`cloud::Cloud::handle`] answers a request at a given moment.
//! [`start`] puts listeners in front of it. Everything is made up; nothing here speaks to a provider.

pub mod address;
pub mod cloud;
pub mod contract;
pub mod control;
pub mod digitalocean;
pub mod fault;
pub mod hetzner;
pub mod http;
pub mod key;
pub mod labels;
pub mod limits;
pub mod log;
pub mod machines;
pub mod message;
pub mod route;
pub mod shared;
pub mod time;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::cloud::Cloud;
use crate::http::{Service, serve};
use crate::message::Provider;
use crate::shared::{Machines, Shared};
use crate::time::Moment;

/// Addresses and files of a test cloud. The default listens on free ports of 127.0.0.1.
#[derive(Debug, Clone)]
pub struct Options {
    /// Listener of Hetzner's API.
    pub hetzner: SocketAddr,
    /// Listener of DigitalOcean's API.
    pub digitalocean: SocketAddr,
    /// Listener for tests.
    pub control: SocketAddr,
    /// File that keeps the state, read at the start if it exists.
    pub state: Option<PathBuf>,
    /// Command of the shell that makes machines.
    pub machines: Option<String>,
    /// Time that the command may take for an event.
    pub bound: Duration,
}

impl Default for Options {
    fn default() -> Options {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Options {
            hetzner: any,
            digitalocean: any,
            control: any,
            state: None,
            machines: None,
            bound: Duration::from_secs(120),
        }
    }
}

/// Why a test cloud did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address is in use or not of this computer.
    #[error("{address}: cannot listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// The address can be reached from elsewhere.
    #[error("{0}: not an address of loopback")]
    NotLoopback(SocketAddr),
    /// The state file cannot be read.
    #[error("{}: cannot read the state", file.display())]
    State {
        /// The file.
        file: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
}

/// A test cloud that listens until it is dropped.
pub struct Running {
    /// Listens as `http://ADDRESS/v1`.
    pub hetzner: SocketAddr,
    /// Listens as `http://ADDRESS/v2`.
    pub digitalocean: SocketAddr,
    /// Listens for tests.
    pub control: SocketAddr,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

/// Starts a test cloud. It listens when this returns.
///
/// # Errors
///
/// An address is in use or not of loopback, or the state file is invalid.
pub async fn start(options: Options) -> Result<Running, Error> {
    let mut cloud = match &options.state {
        Some(file) => load(file)?,
        None => Cloud::default(),
    };
    let machines = options.machines.is_some();
    cloud.hetzner.rules.machines = machines;
    cloud.digitalocean.rules.machines = machines;
    let [hetzner, digitalocean, control] =
        [listen(options.hetzner).await?, listen(options.digitalocean).await?, listen(options.control).await?];
    let addresses = [&hetzner, &digitalocean, &control].map(|(_, address)| *address);
    let shared =
        Shared::new(cloud, options.state, options.machines.map(|text| Machines { text, bound: options.bound }));
    // Commands that had not ended when the state was written.
    shared.after(false);
    let services = [
        (hetzner.0, Service::Cloud(Provider::Hetzner)),
        (digitalocean.0, Service::Cloud(Provider::Digitalocean)),
        (control.0, Service::Control),
    ];
    let tasks = services.map(|(listener, service)| tokio::spawn(serve(listener, service, Arc::clone(&shared))));
    let [hetzner, digitalocean, control] = addresses;
    Ok(Running { hetzner, digitalocean, control, shared, tasks: tasks.into() })
}

impl Running {
    /// Runs a function on the state, with the moment of the clouds' clock.
    pub fn with<T>(&self, run: impl FnOnce(&mut Cloud, Moment) -> T) -> T {
        self.shared.with(run)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    if !address.ip().is_loopback() {
        return Err(Error::NotLoopback(address));
    }
    let failed = |source| Error::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let chosen = listener.local_addr().map_err(failed)?;
    Ok((listener, chosen))
}

fn load(file: &PathBuf) -> Result<Cloud, Error> {
    let failed = |source| Error::State { file: file.clone(), source };
    match std::fs::read(file) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| failed(std::io::Error::other(error))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Cloud::default()),
        Err(error) => Err(failed(error)),
    }
}
