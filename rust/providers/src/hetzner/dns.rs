//! Zones of Hetzner Cloud (`/zones`). The API of the old console, `dns.hetzner.com`, is gone, and its tokens with it.
//!
//! Records are changed as sets (RRsets) by name and type: names are relative and in lower case, texts in quotes, and each
//! change is an action that takes time.

use hcloud::models::{
    AddRecordsToRrsetRequest, ChangeRrsetsTtlRequest, RemoveRecordsFromRrsetRequest, ResourceRecord,
    ResourceRecordSetToCreate, ResourceRecordSetType, SetRecordsOfRrsetRequest,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Hetzner, SOURCE, wire};
use crate::{
    api::Request,
    dns::zone::{Contents, FoundRecord, FoundSet, Kind, Set, Zone, canonical, quoted, relative},
    error::{CloudError, cleaned},
};

/// A zone, with what machinist uses of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FoundZone {
    mode: String,
    authoritative_nameservers: NameServers,
}

/// Name servers of a zone.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NameServers {
    assigned: Vec<String>,
    delegation_status: Option<String>,
}

/// A set of records.
#[derive(Debug, Deserialize)]
struct RrSet {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    ttl: Option<u32>,
    #[serde(default)]
    records: Vec<Record>,
    #[serde(default)]
    protection: Protection,
}

#[derive(Debug, Deserialize)]
struct Record {
    value: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Protection {
    change: bool,
}

impl FoundZone {
    /// Only the zone's own primary server takes records.
    fn refusal(&self) -> Option<String> {
        (self.mode == "secondary").then(|| "it is a secondary zone, a copy of other name servers".to_owned())
    }

    /// Nobody sees records of a zone that its parent does not delegate here.
    fn warning(&self, zone: &str) -> Option<String> {
        let NameServers { assigned, delegation_status } = &self.authoritative_nameservers;
        let why = match delegation_status.as_deref()? {
            "invalid" => "the registrar does not name Hetzner's name servers",
            "lame" => "the registrar names servers that do not know the zone",
            "partially-valid" => "the registrar names servers that are not assigned to this zone",
            "unregistered" => "the domain is not registered",
            _ => return None,
        };
        let servers = assigned.iter().map(|server| server.trim_end_matches('.')).collect::<Vec<_>>().join(", ");
        let remedy = if servers.is_empty() { String::new() } else { format!("; it has to name {servers}") };
        Some(cleaned(&format!("{zone} is not served: {why}{remedy}")))
    }
}

fn json(body: impl Serialize) -> Value {
    serde_json::to_value(body).unwrap_or_default()
}

fn records<'a>(values: impl IntoIterator<Item = &'a String>) -> Vec<ResourceRecord> {
    values.into_iter().map(|value| ResourceRecord::new(value.clone())).collect()
}

/// The API's times are below 2^31 seconds.
fn seconds(ttl: u32) -> i32 {
    i32::try_from(ttl).unwrap_or(i32::MAX)
}

const fn kind_of(kind: Kind) -> ResourceRecordSetType {
    match kind {
        Kind::A => ResourceRecordSetType::A,
        Kind::Aaaa => ResourceRecordSetType::Aaaa,
    }
}

fn found(set: RrSet, zone: &str) -> FoundSet {
    let record = |record: Record| FoundRecord { value: canonical(&set.kind, &record.value), id: None, ttl: None };
    FoundSet {
        name: relative(&set.name, zone),
        ttl: set.ttl,
        protected: set.protection.change,
        records: set.records.into_iter().map(record).collect(),
        kind: set.kind,
    }
}

impl Hetzner {
    fn set_path(zone: &str, name: &str, kind: &str) -> String {
        format!("zones/{zone}/rrsets/{name}/{kind}")
    }

