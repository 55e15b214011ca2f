//! Rows of Kubernetes.
//!
//! Sources: Kubernetes, "PKI certificates and requirements"; the users that Kubernetes' own roles are bound to ("Using
//! RBAC authorization", "Using Node Authorization").
//!
//! No certificate of a node is in the group `system:masters`, whose rights no rule can restrict. There is no row for an
//! administrator: `machinist kubeconfig` issues certificates that are valid for hours.

use std::{collections::BTreeSet, net::IpAddr};

use machinist_model::{Cluster, Node, Orchestrator, Role, defaults};

use crate::{
    Authority, AuthoritySpec, CertificateSpec, ExtendedUsage, Files, Holder, KeyPairSpec, KeyUse, San, Table,
    encryption::SECRETS_ENCRYPTION,
};

/// The name of the key pair that signs tokens of service accounts.
pub(crate) const SERVICE_ACCOUNT: &str = "service-account";

pub(super) fn add(cluster: &Cluster, table: &mut Table) {
    if cluster.orchestrator != Some(Orchestrator::Kubernetes) {
        return;
    }
    let planes: Vec<&Node> = cluster.with_role(Role::ControlPlane).collect();
    if planes.is_empty() {
        return;
    }
    table.authorities.extend([
        authority(
            Authority::Kubernetes,
            "kubernetes-ca",
            "services.kubernetes.caFile, apiserver.clientCaFile, kubelet.clientCaFile, controllerManager.rootCaFile",
        ),
        authority(
            Authority::FrontProxy,
            "kubernetes-front-proxy-ca",
            "services.kubernetes.apiserver.extraOpts --requestheader-client-ca-file",
        ),
    ]);
    for node in &planes {
        table.certificates.extend(of_control_plane(cluster, node));
    }
    for node in cluster.kubernetes_nodes() {
        table.certificates.extend(of_node(cluster, node));
    }
    // Tokens and Secrets that one API server signed or encrypted must be usable by the others.
    let shared = |name: &str, consumer: &str, used_as| KeyPairSpec {
        name: name.to_owned(),
        holders: planes.iter().map(|node| node.name.clone()).collect(),
        files: Files::key_pair(name),
        consumer: consumer.to_owned(),
        used_as,
    };
    table.key_pairs.extend([
        shared(
            SERVICE_ACCOUNT,
            "services.kubernetes.apiserver.serviceAccountKeyFile, serviceAccountSigningKeyFile, \
             controllerManager.serviceAccountKeyFile",
            KeyUse::KeyPair,
        ),
        shared(
            SECRETS_ENCRYPTION,
            "services.kubernetes.apiserver.extraOpts --encryption-provider-config",
            KeyUse::Encryption,
        ),
    ]);
}

fn authority(authority: Authority, common_name: &str, consumer: &str) -> AuthoritySpec {
    AuthoritySpec {
        name: format!("{authority}-ca"),
        authority,
        common_name: common_name.to_owned(),
        files: Files::authority(authority),
        consumer: consumer.to_owned(),
    }
}

fn of_control_plane(cluster: &Cluster, node: &Node) -> [CertificateSpec; 7] {
    let controller_manager = "services.kubernetes.controllerManager";
    [
        server(node, "kube-apiserver", "services.kubernetes.apiserver.tlsCertFile, tlsKeyFile", {
            api_server_names(cluster, node)
        }),
        // Needs a binding to the role system:kubelet-api-admin: without a group, the name alone has no rights.
        client(
            node,
            "kube-apiserver-kubelet-client",
            "kube-apiserver-kubelet-client",
            "services.kubernetes.apiserver.kubeletClientCertFile, kubeletClientKeyFile",
        ),
        CertificateSpec {
            authority: Authority::Etcd,
            ..client(
                node,
                "kube-apiserver-etcd-client",
                "kube-apiserver-etcd-client",
                "services.kubernetes.apiserver.etcd.certFile, keyFile",
            )
        },
        CertificateSpec {
            authority: Authority::FrontProxy,
            ..client(
                node,
                "front-proxy-client",
                "front-proxy-client",
                "services.kubernetes.apiserver.proxyClientCertFile, proxyClientKeyFile",
            )
        },
        client(
            node,
            "kube-controller-manager-client",
            "system:kube-controller-manager",
            &format!("{controller_manager}.kubeconfig.certFile, keyFile"),
        ),
        server(node, "kube-controller-manager", &format!("{controller_manager}.tlsCertFile, tlsKeyFile"), {
            super::names_of(cluster, node).into_iter().chain(super::loopback()).collect()
        }),
        client(
            node,
            "kube-scheduler-client",
            "system:kube-scheduler",
            "services.kubernetes.scheduler.kubeconfig.certFile, keyFile",
        ),
    ]
}

/// Returns the rows of every Kubernetes node, control planes included.
fn of_node(cluster: &Cluster, node: &Node) -> Vec<CertificateSpec> {
    // The Node authorizer identifies a node by this user, whose name must be the one that the kubelet registers.
    let user = format!("system:node:{}", node.name);
    let group = Some("system:nodes".to_owned());
    let mut rows = vec![
        CertificateSpec {
            organization: group.clone(),
            ..client(node, "kubelet-client", &user, "services.kubernetes.kubelet.kubeconfig.certFile, keyFile")
        },
        CertificateSpec {
            common_name: user,
            organization: group,
            ..server(
                node,
                "kubelet",
                "services.kubernetes.kubelet.tlsCertFile, tlsKeyFile",
                super::names_of(cluster, node),
            )
        },
        client(
            node,
            "kube-proxy-client",
            "system:kube-proxy",
            "services.kubernetes.proxy.kubeconfig.certFile, keyFile",
        ),
        client(node, "flannel-client", "flannel-client", "services.flannel.kubeconfig"),
    ];
    if node.roles.contains(&Role::ControlPlane) && cluster.has_own_vip() {
        rows.push(client(node, "kube-vip-client", "kube-vip", "the kubeconfig of kube-vip's static pod"));
    }
    rows
}

fn client(node: &Node, leaf: &str, user: &str, consumer: &str) -> CertificateSpec {
    CertificateSpec {
        common_name: user.to_owned(),
        consumer: consumer.to_owned(),
        ..super::leaf(Authority::Kubernetes, leaf, Holder::Node(node.name.clone()))
    }
}

fn server(node: &Node, leaf: &str, consumer: &str, sans: BTreeSet<San>) -> CertificateSpec {
    CertificateSpec { sans, extended_usages: [ExtendedUsage::Server].into(), ..client(node, leaf, leaf, consumer) }
}

/// Returns every name and address of an API server: nodes and users connect to the endpoint, pods to the service
/// `kubernetes`, the control plane's own components to loopback.
fn api_server_names(cluster: &Cluster, node: &Node) -> BTreeSet<San> {
    let service = "kubernetes.default.svc";
    let mut sans = super::names_of(cluster, node);
    sans.extend(super::loopback());
    sans.extend(["kubernetes", "kubernetes.default", service].map(|name| San::Dns(name.to_owned())));
    sans.insert(San::Dns(format!("{service}.{}", defaults::CLUSTER_DOMAIN)));
    sans.extend(cluster.service_addresses().map(San::Ip));
    if let Some(endpoint) = &cluster.kube_master {
        sans.extend([San::Dns(endpoint.name.clone()), San::Ip(endpoint.ip)]);
        if !endpoint.name.contains('.') && endpoint.name.parse::<IpAddr>().is_err() {
            sans.insert(San::Dns(format!("{}.{}", endpoint.name, cluster.domain)));
        }
    }
    sans
}
