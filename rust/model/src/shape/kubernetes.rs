//! The `kubernetes` section.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Deserialize;

/// Objects that machinist applies to the cluster in addition to those of `manifests/`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct KubernetesShape {
    /// The cluster's DNS, for the orchestrator `"kubernetes"`; k3s has its own.
    pub coredns: CoreDnsShape,
    /// Certificates for applications by ACME: the ClusterIssuers `letsencrypt-staging` and `letsencrypt-production`. Their
    /// kind is cert-manager's: k3s installs it, elsewhere its own manifest belongs into `manifests/`.
    #[schemars(extend("x-default" = "null"))]
    pub acme: Option<AcmeShape>,
    /// Addresses for Services of type LoadBalancer, for the orchestrator `"kubernetes"`. Control planes announce them in the
    /// mode of `kubeMaster`.
    #[schemars(extend("x-default" = "null"))]
    pub load_balancer: Option<LoadBalancerShape>,
}

/// The cluster's DNS.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct CoreDnsShape {
    /// Runs CoreDNS. `false` if `manifests/` has another DNS at `network.dns`.
    #[schemars(extend("x-default" = "true", "x-example" = "false"))]
    pub enable: bool,
    /// The image, with a tag other than `latest` or a digest.
    #[schemars(extend(
        "x-default" = "\"registry.k8s.io/coredns/coredns:v1.14.2\"",
        "x-example" = "\"registry.example.org/coredns:v1.14.2\""
    ))]
    pub image: Option<String>,
    /// Number of replicas, on different nodes and in different zones if there are several.
    #[schemars(extend("x-default" = "2", "x-example" = "3"))]
    pub replicas: Option<u16>,
    /// Name servers for names outside of the cluster, instead of `network.nameservers` or those of its node.
    #[schemars(extend("x-default" = "[ ]", "x-example" = "[ \"10.13.13.1\" ]"))]
    pub upstream: Vec<IpAddr>,
}

impl Default for CoreDnsShape {
    fn default() -> Self {
        Self { enable: true, image: None, replicas: None, upstream: Vec::new() }
    }
}

/// Certificates for applications by ACME.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct AcmeShape {
    /// The e-mail address of the ACME account, for messages from Let's Encrypt.
    #[schemars(extend("x-required" = true, "x-example" = "\"ops@magi.dev\""))]
    pub email: Option<String>,
    /// The class of the ingress controller that answers the challenges (HTTP-01).
    #[schemars(extend("x-default" = "\"traefik\"", "x-example" = "\"nginx\""))]
    pub ingress_class: Option<String>,
}

/// Addresses for Services of type LoadBalancer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct LoadBalancerShape {
    /// Networks, and ranges by their first and last address. With BGP outside of all networks in use, with ARP free addresses
    /// of `network.nodes`. IPv4 addresses that end with .0 or .255 are not used.
    #[schemars(extend(
        "x-required" = true,
        "x-example" = "[ \"10.13.101.0/24\" \"10.13.102.10-10.13.102.50\" ]"
    ))]
    pub pool: Vec<String>,
    /// The image of kube-vip-cloud-provider, which assigns the addresses, with a tag other than `latest` or a digest.
    #[schemars(extend(
        "x-default" = "\"ghcr.io/kube-vip/kube-vip-cloud-provider:v0.0.12\"",
        "x-example" = "\"registry.example.org/kube-vip-cloud-provider:v0.0.12\""
    ))]
    pub image: Option<String>,
}
