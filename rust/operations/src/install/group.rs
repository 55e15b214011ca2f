//! Installation of several machines at once, with one consent.

use std::{collections::BTreeMap, thread};

use machinist_model::NodeName;

use super::{Install, Report, Request, lost, prepare};
use crate::{
    connect,
    consent::Question,
    context::Context,
    event::{Event, Events},
    failure::{Failure, Kind},
};

/// Machines to install, with their preconditions verified. Nothing has been changed yet.
pub struct Group {
    context: Context,
    members: Vec<Install>,
}

/// Result of an installation of several machines: a failure for each that was not installed.
pub type Outcome = BTreeMap<NodeName, Result<(), Failure>>;

/// Verifies the preconditions of several installations. `targets` are names, globs, roles or labels; `request` holds what
/// is the same for all.
///
/// # Errors
/// A target matches no machine, or a precondition of one is not met.
pub fn prepare_all(context: &Context, targets: &[String], request: &Request) -> Result<Group, Failure> {
    let cluster = context.project.load()?.cluster;
    let nodes = connect::select(&cluster, Some(targets))?;
    if request.accept.is_some() && nodes.len() > 1 {
        let failure = Failure::new(Kind::Input, "--accept-host-key is of one machine");
        return Err(failure.hint("install that machine alone, or connect to each first"));
    }
    let member = |node: &NodeName| {
        let context = if nodes.len() > 1 { of_node(context, node) } else { context.clone() };
        prepare(&context, &Request { target: node.to_string(), ..request.clone() })
    };
    let members = nodes.iter().map(member).collect::<Result<Vec<Install>, Failure>>()?;
    let awaits_restore = members.iter().any(Install::awaits_restore);
    if request.without_quorum.is_some() && !awaits_restore {
        let failure = Failure::new(Kind::Input, "none of these machines is a recorded member of etcd");
        return Err(failure.hint("leave --without-quorum out"));
    }
    if awaits_restore {
        lost::refuse_quorum(context, &cluster)?;
    }
    Ok(Group { context: context.clone(), members })
}

/// Returns the context with the node's name before each line.
fn of_node(context: &Context, node: &NodeName) -> Context {
    let (events, node) = (context.events.clone(), node.clone());
    let events = Events::new(move |event| {
        events.send(match event {
            Event::Remark { text } => Event::Remark { text: format!("{node}  {text}") },
            Event::Command { what, line } => Event::Command { what: format!("{node}  {what}"), line },
            event => event,
        });
    });
    Context { events, ..context.clone() }
}

impl Group {
    /// Returns the machines.
    #[must_use]
    pub fn members(&self) -> &[Install] {
        &self.members
    }

    /// Examines all machines at once.
    ///
    /// # Errors
    /// The cluster's files are invalid. The failure of a machine is part of the result.
    pub fn examine(&self) -> Result<BTreeMap<NodeName, Result<Report, Failure>>, Failure> {
        if let Some(first) = self.members.first() {
            first.write_generated()?;
        }
        Ok(self.each(Install::examine))
    }

    /// Examines the machines, asks once, and installs those that no check has refused, side by side. One that fails does
    /// not stop the others.
    ///
    /// # Errors
    /// Consent was refused, or all machines are. The failure of a single machine is part of the result.
    pub fn run(&self) -> Result<Outcome, Failure> {
        if let [only] = self.members.as_slice() {
            only.run()?;
            return Ok([(only.node().clone(), Ok(()))].into());
        }
        let mut outcome = Outcome::new();
        let mut accepted: Vec<(&Install, Report)> = Vec::new();
        let mut examined = self.examine()?;
        for member in &self.members {
            let node = member.node().clone();
            let panicked = || Err(Failure::new(Kind::Failed, "the examination panicked"));
            let examined = examined.remove(&node).unwrap_or_else(panicked);
            let verdict = examined.and_then(|report| report.refuse().map(|()| report));
            match verdict {
                Ok(report) => {
                    report.tell(&self.context.events);
                    accepted.push((member, report));
                }
                Err(failure) => drop(outcome.insert(node, Err(failure))),
            }
        }
        if accepted.is_empty() {
            return Ok(outcome);
        }
        self.confirm(&accepted, &outcome)?;
        let identities = self.context.keyring.unlock()?;
        thread::scope(|scope| {
            let running: Vec<_> = accepted
                .iter()
                .map(|(member, _)| (member.node().clone(), scope.spawn(|| member.install(&identities))))
                .collect();
            for (node, thread) in running {
                let ended =
                    thread.join().unwrap_or_else(|_| Err(Failure::new(Kind::Failed, "the installation panicked")));
                outcome.insert(node, ended);
            }
        });
        Ok(outcome)
    }

    /// Asks once, for all machines and their disks.
    fn confirm(&self, accepted: &[(&Install, Report)], refused: &Outcome) -> Result<(), Failure> {
        let names: Vec<&str> = accepted.iter().map(|(member, _)| member.node().as_str()).collect();
        let mut lines: Vec<String> = accepted
            .iter()
            .map(|(member, report)| {
                let host = &member.machine.host;
                format!("{} ({host}) loses everything on {}", member.node(), report.words(&member.disk))
            })
            .collect();
        lines.extend(refused.keys().map(|node| format!("{node} is not installed")));
        let erased: Vec<String> = accepted
            .iter()
            .map(|(member, report)| format!("{} erases {}", member.node(), report.disk_names(&member.disk)))
            .collect();
        self.context.consent.ask(&Question {
            text: format!("{}\nType their names to go on ({}):", lines.join("\n"), names.join(" ")),
            accepted: vec![names.join(" ")],
            consequence: format!("installing {}", erased.join(", ")),
        })
    }

    fn each<T: Send>(&self, work: impl Fn(&Install) -> T + Sync) -> BTreeMap<NodeName, T> {
        let work = &work;
        thread::scope(|scope| {
            let running: Vec<_> =
                self.members.iter().map(|member| (member.node().clone(), scope.spawn(move || work(member)))).collect();
            let done = running.into_iter().filter_map(|(node, thread)| Some((node, thread.join().ok()?)));
            done.collect()
        })
    }
}
