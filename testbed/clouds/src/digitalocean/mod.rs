//! DigitalOcean: its resources and rules.

mod account;
mod action;
mod catalogue;
mod domain;
mod droplet;
mod droplet_action;
mod effect;
mod errors;
mod firewall;
mod list;
mod reserved_ip;
mod tag;
mod volume;
mod vpc;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use action::Action;
pub use catalogue::Catalogue;
pub use errors::violated;

use crate::limits::Window;
use crate::machines::{Job, Outcome};
use crate::message::{Call, Handled, Problem, Request, number};
use crate::route::{Route, Router};
use crate::time::Moment;

const MINUTE: Moment = 60_000;
const HOUR: Moment = 60 * MINUTE;

/// The state of one account.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DigitalOcean {
    /// The id of the next resource; also the last part of the next UUID.
    pub next: u64,
    /// By id.
    pub actions: BTreeMap<u64, Action>,
    /// By id.
    pub keys: BTreeMap<u64, account::Key>,
    /// By id.
    pub droplets: BTreeMap<u64, droplet::Droplet>,
    /// By id.
    pub images: BTreeMap<u64, catalogue::Image>,
    /// By UUID.
    pub vpcs: BTreeMap<String, vpc::Vpc>,
    /// By UUID.
    pub firewalls: BTreeMap<String, firewall::Firewall>,
    /// By address.
    pub reserved_ips: BTreeMap<String, reserved_ip::ReservedIp>,
    /// By UUID.
    pub volumes: BTreeMap<String, volume::Volume>,
    /// Names.
    pub tags: BTreeSet<String>,
    /// By name.
    pub domains: BTreeMap<String, domain::Domain>,
    /// Settings of tests.
    pub rules: Rules,
    /// Requests within an hour, within a minute, and to the list of keys within a minute.
    pub windows: [Window; 3],
    /// Calls of the machines' command that have not ended.
    pub jobs: Vec<Job>,
}

/// Settings of the account and its catalogue.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// Quotas: the number of resources that may exist, by the plural of their kind (`droplets`, `reserved_ips`).
    pub quotas: BTreeMap<String, u64>,
    /// Sizes without stock, with their region.
    pub sold_out: BTreeSet<(String, String)>,
    /// A command runs for the life of a machine.
    pub machines: bool,
    /// The first two numbers of public IPv4 addresses, such as `198.19`.
    pub public_prefix: Option<String>,
}

/// The endpoints of this provider.
pub fn router() -> Router<DigitalOcean> {
    let tables: [&[Route<DigitalOcean>]; 11] = [
        account::ROUTES,
        action::ROUTES,
        catalogue::ROUTES,
        domain::ROUTES,
        droplet::ROUTES,
        droplet_action::ROUTES,
        firewall::ROUTES,
        reserved_ip::ROUTES,
        tag::ROUTES,
        volume::ROUTES,
        vpc::ROUTES,
    ];
    Router::new(&tables)
}

impl Default for DigitalOcean {
    fn default() -> DigitalOcean {
        DigitalOcean {
            next: 510_000_000,
            actions: BTreeMap::new(),
            keys: BTreeMap::new(),
            droplets: BTreeMap::new(),
            images: Catalogue::get().images(),
            vpcs: BTreeMap::new(),
            firewalls: BTreeMap::new(),
            reserved_ips: BTreeMap::new(),
            volumes: BTreeMap::new(),
            tags: BTreeSet::new(),
            domains: BTreeMap::new(),
            rules: Rules::default(),
            windows: [Window::new(5000, HOUR), Window::new(250, MINUTE), Window::new(10, MINUTE)],
            jobs: Vec::new(),
        }
    }
}

impl DigitalOcean {
    /// An id that no other resource has or had.
    pub fn id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// A UUID that no other resource has or had.
    pub fn uuid(&mut self) -> String {
        format!("d0000000-0000-4000-8000-{:012}", self.id())
    }

