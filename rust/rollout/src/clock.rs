//! The offset of a host's clock from this computer's. Pure.

/// Returns by how many milliseconds the host's clock is certainly off, when the question was asked and answered at
/// these times of the own clock (milliseconds since 1970). What the round trip may explain does not count.
#[must_use]
pub fn offset(asked: i64, host: i64, answered: i64) -> i64 {
    if host < asked {
        host.saturating_sub(asked)
    } else if host > answered {
        host.saturating_sub(answered)
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::offset;

    #[test]
    fn the_round_trip_explains_what_lies_within_it() {
        assert_eq!([offset(1000, 1400, 1500), offset(1000, 900, 1500), offset(1000, 1700, 1500)], [0, -100, 200]);
    }
}
