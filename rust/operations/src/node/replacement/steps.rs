//! Execution of a replacement's steps. Each one may have been cut off at any moment before.

use std::collections::BTreeSet;

use machinist_model::{Cluster, Replacement, replacing::Step};
use machinist_pki::{
    Policy, Renewal,
    host_key::{self, System},
    report,
};
use machinist_remote::{HostKey, KnownHosts, SshConfig};
use machinist_rollout::step::{StepError, gather};

use super::{Replaced, Request};
use crate::{
    certs,
    connect::{self, KNOWN_HOSTS},
    context::Context,
    deploy::{self, Deployed},
    failure::{Failure, Kind, OrFail as _},
    install,
    node::{
        membership::{self, Changed},
        without_vote::What,
    },
    provision,
    systems::{BuildOn, Building},
    workload::pods::Pods,
};

/// What a step led to.
enum End {
    Done,
    Stopped(Replaced),
}

/// The steps of one replacement, to which its operator has agreed.
pub(super) struct Steps<'a> {
    pub(super) context: &'a Context,
    pub(super) request: &'a Request,
    /// True if the node has a vote in etcd.
    pub(super) is_member: bool,
}

impl Steps<'_> {
    /// Takes the steps from that of the replacement to the last.
    pub(super) fn run(&self, mut replacing: Replacement) -> Result<Replaced, Failure> {
        loop {
            self.context.stop_here()?;
            self.record(Some(&replacing))?;
            self.say(&format!("step {} of {}: {}", number(replacing.step), Step::ALL.len(), replacing.step));
            match self.step(&replacing).map_err(|failure| stands(failure, &replacing))? {
                End::Stopped(Replaced::NotDone { report }) => {
                    self.context.events.warn(where_it_stands(&replacing));
                    return Ok(Replaced::NotDone { report });
                }
                End::Stopped(other) => return Ok(other),
                End::Done => {}
            }
            let Some(next) = replacing.step.next() else { break };
            replacing.step = next;
        }
        let unwritten = unwritten(&self.context.project.load()?.cluster, &replacing);
        self.record(None)?;
        Ok(Replaced::NewMachine { members: self.context.project.state()?.etcd.members, unwritten })
    }

    fn step(&self, replacing: &Replacement) -> Result<End, Failure> {
        match replacing.step {
            Step::Leave => self.leave(),
            Step::Discard => self.discard().map(|()| End::Done),
            Step::Create => self.create(replacing).map(|()| End::Done),
            Step::Install => self.install().map(|()| End::Done),
            Step::Join => self.join(),
        }
    }

    fn record(&self, replacing: Option<&Replacement>) -> Result<(), Failure> {
        let mut state = self.context.project.state()?;
        if state.replacing.as_ref() == replacing {
            return Ok(());
        }
        state.replacing = replacing.cloned();
        self.context.project.record(&state)
    }

    fn say(&self, text: &str) {
        self.context.events.note(&self.request.node, text);
    }

    fn change(&self, what: What, no_snapshot: bool) -> Result<End, Failure> {
        let Request { node, options, .. } = self.request;
        let change = membership::Request { what, node: node.clone(), no_snapshot, options: options.clone() };
        match membership::run(self.context, &change)? {
            Changed::NotDone { report } => Ok(End::Stopped(Replaced::NotDone { report })),
            Changed::Done { .. } | Changed::Left | Changed::Forgotten | Changed::OneOfSeveral { .. } => Ok(End::Done),
        }
    }

    fn leave(&self) -> Result<End, Failure> {
        if self.is_member {
            return self.change(What::Leave, self.request.no_snapshot);
        }
        self.context.project.forget_machines(&[self.request.node.to_string()].into())?;
        Ok(End::Done)
    }

    /// Ends everything that belonged to the old machine.
    fn discard(&self) -> Result<(), Failure> {
        let node = &self.request.node;
        let project = &self.context.project;
        let cluster = project.load()?.cluster;
        if cluster.nodes.get(node).is_some_and(|node| node.hetzner.is_some()) {
            provision::discard(self.context, node)?;
            self.say("its old server is gone, and forgotten");
        }
        self.new_certificates(&cluster)?;
        self.forget_host_key(&cluster)?;
        self.forget_in_kubernetes(&cluster);
        Ok(())
    }

    /// Renews all certificates of the node: whoever has the old machine has their keys.
    fn new_certificates(&self, cluster: &Cluster) -> Result<(), Failure> {
        let node = self.request.node.as_str();
        let project = &self.context.project;
        let survey = certs::survey(&project.certs(), cluster, self.context.clock.now())?;
        let rows = report::list(&survey).into_iter();
        let names: BTreeSet<String> = rows
            .filter(|row| row.node.as_deref() == Some(node) && row.state != report::State::Orphan)
            .map(|row| row.name)
            .collect();
        if names.is_empty() {
            return Ok(());
        }
        let policy = Policy { renewal: Renewal::Named(names), ..Policy::default() };
        certs::issue::update(self.context, cluster, &policy, &project.certs(), certs::hosts::Signing::Existing)?;
        self.say("its certificates are new");
        Ok(())
    }

    fn forget_host_key(&self, cluster: &Cluster) -> Result<(), Failure> {
        let project = &self.context.project;
        let Some(node) = cluster.nodes.get(&self.request.node) else { return Ok(()) };
        let known_hosts = KnownHosts::load(&project.directory.join(KNOWN_HOSTS)).input()?;
        let destination = connect::destination(project, cluster, node, &[], &SshConfig::new());
        known_hosts.forget(&destination.host_pattern()).failed()?;
        for system in [System::FirstBoot, System::Installed] {
            host_key::remove(&project.certs(), &node.name, system)
                .map_err(|error| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint()))?;
        }
        Ok(())
    }

    /// Deletes the Node object, so that the pods of the lost machine start elsewhere. If no API server answers, the new
    /// kubelet takes the object over.
    fn forget_in_kubernetes(&self, cluster: &Cluster) {
        let name = &self.request.node;
        if !cluster.nodes.get(name).is_some_and(|node| cluster.runs_kubernetes(node)) {
            return;
        }
        let deleted = connect::connector(self.context, cluster, None)
            .and_then(|connector| Pods::new(self.context, cluster, &connector).forget(name));
        match deleted {
            Ok(true) => self.say("its Node object is deleted"),
            Ok(false) => {}
            Err(failure) => self.context.events.warn(format!(
                "{name}: its Node object stays ({}); the new machine takes it over",
                failure.in_one_line()
            )),
        }
    }

    fn create(&self, replacing: &Replacement) -> Result<(), Failure> {
        let node = &replacing.node;
        let cluster = self.context.project.load()?.cluster;
        if cluster.nodes.get(node).is_none_or(|node| node.hetzner.is_none()) {
            return Ok(());
        }
        let end = provision::prepare_successor(self.context, replacing)?.provision.run()?;
        if let Some(incomplete) = end.failed.into_iter().next() {
            return Err(incomplete.failure);
        }
        if end.servers.iter().all(|server| server.answers) {
            return Ok(());
        }
        Err(Failure::new(Kind::Failed, format!("the new server of {node} does not answer yet")))
    }

    fn install(&self) -> Result<(), Failure> {
        let Request { node, installation, options, .. } = self.request;
        if self.is_installed()? {
            self.say("NixOS is installed, and answers with its host key");
            return install::settled(self.context, node);
        }
        if options.accept_host_key.is_some() {
            let cluster = self.context.project.load()?.cluster;
            let connector = connect::connector(self.context, &cluster, options.accept_host_key)?;
            let greeted = connector.connect(node);
            greeted.map_err(|error| Failure::on(node, Kind::Failed, &error).maybe_hint(error.hint()))?;
        }
        let request =
            install::Request { target: node.to_string(), accept: options.accept_host_key, ..installation.clone() };
        install::prepare(self.context, &request)?.run()
    }

    /// Returns true if the machine runs NixOS and answers with the host key of that system. The key alone does not tell: it
    /// may be there before the rest.
    fn is_installed(&self) -> Result<bool, Failure> {
        let project = &self.context.project;
        let key = host_key::public(&project.certs(), &self.request.node, System::Installed)
            .map_err(|error| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint()))?;
        let Some(key) = key.and_then(|line| HostKey::from_openssh(&line)) else { return Ok(false) };
        let cluster = project.load()?.cluster;
        let connector = connect::connector(self.context, &cluster, Some(key.fingerprint()))?;
        let facts = connector.connect(&self.request.node).map_err(StepError::from).and_then(|remote| gather(&*remote));
        Ok(facts.is_ok_and(|facts| facts.running.is_some()))
    }

    fn join(&self) -> Result<End, Failure> {
        if self.is_member {
            return self.change(What::Return, true);
        }
        let Request { node, options, .. } = self.request;
        let targets = vec![node.to_string()];
        let request = deploy::Request::one_by_one(targets, options.clone(), Building::default(), BuildOn::Local);
        let deployed = deploy::run(self.context, &request)?;
        if deployed.verdict().is_none() {
            return Ok(End::Done);
        }
        match deployed {
            Deployed::Ended { report, .. } => Ok(End::Stopped(Replaced::NotDone { report })),
            Deployed::NothingToResume => Ok(End::Done),
        }
    }
}