    /// Refuses more resources than the account may have.
    ///
    /// # Errors
    ///
    /// 422 `unprocessable_entity`.
    pub fn within_quota(&self, kind: &str, count: usize, more: usize) -> Result<(), Problem> {
        let quota = self.rules.quotas.get(kind).copied().unwrap_or(match kind {
            "droplets" => 25,
            _ => u64::MAX,
        });
        match (count + more) as u64 > quota {
            true => Err(errors::refused(&format!("the limit of {kind} is {quota}"))),
            false => Ok(()),
        }
    }

    /// Counts a request, or refuses it.
    ///
    /// # Errors
    ///
    /// 429 `too_many_requests`.
    pub fn limit(&mut self, now: Moment, request: &Request) -> Result<(), Problem> {
        let keys = request.method == "GET" && request.path == "/v2/account/keys";
        let [hour, minute, list] = &mut self.windows;
        let allowed = hour.allows(now) && minute.allows(now) && (!keys || list.allows(now));
        if !allowed {
            return Err(Problem::new(429, "too_many_requests", "the limit of requests is used up"));
        }
        hour.count(now);
        minute.count(now);
        if keys {
            list.count(now);
        }
        Ok(())
    }

    /// Headers about the hourly limit; after too many requests within a minute, also the seconds to wait.
    pub fn limit_headers(&self, now: Moment, status: u16) -> Vec<(&'static str, String)> {
        let [hour, minute, _] = &self.windows;
        let mut headers = vec![
            ("ratelimit-limit", hour.limit.to_string()),
            ("ratelimit-remaining", hour.remaining().to_string()),
            ("ratelimit-reset", (hour.reset(now) / 1000).to_string()),
        ];
        if status == 429 && minute.remaining() == 0 {
            let seconds = (minute.reset(now) - now).max(0) / 1000 + 1;
            headers.push(("retry-after", seconds.to_string()));
        }
        headers
    }

    /// Sets the limits' remaining requests: `{hour, minute, keys}`.
    pub fn set_limits(&mut self, now: Moment, change: &Value) {
        for (window, name) in self.windows.iter_mut().zip(["hour", "minute", "keys"]) {
            if let Some(remaining) = number(change, name) {
                window.set(remaining, now);
            }
        }
    }

    /// Resources by the plural of their kind, in the form of answers.
    pub fn resources(&self, now: Moment) -> BTreeMap<&'static str, Vec<Value>> {
        BTreeMap::from([
            ("keys", self.keys.values().map(account::Key::json).collect()),
            ("droplets", self.droplets.values().map(|droplet| self.droplet_json(droplet, now)).collect()),
            ("vpcs", self.vpcs.values().map(vpc::Vpc::json).collect()),
            ("firewalls", self.firewalls.values().map(|firewall| firewall.json(now)).collect()),
            ("reserved_ips", self.reserved_ips.values().map(|ip| self.reserved_ip_json(ip, now)).collect()),
            ("volumes", self.volumes.values().map(volume::Volume::json).collect()),
            ("tags", self.tags.iter().map(|tag| self.tag_json(tag)).collect()),
            ("domains", self.domains.values().map(domain::Domain::json).collect()),
            ("domain_records", self.domains.values().flat_map(domain::Domain::records_json).collect()),
        ])
    }

    /// Creates what another user of the account may have created.
    ///
    /// # Errors
    ///
    /// The kind is not one of `droplet`, `volume`, `reserved_ip`.
    pub fn foreign(&mut self, kind: &str, call: &Call) -> Handled {
        match kind {
            "droplet" => droplet::create(self, call),
            "volume" => volume::create(self, call),
            "reserved_ip" => reserved_ip::create(self, call),
            _ => Err(errors::refused(&format!("no foreign {kind}"))),
        }
    }

    /// Records the end of a command for a machine.
    pub fn machine_ended(&mut self, job: &Job, outcome: Outcome) {
        self.jobs.retain(|other| other.action != job.action);
        if let Some(action) = self.actions.get_mut(&job.action) {
            action.waits = false;
            action.failure = outcome.err();
        }
    }
}
