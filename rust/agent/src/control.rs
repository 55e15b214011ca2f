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
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{mpsc::Sender, oneshot},
    time::{sleep, timeout},
};

use crate::{registrar::Wish, status::Status};

/// How long etcd may take to confirm.
const CONFIRM: Duration = Duration::from_secs(10);

/// How long the other nodes take to hear of it, with a margin.
const SPREAD: Duration = Duration::from_millis(500);

/// What the client asks, and the answer: a line of JSON each.
#[derive(Debug, Serialize, Deserialize)]
struct Question {
    drain: bool,
    instance: Name,
}

#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    error: Option<String>,
    port: u16,
    drain_seconds: u64,
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
        let result = listen(&socket, &wishes).await;
        status.trouble("control socket", result.err().map(|error| format!("{}: {error}", socket.display())));
        sleep(Duration::from_secs(5)).await;
    }
}

async fn listen(socket: &Path, wishes: &Sender<Wish>) -> io::Result<()> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let wishes = wishes.clone();
        tokio::spawn(async move {
            // Whoever asks and goes away gets no answer.
            let _ = talk(stream, &wishes).await;
        });
    }
}

async fn talk(stream: UnixStream, wishes: &Sender<Wish>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    timeout(CONFIRM, stream.read_line(&mut line)).await??;
    let result = match serde_json::from_str::<Question>(&line) {
        Ok(question) => ask(question, wishes).await,
        Err(error) => Err(error.to_string()),
    };
    let answer = match result {
        Ok(instance) => Answer { error: None, port: instance.value.port, drain_seconds: instance.drain.as_secs() },
        Err(error) => Answer { error: Some(error), port: 0, drain_seconds: 0 },
    };
    stream.write_all(serde_json::to_string(&answer)?.as_bytes()).await?;
    stream.write_all(b"\n").await
}

async fn ask(question: Question, wishes: &Sender<Wish>) -> Result<LocalInstance, String> {
    let (to, answer) = oneshot::channel();
    let wish = if question.drain { Wish::Drain } else { Wish::Undrain };
    wishes.send(wish(question.instance, to)).await.map_err(|_| "the agent ends".to_owned())?;
    match timeout(CONFIRM, answer).await {
        Ok(Ok(result)) => result,
        _ => Err(format!("etcd did not confirm within {} s", CONFIRM.as_secs())),
    }
}

/// Takes an instance of this node out of the mesh, or puts it in again. Out: ends when the other nodes have heard of it and
/// its connections are gone, but after its own time at the latest. Returns how many are left.
///
/// # Errors
/// The agent does not answer, or etcd did not confirm.
pub async fn request(socket: &Path, drain: bool, instance: &Name) -> Result<usize, ControlError> {
    let away = |source| ControlError::Away { socket: socket.to_owned(), source };
    let talk = async {
        let mut stream = BufReader::new(UnixStream::connect(socket).await?);
        let question = Question { drain, instance: instance.clone() };
        stream.write_all(format!("{}\n", serde_json::to_string(&question)?).as_bytes()).await?;
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        Ok(serde_json::from_str::<Answer>(&line)?)
    };
    let answer = timeout(CONFIRM * 2, talk).await.map_err(|_| away(io::ErrorKind::TimedOut.into()))?.map_err(away)?;
    if let Some(error) = answer.error {
        return Err(ControlError::Refused(error));
    }
    if !drain {
        return Ok(0);
    }
    sleep(SPREAD).await;
    let begun = Instant::now();
    loop {
        let left = connections(answer.port);
        if left == 0 || begun.elapsed() >= Duration::from_secs(answer.drain_seconds) {
            return Ok(left);
        }
        sleep(Duration::from_millis(100)).await;
    }
}

fn connections(port: u16) -> usize {
    let read = |file: &str| fs::read_to_string(file).map_or(0, |text| listeners::connections(&text, port));
    read("/proc/net/tcp") + read("/proc/net/tcp6")
}
