//! CoreDNS in kubeadm's configuration for the matching Kubernetes version, with replicas spread over nodes.

use std::net::IpAddr;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            Capabilities, ConfigMap, ConfigMapVolumeSource, Container, ContainerPort, HTTPGetAction, KeyToPath,
            PodSpec, PodTemplateSpec, Probe, ResourceRequirements, SecurityContext, Service, ServiceAccount,
            ServicePort, ServiceSpec, Toleration, TopologySpreadConstraint, Volume, VolumeMount,
        },
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
        rbac::v1::{ClusterRole, Subject},
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use machinist_model::{Cluster, CoreDns, Node, defaults};

use super::{SYSTEM, named, node::CONTROL_PLANE, rbac, texts, typed};
use crate::object::Object;

const NAME: &str = "coredns";
/// The label and service name that other programs rely on.
const APP: (&str, &str) = ("k8s-app", "kube-dns");

/// All objects of CoreDNS; the service has the address `dns`.
pub fn objects(cluster: &Cluster, coredns: &CoreDns, dns: IpAddr) -> Vec<Object> {
    let account = ServiceAccount { metadata: named(NAME, Some(SYSTEM), &[APP]), ..ServiceAccount::default() };
    let role = ClusterRole {
        metadata: named("system:coredns", None, &[]),
        rules: Some(vec![
            rbac::rule("", &["endpoints", "services", "pods", "namespaces"], &["list", "watch"]),
            rbac::rule("discovery.k8s.io", &["endpointslices"], &["list", "watch"]),
        ]),
        aggregation_rule: None,
    };
    let subject =
        Subject { kind: "ServiceAccount".into(), name: NAME.into(), namespace: Some(SYSTEM.into()), api_group: None };
    let binding = rbac::cluster_binding("system:coredns", "system:coredns", subject);
    let settings = ConfigMap {
        metadata: named(NAME, Some(SYSTEM), &[APP]),
        data: Some([("Corefile".to_owned(), corefile(&upstream(cluster, coredns)))].into()),
        ..ConfigMap::default()
    };
    let mut objects = vec![
        typed(&account),
        typed(&role),
        typed(&binding),
        typed(&settings),
        typed(&deployment(cluster, coredns)),
        typed(&service(dns)),
    ];
    if coredns.replicas > 1 {
        objects.push(typed(&budget()));
    }
    objects.into_iter().flatten().collect()
}

/// The upstream name servers: CoreDNS's own in machines.nix, else those of the nodes, else the node's /etc/resolv.conf,
/// which the pod gets through its `dnsPolicy`.
fn upstream(cluster: &Cluster, coredns: &CoreDns) -> String {
    let usable = |servers: &[IpAddr]| -> Vec<String> {
        servers.iter().filter(|server| !server.is_loopback()).map(ToString::to_string).collect()
    };
    let servers = [&coredns.upstream, &cluster.network.nameservers].map(|servers| usable(servers));
    match servers.into_iter().find(|servers| !servers.is_empty()) {
        Some(servers) => servers.join(" "),
        None => "/etc/resolv.conf".to_owned(),
    }
}

/// kubeadm's Corefile. `loop` stops CoreDNS when its queries come back to it; `reload` applies a changed file without a
/// restart.
fn corefile(upstream: &str) -> String {
    let domain = defaults::CLUSTER_DOMAIN;
    format!(
        ".:53 {{
    errors
    health {{
        lameduck 5s
    }}
    ready
    kubernetes {domain} in-addr.arpa ip6.arpa {{
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }}
    prometheus :9153
    forward . {upstream} {{
        max_concurrent 1000
    }}
    cache 30 {{
        disable success {domain}
        disable denial {domain}
    }}
    loop
    reload
    loadbalance
}}
"
    )
}

