//! Certificates of a node that expire soon, from the results of its daily check (`modules/certificates.nix`). Pure.

use crate::HostFacts;

/// Remaining validity below which a certificate is reported, in seconds.
const WARNS: i64 = 30 * DAY;

const DAY: i64 = 86_400;

/// Remedy for expiring certificates.
pub const HINT: &str = "`machinist certs gen` renews what machinist issued and a deploy delivers it; k3s renews its own when it \
                        restarts";

/// Describes the certificates that expire soon or have expired, sorted by name. The host's own clock decides.
#[must_use]
pub fn expiring(facts: &HostFacts) -> Vec<String> {
    let Some(now) = facts.clock.map(|clock| clock / 1000) else { return Vec::new() };
    let soon = facts.certificates.iter().filter(|(_, end)| end.saturating_sub(now) < WARNS);
    soon.map(|(name, end)| words(name, end.saturating_sub(now))).collect()
}

fn words(name: &str, left: i64) -> String {
    let days = |seconds: i64| match seconds / DAY {
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    };
    if left > 0 {
        format!("certificate {name} expires in {}", days(left))
    } else {
        format!("certificate {name} expired {} ago", days(left.saturating_neg()))
    }
}

#[cfg(test)]
mod tests {
    use super::{DAY, expiring};
    use crate::HostFacts;

    #[test]
    fn certificates_that_end_within_a_month_are_reported() {
        let now = 1_795_260_000;
        let certificates = [("a", 31 * DAY), ("b", 29 * DAY + 5), ("c", DAY), ("d", -3 * DAY), ("e", i64::MIN / 2)];
        let certificates = certificates.map(|(name, left)| (name.to_owned(), now + left)).into();
        let mut facts = HostFacts { clock: Some(now * 1000), certificates, ..HostFacts::default() };
        let found = expiring(&facts);
        assert_eq!(
            found[..3],
            ["certificate b expires in 29 days", "certificate c expires in 1 day", "certificate d expired 3 days ago"]
        );
        assert_eq!(found.len(), 4);
        facts.clock = None;
        assert!(expiring(&facts).is_empty());
    }
}
