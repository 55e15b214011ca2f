//! Puts private keys in place: a node's own ones only, each named by its public key, so that the system that runs and
//! the one before it both find theirs.

use machinist_remote::{Remote, RemoteDirectory, RemoteEntry, RemoteFile, put_files};

use zeroize::Zeroizing;

use super::StepError;

/// Where keys are on a node. Only root can enter.
pub const DIRECTORY: &str = "/var/lib/machinist/keys";

/// A private key for a node.
pub struct Key {
    /// The file's name, such as `etcd-server-0123456789abcdef.key`.
    pub file: String,
    /// The PEM text. Overwritten when it is dropped.
    pub content: Zeroizing<Vec<u8>>,
}

/// Returns the file name of a leaf's key.
#[must_use]
pub fn file_name(leaf: &str, key_id: &str) -> String {
    format!("{leaf}-{key_id}.key")
}

/// Puts the keys in place, all in one command. Contents travel on standard input, never as arguments.
///
/// # Errors
/// The connection fails or the host cannot write.
pub fn put(remote: &dyn Remote, keys: Vec<Key>) -> Result<(), StepError> {
    if keys.is_empty() {
        return Ok(());
    }
    let directory = |path: &str, mode| {
        RemoteEntry::Directory(RemoteDirectory { path: path.to_owned(), mode, owner: "root:root".to_owned() })
    };
    // Others may enter the parent: applications keep their own state beside the keys.
    let mut entries = vec![directory("/var/lib/machinist", 0o755), directory(DIRECTORY, 0o700)];
    entries.extend(keys.into_iter().map(|key| {
        RemoteEntry::File(RemoteFile {
            path: format!("{DIRECTORY}/{}", key.file),
            contents: key.content.to_vec(),
            mode: 0o400,
            owner: "root:root".to_owned(),
        })
    }));
    put_files(remote, &entries)?;
    Ok(())
}
