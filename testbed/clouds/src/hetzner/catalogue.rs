//! Locations, types, prices and system images: made up, in `catalogue/hetzner.json`.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::{Value, json};

use super::errors::invalid;
use super::image::Image;
use super::list::list;
use super::{Hetzner, Rules};
use crate::message::{Call, Handled, Problem, Reply};
use crate::route::Route;
use crate::time::{self, Moment};

/// Endpoints.
pub const ROUTES: &[Route<Hetzner>] = &[
    ("GET", "/locations", locations),
    ("GET", "/server_types", server_types),
    ("GET", "/load_balancer_types", load_balancer_types),
    ("GET", "/pricing", pricing),
    ("GET", "/datacenters", datacenters),
];

const HOURS: f64 = 730.0;
/// 20 TiB, in bytes.
const TRAFFIC: u64 = 21_990_232_555_520;
/// 2026-01-01, the creation of every system image.
const EPOCH: Moment = 1_767_225_600_000;

/// The data file.
#[derive(Debug, Default, Deserialize)]
pub struct Catalogue {
    currency: String,
    vat_percent: f64,
    primary_ipv4_monthly: f64,
    floating_ip_monthly: f64,
    volume_gb_monthly: f64,
    image_gb_monthly: f64,
    backup_percent: f64,
    locations: Vec<Location>,
    server_types: Vec<ServerType>,
    load_balancer_types: Vec<LoadBalancerType>,
    images: Vec<SystemImage>,
}

#[derive(Debug, Deserialize)]
struct Location {
    id: u64,
    name: String,
    network_zone: String,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

/// A server type.
#[derive(Debug, Deserialize)]
pub struct ServerType {
    id: u64,
    /// Such as `cx23`.
    pub name: String,
    cores: u64,
    memory: u64,
    /// In GB.
    pub disk: u64,
    cpu_type: String,
    /// `x86` or `arm`.
    pub architecture: String,
    category: String,
    monthly: f64,
    locations: Vec<String>,
}

/// A type of load balancers.
#[derive(Debug, Deserialize)]
pub struct LoadBalancerType {
    id: u64,
    name: String,
    max_connections: u64,
    /// Services of one load balancer.
    pub max_services: usize,
    /// Targets of one load balancer.
    pub max_targets: usize,
    max_assigned_certificates: u64,
    monthly: f64,
}

#[derive(Debug, Deserialize)]
struct SystemImage {
    id: u64,
    name: String,
    flavor: String,
    version: String,
    architecture: String,
    #[serde(default)]
    deprecated: bool,
}

impl Catalogue {
    /// The data file, read once. A test reads it, so it is never the empty default.
    pub fn get() -> &'static Catalogue {
        static CATALOGUE: OnceLock<Catalogue> = OnceLock::new();
        let text = include_str!("../../catalogue/hetzner.json");
        CATALOGUE.get_or_init(|| serde_json::from_str(text).unwrap_or_default())
    }

    /// The system images, by id.
    pub fn images(&self) -> BTreeMap<u64, Image> {
        let image = |image: &SystemImage| Image {
            id: image.id,
            kind: "system".to_owned(),
            name: Some(image.name.clone()),
            description: format!("{} {}", image.flavor, image.version),
            flavor: image.flavor.clone(),
            version: Some(image.version.clone()),
            architecture: image.architecture.clone(),
            created: EPOCH,
            deprecated: image.deprecated.then_some(EPOCH),
            labels: BTreeMap::new(),
        };
        self.images.iter().map(|one| (one.id, image(one))).collect()
    }

    /// The type of this name.
    pub fn server_type(&self, name: &str) -> Option<&ServerType> {
        self.server_types.iter().find(|one| one.name == name)
    }

    /// The type of load balancers with this name or id.
    pub fn load_balancer_type(&self, name: &str) -> Option<&LoadBalancerType> {
        self.load_balancer_types.iter().find(|one| one.name == name || one.id.to_string() == name)
    }

    /// The zone of a location; empty if that is unknown.
    pub fn zone_of(&self, location: &str) -> &str {
        self.locations.iter().find(|one| one.name == location).map_or("", |one| one.network_zone.as_str())
    }

    /// True for a zone of some location.
    pub fn has_zone(&self, zone: &str) -> bool {
        self.locations.iter().any(|one| one.network_zone == zone)
    }

