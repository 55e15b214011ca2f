//! What the agent tells about itself: metrics, health, and what is wrong in the mesh.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use machinist_mesh::{Problem, Service, ServiceName};
use machinist_text::one_line;
use serde::{Deserialize, Serialize};

/// How long the routing loop may be silent until the agent counts as stuck.
pub const SILENCE: Duration = Duration::from_secs(15);

/// The state of a local instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InstanceState {
    /// Not checked yet.
    Unknown,
    /// Healthy, and in the mesh if etcd answers.
    Healthy,
    /// Not healthy, and out of the mesh.
    Unhealthy,
    /// Taken out on purpose.
    Draining,
}

/// Everything that is told.
#[derive(Debug)]
pub struct Facts {
    /// Whether the watch stands.
    pub watching: bool,
    /// Whether the lease is kept.
    pub leased: bool,
    /// The last revision of etcd that was seen.
    pub revision: i64,
    /// How many keys there are.
    pub keys: usize,
    /// How many applications are routed.
    pub services: usize,
    /// How many instances are routed.
    pub servers: usize,
    /// Whether haproxy runs what it shall.
    pub haproxy: bool,
    /// How many times haproxy was reloaded.
    pub reloads: u64,
    /// How many times a configuration was refused.
    pub refused: u64,
    /// How many servers were changed by commands.
    pub commands: u64,
    /// How many times changes were taken in.
    pub applied: u64,
    /// How long that took the last time.
    pub last_apply: Duration,
    /// What haproxy routes.
    pub routing: Arc<BTreeMap<ServiceName, Service>>,
    /// What is wrong in etcd.
    pub problems: Vec<Problem>,
    /// What is wrong on this node.
    pub trouble: BTreeMap<&'static str, String>,
    /// The local instances.
    pub instances: BTreeMap<String, InstanceState>,
    /// Those of them that etcd has as they are, on our lease.
    pub registered: BTreeSet<String>,
    /// When the routing loop was last alive.
    pub alive: Instant,
}

/// The facts, shared by the agent's tasks.
#[derive(Debug)]
pub struct Status(Mutex<Facts>);

impl Status {
    /// Nothing is known yet.
    pub fn new() -> Self {
        Self(Mutex::new(Facts {
            watching: false,
            leased: false,
            revision: 0,
            keys: 0,
            services: 0,
            servers: 0,
            haproxy: false,
            reloads: 0,
            refused: 0,
            commands: 0,
            applied: 0,
            last_apply: Duration::ZERO,
            routing: Arc::default(),
            problems: Vec::new(),
            trouble: BTreeMap::new(),
            instances: BTreeMap::new(),
            registered: BTreeSet::new(),
            alive: Instant::now(),
        }))
    }

