//! Objects that machinist creates: CoreDNS, ClusterIssuers, labels and taints of nodes.

use std::net::IpAddr;

use super::{Context, machine_path, names::is_domain};
use crate::{
    Orchestrator,
    codes::Code,
    defaults,
    path::AttrPath,
    report::{Finding, Report},
    shape::{AcmeShape, CoreDnsShape, KubernetesShape},
};

/// Upper limit of DNS replicas; no cluster needs more.
const MOST_REPLICAS: u16 = 100;

/// Checks the section `kubernetes`.
pub fn section(context: &Context<'_>, report: &mut Report) {
    let section = &context.shape.kubernetes;
    let path = AttrPath::of("kubernetes");
    if report.is_broken(&path) {
        return;
    }
    without_effect(context, section, report);
    coredns(context, &section.coredns, report);
    if let Some(acme) = &section.acme {
        issuers(acme, report);
    }
}

fn without_effect(context: &Context<'_>, section: &KubernetesShape, report: &mut Report) {
    let orchestrator = context.shape.cluster.orchestrator;
    if report.is_broken(&AttrPath::of("cluster.orchestrator")) {
        return;
    }
    let has_objects = matches!(orchestrator, Some(Orchestrator::Kubernetes | Orchestrator::K3s));
    let (path, why) = if !has_objects && *section != KubernetesShape::default() {
        ("kubernetes", "only the orchestrators kubernetes and k3s have objects")
    } else if orchestrator == Some(Orchestrator::K3s) && section.coredns != CoreDnsShape::default() {
        ("kubernetes.coredns", "k3s includes CoreDNS")
    } else if orchestrator == Some(Orchestrator::K3s) && section.load_balancer.is_some() {
        ("kubernetes.loadBalancer", "k3s includes a load balancer: machinist.k3s.serviceLoadBalancer")
    } else {
        return;
    };
    let finding = Finding::new(Code::WithoutEffect, AttrPath::of(path), format!("`{path}` has no effect"), why);
    report.push(finding.help("leave it out"));
}

fn coredns(context: &Context<'_>, shape: &CoreDnsShape, report: &mut Report) {
    let base = AttrPath::of("kubernetes.coredns");
    image(&base, shape.image.as_deref(), defaults::COREDNS_IMAGE, report);
    if let Some(replicas) = shape.replicas.filter(|replicas| !(1..=MOST_REPLICAS).contains(replicas)) {
        let message = format!("{replicas} replicas of CoreDNS are out of range");
        let why = "two replicas on different nodes survive the loss of one";
        let finding = Finding::new(Code::BadDns, base.join("replicas"), message, why);
        report.push(finding.help(format!("write 1 to {MOST_REPLICAS}")));
    }
    let dns = defaults::dns(context.shape);
    for (position, server) in shape.upstream.iter().enumerate() {
        if let Some(why) = unfit_upstream(*server, dns) {
            let path = base.join("upstream").join(position);
            let message = format!("CoreDNS cannot forward queries to {server}");
            let finding = Finding::new(Code::BadDns, path, message, why);
            report.push(finding.help("write the address of a name server of your network, or leave `upstream` out"));
        }
    }
}

/// Checks that the image of an object is pinned; `default` is the one without it.
pub fn image(base: &AttrPath, image: Option<&str>, default: &str, report: &mut Report) {
    if let Some((image, why)) = image.and_then(|image| Some((image, unpinned(image)?))) {
        let finding = Finding::new(Code::BadImage, base.join("image"), format!("{image:?} is not a pinned image"), why);
        report.push(finding.help(format!("write a version, such as {default:?}")));
    }
}

fn unfit_upstream(server: IpAddr, dns: Option<IpAddr>) -> Option<&'static str> {
    match server {
        _ if Some(server) == dns => Some("it is the address of CoreDNS itself: queries would loop"),
        _ if server.is_loopback() => Some("a loopback address in a pod is the pod itself: queries would loop"),
        _ if server.is_unspecified() || server.is_multicast() => Some("it is not the address of a machine"),
        _ => None,
    }
}

/// Returns why the image reference is invalid or not pinned to one image.
fn unpinned(image: &str) -> Option<&'static str> {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let is_plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    // The port of a registry comes before a slash.
    let (path, tag) = match name.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (name, None),
    };
    let is_lower = !path.bytes().any(|byte| byte.is_ascii_uppercase());
    if !is_plain(path) || !is_lower || tag.is_some_and(|tag| !is_plain(tag) || tag.contains('/')) {
        return Some("an image reference is registry/name:tag, with the name in lower case");
    }
    match (digest, tag) {
        (Some(digest), _) => {
            let hex = digest.strip_prefix("sha256:").unwrap_or_default();
            let is_digest = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
            (!is_digest).then_some("a digest is sha256: and 64 characters of a-f and 0-9")
        }
        (None, None | Some("latest")) => {
            Some("without a version, each node runs the newest image of the time when it pulled it")
        }
        (None, Some(_)) => None,
    }
}

