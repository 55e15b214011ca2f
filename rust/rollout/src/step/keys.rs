//! Installation of private keys: a node gets only its own ones, each named by its public key, so that both the running
//! system and the previous one find theirs.

use machinist_remote::{Remote, RemoteDirectory, RemoteEntry, RemoteFile, put_files};

use zeroize::Zeroizing;

use super::StepError;

/// Directory of the keys on a node. Only root can enter.
pub const DIRECTORY: &str = "/var/lib/machinist/keys";

/// A private key for a node.
pub struct Key {
    /// File name, such as `etcd-server-0123456789abcdef.key`.
    pub file: String,
    /// PEM text. Overwritten when it is dropped.
    pub content: Zeroizing<Vec<u8>>,
}

/// Returns the file name of a leaf's key.
#[must_use]
pub fn file_name(leaf: &str, key_id: &str) -> String {
    format!("{leaf}-{key_id}.key")
}

/// Installs the keys, all in one command. Contents are sent on standard input, never as arguments.
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
    // The parent directory is open to other users: applications keep their own state beside the keys.
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
