//! Rotation of an authority or a key pair: one stage per run, once the previous stage is deployed everywhere.

mod control;

use std::{collections::BTreeMap, thread};

use machinist_kubernetes::rewrite::{RewriteError, Rewritten, rewrite};
use machinist_model::{Cluster, NodeName, moving::Command};
use machinist_pki::{
    self as pki, Authority, KeyAlgorithm, KeyId, Policy, Survey,
    rotation::{self, Found, Position, Rotation, Stage, Subject},
    ssh,
};
use machinist_rollout::step::{StepError, certificates::certificates};
use time::{Duration, OffsetDateTime};

use super::{hosts, survey};
use crate::{
    connect,
    context::Context,
    failure::{self, Failure, Kind, OrFail as _},
    kubernetes::server::Reach,
    locks::{self, Locks},
    run_id::run_id,
};

/// Subject of a rotation.
#[derive(Clone, Debug)]
pub enum Request {
    /// Certificate authority.
    Authority {
        /// Name in `certs/authorities`.
        name: String,
        /// Algorithm of its new key, and of the keys that it signs.
        algorithm: KeyAlgorithm,
    },
    /// Key pair that signs service account tokens.
    ServiceAccount {
        /// Validity of tokens signed by the old key.
        tokens_live: Duration,
        /// Algorithm of the new key.
        algorithm: KeyAlgorithm,
    },
    /// Key that encrypts Secrets in etcd.
    Encryption,
    /// Keys of the nodes in the control mesh.
    Control,
}

/// Completed stage of a rotation.
#[derive(Clone, Debug)]
pub struct Rotated {
    /// Name of the rotated authority or key.
    pub name: String,
    /// Stage to deploy next.
    pub stage: Stage,
    /// Keys trusted from this stage on, starting with the one that signs or encrypts.
    pub trusted: Vec<KeyId>,
    /// Number of reissued certificates.
    pub issued: usize,
    /// What it is.
    pub kind: RotatedKind,
    /// Command of the next stage.
    pub command: String,
}

/// Kind of what is rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotatedKind {
    /// It signs certificates or tokens.
    Signing,
    /// It encrypts Secrets.
    Encryption,
    /// The keys of all nodes in the control mesh.
    Control,
}

/// Starts a rotation, or performs its next stage.
///
/// # Errors
/// The previous stage is not deployed everywhere, credentials of the old key are still valid, or `certs/` is invalid.
pub fn run(context: &Context, request: &Request) -> Result<Rotated, Failure> {
    let project = &context.project;
    let cluster = project.load()?.cluster;
    // A certificate for the new value would no longer cover the one in use.
    project.refuse_conflicts(&cluster, Command::RotateKeys)?;
    match request {
        Request::Authority { name, algorithm } => authority(context, &cluster, name, *algorithm),
        Request::ServiceAccount { tokens_live, algorithm } => {
            service_account(context, &cluster, *tokens_live, *algorithm)
        }
        Request::Encryption => encryption(context, &cluster),
        Request::Control => control::run(context, &cluster),
    }
}

/// Starts or continues the rotation of an authority.
fn authority(context: &Context, cluster: &Cluster, name: &str, algorithm: KeyAlgorithm) -> Result<Rotated, Failure> {
    if name == Authority::Ssh.as_str() {
        return ssh_authority(context, cluster);
    }
    let table = pki::table(cluster);
    if !table.authorities.iter().any(|spec| spec.authority.as_str() == name) {
        let known = table.authorities.iter().map(|spec| spec.authority);
        let known: Vec<&str> = known.chain([Authority::Ssh]).map(Authority::as_str).collect();
        let failure = Failure::new(Kind::Input, format!("the cluster has no authority `{}`", name));
        return Err(failure.hint(format!("it has {}", known.join(", "))));
    }
    Desk { context, cluster, name, algorithm, tokens_live: Duration::ZERO }.run()
}

