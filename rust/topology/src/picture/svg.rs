//! SVG, one page for browsers: ways of traffic, machines in their failure domains, and failures.
//!
//! It follows the reader's light or dark setting, and says in words whatever it says in colours.

mod canvas;

use self::canvas::{Canvas, LINE, MARGIN, PADDING, Style, WIDTH, text_width};
use super::words;
use crate::{
    failure::Failure,
    service::Kind,
    topology::{Machine, Network, Stop, Tolerated, Topology},
};

/// Width of a machine's box.
const MACHINE: u32 = 226;

/// Distance between boxes.
const GAP: u32 = 12;

/// Draws the topology as a page.
#[must_use]
pub fn draw(topology: &Topology) -> String {
    let mut canvas = Canvas::default();
    canvas.down(GAP);
    canvas.line(MARGIN, Style::Title, &topology.cluster);
    canvas.line(MARGIN, Style::Dim, &topology.networks.iter().map(network).collect::<Vec<_>>().join("   "));
    if !topology.paths.is_empty() {
        canvas.heading("Traffic");
        topology.paths.iter().for_each(|path| way(&mut canvas, topology, path));
    }
    canvas.heading("Machines");
    groups(&mut canvas, topology);
    if !topology.services.is_empty() {
        canvas.heading("What may fail, whichever it is");
        topology.services.iter().for_each(|service| tolerance(&mut canvas, topology, service));
    }
    canvas.heading("What a failure takes");
    failures(&mut canvas, topology);
    canvas.finish(&topology.cluster, "Machines of the cluster, what stands on them, and what a failure takes")
}

fn network(network: &Network) -> String {
    let parts = [Some(network.name.as_str()), network.range.as_deref(), network.transport.as_deref()];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Returns the style of a service's chip: one for each kind.
fn style(topology: &Topology, stop: &Stop) -> Style {
    let Stop::Service(name) = stop else { return Style::Plain };
    let service = topology.services.iter().find(|service| service.service.name == *name);
    service.map_or(Style::Plain, |service| Style::Kind(service.service.kind))
}

fn way(canvas: &mut Canvas, topology: &Topology, path: &[Stop]) {
    let mut x = MARGIN;
    for (number, stop) in path.iter().enumerate() {
        if number > 0 {
            canvas.arrow(x);
            x += 2 * GAP;
        }
        x += canvas.chip(x, style(topology, stop), stop.name());
    }
    canvas.down(LINE + GAP);
}

/// Group of machines with its place on the page.
struct Block<'a> {
    title: Option<String>,
    machines: Vec<&'a Machine>,
    columns: u32,
    height: u32,
}

impl<'a> Block<'a> {
    fn new(topology: &Topology, title: Option<String>, machines: Vec<&'a Machine>) -> Self {
        let most = (WIDTH - 2 * MARGIN - GAP) / (MACHINE + GAP);
        let columns = u32::try_from(machines.len()).unwrap_or(most).clamp(1, most);
        let mut block = Self { title, machines, columns, height: LINE + 2 * GAP };
        block.height += block.rows().map(|row| row_height(topology, row) + GAP).sum::<u32>();
        block
    }

    const fn width(&self) -> u32 {
        self.columns * (MACHINE + GAP) + GAP
    }

    fn rows(&self) -> impl Iterator<Item = &[&'a Machine]> {
        self.machines.chunks(usize::try_from(self.columns).unwrap_or(1))
    }
}

/// Draws the groups side by side, as many as fit, and then below.
fn groups(canvas: &mut Canvas, topology: &Topology) {
    let blocks = words::groups(topology).into_iter();
    let (mut x, mut lowest) = (MARGIN, canvas.y());
    for block in blocks.map(|(title, machines)| Block::new(topology, title, machines)) {
        if x > MARGIN && x + block.width() > WIDTH - MARGIN {
            canvas.back_to(lowest);
            x = MARGIN;
        }
        let top = canvas.y();
        group(canvas, topology, &block, x);
        lowest = lowest.max(top + block.height + GAP);
        canvas.back_to(top);
        x += block.width() + GAP;
    }
    canvas.back_to(lowest);
}