    /// Reads or changes the facts. Whoever panicked with them in hand left whole values behind.
    pub fn with<R>(&self, act: impl FnOnce(&mut Facts) -> R) -> R {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says what is wrong on this node, once for as long as it is the same, or that it no longer is.
    pub fn trouble(&self, what: &'static str, why: Option<String>) {
        let before = self.with(|facts| match &why {
            Some(why) => facts.trouble.insert(what, why.clone()),
            None => facts.trouble.remove(what),
        });
        match (before, why) {
            (before, Some(why)) if before.as_ref() != Some(&why) => eprintln!("{what}: {}", one_line(&why)),
            (Some(_), None) => eprintln!("{what}: works again"),
            _ => {}
        }
    }

    /// Takes what is wrong in etcd, and says what is new of it.
    pub fn problems(&self, problems: &[Problem]) {
        let new: Vec<Problem> = self.with(|facts| {
            let new = problems.iter().filter(|problem| !facts.problems.contains(problem)).cloned().collect();
            facts.problems = problems.to_vec();
            new
        });
        for problem in new {
            eprintln!("left out: {}", one_line(&problem.to_string()));
        }
    }

    /// Whether the agent does its work: it need not reach etcd for that.
    pub fn is_healthy(&self) -> bool {
        self.with(|facts| facts.alive.elapsed() < SILENCE && facts.haproxy)
    }

    /// Returns the metrics in the text format of Prometheus.
    pub fn metrics(&self) -> String {
        self.with(|facts| {
            let mut text = String::new();
            let mut gauge = |name: &str, help: &str, kind: &str, value: f64| {
                // Writing to a String cannot fail.
                let _ = write!(
                    text,
                    "# HELP machinist_mesh_{name} {help}\n# TYPE machinist_mesh_{name} {kind}\nmachinist_mesh_{name} {value}\n"
                );
            };
            let flag = |flag| if flag { 1.0 } else { 0.0 };
            gauge("etcd_watching", "Whether the watch on etcd stands.", "gauge", flag(facts.watching));
            gauge("etcd_leased", "Whether the lease of this node is kept.", "gauge", flag(facts.leased));
            gauge("etcd_revision", "The last revision of etcd that was seen.", "gauge", precise(facts.revision.unsigned_abs()));
            gauge("keys", "Keys of the mesh.", "gauge", precise(facts.keys as u64));
            gauge("services", "Applications that are routed.", "gauge", precise(facts.services as u64));
            gauge("servers", "Instances that are routed.", "gauge", precise(facts.servers as u64));
            gauge("problems", "Entries that are left out.", "gauge", precise(facts.problems.len() as u64));
            gauge("haproxy_up", "Whether haproxy runs what it shall.", "gauge", flag(facts.haproxy));
            gauge("reloads_total", "Reloads of haproxy.", "counter", precise(facts.reloads));
            gauge("refused_total", "Configurations that haproxy refused.", "counter", precise(facts.refused));
            gauge("commands_total", "Servers changed without a reload.", "counter", precise(facts.commands));
            gauge("applied_total", "Times that changes were taken in.", "counter", precise(facts.applied));
            gauge("last_apply_seconds", "How long that took the last time.", "gauge", facts.last_apply.as_secs_f64());
            text.push_str("# HELP machinist_mesh_instance_healthy Whether a local instance is in the mesh.\n");
            text.push_str("# TYPE machinist_mesh_instance_healthy gauge\n");
            for (name, state) in &facts.instances {
                let healthy = u8::from(*state == InstanceState::Healthy);
                let _ = writeln!(text, "machinist_mesh_instance_healthy{{instance=\"{name}\"}} {healthy}");
            }
            text
        })
    }

    /// Returns what haproxy routes as JSON: application to port, servers and their weights.
    pub fn routing(&self) -> String {
        let routing = self.with(|facts| Arc::clone(&facts.routing));
        let view = |(name, service): (&ServiceName, &Service)| {
            let servers: BTreeMap<&str, String> =
                service.servers.iter().map(|(name, server)| (name.as_str(), server.address.to_string())).collect();
            let weights: BTreeMap<&str, u16> =
                service.servers.iter().map(|(name, server)| (name.as_str(), server.weight)).collect();
            (name.to_string(), serde_json::json!({ "port": service.port, "servers": servers, "weights": weights }))
        };
        serde_json::Value::Object(routing.iter().map(view).collect()).to_string()
    }

    /// Returns everything else as JSON.
    pub fn json(&self) -> String {
        self.with(|facts| {
            serde_json::json!({
                "watching": facts.watching,
                "leased": facts.leased,
                "revision": facts.revision,
                "services": facts.services,
                "servers": facts.servers,
                "haproxy": facts.haproxy,
                "reloads": facts.reloads,
                "commands": facts.commands,
                "lastApplySeconds": facts.last_apply.as_secs_f64(),
                "problems": facts.problems,
                "trouble": facts.trouble,
                "instances": facts.instances,
                "registered": facts.registered,
            })
            .to_string()
        })
    }
}

/// Counters stay far below 2^52.
#[allow(clippy::cast_precision_loss)]
const fn precise(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use machinist_mesh::Problem;

    use super::{InstanceState, Status};

    #[test]
    fn metrics_are_lines_that_prometheus_reads() {
        let status = Status::new();
        status.problems(&[Problem { subject: "services.a".to_owned(), why: "x".to_owned() }]);
        status.with(|facts| facts.instances.insert("web".to_owned(), InstanceState::Healthy));
        let metrics = status.metrics();
        assert!(metrics.contains("\nmachinist_mesh_problems 1\n"), "{metrics}");
        assert!(metrics.ends_with("\nmachinist_mesh_instance_healthy{instance=\"web\"} 1\n"), "{metrics}");
        assert!(metrics.lines().all(|line| line.starts_with("# ") || line.split(' ').count() == 2), "{metrics}");
    }
}
