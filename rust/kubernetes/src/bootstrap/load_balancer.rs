//! kube-vip-cloud-provider, which assigns addresses to Services of type LoadBalancer. kube-vip announces them.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec},
        core::v1::{
            Capabilities, ConfigMap, Container, HTTPGetAction, PodSpec, PodTemplateSpec, Probe, ResourceRequirements,
            SecurityContext, ServiceAccount, Toleration, TopologySpreadConstraint,
        },
        rbac::v1::{ClusterRole, Role, Subject},
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use machinist_model::LoadBalancer;

use super::{SYSTEM, named, node::CONTROL_PLANE, rbac, texts, typed};
use crate::object::Object;

const NAME: &str = "kube-vip-cloud-provider";
const APP: (&str, &str) = ("app.kubernetes.io/name", NAME);
/// The ConfigMap and its key for all namespaces (`pkg/provider` of 0.0.12).
const SETTINGS: &str = "kubevip";
const POOL: &str = "range-global";
/// The lease of the active replica.
const LEASE: &str = "kube-vip-cloud-controller";
/// The port of `/healthz`, which needs no permission.
const PORT: i32 = 10258;
/// Replicas, of which one is active: the loss of a node leaves new Services without an address for seconds only.
const REPLICAS: i32 = 2;

/// All objects of the controller.
pub fn objects(balancer: &LoadBalancer) -> Vec<Object> {
    let account = ServiceAccount { metadata: named(NAME, Some(SYSTEM), &[APP]), ..ServiceAccount::default() };
    let subject =
        Subject { kind: "ServiceAccount".into(), name: NAME.into(), namespace: Some(SYSTEM.into()), api_group: None };
    let name = "machinist:kube-vip-cloud-provider";
    let everywhere = ClusterRole {
        metadata: named(name, None, &[]),
        rules: Some(vec![
            rbac::rule("", &["services"], &["get", "list", "watch", "update"]),
            rbac::rule("", &["services/status"], &["patch"]),
            rbac::rule("", &["nodes"], &["list", "watch"]),
            rbac::rule("", &["events"], &["create", "patch"]),
        ]),
        aggregation_rule: None,
    };
    let own = Role {
        metadata: named(name, Some(SYSTEM), &[]),
        rules: Some(vec![
            rbac::rule("", &["configmaps"], &["get"]),
            rbac::rule("coordination.k8s.io", &["leases"], &["get", "create", "update"]),
        ]),
    };
    let objects = [
        typed(&account),
        typed(&everywhere),
        typed(&rbac::cluster_binding(name, name, subject.clone())),
        typed(&own),
        typed(&rbac::binding(name, SYSTEM, subject)),
        typed(&settings(balancer)),
        typed(&deployment(balancer)),
    ];
    objects.into_iter().flatten().collect()
}

/// The pool, which the controller reads for each Service.
fn settings(balancer: &LoadBalancer) -> ConfigMap {
    let pool: Vec<String> = balancer.pool.iter().map(ToString::to_string).collect();
    ConfigMap {
        metadata: named(SETTINGS, Some(SYSTEM), &[APP]),
        data: Some([(POOL.to_owned(), pool.join(","))].into()),
        ..ConfigMap::default()
    }
}

fn deployment(balancer: &LoadBalancer) -> Deployment {
    Deployment {
        metadata: named(NAME, Some(SYSTEM), &[APP]),
        spec: Some(DeploymentSpec {
            replicas: Some(REPLICAS),
            selector: selector(),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { name: None, ..named("", None, &[APP]) }),
                spec: Some(pod(balancer)),
            },
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

fn selector() -> LabelSelector {
    LabelSelector {
        match_labels: Some(BTreeMap::from([(APP.0.to_owned(), APP.1.to_owned())])),
        match_expressions: None,
    }
}

fn pod(balancer: &LoadBalancer) -> PodSpec {
    PodSpec {
        priority_class_name: Some("system-cluster-critical".into()),
        service_account_name: Some(NAME.into()),
        node_selector: Some(BTreeMap::from([("kubernetes.io/os".to_owned(), "linux".to_owned())])),
        tolerations: Some(vec![Toleration {
            key: Some(CONTROL_PLANE.into()),
            operator: Some("Exists".into()),
            effect: Some("NoSchedule".into()),
            ..Toleration::default()
        }]),
        topology_spread_constraints: Some(vec![TopologySpreadConstraint {
            max_skew: 1,
            topology_key: "kubernetes.io/hostname".into(),
            when_unsatisfiable: "ScheduleAnyway".into(),
            label_selector: Some(selector()),
            ..TopologySpreadConstraint::default()
        }]),
        containers: vec![container(balancer)],
        ..PodSpec::default()
    }
}

fn container(balancer: &LoadBalancer) -> Container {
    let amounts = [("cpu", "10m"), ("memory", "32Mi")];
    Container {
        name: NAME.into(),
        image: Some(balancer.image.clone()),
        image_pull_policy: Some("IfNotPresent".into()),
        command: Some(texts(["/kube-vip-cloud-provider"])),
        args: Some(vec![format!("--leader-elect-resource-name={LEASE}")]),
        resources: Some(ResourceRequirements {
            limits: Some(BTreeMap::from([("memory".to_owned(), Quantity("128Mi".into()))])),
            requests: Some(amounts.map(|(key, amount)| (key.to_owned(), Quantity(amount.to_owned()))).into()),
            ..ResourceRequirements::default()
        }),
        liveness_probe: Some(Probe {
            http_get: Some(HTTPGetAction {
                path: Some("/healthz".into()),
                port: IntOrString::Int(PORT),
                scheme: Some("HTTPS".into()),
                ..HTTPGetAction::default()
            }),
            initial_delay_seconds: Some(30),
            timeout_seconds: Some(5),
            ..Probe::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            run_as_user: Some(65534),
            capabilities: Some(Capabilities { add: None, drop: Some(texts(["ALL"])) }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}
