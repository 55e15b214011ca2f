//! Status of the agent: metrics, health, and current problems.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use machinist_mesh::{Problem, Service, ServiceName};
use machinist_text::one_line;
use serde::{Deserialize, Serialize};

/// Maximum silence of the routing loop before the agent counts as stuck.
pub const SILENCE: Duration = Duration::from_secs(15);

/// State of a local instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InstanceState {
    /// Not checked yet.
    Unknown,
    /// Healthy, and in the mesh once etcd has confirmed it.
    Healthy,
    /// Unhealthy, and out of the mesh.
    Unhealthy,
    /// Deliberately out of the mesh.
    Draining,
}

/// All reported facts.
#[derive(Debug)]
pub struct Facts {
    /// True if the watch on etcd is established.
    pub watching: bool,
    /// True if the lease is kept alive.
    pub leased: bool,
    /// Last revision received from etcd.
    pub revision: i64,
    /// Number of keys.
    pub keys: usize,
    /// Number of routed applications.
    pub services: usize,
    /// Number of routed instances.
    pub servers: usize,
    /// True if haproxy runs the desired routing.
    pub haproxy: bool,
    /// Number of haproxy reloads.
    pub reloads: u64,
    /// Number of rejected configurations.
    pub refused: u64,
    /// Number of servers changed by runtime commands.
    pub commands: u64,
    /// Number of times that changes were applied.
    pub applied: u64,
    /// Duration of the last apply.
    pub last_apply: Duration,
    /// haproxy's current routing, by application.
    pub routing: Arc<BTreeMap<ServiceName, Service>>,
    /// Invalid or conflicting entries in etcd.
    pub problems: Vec<Problem>,
    /// Current errors of this node, by subsystem.
    pub trouble: BTreeMap<&'static str, String>,
    /// State of the local instances, by name.
    pub instances: BTreeMap<String, InstanceState>,
    /// Those registered in etcd on our lease with their current value.
    pub registered: BTreeSet<String>,
    /// Time of the routing loop's last sign of life.
    pub alive: Instant,
}

/// The facts, shared by the agent's tasks.
#[derive(Debug)]
pub struct Status(Mutex<Facts>);

impl Status {
    /// No facts yet.
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

    /// Reads or changes the facts. A panic while they were locked leaves them consistent.
    pub fn with<R>(&self, act: impl FnOnce(&mut Facts) -> R) -> R {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Records an error of a subsystem, or its end with `None`. Logs changes only.
    pub fn trouble(&self, what: &'static str, why: Option<String>) {
        let before = self.with(|facts| match &why {
            Some(why) => facts.trouble.insert(what, why.clone()),
            None => facts.trouble.remove(what),
        });
        match (before, why) {
            (before, Some(why)) if before.as_ref() != Some(&why) => eprintln!("{what}: {}", one_line(&why)),
            (Some(_), None) => eprintln!("{what}: recovered"),
            _ => {}
        }
    }

    /// Records the problems in etcd, and logs new ones.
    pub fn problems(&self, problems: &[Problem]) {
        let new: Vec<Problem> = self.with(|facts| {
            let new = problems.iter().filter(|problem| !facts.problems.contains(problem)).cloned().collect();
            facts.problems = problems.to_vec();
            new
        });
        for problem in new {
            eprintln!("ignored: {}", one_line(&problem.to_string()));
        }
    }

    /// True if the agent does its work, which does not require etcd.
    pub fn is_healthy(&self) -> bool {
        self.with(|facts| facts.alive.elapsed() < SILENCE && facts.haproxy)
    }

    /// Returns the metrics in Prometheus' text format.
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
            gauge("etcd_watching", "1 if the watch on etcd is established.", "gauge", flag(facts.watching));
            gauge("etcd_leased", "1 if the lease of this node is kept alive.", "gauge", flag(facts.leased));
            gauge("etcd_revision", "Last etcd revision received.", "gauge", precise(facts.revision.unsigned_abs()));
            gauge("keys", "Keys of the mesh in etcd.", "gauge", precise(facts.keys as u64));
            gauge("services", "Routed applications.", "gauge", precise(facts.services as u64));
            gauge("servers", "Routed instances.", "gauge", precise(facts.servers as u64));
            gauge("problems", "Ignored entries in etcd.", "gauge", precise(facts.problems.len() as u64));
            gauge("haproxy_up", "1 if haproxy runs the desired routing.", "gauge", flag(facts.haproxy));
            gauge("reloads_total", "Reloads of haproxy.", "counter", precise(facts.reloads));
            gauge("refused_total", "Configurations rejected by haproxy.", "counter", precise(facts.refused));
            gauge("commands_total", "Servers changed without a reload.", "counter", precise(facts.commands));
            gauge("applied_total", "Times that changes were applied.", "counter", precise(facts.applied));
            gauge("last_apply_seconds", "Duration of the last apply.", "gauge", facts.last_apply.as_secs_f64());
            text.push_str("# HELP machinist_mesh_instance_healthy 1 if a local instance is in the mesh.\n");
            text.push_str("# TYPE machinist_mesh_instance_healthy gauge\n");
            for (name, state) in &facts.instances {
                let healthy = u8::from(*state == InstanceState::Healthy);
                let _ = writeln!(text, "machinist_mesh_instance_healthy{{instance=\"{name}\"}} {healthy}");
            }
            text
        })
    }

    /// Returns haproxy's routing as JSON: application to port, servers and their weights.
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

    /// Returns all other facts as JSON.
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
