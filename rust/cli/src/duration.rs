//! Durations on the command line.

use time::Duration;

/// Parses a duration: a number with a unit, at most a year.
pub fn life(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no time such as 30m, 8h or 7d");
    let (number, seconds) = match text.char_indices().next_back() {
        Some((end, 'm')) => (&text[..end], 60),
        Some((end, 'h')) => (&text[..end], 3600),
        Some((end, 'd')) => (&text[..end], 86400),
        _ => return Err(wrong()),
    };
    match number.parse::<i64>() {
        Ok(0) => Err("it would be over at once".to_owned()),
        Ok(number) if number > 0 && number.saturating_mul(seconds) <= 365 * 86400 => {
            Ok(Duration::seconds(number * seconds))
        }
        Ok(number) if number > 0 => Err("more than 365d is no life for something that cannot be revoked".to_owned()),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::life;

    #[test]
    fn a_life_has_a_unit_and_an_end() {
        assert_eq!(life("30m"), Ok(Duration::minutes(30)));
        assert_eq!(life("8h"), Ok(Duration::hours(8)));
        assert_eq!(life("365d"), Ok(Duration::days(365)));
        for text in ["", "8", "h", "0h", "-1h", "366d", "9223372036854775807d", "1y", "8ä", "1.5h"] {
            assert!(life(text).is_err(), "{text}");
        }
    }
}
