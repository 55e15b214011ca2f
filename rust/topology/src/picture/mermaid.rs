//! Mermaid, which GitHub and GitLab draw in Markdown.

use std::{collections::BTreeMap, fmt::Write as _};

use super::words;
use crate::topology::{Machine, Stop, Topology};

/// Draws the topology as a flowchart.
#[must_use]
pub fn draw(topology: &Topology) -> String {
    let ids = ids(topology);
    let id = |stop: &Stop| ids.get(stop).map_or("unknown", String::as_str);
    let mut lines = vec!["flowchart TB".to_owned()];
    let outside = ids.keys().filter(|stop| matches!(stop, Stop::Outside(_)));
    lines.extend(outside.map(|stop| format!("  {}([{}])", id(stop), quoted(&[stop.name()]))));
    for service in &topology.services {
        let needs: Vec<String> = service.service.needs.iter().map(words::need).collect();
        let tolerance = words::tolerance(service, &topology.divisions);
        let label = quoted(&[&service.service.name, &needs.join(", "), &tolerance]);
        lines.push(format!("  {}({label})", id(&Stop::Service(service.service.name.clone()))));
    }
    for (number, (title, machines)) in words::groups(topology).into_iter().enumerate() {
        let node = |machine: &Machine| label(topology, machine, id(&Stop::Machine(machine.name.clone())));
        match title {
            Some(title) => {
                lines.push(format!("  subgraph group{number}[{}]", quoted(&[&title])));
                lines.extend(machines.into_iter().map(|machine| format!("  {}", node(machine))));
                lines.push("  end".to_owned());
            }
            None => lines.extend(machines.into_iter().map(node)),
        }
    }
    lines.extend(super::edges(topology).into_iter().map(|(from, to)| format!("  {} --> {}", id(from), id(to))));
    for service in &topology.services {
        let from = id(&Stop::Service(service.service.name.clone()));
        let machines = service.service.machines().into_iter().cloned();
        lines.extend(machines.map(|machine| format!("  {from} -.- {}", id(&Stop::Machine(machine)))));
    }
    lines.extend(health(topology, &id));
    lines.into_iter().fold(String::new(), |mut text, line| {
        // Writing to a String cannot fail.
        let _infallible = writeln!(text, "{line}");
        text
    })
}

/// Returns an identifier for each thing: Mermaid's have no space, and some words are reserved.
fn ids(topology: &Topology) -> BTreeMap<Stop, String> {
    let outside = topology.paths.iter().flatten().filter(|stop| matches!(stop, Stop::Outside(_))).cloned();
    let services = topology.services.iter().map(|service| Stop::Service(service.service.name.clone()));
    let machines = topology.machines.iter().map(|machine| Stop::Machine(machine.name.clone()));
    let mut ids = BTreeMap::new();
    for stop in outside.chain(services).chain(machines) {
        let letter = match stop {
            Stop::Outside(_) => 'o',
            Stop::Machine(_) => 'm',
            Stop::Service(_) => 's',
        };
        let number = ids.len();
        ids.entry(stop).or_insert_with(|| format!("{letter}{number}"));
    }
    ids
}

fn label(topology: &Topology, machine: &Machine, id: &str) -> String {
    let says = topology.health.get(&machine.name).map_or("", |health| health.says.as_str());
    format!("  {id}[{}]", quoted(&[machine.name.as_str(), &machine.ip, &words::roles(machine), says]))
}

fn health<'a>(topology: &Topology, id: &impl Fn(&Stop) -> &'a str) -> Vec<String> {
    if topology.health.is_empty() {
        return Vec::new();
    }
    let classes = ["  classDef good stroke:#1a7f37,stroke-width:2px", "  classDef bad stroke:#cf222e,stroke-width:3px"];
    let drawn = topology.machines.iter().filter_map(|machine| Some((machine, topology.health.get(&machine.name)?)));
    let machines = drawn.map(|(machine, health)| {
        let class = if health.healthy { "good" } else { "bad" };
        format!("  class {} {class}", id(&Stop::Machine(machine.name.clone())))
    });
    classes.into_iter().map(str::to_owned).chain(machines).collect()
}

/// Returns the lines that are not empty as one quoted string, with Mermaid's entity codes.
fn quoted(lines: &[&str]) -> String {
    let escape = |line: &&str| {
        let escaped = line.replace('#', "#35;").replace('"', "#quot;");
        escaped.replace('<', "#lt;").replace('>', "#gt;")
    };
    let lines: Vec<String> = lines.iter().filter(|line| !line.is_empty()).map(escape).collect();
    format!("\"{}\"", lines.join("<br/>"))
}
