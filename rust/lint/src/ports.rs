//! Checks of the port chain: Ingress, Service, container. Each link must refer to an existing port of the next one.

use serde_json::Value;

use crate::{
    Finding, Set,
    item::{Item, list, text},
    missing::missing,
    selectors::selects,
};

/// Checks all chains.
pub fn check(set: &Set<'_>, findings: &mut Vec<Finding>) {
    for item in set.items {
        match item.kind {
            "Ingress" => ingress(set, item, findings),
            "Service" => service(set, item, findings),
            _ => {}
        }
        probes(item, findings);
    }
}

fn ingress(set: &Set<'_>, item: &Item<'_>, findings: &mut Vec<Finding>) {
    let mut backends = vec!["/spec/defaultBackend".to_owned()];
    for (rule, _) in list(item.value, "/spec/rules") {
        let paths = list(item.value, &format!("{rule}/http/paths"));
        backends.extend(paths.into_iter().map(|(path, _)| format!("{path}/backend")));
    }
    for backend in backends {
        let Some(name) = text(item.value, &format!("{backend}/service/name")) else { continue };
        if item.declares("Service", name) {
            continue;
        }
        let Some(service) = set.find("Service", item.namespace, name) else {
            let message = format!("{} routes to the Service {name}, which does not exist", item.title());
            let finding = item.error("ingress-service", &format!("{backend}/service/name"), message);
            findings.push(finding.hint(missing(set, "Service", item.namespace, name)));
            continue;
        };
        let port = format!("{backend}/service/port");
        let (number, named) =
            (item.value.pointer(&format!("{port}/number")), text(item.value, &format!("{port}/name")));
        let ports = list(service.value, "/spec/ports");
        let has = |port: &Value| match (number, named) {
            (Some(number), _) => port.get("port") == Some(number),
            (None, Some(name)) => text(port, "/name") == Some(name),
            (None, None) => true,
        };
        if !ports.iter().any(|(_, port)| has(port)) {
            let wanted = named.map_or_else(|| number.map(ToString::to_string).unwrap_or_default(), str::to_owned);
            let message = format!("the Service {name} has no port {wanted}");
            let has: Vec<String> = ports.iter().map(|(_, port)| describe(port, "port")).collect();
            findings.push(item.error("ingress-port", &port, message).hint(format!("it has {}", or_none(&has))));
        }
    }
}

fn service(set: &Set<'_>, item: &Item<'_>, findings: &mut Vec<Finding>) {
    let Some(selector) = item.value.pointer("/spec/selector").filter(|selector| selector.is_object()) else { return };
    let pods = set.of_pods(item.namespace, |labels| selects(selector, labels));
    if pods.is_empty() {
        return;
    }
    for (at, port) in list(item.value, "/spec/ports") {
        let target = port.get("targetPort").or_else(|| port.get("port"));
        let Some(target) = target else { continue };
        for (owner, pod) in &pods {
            let ports: Vec<&Value> = pod
                .containers()
                .into_iter()
                .flat_map(|(_, container)| container.get("ports").and_then(Value::as_array).into_iter().flatten())
                .collect();
            let meets = |found: &&Value| match target {
                Value::String(name) => text(found, "/name") == Some(name),
                number => found.get("containerPort") == Some(number),
            };
            // A container need not declare its ports; if it declares some, but not this one, it listens elsewhere.
            let says_nothing = ports.is_empty() && target.is_number();
            if says_nothing || ports.iter().any(meets) {
                continue;
            }
            let wanted = target.as_str().map_or_else(|| target.to_string(), str::to_owned);
            let message = format!("{} has no container with the port {wanted}", owner.title());
            let has: Vec<String> = ports.iter().map(|port| describe(port, "containerPort")).collect();
            let key = if port.get("targetPort").is_some() { "targetPort" } else { "port" };
            let finding = item.error("service-port", &format!("{at}/{key}"), message);
            findings.push(finding.hint(format!("its containers have {}", or_none(&has))));
        }
    }
}

/// Checks that probes use named ports of the same container.
fn probes(item: &Item<'_>, findings: &mut Vec<Finding>) {
    let Some(pod) = item.pod() else { return };
    for (at, container) in pod.containers() {
        let ports: Vec<&Value> = container.get("ports").and_then(Value::as_array).into_iter().flatten().collect();
        for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
            for action in ["httpGet", "tcpSocket"] {
                let Some(name) = text(container, &format!("/{probe}/{action}/port")) else { continue };
                if !ports.iter().any(|port| text(port, "/name") == Some(name)) {
                    let message = format!("the {probe} uses the port {name}, which its container does not have");
                    let has: Vec<String> = ports.iter().map(|port| describe(port, "containerPort")).collect();
                    let finding = item.error("probe-port", &format!("{at}/{probe}/{action}/port"), message);
                    findings.push(finding.hint(format!("it has {}", or_none(&has))));
                }
            }
        }
    }
}

fn describe(port: &Value, key: &str) -> String {
    let number = port.get(key).map(ToString::to_string).unwrap_or_default();
    text(port, "/name").map_or(number.clone(), |name| format!("{name} ({number})"))
}

fn or_none(list: &[String]) -> String {
    if list.is_empty() { "no declared port".to_owned() } else { list.join(", ") }
}
