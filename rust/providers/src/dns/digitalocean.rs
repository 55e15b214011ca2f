//! Domains of DigitalOcean (`/v2/domains`). Each record has an identifier and a time of its own, and a name may have the
//! same record twice. Names in records are relative; a filter takes them in full.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::Deserialize;
use serde_json::{Value, json};

use super::zone::{Contents, FoundRecord, FoundSet, Set, Zone, canonical, full, relative};
use crate::{
    api::{Api, Request, Settings},
    digitalocean::{SOURCE, dialect},
    error::{CloudError, cleaned},
    observed::Id,
};

/// Most records in one response.
const PAGE: usize = 200;
/// Most pages of a list. A domain with more records than that is not one of ours.
const PAGES: usize = 100;

/// An account at DigitalOcean. Cheap to clone.
#[derive(Clone)]
pub struct Domains {
    api: Arc<Api>,
}

/// A record of a response, with what machinist uses of it.
#[derive(Debug, Deserialize)]
struct Record {
    id: u64,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    data: Option<String>,
    #[serde(default)]
    ttl: Option<u32>,
}

impl Domains {
    /// Creates a client.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(settings: Settings) -> Result<Self, CloudError> {
        Ok(Self { api: Arc::new(Api::new(settings, Box::new(dialect::DigitalOcean))?) })
    }

    async fn list(&self, zone: &str, filter: &[(&str, &str)]) -> Result<Vec<Record>, CloudError> {
        let path = format!("domains/{zone}/records");
        let mut records = Vec::new();
        for page in 1..=PAGES {
            let mut request = Request::get(&path).with("page", page).with("per_page", PAGE);
            for (name, value) in filter {
                request = request.with(name, value);
            }
            let body = self.api.send(&request).await?;
            records.extend(read(&path, &body)?);
            // The link itself names the provider's own host.
            if !body["links"]["pages"]["next"].is_string() {
                break;
            }
        }
        Ok(records)
    }

    /// Returns the records of a name and type. The filter takes the name in full: a relative one finds nothing.
    async fn records(&self, zone: &str, name: &str, kind: &str) -> Result<Vec<Record>, CloudError> {
        self.list(zone, &[("name", &full(name, zone)), ("type", kind)]).await
    }

    async fn create(&self, zone: &str, name: &str, kind: &str, value: &str, ttl: u32) -> Result<(), CloudError> {
        let body = json!({ "type": kind, "name": name, "data": value, "ttl": ttl });
        match self.api.send(&Request::create(format!("domains/{zone}/records"), body)).await {
            // The response was lost, and there is no key that makes a second request harmless.
            Err(error) if error.is_lost() => {
                let there = self.records(zone, name, kind).await?;
                if there.iter().any(|record| value_of(record) == value) { Ok(()) } else { Err(error) }
            }
            result => result.map(drop),
        }
    }

    async fn delete(&self, zone: &str, id: &Id) -> Result<(), CloudError> {
        match self.api.send(&Request::delete(format!("domains/{zone}/records/{}", id.0))).await {
            Err(error) if error.is_not_found() => Ok(()),
            result => result.map(drop),
        }
    }

    async fn set_ttl(&self, zone: &str, kind: &str, id: &Id, ttl: u32) -> Result<(), CloudError> {
        let path = format!("domains/{zone}/records/{}", id.0);
        let request =
            Request { method: reqwest::Method::PATCH, ..Request::action(path, json!({ "type": kind, "ttl": ttl })) };
        self.api.send(&request).await.map(drop)
    }
}

fn read(path: &str, body: &Value) -> Result<Vec<Record>, CloudError> {
    let shape = |reason: String| CloudError::Shape { request: path.to_owned(), reason };
    let items = body["domain_records"].as_array().ok_or_else(|| shape("there is no list of records".to_owned()))?;
    let record = |item: &Value| Record::deserialize(item).map_err(|error| shape(cleaned(&error.to_string())));
    items.iter().map(record).collect()
}

fn value_of(record: &Record) -> String {
    canonical(&record.kind, record.data.as_deref().unwrap_or_default())
}

/// Puts the records of a name and type into one set.
fn sets(records: Vec<Record>, zone: &str) -> Vec<FoundSet> {
    let mut sets: BTreeMap<(String, String), FoundSet> = BTreeMap::new();
    for record in records {
        let name = relative(&record.name, zone);
        let found = FoundRecord { value: value_of(&record), id: Some(Id(record.id.to_string())), ttl: record.ttl };
        let set = sets.entry((name.clone(), record.kind.clone())).or_insert_with(|| FoundSet {
            name,
            kind: record.kind,
            ttl: found.ttl,
            records: Vec::new(),
            protected: false,
        });
        set.ttl = set.ttl.filter(|ttl| Some(*ttl) == found.ttl);
        set.records.push(found);
    }
    sets.into_values().collect()
}

impl Zone for Domains {
    fn provider(&self) -> &'static str {
        SOURCE.provider
    }

    fn requests(&self) -> u64 {
        self.api.requests()
    }

    async fn contents(&self, zone: &str) -> Result<Option<Contents>, CloudError> {
        match self.list(zone, &[]).await {
            Ok(records) => Ok(Some(Contents { sets: sets(records, zone), ..Contents::default() })),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn write(&self, zone: &str, set: &Set, found: Option<&FoundSet>) -> Result<(), CloudError> {
        let (name, kind) = (&set.key.name, set.key.kind.name());
        let mut missing = set.values.clone();
        let mut superfluous = Vec::new();
        for record in found.iter().flat_map(|found| &found.records) {
            let Some(id) = &record.id else { continue };
            if !missing.remove(&record.value) {
                superfluous.push(id);
            } else if record.ttl != Some(set.ttl) {
                self.set_ttl(zone, kind, id, set.ttl).await?;
            }
        }
        for value in &missing {
            self.create(zone, name, kind, value, set.ttl).await?;
        }
        // Last, so that the name is never without an address.
        for id in superfluous {
            self.delete(zone, id).await?;
        }
        Ok(())
    }

    async fn erase(&self, zone: &str, found: &FoundSet) -> Result<(), CloudError> {
        for id in found.records.iter().filter_map(|record| record.id.as_ref()) {
            self.delete(zone, id).await?;
        }
        Ok(())
    }

    async fn add_text(&self, zone: &str, name: &str, text: &str, ttl: u32) -> Result<(), CloudError> {
        let there: BTreeSet<String> = self.records(zone, name, "TXT").await?.iter().map(value_of).collect();
        if there.contains(text) { Ok(()) } else { self.create(zone, name, "TXT", text, ttl).await }
    }

    async fn remove_text(&self, zone: &str, found: &FoundSet, text: &str) -> Result<(), CloudError> {
        for id in found.records.iter().filter(|record| record.value == text).filter_map(|record| record.id.as_ref()) {
            self.delete(zone, id).await?;
        }
        Ok(())
    }
}
