//! Removed and deprecated API versions, fields and annotations, with their replacements (Kubernetes, "Deprecated API
//! Migration Guide").

use crate::{
    Finding,
    item::{Item, at, text, texts},
};

/// `apiVersion`, kind (`*` for all), the minor version that removed it, its replacement.
const GONE: &[(&str, &str, u16, &str)] = &[
    ("extensions/v1beta1", "Ingress", 22, "networking.k8s.io/v1"),
    ("networking.k8s.io/v1beta1", "Ingress", 22, "networking.k8s.io/v1"),
    ("networking.k8s.io/v1beta1", "IngressClass", 22, "networking.k8s.io/v1"),
    ("extensions/v1beta1", "*", 16, "apps/v1 or networking.k8s.io/v1"),
    ("apps/v1beta1", "*", 16, "apps/v1"),
    ("apps/v1beta2", "*", 16, "apps/v1"),
    ("policy/v1beta1", "PodDisruptionBudget", 25, "policy/v1"),
    ("policy/v1beta1", "PodSecurityPolicy", 25, "the label pod-security.kubernetes.io/enforce of a Namespace"),
    ("batch/v1beta1", "CronJob", 25, "batch/v1"),
    ("autoscaling/v2beta1", "*", 25, "autoscaling/v2"),
    ("autoscaling/v2beta2", "*", 26, "autoscaling/v2"),
    ("rbac.authorization.k8s.io/v1beta1", "*", 22, "rbac.authorization.k8s.io/v1"),
    ("rbac.authorization.k8s.io/v1alpha1", "*", 22, "rbac.authorization.k8s.io/v1"),
    ("apiextensions.k8s.io/v1beta1", "*", 22, "apiextensions.k8s.io/v1"),
    ("admissionregistration.k8s.io/v1beta1", "*", 22, "admissionregistration.k8s.io/v1"),
    ("scheduling.k8s.io/v1beta1", "*", 22, "scheduling.k8s.io/v1"),
    ("storage.k8s.io/v1beta1", "*", 22, "storage.k8s.io/v1"),
    ("discovery.k8s.io/v1beta1", "*", 25, "discovery.k8s.io/v1"),
    ("coordination.k8s.io/v1beta1", "*", 22, "coordination.k8s.io/v1"),
    ("node.k8s.io/v1beta1", "*", 25, "node.k8s.io/v1"),
    ("flowcontrol.apiserver.k8s.io/v1beta1", "*", 26, "flowcontrol.apiserver.k8s.io/v1"),
    ("flowcontrol.apiserver.k8s.io/v1beta2", "*", 29, "flowcontrol.apiserver.k8s.io/v1"),
    ("flowcontrol.apiserver.k8s.io/v1beta3", "*", 32, "flowcontrol.apiserver.k8s.io/v1"),
];

/// Annotation and its replacement.
const ANNOTATIONS: &[(&str, &str)] = &[
    ("kubernetes.io/ingress.class", "spec.ingressClassName"),
    ("seccomp.security.alpha.kubernetes.io/pod", "spec.securityContext.seccompProfile"),
    ("service.beta.kubernetes.io/azure-load-balancer-tcp-idle-timeout", "a field of the cloud's own service"),
    ("volume.beta.kubernetes.io/storage-class", "spec.storageClassName"),
    ("scheduler.alpha.kubernetes.io/critical-pod", "spec.priorityClassName"),
];

/// Node label and its replacement.
const NODE_LABELS: &[(&str, &str)] = &[
    ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
    ("beta.kubernetes.io/os", "kubernetes.io/os"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("node-role.kubernetes.io/master", "node-role.kubernetes.io/control-plane"),
];

/// Checks one object.
pub fn check(item: &Item<'_>, minor: u16, findings: &mut Vec<Finding>) {
    if let Some((version, kind, gone, instead)) = gone(item) {
        let hint = format!("write {instead}");
        findings.push(if minor >= gone {
            let message = format!("Kubernetes 1.{gone} removed {kind} of {version}");
            item.error("removed-api", "/apiVersion", message).hint(hint)
        } else {
            let message = format!("Kubernetes 1.{gone} removes {kind} of {version}");
            item.warning("removed-api", "/apiVersion", message).hint(hint)
        });
    }
    let annotations = texts(item.value, "/metadata/annotations");
    for (annotation, instead) in ANNOTATIONS.iter().filter(|(annotation, _)| annotations.contains_key(*annotation)) {
        let message = format!("the annotation {annotation} is deprecated");
        let place = at("/metadata/annotations", annotation);
        findings.push(item.warning("deprecated", &place, message).hint(format!("write {instead}")));
    }
    let Some(pod) = item.pod() else { return };
    let spec = format!("{}/spec", pod.base);
    for (label, instead) in NODE_LABELS {
        let place = at(&format!("{spec}/nodeSelector"), label);
        if item.value.pointer(&place).is_some() {
            let message = format!("the label {label} of nodes is deprecated");
            findings.push(item.warning("deprecated", &place, message).hint(format!("write {instead}")));
        }
    }
    if text(item.value, &format!("{spec}/serviceAccount")).is_some() {
        let message = "the field serviceAccount is deprecated";
        let place = format!("{spec}/serviceAccount");
        findings.push(item.warning("deprecated", &place, message).hint("write serviceAccountName"));
    }
}

/// Returns the row that applies to the object.
pub fn gone<'a>(item: &Item<'a>) -> Option<(&'static str, &'a str, u16, &'static str)> {
    let row = GONE
        .iter()
        .find(|(version, kind, _, _)| *version == item.api_version && (*kind == "*" || *kind == item.kind))?;
    Some((row.0, item.kind, row.2, row.3))
}
