//! DigitalOcean's API v2 (docs.digitalocean.com/reference/api): a client of ours, because no crate holds. What belongs to
//! a cluster is found by tag; names of droplets are not unique.

mod actions;
pub mod dialect;
mod mark;
mod read;
mod requests;
mod wire;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use reqwest::{Method, Url};
use serde_json::Value;

pub use self::mark::mark;
use self::{
    actions::Newest,
    requests::number,
    wire::{Action, Droplet, Firewall, SshKey, Tag, Vpc},
};
use crate::{
    actions::Actions,
    api::{Api, Request, Settings},
    cloud::{Boot, Cloud, Removed},
    desired::{self, Desired},
    error::{CloudError, cleaned},
    observed::{Catalogue, FoundServer, Id, Observed},
    plan::SharedChange,
    token::Source,
};

/// Names of the environment's variables: Terraform's for the token, and that of `doctl`.
pub const SOURCE: Source = Source {
    provider: "DigitalOcean",
    variable: "DIGITALOCEAN_TOKEN",
    others: &["DIGITALOCEAN_ACCESS_TOKEN"],
    endpoint_variable: "DIGITALOCEAN_ENDPOINT",
    endpoint: "https://api.digitalocean.com/v2",
};

/// Most items in one response.
const PAGE: u64 = 200;
/// Most pages of a list.
const PAGES: usize = 100;
/// Attempts to delete a VPC that the provider still sees in use.
const DELETIONS: u32 = 30;
/// Looks for a droplet whose creation was not answered: its tags may come a moment after it.
const LOOKS: u32 = 3;
/// Seconds between two looks at a droplet that is created or destroyed.
const LOOK: f64 = 2.0;
/// Looks at a droplet until it has addresses, or is gone.
const PATIENCE: u32 = 150;

/// An account at DigitalOcean. Cheap to clone.
#[derive(Clone)]
pub struct DigitalOcean {
    inner: Arc<Inner>,
}

struct Inner {
    api: Api,
    actions: Actions<Newest>,
    /// The account's keys, once listed: only ten lists a minute are allowed. Empty after a change.
    keys: tokio::sync::Mutex<Option<Vec<SshKey>>>,
}

