//! Records as text of a zone file (RFC 1035, section 5), for zones that are elsewhere.

use std::fmt::Write as _;

use super::desired::Desired;

/// Returns the records as a part of a zone: with `$ORIGIN` and `$TTL`, and without SOA and NS, which are those of the zone.
#[must_use]
pub fn zone_file(desired: &Desired) -> String {
    let Desired { cluster, zone, ttl, sets, notes } = desired;
    let mut text =
        format!("; Records of {cluster}, by `machinist dns --zone-file`. Not a complete zone: no SOA and NS.\n");
    // Writing to a String cannot fail.
    let _ = write!(text, "$ORIGIN {zone}.\n$TTL {ttl}\n");
    let width = sets.keys().map(|key| key.name.len()).max().unwrap_or_default();
    for (key, values) in sets {
        for value in values {
            let _ = writeln!(text, "{:width$} IN {:4} {value}", key.name, key.kind);
        }
    }
    for note in notes {
        let _ = writeln!(text, "; {}: {}", note.name, note.reason);
    }
    text
}
