//! One file: read, decrypted, and its errors.

use machinist_secrets::Identities;
use machinist_sops::{Document, Opened, SopsError};

use super::store::{SecretName, Store};
use crate::{
    context::Context,
    failure::{Failure, Kind},
};

/// Opens a file that exists.
pub(super) fn open(context: &Context, store: &Store, file: &SecretName) -> Result<Opened, Failure> {
    let document = parse(store, file)?;
    let identities = context.keyring.unlock()?;
    opened(document, file, &identities)
}

pub(super) fn parse(store: &Store, file: &SecretName) -> Result<Document, Failure> {
    let bytes = store.read(file)?;
    Document::parse(file.format(), &bytes).map_err(|error| failure(file, &error))
}

pub(super) fn opened(document: Document, file: &SecretName, identities: &Identities) -> Result<Opened, Failure> {
    let key = document.data_key(|slot| identities.unwrap_key(&slot.enc)).map_err(|error| match error {
        SopsError::Groups { all: 1, .. } => {
            let for_whom: Vec<&str> = document.metadata().recipients().collect();
            let text = format!("{file}: cannot decrypt: tried {identities}; it is encrypted for {}", for_whom.join(", "));
            Failure::new(Kind::Failed, text)
                .hint("set MACHINIST_IDENTITY to the identity of one of them, or let an operator run `machinist secrets rekey`")
        }
        error => failure(file, &error),
    })?;
    document.open(key).map_err(|error| failure(file, &error))
}

/// Returns an error of a file as a failure.
pub(super) fn failure(file: &SecretName, error: &SopsError) -> Failure {
    let text = format!("{file}: {error}");
    let restore = "restore the file from version control (`git checkout -- FILE`)";
    match error {
        SopsError::Value { .. } | SopsError::Mac | SopsError::MacForm | SopsError::NoMac | SopsError::Key => {
            Failure::new(Kind::Failed, text).hint(restore)
        }
        SopsError::Layout(_) | SopsError::NotText => Failure::new(Kind::Input, text).hint(restore),
        SopsError::NotEncrypted => Failure::new(Kind::Input, text)
            .hint("move it away, then `machinist secrets set NAME --file FILE` encrypts it"),
        SopsError::Missing(_) => Failure::new(Kind::Input, text).hint("`machinist secrets list NAME` lists its keys"),
        SopsError::Foreign(_) => Failure::new(Kind::Refused, text).hint("use `sops rotate` and `sops updatekeys`"),
        _ => Failure::new(Kind::Input, text),
    }
}