/// Returns the settings of the new server that machines.nix does not have.
fn unwritten(declared: &Cluster, replacing: &Replacement) -> Vec<String> {
    let Some(server) = declared.nodes.get(&replacing.node).and_then(|node| node.hetzner.as_ref()) else {
        return Vec::new();
    };
    let chosen = [
        ("serverType", &replacing.server_type, &server.server_type),
        ("location", &replacing.location, &server.location),
    ];
    let differs = chosen.into_iter().filter_map(|(attribute, chosen, declared)| {
        let chosen = chosen.as_ref().filter(|chosen| *chosen != declared)?;
        Some(format!("{attribute} = \"{chosen}\""))
    });
    differs.collect()
}

fn number(step: Step) -> usize {
    Step::ALL.iter().position(|other| *other == step).map_or(0, |index| index + 1)
}

fn where_it_stands(replacing: &Replacement) -> String {
    let Replacement { node, step, .. } = replacing;
    let (number, all) = (number(*step), Step::ALL.len());
    format!("{node}: step {number} of {all} ({step}) is not done; `machinist node replace {node}` continues there")
}

fn stands(failure: Failure, replacing: &Replacement) -> Failure {
    failure.hint(where_it_stands(replacing))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use machinist_model::{HetznerServer, NodeName, Replacement, fixtures, replacing::Step};

    use super::{unwritten, where_it_stands};

    fn replacement(server_type: Option<&str>, location: Option<&str>) -> Replacement {
        Replacement {
            node: NodeName::parse("casper").unwrap(),
            step: Step::Create,
            server_type: server_type.map(str::to_owned),
            location: location.map(str::to_owned),
        }
    }

    #[test]
    fn what_machines_nix_does_not_say_is_named() {
        let mut cluster = fixtures::three_member_etcd();
        let chosen = replacement(Some("cx33"), Some("nbg1"));
        assert!(unwritten(&cluster, &chosen).is_empty());
        cluster.nodes.get_mut(&chosen.node).unwrap().hetzner = Some(HetznerServer {
            server_type: "cx23".to_owned(),
            location: "nbg1".to_owned(),
            image: "debian-13".to_owned(),
            ipv4: true,
            ipv6: true,
        });
        assert_eq!(unwritten(&cluster, &chosen), [r#"serverType = "cx33""#]);
        assert!(unwritten(&cluster, &replacement(None, None)).is_empty());
    }

    #[test]
    fn an_error_says_where_it_stands() {
        let text = where_it_stands(&replacement(None, None));
        assert!(text.contains("step 3 of 5 (create)") && text.contains("`machinist node replace casper`"), "{text}");
    }
}
