#![allow(clippy::unwrap_used)]

use machinist_model::{Acme, Cluster, LoadBalancer, NodeName, Role, fixtures};
use serde_json::{Value, json};

use super::{nodes, objects};

fn ids(cluster: &Cluster) -> Vec<String> {
    objects(cluster).iter().map(|object| object.id.to_string()).collect()
}

fn value(cluster: &Cluster, kind: &str, name: &str) -> Value {
    let found = objects(cluster).into_iter().find(|object| object.id.kind == kind && object.id.name == name);
    found.unwrap().value
}

#[test]
fn a_cluster_gets_rights_and_a_dns() {
    assert_eq!(
        ids(&fixtures::ha_kubernetes()),
        [
            "ClusterRoleBinding machinist:kubelet-api-admin",
            "ClusterRole machinist:flannel",
            "ClusterRoleBinding machinist:flannel",
            "Role kube-system/machinist:kube-vip",
            "RoleBinding kube-system/machinist:kube-vip",
            "ServiceAccount kube-system/coredns",
            "ClusterRole system:coredns",
            "ClusterRoleBinding system:coredns",
            "ConfigMap kube-system/coredns",
            "Deployment kube-system/coredns",
            "Service kube-system/kube-dns",
            "PodDisruptionBudget kube-system/coredns",
        ]
    );
}

#[test]
fn what_is_not_wanted_is_not_there() {
    let mut cluster = fixtures::ha_kubernetes();
    cluster.kube_master = None;
    cluster.objects.coredns = None;
    assert_eq!(ids(&cluster).len(), 3);
    assert!(ids(&fixtures::single_k3s()).is_empty(), "k3s ships its own");
    assert!(ids(&fixtures::three_member_etcd()).is_empty());
}

#[test]
fn every_object_says_what_it_is_and_claims_nothing_that_it_does_not_mean() {
    fn has_null(value: &Value) -> bool {
        match value {
            Value::Null => true,
            Value::Array(items) => items.iter().any(has_null),
            Value::Object(entries) => entries.values().any(has_null),
            _ => false,
        }
    }
    for object in objects(&with_acme()).into_iter().chain(objects(&with_pool())) {
        assert_eq!(object.value["kind"], object.id.kind.as_str());
        assert_eq!(object.value["apiVersion"], object.api_version().as_str());
        assert_eq!(object.value["metadata"]["name"], object.id.name.as_str());
        assert!(!has_null(&object.value) && object.value.get("status").is_none(), "{}", object.id);
    }
}

#[test]
fn flannel_may_get_nodes_which_the_role_of_nixos_leaves_out() {
    let role = value(&fixtures::ha_kubernetes(), "ClusterRole", "machinist:flannel");
    assert_eq!(
        role["rules"],
        json!([
            { "apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"] },
            { "apiGroups": [""], "resources": ["nodes/status"], "verbs": ["patch"] },
        ])
    );
}

#[test]
fn users_are_those_that_the_certificates_name() {
    let cluster = fixtures::ha_kubernetes();
    for (kind, name, user) in [
        ("ClusterRoleBinding", "machinist:kubelet-api-admin", "kube-apiserver-kubelet-client"),
        ("ClusterRoleBinding", "machinist:flannel", "flannel-client"),
        ("RoleBinding", "machinist:kube-vip", "kube-vip"),
    ] {
        assert_eq!(value(&cluster, kind, name)["subjects"][0]["name"], user, "{name}");
    }
}

#[test]
fn behind_a_load_balancer_kube_vip_has_no_permission() {
    let mut cluster = fixtures::ha_kubernetes();
    cluster.kube_master.as_mut().unwrap().vip = machinist_model::Vip::External;
    assert!(ids(&cluster).iter().all(|id| !id.contains("kube-vip")));
    assert_eq!(ids(&cluster).len() + 2, ids(&fixtures::ha_kubernetes()).len());
}

fn corefile(cluster: &Cluster) -> String {
    value(cluster, "ConfigMap", "coredns")["data"]["Corefile"].as_str().unwrap().to_owned()
}

