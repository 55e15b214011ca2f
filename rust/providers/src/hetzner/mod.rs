//! Hetzner Cloud (docs.hetzner.cloud): requests in the types of the crate `hcloud`, responses read leniently, because the
//! crate reads none that its document does not know, shows no header and repeats nothing.

mod actions;
mod dialect;
mod dns;
mod read;
mod requests;
mod wire;

use std::{collections::BTreeSet, sync::Arc};

use serde_json::Value;

use self::{
    actions::ById,
    requests::{CLUSTER, number},
    wire::{
        Action, Attached, Firewall, Image, Location, Named, Network, Pricing, PrimaryIp, Server, ServerType, SshKey,
    },
};
use crate::{
    actions::Actions,
    api::{Api, Request, Settings},
    cloud::{Boot, Cloud, Removed},
    desired::{self, Desired},
    error::CloudError,
    observed::{Catalogue, FoundServer, Id, Leftover, Observed},
    plan::SharedChange,
    token::Source,
};

/// Names of the environment's variables, as the official command line has them.
pub const SOURCE: Source = Source {
    provider: "Hetzner",
    variable: "HCLOUD_TOKEN",
    others: &[],
    endpoint_variable: "HCLOUD_ENDPOINT",
    endpoint: "https://api.hetzner.cloud/v1",
};

/// Most items in one response.
const PAGE: u64 = 50;
/// Most pages of a list. A project with more servers than that is not one of ours.
const PAGES: u64 = 200;
/// Attempts to delete a thing that the provider still sees in use.
const DELETIONS: u32 = 30;

/// A project at Hetzner Cloud. Cheap to clone.
#[derive(Clone)]
pub struct Hetzner {
    inner: Arc<Inner>,
}

struct Inner {
    api: Api,
    actions: Actions<ById>,
    /// Held while a server is attached: the provider refuses a second change of a network with `conflict`.
    network: tokio::sync::Mutex<()>,
}

impl Hetzner {
    /// Creates a client.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(settings: Settings) -> Result<Self, CloudError> {
        let api = Api::new(settings, Box::new(dialect::Hetzner))?;
        Ok(Self { inner: Arc::new(Inner { api, actions: Actions::new(ById), network: tokio::sync::Mutex::default() }) })
    }

    async fn list<T: for<'de> serde::Deserialize<'de>>(
        &self,
        path: &str,
        field: &str,
        query: &[(&str, &str)],
    ) -> Result<Vec<T>, CloudError> {
        let mut items = Vec::new();
        let mut page = 1;
        loop {
            let mut request = Request::get(path).with("page", page).with("per_page", PAGE);
            for (name, value) in query {
                request = request.with(name, value);
            }
            let body = self.inner.api.send(&request).await?;
            let meta: wire::Meta = wire::read(path, body["meta"].clone()).unwrap_or_default();
            items.extend(list_of::<T>(&body, field)?);
            match meta.pagination.next_page {
                Some(next) if next > page && next <= PAGES => page = next,
                _ => return Ok(items),
            }
        }
    }

    /// Sends a request whose response has actions, and waits for them.
    async fn act(&self, request: &Request) -> Result<Value, CloudError> {
        let body = self.inner.api.send(request).await?;
        let mut actions: Vec<Action> = Vec::new();
        if body["action"].is_object() {
            actions.push(wire::read(&request.path, body["action"].clone())?);
        }
        for field in ["actions", "next_actions"].into_iter().filter(|field| body[*field].is_array()) {
            actions.extend(list_of::<Action>(&body, field)?);
        }
        let actions: Vec<_> = actions.iter().map(actions::begun).collect();
        self.inner.actions.wait(&self.inner.api, &actions).await?;
        Ok(body)
    }

    async fn exists_with_name(&self, path: &str, field: &str, name: &str) -> Result<bool, CloudError> {
        let found: Vec<Named> = self.list(path, field, &[("name", name)]).await?;
        Ok(!found.is_empty())
    }

    /// Creates something with a unique name. If the response was lost, looks whether it exists.
    async fn create_named(&self, path: &str, field: &str, name: &str, body: Value) -> Result<(), CloudError> {
        match self.act(&Request::create(path, body)).await {
            Err(error) if error.is_lost() && self.exists_with_name(path, field, name).await? => Ok(()),
            result => result.map(drop),
        }
    }

    /// Deletes something. What does not exist is deleted; what is still in use is tried again for a while, because the
    /// provider forgets a deleted server's ties in the background.
    async fn delete_thing(&self, path: String) -> Result<(), CloudError> {
        let mut attempt = 1;
        loop {
            match self.act(&Request::delete(&path)).await {
                Err(CloudError::Refused { code, .. }) if code == "resource_in_use" && attempt < DELETIONS => {
                    self.inner.api.pause(1.0).await?;
                    attempt += 1;
                }
                Err(error) if error.is_not_found() => return Ok(()),
                result => return result.map(drop),
            }
        }
    }
}

