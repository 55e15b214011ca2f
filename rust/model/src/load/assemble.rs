//! Conversion of the checked shape to the cluster: defaults filled in, names and addresses typed.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use crate::{
    Acme, ApiEndpoint, Cluster, Control, CoreDns, DigitaloceanServer, DiskLayout, Dns, Gate, GateTest, HetznerServer,
    KeptDisk, LoadBalancer, Network, Node, NodeName, Objects, Operator, Orchestrator, Overlay, Provider, Ssh,
    check::{self, api, names},
    defaults,
    dns::as_relative,
    path::AttrPath,
    report::Finding,
    shape::{
        ControlShape, DigitaloceanShape, DiskFirmware, DiskShape, DnsShape, GateShape, HetznerShape, KeptDiskShape,
        KubeMasterShape, MachineShape, NetworkShape, RootFileSystem, Shape,
    },
};

fn gate(shape: &GateShape) -> Gate {
    let test = match &shape.http {
        Some(url) => GateTest::Http { url: url.clone(), status: shape.status.unwrap_or(defaults::GATE_STATUS) },
        None => GateTest::Command(shape.command.clone()),
    };
    Gate { test, timeout: shape.timeout.unwrap_or(defaults::GATE_TIMEOUT) }
}

/// Builds the cluster. The checks have already reported everything that could fail here; the errors are the same
/// findings.
pub fn assemble(shape: &Shape) -> Result<Cluster, Box<Finding>> {
    let cluster = AttrPath::of("cluster");
    let name = shape.cluster.name.clone().ok_or_else(|| Box::new(check::missing(&cluster.join("name"))))?;
    let mut operators = Vec::new();
    for (position, operator) in shape.cluster.operators.iter().enumerate() {
        let path = cluster.join("operators").join(position).join("name");
        let name = operator.name.clone().ok_or_else(|| Box::new(check::missing(&path)))?;
        // `builtins.readFile` of a key's file ends with a line break.
        let trimmed = |key: &Option<String>| key.as_deref().map(|key| key.trim().to_owned());
        operators.push(Operator { name, ssh: trimmed(&operator.ssh), age: trimmed(&operator.age) });
    }
    operators.sort_by(|a, b| a.name.cmp(&b.name));
    let mut nodes = std::collections::BTreeMap::new();
    for (name, machine) in &shape.machines {
        let node = node(name, machine, shape.network.control.is_some())?;
        nodes.insert(node.name.clone(), node);
    }
    Ok(Cluster {
        domain: defaults::domain(&shape.cluster, &name),
        orchestrator: shape.cluster.orchestrator,
        release: shape.cluster.release.clone().unwrap_or_else(|| defaults::RELEASE.to_owned()),
        operators,
        network: network(shape)?,
        kube_master: shape.kube_master.as_ref().map(|endpoint| api_endpoint(shape, endpoint)).transpose()?,
        dns: shape.dns.as_ref().map(dns).transpose()?,
        secrets: shape.secrets.iter().map(|(file, secret)| (file.clone(), secret.nodes.clone())).collect(),
        objects: objects(shape)?,
        nodes,
        name,
    })
}

fn objects(shape: &Shape) -> Result<Objects, Box<Finding>> {
    let coredns = &shape.kubernetes.coredns;
    let has_dns = coredns.enable && shape.cluster.orchestrator == Some(Orchestrator::Kubernetes);
    let acme = match &shape.kubernetes.acme {
        Some(acme) if defaults::uses_pods(shape) => {
            let missing = || Box::new(check::missing(&AttrPath::of("kubernetes.acme.email")));
            Some(Acme {
                email: acme.email.clone().ok_or_else(missing)?,
                ingress_class: acme.ingress_class.clone().unwrap_or_else(|| defaults::INGRESS_CLASS.to_owned()),
            })
        }
        _ => None,
    };
    Ok(Objects {
        coredns: has_dns.then(|| CoreDns {
            image: coredns.image.clone().unwrap_or_else(|| defaults::COREDNS_IMAGE.to_owned()),
            replicas: coredns.replicas.unwrap_or(defaults::COREDNS_REPLICAS),
            upstream: coredns.upstream.clone(),
        }),
        acme,
        load_balancer: load_balancer(shape),
    })
}

fn load_balancer(shape: &Shape) -> Option<LoadBalancer> {
    let found = shape.kubernetes.load_balancer.as_ref()?;
    // An invalid range is reported by a check.
    let pool: Vec<_> = found.pool.iter().filter_map(|text| text.parse().ok()).collect();
    let is_kubernetes = shape.cluster.orchestrator == Some(Orchestrator::Kubernetes);
    (is_kubernetes && !pool.is_empty()).then(|| LoadBalancer {
        pool,
        image: found.image.clone().unwrap_or_else(|| defaults::LOAD_BALANCER_IMAGE.to_owned()),
    })
}

