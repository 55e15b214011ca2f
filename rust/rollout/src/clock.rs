//! Offset of a host's clock from the local one. Pure.

/// Returns the minimum offset of the host's clock in milliseconds, negative if it is behind. `asked` and `answered` are
/// the local times of the request and the response (milliseconds since 1970); an offset within the round trip counts as
/// zero.
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
