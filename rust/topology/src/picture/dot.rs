//! DOT, the language of Graphviz.

use std::fmt::Write as _;

use super::words;
use crate::topology::{Machine, Stop, Topology};

/// Draws the topology as a directed graph.
#[must_use]
pub fn draw(topology: &Topology) -> String {
    let mut text = format!("digraph {} {{\n", quoted(&[&topology.cluster]));
    text.push_str("  node [shape=box, fontname=\"sans-serif\"];\n");
    for stop in topology.paths.iter().flatten().filter(|stop| matches!(stop, Stop::Outside(_))) {
        let line = format!("  {} [label={}, shape=plaintext];\n", id(stop), quoted(&[stop.name()]));
        if !text.contains(&line) {
            text.push_str(&line);
        }
    }
    for service in &topology.services {
        let needs: Vec<String> = service.service.needs.iter().map(words::need).collect();
        let tolerance = words::tolerance(service, &topology.divisions);
        let label = quoted(&[&service.service.name, &needs.join(", "), &tolerance]);
        push(&mut text, format_args!("  {} [label={label}, style=rounded];\n", service_id(&service.service.name)));
    }
    for (number, (title, machines)) in words::groups(topology).into_iter().enumerate() {
        match title {
            Some(title) => {
                push(&mut text, format_args!("  subgraph cluster_{number} {{\n    label={};\n", quoted(&[&title])));
                machines.into_iter().for_each(|machine| text.push_str(&node(topology, machine, "    ")));
                text.push_str("  }\n");
            }
            None => machines.into_iter().for_each(|machine| text.push_str(&node(topology, machine, "  "))),
        }
    }
    for (from, to) in super::edges(topology) {
        push(&mut text, format_args!("  {} -> {};\n", id(from), id(to)));
    }
    for service in &topology.services {
        for machine in service.service.machines() {
            let (from, to) = (service_id(&service.service.name), machine_id(machine.as_str()));
            push(&mut text, format_args!("  {from} -> {to} [style=dotted, arrowhead=none];\n"));
        }
    }
    text.push_str("}\n");
    text
}

fn node(topology: &Topology, machine: &Machine, indent: &str) -> String {
    let health = topology.health.get(&machine.name);
    let says = health.map_or("", |health| health.says.as_str());
    let color = match health.map(|health| health.healthy) {
        Some(true) => ", color=\"#1a7f37\"",
        Some(false) => ", color=\"#cf222e\", penwidth=2",
        None => "",
    };
    let roles = words::roles(machine);
    let label = quoted(&[machine.name.as_str(), &machine.ip, &roles, says]);
    format!("{indent}{} [label={label}{color}];\n", machine_id(machine.name.as_str()))
}

fn id(stop: &Stop) -> String {
    match stop {
        Stop::Outside(name) => quoted(&[&format!("outside {name}")]),
        Stop::Machine(name) => machine_id(name.as_str()),
        Stop::Service(name) => service_id(name),
    }
}

fn machine_id(name: &str) -> String {
    quoted(&[&format!("machine {name}")])
}

fn service_id(name: &str) -> String {
    quoted(&[&format!("service {name}")])
}

/// Returns the lines that are not empty as one quoted string.
fn quoted(lines: &[&str]) -> String {
    let escaped =
        lines.iter().filter(|line| !line.is_empty()).map(|line| line.replace('\\', "\\\\").replace('"', "\\\""));
    format!("\"{}\"", escaped.collect::<Vec<_>>().join("\\n"))
}

fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Formatting into a String cannot fail.
    let _infallible = text.write_fmt(line);
}
