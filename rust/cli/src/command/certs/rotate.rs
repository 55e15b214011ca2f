//! `machinist certs rotate-ca`, `rotate-sa` and `rotate-encryption`: one stage of a rotation, if the one before has arrived everywhere.

use std::{collections::BTreeMap, process::ExitCode};

use clap::Args;
use machinist_kubernetes::rewrite::{RewriteError, Rewritten, rewrite};
use machinist_model::{Cluster, NodeName};
use machinist_operations::{
    certs, connect,
    context::Context,
    kubernetes::server::Reach,
    locks::{self, Locks},
    run_id::run_id,
};
use machinist_pki::{
    self as pki, KeyAlgorithm, KeyId, Policy, Survey,
    encryption::is_plain_text,
    rotation::{self, Found, Position, RotateError, Rotation, Stage, Subject},
};
use machinist_rollout::step::{StepError, certificates::certificates};
use serde_json::json;
use time::{Duration, OffsetDateTime};

use crate::{
    duration::life,
    failure::{self, Failure, Kind, OrFail, Outcome},
    ui::Ui,
};

/// Replaces an authority.
#[derive(Debug, Args)]
pub struct RotateCaArgs {
    /// Its name in certs/authorities, such as etcd, kubernetes or front-proxy
    authority: String,

    /// The keys of the new authority and of what it signs: ecdsa-p256, ecdsa-p384, rsa-2048 or rsa-4096
    #[arg(long, default_value = "ecdsa-p256")]
    algorithm: KeyAlgorithm,
}

/// Replaces the service accounts' key pair.
#[derive(Debug, Args)]
pub struct RotateSaArgs {
    /// How long tokens of the old key stay valid after all API servers sign with the new one
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = token_life)]
    tokens_live: Duration,

    /// The new key: ecdsa-p256, ecdsa-p384, rsa-2048 or rsa-4096
    #[arg(long, default_value = "ecdsa-p256")]
    algorithm: KeyAlgorithm,
}

/// A time as for a kubeconfig, or none at all: `0h`.
fn token_life(text: &str) -> Result<Duration, String> {
    if ["0m", "0h", "0d"].contains(&text) { Ok(Duration::ZERO) } else { life(text) }
}

/// Goes on with the rotation of an authority, or begins it.
pub fn authority(args: &RotateCaArgs, context: &Context, cluster: &Cluster, ui: Ui) -> Outcome {
    let table = pki::table(cluster);
    if !table.authorities.iter().any(|spec| spec.authority.as_str() == args.authority) {
        let known: Vec<&str> = table.authorities.iter().map(|spec| spec.authority.as_str()).collect();
        let failure = Failure::new(Kind::Input, format!("the cluster has no authority `{}`", args.authority));
        return Err(failure.hint(format!("it has {}", known.join(", "))));
    }
    let algorithm = args.algorithm;
    Desk { context, cluster, ui, name: &args.authority, algorithm, tokens_live: Duration::ZERO }.run()
}

/// Goes on with the rotation of the service accounts' key pair, or begins it.
pub fn service_account(args: &RotateSaArgs, context: &Context, cluster: &Cluster, ui: Ui) -> Outcome {
    let table = pki::table(cluster);
    let signs = |subject: &Subject<'_>| matches!(subject, Subject::KeyPair(_)) && !subject.is_encryption();
    let pairs = Subject::all(&table).filter(signs);
    let Some(name) = pairs.map(Subject::name).next() else {
        return Err(Failure::new(Kind::Input, "the cluster has no key pair for service accounts' tokens").hint(
            "clusters with `orchestrator = \"kubernetes\"` have one; k3s rotates its own: `k3s certificate rotate`",
        ));
    };
    let RotateSaArgs { tokens_live, algorithm } = *args;
    Desk { context, cluster, ui, name, algorithm, tokens_live }.run()
}

/// Continues the rotation of the key that encrypts Secrets, or begins it.
pub fn encryption(context: &Context, cluster: &Cluster, ui: Ui) -> Outcome {
    let table = pki::table(cluster);
    let Some(name) = Subject::all(&table).find(|subject| subject.is_encryption()).map(Subject::name) else {
        return Err(Failure::new(Kind::Input, "the cluster has no key that encrypts Secrets").hint(
            "clusters with `orchestrator = \"kubernetes\"` have one; k3s rotates its own: `k3s secrets-encrypt rotate-keys`",
        ));
    };
    let algorithm = KeyAlgorithm::default();
    Desk { context, cluster, ui, name, algorithm, tokens_live: Duration::ZERO }.run()
}

