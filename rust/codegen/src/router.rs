//! BGP configuration for a Router that machinist does not deploy (`modules/router.nix` is for one that it does): it
//! accepts the API's virtual address and the addresses of Services from the control planes, nothing else, and announces
//! nothing to them.

use std::{fmt::Write as _, net::IpAddr, str::FromStr};

use ipnet::IpNet;
use machinist_model::{Cluster, LoadBalancer, Role, Vip};
use thiserror::Error;

/// Keepalive interval, and hold time after which a silent neighbor counts as down, in seconds; kube-vip gets the same
/// values.
const TIMERS: (u8, u8) = (1, 4);

/// Configuration language of the Router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// FRRouting, as for `vtysh`.
    Frr,
    /// BIRD 2 and newer, to be included in `bird.conf`.
    Bird,
    /// VyOS 1.4 and newer, in configuration mode.
    Vyos,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "frr" => Ok(Self::Frr),
            "bird" => Ok(Self::Bird),
            "vyos" => Ok(Self::Vyos),
            _ => Err("write frr, bird or vyos".to_owned()),
        }
    }
}

/// Error of a cluster that needs no configuration, or whose addresses do not match.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum RouterError {
    /// No address is announced by BGP.
    #[error("kubeMaster in machines.nix does not use BGP")]
    NoBgp,
    /// The virtual address and the nodes are of different address families.
    #[error("the virtual address {vip} and the Router {router} are of different address families")]
    Family {
        /// The virtual address.
        vip: IpAddr,
        /// The Router's address.
        router: IpAddr,
    },
}

impl RouterError {
    /// Returns a suggested fix.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::NoBgp => {
                "write kubeMaster.mode = \"bgp\" with `gateway` and `as`; with ARP a Router needs no configuration"
            }
            Self::Family { .. } => "set kubeMaster.ip to an address of the same family as network.nodes",
        }
    }
}

/// Handling of the session password, if the cluster has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Password<'a> {
    /// A comment in its place, so that the text can be stored and shared. Without the password no session is
    /// established.
    LeftOut,
    /// The password itself, letters and digits only.
    Shown(&'a str),
}

/// Values common to all languages.
struct Session<'a> {
    router: IpAddr,
    router_as: u32,
    node_as: u32,
    vip: IpAddr,
    prefix: String,
    /// Networks that have the addresses of Services.
    services: Vec<IpNet>,
    nodes: Vec<(&'a str, IpAddr)>,
    /// The password; `None` if the cluster has none.
    password: Option<Password<'a>>,
}

/// The only prefix that the Router accepts.
pub(crate) fn prefix(vip: IpAddr) -> String {
    format!("{vip}/{}", if vip.is_ipv4() { 32 } else { 128 })
}

/// Returns `true` if the sessions have a password.
#[must_use]
pub fn has_password(cluster: &Cluster) -> bool {
    cluster.kube_master.as_ref().is_some_and(|endpoint| matches!(endpoint.vip, Vip::Bgp { password: true, .. }))
}

/// Returns the configuration, ending with a newline. `password` is ignored if the cluster has none.
///
/// # Errors
/// No address is announced by BGP, or not in the nodes' address family.
pub fn config(cluster: &Cluster, format: Format, password: Password<'_>) -> Result<String, RouterError> {
    let endpoint = cluster.kube_master.as_ref().ok_or(RouterError::NoBgp)?;
    let Vip::Bgp { gateway, node_as, router_as, password: has_password } = &endpoint.vip else {
        return Err(RouterError::NoBgp);
    };
    let router = cluster.nodes.get(gateway).ok_or(RouterError::NoBgp)?.ip;
    if router.is_ipv4() != endpoint.ip.is_ipv4() {
        return Err(RouterError::Family { vip: endpoint.ip, router });
    }
    let session = Session {
        router,
        router_as: *router_as,
        node_as: *node_as,
        vip: endpoint.ip,
        prefix: prefix(endpoint.ip),
        services: cluster.objects.load_balancer.iter().flat_map(LoadBalancer::networks).collect(),
        nodes: cluster.with_role(Role::ControlPlane).map(|node| (node.name.as_str(), node.ip)).collect(),
        password: has_password.then_some(password),
    };
    let mut text = String::new();
    // Formatting into a String cannot fail.
    let _infallible = match format {
        Format::Frr => session.frr(&mut text),
        Format::Bird => session.bird(&mut text),
        Format::Vyos => session.vyos(&mut text),
    };
    Ok(text)
}

