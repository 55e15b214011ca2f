//! What hosts do for each other during a copy: serve slices, fetch them, and stop serving.

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

/// The port on which nodes hand on slices. The firewall of `modules/fan-out.nix` opens the same one.
pub const PORT: u16 = 7080;

/// Where slices lie while they are handed on: in the file system of the store, whose room is known.
const DIRECTORY: &str = "/nix/var/machinist-peers";

/// A host serves for so many seconds at most. It ends sooner when its lock is gone or no longer renewed.
const LONGEST: u64 = 3600;

/// What the peers of one run have in common.
#[derive(Clone)]
pub struct Peers {
    run: String,
    token: String,
}

impl Peers {
    /// Peers of the run that know each other by the token: letters and digits.
    #[must_use]
    pub fn new(run: &str, token: &str) -> Self {
        Self { run: run.to_owned(), token: token.to_owned() }
    }

    fn unit(&self) -> String {
        format!("machinist-peers-{}", self.run)
    }

    /// Makes the host a source that listens on the address.
    ///
    /// # Errors
    /// The connection fails, the host lacks a program, or the port is taken.
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

    /// Ends the serving and removes the slices.
    ///
    /// # Errors
    /// The connection fails. The host then ends it by itself.
    pub fn close(&self, remote: &dyn Remote) -> Result<(), RemoteError> {
        let script = script::with(
            &[("unit", &format!("{}.service", self.unit())), ("directory", DIRECTORY)],
            "export PATH=/run/current-system/sw/bin:$PATH\n\
             systemctl stop \"$unit\" 2>/dev/null\nrm -rf \"$directory\"\n",
        );
        run(remote, "stop serving other nodes", &script, Duration::from_secs(30)).map(drop)
    }

    /// Sends a slice to a host that keeps it for the others. Says whether it could keep it.
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

    /// Lets a host fetch a slice from another one. Says whether it could keep it for others.
    ///
    /// # Errors
    /// The connection to the host fails, or it cannot fetch the slice, or what it fetched is not the slice.
    pub fn fetch(&self, remote: &dyn Remote, slice: usize, sent: &Sent, address: IpAddr) -> Result<bool, RemoteError> {
        // A megabyte a second is little between nodes.
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
        // The import takes its time after that.
        let bound = Duration::from_secs(2 * seconds + 300);
        let output = run(remote, "fetch from another node", &script::with(&variables, script::FETCH), bound)?;
        Ok(output.stdout_text().trim() == "kept")
    }
}
