//! Suggestion of the known word nearest to an unknown one.

/// Returns the word that was probably meant: at most a third of its letters differ; a swap of neighbours counts once.
pub fn nearest<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = text.to_lowercase();
    let distance = |word: &str| strsim::osa_distance(&lower, &word.to_lowercase());
    let length = text.chars().count();
    known
        .into_iter()
        // A long text is not a misspelling, and the distance takes quadratic time.
        .filter(|word| length <= 64 && word.len() <= 64)
        .map(|word| (distance(word), word))
        .filter(|(distance, word)| *distance <= (word.chars().count().max(length) / 3).max(1))
        .min()
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_near_miss_is_suggested_and_a_far_one_is_not() {
        let known = ["etcd", "worker", "control-plane", "ip"];
        assert_eq!(nearest("ectd", known), Some("etcd"));
        assert_eq!(nearest("controlplane", known), Some("control-plane"));
        assert_eq!(nearest("IP", known), Some("ip"));
        assert_eq!(nearest("nonsense", known), None);
        assert_eq!(nearest(&"e".repeat(100_000), known), None);
    }
}
