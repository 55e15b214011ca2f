//! Operations on the peers of a copy: serve slices, fetch them, and stop serving.

use std::{net::IpAddr, sync::Arc, time::Duration};

use machinist_nix::PathInfo;
use machinist_remote::{Remote, RemoteError};

use crate::{
    script,
    step::{
        StepError,
        copy::{self, Sent},
        run,
    },
};

/// The port on which nodes serve slices. The firewall of `modules/fan-out.nix` opens the same one.
pub const PORT: u16 = 7080;

/// Directory for slices while they are served: on the file system of the store, whose free space is known.
const DIRECTORY: &str = "/nix/var/machinist-peers";

/// Time limit for a host's server, in seconds. It stops earlier when the lock is lost or no longer renewed.
const LONGEST: u64 = 3600;

/// Properties that the peers of one run have in common.
#[derive(Clone)]
pub struct Peers {
    run: String,
    token: String,
}

impl Peers {
    /// Returns the peers of the run; they authenticate to each other by the token: letters and digits.
    #[must_use]
    pub fn new(run: &str, token: &str) -> Self {
        Self { run: run.to_owned(), token: token.to_owned() }
    }

    fn unit(&self) -> String {
        format!("machinist-peers-{}", self.run)
    }

    /// Starts the host's server for slices, on the address.
    ///
    /// # Errors
    /// The connection fails, a program is missing on the host, or the port is in use.
    pub fn open(&self, remote: &dyn Remote, address: IpAddr) -> Result<(), RemoteError> {
        let listen = std::net::SocketAddr::new(address, PORT).to_string();
        let variables = [
            ("directory", DIRECTORY),
            ("unit", &self.unit()),
            ("run", &self.run),
            ("address", &address.to_string()),
            ("listen", &listen),
            ("port", &PORT.to_string()),
            ("token", &self.token),
            ("seconds", &LONGEST.to_string()),
            ("serve", script::PEERS_SERVE),
            ("watch", script::PEERS_WATCH),
        ];
        let script = script::with(&variables, script::PEERS);
        run(remote, "serve other nodes", &script, Duration::from_secs(30)).map(drop)
    }

    /// Stops the server and removes the slices.
    ///
    /// # Errors
    /// The connection fails. The host then stops its server by itself.
    pub fn close(&self, remote: &dyn Remote) -> Result<(), RemoteError> {
        let script = script::with(
            &[("unit", &format!("{}.service", self.unit())), ("directory", DIRECTORY)],
            "export PATH=/run/current-system/sw/bin:$PATH\n\
             systemctl stop \"$unit\" 2>/dev/null\nrm -rf \"$directory\"\n",
        );
        run(remote, "stop serving other nodes", &script, Duration::from_secs(30)).map(drop)
    }

    /// Sends a slice to a host that keeps it for the others. Returns its digest and size, and true if the host kept it.
    ///
    /// # Errors
    /// As [`copy::send`].
    pub fn send(
        &self,
        remote: &dyn Remote,
        slice: usize,
        paths: &[Arc<PathInfo>],
        progress: impl FnMut(u64) -> bool + Send + 'static,
    ) -> Result<(Sent, bool), StepError> {
        let variables = [("directory", DIRECTORY), ("slice", &slice.to_string())];
        let sent = copy::send_to(remote, &script::with(&variables, script::KEEP), paths, progress)?;
        let is_kept = sent.answer.trim() == "kept";
        Ok((sent, is_kept))
    }

    /// Makes a host fetch a slice from another one. Returns true if the host kept it for others.
    ///
    /// # Errors
    /// The connection to the host fails, the host cannot fetch the slice, or the fetched data does not match the
    /// digest.
    pub fn fetch(&self, remote: &dyn Remote, slice: usize, sent: &Sent, address: IpAddr) -> Result<bool, RemoteError> {
        // Allows for 1 MiB/s, a low rate between nodes.
        let seconds = 20 + (sent.bytes >> 20);
        let variables = [
            ("directory", DIRECTORY),
            ("slice", &slice.to_string()),
            ("digest", &sent.digest),
            ("address", &address.to_string()),
            ("port", &PORT.to_string()),
            ("token", &self.token),
            ("bytes", &sent.bytes.to_string()),
            ("seconds", &seconds.to_string()),
        ];
        // Includes time for the import, which follows the fetch.
        let bound = Duration::from_secs(2 * seconds + 300);
        let output = run(remote, "fetch from another node", &script::with(&variables, script::FETCH), bound)?;
        Ok(output.stdout_text().trim() == "kept")
    }
}
