//! Moments of the clouds' clock, in milliseconds since 1970, and their form in answers.

use ::time::OffsetDateTime;
use ::time::format_description::well_known::Rfc3339;

/// Milliseconds since 1970, of a clock that tests can move forward.
pub type Moment = i64;

/// The computer's clock.
pub fn now() -> Moment {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Moment::try_from(since.as_millis()).unwrap_or(Moment::MAX)
}

/// RFC 3339 in UTC with whole seconds: `2026-11-30T20:00:00Z`.
pub fn text(moment: Moment) -> String {
    OffsetDateTime::from_unix_timestamp(moment.div_euclid(1000))
        .ok()
        .and_then(|date| date.format(&Rfc3339).ok())
        .unwrap_or_else(|| "1970-01-01T00:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn a_moment_is_written_in_utc_with_whole_seconds() {
        assert_eq!(text(1_796_068_801_999), "2026-11-30T20:00:01Z");
    }
}