/// Starts or continues the rotation of the authority that signs SSH host keys.
fn ssh_authority(context: &Context, cluster: &Cluster) -> Result<Rotated, Failure> {
    let name = Authority::Ssh.as_str();
    let desk = Desk { context, cluster, name, algorithm: KeyAlgorithm::default(), tokens_live: Duration::ZERO };
    let _locks = desk.lock()?;
    let certs = context.project.certs();
    let hosts = hosts::hosts(&context.project, cluster, &certs)?;
    let tree = pki::store::read(&certs).failed()?;
    let now = context.clock.now();
    let policy = Policy::default();
    let refuse_problems = || {
        let plan = ssh::plan(&hosts, &tree, &policy, now);
        refuse(plan.refusal(), plan.problems.first().map(|problem| problem.hint.clone()))
    };
    let stage = match ssh::position(&tree, &hosts) {
        Position::Unfinished(stage) => stage,
        Position::Idle => {
            refuse_problems()?;
            Stage::TrustBoth
        }
        Position::At(Rotation { stage: Stage::TrustBoth, .. }) => {
            refuse_problems()?;
            Stage::SignNew
        }
        Position::At(Rotation { stage, .. }) => {
            refuse_problems()?;
            let nodes: Vec<NodeName> = hosts.iter().map(|host| host.node.clone()).collect();
            refuse_behind(name, stage, &ssh::behind(&hosts, &tree, &desk.ask(&nodes)?))?;
            Stage::DropOld
        }
    };
    let done = ssh::apply(&certs, &hosts, &cluster.operators, stage, &policy, now, || context.keyring.open())
        .map_err(|error| hosts::rotate_failure(&error))?;
    if let Ok(flake) = context.project.flake() {
        flake.make_visible(&["certs"]).failed()?;
    }
    let after = pki::store::read(&certs).failed()?;
    Ok(Rotated {
        name: name.to_owned(),
        stage,
        trusted: after.ssh_authority().iter().map(ssh::SshPublicKey::id).collect(),
        issued: done.actions.iter().filter(|action| action.step.makes_one()).count(),
        kind: RotatedKind::Signing,
        command: format!("machinist certs rotate-ca {name}"),
    })
}

/// Refuses the next stage while machines have not reached the recorded one.
fn refuse_behind(name: &str, stage: Stage, behind: &BTreeMap<NodeName, String>) -> Result<(), Failure> {
    if behind.is_empty() {
        return Ok(());
    }
    let list: String = behind.iter().map(|(node, why)| format!("\n{node}: {why}")).collect();
    let names: Vec<&str> = behind.keys().map(NodeName::as_str).collect();
    let message = format!("{name}: {stage}, is not deployed everywhere:{list}");
    Err(Failure::new(Kind::Refused, message).hint(format!(
        "`machinist deploy {}`, then this again; a machine that is gone for good leaves machines.nix first",
        names.join(" ")
    )))
}

/// Starts or continues the rotation of the service accounts' key pair.
fn service_account(
    context: &Context,
    cluster: &Cluster,
    tokens_live: Duration,
    algorithm: KeyAlgorithm,
) -> Result<Rotated, Failure> {
    let table = pki::table(cluster);
    let signs = |subject: &Subject<'_>| {
        matches!(subject, Subject::KeyPair(_)) && !subject.is_encryption() && !subject.is_control()
    };
    let pairs = Subject::all(&table).filter(signs);
    let Some(name) = pairs.map(Subject::name).next() else {
        return Err(Failure::new(Kind::Input, "the cluster has no key pair for service accounts' tokens").hint(
            "clusters with `orchestrator = \"kubernetes\"` have one; k3s rotates its own: `k3s certificate rotate`",
        ));
    };
    Desk { context, cluster, name, algorithm, tokens_live }.run()
}

/// Starts or continues the rotation of the key that encrypts Secrets.
fn encryption(context: &Context, cluster: &Cluster) -> Result<Rotated, Failure> {
    let table = pki::table(cluster);
    let Some(name) = Subject::all(&table).find(|subject| subject.is_encryption()).map(Subject::name) else {
        return Err(Failure::new(Kind::Input, "the cluster has no key that encrypts Secrets").hint(
            "clusters with `orchestrator = \"kubernetes\"` have one; k3s rotates its own: `k3s secrets-encrypt rotate-keys`",
        ));
    };
    let algorithm = KeyAlgorithm::default();
    Desk { context, cluster, name, algorithm, tokens_live: Duration::ZERO }.run()
}

