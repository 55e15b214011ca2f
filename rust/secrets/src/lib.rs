//! Encryption at rest with [age](https://age-encryption.org): private keys lie in the repository as ASCII-armored age
//! files, encrypted to the recipients of the cluster's operators.
//!
//! - [`Recipients`] and [`encrypt`]: who may open a file, and the file.
//! - [`Identities`] and [`decrypt`]: an operator's own secret keys, and what they open.
//! - [`Note`]: what a file says about itself to anyone, without being decrypted.
//! - [`IdentityPlaces`]: where an operator's identity is looked for.
//! - [`SshKeyPair`]: a new host key. [`write_private`]: a new secret file of this computer.
//!
//! Plaintext lives in [`zeroize::Zeroizing`] buffers and in types that overwrite themselves. Nothing here has a `Debug`
//! output that shows it, and nothing here keeps it on disk but [`write_private`].

mod identities;
mod identity_file;
mod note;
mod places;
mod private_file;
mod prompt;
mod recipients;
mod seal;
mod ssh;

pub use identities::{GeneratedIdentity, Identities, IdentityError, generate_identity, recipient_of_file};
pub use note::{CorruptError, Note};
pub use places::{IdentityPlaces, default_identity_path};
pub use private_file::{PrivateFileError, write_private};
pub use prompt::{Prompt, no_prompt};
pub use recipients::{RecipientError, Recipients};
pub use seal::{DecryptError, EncryptError, SealedWriter, decrypt, decrypt_from, encrypt, encrypt_about, encrypt_to};
pub use ssh::{SshKeyError, SshKeyPair};
pub use zeroize::{Zeroize, Zeroizing};
