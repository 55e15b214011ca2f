//! Deploy of systems to hosts: gather, plan, lock and copy, then one wave after another.

mod activate;
mod boot;
mod datastore;
mod deliver;
mod etcd;
mod etcd_version;
mod host;
mod kubernetes_version;
mod leader;
mod lock;
mod member;
mod preflight;
mod reboot;
mod request;
mod revert;
mod roll;
mod run;
mod situation;
mod welcome;

pub use self::{
    datastore::Datastore,
    request::{Console, Context, KeySource, Policy, Request, Resume, Topology, Workload},
    run::{Deploy, DeployError},
};
pub use crate::{
    outcome::{EtcdEnd, Outcome, Report, Verdict},
    target::{Target, Traits},
};