#[test]
fn dns_forwards_other_names_to_the_name_servers_of_machines_nix() {
    let mut cluster = fixtures::ha_kubernetes();
    assert!(corefile(&cluster).contains("\n    forward . /etc/resolv.conf {\n"));
    assert!(corefile(&cluster).contains("\n    kubernetes cluster.local in-addr.arpa ip6.arpa {\n"));
    // In a pod, that address is the pod's own: CoreDNS would query itself.
    cluster.network.nameservers = vec!["127.0.0.53".parse().unwrap()];
    assert!(corefile(&cluster).contains("forward . /etc/resolv.conf {"));
    cluster.network.nameservers.push("10.13.13.1".parse().unwrap());
    assert!(corefile(&cluster).contains("forward . 10.13.13.1 {"));
    cluster.objects.coredns.as_mut().unwrap().upstream =
        vec!["9.9.9.9".parse().unwrap(), "2620:fe::fe".parse().unwrap()];
    assert!(corefile(&cluster).contains("forward . 9.9.9.9 2620:fe::fe {"));
}

#[test]
fn dns_serves_at_the_address_that_pods_use() {
    let service = value(&fixtures::ha_kubernetes(), "Service", "kube-dns");
    assert_eq!(service["spec"]["clusterIP"], "10.96.0.10");
    let deployment = value(&fixtures::ha_kubernetes(), "Deployment", "coredns");
    assert_eq!(service["spec"]["selector"], deployment["spec"]["template"]["metadata"]["labels"]);
    assert_eq!(service["spec"]["selector"], deployment["spec"]["selector"]["matchLabels"]);
}

fn spread_by_node(cluster: &Cluster) -> Value {
    let deployment = value(cluster, "Deployment", "coredns");
    deployment["spec"]["template"]["spec"]["topologySpreadConstraints"][0]["whenUnsatisfiable"].clone()
}

#[test]
fn two_of_dns_never_share_a_node_where_all_nodes_take_them() {
    let mut cluster = fixtures::ha_kubernetes();
    assert_eq!(spread_by_node(&cluster), "DoNotSchedule");
    let node = cluster.nodes.get_mut(&NodeName::parse("cp1").unwrap()).unwrap();
    node.roles.remove(&Role::Worker);
    assert_eq!(spread_by_node(&cluster), "DoNotSchedule", "CoreDNS tolerates the taint of control planes");
    let node = cluster.nodes.get_mut(&NodeName::parse("w1").unwrap()).unwrap();
    node.taints = vec!["dedicated=db:NoSchedule".to_owned()];
    assert_eq!(spread_by_node(&cluster), "ScheduleAnyway", "a node that takes none would keep one pending");
}

#[test]
fn the_image_and_the_number_of_replicas_are_those_of_machines_nix() {
    let mut cluster = fixtures::ha_kubernetes();
    let coredns = cluster.objects.coredns.as_mut().unwrap();
    (coredns.image, coredns.replicas) = ("registry.magi.dev/coredns:v1.14.2".to_owned(), 1);
    let deployment = value(&cluster, "Deployment", "coredns");
    assert_eq!(deployment["spec"]["replicas"], 1);
    assert_eq!(deployment["spec"]["template"]["spec"]["containers"][0]["image"], "registry.magi.dev/coredns:v1.14.2");
    assert!(
        !ids(&cluster).iter().any(|id| id.starts_with("PodDisruptionBudget")),
        "a budget for one would block a drain"
    );
}

fn with_acme() -> Cluster {
    let mut cluster = fixtures::ha_kubernetes();
    cluster.objects.acme = Some(Acme { email: "ops@magi.dev".to_owned(), ingress_class: "traefik".to_owned() });
    cluster
}

#[test]
fn staging_and_production_stand_side_by_side_with_a_key_each() {
    let cluster = with_acme();
    let staging = value(&cluster, "ClusterIssuer", "letsencrypt-staging");
    let production = value(&cluster, "ClusterIssuer", "letsencrypt-production");
    assert!(staging["spec"]["acme"]["server"].as_str().unwrap().starts_with("https://acme-staging-v02."));
    assert!(production["spec"]["acme"]["server"].as_str().unwrap().starts_with("https://acme-v02."));
    let key = |issuer: &Value| issuer["spec"]["acme"]["privateKeySecretRef"]["name"].as_str().unwrap().to_owned();
    assert_eq!(
        (key(&staging), key(&production)),
        ("letsencrypt-staging-account-key".into(), "letsencrypt-production-account-key".into())
    );
    assert_eq!(staging["spec"]["acme"]["solvers"][0]["http01"]["ingress"]["ingressClassName"], "traefik");
}

