//! Control plane and API endpoint.

use super::{Context, machine_path, role_path};
use crate::{
    NodeName, Orchestrator, Role, Vip,
    codes::Code,
    near,
    path::AttrPath,
    report::{Finding, Report},
    shape::{KubeMasterShape, OneOrTwo, Shape, VipMode},
};

const COUNTED: [&str; 4] = ["roles", "enable", "nixos", "orchestrator"];

/// Returns the mode of the virtual IP: as written, otherwise BGP if a Router or AS number is given, otherwise ARP.
pub fn mode(endpoint: &KubeMasterShape) -> VipMode {
    let hints_at_bgp = endpoint.gateway.is_some() || endpoint.node_as.is_some();
    endpoint.mode.unwrap_or(if hints_at_bgp { VipMode::Bgp } else { VipMode::Arp })
}

/// Returns the validated virtual IP, or the first finding that rules it out.
pub fn vip(shape: &Shape, endpoint: &KubeMasterShape) -> Result<Vip, Box<Finding>> {
    match mode(endpoint) {
        VipMode::Arp => return Ok(Vip::Arp),
        VipMode::External => return Ok(Vip::External),
        VipMode::Bgp => {}
    }
    if let Some(finding) = bgp_findings(shape, endpoint).into_iter().next() {
        return Err(Box::new(finding));
    }
    let gateway = endpoint.gateway.as_deref().unwrap_or_default();
    let router = shape.machines.get(gateway).and_then(|machine| machine.bgp.router_as);
    match (NodeName::parse(gateway), endpoint.node_as, router) {
        (Ok(gateway), Some(node_as), Some(router_as)) => {
            Ok(Vip::Bgp { gateway, node_as, router_as, password: endpoint.bgp_password })
        }
        _ => Err(Box::new(without_router())),
    }
}

fn without_router() -> Finding {
    let why = "nodes announce the virtual IP to a Router, whose address and AS number must be known";
    Finding::new(Code::BgpIncomplete, AttrPath::of("kubeMaster.gateway"), "BGP without a Router", why)
        .help("write gateway = \"router\", the name of a machine with bgp.as; or mode = \"arp\"")
}

/// Returns a finding for each setting that BGP needs and that is missing.
fn bgp_findings(shape: &Shape, endpoint: &KubeMasterShape) -> Vec<Finding> {
    let mut findings = Vec::new();
    if endpoint.node_as.is_none() {
        let why = "each side of a BGP session has an AS number";
        let path = AttrPath::of("kubeMaster.as");
        let finding = Finding::new(Code::BgpIncomplete, path, "BGP without the nodes' AS number", why);
        findings.push(finding.help("write as = 64512, or another number for private use; or mode = \"arp\""));
    }
    let Some(gateway) = &endpoint.gateway else {
        findings.push(without_router());
        return findings;
    };
    match shape.machines.get(gateway) {
        None => findings.push(unknown_router(shape, gateway)),
        Some(machine) if machine.roles.contains(&Role::ControlPlane) => {
            let why = "kube-vip only opens connections, so control planes cannot peer with each other";
            let path = AttrPath::of("kubeMaster.gateway");
            let finding = Finding::new(Code::UnknownRouter, path, format!("{gateway} is a control plane itself"), why)
                .help("name the machine that routes for the nodes");
            findings.push(finding.related(role_path(gateway, machine, Role::ControlPlane), "a control plane"));
        }
        Some(machine) if machine.bgp.router_as.is_none() => {
            let why = "each side of a BGP session has an AS number";
            let path = machine_path(gateway).join("bgp").join("as");
            let finding = Finding::new(Code::BgpIncomplete, path, "the Router has no AS number", why)
                .help(format!("write machines.{gateway}.bgp.as = 64513"));
            findings.push(finding.related(AttrPath::of("kubeMaster.gateway"), "makes it the Router"));
        }
        Some(_) => {}
    }
    findings
}

fn unknown_router(shape: &Shape, gateway: &str) -> Finding {
    let by_address = gateway.parse::<std::net::IpAddr>().ok().and_then(|address| {
        let has_it = |ip: &OneOrTwo<_>| ip.iter().any(|own| *own == address);
        shape
            .machines
            .iter()
            .find(|(_, machine)| machine.ip.as_ref().is_some_and(has_it))
            .map(|(name, _)| name.as_str())
    });
    let help = match by_address.or_else(|| near::nearest(gateway, shape.machines.keys().map(String::as_str))) {
        Some(name) => format!("write gateway = \"{name}\""),
        None if gateway.parse::<std::net::IpAddr>().is_ok() => format!(
            "write gateway = \"router\" and machines.router = {{ ip = \"{gateway}\"; nixos = false; bgp.as = 64513; }}"
        ),
        None => format!(
            "add machines.{gateway} = {{ ip = \"...\"; nixos = false; bgp.as = 64513; }}, or name an existing machine"
        ),
    };
    let why = "the Router's address and AS number are taken from its machine";
    let message = format!("there is no machine \"{gateway}\"");
    Finding::new(Code::UnknownRouter, AttrPath::of("kubeMaster.gateway"), message, why).help(help)
}

/// Checks that the settings of BGP are complete.
pub fn bgp(context: &Context<'_>, report: &mut Report) {
    let Some(endpoint) = &context.shape.kube_master else { return };
    if report.is_broken(&AttrPath::of("kubeMaster.mode")) {
        return;
    }
    if mode(endpoint) != VipMode::Bgp {
        without_bgp(endpoint, report);
        return;
    }
    for finding in bgp_findings(context.shape, endpoint) {
        if !report.is_broken(&finding.path) {
            report.push(finding);
        }
    }
}

