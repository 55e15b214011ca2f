//! The `cluster` section.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::Orchestrator;

/// Name, orchestrator and operators of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct ClusterShape {
    /// The cluster's name, an RFC 1123 label. Becomes etcd's cluster token and part of certificate names.
    #[schemars(extend("x-required" = true, "x-example" = "\"magi\""))]
    pub name: Option<String>,
    /// The DNS domain of the nodes, without a leading dot. A node is known as `<node>.<domain>`.
    #[schemars(extend("x-default" = "\"<name>.internal\"", "x-example" = "\"magi.internal\""))]
    pub domain: Option<String>,
    /// The orchestrator of the applications: `"kubernetes"` (NixOS's own services, stacked or external etcd), `"k3s"`, `"mesh"`
    /// (etcd, flannel, haproxy, podman), or `null` for a fleet of single machines.
    #[schemars(extend("x-default" = "null", "x-example" = "\"kubernetes\""))]
    pub orchestrator: Option<Orchestrator>,
    /// The NixOS release of all nodes, `YY.MM`.
    #[schemars(extend("x-default" = "\"26.05\"", "x-example" = "\"26.05\""))]
    pub release: Option<String>,
    /// The people who may log in to the nodes as root and decrypt the cluster's private keys. May be `import ./operators.nix`.
    #[schemars(extend(
        "x-default" = "[ ]",
        "x-example" = "[ { name = \"ops\"; ssh = \"ssh-ed25519 AAAA... ops\"; age = \"age1...\"; } ]"
    ))]
    pub operators: Vec<OperatorShape>,
    /// Accepts an even number of voting etcd members. An even number tolerates no more failures than one member less;
    /// it is useful only while a member is being replaced.
    #[schemars(extend("x-default" = "false", "x-example" = "true"))]
    pub allow_even_quorum: bool,
}

/// A person who may log in to the nodes as root and decrypt the cluster's private keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct OperatorShape {
    /// The operator's name, unique in the cluster.
    #[schemars(extend("x-required" = true, "x-example" = "\"ops\""))]
    pub name: Option<String>,
    /// The SSH public key, one OpenSSH line: may log in as root. Private keys are encrypted to it too where `age` is
    /// absent and the key is of type ed25519 or RSA.
    #[schemars(extend("x-default" = "null", "x-example" = "\"ssh-ed25519 AAAA... ops\""))]
    pub ssh: Option<String>,
    /// The age recipient: private keys are encrypted to it. `age-keygen -y` prints it.
    #[schemars(extend("x-default" = "null", "x-example" = "\"age1...\""))]
    pub age: Option<String>,
}
