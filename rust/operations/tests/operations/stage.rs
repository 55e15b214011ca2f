//! Test fixture: a directory with a cluster, a context with fakes, and the recorded events.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
};

use machinist_nix::Nix;
use machinist_operations::{
    consent::Consent,
    context::{Clock, Connections, Context},
    event::{Event, Events},
    failure::{Failure, Kind},
    keyring::Keyring,
    project::Project,
};
use machinist_rollout::{
    Interrupt,
    step::{Connect, Connector},
};
use time::{OffsetDateTime, macros::datetime};

pub const NOW: OffsetDateTime = datetime!(2026-11-30 10:00 UTC);

/// Machines without etcd.
pub const FLEET: &str = r#"{
  cluster.name = "fleet";
  cluster.operators = [
    {
      name = "ops";
      age = "age1lqk39lsxe6gvstlz0z4t4sglfh0rkpjar5e3tl22zkqpkqh4d0mq2yqpvu";
      ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ops";
    }
  ];
  network.nodes = "10.13.13.0/24";
  machines.w1 = { ip = "10.13.13.2"; disk = "/dev/vda"; };
  machines.w2 = { ip = "10.13.13.3"; disk = "/dev/vda"; };
  machines.w3 = { ip = "10.13.13.4"; disk = "/dev/vda"; };
}
"#;

/// Directory with a cluster, and the recorded events.
pub struct Stage {
    directory: tempfile::TempDir,
    heard: Arc<Mutex<Vec<Event>>>,
}

impl Stage {
    pub fn new(machines: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("machines.nix"), machines).unwrap();
        Self { directory, heard: Arc::default() }
    }

    /// Returns the path of the cluster's directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file into the cluster's directory.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.directory().join(name), text).unwrap();
    }

    /// Returns the events so far.
    pub fn heard(&self) -> Vec<Event> {
        self.heard.lock().unwrap().clone()
    }

    /// Returns a context with this time and these connections. All consent is refused.
    pub fn context(&self, now: OffsetDateTime, hosts: impl Connect + 'static) -> Context {
        let heard = Arc::clone(&self.heard);
        let events = Events::new(move |event| heard.lock().unwrap().push(event));
        let connector: Connector = Arc::new(hosts);
        let directory = self.directory.path().to_owned();
        Context {
            project: Project { directory, nix: Nix::find(Vec::new()).unwrap(), events: events.clone(), stage: None },
            keyring: Keyring { identity: None, prompt: machinist_secrets::no_prompt() },
            connections: Connections::Given(connector),
            consent: Consent::new(|question| Err(Failure::new(Kind::Refused, &question.consequence))),
            who: "ann@desk".to_owned(),
            clock: Clock::fixed(now),
            events,
            interrupt: Interrupt::default(),
        }
    }

    /// Returns the events so far, as JSON lines.
    pub fn events(&self) -> String {
        let lines: Vec<String> =
            self.heard.lock().unwrap().iter().map(|event| serde_json::to_string(event).unwrap()).collect();
        lines.join("\n")
    }
}
