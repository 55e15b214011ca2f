//! Ledger of etcd: writes and reads through all members while the fault tests disturb the cluster. At the end it
//! reports whether any acknowledged write was lost, whether a read ever went back, and the longest time without a
//! successful write.

mod book;
mod error;
mod member;

use std::{
    fs,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use clap::Parser;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::sleep,
};

use crate::{
    book::{Book, key},
    error::LedgerError,
    member::{Answer, Members},
};

/// Write to and read from etcd until SIGTERM or Ctrl-C, then verify its content. Exit code 1: a write is lost, or a
/// read went back
#[derive(Debug, Parser)]
#[command(name = "ledger")]
struct Arguments {
    /// Client URL of a member; repeat it for each member
    #[arg(long = "endpoint", required = true)]
    endpoints: Vec<String>,

    /// CA certificate, PEM
    #[arg(long)]
    ca: PathBuf,

    /// Client certificate, PEM
    #[arg(long)]
    certificate: PathBuf,

    /// Client key, PEM
    #[arg(long)]
    key: PathBuf,

    /// Prefix of all keys; unique for each run
    #[arg(long, default_value = "ledger")]
    prefix: String,

    /// File to which the number and revision of each acknowledged write are appended
    #[arg(long)]
    acknowledged: PathBuf,

    /// Pause between two writes, and between two reads, in milliseconds
    #[arg(long, default_value_t = 20)]
    pause: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("ledger: {error}");
            ExitCode::from(2)
        }
    }
}

async fn run(arguments: Arguments) -> Result<bool, LedgerError> {
    let read = |path: &PathBuf| fs::read(path).map_err(|source| LedgerError::File { path: path.clone(), source });
    let (ca, certificate, private) = (read(&arguments.ca)?, read(&arguments.certificate)?, read(&arguments.key)?);
    let members = Members::new(arguments.endpoints.clone(), &ca, &certificate, &private);
    let book = Arc::new(Mutex::new(Book::open(&arguments.acknowledged)?));
    let (stop, stopped) = watch::channel(false);
    let (prefix, pause) = (arguments.prefix.clone(), Duration::from_millis(arguments.pause));
    let writer = tokio::spawn(write(members.clone(), Arc::clone(&book), prefix.clone(), pause, stopped.clone()));
    let reader = tokio::spawn(look(members.clone(), Arc::clone(&book), prefix.clone(), pause, stopped));
    ended().await?;
    // The verdict is still needed: a closed channel means that there are no receivers left, which is as good.
    let _ = stop.send(true);
    writer.await.map_err(|_| LedgerError::Task("writer"))??;
    reader.await.map_err(|_| LedgerError::Task("reader"))?;
    let found = member::read_all(&members, &prefix).await?;
    let verdict = locked(&book).verdict(&found);
    println!("{}", verdict.json());
    Ok(verdict.is_well())
}

/// Writes one key after the other, each through the next member, until it is stopped.
async fn write(
    mut members: Members,
    book: Arc<Mutex<Book>>,
    prefix: String,
    pause: Duration,
    stopped: watch::Receiver<bool>,
) -> Result<(), LedgerError> {
    for number in 1.. {
        if *stopped.borrow() {
            break;
        }
        match members.put(&key(&prefix, number), &format!("{prefix}/last"), number).await {
            Some(revision) => locked(&book).acknowledged(number, revision)?,
            None => locked(&book).refused(),
        }
        sleep(pause).await;
    }
    locked(&book).end_of_writing();
    Ok(())
}

/// Reads the last write repeatedly, each time through the next member, until it is stopped.
async fn look(
    mut members: Members,
    book: Arc<Mutex<Book>>,
    prefix: String,
    pause: Duration,
    stopped: watch::Receiver<bool>,
) {
    while !*stopped.borrow() {
        let before = locked(&book).last_acknowledged();
        if let Some(Answer { endpoint, store, key }) = members.get(&format!("{prefix}/last")).await {
            locked(&book).read(&endpoint, before, store, key);
        }
        sleep(pause).await;
    }
}

async fn ended() -> Result<(), LedgerError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(LedgerError::Signal)?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        pressed = tokio::signal::ctrl_c() => pressed.map_err(LedgerError::Signal),
    }
}

/// A thread that panicked while it held the book left only complete entries in it.
fn locked(book: &Mutex<Book>) -> std::sync::MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}
