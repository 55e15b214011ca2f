//! Bandwidth of a link.

use std::{fmt, str::FromStr};

use thiserror::Error as ThisError;

/// A rate in bits per second, in the syntax of tc(8): `500kbit`, `20mbit`, `1gbit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    unit: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Kbit,
    Mbit,
    Gbit,
}

/// The text is not a rate, or the rate is out of range.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
#[error("`{0}` is not a rate between 8kbit and 100gbit, such as 500kbit, 20mbit or 1gbit")]
pub struct ParseRateError(String);

const UNITS: [(Unit, &str, u64); 3] =
    [(Unit::Kbit, "kbit", 1_000), (Unit::Mbit, "mbit", 1_000_000), (Unit::Gbit, "gbit", 1_000_000_000)];

impl Rate {
    fn bits(self) -> u64 {
        let scale = UNITS.iter().find(|(unit, ..)| *unit == self.unit).map_or(1, |(_, _, scale)| *scale);
        u64::from(self.count) * scale
    }

    /// Returns the arguments of tc-tbf(8). The bucket holds 10 ms of traffic, for kernels with 100 ticks a second, and
    /// at least one large packet.
    pub(super) fn tbf(self) -> String {
        let burst = (self.bits() / 8 / 100).max(16 * 1024);
        format!("rate {self} burst {burst} latency 200ms")
    }

    /// Parses the rate in the output of [`Rate::tbf`].
    pub(super) fn from_tbf(text: &str) -> Option<Self> {
        text.split_whitespace().nth(1)?.parse().ok()
    }
}

impl FromStr for Rate {
    type Err = ParseRateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (unit, word, _) = UNITS.iter().find(|(_, word, _)| text.ends_with(word))?;
            let digits = text.strip_suffix(word)?;
            let count = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
            let rate = Self { count, unit: *unit };
            (8_000..=100_000_000_000).contains(&rate.bits()).then_some(rate)
        };
        parse().ok_or_else(|| ParseRateError(text.to_owned()))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = UNITS.iter().find(|(unit, ..)| *unit == self.unit).map_or("", |(_, word, _)| *word);
        write!(formatter, "{}{word}", self.count)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_rate_is_read_as_tc_writes_it_and_nothing_else_is() {
        for text in ["500kbit", "20mbit", "1gbit", "100gbit", "8kbit"] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!(rate.to_string(), text);
            assert_eq!(Rate::from_tbf(&rate.tbf()), Some(rate));
        }
        for text in
            ["", "mbit", "20", "-1mbit", "1.5mbit", "20 mbit", "0mbit", "7kbit", "101gbit", "99999999999kbit", "+1mbit"]
        {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_bucket_holds_ten_milliseconds() {
        assert_eq!("80mbit".parse::<Rate>().unwrap().tbf(), "rate 80mbit burst 100000 latency 200ms");
        assert_eq!("100kbit".parse::<Rate>().unwrap().tbf(), "rate 100kbit burst 16384 latency 200ms");
    }
}