fn issuers(acme: &AcmeShape, report: &mut Report) {
    let base = AttrPath::of("kubernetes.acme");
    if let Some((email, why)) = acme.email.as_deref().and_then(|email| Some((email, unfit_email(email)?))) {
        let message = format!("{email:?} is not a usable e-mail address for an ACME account");
        let finding = Finding::new(Code::BadAcme, base.join("email"), message, why);
        report.push(finding.help("write an e-mail address that is read"));
    }
    if let Some(class) = acme.ingress_class.as_deref().filter(|class| !is_domain(class)) {
        let why = "the name of an IngressClass is a DNS name: a-z, 0-9, dots and hyphens";
        let message = format!("{class:?} is not an IngressClass name");
        let finding = Finding::new(Code::BadAcme, base.join("ingressClass"), message, why);
        report.push(finding.help(format!("write a name such as {:?}", defaults::INGRESS_CLASS)));
    }
}

/// Returns why an ACME account cannot have the address. Let's Encrypt refuses domains reserved for examples (RFC 2606).
fn unfit_email(email: &str) -> Option<&'static str> {
    let syntax = "it does not have the form name@domain";
    let Some((name, domain)) = email.rsplit_once('@') else { return Some(syntax) };
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && !b"@,:;<>\"".contains(&byte));
    let lower = domain.to_ascii_lowercase();
    if !is_name || !is_domain(&lower) || !lower.contains('.') {
        return Some(syntax);
    }
    let is_example = ["example.com", "example.net", "example.org"].contains(&lower.as_str())
        || [".example", ".invalid", ".localhost", ".test"].iter().any(|end| lower.ends_with(end));
    is_example.then_some("Let's Encrypt refuses domains reserved for examples")
}

/// Checks for labels and taints that other components manage: the last writer wins, without any notice.
pub fn reserved(context: &Context<'_>, report: &mut Report) {
    if context.shape.cluster.orchestrator.is_none() {
        return;
    }
    for (name, machine) in &context.shape.machines {
        let path = machine_path(name);
        for key in machine.labels.keys() {
            if let Some(owner) = label_owner(key) {
                let message = format!("the label {key} is reserved");
                let finding = Finding::new(Code::ReservedLabel, path.join("labels").join(key), message, owner);
                report.push(finding.help("leave it out, or choose another key"));
            }
        }
        for (position, taint) in machine.taints.iter().enumerate() {
            let key = taint.split([':', '=']).next().unwrap_or_default();
            if let Some(owner) = taint_owner(key) {
                let message = format!("the taint {key} is reserved");
                let finding = Finding::new(Code::ReservedLabel, path.join("taints").join(position), message, owner);
                report.push(finding.help("leave it out; `kubectl cordon` keeps new pods away from a node"));
            }
        }
    }
}

/// Returns who manages the label. Source: kubernetes.io, "Well-Known Labels, Annotations and Taints".
fn label_owner(key: &str) -> Option<&'static str> {
    let (prefix, name) = key.split_once('/')?;
    match (prefix, name) {
        ("machinist.dev", _) => Some("machinist marks its own objects with it"),
        ("kubernetes.io" | "beta.kubernetes.io", "arch" | "hostname" | "os") => Some("the kubelet sets it"),
        ("node-role.kubernetes.io", "control-plane" | "etcd" | "ingress" | "worker") => {
            Some("machinist sets it from the roles of the machine")
        }
        _ => None,
    }
}

fn taint_owner(key: &str) -> Option<&'static str> {
    let is_condition = ["disk-pressure", "memory-pressure", "network-unavailable", "not-ready", "out-of-service"]
        .into_iter()
        .chain(["pid-pressure", "unreachable", "unschedulable"])
        .any(|condition| key.strip_prefix("node.kubernetes.io/") == Some(condition));
    is_condition.then_some("Kubernetes sets it from the state of the node")
}

#[cfg(test)]
mod tests {
    use super::{unfit_email, unpinned};

    #[test]
    fn an_image_is_pinned_by_a_version_or_a_digest() {
        let digest = format!("registry.k8s.io/coredns/coredns@sha256:{}", "a".repeat(64));
        for image in
            ["registry.k8s.io/coredns/coredns:v1.14.2", "localhost:5000/coredns:1", "coredns:v1", digest.as_str()]
        {
            assert_eq!(unpinned(image), None, "{image}");
        }
        for image in
            ["", "coredns", "coredns:latest", "localhost:5000/coredns", "a b:1", "CoreDNS:1", "a@sha256:12", "a:"]
        {
            assert!(unpinned(image).is_some(), "{image}");
        }
    }

    #[test]
    fn an_account_has_an_address_that_mail_reaches() {
        assert_eq!(unfit_email("ops@magi.dev"), None);
        assert_eq!(unfit_email("o.p+s@mail.Magi.dev"), None);
        for email in
            ["", "ops", "ops@", "@magi.dev", "ops@magi", "ops@example.org", "a@b.test", "a b@magi.dev", "<a@b.de>"]
        {
            assert!(unfit_email(email).is_some(), "{email}");
        }
    }
}
