//! Canary phase of a new instance: it gets a share of the connections before the old one is stopped.
//!
//! The node's total share stays constant: the new instance's share is taken from the old one.

use std::{
    fs, io,
    process::Stdio,
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::Value;
use tokio::{
    process::Command,
    time::{sleep, timeout},
};

use super::{Application, Failed, Offer, PAUSE, Place, RollError, write};
use crate::config::chain;

/// The full weight of an instance, in percent.
pub const FULL: u16 = 100;

/// Timeout of the application's canary command, and the pause between two runs.
const COMMAND: Duration = Duration::from_secs(30);
const BETWEEN_COMMANDS: Duration = Duration::from_secs(1);

/// Canary settings of an application.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Canary {
    /// The new instance's share of the node's connections meanwhile, in percent. 0: only the command uses it.
    pub weight: u16,
    /// Duration, in seconds.
    seconds: u64,
    /// A command that must exit with 0 each time; empty for none.
    #[serde(default)]
    command: Vec<String>,
}

impl Application {
    /// Gives the new instance its share for the canary phase, then its full weight. The old one keeps the rest from
    /// then on, until its share is set again.
    pub(super) async fn prove(&self, canary: &Canary, place: &Place, other: &Place) -> Result<(), Failed> {
        let Canary { weight, seconds, .. } = canary;
        eprintln!("{}: {} canary with {weight} % for {seconds} s", self.app, place.unit);
        if let Err(error) = self.share(other, FULL.saturating_sub(*weight)).await {
            return Err(self.failed(place, chain(&error)).await);
        }
        let begun = Instant::now();
        let mut due = begun;
        while begun.elapsed() < Duration::from_secs(*seconds) {
            // Registration in etcd is not checked: an election meanwhile is not the instance's fault.
            let why = match self.objection(place, false).await {
                Ok(None) if Instant::now() >= due => {
                    let said = canary.command(place).await;
                    due = Instant::now() + BETWEEN_COMMANDS;
                    said.err()
                }
                Ok(why) => why,
                Err(why) => Some(why),
            };
            if let Some(why) = why {
                let after = begun.elapsed().as_secs();
                return Err(self.failed(place, format!("after {after} s with {weight} %, {why}")).await);
            }
            sleep(PAUSE).await;
        }
        if let Err(error) = self.offer(place, FULL).await {
            return Err(self.failed(place, chain(&error)).await);
        }
        // The old one is stopped next, so the other nodes must be able to learn that.
        self.wait(place, true).await
    }

    /// Sets a running slot's share of its weight. The rest of its offer stays as it was at its start.
    pub(super) async fn share(&self, place: &Place, share: u16) -> Result<(), RollError> {
        let Some(Offer { path, .. }) = &place.offer else { return Ok(()) };
        let text = match fs::read_to_string(path) {
            // A slot without an offer has no share.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            text => text.and_then(|text| with_share(&text, share)),
        };
        write(path, &text.map_err(|source| RollError::Write { path: path.clone(), source })?)?;
        self.reload(place).await;
        Ok(())
    }
}

impl Canary {
    /// Runs the application's canary command. The error is the reason for its failure.
    async fn command(&self, place: &Place) -> Result<(), String> {
        let Some((program, arguments)) = self.command.split_first() else { return Ok(()) };
        let mut command = Command::new(program);
        let offer = place.offer.as_ref().and_then(|offer| serde_json::from_str::<Value>(&offer.text).ok());
        let said = |field: &str| match offer.as_ref().and_then(|offer| offer.get(field)) {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => String::new(),
        };
        command.args(arguments).env("ADDRESS", said("address")).env("PORT", said("port"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        match timeout(COMMAND, command.output()).await {
            Ok(Ok(output)) if output.status.success() => Ok(()),
            Ok(Ok(output)) => {
                let said = String::from_utf8_lossy(&output.stderr);
                let last = said.lines().last().map(|line| format!(": {line}")).unwrap_or_default();
                Err(format!("canary.command failed ({}{last})", output.status))
            }
            Ok(Err(error)) => Err(format!("cannot run canary.command {program}: {error}")),
            Err(_) => Err(format!("canary.command timed out after {} s", COMMAND.as_secs())),
        }
    }
}

/// Returns the offer with this share of its weight in percent.
pub fn with_share(text: &str, share: u16) -> io::Result<String> {
    let mut offer: serde_json::Map<String, Value> = serde_json::from_str(text)?;
    if share == FULL {
        offer.remove("share");
    } else {
        offer.insert("share".to_owned(), share.into());
    }
    Ok(serde_json::to_string(&offer)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Canary, FULL, with_share};
    use crate::roll::{Offer, Place};

    #[test]
    fn a_share_is_added_beside_the_weight_and_removed_without_a_trace() {
        let whole = r#"{"name":"web-a","weight":100}"#;
        let part = with_share(whole, 10).unwrap();
        assert_eq!(part, r#"{"name":"web-a","share":10,"weight":100}"#);
        assert_eq!(with_share(&part, 90).unwrap(), r#"{"name":"web-a","share":90,"weight":100}"#);
        assert_eq!(with_share(&part, FULL).unwrap(), whole);
        assert!(with_share("", 10).is_err());
    }

    #[tokio::test]
    async fn the_command_gets_the_new_instances_address_and_its_last_line_is_the_reason() {
        let text = r#"{"address":"10.0.0.5","port":8081}"#.to_owned();
        let offer = Some(Offer { path: "/nonexistent".into(), text });
        let place = Place {
            instance: machinist_mesh::Name::parse("web-b").unwrap(),
            unit: "app-web-b.service".to_owned(),
            definition: String::new(),
            offer,
        };
        let says = async |script: &str| {
            let command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
            Canary { weight: 10, seconds: 1, command }.command(&place).await
        };
        assert_eq!(says(r#"test "$ADDRESS:$PORT" = 10.0.0.5:8081"#).await, Ok(()));
        let refused = says("echo too slow >&2; exit 3").await.unwrap_err();
        assert_eq!(refused, "canary.command failed (exit status: 3: too slow)");
        assert!(Canary { weight: 0, seconds: 1, command: Vec::new() }.command(&place).await.is_ok());
    }
}
