//! Hetzner Cloud: its resources and rules.

mod action;
mod catalogue;
mod effect;
mod errors;
mod firewall;
mod floating_ip;
mod image;
mod list;
mod load_balancer;
mod network;
mod placement_group;
mod power;
mod primary_ip;
mod server;
mod server_network;
mod ssh_key;
mod volume;
mod zone;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use action::Action;
pub use catalogue::Catalogue;
pub use effect::Effect;
pub use errors::violated;
pub use server::{is_host_name, mac};

use crate::limits::Bucket;
use crate::machines::{Job, Outcome};
use crate::message::{Call, Handled, Problem};
use crate::route::{Route, Router};
use crate::time::Moment;

/// The state of one project.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hetzner {
    /// The id of the next resource.
    pub next: u64,
    /// By id.
    pub actions: BTreeMap<u64, Action>,
    /// By id.
    pub ssh_keys: BTreeMap<u64, ssh_key::SshKey>,
    /// By id.
    pub placement_groups: BTreeMap<u64, placement_group::PlacementGroup>,
    /// By id.
    pub networks: BTreeMap<u64, network::Network>,
    /// By id.
    pub firewalls: BTreeMap<u64, firewall::Firewall>,
    /// By id.
    pub servers: BTreeMap<u64, server::Server>,
    /// By id; system images and snapshots.
    pub images: BTreeMap<u64, image::Image>,
    /// By id.
    pub volumes: BTreeMap<u64, volume::Volume>,
    /// By id.
    pub primary_ips: BTreeMap<u64, primary_ip::PrimaryIp>,
    /// By id.
    pub floating_ips: BTreeMap<u64, floating_ip::FloatingIp>,
    /// By id.
    pub load_balancers: BTreeMap<u64, load_balancer::LoadBalancer>,
    /// By id.
    pub zones: BTreeMap<u64, zone::Zone>,
    /// Settings of tests.
    pub rules: Rules,
    /// The rate limit.
    pub bucket: Bucket,
    /// Calls of the machines' command that have not ended.
    pub jobs: Vec<Job>,
}

/// Settings of the project and its catalogue.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// Quotas: the number of resources that may exist, by the plural of their kind (`servers`, `primary_ips`).
    pub quotas: BTreeMap<String, u64>,
    /// Server types without stock, with their location.
    pub sold_out: BTreeSet<(String, String)>,
    /// Server types that are deprecated: the moment after which none can be created.
    pub deprecated: BTreeMap<String, Moment>,
    /// A command runs for the life of a machine.
    pub machines: bool,
    /// The first two numbers of public IPv4 addresses, such as `198.18`.
    pub public_prefix: Option<String>,
}

/// The endpoints of this provider.
pub fn router() -> Router<Hetzner> {
    let tables: [&[Route<Hetzner>]; 16] = [
        action::ROUTES,
        catalogue::ROUTES,
        firewall::ROUTES,
        floating_ip::ROUTES,
        image::ROUTES,
        load_balancer::ROUTES,
        network::ROUTES,
        placement_group::ROUTES,
        power::ROUTES,
        primary_ip::ROUTES,
        server::ROUTES,
        server_network::ROUTES,
        ssh_key::ROUTES,
        volume::ROUTES,
        zone::ROUTES,
        zone::RRSETS,
    ];
    Router::new(&tables)
}

impl Default for Hetzner {
    fn default() -> Hetzner {
        Hetzner {
            next: 4_700_000,
            actions: BTreeMap::new(),
            ssh_keys: BTreeMap::new(),
            placement_groups: BTreeMap::new(),
            networks: BTreeMap::new(),
            firewalls: BTreeMap::new(),
            servers: BTreeMap::new(),
            images: Catalogue::get().images(),
            volumes: BTreeMap::new(),
            primary_ips: BTreeMap::new(),
            floating_ips: BTreeMap::new(),
            load_balancers: BTreeMap::new(),
            zones: BTreeMap::new(),
            rules: Rules::default(),
            bucket: Bucket::new(3600),
            jobs: Vec::new(),
        }
    }
}

impl Hetzner {
    /// An id that no other resource has or had.
    pub fn id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Refuses another resource of a kind that has reached its quota.
    ///
    /// # Errors
    ///
    /// 403 `resource_limit_exceeded`.
    pub fn within_quota(&self, kind: &str, count: usize, more: usize) -> Result<(), Problem> {
        let Some(quota) = self.rules.quotas.get(kind) else { return Ok(()) };
        if (count + more) as u64 <= *quota {
            return Ok(());
        }
        let name = format!("{}_limit", kind.trim_end_matches('s'));
        let mut problem = Problem::new(403, "resource_limit_exceeded", format!("the limit of {kind} is {quota}"));
        problem.details = Some(json!({"limits": [{"name": name}]}));
        Err(problem)
    }

    /// Resources by the plural of their kind, in the form of answers.
    pub fn resources(&self) -> BTreeMap<&'static str, Vec<Value>> {
        BTreeMap::from([
            ("ssh_keys", self.ssh_keys.values().map(ssh_key::SshKey::json).collect()),
            (
                "placement_groups",
                self.placement_groups.values().map(|group| self.placement_group_json(group)).collect(),
            ),
            ("networks", self.networks.values().map(|network| self.network_json(network)).collect()),
            ("firewalls", self.firewalls.values().map(|firewall| self.firewall_json(firewall)).collect()),
            ("servers", self.servers.values().map(|server| self.server_json(server)).collect()),
            ("volumes", self.volumes.values().map(volume::Volume::json).collect()),
            ("primary_ips", self.primary_ips.values().map(primary_ip::PrimaryIp::json).collect()),
            ("floating_ips", self.floating_ips.values().map(floating_ip::FloatingIp::json).collect()),
            (
                "load_balancers",
                self.load_balancers.values().map(|balancer| self.load_balancer_json(balancer)).collect(),
            ),
            ("zones", self.zones.values().map(zone::Zone::json).collect()),
            ("rrsets", self.zones.values().flat_map(zone::Zone::rrsets_json).collect()),
            ("images", self.images.values().filter(|image| image.kind != "system").map(image::Image::json).collect()),
        ])
    }

    /// Creates what another user of the project may have created.
    ///
    /// # Errors
    ///
    /// The kind is not one of `server`, `primary_ip`, `snapshot`.
    pub fn foreign(&mut self, kind: &str, call: &Call) -> Handled {
        match kind {
            "server" => server::create(self, call),
            "primary_ip" => primary_ip::create(self, call),
            "snapshot" => image::snapshot(self, call),
            _ => Err(Problem::new(422, "invalid_input", format!("no foreign {kind}"))),
        }
    }

    /// Records the end of a command for a machine.
    pub fn machine_ended(&mut self, job: &Job, outcome: Outcome) {
        self.jobs.retain(|other| other.action != job.action);
        match outcome {
            Ok(()) => {
                if let Some(action) = self.actions.get_mut(&job.action) {
                    action.waits = false;
                }
            }
            Err(reason) => self.machine_failed(job, &reason),
        }
    }

    /// A later action of the machine cannot succeed either.
    fn machine_failed(&mut self, job: &Job, reason: &str) {
        let later: Vec<u64> = self.running_on(job.server).filter(|id| *id >= job.action).collect();
        for id in later {
            self.jobs.retain(|other| other.action != id);
            if let Some(action) = self.actions.get_mut(&id) {
                action.waits = false;
                action.failure = Some(reason.to_owned());
            }
        }
    }
}
