//! Changes of etcd's membership, one request a function. [`machinist_etcd::membership`] decides which one may be sent
//! when.

use std::{
    collections::BTreeMap,
    io::Write,
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use machinist_etcd::{
    etcd::{Health, client_url, hexadecimal, peer_url},
    membership::{ADD_LEARNER, PROMOTE, PUT_ASIDE, REMOVE, SNAPSHOT, START},
    stored::WRITE_AGAIN,
};
use machinist_model::NodeName;
use machinist_remote::{Remote, RemoteError, Request};

use crate::{
    lock::{Token, request_under, run_under},
    script,
    step::{Connector, StepError, gate},
};

/// Time limit for a learner to catch up: reading a database of maximum size over a slow link.
const LEARNING: Duration = Duration::from_secs(1800);

/// Time limit for the other members to see a new one.
const JOINING: Duration = Duration::from_secs(120);

/// Time limit of a membership change: etcd responds when the other members have agreed.
const CHANGE: Duration = Duration::from_secs(30);

/// Time limit for etcd to report its members healthy after the last one restarted.
const SETTLING: Duration = Duration::from_secs(30);

/// A connected member through which the cluster is queried and changed.
pub struct Voice {
    /// The member's node.
    pub node: NodeName,
    /// Its address.
    pub ip: IpAddr,
    /// The connection to it.
    pub remote: Box<dyn Remote>,
    /// Health of the cluster as this member reports it.
    pub health: Health,
}

/// Finds a member that answers for the cluster, any but `away`. Its answer is compared with `members`. A member whose
/// own etcd is healthy is preferred: a machine that only forwards to the others cannot be queried for data while its
/// own etcd is down.
///
/// # Errors
/// None of `askable` can be reached, or none responds; the last error is returned.
pub fn find_voice(
    connector: &Connector,
    askable: &[NodeName],
    members: &BTreeMap<NodeName, IpAddr>,
    away: Option<&NodeName>,
) -> Result<Voice, StepError> {
    let mut last = StepError::Gate("there is no other member to ask".to_owned());
    let mut ill = None;
    for node in askable.iter().filter(|node| Some(*node) != away) {
        let asked = connector.connect(node).map_err(StepError::from).and_then(|remote| {
            let health = gate::etcd(&*remote, members)?;
            Ok((remote, health))
        });
        match asked {
            Ok((remote, health)) => {
                let Some(ip) = members.get(node).copied() else { continue };
                let is_well = health.members.get(node).is_some_and(|member| member.problems.is_empty());
                let voice = Voice { node: node.clone(), ip, remote, health };
                if is_well {
                    return Ok(voice);
                }
                ill.get_or_insert(voice);
            }
            Err(error) => last = error,
        }
    }
    ill.ok_or(last)
}

/// Adds the node as a learner. This and the following functions act only while the token holds the lock of the node
/// that they connect to.
///
/// # Errors
/// The lock is gone, the connection fails, or etcd refuses.
pub fn add_learner(voice: &Voice, token: &Token, node: &NodeName, ip: IpAddr) -> Result<(), StepError> {
    let variables = [("endpoint", client_url(voice.ip)), ("name", node.to_string()), ("url", peer_url(ip))];
    agree(voice, token, "add a learner", &variables, ADD_LEARNER)
}

/// Removes a member.
///
/// # Errors
/// The lock is gone, the connection fails, or etcd refuses.
pub fn remove(voice: &Voice, token: &Token, id: u64) -> Result<(), StepError> {
    let variables = [("endpoint", client_url(voice.ip)), ("id", hexadecimal(id))];
    match agree(voice, token, "remove a member", &variables, REMOVE) {
        // The desired state: an earlier attempt succeeded, and its response was lost.
        Err(error) if error.to_string().contains("member not found") => Ok(()),
        result => result,
    }
}

/// Writes a voter to the data of all members again, with its peer URL unchanged.
///
/// # Errors
/// The lock is gone, the connection fails, or etcd refuses.
pub fn write_again(voice: &Voice, token: &Token, id: u64, ip: IpAddr) -> Result<(), StepError> {
    let variables = [("endpoint", client_url(voice.ip)), ("id", hexadecimal(id)), ("url", peer_url(ip))];
    agree(voice, token, "write a member again", &variables, WRITE_AGAIN)
}

/// Sends a membership change. etcd refuses one until a restarted member has been up for five seconds (`HealthInterval`
/// in etcd's `server/etcdserver`), so the request is repeated on that error.
pub(crate) fn agree(
    voice: &Voice,
    token: &Token,
    label: &str,
    variables: &[(&str, String)],
    script: &str,
) -> Result<(), StepError> {
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let script = script::with(&variables, script);
    let deadline = Instant::now() + SETTLING;
    loop {
        match run_under(&*voice.remote, token, label, &script, CHANGE) {
            Ok(_) => return Ok(()),
            Err(error) if error.to_string().contains("unhealthy cluster") && Instant::now() < deadline => {
                thread::sleep(Duration::from_secs(1));
            }
            Err(error) => return Err(error),
        }
    }
}

/// Waits until the learner has caught up, and promotes it to a voter. `token` is called for each attempt; `waiting` is
/// called with the reason for the delay whenever it changes.
///
/// # Errors
/// The lock is gone, the connection fails, or it does not catch up within half an hour.
pub fn promote(
    voice: &Voice,
    token: impl Fn() -> Result<Token, StepError>,
    members: &BTreeMap<NodeName, IpAddr>,
    node: &NodeName,
    mut waiting: impl FnMut(&str),
) -> Result<(), StepError> {
    let begun = Instant::now();
    let mut said = String::new();
    loop {
        let health = gate::etcd(&*voice.remote, members)?;
        let member = health.members.get(node);
        let (bound, why) = match member.and_then(|member| Some((member.id?, member))) {
            Some((_, member)) if !member.learner => return Ok(()),
            Some((id, member)) if member.started => match try_promote(voice, &token()?, id)? {
                None => continue,
                Some(why) => (LEARNING, why),
            },
            _ => (JOINING, "its etcd has not joined yet".to_owned()),
        };
        if why != said {
            waiting(&why);
            said.clone_from(&why);
        }
        if begun.elapsed() >= bound {
            let why = format!("{node} is a learner still: {why} (`journalctl -u etcd` there says more)");
            return Err(StepError::Gate(why));
        }
        thread::sleep(Duration::from_millis(500));
    }
}

/// Returns the reason why etcd does not promote it yet, if there is one.
fn try_promote(voice: &Voice, token: &Token, id: u64) -> Result<Option<String>, StepError> {
    let script = script::with(&[("endpoint", &client_url(voice.ip)), ("id", &hexadecimal(id))], PROMOTE);
    let request = Request::new("promote the learner", script).timeout(CHANGE);
    match request_under(&*voice.remote, token, request) {
        Ok(_) => Ok(None),
        // A line of JSON for the log precedes the human-readable error.
        Err(StepError::Remote(RemoteError::Command { stderr, .. })) => {
            let said = stderr.lines().rev().find(|line| !line.is_empty());
            Ok(Some(said.unwrap_or("etcd does not say why").to_owned()))
        }
        Err(error) => Err(error),
    }
}

/// Takes a snapshot of the member, verified on the node, and writes it to `to`.
///
/// # Errors
/// The connection fails, or etcd cannot produce a snapshot.
pub fn snapshot(voice: &Voice, to: &mut (dyn Write + Send)) -> Result<(), StepError> {
    let script = script::with(&[("endpoint", &client_url(voice.ip))], SNAPSHOT);
    let request = Request::new("take a snapshot of etcd", script).timeout(Duration::from_secs(3600)).stdout_to(to);
    voice.remote.run_checked(request)?;
    Ok(())
}

/// Starts etcd on a node that already has the right system.
///
/// # Errors
/// The lock is gone, the connection fails, or systemd refuses.
pub fn start(remote: &dyn Remote, token: &Token) -> Result<(), StepError> {
    run_under(remote, token, "start etcd", START, CHANGE)?;
    Ok(())
}

/// Stops etcd on a node that is no longer a member, and moves its data aside under a name with `mark`. Returns the new
/// path.
///
/// # Errors
/// The lock is gone, the connection fails, or etcd does not stop.
pub fn put_aside(remote: &dyn Remote, token: &Token, mark: &str) -> Result<String, StepError> {
    let aside = format!("/var/lib/etcd/member.removed-{mark}");
    let script = script::with(&[("aside", &aside)], PUT_ASIDE);
    run_under(remote, token, "put the data of etcd aside", &script, Duration::from_secs(120))?;
    Ok(aside)
}
