//! Public keys of SSH, as both providers take them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};

/// A line of a public key without its comment, and the MD5 fingerprint of its blob in the old notation of OpenSSH.
///
/// `None` if the line is not `TYPE BASE64 [COMMENT]` with a blob of that type.
pub fn parse(line: &str) -> Option<(String, String)> {
    let mut words = line.split_whitespace();
    let (kind, text) = (words.next()?, words.next()?);
    let blob = STANDARD.decode(text).ok()?;
    let (length, rest) = blob.split_first_chunk::<4>()?;
    let name = rest.get(..u32::from_be_bytes(*length) as usize)?;
    if name != kind.as_bytes() {
        return None;
    }
    let bytes: Vec<String> = Md5::digest(&blob).iter().map(|byte| format!("{byte:02x}")).collect();
    Some((format!("{kind} {text}"), bytes.join(":")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::parse;

    #[test]
    fn the_fingerprint_is_the_one_of_ssh_keygen() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f a@b";
        // ssh-keygen -l -E md5 -f FILE
        let (line, fingerprint) = parse(key).unwrap();
        assert_eq!(fingerprint, "0f:a2:0a:d7:38:3e:65:45:08:6b:63:84:1c:ff:dc:ba");
        assert!(!line.contains("a@b"));
    }

    #[test]
    fn a_line_of_another_type_is_not_a_key() {
        assert!(parse("ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f").is_none());
        assert!(parse("ssh-ed25519").is_none());
        assert!(parse("ssh-ed25519 %%%").is_none());
    }
}
