//! The agent's own socket, by which units of this node take their instance out before they stop, and the client of it.

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
    registrar::Wish,
    status::{InstanceState, Status},
};

/// How long etcd may take to confirm.
const CONFIRM: Duration = Duration::from_secs(10);

/// How long the other nodes take to hear of it, with a margin.
const SPREAD: Duration = Duration::from_millis(500);

/// Longest line of a question or an answer, in bytes: who is at the other end may belong to another user.
const LINE: u64 = 64 << 10;

/// What is said while the agent ends.
const ENDS: &str = "the agent ends";

/// What the client asks, and the answer: a line of JSON each.
#[derive(Debug, Serialize, Deserialize)]
struct Question {
    action: Action,
    instance: Name,
}

/// What is to be done with an instance of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Take it out of the mesh.
    Drain,
    /// Put it in again.
    Undrain,
    /// Forget what is known of it: its program starts.
    Start,
    /// Read the files of all instances again.
    Reload,
    /// Nothing: only say how it is.
    Ask,
}

/// What the agent says of an instance.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Answer {
    error: Option<String>,
    port: u16,
    drain_seconds: u64,
    /// How it is.
    pub state: Option<InstanceState>,
    /// Whether etcd has it.
    pub registered: bool,
}

impl Answer {
    fn of(instance: &LocalInstance) -> Self {
        Self { port: instance.value.port, drain_seconds: instance.drain.as_secs(), ..Self::default() }
    }
}

/// Why the client could not do it.
#[derive(Debug, Error)]
pub enum ControlError {
    /// The agent does not answer.
    #[error("the agent does not answer at {}", socket.display())]
    Away {
        /// Its socket.
        socket: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The agent refuses.
    #[error("{0}")]
    Refused(String),
}

/// Serves for ever.
pub async fn serve(socket: PathBuf, wishes: Sender<Wish>, status: Arc<Status>) {
    loop {
        let result = listen(&socket, &wishes, &status).await;
        status.trouble("control socket", result.err().map(|error| format!("{}: {error}", socket.display())));
        sleep(Duration::from_secs(5)).await;
    }
}

async fn listen(socket: &Path, wishes: &Sender<Wish>, status: &Arc<Status>) -> io::Result<()> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let (wishes, status) = (wishes.clone(), Arc::clone(status));
        tokio::spawn(async move {
            // Whoever asks and goes away gets no answer.
            let _ = talk(stream, &wishes, &status).await;
        });
    }
}

async fn talk(stream: UnixStream, wishes: &Sender<Wish>, status: &Status) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    timeout(CONFIRM, (&mut stream).take(LINE).read_line(&mut line)).await??;
    let result = match serde_json::from_str::<Question>(&line) {
        Ok(Question { action: Action::Ask, instance }) => Ok(tell(&instance, status)),
        Ok(Question { action: Action::Reload, .. }) => {
            wishes.send(Wish::Reload).await.map(|()| Answer::default()).map_err(|_| ENDS.to_owned())
        }
        Ok(Question { action: Action::Start, instance }) => {
            wishes.send(Wish::Start(instance)).await.map(|()| Answer::default()).map_err(|_| ENDS.to_owned())
        }
        Ok(question) => ask(question, wishes).await.map(|instance| Answer::of(&instance)),
        Err(error) => Err(error.to_string()),
    };
    let answer = result.unwrap_or_else(|error| Answer { error: Some(error), ..Answer::default() });
    stream.write_all(serde_json::to_string(&answer)?.as_bytes()).await?;
    stream.write_all(b"\n").await
}

fn tell(instance: &Name, status: &Status) -> Answer {
    status.with(|facts| {
        let state = facts.instances.get(&**instance).copied();
        Answer { state, registered: facts.registered.contains(&**instance), ..Answer::default() }
    })
}

async fn ask(question: Question, wishes: &Sender<Wish>) -> Result<LocalInstance, String> {
    let (to, answer) = oneshot::channel();
    let wish = if question.action == Action::Drain { Wish::Drain } else { Wish::Undrain };
    wishes.send(wish(question.instance, to)).await.map_err(|_| ENDS.to_owned())?;
    match timeout(CONFIRM, answer).await {
        Ok(Ok(result)) => result,
        _ => Err(format!("etcd did not confirm within {} s", CONFIRM.as_secs())),
    }
}

/// Asks the agent for something, and returns its answer.
///
/// # Errors
/// The agent does not answer, or refuses.
pub async fn request(socket: &Path, action: Action, instance: &Name) -> Result<Answer, ControlError> {
    let away = |source| ControlError::Away { socket: socket.to_owned(), source };
    let talk = async {
        let mut stream = BufReader::new(UnixStream::connect(socket).await?);
        let question = Question { action, instance: instance.clone() };
        stream.write_all(format!("{}\n", serde_json::to_string(&question)?).as_bytes()).await?;
        let mut line = String::new();
        stream.take(LINE).read_line(&mut line).await?;
        Ok(serde_json::from_str::<Answer>(&line)?)
    };
    let answer = timeout(CONFIRM * 2, talk).await.map_err(|_| away(io::ErrorKind::TimedOut.into()))?.map_err(away)?;
    match answer.error {
        Some(error) => Err(ControlError::Refused(error)),
        None => Ok(answer),
    }
}

/// Where connections to an instance are seen.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// A process in the instance's network; `None` if that is the node's.
    pub process: Option<u32>,
    /// The port there, if it is another one.
    pub port: Option<u16>,
}

/// Takes an instance of this node out of the mesh. Ends when the other nodes have heard of it and, with a `place`, its
/// connections there are gone, but after its own time at the latest. Returns how many are left.
///
/// # Errors
/// The agent does not answer, or etcd did not confirm.
pub async fn drain(socket: &Path, instance: &Name, place: Option<Place>) -> Result<usize, ControlError> {
    let answer = request(socket, Action::Drain, instance).await?;
    sleep(SPREAD).await;
    let Some(place) = place else { return Ok(0) };
    let begun = Instant::now();
    loop {
        let left = connections(place.process, place.port.unwrap_or(answer.port));
        if left == 0 || begun.elapsed() >= Duration::from_secs(answer.drain_seconds) {
            return Ok(left);
        }
        sleep(Duration::from_millis(100)).await;
    }
}

fn connections(process: Option<u32>, port: u16) -> usize {
    let directory = process.map_or_else(|| "/proc/net".to_owned(), |process| format!("/proc/{process}/net"));
    let read = |file: &str| {
        fs::read_to_string(format!("{directory}/{file}")).map_or(0, |text| listeners::connections(&text, port))
    };
    read("tcp") + read("tcp6")
}