/// What one step of a rotation is made with.
struct Desk<'a> {
    context: &'a Context,
    cluster: &'a Cluster,
    ui: Ui,
    name: &'a str,
    algorithm: KeyAlgorithm,
    tokens_live: Duration,
}

impl Desk<'_> {
    fn run(&self) -> Outcome {
        let _locks = self.lock()?;
        let survey = certs::survey(&self.context.project.certs(), self.cluster, self.context.clock.now())?;
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
        let policy = Policy { algorithm: self.algorithm, ..Policy::default() };
        let now = self.context.clock.now();
        let done = rotation::apply(&survey.certs, self.cluster, self.name, stage, &policy, now, || {
            self.context.keyring.open()
        });
        let done = done.map_err(|error| {
            let input = matches!(error, RotateError::Files { .. } | RotateError::Absent(_));
            let kind = if input { Kind::Input } else { Kind::Failed };
            Failure::from_error(kind, &error).maybe_hint(error.hint())
        })?;
        if let Ok(flake) = self.context.project.flake() {
            flake.make_visible(&["certs"]).failed()?;
        }
        self.tell(stage, &done)
    }

    /// Locks the voters of a running cluster: whether a stage is deployed everywhere must not change while the next one is made.
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

    /// The stage that is recorded must be what every machine runs.
    fn refuse_before_deployed(&self, survey: &Survey, subject: Subject<'_>, stage: Stage) -> Result<(), Failure> {
        let nodes = subject.consumers(&survey.table);
        let found = self.ask(&nodes)?;
        let behind = rotation::behind(&survey.table, &survey.tree, subject, stage, &found);
        if behind.is_empty() {
            return Ok(());
        }
        let list: String = behind.iter().map(|(node, why)| format!("\n{node}: {why}")).collect();
        let names: Vec<&str> = behind.keys().map(NodeName::as_str).collect();
        let message = format!("{}: {stage}, is not deployed everywhere:{list}", self.name);
        Err(Failure::new(Kind::Refused, message).hint(format!(
            "`machinist deploy {}`, then this again; a machine that is gone for good leaves machines.nix first",
            names.join(" ")
        )))
    }

    /// Asks the machines at once which certificates they run with.
    fn ask(&self, nodes: &[NodeName]) -> Result<BTreeMap<NodeName, Found>, Failure> {
        let connector = connect::connector(self.context, self.cluster, None)?;
        let ask = |node: &NodeName| {
            let remote = connector.connect(node).map_err(StepError::from)?;
            certificates(&*remote)
        };
        Ok(std::thread::scope(|scope| {
            let asked: Vec<_> = nodes.iter().map(|node| (node, scope.spawn(|| ask(node)))).collect();
            let answer = |(node, thread): (&NodeName, std::thread::ScopedJoinHandle<'_, _>)| {
                let found = thread.join().unwrap_or_else(|_| Ok(BTreeMap::new()));
                (node.clone(), found.map_err(|error| failure::words(node, &error)))
            };
            asked.into_iter().map(answer).collect()
        }))
    }

    /// What the old one signed or encrypted has to be replaced, or to end, before it is dropped.
    fn replace_what_is_left(&self, subject: Subject<'_>, rotation: &Rotation) -> Result<(), Failure> {
        match subject {
            Subject::Authority(_) => Ok(()),
            Subject::KeyPair(_) if subject.is_encryption() => self.rewrite_secrets(),
            Subject::KeyPair(_) => self.wait_for_tokens(subject, rotation),
        }
    }

    /// Writes all Secrets again, each API server encrypts with the new key now.
    fn rewrite_secrets(&self) -> Result<(), Failure> {
        let connector = connect::connector(self.context, self.cluster, None)?;
        let certs = self.context.project.certs();
        let reach = Reach { certs, cluster: self.cluster, connector: &connector, keyring: &self.context.keyring };
        let failed = |error: RewriteError| Failure::from_error(Kind::Failed, &error).maybe_hint(error.hint());
        let Rewritten { secrets, writes } =
            reach.with_server(|server| async move { rewrite(&server).await.map_err(failed) })?;
        self.ui.story(&format!("{writes} of {secrets} Secrets were written again, encrypted with the new key"));
        Ok(())
    }

    /// What the old key signed is valid for a time, which begins when nobody signs with it any more.
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

    fn tell(&self, stage: Stage, done: &Survey) -> Outcome {
        let fresh = certs::survey(&self.context.project.certs(), self.cluster, self.context.clock.now())?;
        let Some(subject) = self.subject(&fresh) else { return Ok(ExitCode::SUCCESS) };
        let ids = trusted(&fresh, subject);
        let issued = done.plan.actions.iter().filter(|action| action.step.makes_one()).count();
        let command = subject.command();
        let next = match stage {
            Stage::DropOld => vec!["machinist deploy --all".to_owned()],
            _ => vec!["machinist deploy --all".to_owned(), command],
        };
        if self.ui.json {
            self.ui.result_json(&json!({
                "rotates": self.name, "stage": stage, "trusted": ids, "issued": issued, "next": next,
            }));
            return Ok(ExitCode::SUCCESS);
        }
        let what = match (stage, ids.as_slice()) {
            (_, ids) if subject.is_encryption() => encrypted(stage, ids),
            (Stage::TrustBoth, [old, new]) => {
                format!("{new} is made and will be trusted beside {old}, which still signs")
            }
            (Stage::SignNew, [new, old]) => format!("{new} signs, {old} is still trusted"),
            (_, ids) => format!("only {} is trusted", ids.iter().map(KeyId::as_str).collect::<Vec<_>>().join(", ")),
        };
        let issued = match issued {
            0 => String::new(),
            1 => "; 1 certificate issued anew".to_owned(),
            count => format!("; {count} certificates issued anew"),
        };
        self.ui.result(&format!("{}: {stage}: {what}{issued}", self.name));
        for line in advice(self.name, stage) {
            self.ui.story(line);
        }
        self.ui.story(&format!(
            "next: {}",
            next.iter().map(|step| format!("`{step}`")).collect::<Vec<_>>().join(", then ")
        ));
        Ok(ExitCode::SUCCESS)
    }
}