    async fn set(&self, zone: &str, name: &str, kind: &str) -> Result<Option<FoundSet>, CloudError> {
        match self.inner.api.send(&Request::get(Self::set_path(zone, name, kind))).await {
            Ok(body) => Ok(Some(found(wire::read("GET rrsets", body["rrset"].clone())?, zone))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn create_set(&self, zone: &str, set: &Set) -> Result<(), CloudError> {
        let body = ResourceRecordSetToCreate {
            ttl: Some(Some(seconds(set.ttl))),
            ..ResourceRecordSetToCreate::new(set.key.name.clone(), records(&set.values), kind_of(set.key.kind))
        };
        match self.act(&Request::create(format!("zones/{zone}/rrsets"), json(body))).await {
            // The response was lost: it exists as it was requested, or it is not this one.
            Err(error) if error.is_lost() => {
                let found = self.set(zone, &set.key.name, set.key.kind.name()).await?;
                if found.is_some_and(|found| found.is(set)) { Ok(()) } else { Err(error) }
            }
            result => result.map(drop),
        }
    }
}

impl Zone for Hetzner {
    fn provider(&self) -> &'static str {
        SOURCE.provider
    }

    fn requests(&self) -> u64 {
        self.inner.api.requests()
    }

    async fn contents(&self, zone: &str) -> Result<Option<Contents>, CloudError> {
        let body = match self.inner.api.send(&Request::get(format!("zones/{zone}"))).await {
            Ok(body) => body,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let own: FoundZone = wire::read("GET zones", body["zone"].clone())?;
        let refusal = own.refusal();
        // Records of a secondary zone cannot even be listed.
        let sets = match refusal {
            Some(_) => Vec::new(),
            None => self.list::<RrSet>(&format!("zones/{zone}/rrsets"), "rrsets", &[]).await?,
        };
        let sets = sets.into_iter().map(|set| found(set, zone)).collect();
        Ok(Some(Contents { sets, warnings: own.warning(zone).into_iter().collect(), refusal }))
    }

    async fn write(&self, zone: &str, set: &Set, found: Option<&FoundSet>) -> Result<(), CloudError> {
        let Some(found) = found else { return self.create_set(zone, set).await };
        let actions = format!("{}/actions", Self::set_path(zone, &set.key.name, set.key.kind.name()));
        if found.values() != set.values {
            let body = SetRecordsOfRrsetRequest::new(records(&set.values));
            self.act(&Request::action(format!("{actions}/set_records"), json(body))).await?;
        }
        if found.ttl != Some(set.ttl) {
            let body = ChangeRrsetsTtlRequest::new(Some(seconds(set.ttl)));
            self.act(&Request::action(format!("{actions}/change_ttl"), json(body))).await?;
        }
        Ok(())
    }

    async fn erase(&self, zone: &str, found: &FoundSet) -> Result<(), CloudError> {
        self.delete_thing(Self::set_path(zone, &found.name, &found.kind)).await
    }

    async fn add_text(&self, zone: &str, name: &str, text: &str, ttl: u32) -> Result<(), CloudError> {
        let existing = self.set(zone, name, "TXT").await?;
        if existing.as_ref().is_some_and(|set| set.values().contains(text)) {
            return Ok(());
        }
        // A set that exists keeps its own time: another one is refused.
        let ttl = if existing.is_some() { None } else { Some(Some(seconds(ttl))) };
        let body = AddRecordsToRrsetRequest { records: vec![ResourceRecord::new(quoted(text))], ttl };
        let path = format!("{}/actions/add_records", Self::set_path(zone, name, "TXT"));
        match self.act(&Request::create(path, json(body))).await {
            Err(error) if error.is_lost() => {
                let set = self.set(zone, name, "TXT").await?;
                if set.is_some_and(|set| set.values().contains(text)) { Ok(()) } else { Err(error) }
            }
            result => result.map(drop),
        }
    }

    async fn remove_text(&self, zone: &str, found: &FoundSet, text: &str) -> Result<(), CloudError> {
        let body = RemoveRecordsFromRrsetRequest::new(vec![ResourceRecord::new(quoted(text))]);
        let path = format!("{}/actions/remove_records", Self::set_path(zone, &found.name, "TXT"));
        match self.act(&Request::action(path, json(body))).await {
            // It is gone: the response to an earlier request was lost, or someone else was faster.
            Err(error) if error.is_not_found() => Ok(()),
            result => result.map(drop),
        }
    }
}