/// Dependencies of one step of a rotation.
struct Desk<'a> {
    context: &'a Context,
    cluster: &'a Cluster,
    name: &'a str,
    algorithm: KeyAlgorithm,
    tokens_live: Duration,
}

impl Desk<'_> {
    fn run(&self) -> Result<Rotated, Failure> {
        let _locks = self.lock()?;
        let survey = survey(&self.context.project.certs(), self.cluster, self.context.clock.now())?;
        let Some(subject) = self.subject(&survey) else {
            return Err(Failure::new(Kind::Input, format!("nothing is called `{}`", self.name)));
        };
        let stage = match rotation::position(&survey.table, &survey.tree, subject) {
            Position::Unfinished(stage) => stage,
            Position::Idle => {
                refuse_problems(&survey)?;
                Stage::TrustBoth
            }
            Position::At(rotation) => {
                refuse_problems(&survey)?;
                self.refuse_before_deployed(&survey, subject, rotation.stage)?;
                match rotation.stage {
                    Stage::TrustBoth => Stage::SignNew,
                    Stage::SignNew | Stage::DropOld => {
                        self.replace_what_is_left(subject, &rotation)?;
                        Stage::DropOld
                    }
                }
            }
        };
        let done = self.apply(stage)?;
        if let Ok(flake) = self.context.project.flake() {
            flake.make_visible(&["certs"]).failed()?;
        }
        self.end(stage, &done)
    }

    /// Writes the files of a stage.
    fn apply(&self, stage: Stage) -> Result<Survey, Failure> {
        let policy = Policy { algorithm: self.algorithm, ..Policy::default() };
        let (certs, now) = (self.context.project.certs(), self.context.clock.now());
        let identities = || self.context.keyring.open();
        rotation::apply(&certs, self.cluster, self.name, stage, &policy, now, identities)
            .map_err(|error| hosts::rotate_failure(&error))
    }

    /// Locks the voters of a running cluster, so that the deployed stage cannot change while the next one is prepared.
    fn lock(&self) -> Result<Option<Locks>, Failure> {
        let state = self.context.project.state()?;
        if !state.etcd.bootstrapped {
            return Ok(None);
        }
        let connector = connect::connector(self.context, self.cluster, None)?;
        let locks = Locks::new(self.context, run_id(self.context), &connector);
        locks.hold(&locks::of_voters(self.cluster, &state, []), &BTreeMap::new())?;
        Ok(Some(locks))
    }

    fn subject<'s>(&self, survey: &'s Survey) -> Option<Subject<'s>> {
        Subject::all(&survey.table).find(|subject| subject.name() == self.name)
    }

    /// Requires that every machine runs the recorded stage.
    fn refuse_before_deployed(&self, survey: &Survey, subject: Subject<'_>, stage: Stage) -> Result<(), Failure> {
        let nodes = subject.consumers(&survey.table);
        let found = self.ask(&nodes)?;
        refuse_behind(self.name, stage, &rotation::behind(&survey.table, &survey.tree, subject, stage, &found))
    }

    /// Queries all machines concurrently for the certificates in use.
    fn ask(&self, nodes: &[NodeName]) -> Result<BTreeMap<NodeName, Found>, Failure> {
        let connector = connect::connector(self.context, self.cluster, None)?;
        let ask = |node: &NodeName| {
            let remote = connector.connect(node).map_err(StepError::from)?;
            certificates(&*remote)
        };
        Ok(thread::scope(|scope| {
            let asked: Vec<_> = nodes.iter().map(|node| (node, scope.spawn(|| ask(node)))).collect();
            let answer = |(node, thread): (&NodeName, thread::ScopedJoinHandle<'_, _>)| {
                let found = thread.join().unwrap_or_else(|_| Ok(BTreeMap::new()));
                (node.clone(), found.map_err(|error| failure::words(node, &error)))
            };
            asked.into_iter().map(answer).collect()
        }))
    }

    /// Credentials of the old key must be replaced, or must expire, before it is dropped.
    fn replace_what_is_left(&self, subject: Subject<'_>, rotation: &Rotation) -> Result<(), Failure> {
        match subject {
            Subject::Authority(_) => Ok(()),
            // Nothing that the old key signed outlives its use.
            Subject::KeyPair(_) if subject.is_control() => Ok(()),
            Subject::KeyPair(_) if subject.is_encryption() => self.rewrite_secrets(),
            Subject::KeyPair(_) => self.wait_for_tokens(subject, rotation),
        }
    }

    /// Rewrites all Secrets, now that each API server encrypts with the new key.
    fn rewrite_secrets(&self) -> Result<(), Failure> {
        let connector = connect::connector(self.context, self.cluster, None)?;
        let certs = self.context.project.certs();
        let reach = Reach { certs, cluster: self.cluster, connector: &connector, keyring: &self.context.keyring };
        let failed = |error: RewriteError| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint());
        let Rewritten { secrets, writes } =
            reach.with_server(|server| async move { rewrite(&server).await.map_err(failed) })?;
        self.context
            .events
            .remark(format!("{writes} of {secrets} Secrets were written again, encrypted with the new key"));
        Ok(())
    }

    /// Tokens of the old key remain valid for a period that begins when no API server signs with it any longer.
    fn wait_for_tokens(&self, subject: Subject<'_>, rotation: &Rotation) -> Result<(), Failure> {
        let now = self.context.clock.now();
        let since = match rotation.in_use_since {
            Some(since) => since,
            None => {
                rotation::note_in_use(&self.context.project.certs(), self.name, now).failed()?;
                now
            }
        };
        let end = since + self.tokens_live;
        if end <= now {
            return Ok(());
        }
        let message = format!(
            "{}: every API server signs with the new key, seen first at {}; tokens of the old one may be valid until {}",
            self.name,
            minute(since),
            minute(end)
        );
        Err(Failure::new(Kind::Refused, message)
            .hint(format!("`{}` after that; `--tokens-live TIME` if they live longer or shorter", subject.command())))
    }

    fn end(&self, stage: Stage, done: &Survey) -> Result<Rotated, Failure> {
        let fresh = survey(&self.context.project.certs(), self.cluster, self.context.clock.now())?;
        let subject = self.subject(&fresh);
        Ok(Rotated {
            name: self.name.to_owned(),
            stage,
            trusted: subject.map(|subject| trusted(&fresh, subject)).unwrap_or_default(),
            issued: done.plan.actions.iter().filter(|action| action.step.makes_one()).count(),
            kind: match subject {
                Some(subject) if subject.is_encryption() => RotatedKind::Encryption,
                _ => RotatedKind::Signing,
            },
            command: subject.map(Subject::command).unwrap_or_default(),
        })
    }
}

fn trusted(survey: &Survey, subject: Subject<'_>) -> Vec<KeyId> {
    let file = &subject.files().certificate;
    let ids = survey.tree.trusted(file).iter().map(|certificate| certificate.key_id.clone());
    ids.chain(survey.tree.public_keys(file).iter().cloned()).collect()
}

fn refuse_problems(survey: &Survey) -> Result<(), Failure> {
    refuse(survey.plan.refusal(), survey.plan.problems.first().map(|problem| problem.hint.clone()))
}

fn refuse(refusal: Option<String>, hint: Option<String>) -> Result<(), Failure> {
    let Some(refusal) = refusal else { return Ok(()) };
    Err(Failure::new(Kind::Input, format!("certs/ is not as it should be:\n{refusal}")).maybe_hint(hint))
}

fn minute(time: OffsetDateTime) -> String {
    format!("{} {:02}:{:02} UTC", time.date(), time.hour(), time.minute())
}
