//! Encryption at rest with [age](https://age-encryption.org): private keys are stored in the repository as
//! ASCII-armored age files, encrypted to the recipients of the cluster's operators.
//!
//! - [`Recipients`] and [`encrypt`]: public keys of the operators, and files encrypted to them.
//! - [`Identities`] and [`decrypt`]: an operator's own secret keys, and the files they decrypt.
//! - [`KeyRecipient`]: one recipient of a data key, as sops files have it.
//! - [`Note`]: plaintext metadata of an encrypted file.
//! - [`IdentityPlaces`]: search path of an operator's identity.
//! - [`SshKeyPair`]: a new host key. [`write_private`]: a new secret file on this computer.
//!
//! Plaintext is kept in [`zeroize::Zeroizing`] buffers and in types that zero themselves. No `Debug` output shows it,
//! and only [`write_private`] writes it to disk.

mod data_key;
mod identities;
mod identity_file;
mod note;
mod places;
mod private_file;
mod prompt;
mod recipients;
mod seal;
mod ssh;

pub use data_key::{KeyRecipient, age_recipient_of_host_key};
pub use identities::{GeneratedIdentity, Identities, IdentityError, generate_identity, recipient_of_file};
pub use note::{CorruptError, Note};
pub use places::{IdentityPlaces, default_identity_path};
pub use private_file::{PrivateFileError, write_private};
pub use prompt::{Prompt, no_prompt};
pub use recipients::{RecipientError, Recipients};
pub use seal::{DecryptError, EncryptError, SealedWriter, decrypt, decrypt_from, encrypt, encrypt_about, encrypt_to};
pub use ssh::{SshKeyError, SshKeyPair};
pub use zeroize::{Zeroize, Zeroizing};
