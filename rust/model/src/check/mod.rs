//! Checks of the decoded shape, one small function each. They push findings and do not know source positions.
//!
//! Each check takes time linear in the number of machines: none compares machines pairwise.

pub mod addresses;
pub mod api;
pub mod cluster;
pub mod control;
pub mod dns;
pub mod endpoints;
pub mod etcd;
pub mod families;
pub mod gates;
pub mod k3s;
pub mod labels;
pub mod machines;
pub mod names;
pub mod networks;
pub mod objects;
pub mod operators;
pub mod overlay;
pub mod pool;
pub mod required;
pub mod routed;
pub mod secrets;
pub mod servers;
pub mod sizes;
pub mod ssh;
pub mod values;

use crate::{
    Role,
    directory::Directory,
    path::AttrPath,
    report::Report,
    shape::{MachineShape, Shape},
};

pub use self::required::missing;

/// Input of a check.
pub struct Context<'a> {
    /// The decoded file.
    pub shape: &'a Shape,
    /// Names of the files beside machines.nix.
    pub directory: &'a Directory,
}

impl<'a> Context<'a> {
    /// Returns the machines that machinist deploys: enabled, and with NixOS.
    pub fn taking_part(&self) -> impl Iterator<Item = (&'a String, &'a MachineShape)> + use<'a> {
        self.shape.machines.iter().filter(|(_, machine)| machine.enable && machine.nixos)
    }

    /// Returns the deployed machines that have the role.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = (&'a String, &'a MachineShape)> + use<'a> {
        self.taking_part().filter(move |(_, machine)| machine.roles.contains(&role))
    }
}

/// Returns the path of a machine.
pub fn machine_path(name: &str) -> AttrPath {
    AttrPath::of("machines").join(name)
}

/// Returns the path of a machine's role in its list of roles.
pub fn role_path(name: &str, machine: &MachineShape, role: Role) -> AttrPath {
    let position = machine.roles.iter().position(|found| *found == role).unwrap_or_default();
    machine_path(name).join("roles").join(position)
}

/// Runs all checks.
pub fn all(context: &Context<'_>, report: &mut Report) {
    const CHECKS: &[fn(&Context<'_>, &mut Report)] = &[
        required::check,
        names::machines,
        names::cluster,
        names::endpoint,
        names::operators,
        addresses::duplicates,
        addresses::inside_node_network,
        addresses::vip_is_unique,
        addresses::vip_fits_mode,
        networks::first_addresses,
        networks::private,
        networks::disjoint,
        networks::vip_outside_ranges,
        networks::dns,
        networks::gateway,
        sizes::pods,
        sizes::overlay,
        sizes::services,
        families::lists,
        families::machines,
        families::pods_and_services,
        families::vip,
        etcd::voters,
        etcd::present,
        api::control_plane,
        api::endpoint,
        api::bgp,
        api::as_numbers,
        api::initial_servers,
        ssh::shared,
        ssh::syntax,
        machines::ports,
        machines::values,
        machines::root_file_system,
        machines::without_nixos,
        machines::apps,
        servers::check,
        routed::check,
        control::check,
        labels::check,
        objects::reserved,
        objects::section,
        pool::check,
        gates::check,
        k3s::check,
        overlay::check,
        operators::keys,
        cluster::check,
        dns::check,
        secrets::check,
    ];
    for check in CHECKS {
        check(context, report);
    }
}
