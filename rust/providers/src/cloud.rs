//! A provider of servers: what each of them can do.

use std::future::Future;

use crate::{
    desired::{Desired, Server},
    error::CloudError,
    observed::{Catalogue, FoundServer, Id, Observed},
    plan::SharedChange,
};

/// First configuration of a server.
#[derive(Clone)]
pub struct Boot {
    /// Configuration of cloud-init. It has a private key in it, so it has no `Debug`.
    pub user_data: String,
    /// Digest of the public half, at most 63 letters and digits: a label.
    pub first_key: String,
}

/// What a provider kept and deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Kinds and names of what is gone.
    pub deleted: Vec<String>,
    /// Kinds and names of what others use, and stays.
    pub kept: Vec<String>,
}

/// A provider of servers. Each call may be repeated; a caller looks at what exists before it creates something.
pub trait Cloud: Send + Sync {
    /// The provider's name for people.
    fn name(&self) -> &'static str;

    /// Number of requests sent so far.
    fn requests(&self) -> u64;

    /// Returns what exists: things with the cluster's label, and the names that others have taken.
    fn observe(&self, cluster: &str) -> impl Future<Output = Result<Observed, CloudError>> + Send;

    /// Returns what the provider offers.
    fn catalogue(&self) -> impl Future<Output = Result<Catalogue, CloudError>> + Send;

    /// Creates or updates something that servers share. The next observation shows it.
    fn apply(
        &self,
        change: &SharedChange,
        desired: &Desired,
        observed: &Observed,
    ) -> impl Future<Output = Result<(), CloudError>> + Send;

    /// Creates the server, switched off where the provider can, and waits until it exists.
    ///
    /// # Errors
    /// The provider refused it, or [`CloudError::Lost`].
    fn create(
        &self,
        server: &Server,
        boot: &Boot,
        desired: &Desired,
        observed: &Observed,
    ) -> impl Future<Output = Result<FoundServer, CloudError>> + Send;

    /// Attaches the server to the private network at its address; where the provider does that itself, waits for it.
    fn attach(
        &self,
        id: &Id,
        server: &Server,
        observed: &Observed,
    ) -> impl Future<Output = Result<(), CloudError>> + Send;

    /// Puts the server behind its firewall.
    fn protect(
        &self,
        id: &Id,
        server: &Server,
        desired: &Desired,
        observed: &Observed,
    ) -> impl Future<Output = Result<(), CloudError>> + Send;

    /// Switches the server on.
    fn power_on(&self, id: &Id) -> impl Future<Output = Result<(), CloudError>> + Send;

    /// Returns the server; `None` if it does not exist.
    fn server(&self, id: &Id, cluster: &str) -> impl Future<Output = Result<Option<FoundServer>, CloudError>> + Send;

    /// Returns the cluster's server with this name, if there is one.
    fn find(&self, name: &str, cluster: &str) -> impl Future<Output = Result<Option<FoundServer>, CloudError>> + Send;

    /// Deletes the server and waits until it is gone. One that does not exist is deleted.
    fn delete(&self, id: &Id) -> impl Future<Output = Result<(), CloudError>> + Send;

    /// Deletes what the cluster's servers shared, and has its label. No server of the cluster exists any more. What
    /// servers of others use stays.
    fn delete_shared(
        &self,
        observed: &Observed,
        cluster: &str,
    ) -> impl Future<Output = Result<Removed, CloudError>> + Send;
}
