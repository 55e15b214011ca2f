//! Caller of this command, and the signals that stop it.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use machinist_rollout::Interrupt;
use machinist_text::{bounded, one_line};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::ui::Ui;

/// Maximum length of a user name in a lock, in bytes.
const LONGEST_NAME: usize = 200;

/// Returns the caller of this command: the user before `sudo`, and the computer's name. Nodes keep it in their lock,
/// and it is displayed on other people's terminals.
pub fn who() -> String {
    let variable = |name: &str| std::env::var(name).ok();
    let uid = rustix::process::getuid().as_raw();
    let person = person(variable, uid, &std::fs::read_to_string("/etc/passwd").unwrap_or_default());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    one_line(&bounded(&format!("{person}@{}", host.trim()), LONGEST_NAME)).into_owned()
}

/// Returns the user's name, from the environment if possible; services and containers have none of its variables.
fn person(variable: impl Fn(&str) -> Option<String>, uid: u32, passwd: &str) -> String {
    let named = ["SUDO_USER", "USER", "LOGNAME"].into_iter().filter_map(variable).find(|name| !name.is_empty());
    named.or_else(|| user_of(uid, passwd)).unwrap_or_else(|| format!("uid-{uid}"))
}

/// Returns the name of a user of this computer, from passwd(5).
fn user_of(uid: u32, passwd: &str) -> Option<String> {
    let number = uid.to_string();
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.get(2) == Some(&number.as_str())).then(|| fields[0].to_owned())
    })
}

/// Signals by which a person or the system ends a command: Ctrl-C, termination, a closed terminal.
const fn ending() -> [SignalKind; 3] {
    [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()]
}

/// Waits for the first of the signals, and returns the exit status that a shell reports for it. Must be called within a
/// runtime.
async fn ended() -> i32 {
    let mut tasks = tokio::task::JoinSet::new();
    for kind in ending() {
        tasks.spawn(async move {
            match signal(kind) {
                Ok(mut signal) => drop(signal.recv().await),
                // Without a handler, the signal ends the process by default.
                Err(_) => std::future::pending().await,
            }
            128 + kind.as_raw_value()
        });
    }
    match tasks.join_next().await {
        Some(Ok(code)) => code,
        _ => std::future::pending().await,
    }
}

/// Time that an interrupted operation has for its end in order.
const PATIENCE: Duration = Duration::from_secs(10);

/// Interrupts the operation at a signal. If it does not end in order soon, and remove the directory by itself, both are
/// done here: private keys in clear text must not outlive the process.
pub fn remove_when_interrupted(directory: PathBuf, interrupt: Interrupt) {
    thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        let code = runtime.block_on(ended());
        interrupt.set();
        // Not at once: two threads that remove the same directory would leave a part of it when the process ends.
        thread::sleep(PATIENCE);
        let _gone = fs::remove_dir_all(directory);
        std::process::exit(code);
    });
}

/// Sets the interrupt at Ctrl-C, hang-up or termination. The operation must end soon: no signal ends the process.
pub fn end_in_order(interrupt: Interrupt) -> Ended {
    listen(interrupt, false)
}

/// Signal that interrupted a command, if any.
#[derive(Clone, Debug, Default)]
pub struct Ended(Arc<AtomicU8>);

impl Ended {
    /// Returns the exit status that a shell reports for the signal.
    pub fn code(&self) -> Option<u8> {
        Some(self.0.load(Ordering::Relaxed)).filter(|code| *code != 0)
    }
}

/// Sets the interrupt at the first Ctrl-C, hang-up or termination, and ends the process at the second.
pub fn end_on(interrupt: Interrupt) -> Ended {
    listen(interrupt, true)
}

fn listen(interrupt: Interrupt, second_ends: bool) -> Ended {
    let ended = Ended::default();
    let heard = ended.clone();
    let (listens, registered) = mpsc::channel();
    thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for kind in ending() {
                let Ok(mut signal) = signal(kind) else { continue };
                let (interrupt, heard) = (interrupt.clone(), heard.clone());
                let code = u8::try_from(128 + kind.as_raw_value()).unwrap_or(1);
                tasks.spawn(async move {
                    while signal.recv().await.is_some() {
                        if second_ends && interrupt.is_set() {
                            std::process::exit(code.into());
                        }
                        heard.0.store(code, Ordering::Relaxed);
                        interrupt.set();
                    }
                });
            }
            let _unheard = listens.send(());
            tasks.join_all().await;
        });
    });
    // On an error the thread has no runtime: the signals then end the process by default.
    let _without = registered.recv();
    ended
}

/// Stops the run at the first Ctrl-C, hang-up or termination, and the process at the second. The handlers are installed
/// when this function returns.
pub fn stop_on(interrupt: Interrupt, ui: Ui) {
    let (listens, registered) = mpsc::channel();
    thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for signal in ending().into_iter().filter_map(|kind| signal(kind).ok()) {
                tasks.spawn(stop_at(signal, interrupt.clone(), ui));
            }
            let _unheard = listens.send(());
            tasks.join_all().await;
        });
    });
    // On an error the thread has no runtime: the signals then end the process by default.
    let _without = registered.recv();
}

async fn stop_at(mut signal: Signal, interrupt: Interrupt, ui: Ui) {
    while signal.recv().await.is_some() {
        if interrupt.is_set() {
            ui.story("left at once: hosts in the middle go back by themselves when no confirmation comes");
            std::process::exit(1);
        }
        interrupt.set();
        ui.story("stopping: hosts in the middle go back to the system before, the others are left as they are");
    }
}

#[cfg(test)]
mod tests {
    use super::person;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nann:x:1000:100::/home/ann:/bin/sh\n";

    #[test]
    fn root_without_user_is_root_and_not_unknown() {
        let nothing = |_: &str| None;
        assert_eq!(person(nothing, 0, PASSWD), "root");
        assert_eq!(person(nothing, 1000, PASSWD), "ann");
        assert_eq!(person(nothing, 7, PASSWD), "uid-7");
        let sudo = |name: &str| Some(if name == "SUDO_USER" { "ann" } else { "root" }.to_owned());
        assert_eq!(person(sudo, 0, PASSWD), "ann");
        let empty = |name: &str| Some(if name == "LOGNAME" { "eve" } else { "" }.to_owned());
        assert_eq!(person(empty, 0, PASSWD), "eve");
    }
}
