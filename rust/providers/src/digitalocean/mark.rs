//! Marks of what belongs to a cluster: tags of droplets and firewalls, names of keys, the description of a VPC. Letters of
//! a tag count in both cases as the same.

/// Returns the mark of everything that belongs to a cluster, which is also a tag of each of its droplets.
#[must_use]
pub fn mark(cluster: &str) -> String {
    format!("machinist:{cluster}")
}

/// Returns the tag of a node's droplet.
pub fn node(cluster: &str, node: &str) -> String {
    format!("{}:node:{node}", mark(cluster))
}

/// Returns the tag with the digest of the host key that a droplet was created with.
pub fn first_key(cluster: &str, digest: &str) -> String {
    format!("{}:key:{digest}", mark(cluster))
}

/// Returns the tag that puts a droplet behind a firewall: a droplet that is created with it is never open, and a
/// firewall takes ten droplets by number, but any number by tag.
pub fn firewall(cluster: &str, name: &str) -> String {
    format!("{}:firewall:{name}", mark(cluster))
}

/// Returns the value of the first tag that begins as `prefix` does.
pub fn value<'a>(tags: &'a [String], prefix: &str) -> Option<&'a str> {
    tags.iter().find_map(|tag| {
        let (start, value) = tag.split_at_checked(prefix.len())?;
        start.eq_ignore_ascii_case(prefix).then_some(value)
    })
}

/// Returns true if the tag is one of them.
pub fn has(tags: &[String], tag: &str) -> bool {
    tags.iter().any(|other| other.eq_ignore_ascii_case(tag))
}

/// Returns true if the tag is one of the cluster's.
pub fn is_of(tag: &str, cluster: &str) -> bool {
    let mark = mark(cluster);
    let rest = tag.split_at_checked(mark.len()).filter(|(start, _)| start.eq_ignore_ascii_case(&mark));
    rest.is_some_and(|(_, rest)| rest.is_empty() || rest.starts_with(':'))
}

#[cfg(test)]
mod tests {
    use super::{has, is_of, value};

    #[test]
    fn letters_of_a_tag_count_in_both_cases_and_another_cluster_is_another_one() {
        let tags = ["Machinist:Magi".to_owned(), "machinist:magi:node:cp1".to_owned()];
        assert!(has(&tags, "machinist:magi"));
        assert_eq!(value(&tags, "machinist:magi:node:"), Some("cp1"));
        assert!(is_of("machinist:magi", "magi") && is_of("machinist:magi:key:Ab", "magi"));
        assert!(!is_of("machinist:magi2", "magi") && !is_of("machinist", "magi") && !is_of("mächinist:magi", "magi"));
    }
}