/// Returns the items of a response's list.
fn list_of<T: for<'de> serde::Deserialize<'de>>(body: &Value, field: &str) -> Result<Vec<T>, CloudError> {
    let Some(items) = body[field].as_array() else {
        return Err(CloudError::Shape { request: field.to_owned(), reason: "there is no such list".to_owned() });
    };
    items.iter().map(|item| wire::read(field, item.clone())).collect()
}

impl Cloud for Hetzner {
    fn name(&self) -> &'static str {
        SOURCE.provider
    }

    fn requests(&self) -> u64 {
        self.inner.api.requests()
    }

    async fn observe(&self, cluster: &str) -> Result<Observed, CloudError> {
        let selector = format!("{CLUSTER}=={cluster}");
        let ours = [("label_selector", selector.as_str())];
        let (keys, networks, groups, firewalls) = tokio::try_join!(
            self.list::<SshKey>("ssh_keys", "ssh_keys", &[]),
            self.list::<Network>("networks", "networks", &ours),
            self.list::<Named>("placement_groups", "placement_groups", &ours),
            self.list::<Firewall>("firewalls", "firewalls", &ours),
        )?;
        let (servers, volumes, primary, floating) = tokio::try_join!(
            self.list::<Server>("servers", "servers", &[]),
            self.list::<Attached>("volumes", "volumes", &[]),
            self.list::<PrimaryIp>("primary_ips", "primary_ips", &[]),
            self.list::<Attached>("floating_ips", "floating_ips", &[]),
        )?;
        let (own, others): (Vec<Server>, Vec<Server>) =
            servers.into_iter().partition(|server| read::is_of(&server.named.labels, cluster));
        let ids: BTreeSet<u64> = own.iter().map(|server| server.named.id).collect();
        let leftovers = [("volume", volumes), ("floating IP", floating)]
            .into_iter()
            .flat_map(|(kind, things)| things.into_iter().map(move |thing| (kind, thing.named, thing.server)))
            .chain(
                primary
                    .into_iter()
                    .filter(|address| !address.auto_delete)
                    .map(|address| ("primary IP", address.named, address.assignee_id)),
            )
            .filter(|(_, _, server)| server.is_some_and(|server| ids.contains(&server)))
            .map(|(kind, named, server)| Leftover {
                kind: kind.to_owned(),
                name: named.name,
                server: server.map(read::id),
            });
        let taken = read::taken(own.iter().chain(&others), networks.first());
        Ok(Observed {
            taken,
            keys: keys.into_iter().filter_map(|key| read::key(key, cluster)).collect(),
            network: networks.into_iter().next().map(read::network),
            groups: groups.into_iter().map(|group| read::found(group, cluster)).collect(),
            firewalls: firewalls.into_iter().map(read::firewall).collect(),
            servers: own.into_iter().map(read::server).collect(),
            foreign: others.into_iter().map(|server| (server.named.name, read::id(server.named.id))).collect(),
            occupied: BTreeSet::new(),
            leftovers: leftovers.collect(),
        })
    }

    async fn catalogue(&self) -> Result<Catalogue, CloudError> {
        let pricing = Request::get("pricing");
        let images = [("type", "system"), ("status", "available")];
        let (types, locations, images, pricing) = tokio::try_join!(
            self.list::<ServerType>("server_types", "server_types", &[]),
            self.list::<Location>("locations", "locations", &[]),
            self.list::<Image>("images", "images", &images),
            self.inner.api.send(&pricing),
        )?;
        let pricing: Pricing = wire::read("pricing", pricing["pricing"].clone())?;
        Ok(read::catalogue(types, locations, images, pricing))
    }

    async fn apply(&self, change: &SharedChange, desired: &Desired, observed: &Observed) -> Result<(), CloudError> {
        let (cluster, name) = (&desired.cluster, &change.name);
        match (change.kind, change.verb) {
            ("ssh key", _) => match desired.keys.iter().find(|key| key.name == *name) {
                Some(key) => self.create_named("ssh_keys", "ssh_keys", name, requests::ssh_key(key, cluster)).await,
                None => Ok(()),
            },
            ("network", _) => {
                let zone = self.zone(desired).await?;
                let body = requests::network(&desired.network, cluster, &zone);
                self.create_named("networks", "networks", name, body).await
            }
            ("subnet", _) => {
                let Some(network) = &observed.network else { return Ok(()) };
                let zone = self.zone(desired).await?;
                let path = format!("networks/{}/actions/add_subnet", network.id.0);
                self.act(&Request::action(path, requests::subnet(&desired.network, &zone))).await.map(drop)
            }
            ("placement group", _) => {
                let body = requests::placement_group(name, cluster);
                self.create_named("placement_groups", "placement_groups", name, body).await
            }
            ("firewall", verb) => {
                let Some(firewall) = desired.firewalls.iter().find(|firewall| firewall.name == *name) else {
                    return Ok(());
                };
                match observed.firewalls.get(name).filter(|_| verb == "update") {
                    Some(found) => {
                        let path = format!("firewalls/{}/actions/set_rules", found.id.0);
                        self.act(&Request::action(path, requests::set_rules(firewall))).await.map(drop)
                    }
                    None => {
                        let body = requests::firewall(firewall, cluster);
                        self.create_named("firewalls", "firewalls", name, body).await
                    }
                }
            }
            _ => Ok(()),
        }
    }

    async fn create(
        &self,
        server: &desired::Server,
        boot: &Boot,
        desired: &Desired,
        observed: &Observed,
    ) -> Result<FoundServer, CloudError> {
        let provider = SOURCE.provider;
        let body =
            requests::server(server, boot, desired, observed).map_err(|what| CloudError::Missing { provider, what })?;
        let body = self.act(&Request::create("servers", body)).await?;
        let created: Server = wire::read("POST servers", body["server"].clone())?;
        Ok(read::server(created))
    }

    async fn attach(&self, id: &Id, server: &desired::Server, observed: &Observed) -> Result<(), CloudError> {
        let Some(network) = &observed.network else { return Ok(()) };
        let path = format!("servers/{}/actions/attach_to_network", id.0);
        let _turn = self.inner.network.lock().await;
        match self.act(&Request::action(path, requests::attach(&network.id, server))).await {
            // The response to an earlier request was lost.
            Err(CloudError::Refused { code, .. }) if code == "server_already_attached" => Ok(()),
            result => result.map(drop),
        }
    }

    async fn protect(
        &self,
        id: &Id,
        server: &desired::Server,
        _desired: &Desired,
        observed: &Observed,
    ) -> Result<(), CloudError> {
        let Some(firewall) = observed.firewalls.get(&server.firewall) else { return Ok(()) };
        let path = format!("firewalls/{}/actions/apply_to_resources", firewall.id.0);
        match self.act(&Request::action(path, requests::protect(id))).await {
            Err(CloudError::Refused { code, .. }) if code == "firewall_already_applied" => Ok(()),
            result => result.map(drop),
        }
    }

    async fn power_on(&self, id: &Id) -> Result<(), CloudError> {
        let path = format!("servers/{}/actions/poweron", id.0);
        self.act(&Request::action(path, Value::Object(serde_json::Map::new()))).await.map(drop)
    }

    async fn server(&self, id: &Id, _cluster: &str) -> Result<Option<FoundServer>, CloudError> {
        match self.inner.api.send(&Request::get(format!("servers/{}", number(id)))).await {
            Ok(body) => Ok(Some(read::server(wire::read("GET servers", body["server"].clone())?))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn find(&self, name: &str, cluster: &str) -> Result<Option<FoundServer>, CloudError> {
        let found: Vec<Server> = self.list("servers", "servers", &[("name", name)]).await?;
        Ok(found.into_iter().find(|server| read::is_of(&server.named.labels, cluster)).map(read::server))
    }

    async fn delete(&self, id: &Id) -> Result<(), CloudError> {
        self.delete_thing(format!("servers/{}", number(id))).await
    }

    async fn delete_shared(&self, observed: &Observed, _cluster: &str) -> Result<Removed, CloudError> {
        let mut removed = Removed::default();
        let mut things: Vec<(String, String)> = Vec::new();
        let mut sort = |kind: &str, path: &str, id: &Id, name: &str, members: usize| {
            let words = format!("{kind} {name}");
            if members > 0 {
                removed.kept.push(words);
            } else {
                things.push((words, format!("{path}/{}", number(id))));
            }
        };
        for firewall in observed.firewalls.values() {
            sort("firewall", "firewalls", &firewall.id, &firewall.name, firewall.members);
        }
        for group in observed.groups.values() {
            sort("placement group", "placement_groups", &group.id, &group.name, 0);
        }
        if let Some(network) = &observed.network {
            sort("network", "networks", &network.id, &network.name, network.members);
        }
        for key in observed.keys.values().filter(|key| key.ours) {
            sort("ssh key", "ssh_keys", &key.id, &key.name, 0);
        }
        for (words, path) in things {
            self.delete_thing(path).await?;
            removed.deleted.push(words);
        }
        Ok(removed)
    }
}

impl Hetzner {
    /// Returns the network zone of the servers.
    async fn zone(&self, desired: &Desired) -> Result<String, CloudError> {
        let first = desired.servers.first().map(|server| server.location.as_str()).unwrap_or_default();
        let locations: Vec<Location> = self.list("locations", "locations", &[("name", first)]).await?;
        Ok(locations.into_iter().next().map(|location| location.network_zone).unwrap_or_default())
    }
}