impl DigitalOcean {
    /// Creates a client.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(settings: Settings) -> Result<Self, CloudError> {
        let api = Api::new(settings, Box::new(dialect::DigitalOcean))?;
        let keys = tokio::sync::Mutex::default();
        Ok(Self { inner: Arc::new(Inner { api, actions: Actions::new(Newest), keys }) })
    }

    /// Lists all pages. The next page's address names the provider's own host, so only its parameters are used.
    async fn list<T: for<'de> serde::Deserialize<'de>>(
        &self,
        path: &str,
        field: &str,
        query: &[(&str, &str)],
    ) -> Result<Vec<T>, CloudError> {
        let mut request = Request::get(path).with("per_page", PAGE);
        for (name, value) in query {
            request = request.with(name, value);
        }
        let mut items = Vec::new();
        for _ in 0..PAGES {
            let body = self.inner.api.send(&request).await?;
            items.extend(list_of::<T>(&body, field)?);
            let next = body["links"]["pages"]["next"].as_str().and_then(|next| Url::parse(next).ok());
            let Some(next) = next else { return Ok(items) };
            let query: Vec<(String, String)> = next.query_pairs().into_owned().collect();
            if query == request.query {
                return Ok(items);
            }
            request.query = query;
        }
        Ok(items)
    }

    async fn keys(&self) -> Result<Vec<SshKey>, CloudError> {
        let mut known = self.inner.keys.lock().await;
        if let Some(keys) = &*known {
            return Ok(keys.clone());
        }
        let keys: Vec<SshKey> = self.list("account/keys", "ssh_keys", &[]).await?;
        *known = Some(keys.clone());
        Ok(keys)
    }

    async fn forget_keys(&self) {
        *self.inner.keys.lock().await = None;
    }

    async fn firewalls(&self) -> Result<Vec<Firewall>, CloudError> {
        self.list("firewalls", "firewalls", &[]).await
    }

    /// Returns the cluster's droplets.
    async fn droplets(&self, cluster: &str) -> Result<Vec<Droplet>, CloudError> {
        let tag = mark(cluster);
        let mut droplets: Vec<Droplet> = self.list("droplets", "droplets", &[("tag_name", &tag)]).await?;
        // Whatever a filter of the provider does: nothing else may be deleted.
        droplets.retain(|droplet| mark::has(&droplet.tags, &tag));
        Ok(droplets)
    }

    async fn droplet(&self, id: &Id) -> Result<Option<Droplet>, CloudError> {
        match self.inner.api.send(&Request::get(format!("droplets/{}", number(id)))).await {
            Ok(body) => read("GET droplets", &body["droplet"]).map(Some),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits until the droplet has its addresses, which come a moment after it.
    async fn settled(&self, id: &Id) -> Result<Droplet, CloudError> {
        let provider = SOURCE.provider;
        for _ in 0..PATIENCE {
            match self.droplet(id).await? {
                Some(droplet) if read::has_addresses(&droplet) => return Ok(droplet),
                Some(_) => self.inner.api.pause(LOOK).await?,
                None => return Err(CloudError::Missing { provider, what: format!("droplet {}", id.0) }),
            }
        }
        let what = format!("addresses of droplet {}", id.0);
        Err(CloudError::Slow { provider, what, seconds: (f64::from(PATIENCE) * LOOK) as u64 })
    }

    async fn found(&self, droplet: &Droplet, cluster: &str) -> Result<FoundServer, CloudError> {
        Ok(read::server(droplet, cluster, &self.firewalls().await?))
    }

    /// Waits for the actions of a response.
    async fn wait(&self, actions: &Value) -> Result<(), CloudError> {
        let actions: Vec<Action> = match actions {
            Value::Array(list) => list.iter().map(|action| read("actions", action)).collect::<Result<_, _>>()?,
            Value::Object(_) => vec![read("action", actions)?],
            _ => Vec::new(),
        };
        let actions: Vec<_> = actions.iter().map(actions::begun).collect();
        self.inner.actions.wait(&self.inner.api, &actions).await
    }

    async fn delete_thing(&self, path: String) -> Result<(), CloudError> {
        match self.inner.api.send(&Request::delete(path)).await {
            Err(error) if error.is_not_found() => Ok(()),
            result => result.map(drop),
        }
    }

    async fn make_tag(&self, name: &str) -> Result<(), CloudError> {
        // A tag that exists stays as it is.
        self.inner.api.send(&Request::action("tags", requests::tag(name))).await.map(drop)
    }

    async fn make_firewall(
        &self,
        wanted: &desired::Firewall,
        cluster: &str,
        id: Option<&Id>,
    ) -> Result<(), CloudError> {
        self.make_tag(&mark::firewall(cluster, &wanted.name)).await?;
        if let Some(id) = id {
            let path = format!("firewalls/{}", id.0);
            let body = self.inner.api.send(&Request::get(&path)).await?;
            let found: Firewall = read("GET firewalls", &body["firewall"])?;
            let body = requests::firewall(wanted, cluster, Some(&found));
            let request = Request { method: Method::PUT, ..Request::action(path, body) };
            return self.inner.api.send(&request).await.map(drop);
        }
        let body = requests::firewall(wanted, cluster, None);
        match self.inner.api.send(&Request::create("firewalls", body)).await {
            Err(error) if error.is_lost() => {
                let is = |firewall: &Firewall| firewall.name == wanted.name && read::is_ours(firewall, cluster);
                if self.firewalls().await?.iter().any(is) { Ok(()) } else { Err(error) }
            }
            result => result.map(drop),
        }
    }

    async fn make_network(&self, desired: &Desired) -> Result<(), CloudError> {
        let region = desired.servers.first().map(|server| server.location.as_str()).unwrap_or_default();
        let body = requests::vpc(&desired.network, &desired.cluster, region);
        match self.inner.api.send(&Request::create("vpcs", body)).await {
            Err(error) if error.is_lost() => {
                let vpcs: Vec<Vpc> = self.list("vpcs", "vpcs", &[]).await?;
                let mark = mark(&desired.cluster);
                if vpcs.iter().any(|vpc| vpc.description == mark) { Ok(()) } else { Err(error) }
            }
            result => result.map(drop),
        }
    }

    async fn make_key(&self, key: &desired::Key) -> Result<(), CloudError> {
        let result = self.inner.api.send(&Request::create("account/keys", requests::key(key))).await;
        self.forget_keys().await;
        match result {
            Err(error) if error.is_lost() => {
                if self.keys().await?.iter().any(|found| found.name == key.name) {
                    Ok(())
                } else {
                    Err(error)
                }
            }
            result => result.map(drop),
        }
    }

    /// Deletes the VPC. The provider sees a droplet in it for a while after that is gone, and refuses with 403.
    async fn delete_network(&self, id: &Id) -> Result<bool, CloudError> {
        let mut attempt = 1;
        loop {
            match self.delete_thing(format!("vpcs/{}", id.0)).await {
                Err(CloudError::ReadOnly { .. }) if self.members(&id.0).await? > 0 => {
                    if attempt == DELETIONS {
                        return Ok(false);
                    }
                    self.inner.api.pause(LOOK).await?;
                    attempt += 1;
                }
                Err(CloudError::ReadOnly { .. }) if self.is_default(&id.0).await? => return Ok(false),
                result => return result.map(|()| true),
            }
        }
    }

    /// Returns true for the default VPC of a region, which the provider does not delete.
    async fn is_default(&self, vpc: &str) -> Result<bool, CloudError> {
        let all: Vec<Vpc> = self.list("vpcs", "vpcs", &[]).await?;
        Ok(all.iter().any(|found| found.id == vpc && found.default))
    }

    async fn members(&self, vpc: &str) -> Result<usize, CloudError> {
        let members: Vec<Value> = self.list(&format!("vpcs/{vpc}/members"), "members", &[]).await?;
        Ok(members.len())
    }
}

/// Returns the items of a response's list.
fn list_of<T: for<'de> serde::Deserialize<'de>>(body: &Value, field: &str) -> Result<Vec<T>, CloudError> {
    let Some(items) = body[field].as_array() else {
        return Err(CloudError::Shape { request: field.to_owned(), reason: "there is no such list".to_owned() });
    };
    items.iter().map(|item| read(field, item)).collect()
}

fn read<T: for<'de> serde::Deserialize<'de>>(request: &str, value: &Value) -> Result<T, CloudError> {
    T::deserialize(value)
        .map_err(|error| CloudError::Shape { request: request.to_owned(), reason: cleaned(&error.to_string()) })
}

impl Cloud for DigitalOcean {
    fn name(&self) -> &'static str {
        SOURCE.provider
    }

    fn requests(&self) -> u64 {
        self.inner.api.requests()
    }

    async fn observe(&self, cluster: &str) -> Result<Observed, CloudError> {
        let (keys, vpcs, firewalls) =
            tokio::try_join!(self.keys(), self.list::<Vpc>("vpcs", "vpcs", &[]), self.firewalls())?;
        let (droplets, volumes, addresses) = tokio::try_join!(
            self.droplets(cluster),
            self.list::<wire::Volume>("volumes", "volumes", &[]),
            self.list::<wire::ReservedIp>("reserved_ips", "reserved_ips", &[]),
        )?;
        let mark = mark(cluster);
        let (own, others): (Vec<Vpc>, Vec<Vpc>) = vpcs.into_iter().partition(|vpc| vpc.description == mark);
        let network = match own.first() {
            Some(vpc) => Some(read::network(vpc, self.members(&vpc.id).await?)),
            None => None,
        };
        let (ours, foreign): (Vec<Firewall>, Vec<Firewall>) =
            firewalls.iter().cloned().partition(|firewall| read::is_ours(firewall, cluster));
        let names = ["ingress", "nodes"].map(|kind| format!("{cluster}-{kind}"));
        let networks = others.iter().filter(|vpc| own.is_empty() && vpc.name == cluster);
        let networks = networks.map(|vpc| format!("network {}", vpc.name));
        let taken = foreign.iter().filter(|firewall| names.contains(&firewall.name));
        let taken = taken.map(|firewall| format!("firewall {}", firewall.name));
        Ok(Observed {
            keys: keys.iter().filter_map(|key| read::key(key, cluster)).collect(),
            network,
            groups: BTreeMap::new(),
            firewalls: ours.iter().map(|firewall| (firewall.name.clone(), read::firewall(firewall, cluster))).collect(),
            servers: droplets.iter().map(|droplet| read::server(droplet, cluster, &firewalls)).collect(),
            foreign: BTreeMap::new(),
            taken: BTreeMap::new(),
            occupied: networks.chain(taken).collect::<BTreeSet<_>>(),
            leftovers: read::leftovers(&droplets, &volumes, &addresses),
        })
    }

    async fn catalogue(&self) -> Result<Catalogue, CloudError> {
        let (account, all) = (Request::get("account"), Request::get("droplets").with("per_page", 1));
        let images = [("type", "distribution")];
        let (sizes, regions, images, account, all) = tokio::try_join!(
            self.list::<wire::Size>("sizes", "sizes", &[]),
            self.list::<wire::Region>("regions", "regions", &[]),
            self.list::<wire::Image>("images", "images", &images),
            self.inner.api.send(&account),
            self.inner.api.send(&all),
        )?;
        let account: wire::Account = read("GET account", &account["account"])?;
        let used = all["meta"]["total"].as_u64().unwrap_or_default();
        Ok(read::catalogue(sizes, &regions, &images, &account, used))
    }

    async fn apply(&self, change: &SharedChange, desired: &Desired, observed: &Observed) -> Result<(), CloudError> {
        let name = &change.name;
        match (change.kind, change.verb) {
            ("ssh key", _) => match desired.keys.iter().find(|key| key.name == *name) {
                Some(key) => self.make_key(key).await,
                None => Ok(()),
            },
            ("network", _) => self.make_network(desired).await,
            ("firewall", verb) => {
                let Some(wanted) = desired.firewalls.iter().find(|firewall| firewall.name == *name) else {
                    return Ok(());
                };
                let found = observed.firewalls.get(name).filter(|_| verb == "update");
                self.make_firewall(wanted, &desired.cluster, found.map(|found| &found.id)).await
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
        let body = requests::droplet(server, boot, desired, observed)
            .map_err(|what| CloudError::Missing { provider, what })?;
        let body = self.inner.api.send(&Request::create("droplets", body)).await?;
        let created: Droplet = read("POST droplets", &body["droplet"])?;
        self.wait(&body["links"]["actions"]).await?;
        let settled = self.settled(&read::id(created.id)).await?;
        self.found(&settled, &desired.cluster).await
    }

    /// A droplet is in its VPC from the first moment, and cannot change it.
    async fn attach(&self, id: &Id, server: &desired::Server, observed: &Observed) -> Result<(), CloudError> {
        let settled = self.settled(id).await?;
        let network = observed.network.as_ref().map(|network| network.id.0.as_str());
        if settled.vpc_uuid.as_deref() == network {
            return Ok(());
        }
        Err(CloudError::Action {
            provider: SOURCE.provider,
            command: format!("attach {} to the private network", server.name),
            code: "another VPC".to_owned(),
            message: format!(
                "a droplet cannot change its VPC; `machinist destroy {}` deletes it, then create it again",
                server.node
            ),
        })
    }

    async fn protect(
        &self,
        id: &Id,
        server: &desired::Server,
        desired: &Desired,
        _observed: &Observed,
    ) -> Result<(), CloudError> {
        let path = format!("tags/{}/resources", mark::firewall(&desired.cluster, &server.firewall));
        self.inner.api.send(&Request::action(path, requests::tagged(id))).await.map(drop)
    }

    async fn power_on(&self, id: &Id) -> Result<(), CloudError> {
        let path = format!("droplets/{}/actions", number(id));
        let body = self.inner.api.send(&Request::action(path, serde_json::json!({ "type": "power_on" }))).await?;
        self.wait(&body["action"]).await
    }

    async fn server(&self, id: &Id, cluster: &str) -> Result<Option<FoundServer>, CloudError> {
        match self.droplet(id).await? {
            Some(droplet) => self.found(&droplet, cluster).await.map(Some),
            None => Ok(None),
        }
    }

    async fn find(&self, name: &str, cluster: &str) -> Result<Option<FoundServer>, CloudError> {
        for look in 1..=LOOKS {
            let droplets = self.droplets(cluster).await?;
            if let Some(droplet) = droplets.iter().find(|droplet| droplet.name == name) {
                let settled = self.settled(&read::id(droplet.id)).await?;
                return self.found(&settled, cluster).await.map(Some);
            }
            if look < LOOKS {
                self.inner.api.pause(LOOK).await?;
            }
        }
        Ok(None)
    }

    /// Never by tag: `DELETE /droplets?tag_name=` deletes what others have tagged so.
    async fn delete(&self, id: &Id) -> Result<(), CloudError> {
        let Some(droplet) = self.droplet(id).await? else { return Ok(()) };
        self.delete_thing(format!("droplets/{}", number(id))).await?;
        let mut looks = 0;
        while self.droplet(id).await?.is_some() {
            looks += 1;
            if looks > PATIENCE {
                let what = format!("delete {}", cleaned(&droplet.name));
                let seconds = (f64::from(PATIENCE) * LOOK) as u64;
                return Err(CloudError::Slow { provider: SOURCE.provider, what, seconds });
            }
            self.inner.api.pause(LOOK).await?;
        }
        // The others are shared with servers of the same node or cluster.
        let is_own = |tag: &&String| tag.starts_with("machinist:") && tag.contains(":key:");
        for tag in droplet.tags.iter().filter(is_own) {
            self.delete_thing(format!("tags/{tag}")).await?;
        }
        Ok(())
    }

    async fn delete_shared(&self, observed: &Observed, cluster: &str) -> Result<Removed, CloudError> {
        let mut removed = Removed::default();
        for firewall in observed.firewalls.values() {
            let words = format!("firewall {}", firewall.name);
            if firewall.members > 0 {
                removed.kept.push(words);
            } else {
                self.delete_thing(format!("firewalls/{}", firewall.id.0)).await?;
                removed.deleted.push(words);
            }
        }
        if let Some(network) = &observed.network {
            let words = format!("network {}", network.name);
            // What the cluster's own servers were is still seen in it for a moment.
            let gone = self.delete_network(&network.id).await?;
            if gone { &mut removed.deleted } else { &mut removed.kept }.push(words);
        }
        for key in observed.keys.values().filter(|key| key.ours) {
            self.delete_thing(format!("account/keys/{}", number(&key.id))).await?;
            self.forget_keys().await;
            removed.deleted.push(format!("ssh key {}", key.name));
        }
        let tags: Vec<Tag> = self.list("tags", "tags", &[]).await?;
        let mut tags: Vec<&Tag> = tags.iter().filter(|tag| mark::is_of(&tag.name, cluster)).collect();
        // The mark itself goes last, by which an interrupted run finds the rest.
        tags.sort_by_key(|tag| std::cmp::Reverse(tag.name.len()));
        for tag in tags {
            // Others may have put it on a thing of theirs.
            if tag.resources.count > 0 {
                removed.kept.push(format!("tag {}", tag.name));
            } else {
                self.delete_thing(format!("tags/{}", tag.name)).await?;
                removed.deleted.push(format!("tag {}", tag.name));
            }
        }
        Ok(removed)
    }
}
