//! `machinist certs rotate-ca`, `rotate-sa`, `rotate-encryption` and `rotate-control`.

use clap::Args;
use machinist_operations::{
    certs::rotate::{self, Request, Rotated, RotatedKind},
    context::Context,
};
use machinist_pki::{KeyAlgorithm, KeyId, encryption::is_plain_text, rotation::Stage};
use serde_json::json;
use time::Duration;

use crate::{
    duration::life,
    failure::{Outcome, exit_code},
    ui::Ui,
};

/// Replaces an authority.
#[derive(Debug, Args)]
pub struct RotateCaArgs {
    /// Its name in certs/authorities, such as etcd, kubernetes, front-proxy or ssh
    authority: String,

    /// The keys of the new authority and of what it signs: ecdsa-p256, ecdsa-p384, rsa-2048 or rsa-4096
    #[arg(long, default_value = "ecdsa-p256")]
    algorithm: KeyAlgorithm,
}

/// Replaces the service accounts' key pair.
#[derive(Debug, Args)]
pub struct RotateSaArgs {
    /// Time that tokens of the old key stay valid after all API servers sign with the new one
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = token_life)]
    tokens_live: Duration,

    /// The new key: ecdsa-p256, ecdsa-p384, rsa-2048 or rsa-4096
    #[arg(long, default_value = "ecdsa-p256")]
    algorithm: KeyAlgorithm,
}

/// Parses a duration as for a kubeconfig, or `0h` for none.
fn token_life(text: &str) -> Result<Duration, String> {
    if ["0m", "0h", "0d"].contains(&text) { Ok(Duration::ZERO) } else { life(text) }
}

impl RotateCaArgs {
    /// Returns the subject of the rotation.
    pub fn request(&self) -> Request {
        Request::Authority { name: self.authority.clone(), algorithm: self.algorithm }
    }
}

impl RotateSaArgs {
    /// Returns the subject of the rotation.
    pub fn request(&self) -> Request {
        Request::ServiceAccount { tokens_live: self.tokens_live, algorithm: self.algorithm }
    }
}

/// Performs the next stage of a rotation.
pub fn run(request: &Request, context: &Context, ui: Ui) -> Outcome {
    tell(&rotate::run(context, request)?, ui);
    Ok(exit_code(None))
}

fn tell(rotated: &Rotated, ui: Ui) {
    let Rotated { name, stage, trusted, issued, kind, command } = rotated;
    let next = match stage {
        Stage::DropOld => vec!["machinist deploy --all".to_owned()],
        _ => vec!["machinist deploy --all".to_owned(), command.clone()],
    };
    if ui.json {
        return ui.result_json(&json!({
            "rotates": name, "stage": stage, "trusted": trusted, "issued": issued, "next": next,
        }));
    }
    let what = match (stage, trusted.as_slice()) {
        (_, ids) if *kind == RotatedKind::Encryption => encrypted(*stage, ids),
        (stage, _) if *kind == RotatedKind::Control => mesh(*stage).to_owned(),
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
    ui.result(&format!("{name}: {stage}: {what}{issued}"));
    for line in advice(name, *stage) {
        ui.story(line);
    }
    let next: Vec<String> = next.iter().map(|step| format!("`{step}`")).collect();
    ui.story(&format!("next: {}", next.join(", then ")));
}

/// Describes which keys nodes are known by in the control mesh.
const fn mesh(stage: Stage) -> &'static str {
    match stage {
        Stage::TrustBoth => "each node has a second key, which the others will accept; it still uses the old one",
        Stage::SignNew => "each node uses its new key, the old one is still accepted",
        Stage::DropOld => "only the new keys are accepted",
    }
}

/// Describes which key encrypts Secrets.
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

/// Returns the manual steps, which a deploy cannot perform.
fn advice(name: &str, stage: Stage) -> &'static [&'static str] {
    match (name, stage) {
        ("kubernetes", Stage::TrustBoth) => &[
            "people need a new kubeconfig before the next stage is deployed, one that trusts both: `machinist kubeconfig`",
        ],
        ("kubernetes", Stage::SignNew) => &[
            "before the last stage: people need a new kubeconfig once more, since the old authority signed theirs; and pods that \
             speak to the API read its authority when they start, so restart those that are older than this rotation",
        ],
        ("ssh", Stage::TrustBoth) => &[
            "people need known_hosts that trust both before the next stage is deployed: `machinist ssh --print-known-hosts`",
        ],
        ("ssh", Stage::DropOld) => &["people fetch known_hosts once more, which then trust only the new one"],
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