/// Names settings of BGP that have no effect without it. With ARP, `gateway` and `as` would have chosen BGP.
fn without_bgp(endpoint: &KubeMasterShape, report: &mut Report) {
    let settings = [
        ("gateway", endpoint.gateway.is_some()),
        ("as", endpoint.node_as.is_some()),
        ("bgpPassword", endpoint.bgp_password),
    ];
    for (name, _) in settings.into_iter().filter(|(_, is_set)| *is_set) {
        let path = AttrPath::of("kubeMaster").join(name);
        let why = "only BGP has it";
        let finding = Finding::new(Code::WithoutEffect, path, format!("`{name}` has no effect"), why);
        report.push(finding.help("leave it out, or write mode = \"bgp\" with `gateway` and `as`"));
    }
}

/// Checks that no AS number is a reserved one.
pub fn as_numbers(context: &Context<'_>, report: &mut Report) {
    let endpoint = context.shape.kube_master.as_ref().and_then(|endpoint| endpoint.node_as);
    let routers = context.shape.machines.iter().filter_map(|(name, machine)| Some((name, machine.bgp.router_as?)));
    let routers = routers.map(|(name, number)| (machine_path(name).join("bgp").join("as"), number));
    for (path, number) in endpoint.map(|number| (AttrPath::of("kubeMaster.as"), number)).into_iter().chain(routers) {
        // RFC 7607, RFC 6793, RFC 7300.
        if [0, 23456, 65535, u32::MAX].contains(&number) {
            let why = "BGP speakers refuse reserved AS numbers (RFC 7607, RFC 6793, RFC 7300)";
            let finding = Finding::new(Code::AsNumberOutOfRange, path, format!("AS number {number} is reserved"), why);
            report.push(finding.help("for private use choose one from 64512 to 65534 (RFC 6996)"));
        }
    }
}

/// Checks that Kubernetes has a control plane, and that the role is used only with an orchestrator.
pub fn control_plane(context: &Context<'_>, report: &mut Report) {
    if report.is_count_unreliable(&COUNTED) {
        return;
    }
    let first = context.with_role(Role::ControlPlane).next();
    match (context.shape.cluster.orchestrator, first) {
        (Some(Orchestrator::Kubernetes | Orchestrator::K3s), None) if context.taking_part().next().is_some() => {
            let path = AttrPath::of("cluster.orchestrator");
            let why = "without a control plane there is no API server";
            let finding = Finding::new(Code::NoControlPlane, path, "no machine has the role `control-plane`", why);
            report.push(finding.help("give one or three machines the role: roles = [ \"control-plane\" ... ]"));
        }
        (None, Some((name, machine))) => {
            let others = context.with_role(Role::ControlPlane).count() - 1;
            let others = if others == 0 { String::new() } else { format!(" (nor on {others} more)") };
            let message = format!("the role `control-plane` has no effect on {name}{others}");
            let why = "cluster.orchestrator is null, so there is nothing to control";
            let path = role_path(name, machine, Role::ControlPlane);
            let finding = Finding::new(Code::WithoutEffect, path, message, why);
            report.push(finding.help("write cluster.orchestrator = \"kubernetes\", or leave the role out"));
        }
        _ => {}
    }
}

/// Checks that several control planes of Kubernetes share one endpoint.
pub fn endpoint(context: &Context<'_>, report: &mut Report) {
    let path = AttrPath::of("kubeMaster");
    let is_kubernetes = context.shape.cluster.orchestrator == Some(Orchestrator::Kubernetes);
    if !is_kubernetes || context.shape.kube_master.is_some() || report.is_broken(&path) {
        return;
    }
    let mut planes = context.with_role(Role::ControlPlane);
    if let (Some((name, machine)), true) = (planes.next(), planes.next().is_some()) {
        let n = context.with_role(Role::ControlPlane).count();
        let why = "kubelets and users need one address that stays up while any control plane is up";
        let finding =
            Finding::new(Code::NoApiEndpoint, path, format!("{n} control planes have no common address"), why)
                .help("write kubeMaster = { ip = \"<a free address of network.nodes>\"; mode = \"arp\"; }");
        report.push(finding.related(role_path(name, machine, Role::ControlPlane), "one of them"));
    }
}

/// Checks that at most one k3s server forms the cluster.
pub fn initial_servers(context: &Context<'_>, report: &mut Report) {
    let is_k3s = context.shape.cluster.orchestrator == Some(Orchestrator::K3s);
    let mut first: Option<&String> = None;
    for (name, machine) in context.shape.machines.iter().filter(|(_, machine)| machine.enable && machine.cluster_init) {
        let path = machine_path(name).join("clusterInit");
        if !is_k3s {
            if !report.is_broken(&AttrPath::of("cluster.orchestrator")) {
                let why = "only k3s has a server that forms the cluster";
                report.push(
                    Finding::new(Code::WithoutEffect, path, "`clusterInit` has no effect", why).help("leave it out"),
                );
            }
            continue;
        }
        if !machine.nixos || !machine.roles.contains(&Role::ControlPlane) {
            let why = "only a k3s server can form the cluster";
            let finding = Finding::new(Code::InitialServers, path, format!("{name} is not a k3s server"), why);
            report.push(finding.help("give it the role `control-plane`, or set clusterInit on a machine that has it"));
        } else if let Some(first) = first {
            let why = "each would form a separate cluster, and the two would never join";
            let message = format!("both {first} and {name} would form the cluster");
            let finding = Finding::new(Code::InitialServers, path, message, why)
                .help("keep it on one server; the others join")
                .related(machine_path(first).join("clusterInit"), "the first one");
            report.push(finding);
        } else {
            first = Some(name);
        }
    }
}
