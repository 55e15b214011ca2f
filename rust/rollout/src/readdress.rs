//! Steps of a node's move to a new address, one request a function.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use machinist_etcd::{
    etcd::{client_url, hexadecimal, peer_url},
    membership::{ANSWERS, UPDATE_PEERS},
};
use machinist_remote::{Remote, Request};

use crate::{
    lock::{Token, run_under},
    membership::{Voice, agree},
    script,
    step::StepError,
};

/// Time limit of the removal of an address.
const RETIRE: Duration = Duration::from_secs(30);

/// Time limit of one attempt of a member to reach another.
const ATTEMPT: Duration = Duration::from_secs(20);

/// Time limit for a new address to be reachable: neighbours cache addresses, and etcd restarts once.
const REACHABLE: Duration = Duration::from_secs(30);

/// Sets the URLs at which the other members reach a member, one for each address. Acts only while the token holds the
/// lock of the node that it connects to.
///
/// # Errors
/// The lock is gone, the connection fails, or etcd refuses.
pub fn update_peers(voice: &Voice, token: &Token, id: u64, addresses: &[IpAddr]) -> Result<(), StepError> {
    let urls: Vec<String> = addresses.iter().map(|address| peer_url(*address)).collect();
    let variables = [("endpoint", client_url(voice.ip)), ("id", hexadecimal(id)), ("urls", urls.join(","))];
    agree(voice, token, "change the address of a member", &variables, UPDATE_PEERS)
}

/// Waits until a member is reachable at the address from this other member's machine: its client port with a certificate
/// that is valid for the address, and its peer port.
///
/// # Errors
/// The connection to the other member fails, or the address was not reachable within half a minute.
pub fn answers(remote: &dyn Remote, address: IpAddr) -> Result<(), StepError> {
    let variables = [("endpoint", client_url(address)), ("address", address.to_string())];
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let script = script::with(&variables, ANSWERS);
    let deadline = Instant::now() + REACHABLE;
    loop {
        let request = Request::new("reach the new address", script.clone()).timeout(ATTEMPT);
        match remote.run_checked(request) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() >= deadline => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(500)),
        }
    }
}

/// Addresses of a node that moves, and of others that it sends to.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// The address that it leaves.
    pub old: IpAddr,
    /// The address that it has instead.
    pub new: IpAddr,
    /// Addresses of other nodes.
    pub peers: Vec<IpAddr>,
}

/// Checks that the machine has the new address, and does not send packets to the peers from the old one any more.
///
/// # Errors
/// The lock is gone, the connection fails, the new address is missing, or the old one is still in use.
pub fn verify_source(remote: &dyn Remote, token: &Token, addresses: &Addresses) -> Result<(), StepError> {
    run(remote, token, "check", addresses).map(drop)
}

/// Removes the old address from the machine. Returns false if its network configures the interface, and still has it
/// there.
///
/// # Errors
/// As [`verify_source`].
pub fn retire(remote: &dyn Remote, token: &Token, addresses: &Addresses) -> Result<bool, StepError> {
    Ok(run(remote, token, "remove", addresses)?.trim() != "kept")
}

fn run(remote: &dyn Remote, token: &Token, action: &str, addresses: &Addresses) -> Result<String, StepError> {
    let peers: Vec<String> = addresses.peers.iter().map(IpAddr::to_string).collect();
    let (old, new) = (addresses.old.to_string(), addresses.new.to_string());
    let variables = [("action", action), ("old", &old), ("new", &new), ("peers", &peers.join(" "))];
    let script = script::with(&variables, script::RETIRE_ADDRESS);
    Ok(run_under(remote, token, "remove the old address", &script, RETIRE)?.stdout_text())
}
