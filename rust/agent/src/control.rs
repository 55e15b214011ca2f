//! The agent's control socket and its client. Units use it to drain their instance before they stop.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use machinist_mesh::{LocalInstance, Name, listeners};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{mpsc::Sender, oneshot},
    time::{sleep, timeout},
};

use crate::{
    registrar::Request,
    status::{InstanceState, Status},
};

/// Maximum time for etcd to confirm.
const CONFIRM: Duration = Duration::from_secs(10);

/// Time for a change to propagate to the other nodes, with a margin.
const SPREAD: Duration = Duration::from_millis(500);

/// Time without a connection after which an instance that had some is idle. A node whose agent is slow still sends
/// clients here after [`SPREAD`], and between two short connections there is none.
const QUIET: Duration = Duration::from_secs(1);

/// Interval of the looks at an instance's connections.
const LOOK: Duration = Duration::from_millis(100);

/// Longest line of a request or a response, in bytes: the peer may belong to another user.
const LINE: u64 = 64 << 10;

/// Error while the agent shuts down.
const ENDS: &str = "the agent is shutting down";

/// A request: one line of JSON, as is the response.
#[derive(Debug, Serialize, Deserialize)]
struct Query {
    action: Action,
    instance: Name,
}

/// Action on an instance of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Take the instance out of the mesh.
    Drain,
    /// Return the instance to the mesh.
    Undrain,
    /// Discard its health before its program starts.
    Start,
    /// Read the files of all instances again.
    Reload,
    /// No action: only report the state.
    #[serde(rename = "ask")]
    Status,
}

/// Response of the agent.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Answer {
    error: Option<String>,
    port: u16,
    drain_seconds: u64,
    /// Health of the instance; `None` if it is unknown.
    pub state: Option<InstanceState>,
    /// True if etcd has the instance on the agent's lease.
    pub registered: bool,
}

impl Answer {
    fn of(instance: &LocalInstance) -> Self {
        Self { port: instance.value.port, drain_seconds: instance.drain.as_secs(), ..Self::default() }
    }
}

/// Error of a client's request.
#[derive(Debug, Error)]
pub enum ControlError {
    /// The agent does not answer.
    #[error("the agent does not answer at {}", socket.display())]
    Unreachable {
        /// The agent's socket.
        socket: PathBuf,
        /// The I/O error.
        source: io::Error,
    },
    /// The agent rejects the request.
    #[error("{0}")]
    Refused(String),
}

/// Serves for ever, rebinding the socket after errors.
pub async fn serve(socket: PathBuf, requests: Sender<Request>, status: Arc<Status>) {
    loop {
        let result = listen(&socket, &requests, &status).await;
        status.trouble("control socket", result.err().map(|error| format!("{}: {error}", socket.display())));
        sleep(Duration::from_secs(5)).await;
    }
}

async fn listen(socket: &Path, requests: &Sender<Request>, status: &Arc<Status>) -> io::Result<()> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let (requests, status) = (requests.clone(), Arc::clone(status));
        tokio::spawn(async move {
            // A client that disconnects gets no response.
            let _ = talk(stream, &requests, &status).await;
        });
    }
}

async fn talk(stream: UnixStream, requests: &Sender<Request>, status: &Status) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    timeout(CONFIRM, (&mut stream).take(LINE).read_line(&mut line)).await??;
    let result = match serde_json::from_str::<Query>(&line) {
        Ok(Query { action: Action::Status, instance }) => Ok(report(&instance, status)),
        Ok(Query { action: Action::Reload, .. }) => {
            requests.send(Request::Reload).await.map(|()| Answer::default()).map_err(|_| ENDS.to_owned())
        }
        Ok(Query { action: Action::Start, instance }) => {
            requests.send(Request::Start(instance)).await.map(|()| Answer::default()).map_err(|_| ENDS.to_owned())
        }
        Ok(query) => forward(query, requests).await.map(|instance| Answer::of(&instance)),
        Err(error) => Err(error.to_string()),
    };
    let answer = result.unwrap_or_else(|error| Answer { error: Some(error), ..Answer::default() });
    stream.write_all(serde_json::to_string(&answer)?.as_bytes()).await?;
    stream.write_all(b"\n").await
}

fn report(instance: &Name, status: &Status) -> Answer {
    status.with(|facts| {
        let state = facts.instances.get(&**instance).copied();
        Answer { state, registered: facts.registered.contains(&**instance), ..Answer::default() }
    })
}

