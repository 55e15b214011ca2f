//! Changes who votes in etcd, one request a function. Which one may be sent when is decided by
//! [`machinist_etcd::membership`].

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
};
use machinist_model::NodeName;
use machinist_remote::{Remote, RemoteError, Request};

use crate::{
    lock::{Token, request_under, run_under},
    script,
    step::{Connector, StepError, gate},
};

/// How long a learner may take to catch up: reading a database of the largest size over a slow link.
const LEARNING: Duration = Duration::from_secs(1800);

/// How long a new member may take to be heard of by the others.
const JOINING: Duration = Duration::from_secs(120);

/// How long a change of members may take: etcd answers when the others have agreed.
const CHANGE: Duration = Duration::from_secs(30);

/// How long etcd may take to find its members settled after the last one restarted.
const SETTLING: Duration = Duration::from_secs(30);

/// A member that can be asked about all.
pub struct Voice {
    /// Which one.
    pub node: NodeName,
    /// Its address.
    pub ip: IpAddr,
    /// The connection to it.
    pub remote: Box<dyn Remote>,
    /// What it says.
    pub health: Health,
}

/// Finds a member that answers for the cluster, any but `away`. `members` are those that the answer is held against. One whose
/// own etcd is well comes first: a machine that answers for the others cannot be asked for data while its own etcd is away.
///
/// # Errors
/// None of `askable` can be reached, or none has an answer; the last reason is given.
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

/// Adds the node as a learner. This and what follows is done only while the lock of the node that is spoken to is the token's.
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
        // It is what was wanted: an earlier try did it, and its answer was lost.
        Err(error) if error.to_string().contains("member not found") => Ok(()),
        result => result,
    }
}

/// Sends a change of members. etcd refuses one while a member has been back for less than five seconds (`HealthInterval` in
/// etcd's `server/etcdserver`), so that answer is asked for again.
fn agree(
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

/// Waits until the learner has caught up, and makes it a voter. `token` is called for each try; `waiting` is told why not yet,
/// whenever that changes.
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

/// Returns why etcd does not promote it yet, if it does not.
fn try_promote(voice: &Voice, token: &Token, id: u64) -> Result<Option<String>, StepError> {
    let script = script::with(&[("endpoint", &client_url(voice.ip)), ("id", &hexadecimal(id))], PROMOTE);
    let request = Request::new("promote the learner", script).timeout(CHANGE);
    match request_under(&*voice.remote, token, request) {
        Ok(_) => Ok(None),
        // A line of JSON for the log stands before the sentence for people.
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
/// The connection fails, or etcd gives none.
pub fn snapshot(voice: &Voice, to: &mut (dyn Write + Send)) -> Result<(), StepError> {
    let script = script::with(&[("endpoint", &client_url(voice.ip))], SNAPSHOT);
    let request = Request::new("take a snapshot of etcd", script).timeout(Duration::from_secs(3600)).stdout_to(to);
    voice.remote.run_checked(request)?;
    Ok(())
}

/// Starts etcd on a node whose system is the right one already.
///
/// # Errors
/// The lock is gone, the connection fails, or systemd refuses.
pub fn start(remote: &dyn Remote, token: &Token) -> Result<(), StepError> {
    run_under(remote, token, "start etcd", START, CHANGE)?;
    Ok(())
}

/// Stops etcd on a node that is no member any more, and puts its data aside under a name with `mark`. Returns where it is.
///
/// # Errors
/// The lock is gone, the connection fails, or etcd does not stop.
pub fn put_aside(remote: &dyn Remote, token: &Token, mark: &str) -> Result<String, StepError> {
    let aside = format!("/var/lib/etcd/member.removed-{mark}");
    let script = script::with(&[("aside", &aside)], PUT_ASIDE);
    run_under(remote, token, "put the data of etcd aside", &script, Duration::from_secs(120))?;
    Ok(aside)
}