#[test]
fn nodes_are_marked_with_their_roles_labels_and_zone() {
    let mut cluster = fixtures::ha_kubernetes();
    let node = cluster.nodes.get_mut(&NodeName::parse("cp1").unwrap()).unwrap();
    node.labels.insert("zone".to_owned(), "a".to_owned());
    node.roles.remove(&Role::Worker);
    let marks = nodes(&cluster);
    assert_eq!(marks.iter().map(|marks| marks.name.as_str()).collect::<Vec<_>>(), ["cp1", "cp2", "cp3", "w1"]);
    let labels: Vec<String> = marks[0].labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(
        labels,
        [
            "machinist.dev/cluster=magi",
            "node-role.kubernetes.io/control-plane=",
            "node-role.kubernetes.io/etcd=",
            "topology.kubernetes.io/zone=a",
            "zone=a",
        ]
    );
    assert_eq!(marks[0].taints, ["node-role.kubernetes.io/control-plane=:NoSchedule"]);
    assert!(marks[3].taints.is_empty());
    let before = marks[3].digest();
    cluster.nodes.get_mut(&NodeName::parse("w1").unwrap()).unwrap().taints.push("a=b:NoSchedule".to_owned());
    assert_ne!(nodes(&cluster)[3].digest(), before);
}

fn with_pool() -> Cluster {
    let mut cluster = fixtures::ha_kubernetes();
    let pool = ["10.13.101.0/24", "10.13.102.7-10.13.102.9"].iter().map(|text| text.parse().unwrap()).collect();
    let image = "registry.magi.dev/kube-vip-cloud-provider:v0.0.12".to_owned();
    cluster.objects.load_balancer = Some(LoadBalancer { pool, image });
    cluster
}

#[test]
fn a_pool_brings_the_controller_that_assigns_its_addresses() {
    let cluster = with_pool();
    let before = ids(&fixtures::ha_kubernetes());
    let added: Vec<String> = ids(&cluster).into_iter().filter(|id| !before.contains(id)).collect();
    assert_eq!(
        added,
        [
            "ClusterRole machinist:kube-vip-services",
            "ClusterRoleBinding machinist:kube-vip-services",
            "ServiceAccount kube-system/kube-vip-cloud-provider",
            "ClusterRole machinist:kube-vip-cloud-provider",
            "ClusterRoleBinding machinist:kube-vip-cloud-provider",
            "Role kube-system/machinist:kube-vip-cloud-provider",
            "RoleBinding kube-system/machinist:kube-vip-cloud-provider",
            "ConfigMap kube-system/kubevip",
            "Deployment kube-system/kube-vip-cloud-provider",
        ]
    );
    let settings = value(&cluster, "ConfigMap", "kubevip");
    assert_eq!(settings["data"], json!({ "range-global": "10.13.101.0-10.13.101.255,10.13.102.7-10.13.102.9" }));
    let deployment = value(&cluster, "Deployment", "kube-vip-cloud-provider");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "registry.magi.dev/kube-vip-cloud-provider:v0.0.12");
    assert_eq!(container["securityContext"]["runAsNonRoot"], true);
}

#[test]
fn neither_the_controller_nor_kube_vip_reads_secrets_or_pods() {
    let cluster = with_pool();
    for (kind, name) in [
        ("ClusterRole", "machinist:kube-vip-services"),
        ("ClusterRole", "machinist:kube-vip-cloud-provider"),
        ("Role", "machinist:kube-vip-cloud-provider"),
    ] {
        for rule in value(&cluster, kind, name)["rules"].as_array().unwrap() {
            let resources: Vec<&str> = rule["resources"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            assert!(!resources.iter().any(|name| ["secrets", "pods", "*"].contains(name)), "{name}: {resources:?}");
            assert!(!rule["verbs"].as_array().unwrap().contains(&json!("*")), "{name}: {rule}");
        }
    }
    let subject = &value(&cluster, "ClusterRoleBinding", "machinist:kube-vip-services")["subjects"][0];
    assert_eq!(subject["name"], "kube-vip");
}
