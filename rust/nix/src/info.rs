//! Records of the local store about its paths.

use crate::{NixError, StorePath};

/// The local store's record of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathInfo {
    /// The path.
    pub path: StorePath,
    /// The SHA-256 digest of its archive, 64 hexadecimal digits.
    pub digest: String,
    /// The length of its archive in bytes.
    pub size: u64,
    /// The derivation that built it, if known.
    pub deriver: Option<StorePath>,
    /// The paths that it refers to, sorted; includes itself if it refers to itself.
    pub references: Vec<StorePath>,
}

/// Parses the output of `nix-store --dump-db`: path, digest, size, deriver, the number of references, the references.
pub(crate) fn parse(text: &str) -> Result<Vec<PathInfo>, NixError> {
    let mut lines = text.lines();
    let mut infos = Vec::new();
    while let Some(path) = lines.next() {
        infos.push(record(path, &mut lines).ok_or_else(|| unexpected(path))?);
    }
    Ok(infos)
}

fn record<'a>(path: &str, lines: &mut impl Iterator<Item = &'a str>) -> Option<PathInfo> {
    let path = StorePath::parse(path).ok()?;
    let digest = lines.next()?.to_owned();
    if digest.len() != 64 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let size = lines.next()?.parse().ok()?;
    let deriver = StorePath::parse(lines.next()?).ok();
    let count: usize = lines.next()?.parse().ok()?;
    let mut references = (0..count).map(|_| StorePath::parse(lines.next()?).ok()).collect::<Option<Vec<_>>>()?;
    references.sort_unstable();
    Some(PathInfo { path, digest, size, deriver, references })
}

fn unexpected(path: &str) -> NixError {
    NixError::Answer { program: "nix-store --dump-db".to_owned(), detail: format!("the record of {path}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::parse;

    const A: &str = "/nix/store/00000000000000000000000000000000-a";
    const B: &str = "/nix/store/11111111111111111111111111111111-b";

    #[test]
    fn a_path_with_and_one_without_deriver_are_read() {
        let digest = "0".repeat(64);
        let infos = parse(&format!("{B}\n{digest}\n120\n{A}.drv\n2\n{B}\n{A}\n{A}\n{digest}\n7\n\n0\n")).unwrap();
        assert_eq!((infos[0].size, infos[1].size), (120, 7));
        assert_eq!(infos[0].deriver.as_ref().unwrap().as_str(), format!("{A}.drv"));
        assert_eq!(infos[0].references.iter().map(|path| path.as_str()).collect::<Vec<_>>(), [A, B]);
        assert!(infos[1].deriver.is_none() && infos[1].references.is_empty());
    }

    #[test]
    fn an_answer_that_is_cut_short_is_no_answer() {
        for text in [format!("{A}\n"), format!("{A}\n{}\n7\n\n1\n", "0".repeat(64)), "nonsense\n".to_owned()] {
            assert!(parse(&text).unwrap_err().to_string().contains("dump-db"), "{text}");
        }
    }
}
