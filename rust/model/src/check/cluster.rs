//! Single values of the cluster: release and domain, and at least one machine to deploy.

use super::{Context, names::is_domain};
use crate::{
    Orchestrator,
    codes::Code,
    defaults,
    path::AttrPath,
    report::{Finding, Report},
};

/// Longest domain, in characters: a node name of 63 characters and a dot fit before it, within the 253 of a DNS name.
const LONGEST_DOMAIN: usize = 190 - 1;

/// Checks release, domain and machines.
pub fn check(context: &Context<'_>, report: &mut Report) {
    let cluster = &context.shape.cluster;
    if let Some(release) = cluster.release.as_deref().filter(|release| !is_release(release)) {
        let message = format!("\"{release}\" is not a NixOS release");
        let why = "the release determines options and versions";
        let finding = Finding::new(Code::BadRelease, AttrPath::of("cluster.release"), message, why);
        report.push(finding.help(format!("write YY.MM with the month 05 or 11, such as \"{}\"", defaults::RELEASE)));
    }
    kubernetes(context, report);
    if let Some(domain) = cluster.domain.as_deref().filter(|domain| domain.len() > LONGEST_DOMAIN || !is_domain(domain))
    {
        let message = format!("\"{domain}\" is not a DNS domain");
        let why = "node names are <node>.<domain>, also in certificates";
        let plain = domain.trim_matches('.').to_lowercase();
        let help = if plain != domain && is_domain(&plain) {
            format!("write \"{plain}\"")
        } else {
            "write a domain such as \"magi.internal\"".to_owned()
        };
        report.push(Finding::new(Code::BadDomain, AttrPath::of("cluster.domain"), message, why).help(help));
    }
    let machines = AttrPath::of("machines");
    let is_reliable = !report.is_count_unreliable(&["enable", "nixos"]);
    if context.taking_part().next().is_none() && is_reliable && !report.is_broken(&machines) {
        let why = "no machine is enabled and has nixos = true";
        let finding = Finding::new(Code::NoMachines, machines, "there is nothing to deploy", why);
        report.push(finding.help("write machines.cp1 = { ip = \"...\"; roles = [ \"etcd\" ]; }"));
    }
}

/// Checks that the Kubernetes versions of the release are known.
fn kubernetes(context: &Context<'_>, report: &mut Report) {
    let cluster = &context.shape.cluster;
    let Some(release) = cluster.release.as_deref().filter(|release| is_release(release)) else { return };
    if cluster.orchestrator != Some(Orchestrator::Kubernetes) || defaults::kubernetes_of(release).is_some() {
        return;
    }
    let message = format!("unknown Kubernetes version for NixOS {release}");
    let why = "the release determines the versions and their options";
    let known: Vec<String> = defaults::KUBERNETES_OF_RELEASES.iter().map(|(known, _)| format!("\"{known}\"")).collect();
    let finding = Finding::new(Code::UnknownKubernetes, AttrPath::of("cluster.release"), message, why);
    report.push(finding.help(format!("write {}, or use a newer machinist", known.join(" or "))));
}

fn is_release(text: &str) -> bool {
    let is_two_digits = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('.').is_some_and(|(year, month)| is_two_digits(year) && (month == "05" || month == "11"))
}