/// Says which key encrypts Secrets.
fn encrypted(stage: Stage, ids: &[KeyId]) -> String {
    let name = |id: &KeyId| if is_plain_text(id) { "plain text".to_owned() } else { id.to_string() };
    match (stage, ids) {
        (Stage::TrustBoth, [old, new]) if is_plain_text(old) => {
            format!("{new} is made and will decrypt; Secrets are still plain text")
        }
        (Stage::TrustBoth, [old, new]) => format!("{new} is made and will decrypt, {old} still encrypts"),
        (Stage::SignNew, [new, old]) => format!("{new} encrypts, {} is still read", name(old)),
        (_, ids) => format!("only {} is read", ids.iter().map(name).collect::<Vec<_>>().join(", ")),
    }
}

fn trusted(survey: &Survey, subject: Subject<'_>) -> Vec<KeyId> {
    let file = &subject.files().certificate;
    let ids = survey.tree.trusted(file).iter().map(|certificate| certificate.key_id.clone());
    ids.chain(survey.tree.public_keys(file).iter().cloned()).collect()
}

fn refuse_problems(survey: &Survey) -> Result<(), Failure> {
    let Some(refusal) = survey.plan.refusal() else { return Ok(()) };
    let hint = survey.plan.problems.first().map(|problem| problem.hint.clone());
    Err(Failure::new(Kind::Input, format!("certs/ is not as it should be:\n{refusal}")).maybe_hint(hint))
}

/// What a deploy cannot do for the person.
fn advice(name: &str, stage: Stage) -> &'static [&'static str] {
    match (name, stage) {
        ("kubernetes", Stage::TrustBoth) => &[
            "people need a new kubeconfig before the next stage is deployed, one that trusts both: `machinist kubeconfig`",
        ],
        ("kubernetes", Stage::SignNew) => &[
            "before the last stage: people need a new kubeconfig once more, since the old authority signed theirs; and pods that \
             speak to the API read its authority when they start, so restart those that are older than this rotation",
        ],
        ("front-proxy", Stage::DropOld) => &[
            "extension API servers read whom to trust from a ConfigMap to which API servers only add: after the deploy, \
             `kubectl --namespace kube-system delete configmap extension-apiserver-authentication` lets it be made anew",
        ],
        ("service-account", Stage::SignNew) => &[
            "tokens in Secrets of the type kubernetes.io/service-account-token never end by themselves and are refused after the \
             last stage: delete and make them anew; `kubectl get secrets -A --field-selector \
             type=kubernetes.io/service-account-token` lists them",
            "pods get a new token within an hour; programs that read theirs only once keep one that lives for up to a year: \
             restart those before the last stage",
        ],
        ("secrets-encryption", Stage::SignNew) => &[
            "when that is deployed, the last stage writes all Secrets again through the API before it drops the old key",
        ],
        ("secrets-encryption", Stage::DropOld) => &[
            "older snapshots of etcd hold Secrets that these API servers cannot read: before one is restored, restore \
             certs/shared/secrets-encryption.* from the commit of that time",
        ],
        _ => &[],
    }
}

fn minute(time: OffsetDateTime) -> String {
    format!("{} {:02}:{:02} UTC", time.date(), time.hour(), time.minute())
}