async fn forward(query: Query, requests: &Sender<Request>) -> Result<LocalInstance, String> {
    let (to, answer) = oneshot::channel();
    let request = if query.action == Action::Drain { Request::Drain } else { Request::Undrain };
    requests.send(request(query.instance, to)).await.map_err(|_| ENDS.to_owned())?;
    match timeout(CONFIRM, answer).await {
        Ok(Ok(result)) => result,
        _ => Err(format!("etcd did not confirm within {} s", CONFIRM.as_secs())),
    }
}

/// Sends a request to the agent, and returns its response.
///
/// # Errors
/// The agent does not answer, or rejects the request.
pub async fn request(socket: &Path, action: Action, instance: &Name) -> Result<Answer, ControlError> {
    let unreachable = |source| ControlError::Unreachable { socket: socket.to_owned(), source };
    let talk = async {
        let mut stream = BufReader::new(UnixStream::connect(socket).await?);
        let query = Query { action, instance: instance.clone() };
        stream.write_all(format!("{}\n", serde_json::to_string(&query)?).as_bytes()).await?;
        let mut line = String::new();
        stream.take(LINE).read_line(&mut line).await?;
        Ok(serde_json::from_str::<Answer>(&line)?)
    };
    let answer = timeout(CONFIRM * 2, talk)
        .await
        .map_err(|_| unreachable(io::ErrorKind::TimedOut.into()))?
        .map_err(unreachable)?;
    match answer.error {
        Some(error) => Err(ControlError::Refused(error)),
        None => Ok(answer),
    }
}

/// Network namespace and port in which an instance's connections are counted.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// A process in the instance's network namespace; `None` for the node's.
    pub process: Option<u32>,
    /// The port there, if it differs.
    pub port: Option<u16>,
}

/// Takes an instance of this node out of the mesh. Returns once the change has propagated and, with a `place`, the
/// instance's connections there are closed, at the latest after its drain time. Returns the number of remaining
/// connections.
///
/// # Errors
/// The agent does not answer, or etcd did not confirm.
pub async fn drain(socket: &Path, instance: &Name, place: Option<Place>) -> Result<usize, ControlError> {
    let answer = request(socket, Action::Drain, instance).await?;
    let Some(place) = place else {
        sleep(SPREAD).await;
        return Ok(0);
    };
    let mut traffic = Traffic::new(Instant::now(), Duration::from_secs(answer.drain_seconds));
    loop {
        let left = connections(place.process, place.port.unwrap_or(answer.port));
        if traffic.has_ended(left, Instant::now()) {
            return Ok(left);
        }
        sleep(LOOK).await;
    }
}

/// Connections of an instance that is taken out of the mesh.
struct Traffic {
    begun: Instant,
    limit: Duration,
    /// The last moment with a connection.
    busy: Option<Instant>,
}

impl Traffic {
    const fn new(begun: Instant, limit: Duration) -> Self {
        Self { begun, limit, busy: None }
    }

    /// Returns true if no connection will come any more, or its time is over.
    fn has_ended(&mut self, connections: usize, now: Instant) -> bool {
        if connections > 0 {
            self.busy = Some(now);
        }
        let quiet = self.busy.is_none_or(|busy| now.duration_since(busy) >= QUIET);
        let waited = now.duration_since(self.begun);
        waited >= SPREAD && (quiet || waited >= SPREAD + self.limit)
    }
}

fn connections(process: Option<u32>, port: u16) -> usize {
    let directory = process.map_or_else(|| "/proc/net".to_owned(), |process| format!("/proc/{process}/net"));
    let read = |file: &str| {
        fs::read_to_string(format!("{directory}/{file}")).map_or(0, |text| listeners::connections(&text, port))
    };
    read("tcp") + read("tcp6")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{LOOK, Traffic};

    /// Returns the number of milliseconds until the traffic has ended, with these connections at each look.
    fn ends_after(limit: u64, connections: impl Fn(u128) -> usize) -> u128 {
        let begun = Instant::now();
        let mut traffic = Traffic::new(begun, Duration::from_secs(limit));
        let mut now = begun;
        while !traffic.has_ended(connections(now.duration_since(begun).as_millis()), now) {
            now += LOOK;
        }
        now.duration_since(begun).as_millis()
    }

    #[test]
    fn an_instance_without_clients_waits_only_for_the_change_to_spread() {
        assert_eq!(ends_after(10, |_| 0), 500);
    }

    #[test]
    fn a_pause_between_short_connections_is_not_the_end_of_them() {
        // A node that is 2 s late sends a client now and then.
        assert_eq!(ends_after(10, |moment| usize::from(moment < 2000 && moment % 400 == 0)), 2600);
    }

    #[test]
    fn connections_that_do_not_end_are_waited_for_no_longer_than_the_drain_time() {
        assert_eq!(ends_after(3, |_| 2), 3500);
        assert_eq!(ends_after(0, |_| 2), 500);
    }
}
