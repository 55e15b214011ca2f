//! Entries of journald, as `journalctl --output=json` prints them.

use machinist_text::{bounded, one_line, visible};
use serde::Serialize;
use serde_json::{Map, Value};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Maximum length of a message, in bytes.
const LONGEST: usize = 16 << 10;

/// Fields that are read.
pub(super) const FIELDS: &str = "__REALTIME_TIMESTAMP,MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,_COMM,_PID,_SYSTEMD_UNIT,UNIT";

/// Entry of a journal. Texts are cleaned and bounded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Time by the machine's clock, in microseconds since 1970.
    #[serde(rename = "microseconds")]
    pub at: i64,
    /// Unit that wrote it, or that systemd wrote about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Program that wrote it.
    pub program: String,
    /// Process that wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<u32>,
    /// syslog's level, from 0, an emergency, to 7.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// Message; it may have several lines.
    pub message: String,
}

impl Entry {
    /// Parses a line of journalctl; none if it is not an entry.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let fields: Map<String, Value> = serde_json::from_str(line).ok()?;
        let named = |names: &[&str]| names.iter().find_map(|name| text(fields.get(*name)?));
        Some(Self {
            at: named(&["__REALTIME_TIMESTAMP"])?.parse().ok()?,
            unit: named(&["UNIT", "_SYSTEMD_UNIT"]).map(|unit| one_line(&unit).into_owned()),
            // A program chooses its name; with a line break it would be an entry of another machine.
            program: one_line(&named(&["SYSLOG_IDENTIFIER", "_COMM"]).unwrap_or_else(|| "-".to_owned())).into_owned(),
            process: named(&["_PID"]).and_then(|text| text.parse().ok()),
            priority: named(&["PRIORITY"]).and_then(|text| text.parse().ok()),
            message: named(&["MESSAGE"]).unwrap_or_default(),
        })
    }

    /// Returns the time in RFC 3339 form, with milliseconds; empty if it is out of range.
    #[must_use]
    pub fn time(&self) -> String {
        let milliseconds = i128::from(self.at.div_euclid(1000)) * 1_000_000;
        let time = OffsetDateTime::from_unix_timestamp_nanos(milliseconds).ok();
        let text = time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default();
        pad(&text)
    }
}

/// Returns the time with three digits of fraction: RFC 3339 omits zeros at the end, which would break columns.
fn pad(time: &str) -> String {
    let Some(bare) = time.strip_suffix('Z') else { return time.to_owned() };
    let (seconds, fraction) = bare.split_once('.').unwrap_or((bare, ""));
    format!("{seconds}.{fraction:0<3}Z")
}

/// Returns a field's text. journald prints what is not UTF-8 as an array of bytes, and repeated fields as an array of
/// texts.
fn text(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(Value::is_u64) => {
            let bytes: Vec<u8> =
                items.iter().filter_map(Value::as_u64).filter_map(|byte| u8::try_from(byte).ok()).collect();
            String::from_utf8_lossy(&bytes).into_owned()
        }
        Value::Array(items) => text(items.first()?)?,
        _ => return None,
    };
    Some(bounded(&visible(&text), LONGEST).into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Entry;

    #[test]
    fn an_entry_has_its_unit_program_and_time() {
        let line = r#"{"__REALTIME_TIMESTAMP":"1764520000123456","MESSAGE":"ready","PRIORITY":"6","SYSLOG_IDENTIFIER":"etcd","_PID":"41","_SYSTEMD_UNIT":"etcd.service"}"#;
        let entry = Entry::parse(line).unwrap();
        assert_eq!(entry.time(), "2025-11-30T16:26:40.123Z");
        assert_eq!(
            (entry.unit.as_deref(), entry.program.as_str(), entry.process),
            (Some("etcd.service"), "etcd", Some(41))
        );
        assert_eq!((entry.message.as_str(), entry.priority), ("ready", Some(6)));
    }

    #[test]
    fn a_time_has_three_digits_of_fraction() {
        let time = |at| Entry::parse(&format!(r#"{{"__REALTIME_TIMESTAMP":"{at}"}}"#)).unwrap().time();
        assert_eq!(time(1_764_520_000_000_000_i64), "2025-11-30T16:26:40.000Z");
        assert_eq!(time(1_764_520_000_100_000), "2025-11-30T16:26:40.100Z");
        assert_eq!(time(i64::MAX), "", "out of range");
    }

    #[test]
    fn bytes_that_are_no_text_and_control_sequences_are_made_visible() {
        let line = r#"{"__REALTIME_TIMESTAMP":"1","MESSAGE":[27,91,50,74,255],"SYSLOG_IDENTIFIER":["a","b"]}"#;
        let entry = Entry::parse(line).unwrap();
        assert_eq!((entry.message.as_str(), entry.program.as_str()), ("\\u{1b}[2J\u{fffd}", "a"));
    }

    #[test]
    fn a_program_cannot_forge_an_entry_of_another_machine() {
        let line = r#"{"__REALTIME_TIMESTAMP":"1","SYSLOG_IDENTIFIER":"x\n2026 casper sshd","_SYSTEMD_UNIT":"a\nb"}"#;
        let entry = Entry::parse(line).unwrap();
        assert_eq!((entry.program.as_str(), entry.unit.as_deref()), ("x\\n2026 casper sshd", Some("a\\nb")));
    }

    #[test]
    fn what_is_not_an_entry_is_none() {
        for line in
            ["", "-- No entries --", "[]", "{}", r#"{"__REALTIME_TIMESTAMP":"x"}"#, r#"{"__REALTIME_TIMESTAMP":{}}"#]
        {
            assert_eq!(Entry::parse(line), None, "{line}");
        }
    }
}
