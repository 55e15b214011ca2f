//! Checks of references to other objects: secrets, configuration, claims, accounts, issuers. These must exist.

use serde_json::Value;

use crate::{
    Finding, Set,
    item::{Item, Pod, list, text, texts},
    missing::missing,
};

/// The issuers that machinist creates if machines.nix has `kubernetes.acme`.
const OWN_ISSUERS: [&str; 2] = ["letsencrypt-production", "letsencrypt-staging"];
/// The annotations that make cert-manager create the secrets of an Ingress.
const ISSUERS: [&str; 2] = ["cert-manager.io/cluster-issuer", "cert-manager.io/issuer"];

/// Checks all references.
pub fn check(set: &Set<'_>, findings: &mut Vec<Finding>) {
    for item in set.items {
        if let Some(pod) = item.pod() {
            of_pod(set, item, &pod, findings);
        }
        match item.kind {
            "Ingress" => of_ingress(set, item, findings),
            "Certificate" if text(item.value, "/spec/issuerRef/kind") == Some("ClusterIssuer") => {
                issuer(set, item, "/spec/issuerRef/name", text(item.value, "/spec/issuerRef/name"), findings);
            }
            "StatefulSet" => named(set, item, "Service", "/spec/serviceName", findings),
            _ => {}
        }
    }
}

/// One reference of a pod: kind, pointer of its name, pointer of its key.
struct Reference {
    kind: &'static str,
    name: String,
    key: Option<String>,
}

fn of_pod(set: &Set<'_>, item: &Item<'_>, pod: &Pod<'_>, findings: &mut Vec<Finding>) {
    let mut references = Vec::new();
    let mut add = |kind, name: String, key: Option<String>| references.push(Reference { kind, name, key });
    for (at, _) in pod.containers() {
        for (at, _) in list(item.value, &format!("{at}/env")) {
            for (source, kind) in [("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")] {
                let at = format!("{at}/valueFrom/{source}");
                add(kind, format!("{at}/name"), Some(format!("{at}/key")));
            }
        }
        for (at, _) in list(item.value, &format!("{at}/envFrom")) {
            add("Secret", format!("{at}/secretRef/name"), None);
            add("ConfigMap", format!("{at}/configMapRef/name"), None);
        }
    }
    let spec = format!("{}/spec", pod.base);
    for (at, _) in list(item.value, &format!("{spec}/volumes")) {
        add("Secret", format!("{at}/secret/secretName"), None);
        add("ConfigMap", format!("{at}/configMap/name"), None);
        add("PersistentVolumeClaim", format!("{at}/persistentVolumeClaim/claimName"), None);
        for (at, _) in list(item.value, &format!("{at}/projected/sources")) {
            add("Secret", format!("{at}/secret/name"), None);
            add("ConfigMap", format!("{at}/configMap/name"), None);
        }
    }
    for (at, _) in list(item.value, &format!("{spec}/imagePullSecrets")) {
        add("Secret", format!("{at}/name"), None);
    }
    for reference in references {
        resolve(set, item, &reference, findings);
    }
    if text(item.value, &format!("{spec}/serviceAccountName")) != Some("default") {
        named(set, item, "ServiceAccount", &format!("{spec}/serviceAccountName"), findings);
    }
}

fn resolve(set: &Set<'_>, item: &Item<'_>, reference: &Reference, findings: &mut Vec<Finding>) {
    let Reference { kind, name: at, key } = reference;
    let Some(name) = text(item.value, at) else { return };
    let parent = at.rfind('/').map_or("", |end| &at[..end]);
    let is_optional = item.value.pointer(&format!("{parent}/optional")) == Some(&Value::Bool(true));
    if is_optional
        || item.declares(kind, name)
        || (*kind == "Secret" && is_made_by_cert_manager(set, item.namespace, name))
    {
        return;
    }
    let Some(found) = set.find(kind, item.namespace, name) else {
        let message = format!("{} needs the {kind} {name}, which does not exist", item.title());
        let finding = item.error("missing-object", at, message);
        findings.push(finding.hint(missing(set, kind, item.namespace, name)));
        return;
    };
    let Some((at, key)) = key.as_ref().and_then(|at| Some((at, text(item.value, at)?))) else { return };
    let keys: Vec<&String> = ["/data", "/stringData", "/binaryData"]
        .iter()
        .filter_map(|at| found.value.pointer(at)?.as_object())
        .flat_map(serde_json::Map::keys)
        .collect();
    if !keys.iter().any(|found| *found == key) {
        let message = format!("the {kind} {name} has no key {key}");
        let keys = keys.iter().map(|key| key.as_str()).collect::<Vec<_>>().join(", ");
        let keys = if keys.is_empty() { "no key".to_owned() } else { keys };
        findings.push(item.error("missing-key", at, message).hint(format!("it has {keys}")));
    }
}

/// A reference by name at a pointer.
fn named(set: &Set<'_>, item: &Item<'_>, kind: &'static str, at: &str, findings: &mut Vec<Finding>) {
    resolve(set, item, &Reference { kind, name: at.to_owned(), key: None }, findings);
}

fn of_ingress(set: &Set<'_>, item: &Item<'_>, findings: &mut Vec<Finding>) {
    let annotations = texts(item.value, "/metadata/annotations");
    if let Some(name) = annotations.get(ISSUERS[0]) {
        issuer(set, item, "/metadata/annotations/cert-manager.io~1cluster-issuer", Some(name), findings);
    }
    if ISSUERS.iter().any(|annotation| annotations.contains_key(*annotation)) {
        return;
    }
    for (at, _) in list(item.value, "/spec/tls") {
        named(set, item, "Secret", &format!("{at}/secretName"), findings);
    }
}

/// Returns `true` if cert-manager creates the secret for a Certificate or an Ingress.
fn is_made_by_cert_manager(set: &Set<'_>, namespace: &str, name: &str) -> bool {
    set.items.iter().filter(|item| item.namespace == namespace).any(|item| {
        let annotations = texts(item.value, "/metadata/annotations");
        let is_issued = ISSUERS.iter().any(|annotation| annotations.contains_key(*annotation));
        let secrets = list(item.value, "/spec/tls");
        (item.kind == "Certificate" && text(item.value, "/spec/secretName") == Some(name))
            || (item.kind == "Ingress"
                && is_issued
                && secrets.iter().any(|(_, tls)| text(tls, "/secretName") == Some(name)))
    })
}

fn issuer(set: &Set<'_>, item: &Item<'_>, at: &str, name: Option<&str>, findings: &mut Vec<Finding>) {
    let Some(name) = name.filter(|name| !OWN_ISSUERS.contains(name) && !item.declares("ClusterIssuer", name)) else {
        return;
    };
    let issuers: Vec<&str> =
        set.items.iter().filter(|item| item.kind == "ClusterIssuer").map(|item| item.name).chain(OWN_ISSUERS).collect();
    if !issuers.contains(&name) {
        let message = format!("{} uses the ClusterIssuer {name}, which does not exist", item.title());
        findings.push(item.error("missing-object", at, message).hint(format!("there are {}", issuers.join(", "))));
    }
}
