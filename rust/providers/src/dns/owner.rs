//! TXT records that tell whose a record is, as external-dns' registry has them.
//!
//! The owner of the records of `www` is told by `_machinist.www`, a name that no host has, so that it is beside no TXT
//! record of others and not hidden by a CNAME: `heritage=machinist,machinist/cluster=magi,machinist/type=A`.

use super::zone::{FoundSet, Key, Kind};

/// First label of the names of our TXT records.
const LABEL: &str = "_machinist";
/// Label in the place of `*`: a wildcard is one only as the first label.
const ANY: &str = "_any";
/// Value of `heritage`.
const HERITAGE: &str = "machinist";

/// A TXT record of ours, or of another cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// Name and type of the records that it is about.
    pub key: Key,
    /// The cluster whose they are.
    pub cluster: String,
    /// The text, as it is in the zone.
    pub text: String,
}

/// Returns the name of the TXT record about a name, both relative to the zone.
#[must_use]
pub fn name(of: &str) -> String {
    match of.strip_prefix('*') {
        Some(rest) => format!("{LABEL}.{ANY}{rest}"),
        None if of == "@" => LABEL.to_owned(),
        None => format!("{LABEL}.{of}"),
    }
}

/// Returns the name that a TXT record of this name is about.
fn subject(name: &str) -> Option<String> {
    let rest = name.strip_prefix(LABEL)?;
    if rest.is_empty() {
        return Some("@".to_owned());
    }
    let of = rest.strip_prefix('.')?;
    match of.strip_prefix(ANY) {
        Some(below) if below.is_empty() || below.starts_with('.') => Some(format!("*{below}")),
        _ => Some(of.to_owned()),
    }
}

/// Returns the text of a cluster's claim.
#[must_use]
pub fn text(cluster: &str, kind: Kind) -> String {
    format!("heritage={HERITAGE},machinist/cluster={cluster},machinist/type={kind}")
}

/// Returns the claims of a set of TXT records. Other texts are none.
#[must_use]
pub fn claims(set: &FoundSet) -> Vec<Claim> {
    let Some(of) = subject(&set.name).filter(|_| set.kind == "TXT") else { return Vec::new() };
    set.records.iter().filter_map(|record| claim(&of, &record.value)).collect()
}

fn claim(of: &str, text: &str) -> Option<Claim> {
    let field = |name: &str| {
        text.split(',').filter_map(|field| field.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    field("heritage").filter(|heritage| *heritage == HERITAGE)?;
    let kind = Kind::parse(field("machinist/type")?)?;
    let cluster = field("machinist/cluster")?.to_owned();
    Some(Claim { key: Key { name: of.to_owned(), kind }, cluster, text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::{claim, name, subject, text};
    use crate::dns::zone::Kind;

    #[test]
    fn the_name_of_the_owner_s_record_tells_the_name_that_it_is_about() {
        for (of, owner) in [
            ("@", "_machinist"),
            ("www", "_machinist.www"),
            ("a.b", "_machinist.a.b"),
            ("*", "_machinist._any"),
            ("*.apps", "_machinist._any.apps"),
        ] {
            assert_eq!(name(of), owner);
            assert_eq!(subject(owner).as_deref(), Some(of));
        }
        assert_eq!(subject("www"), None);
        assert_eq!(subject("_machinists.www"), None);
    }

    #[test]
    fn only_a_complete_text_is_a_claim() {
        let found = claim("www", &text("magi", Kind::Aaaa)).map(|claim| (claim.key.kind, claim.cluster));
        assert_eq!(found, Some((Kind::Aaaa, "magi".to_owned())));
        for other in [
            "v=spf1 -all",
            "heritage=external-dns,external-dns/owner=magi",
            "heritage=machinist,machinist/cluster=magi",
            "heritage=machinist,machinist/cluster=magi,machinist/type=MX",
        ] {
            assert_eq!(claim("www", other), None, "{other}");
        }
    }
}
