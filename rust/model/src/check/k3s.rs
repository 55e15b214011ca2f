//! Differences between k3s and Kubernetes from its single components.

use super::{Context, role_path};
use crate::{
    Orchestrator, Role,
    codes::Code,
    report::{Finding, Report},
};

/// Checks that no machine is a separate etcd member: k3s runs etcd inside its servers.
pub fn check(context: &Context<'_>, report: &mut Report) {
    if context.shape.cluster.orchestrator != Some(Orchestrator::K3s) {
        return;
    }
    for (name, machine) in context.with_role(Role::Etcd) {
        let message = format!("{name} cannot be an etcd member outside of k3s");
        let why = "the servers of k3s are the members of its etcd";
        let help = match machine.roles.contains(&Role::ControlPlane) {
            true => "leave out the role `etcd`: the role `control-plane` is enough",
            false => "write the role `control-plane` instead",
        };
        let path = role_path(name, machine, Role::Etcd);
        report.push(Finding::new(Code::EtcdOfK3s, path, message, why).help(help));
    }
}