impl Session<'_> {
    const fn is_ipv4(&self) -> bool {
        self.vip.is_ipv4()
    }

    /// Prefix length of a route to one address.
    const fn host_length(&self) -> u8 {
        if self.is_ipv4() { 32 } else { 128 }
    }

    /// Sessions within one AS are of another kind.
    const fn kind(&self) -> &'static str {
        if self.node_as == self.router_as { "ibgp" } else { "ebgp" }
    }

    /// The statement of the password, or a comment in its place.
    fn password(&self, statement: &str, quote: &str, end: &str, comment: &str) -> Option<String> {
        Some(match self.password? {
            Password::LeftOut => format!("{comment} {statement} ... (machinist router-config --show-password)"),
            Password::Shown(password) => format!("{statement} {quote}{password}{quote}{end}"),
        })
    }

    fn frr(&self, text: &mut String) -> std::fmt::Result {
        let (ip, family) = if self.is_ipv4() { ("ip", "ipv4") } else { ("ipv6", "ipv6") };
        let ibgp = if self.kind() == "ibgp" { " ibgp" } else { "" };
        let (keepalive, hold) = TIMERS;
        writeln!(
            text,
            "! The API's virtual address {}, from the control planes. Made by `machinist router-config`.",
            self.vip
        )?;
        writeln!(text, "{ip} prefix-list MACHINIST-VIP seq 10 permit {}", self.prefix)?;
        for (number, network) in (20_u32..).step_by(10).zip(&self.services) {
            let length = self.host_length();
            // FRR refuses `ge` and `le` of the network's own length.
            let only = if network.prefix_len() == length { String::new() } else { format!(" ge {length} le {length}") };
            writeln!(text, "{ip} prefix-list MACHINIST-VIP seq {number} permit {network}{only}")?;
        }
        writeln!(text, "!\nroute-map MACHINIST-IN permit 10\n match {ip} address prefix-list MACHINIST-VIP\nexit")?;
        writeln!(text, "!\nroute-map MACHINIST-OUT deny 10\nexit")?;
        writeln!(text, "!\nrouter bgp {}", self.router_as)?;
        if self.is_ipv4() {
            writeln!(text, " bgp router-id {}", self.router)?;
        }
        writeln!(text, " bgp bestpath as-path multipath-relax")?;
        writeln!(text, " neighbor MACHINIST peer-group\n neighbor MACHINIST remote-as {}", self.node_as)?;
        writeln!(text, " neighbor MACHINIST passive\n neighbor MACHINIST timers {keepalive} {hold}")?;
        if let Some(line) = self.password("neighbor MACHINIST password", "", "", "!") {
            writeln!(text, " {line}")?;
        }
        for (name, ip) in &self.nodes {
            writeln!(text, " neighbor {ip} peer-group MACHINIST\n neighbor {ip} description {name}")?;
        }
        writeln!(text, " !\n address-family {family} unicast\n  neighbor MACHINIST activate")?;
        writeln!(
            text,
            "  neighbor MACHINIST route-map MACHINIST-IN in\n  neighbor MACHINIST route-map MACHINIST-OUT out"
        )?;
        writeln!(text, "  maximum-paths{ibgp} {}\n exit-address-family\nexit", self.nodes.len())
    }

    fn bird(&self, text: &mut String) -> std::fmt::Result {
        let channel = if self.is_ipv4() { "ipv4" } else { "ipv6" };
        let (keepalive, hold) = TIMERS;
        writeln!(
            text,
            "# The API's virtual address {}, from the control planes. Made by `machinist router-config`.",
            self.vip
        )?;
        writeln!(
            text,
            "# Add `merge paths on; scan time 1;` to your kernel protocol: all control planes get traffic, and a failed\n\
             # one none after a second. (BIRD 3.1 only removes a route other than the best one when it scans.)"
        )?;
        writeln!(text, "filter machinist_vip {{\n  if net = {} then accept;", self.prefix)?;
        if !self.services.is_empty() {
            let length = self.host_length();
            let sets: Vec<String> =
                self.services.iter().map(|network| format!("{network}{{{length},{length}}}")).collect();
            writeln!(text, "  if net ~ [ {} ] then accept;", sets.join(", "))?;
        }
        writeln!(text, "  reject;\n}}\n")?;
        writeln!(text, "template bgp machinist {{\n  local {} as {};\n  passive;", self.router, self.router_as)?;
        writeln!(text, "  keepalive time {keepalive};\n  hold time {hold};")?;
        if let Some(line) = self.password("password", "\"", ";", "#") {
            writeln!(text, "  {line}")?;
        }
        writeln!(text, "  {channel} {{\n    import filter machinist_vip;\n    export none;\n  }};\n}}")?;
        for (name, ip) in &self.nodes {
            // A symbol contains no hyphen, and a node's name no underscore.
            let symbol = name.replace('-', "_");
            writeln!(text, "\nprotocol bgp machinist_{symbol} from machinist {{")?;
            writeln!(text, "  neighbor {ip} as {};\n}}", self.node_as)?;
        }
        Ok(())
    }

    fn vyos(&self, text: &mut String) -> std::fmt::Result {
        let (list, ip, family) = if self.is_ipv4() {
            ("prefix-list", "ip", "ipv4-unicast")
        } else {
            ("prefix-list6", "ipv6", "ipv6-unicast")
        };
        let (keepalive, hold) = TIMERS;
        let mut set = |rest: &str| writeln!(text, "set {rest}");
        set(&format!("policy {list} MACHINIST-VIP rule 10 action permit"))?;
        set(&format!("policy {list} MACHINIST-VIP rule 10 prefix {}", self.prefix))?;
        for (number, network) in (20_u32..).step_by(10).zip(&self.services) {
            let rule = format!("policy {list} MACHINIST-VIP rule {number}");
            set(&format!("{rule} action permit"))?;
            set(&format!("{rule} prefix {network}"))?;
            let length = self.host_length();
            if network.prefix_len() != length {
                set(&format!("{rule} ge {length}"))?;
                set(&format!("{rule} le {length}"))?;
            }
        }
        set("policy route-map MACHINIST-IN rule 10 action permit")?;
        set(&format!("policy route-map MACHINIST-IN rule 10 match {ip} address prefix-list MACHINIST-VIP"))?;
        set("policy route-map MACHINIST-OUT rule 10 action deny")?;
        set(&format!("protocols bgp system-as {}", self.router_as))?;
        set("protocols bgp parameters bestpath as-path multipath-relax")?;
        if self.is_ipv4() {
            set(&format!("protocols bgp parameters router-id {}", self.router))?;
        }
        set(&format!("protocols bgp address-family {family} maximum-paths {} {}", self.kind(), self.nodes.len()))?;
        set(&format!("protocols bgp peer-group MACHINIST remote-as {}", self.node_as))?;
        set("protocols bgp peer-group MACHINIST passive")?;
        for (direction, map) in [("import", "IN"), ("export", "OUT")] {
            let group = "protocols bgp peer-group MACHINIST";
            set(&format!("{group} address-family {family} route-map {direction} MACHINIST-{map}"))?;
        }
        for (name, ip) in &self.nodes {
            set(&format!("protocols bgp neighbor {ip} peer-group MACHINIST"))?;
            set(&format!("protocols bgp neighbor {ip} description {name}"))?;
            set(&format!("protocols bgp neighbor {ip} timers keepalive {keepalive}"))?;
            set(&format!("protocols bgp neighbor {ip} timers holdtime {hold}"))?;
        }
        if let Some(line) = self.password("set protocols bgp peer-group MACHINIST password", "'", "", "#") {
            writeln!(text, "{line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
