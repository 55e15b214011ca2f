//! The shape of machines.nix, as a person writes it.
//!
//! Everything is optional here, so that decoding reports only what is wrong in itself; what is missing is a matter of
//! the checks. The doc comments are the reference manual: `docs/reference/machines-nix.md` is generated from them, `x-type`,
//! `x-default` and `x-example` included (Nix syntax).

mod addresses;
mod cluster;
mod disk;
mod dns;
mod kube_master;
mod kubernetes;
mod machine;
mod network;
mod secret;
mod server;

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, generate::SchemaSettings};
use serde::Deserialize;

pub use self::{
    addresses::{Address, OneOrTwo},
    cluster::{ClusterShape, OperatorShape},
    disk::{DiskFirmware, DiskSetShape, DiskShape, KeptDiskShape, KeptFileSystem, RootFileSystem},
    dns::DnsShape,
    kube_master::{KubeMasterShape, VipMode},
    kubernetes::{AcmeShape, CoreDnsShape, KubernetesShape, LoadBalancerShape},
    machine::{BgpShape, GateShape, MachineShape, SshShape},
    network::{ControlShape, NetworkShape, OverlayShape},
    secret::SecretShape,
    server::{DigitaloceanShape, HetznerShape},
};

/// One attribute set, or a function of `{ lib, ... }` or of `pkgs` that returns one.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Shape {
    /// Name, orchestrator and operators of the cluster.
    pub cluster: ClusterShape,
    /// Address ranges. They must not overlap.
    pub network: NetworkShape,
    /// The address at which the Kubernetes API is reached from outside the control plane. Leave it out where no node is
    /// a control plane.
    #[schemars(extend("x-default" = "null"))]
    pub kube_master: Option<KubeMasterShape>,
    /// Records of a public DNS zone: those of the nodes, of names that lead to the ingress, and of the API endpoint.
    #[schemars(extend("x-default" = "null"))]
    pub dns: Option<DnsShape>,
    /// Files of `secrets/`, in the sops format, and the nodes that decrypt them. Operators decrypt all of them.
    #[schemars(extend("x-default" = "{ }"))]
    pub secrets: BTreeMap<String, SecretShape>,
    /// Objects that machinist applies to the cluster in addition to those of `manifests/`.
    pub kubernetes: KubernetesShape,
    /// The machines, by name. A name is an RFC 1123 label (a-z, 0-9 and -, at most 63 characters) and serves as host
    /// name, etcd member, certificate name and Kubernetes node.
    #[schemars(extend("x-required" = true))]
    pub machines: BTreeMap<String, MachineShape>,
}

/// Returns the JSON schema of machines.nix, without references: each attribute's schema stands where it is used.
#[must_use]
pub fn schema() -> Schema {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<Shape>()
}
