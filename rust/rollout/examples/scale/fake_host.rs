//! Hosts that are not there: they answer what the real scripts answer, in the order in which a real host would accept it,
//! and nothing else.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    sync::{Arc, Mutex, PoisonError},
};

use machinist_model::NodeName;
use machinist_nix::StorePath;
use machinist_remote::{Endpoint, Output, Remote, RemoteError, Request, Status, Stdin};
use machinist_rollout::step::Connect;

/// What a host remembers.
#[derive(Clone, Debug)]
struct Memory {
    running: String,
    lock: String,
    imported: bool,
    new: Option<String>,
    confirmed: bool,
}

/// The hosts.
pub struct FakeFleet(BTreeMap<NodeName, Arc<Mutex<Memory>>>);

impl FakeFleet {
    /// Hosts that run and boot these systems.
    pub fn new(systems: &BTreeMap<NodeName, StorePath>) -> Self {
        let memory = |system: &StorePath| Memory {
            running: system.to_string(),
            lock: String::new(),
            imported: false,
            new: None,
            confirmed: false,
        };
        Self(systems.iter().map(|(node, system)| (node.clone(), Arc::new(Mutex::new(memory(system))))).collect())
    }
}

impl Connect for FakeFleet {
    fn connect(&self, node: &NodeName) -> Result<Box<dyn Remote>, RemoteError> {
        let at = Endpoint { node: node.to_string(), user: "root".to_owned(), host: "192.0.2.1".to_owned(), port: 22 };
        let unknown = RemoteError::InvalidRequest {
            at: Arc::new(at.clone()),
            label: "connect".to_owned(),
            reason: "there is no such fake host",
        };
        let memory = self.0.get(node).map(Arc::clone).ok_or(unknown)?;
        Ok(Box::new(FakeConnection { at: Arc::new(at), memory }))
    }
}

struct FakeConnection {
    at: Arc<Endpoint>,
    memory: Arc<Mutex<Memory>>,
}

impl Remote for FakeConnection {
    fn endpoint(&self) -> &Arc<Endpoint> {
        &self.at
    }

    fn run(&self, request: Request<'_>) -> Result<Output, RemoteError> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = memory.answer(&request.label, &request.script, request.stdin);
        let (status, stdout, stderr) = match answer {
            Ok(stdout) => (0, stdout, String::new()),
            Err(refusal) => (1, String::new(), refusal),
        };
        Ok(Output { status: Status::Exited(status), stdout: stdout.into_bytes(), stderr: stderr.into_bytes() })
    }
}

impl Memory {
    fn answer(&mut self, label: &str, script: &str, stdin: Stdin) -> Result<String, String> {
        let input = read(stdin).map_err(|error| error.to_string())?;
        match label {
            "gather facts" => Ok(self.facts()),
            "ask for missing paths" => {
                // Everything but the system itself is there.
                let system = |line: &&str| line.contains("-scale-system-") && **line != self.running;
                Ok(input.text()?.lines().filter(system).map(|line| format!("{line}\n")).collect())
            }
            "look at the lock" => Ok(self.state("")),
            "take the lock" => {
                let claim = variable(script, "claim").ok_or("no claim")?;
                self.lock = format!("{claim}\nboot=b\nexpires=100\n");
                Ok(self.state("verdict=done\n"))
            }
            "renew the lock" => Ok(self.state("verdict=done\n")),
            "release the lock" => {
                self.lock = format!("fence={}\n", variable(script, "fence").ok_or("no fence")?);
                Ok(self.state("verdict=done\n"))
            }
            "start the activation" if self.imported => {
                self.new = Some(variable(input.text()?, "new").ok_or("no system")?);
                Ok(String::new())
            }
            "wait for the activation" if self.new.is_some() => {
                if script.contains("$directory/confirm\"") {
                    self.confirmed = true;
                    self.running = self.new.clone().ok_or("nothing to confirm")?;
                }
                Ok(if self.confirmed { "confirmed\n" } else { "waiting\n" }.to_owned())
            }
            _ if label.starts_with("import ") => {
                self.imported = input.length > 0;
                Ok(String::new())
            }
            _ => Err(format!("a real host would not have been asked to `{label}` now")),
        }
    }

    /// What the host says of its lock, after the verdict.
    fn state(&self, verdict: &str) -> String {
        let lock: String = self.lock.lines().map(|line| format!("lock={line}\n")).collect();
        format!("{verdict}boot=b\nuptime=10\n{lock}")
    }

    fn facts(&self) -> String {
        let Self { running, lock, .. } = self;
        let now =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let mut text = format!("time={now}\nboot=b\nuptime=10\narch=x86_64\nrunning={running}\nprofile={running}\n");
        text.push_str("store_free=100000000000\n");
        lock.lines().for_each(|line| text.push_str(&format!("lock={line}\n")));
        text
    }
}

/// The value that a script sets in front, unquoted.
fn variable(script: &str, name: &str) -> Option<String> {
    let start = script.find(&format!("{name}="))? + name.len() + 1;
    let rest = &script[start..];
    match rest.strip_prefix('\'') {
        Some(quoted) => quoted.split('\'').next().map(str::to_owned),
        None => rest.lines().next().map(str::to_owned),
    }
}

/// What was sent: its beginning as far as it is text, and its length. A closure is not kept, as it is not on a real host's
/// side of the connection either.
struct Input {
    kept: Vec<u8>,
    length: usize,
}

impl Input {
    fn text(&self) -> Result<&str, String> {
        std::str::from_utf8(&self.kept).map_err(|error| error.to_string())
    }
}

fn read(stdin: Stdin) -> io::Result<Input> {
    match stdin {
        Stdin::None => Ok(Input { kept: Vec::new(), length: 0 }),
        Stdin::Bytes(kept) => Ok(Input { length: kept.len(), kept }),
        Stdin::Reader(mut reader) => {
            let (mut buffer, mut length) = (vec![0; 64 << 10], 0);
            loop {
                match reader.read(&mut buffer)? {
                    0 => return Ok(Input { kept: Vec::new(), length }),
                    count => length += count,
                }
            }
        }
    }
}