fn network(shape: &Shape) -> Result<Network, Box<Finding>> {
    let NetworkShape { nodes, gateway, nameservers, overlay, .. } = &shape.network;
    let path = AttrPath::of("network.nodes");
    let (nodes, nodes6) = nodes
        .as_ref()
        .and_then(|nodes| v4_first(&nodes.0, |network| network.addr().is_ipv4()))
        .ok_or_else(|| Box::new(check::missing(&path)))?;
    let overlay = match overlay {
        Some(overlay) => {
            let path = AttrPath::of("network.overlay.backend");
            let backend = overlay.backend.ok_or_else(|| Box::new(check::missing(&path)))?;
            Some(Overlay { backend, network: overlay.network.map(|network| network.trunc()) })
        }
        None => None,
    };
    let control = shape.network.control.as_ref().map(control).transpose()?;
    Ok(Network {
        nodes: nodes.trunc(),
        nodes6: nodes6.map(|network| network.trunc()),
        gateway: *gateway,
        nameservers: nameservers.clone(),
        pods: truncated(&defaults::pods(shape)),
        services: truncated(&defaults::services(shape)),
        dns: defaults::dns(shape),
        overlay,
        control,
    })
}

fn control(shape: &ControlShape) -> Result<Control, Box<Finding>> {
    let path = AttrPath::of("network.control.backend");
    let backend = shape.backend.ok_or_else(|| Box::new(check::missing(&path)))?;
    Ok(Control { backend, port: shape.port.unwrap_or_else(|| backend.default_port()) })
}

fn truncated(networks: &[IpNet]) -> Vec<IpNet> {
    networks.iter().map(IpNet::trunc).collect()
}

/// Returns one or two values with the IPv4 one first.
fn v4_first<T: Copy>(values: &[T], is_ipv4: impl Fn(&T) -> bool) -> Option<(T, Option<T>)> {
    match values {
        [only] => Some((*only, None)),
        [first, second] if is_ipv4(first) => Some((*first, Some(*second))),
        [first, second] => Some((*second, Some(*first))),
        _ => None,
    }
}

fn api_endpoint(shape: &Shape, endpoint: &KubeMasterShape) -> Result<ApiEndpoint, Box<Finding>> {
    let missing = || Box::new(check::missing(&AttrPath::of("kubeMaster.ip")));
    Ok(ApiEndpoint {
        ip: endpoint.ip.ok_or_else(missing)?,
        port: endpoint.port.unwrap_or(defaults::API_PORT),
        name: endpoint.name.clone().unwrap_or_else(|| defaults::API_NAME.to_owned()),
        vip: api::vip(shape, endpoint)?,
    })
}

fn dns(shape: &DnsShape) -> Result<Dns, Box<Finding>> {
    let zone = shape.zone.clone().ok_or_else(|| Box::new(check::missing(&AttrPath::of("dns.zone"))))?;
    Ok(Dns {
        provider: shape.provider,
        ttl: shape.ttl.unwrap_or(defaults::DNS_TTL),
        nodes: shape.nodes,
        ingress: shape.ingress.iter().map(|name| as_relative(name, &zone)).collect(),
        records: shape.records.iter().map(|(name, targets)| (as_relative(name, &zone), targets.clone())).collect(),
        zone,
    })
}

fn hetzner(machine: &AttrPath, shape: &HetznerShape) -> Result<HetznerServer, Box<Finding>> {
    let missing = |name: &str| Box::new(check::missing(&machine.join("hetzner").join(name)));
    Ok(HetznerServer {
        server_type: shape.server_type.clone().ok_or_else(|| missing("serverType"))?,
        location: shape.location.clone().ok_or_else(|| missing("location"))?,
        image: shape.image.clone().unwrap_or_else(|| defaults::HETZNER_IMAGE.to_owned()),
        ipv4: shape.ipv4,
        ipv6: shape.ipv6,
    })
}

/// The address is set by the caller, which knows its origin.
fn digitalocean(machine: &AttrPath, shape: &DigitaloceanShape) -> Result<DigitaloceanServer, Box<Finding>> {
    let missing = |name: &str| Box::new(check::missing(&machine.join("digitalocean").join(name)));
    Ok(DigitaloceanServer {
        size: shape.size.clone().ok_or_else(|| missing("size"))?,
        region: shape.region.clone().ok_or_else(|| missing("region"))?,
        image: shape.image.clone().unwrap_or_else(|| defaults::DIGITALOCEAN_IMAGE.to_owned()),
        ipv6: shape.ipv6,
        address: None,
        is_declared: false,
    })
}

fn server<'a, T>(shape: Option<&'a T>, provider: Provider, machine: &MachineShape) -> Option<&'a T> {
    shape.filter(|_| machine.provider == provider)
}

