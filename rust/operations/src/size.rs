//! Formatting of sizes.

/// Units above the byte.
const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Formats a number of bytes in the largest unit that fits, with two decimal places.
#[must_use]
pub fn size(bytes: u64) -> String {
    let mut shown = None;
    // Above 2^53 the precision is still sufficient for people.
    let mut value = bytes as f64;
    for unit in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        shown = Some(unit);
    }
    shown.map_or_else(|| format!("{bytes} B"), |unit| format!("{value:.2} {unit}"))
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn a_size_has_the_largest_unit_that_it_reaches() {
        for (bytes, words) in [(0, "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (1 << 31, "2.00 GiB")] {
            assert_eq!(size(bytes), words);
        }
    }
}