fn deployment(cluster: &Cluster, coredns: &CoreDns) -> Deployment {
    let one = IntOrString::Int(1);
    Deployment {
        metadata: named(NAME, Some(SYSTEM), &[APP]),
        spec: Some(DeploymentSpec {
            replicas: Some(coredns.replicas.into()),
            selector: selector(),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(RollingUpdateDeployment { max_unavailable: Some(one), max_surge: None }),
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { name: None, ..named("", None, &[APP]) }),
                spec: Some(pod(cluster, coredns)),
            },
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

fn selector() -> LabelSelector {
    LabelSelector { match_labels: Some([(APP.0.to_owned(), APP.1.to_owned())].into()), match_expressions: None }
}

fn pod(cluster: &Cluster, coredns: &CoreDns) -> PodSpec {
    PodSpec {
        priority_class_name: Some("system-cluster-critical".into()),
        service_account_name: Some(NAME.into()),
        // With its own service as resolver, it would query itself.
        dns_policy: Some("Default".into()),
        node_selector: Some([("kubernetes.io/os".to_owned(), "linux".to_owned())].into()),
        tolerations: Some(vec![
            Toleration {
                key: Some("CriticalAddonsOnly".into()),
                operator: Some("Exists".into()),
                ..Toleration::default()
            },
            Toleration {
                key: Some(CONTROL_PLANE.into()),
                operator: Some("Exists".into()),
                effect: Some("NoSchedule".into()),
                ..Toleration::default()
            },
        ]),
        topology_spread_constraints: Some(vec![
            spread("kubernetes.io/hostname", if runs_everywhere(cluster) { "DoNotSchedule" } else { "ScheduleAnyway" }),
            spread("topology.kubernetes.io/zone", "ScheduleAnyway"),
        ]),
        containers: vec![container(coredns)],
        volumes: Some(vec![Volume {
            name: "config".into(),
            config_map: Some(ConfigMapVolumeSource {
                name: NAME.into(),
                items: Some(vec![KeyToPath { key: "Corefile".into(), path: "Corefile".into(), mode: None }]),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        }]),
        ..PodSpec::default()
    }
}

/// True if both replicas must run on different nodes. Two on the first node that comes up would stay there, and DNS
/// would fail with that node. But nodes that reject them count for the spread too, and a replica would stay pending for
/// ever.
fn runs_everywhere(cluster: &Cluster) -> bool {
    let tolerated = format!("{CONTROL_PLANE}=:NoSchedule");
    cluster.kubernetes_nodes().flat_map(Node::kubernetes_taints).all(|taint| {
        taint.ends_with(":PreferNoSchedule") || taint == tolerated || taint == format!("{CONTROL_PLANE}:NoSchedule")
    })
}

fn spread(key: &str, otherwise: &str) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: key.into(),
        when_unsatisfiable: otherwise.into(),
        label_selector: Some(selector()),
        ..TopologySpreadConstraint::default()
    }
}

fn container(coredns: &CoreDns) -> Container {
    let port = |name: &str, port, protocol: &str| ContainerPort {
        name: Some(name.into()),
        container_port: port,
        protocol: Some(protocol.into()),
        ..ContainerPort::default()
    };
    let quantities = |items: &[(&str, &str)]| {
        Some(items.iter().map(|(key, value)| ((*key).to_owned(), Quantity((*value).to_owned()))).collect())
    };
    Container {
        name: NAME.into(),
        image: Some(coredns.image.clone()),
        image_pull_policy: Some("IfNotPresent".into()),
        args: Some(texts(["-conf", "/etc/coredns/Corefile"])),
        resources: Some(ResourceRequirements {
            limits: quantities(&[("memory", "170Mi")]),
            requests: quantities(&[("cpu", "100m"), ("memory", "70Mi")]),
            ..ResourceRequirements::default()
        }),
        ports: Some(vec![
            port("dns", 53, "UDP"),
            port("dns-tcp", 53, "TCP"),
            port("metrics", 9153, "TCP"),
            port("liveness-probe", 8080, "TCP"),
            port("readiness-probe", 8181, "TCP"),
        ]),
        liveness_probe: Some(Probe {
            initial_delay_seconds: Some(60),
            timeout_seconds: Some(5),
            failure_threshold: Some(5),
            ..probe("/health", "liveness-probe")
        }),
        readiness_probe: Some(probe("/ready", "readiness-probe")),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { add: Some(texts(["NET_BIND_SERVICE"])), drop: Some(texts(["ALL"])) }),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(vec![VolumeMount {
            name: "config".into(),
            mount_path: "/etc/coredns".into(),
            read_only: Some(true),
            ..VolumeMount::default()
        }]),
        ..Container::default()
    }
}

fn probe(path: &str, port: &str) -> Probe {
    let http_get =
        HTTPGetAction { path: Some(path.into()), port: IntOrString::String(port.into()), ..HTTPGetAction::default() };
    Probe { http_get: Some(http_get), ..Probe::default() }
}

fn service(dns: IpAddr) -> Service {
    let port = |name: &str, port, protocol: &str| ServicePort {
        name: Some(name.into()),
        port,
        protocol: Some(protocol.into()),
        target_port: Some(IntOrString::Int(port)),
        ..ServicePort::default()
    };
    let labels = [APP, ("kubernetes.io/cluster-service", "true"), ("kubernetes.io/name", "CoreDNS")];
    let annotations = [("prometheus.io/port", "9153"), ("prometheus.io/scrape", "true")];
    let annotations = annotations.map(|(key, value)| (key.to_owned(), value.to_owned()));
    Service {
        metadata: ObjectMeta { annotations: Some(annotations.into()), ..named(APP.1, Some(SYSTEM), &labels) },
        spec: Some(ServiceSpec {
            cluster_ip: Some(dns.to_string()),
            selector: Some([(APP.0.to_owned(), APP.1.to_owned())].into()),
            ports: Some(vec![port("dns", 53, "UDP"), port("dns-tcp", 53, "TCP"), port("metrics", 9153, "TCP")]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// Lets a drain evict one replica at a time.
fn budget() -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: named(NAME, Some(SYSTEM), &[APP]),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(selector()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    }
}