fn group(canvas: &mut Canvas, topology: &Topology, block: &Block<'_>, x: u32) {
    if let Some(title) = &block.title {
        canvas.frame(x, canvas.y(), block.width(), block.height);
        canvas.line(x + GAP, Style::Strong, title);
    } else {
        canvas.down(LINE);
    }
    canvas.down(GAP);
    for row in block.rows() {
        let height = row_height(topology, row);
        for (column, machine) in (0..).zip(row) {
            self::machine(canvas, topology, machine, x + GAP + column * (MACHINE + GAP), height);
        }
        canvas.down(height + GAP);
    }
}

fn row_height(topology: &Topology, row: &[&Machine]) -> u32 {
    row.iter().map(|machine| height(topology, machine)).max().unwrap_or(0)
}

/// Returns the lines of a machine's box, without its services.
fn lines(topology: &Topology, machine: &Machine) -> Vec<(Style, String)> {
    let health = topology.health.get(&machine.name).map(|health| {
        let style = if health.healthy { Style::Good } else { Style::Bad };
        (style, health.says.clone())
    });
    let plain = [(Style::Strong, machine.name.to_string()), (Style::Dim, machine.ip.clone())];
    let roles = (Style::Dim, words::roles(machine));
    plain.into_iter().chain([roles]).chain(health).map(|(style, line)| (style, cut(&line))).collect()
}

/// Cuts a line to the width of a machine's box.
fn cut(line: &str) -> String {
    let fits = usize::try_from((MACHINE - 2 * PADDING) / text_width("0")).unwrap_or(0);
    if line.chars().count() <= fits {
        return line.to_owned();
    }
    line.chars().take(fits.saturating_sub(1)).chain(['…']).collect()
}

/// Returns the names of the services that stand on the machine, in rows that fit into its box.
fn chips<'a>(topology: &'a Topology, machine: &Machine) -> Vec<Vec<(Kind, &'a str)>> {
    let mut rows: Vec<Vec<(Kind, &str)>> = Vec::new();
    let mut left = 0;
    let on_it = topology.services.iter().filter(|service| service.service.machines().contains(&machine.name));
    for Tolerated { service, .. } in on_it {
        let width = text_width(&service.name) + 2 * PADDING;
        match rows.last_mut() {
            Some(row) if width + PADDING <= left => row.push((service.kind, &service.name)),
            _ => {
                rows.push(vec![(service.kind, &service.name)]);
                left = MACHINE - 2 * PADDING;
            }
        }
        left = left.saturating_sub(width + PADDING);
    }
    rows
}

fn height(topology: &Topology, machine: &Machine) -> u32 {
    let lines = u32::try_from(lines(topology, machine).len()).unwrap_or(0);
    let rows = u32::try_from(chips(topology, machine).len()).unwrap_or(0);
    lines * LINE + rows * (LINE + PADDING) + 3 * PADDING
}

fn machine(canvas: &mut Canvas, topology: &Topology, machine: &Machine, x: u32, height: u32) {
    let top = canvas.y();
    let is_bad = topology.health.get(&machine.name).is_some_and(|health| !health.healthy);
    canvas.machine(x, top, MACHINE, height, is_bad);
    canvas.down(PADDING);
    for (style, line) in lines(topology, machine) {
        canvas.line(x + PADDING, style, &line);
    }
    canvas.down(PADDING);
    for row in chips(topology, machine) {
        let mut at = x + PADDING;
        for (kind, name) in row {
            at += canvas.chip(at, Style::Kind(kind), name) + PADDING;
        }
        canvas.down(LINE + PADDING);
    }
    canvas.back_to(top);
}

fn tolerance(canvas: &mut Canvas, topology: &Topology, service: &Tolerated) {
    let needs: Vec<String> = service.service.needs.iter().map(words::need).collect();
    let width = canvas.chip(MARGIN, Style::Kind(service.service.kind), &service.service.name);
    let text = format!("needs {}; {}", needs.join(", "), words::tolerance(service, &topology.divisions));
    canvas.line(MARGIN + width.max(160) + GAP, Style::Plain, &text);
    canvas.down(GAP / 2);
}

fn failures(canvas: &mut Canvas, topology: &Topology) {
    let taking: Vec<&Failure> = topology.failures.iter().filter(|failure| !failure.lost.is_empty()).collect();
    if taking.is_empty() {
        canvas.line(MARGIN, Style::Good, "No single failure takes a service.");
    }
    for failure in taking {
        let text = format!("{} {} takes {}", failure.kind, failure.domain, failure.lost.join(", "));
        canvas.line(MARGIN, Style::Bad, &text);
    }
}