/// A server of a cloud without a layout in machines.nix has one, because its firmware is not the default.
fn disk_layout(machine: &MachineShape, shape: &DiskShape) -> Option<DiskLayout> {
    let of_cloud = server_firmware(machine);
    let set = match shape {
        DiskShape::Set(set) => set.as_ref(),
        DiskShape::Path(path) => {
            let firmware = of_cloud?;
            let devices = vec![path.clone()];
            return Some(DiskLayout {
                devices,
                firmware,
                file_system: RootFileSystem::default(),
                keep: BTreeMap::new(),
            });
        }
    };
    let mirror = (set.devices.len() > 1).then_some(DiskFirmware::Hybrid);
    let kept = |(point, disk): (&String, &KeptDiskShape)| {
        (point.clone(), KeptDisk { device: disk.device.clone(), file_system: disk.file_system })
    };
    Some(DiskLayout {
        devices: set.devices.clone(),
        file_system: set.file_system,
        firmware: set.firmware.or(of_cloud).or(mirror).unwrap_or(DiskFirmware::Uefi),
        keep: set.keep.iter().map(kept).collect(),
    })
}

/// x86 servers boot by BIOS at Hetzner and DigitalOcean, newer types by UEFI; Arm ones by UEFI only.
fn server_firmware(machine: &MachineShape) -> Option<DiskFirmware> {
    let is_server = server(machine.hetzner.as_ref(), Provider::Hetzner, machine).is_some()
        || server(machine.digitalocean.as_ref(), Provider::Digitalocean, machine).is_some();
    let system = machine.system.as_deref().unwrap_or(defaults::SYSTEM);
    (is_server && system.starts_with("x86_64-")).then_some(DiskFirmware::Hybrid)
}

fn node(name: &str, machine: &MachineShape, has_control: bool) -> Result<Node, Box<Finding>> {
    let path = AttrPath::of("machines").join(name);
    let name = NodeName::parse(name).map_err(|error| Box::new(names::bad_name(&path, &error)))?;
    let addresses = machine.ip.as_ref().and_then(|ip| v4_first(&ip.0, IpAddr::is_ipv4));
    let (ip, ip6) = addresses.ok_or_else(|| Box::new(check::missing(&path.join("ip"))))?;
    // The operators are not in the control mesh.
    let endpoint = check::endpoints::endpoint(machine).filter(|_| has_control);
    let mut apps: Vec<String> = Vec::new();
    for app in &machine.apps {
        if !apps.contains(app) {
            apps.push(app.clone());
        }
    }
    Ok(Node {
        name,
        ip,
        ip6,
        second_ip: None,
        nixos: machine.nixos,
        enable: machine.enable,
        system: machine.system.clone().unwrap_or_else(|| defaults::SYSTEM.to_owned()),
        roles: machine.roles.iter().copied().collect(),
        interface: machine.interface.clone(),
        disk: machine.disk.as_ref().and_then(|disk| disk.devices().first().cloned()),
        disk_layout: machine.disk.as_ref().and_then(|disk| disk_layout(machine, disk)),
        labels: machine.labels.clone(),
        taints: machine.taints.clone(),
        gates: machine.gates.iter().map(|(name, shape)| (name.clone(), gate(shape))).collect(),
        apps,
        bgp_as: machine.bgp.router_as,
        provider: machine.provider,
        public: machine.public.clone(),
        endpoint: endpoint.clone(),
        // Settings for another provider have no effect, and a warning says so.
        hetzner: server(machine.hetzner.as_ref(), Provider::Hetzner, machine)
            .map(|shape| hetzner(&path, shape))
            .transpose()?,
        digitalocean: server(machine.digitalocean.as_ref(), Provider::Digitalocean, machine)
            .map(|shape| digitalocean(&path, shape))
            .transpose()?,
        ssh: Ssh {
            host: machine.ssh.host.clone().or(endpoint).unwrap_or_else(|| ip.to_string()),
            port: machine.ssh.port,
            user: machine.ssh.user.clone(),
        },
        cluster_init: machine.cluster_init,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use crate::{fixtures, shape::DiskFirmware};

    #[test]
    fn an_x86_server_of_a_cloud_boots_by_bios_and_uefi() {
        let machine = |ip: &str, system: &str, disk: serde_json::Value| {
            json!({ "ip": ip, "system": system, "disk": disk, "provider": "hetzner",
                "hetzner": { "serverType": "cx23", "location": "nbg1" } })
        };
        let cluster = fixtures::cluster(&json!({
            "cluster": { "name": "magi", "operators": [{ "name": "ops", "ssh": fixtures::SSH_KEY }] },
            "network": { "nodes": "10.0.0.0/24" },
            "machines": {
                "x86": machine("10.0.0.2", "x86_64-linux", json!("/dev/sda")),
                "arm": machine("10.0.0.3", "aarch64-linux", json!("/dev/sda")),
                "own": machine("10.0.0.4", "x86_64-linux", json!({ "devices": ["/dev/sda"], "firmware": "uefi" })),
                "mini": { "ip": "10.0.0.5", "disk": "/dev/sda" },
            },
        }));
        let firmware = |name: &str| {
            let node = cluster.nodes.values().find(|node| node.name.as_str() == name).unwrap();
            node.disk_layout.as_ref().map(|layout| layout.firmware)
        };
        assert_eq!(firmware("x86"), Some(DiskFirmware::Hybrid));
        assert_eq!(firmware("arm"), None);
        assert_eq!(firmware("own"), Some(DiskFirmware::Uefi));
        assert_eq!(firmware("mini"), None);
    }
}
