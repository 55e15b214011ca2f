//! etcd's voting members.

use super::{Context, role_path};
use crate::{
    Orchestrator, Role,
    codes::Code,
    path::AttrPath,
    quorum::{failure_tolerance, quorum},
    report::{Finding, Report},
};

/// Attributes that determine the number of voters; if one of them could not be read, the count would be meaningless.
const COUNTED: [&str; 5] = ["roles", "enable", "nixos", "orchestrator", "allowEvenQuorum"];

/// Checks that the number of voters is odd, and warns of a single one.
pub fn voters(context: &Context<'_>, report: &mut Report) {
    if report.is_count_unreliable(&COUNTED) {
        return;
    }
    // k3s runs etcd inside its servers as soon as there are several of them.
    let is_k3s = context.shape.cluster.orchestrator == Some(Orchestrator::K3s);
    let has_etcd = context.with_role(Role::Etcd).next().is_some();
    let role = if is_k3s && !has_etcd { Role::ControlPlane } else { Role::Etcd };
    let voters: Vec<_> = context.with_role(role).collect();
    let Some((name, machine)) = voters.last() else { return };
    let (path, n) = (role_path(name, machine, role), voters.len());
    if n == 1 && !is_k3s {
        let why = "etcd stops whenever this machine does, and its disk holds the only copy";
        let finding = Finding::new(Code::OneVoter, path, "etcd has a single voting member", why);
        report.push(finding.help("give two more machines the role `etcd`"));
    } else if n.is_multiple_of(2) && !context.shape.cluster.allow_even_quorum {
        let message = format!("etcd has {n} voting members, an even number");
        let why = format!(
            "{} of {n} must agree: {}, no more than with {}",
            quorum(n),
            match failure_tolerance(n) {
                0 => "no failure is tolerated".to_owned(),
                1 => "one failure is tolerated".to_owned(),
                failures => format!("{failures} failures are tolerated"),
            },
            n - 1
        );
        let help = format!(
            "remove the role from one or add it to one more ({} or {}); while replacing a member: \
             cluster.allowEvenQuorum = true",
            n - 1,
            n + 1
        );
        let finding = Finding::new(Code::EvenVoters, path, message, why).help(help);
        let others = voters.iter().rev().skip(1).take(6);
        report.push(others.fold(finding, |finding, (name, machine)| {
            finding.related(role_path(name, machine, role), format!("{name} votes too"))
        }));
    }
}

/// Checks that Kubernetes and the mesh, which keep their state in etcd, have a member.
pub fn present(context: &Context<'_>, report: &mut Report) {
    let keeper = match context.shape.cluster.orchestrator {
        Some(Orchestrator::Kubernetes) => "Kubernetes keeps its objects in etcd",
        Some(Orchestrator::Mesh) => "the mesh keeps its routing in etcd",
        _ => return,
    };
    let is_reliable = !report.is_count_unreliable(&COUNTED);
    if is_reliable && context.taking_part().next().is_some() && context.with_role(Role::Etcd).next().is_none() {
        let path = AttrPath::of("cluster.orchestrator");
        let finding = Finding::new(Code::NoEtcdMember, path, "no machine has the role `etcd`", keeper);
        report.push(finding.help("give three machines the role: roles = [ \"etcd\" ... ]"));
    }
}