    /// The first location of a zone.
    pub fn location_in(&self, zone: &str) -> Option<String> {
        self.locations.iter().find(|one| one.network_zone == zone).map(|one| one.name.clone())
    }

    /// The name of a location that was given by its name or id.
    ///
    /// # Errors
    ///
    /// 422 `invalid_input`.
    pub fn known_location(&self, wanted: &str) -> Result<String, Problem> {
        let known = self.locations.iter().find(|one| one.name == wanted || one.id.to_string() == wanted);
        known.map(|one| one.name.clone()).ok_or_else(|| invalid("location", "unknown"))
    }

    /// A location in the form of answers.
    pub fn location_json(&self, name: &str) -> Value {
        self.locations.iter().find(|one| one.name == name).map_or(Value::Null, Location::json)
    }

    /// A server type in the form of answers.
    pub fn type_json(&self, one: &ServerType, rules: &Rules) -> Value {
        let deprecation = rules.deprecated.get(&one.name).map(|after| deprecation_json(*after));
        let locations = self.locations.iter().filter(|location| one.locations.contains(&location.name));
        let locations: Vec<Value> = locations
            .map(|location| {
                let stock = !rules.sold_out.contains(&(one.name.clone(), location.name.clone()));
                json!({
                    "id": location.id, "name": location.name, "deprecation": deprecation, "available": stock,
                    "recommended": stock && deprecation.is_none(),
                })
            })
            .collect();
        json!({
            "id": one.id,
            "name": one.name,
            "description": one.name.to_uppercase(),
            "cores": one.cores,
            "memory": one.memory,
            "disk": one.disk,
            "deprecated": deprecation.is_some(),
            "deprecation": deprecation,
            "prices": self.prices(one.monthly, &one.locations),
            "storage_type": "local",
            "cpu_type": one.cpu_type,
            "category": one.category,
            "architecture": one.architecture,
            "locations": locations,
        })
    }

    /// A type of load balancers in the form of answers.
    pub fn balancer_type_json(&self, one: &LoadBalancerType) -> Value {
        let everywhere: Vec<String> = self.locations.iter().map(|location| location.name.clone()).collect();
        json!({
            "id": one.id,
            "name": one.name,
            "description": one.name.to_uppercase(),
            "max_connections": one.max_connections,
            "max_services": one.max_services,
            "max_targets": one.max_targets,
            "max_assigned_certificates": one.max_assigned_certificates,
            "deprecated": null,
            "prices": self.prices(one.monthly, &everywhere),
        })
    }

    /// Net and gross, as texts with ten decimals.
    fn price(&self, net: f64) -> Value {
        let gross = net * (1.0 + self.vat_percent / 100.0);
        json!({"net": format!("{net:.10}"), "gross": format!("{gross:.10}")})
    }

    fn prices(&self, monthly: f64, locations: &[String]) -> Vec<Value> {
        let price = |location: &String| {
            json!({
                "location": location,
                "price_hourly": self.price(monthly / HOURS),
                "price_monthly": self.price(monthly),
                "included_traffic": TRAFFIC,
                "price_per_tb_traffic": self.price(1.0),
            })
        };
        locations.iter().map(price).collect()
    }

    fn ip_prices(&self, monthly: f64, hourly: bool) -> Vec<Value> {
        let price = |location: &Location| {
            let mut price = json!({"location": location.name, "price_monthly": self.price(monthly)});
            if hourly {
                price["price_hourly"] = self.price(monthly / HOURS);
            }
            price
        };
        self.locations.iter().map(price).collect()
    }

