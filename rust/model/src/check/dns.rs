//! The `dns` section: names that can be published, each once, and targets that exist.

use std::{collections::BTreeMap, net::IpAddr};

use super::{Context, names::is_domain};
use crate::{
    NodeName, Role,
    codes::Code,
    defaults,
    dns::as_relative,
    near,
    path::AttrPath,
    report::{Finding, Report},
    shape::DnsShape,
};

/// Seconds that both providers accept, and that end within a day.
const TTL: std::ops::RangeInclusive<u32> = 60..=86_400;

/// Checks the section.
pub fn check(context: &Context<'_>, report: &mut Report) {
    let Some(dns) = &context.shape.dns else { return };
    let Some(zone) = dns.zone.as_deref() else { return };
    let path = AttrPath::of("dns.zone");
    if !is_domain(zone) || !zone.contains('.') {
        let message = format!("{zone:?} is not a zone");
        let why = "a zone is a domain name in lower case without a final dot";
        report.push(Finding::new(Code::BadRecord, path, message, why).help("write zone = \"example.com\";"));
        return;
    }
    if let Some(ttl) = dns.ttl.filter(|ttl| !TTL.contains(ttl)) {
        let message = format!("{ttl} s is no time for a record");
        let why = "the providers accept 60 s and more, and a mistake must end within a day";
        let finding = Finding::new(Code::BadRecord, AttrPath::of("dns.ttl"), message, why);
        report.push(finding.help("write 60 to 86400 seconds, such as ttl = 300;"));
    }
    names(context, dns, zone, report);
    ingress(context, dns, report);
    for (name, targets) in &dns.records {
        let path = AttrPath::of("dns.records").join(name);
        if targets.is_empty() {
            let finding = Finding::new(Code::BadRecord, path.clone(), "a name without targets", "it would not resolve");
            report.push(finding.help("write addresses or machines, such as [ \"w1\" ]"));
        }
        for (position, target) in targets.iter().enumerate() {
            exists(context, &path.join(position), target, report);
        }
    }
}

/// Each name is valid, and is written once.
fn names(context: &Context<'_>, dns: &DnsShape, zone: &str, report: &mut Report) {
    let listed =
        dns.ingress.iter().enumerate().map(|(position, name)| (AttrPath::of("dns.ingress").join(position), name));
    let named = dns.records.keys().map(|name| (AttrPath::of("dns.records").join(name), name));
    let mut seen: BTreeMap<String, AttrPath> = machines(context, dns, zone);
    for (path, written) in listed.chain(named) {
        let name = as_relative(written, zone);
        if !is_record_name(&name, zone) {
            let message = format!("{written:?} is not a name of a record in {zone}");
            let why = "labels have a-z, 0-9 and -; `@` is the zone itself, a first label `*` any other name";
            let finding = Finding::new(Code::BadRecord, path, message, why);
            report.push(finding.help("write for example \"@\", \"www\" or \"*.apps\""));
            continue;
        }
        match seen.get(&name) {
            Some(first) => {
                let why = "a name has its addresses from one place";
                let finding = Finding::new(Code::DuplicateName, path, format!("`{name}` has records already"), why);
                report.push(finding.help("leave out one of them").related(first.clone(), "first here"));
            }
            None => drop(seen.insert(name, path)),
        }
    }
}

/// Returns the names of the machines' own records.
fn machines(context: &Context<'_>, dns: &DnsShape, zone: &str) -> BTreeMap<String, AttrPath> {
    let cluster = &context.shape.cluster;
    let domain = cluster.name.as_deref().map(|name| defaults::domain(cluster, name));
    let below = domain.and_then(|domain| crate::dns::relative(&domain, zone)).filter(|below| below != "@");
    let own = context.taking_part().filter(|_| dns.nodes).map(|(name, _)| {
        let record = below.as_ref().map_or_else(|| name.clone(), |below| format!("{name}.{below}"));
        (record, super::machine_path(name))
    });
    own.collect()
}

/// Returns true if the text is a relative name that both providers take.
fn is_record_name(name: &str, zone: &str) -> bool {
    if name == "@" || name == "*" {
        return true;
    }
    // The record of the owner has a longer name.
    let length = name.len() + zone.len() + "_machinist._any..".len();
    length <= 253 && name.strip_prefix("*.").unwrap_or(name).split('.').all(|label| NodeName::parse(label).is_ok())
}

fn ingress(context: &Context<'_>, dns: &DnsShape, report: &mut Report) {
    if dns.ingress.is_empty() || context.with_role(Role::Ingress).next().is_some() {
        return;
    }
    let why = "they lead to the machines with the role `ingress`";
    let message = "names of an ingress, and no machine is one";
    let finding = Finding::new(Code::BadRecord, AttrPath::of("dns.ingress"), message, why);
    report.push(finding.help("give a machine the role \"ingress\", or write the names into dns.records"));
}

/// A target that is neither an address nor a pattern is a machine.
fn exists(context: &Context<'_>, path: &AttrPath, target: &str, report: &mut Report) {
    let pattern = target.starts_with('@') || target.contains(['=', '*', '?', '[', '{']);
    if pattern || target.parse::<IpAddr>().is_ok() || context.taking_part().any(|(name, _)| name == target) {
        return;
    }
    let machines = context.taking_part().map(|(name, _)| name.as_str());
    let help = near::nearest(target, machines).map(|near| format!("did you mean \"{near}\"?"));
    let why = "a record leads to addresses, or to machines that machinist deploys";
    let message = format!("{target:?} is neither an address nor a machine");
    report.push(Finding::new(Code::BadRecord, path.clone(), message, why).maybe_help(help));
}
