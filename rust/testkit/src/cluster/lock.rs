//! Lock of a fake host, as in `script/lock.sh` and `script/holds.sh`.

use super::script::variable;

/// Seconds since the boot of each fake host. Its clock is stopped, so no lock expires by itself.
pub const UPTIME: u64 = 10;

/// A lock file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// The text of the file.
    pub text: String,
    /// True if the host's boot has taken longer than the lock lasts, and it was not renewed since.
    pub expired: bool,
}

/// The token that is sent with a script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Token {
    run: String,
    fence: u64,
}

impl Token {
    /// Parses the token in front of a script.
    pub fn of(script: &str) -> Self {
        let fence = variable(script, "fence").and_then(|fence| fence.parse().ok()).unwrap_or(0);
        Self { run: variable(script, "run").unwrap_or_default(), fence }
    }
}

impl Lock {
    fn value(&self, key: &str) -> Option<&str> {
        self.text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
    }

    fn number(&self, key: &str) -> u64 {
        self.value(key).and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// Returns the operator who holds it.
    pub fn holder(&self) -> Option<&str> {
        self.value("who")
    }

    /// Returns true if an operation may begin under the token: `holds` of the script.
    pub fn holds(&self, token: &Token) -> bool {
        !self.expired && self.has(token)
    }

    fn has(&self, token: &Token) -> bool {
        self.number("fence") == token.fence && self.value("run") == Some(&token.run)
    }

    /// Renews the lock. Returns false if it does not belong to the token.
    pub fn renew(&mut self, token: &Token) -> bool {
        let is_ours = self.has(token);
        self.expired &= !is_ours;
        is_ours
    }

    /// Returns true if a running operation may continue under the token: `belongs` of the script.
    pub fn belongs(&self, token: &Token) -> bool {
        let from = self.value("from").map_or(self.number("fence"), |_| self.number("from"));
        self.value("run") == Some(&token.run) && from <= token.fence && token.fence <= self.number("fence")
    }

    /// Returns the script's message that another run holds the lock.
    pub fn gone(&self) -> String {
        format!("the lock of this run is gone ({} holds it now)", self.holder().unwrap_or("nobody"))
    }

    /// Takes the lock if it still has the expected content.
    pub fn take(&mut self, script: &str, boot: &str) -> bool {
        let expected = variable(script, "expected").unwrap_or_default();
        let is_free = self.text.trim_end() == expected.trim_end();
        if is_free {
            let claim = variable(script, "claim").unwrap_or_default();
            self.text = format!("{claim}\nboot={boot}\nexpires={}\n", UPTIME + 90);
        }
        is_free
    }

    /// Releases the lock; the counter is kept. Returns false if it does not belong to the token.
    pub fn release(&mut self, token: &Token) -> bool {
        let is_ours = self.has(token);
        if is_ours {
            self.text = format!("fence={}\n", token.fence);
        }
        is_ours
    }
}
