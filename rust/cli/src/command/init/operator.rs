//! First operator of a cluster: the person who runs `init`.

use std::path::PathBuf;

use machinist_codegen::nix::{self, Value, set};
use machinist_model::NodeName;
use machinist_secrets as secrets;

use super::InitArgs;
use crate::{
    args::Global,
    failure::{Failure, Kind, OrFail},
    ui::Ui,
};
use machinist_operations::files;

/// Renders operators.nix.
pub fn operators_text(args: &InitArgs, global: &Global, ui: Ui) -> Result<String, Failure> {
    let recipient = identity(global, ui)?;
    let mut operator = set([("age", recipient.into()), ("name", user().into())]);
    match ssh_public_key(args)? {
        Some(key) => drop(operator.insert("ssh".to_owned(), key.into())),
        None => ui.warn("no SSH public key found, so no operator can log in; add `ssh = \"...\";` to operators.nix"),
    }
    let header = "Who may log in to the machines as root (ssh) and decrypt the cluster's private keys (age).";
    nix::file(header, &Value::List(vec![operator.into()])).failed()
}

/// Returns the recipient of the operator's age identity, which is generated if there is none. It is stored outside of
/// the repository.
fn identity(global: &Global, ui: Ui) -> Result<String, Failure> {
    let path = global.identity.clone().or_else(secrets::default_identity_path).ok_or_else(|| {
        Failure::new(Kind::Input, "no place for the age identity: HOME is not set")
            .hint("set HOME, or use `--identity FILE`")
    })?;
    if path.exists() {
        return secrets::recipient_of_file(&path)
            .map_err(|error| Failure::from_error(Kind::Input, &error).maybe_hint(error.hint()));
    }
    let identity = secrets::generate_identity();
    secrets::write_private(&path, identity.secret().as_bytes()).failed()?;
    ui.story(&format!("made the age identity {} (keep a copy: it decrypts the cluster's keys)", path.display()));
    Ok(identity.recipient().to_owned())
}

fn user() -> String {
    let name = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_default().to_lowercase();
    NodeName::parse(&name).map_or_else(|_| "operator".to_owned(), |name| name.to_string())
}

fn ssh_public_key(args: &InitArgs) -> Result<Option<String>, Failure> {
    let candidates = match &args.ssh_public_key {
        Some(path) => vec![path.clone()],
        None => {
            let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default().join(".ssh");
            ["id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub"].map(|name| home.join(name)).into()
        }
    };
    for path in &candidates {
        if let Some(text) = files::read_optional(path).failed()? {
            let key = text.trim().to_owned();
            if key.contains("PRIVATE KEY") {
                let failure = Failure::new(Kind::Input, format!("{} is a private key", path.display()));
                return Err(failure.hint(format!("give the public one: `--ssh-public-key {}.pub`", path.display())));
            }
            return Ok(Some(key));
        }
    }
    match &args.ssh_public_key {
        Some(path) => Err(Failure::new(Kind::Input, format!("there is no {}", path.display()))),
        None => Ok(None),
    }
}
