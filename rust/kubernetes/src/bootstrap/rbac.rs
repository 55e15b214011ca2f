//! RBAC rules for the users named in the certificates. Certificates carry users and groups only.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject};
use machinist_model::Cluster;

use super::{SYSTEM, named, texts, typed};
use crate::object::Object;

const GROUP: &str = "rbac.authorization.k8s.io";

/// Access of the API servers to kubelets, of flannel, and of kube-vip if there is a virtual address.
pub fn objects(cluster: &Cluster) -> Vec<Object> {
    let kubelets = cluster_binding(
        "machinist:kubelet-api-admin",
        // Kubernetes' built-in role: logs, exec, metrics.
        "system:kubelet-api-admin",
        user("kube-apiserver-kubelet-client"),
    );
    let flannel = ClusterRole {
        metadata: named("machinist:flannel", None, &[]),
        rules: Some(vec![
            // NixOS' own role has no `get`, which flannel needs.
            rule("", &["nodes"], &["get", "list", "watch"]),
            rule("", &["nodes/status"], &["patch"]),
        ]),
        aggregation_rule: None,
    };
    let flannel_binding = cluster_binding("machinist:flannel", "machinist:flannel", user("flannel-client"));
    let mut objects = vec![typed(&kubelets), typed(&flannel), typed(&flannel_binding)];
    if cluster.has_own_vip() {
        objects.extend(kube_vip());
    }
    if cluster.objects.load_balancer.is_some() {
        objects.extend(kube_vip_of_services());
    }
    objects.into_iter().flatten().collect()
}

/// With ARP, kube-vip elects the node that answers for the address. With BGP it needs no permission.
fn kube_vip() -> [Option<Object>; 2] {
    let role = Role {
        metadata: named("machinist:kube-vip", Some(SYSTEM), &[]),
        rules: Some(vec![rule("coordination.k8s.io", &["leases"], &["get", "list", "watch", "create", "update"])]),
    };
    [typed(&role), typed(&binding("machinist:kube-vip", SYSTEM, user("kube-vip")))]
}

/// kube-vip follows Services and their endpoints, and writes a Service's address into its status and the node into an
/// annotation. With ARP it elects the node
/// that answers for the address, by a lease in the namespace of the Service.
fn kube_vip_of_services() -> [Option<Object>; 2] {
    let name = "machinist:kube-vip-services";
    let role = ClusterRole {
        metadata: named(name, None, &[]),
        rules: Some(vec![
            rule("", &["services"], &["get", "list", "watch", "update"]),
            rule("", &["services/status"], &["update"]),
            rule("discovery.k8s.io", &["endpointslices"], &["get", "list", "watch"]),
            rule("coordination.k8s.io", &["leases"], &["get", "create", "update"]),
        ]),
        aggregation_rule: None,
    };
    [typed(&role), typed(&cluster_binding(name, name, user("kube-vip")))]
}

/// A binding of a ClusterRole.
pub fn cluster_binding(name: &str, role: &str, subject: Subject) -> ClusterRoleBinding {
    ClusterRoleBinding {
        metadata: named(name, None, &[]),
        role_ref: RoleRef { api_group: Some(GROUP.into()), kind: "ClusterRole".into(), name: role.into() },
        subjects: Some(vec![subject]),
    }
}

/// A binding of a Role to one subject; both have the same name.
pub fn binding(name: &str, namespace: &str, subject: Subject) -> RoleBinding {
    RoleBinding {
        metadata: named(name, Some(namespace), &[]),
        role_ref: RoleRef { api_group: Some(GROUP.into()), kind: "Role".into(), name: name.into() },
        subjects: Some(vec![subject]),
    }
}

fn user(name: &str) -> Subject {
    Subject { api_group: Some(GROUP.into()), kind: "User".into(), name: name.into(), namespace: None }
}

/// A rule for resources of one group.
pub fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> PolicyRule {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    PolicyRule {
        api_groups: Some(texts([group])),
        resources: Some(owned(resources)),
        verbs: owned(verbs),
        ..PolicyRule::default()
    }
}