    fn pricing_json(&self, rules: &Rules) -> Value {
        let named = |json: Value| json!({"id": json["id"], "name": json["name"], "prices": json["prices"]});
        let types = self.server_types.iter().map(|one| named(self.type_json(one, rules)));
        let balancers = self.load_balancer_types.iter().map(|one| named(self.balancer_type_json(one)));
        let floating = self.floating_ip_monthly;
        let primary = self.primary_ipv4_monthly;
        json!({
            "currency": self.currency,
            "vat_rate": format!("{:.10}", self.vat_percent),
            "image": {"price_per_gb_month": self.price(self.image_gb_monthly)},
            "floating_ip": {"price_monthly": self.price(floating)},
            "floating_ips": [
                {"type": "ipv4", "prices": self.ip_prices(floating, false)},
                {"type": "ipv6", "prices": self.ip_prices(floating, false)},
            ],
            "primary_ips": [
                {"type": "ipv4", "prices": self.ip_prices(primary, true)},
                {"type": "ipv6", "prices": self.ip_prices(0.0, true)},
            ],
            "server_types": types.collect::<Vec<_>>(),
            "load_balancer_types": balancers.collect::<Vec<_>>(),
            "volume": {"price_per_gb_month": self.price(self.volume_gb_monthly)},
            "server_backup": {"percentage": format!("{:.10}", self.backup_percent)},
        })
    }
}

impl Location {
    fn json(&self) -> Value {
        let mut json = json!(self.rest);
        json["id"] = self.id.into();
        json["name"] = self.name.clone().into();
        json["network_zone"] = self.network_zone.clone().into();
        json
    }
}

fn deprecation_json(after: Moment) -> Value {
    const QUARTER: Moment = 90 * 86_400_000;
    json!({"announced": time::text(after - QUARTER), "unavailable_after": time::text(after)})
}

impl Hetzner {
    /// Type, location and disk of a new server: the location of the body, or the first with stock.
    ///
    /// # Errors
    ///
    /// 422 `invalid_input`, 412 `resource_unavailable`.
    pub fn placed_type(&self, call: &Call) -> Result<(String, String, u64), Problem> {
        let catalogue = Catalogue::get();
        let wanted = call.required("server_type");
        let known = catalogue.server_types.iter().find(|one| one.name == wanted || one.id.to_string() == wanted);
        let one = known.ok_or_else(|| invalid("server_type", "unknown"))?;
        let Some(location) = call.text("location") else {
            let stock = one.locations.iter().find(|location| self.in_stock(&one.name, location, call.now).is_ok());
            let location = stock.ok_or_else(|| unavailable(&one.name))?;
            return Ok((one.name.clone(), location.clone(), one.disk));
        };
        let location = catalogue.known_location(location)?;
        if !one.locations.contains(&location) {
            return Err(invalid("location", "the server type does not exist there"));
        }
        self.in_stock(&one.name, &location, call.now)?;
        Ok((one.name.clone(), location, one.disk))
    }

    /// Refuses a type that is sold out in a location, or can no longer be created.
    ///
    /// # Errors
    ///
    /// 412 `resource_unavailable`.
    pub fn in_stock(&self, name: &str, location: &str, now: Moment) -> Result<(), Problem> {
        let sold_out = self.rules.sold_out.contains(&(name.to_owned(), location.to_owned()));
        let ended = self.rules.deprecated.get(name).is_some_and(|after| *after <= now);
        if sold_out || ended { Err(unavailable(name)) } else { Ok(()) }
    }
}

fn unavailable(name: &str) -> Problem {
    Problem::new(412, "resource_unavailable", format!("{name} is not available"))
}

fn locations(_: &mut Hetzner, call: &Call) -> Handled {
    list(call, "locations", Catalogue::get().locations.iter().map(Location::json).collect())
}

fn server_types(state: &mut Hetzner, call: &Call) -> Handled {
    let catalogue = Catalogue::get();
    let types = catalogue.server_types.iter().map(|one| catalogue.type_json(one, &state.rules));
    list(call, "server_types", types.collect())
}

fn load_balancer_types(_: &mut Hetzner, call: &Call) -> Handled {
    let catalogue = Catalogue::get();
    let types = catalogue.load_balancer_types.iter().map(|one| catalogue.balancer_type_json(one));
    list(call, "load_balancer_types", types.collect())
}

fn pricing(state: &mut Hetzner, _: &Call) -> Handled {
    Ok(Reply::json(200, json!({"pricing": Catalogue::get().pricing_json(&state.rules)})))
}

/// Removed on 2026-10-01.
fn datacenters(_: &mut Hetzner, _: &Call) -> Handled {
    let mut problem = Problem::new(410, "deprecated_api_endpoint", "data centers were removed: use locations");
    problem.details = Some(json!({"announcement": "https://docs.hetzner.cloud/changelog"}));
    Err(problem)
}
