//! Syntax of names, and uniqueness.

use std::collections::HashMap;

use super::{Context, machine_path};
use crate::{
    NodeName,
    codes::Code,
    defaults,
    name::NameError,
    path::AttrPath,
    report::{Finding, Report},
};

/// Returns the finding that a name is not an RFC 1123 label.
pub fn bad_name(path: &AttrPath, error: &NameError) -> Finding {
    let why = "it becomes a host name and appears in certificates and etcd's member list";
    let text = match error {
        NameError::Empty => "",
        NameError::TooLong(text, _) | NameError::Invalid(text) => text,
    };
    Finding::new(Code::BadName, path.clone(), error.to_string(), why)
        .maybe_help(suggestion(text).map(|name| format!("write {name}")))
}

/// Returns the name with invalid characters replaced.
fn suggestion(text: &str) -> Option<String> {
    let replaced: String =
        text.to_lowercase().chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect();
    let name = replaced.trim_matches('-');
    NodeName::parse(name).is_ok().then(|| name.to_owned())
}

/// Checks that machine names are RFC 1123 labels that differ in more than case.
pub fn machines(context: &Context<'_>, report: &mut Report) {
    let mut seen: HashMap<String, &String> = HashMap::with_capacity(context.shape.machines.len());
    for name in context.shape.machines.keys() {
        let path = machine_path(name);
        if let Err(error) = NodeName::parse(name) {
            report.push(bad_name(&path, &error));
        }
        match seen.get(&name.to_lowercase()) {
            Some(first) => {
                let why = "DNS does not distinguish upper and lower case";
                let message = format!("`{name}` and `{first}` are the same name");
                let finding = Finding::new(Code::DuplicateName, path, message, why).help("rename one of them");
                report.push(finding.related(machine_path(first), format!("`{first}` is here")));
            }
            None => drop(seen.insert(name.to_lowercase(), name)),
        }
    }
}

/// Checks that the cluster's name is an RFC 1123 label.
pub fn cluster(context: &Context<'_>, report: &mut Report) {
    if let Some(Err(error)) = context.shape.cluster.name.as_deref().map(NodeName::parse) {
        report.push(bad_name(&AttrPath::of("cluster.name"), &error));
    }
}

/// Checks that the API endpoint has a DNS name that no machine has.
pub fn endpoint(context: &Context<'_>, report: &mut Report) {
    let Some(endpoint) = &context.shape.kube_master else { return };
    let name = endpoint.name.as_deref().unwrap_or(defaults::API_NAME);
    let path = AttrPath::of("kubeMaster.name");
    if !is_domain(name) {
        let message = format!("`{name}` is not a DNS name");
        let why = "users and kubelets resolve it, and it is a SAN of the API servers' certificates";
        report.push(
            Finding::new(Code::BadName, path, message, why)
                .maybe_help(suggestion(name).map(|name| format!("write \"{name}\""))),
        );
        return;
    }
    let domain = context.shape.cluster.name.as_deref().map(|cluster| defaults::domain(&context.shape.cluster, cluster));
    let label = domain.and_then(|domain| name.strip_suffix(&format!(".{domain}")).map(str::to_owned));
    let label = label.as_deref().unwrap_or(name);
    if context.shape.machines.contains_key(label) {
        let message = format!("`{name}` is the name of a machine");
        let why = "the name would resolve to the machine's own address or to the virtual IP";
        let finding = Finding::new(Code::DuplicateName, path, message, why)
            .help("write a name that no machine uses, such as \"api\"");
        report.push(finding.related(machine_path(label), "this machine"));
    }
}

/// Checks that operators have plain, distinct names.
pub fn operators(context: &Context<'_>, report: &mut Report) {
    let list = AttrPath::of("cluster.operators");
    let mut seen: HashMap<&str, AttrPath> = HashMap::new();
    for (position, operator) in context.shape.cluster.operators.iter().enumerate() {
        let Some(name) = operator.name.as_deref() else { continue };
        let path = list.join(position).join("name");
        if !is_operator_name(name) {
            let message = format!("{name:?} is not a valid operator name");
            let why = "it appears in lists of recipients and in generated files";
            let help = "write 1 to 64 of a-z, A-Z, 0-9, ., _, @ and -, starting with a letter or digit";
            report.push(Finding::new(Code::BadName, path.clone(), message, why).help(help));
        }
        if let Some(first) = seen.get(name) {
            let why = "operators are distinguished by name";
            let finding = Finding::new(Code::DuplicateName, path, format!("`{name}` is listed twice"), why);
            report.push(finding.help("rename one of them").related(first.clone(), "first here"));
        } else {
            seen.insert(name, path);
        }
    }
}

fn is_operator_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'@' | b'-');
    name.len() <= 64 && name.bytes().all(plain) && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
}

/// Returns whether the text is one or more RFC 1123 labels with dots between, of at most 253 characters.
pub fn is_domain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(|label| NodeName::parse(label).is_ok())
}
