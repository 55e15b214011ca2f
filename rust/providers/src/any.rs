//! A provider of those that there are, chosen when the command runs.

use machinist_model::Provider;

use crate::{
    api::Settings,
    cloud::{Boot, Cloud, Removed},
    desired::{Desired, Server},
    digitalocean::{self, DigitalOcean},
    error::CloudError,
    hetzner::{self, Hetzner},
    observed::{Catalogue, FoundServer, Id, Observed},
    plan::SharedChange,
    token::Source,
};

/// Providers at which machinist creates servers.
pub const PROVIDERS: [Provider; 2] = [Provider::Hetzner, Provider::Digitalocean];

/// Returns the settings of a provider; none if machinist creates no servers there.
#[must_use]
pub const fn source(provider: Provider) -> Option<&'static Source> {
    match provider {
        Provider::Hetzner => Some(&hetzner::SOURCE),
        Provider::Digitalocean => Some(&digitalocean::SOURCE),
        Provider::Sandbox | Provider::SelfHosted => None,
    }
}

/// One of the providers. Cheap to clone.
#[derive(Clone)]
pub enum Any {
    /// Hetzner Cloud.
    Hetzner(Hetzner),
    /// DigitalOcean.
    DigitalOcean(DigitalOcean),
}

impl Any {
    /// Creates a client; none if machinist creates no servers there.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(provider: Provider, settings: Settings) -> Result<Option<Self>, CloudError> {
        match provider {
            Provider::Hetzner => Hetzner::new(settings).map(Self::Hetzner).map(Some),
            Provider::Digitalocean => DigitalOcean::new(settings).map(Self::DigitalOcean).map(Some),
            Provider::Sandbox | Provider::SelfHosted => Ok(None),
        }
    }
}

/// Calls the same method of the provider that it is.
macro_rules! each {
    ($self:ident, $cloud:ident => $call:expr) => {
        match $self {
            Self::Hetzner($cloud) => $call,
            Self::DigitalOcean($cloud) => $call,
        }
    };
}

impl Cloud for Any {
    fn name(&self) -> &'static str {
        each!(self, cloud => cloud.name())
    }

    fn requests(&self) -> u64 {
        each!(self, cloud => cloud.requests())
    }

    async fn observe(&self, cluster: &str) -> Result<Observed, CloudError> {
        each!(self, cloud => cloud.observe(cluster).await)
    }

    async fn catalogue(&self) -> Result<Catalogue, CloudError> {
        each!(self, cloud => cloud.catalogue().await)
    }

    async fn apply(&self, change: &SharedChange, desired: &Desired, observed: &Observed) -> Result<(), CloudError> {
        each!(self, cloud => cloud.apply(change, desired, observed).await)
    }

    async fn create(
        &self,
        server: &Server,
        boot: &Boot,
        desired: &Desired,
        observed: &Observed,
    ) -> Result<FoundServer, CloudError> {
        each!(self, cloud => cloud.create(server, boot, desired, observed).await)
    }

    async fn attach(&self, id: &Id, server: &Server, observed: &Observed) -> Result<(), CloudError> {
        each!(self, cloud => cloud.attach(id, server, observed).await)
    }

    async fn protect(
        &self,
        id: &Id,
        server: &Server,
        desired: &Desired,
        observed: &Observed,
    ) -> Result<(), CloudError> {
        each!(self, cloud => cloud.protect(id, server, desired, observed).await)
    }

    async fn power_on(&self, id: &Id) -> Result<(), CloudError> {
        each!(self, cloud => cloud.power_on(id).await)
    }

    async fn server(&self, id: &Id, cluster: &str) -> Result<Option<FoundServer>, CloudError> {
        each!(self, cloud => cloud.server(id, cluster).await)
    }

    async fn find(&self, name: &str, cluster: &str) -> Result<Option<FoundServer>, CloudError> {
        each!(self, cloud => cloud.find(name, cluster).await)
    }

    async fn delete(&self, id: &Id) -> Result<(), CloudError> {
        each!(self, cloud => cloud.delete(id).await)
    }

    async fn delete_shared(&self, observed: &Observed, cluster: &str) -> Result<Removed, CloudError> {
        each!(self, cloud => cloud.delete_shared(observed, cluster).await)
    }
}
