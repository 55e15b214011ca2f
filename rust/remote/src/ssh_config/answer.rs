//! Output of `ssh -G`: one setting per line, the name in lower case, then its value. Pure.

use super::SshConfigError;
use super::tokens::Context;
use std::collections::BTreeMap;

/// An option that makes `ssh -G` print the values of the tokens on this computer: home, user, uid, short and long host
/// name, and hash. ControlPath accepts these tokens in all versions, and has no other use here.
pub(super) const CONTEXT: &str = "ControlPath=~/%u/%i/%L/%l/%C";

/// The settings of one host.
#[derive(Debug)]
pub(crate) struct Answer {
    host: String,
    settings: BTreeMap<String, Vec<String>>,
    /// The values of the tokens.
    pub context: Context,
}

impl Answer {
    /// Parses the answer for `host`, the name as given.
    ///
    /// # Errors
    /// A setting that every answer contains is missing.
    pub fn parse(host: &str, text: &str) -> Result<Self, SshConfigError> {
        let mut settings: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in text.lines().filter_map(|line| line.split_once(' ')) {
            settings.entry(name.to_ascii_lowercase()).or_default().push(value.to_owned());
        }
        let mut answer = Self { host: host.to_owned(), settings, context: Context::default() };
        answer.context = answer.context()?;
        Ok(answer)
    }

    /// Returns the only value of a setting; `None` for the word `none` and for an unset one.
    pub fn value(&self, setting: &str) -> Option<&str> {
        let value = self.settings.get(setting)?.first()?.as_str();
        (value != "none").then_some(value)
    }

    /// Returns all values of a setting, in their order, `none` included.
    pub fn values(&self, setting: &str) -> impl Iterator<Item = &str> {
        self.settings.get(setting).into_iter().flatten().map(String::as_str)
    }

    /// Returns true if the setting has the value.
    pub fn has(&self, setting: &str, value: &str) -> bool {
        self.values(setting).any(|found| found == value)
    }

    /// Returns a number, such as a count of seconds.
    pub fn number(&self, setting: &'static str) -> Result<Option<u64>, SshConfigError> {
        let Some(value) = self.value(setting) else { return Ok(None) };
        value.parse().map(Some).map_err(|_| self.invalid(setting, format!("{value} is not a number")))
    }

    /// Returns a setting that every answer has.
    pub fn required(&self, setting: &'static str) -> Result<&str, SshConfigError> {
        self.value(setting).ok_or_else(|| self.invalid(setting, "the answer has no such line".to_owned()))
    }

    /// Returns the error of an invalid setting.
    pub fn invalid(&self, setting: &'static str, reason: String) -> SshConfigError {
        SshConfigError::Value { host: self.host.clone(), setting, reason }
    }

    /// Returns the error of an unsupported setting.
    pub fn unsupported(&self, setting: &'static str, value: &str, remedy: &'static str) -> SshConfigError {
        SshConfigError::Unsupported { host: self.host.clone(), setting, value: value.to_owned(), remedy }
    }

    fn context(&self) -> Result<Context, SshConfigError> {
        let path = self.required("controlpath")?;
        // From the right: the home directory has slashes, the other values do not.
        let mut parts = path.rsplitn(6, '/').map(str::to_owned);
        let mut next = || parts.next().ok_or_else(|| self.invalid("ControlPath", format!("{path} has too few parts")));
        let hash = next()?;
        let long = next()?;
        let short = next()?;
        let uid = next()?;
        let user = next()?;
        Ok(Context {
            home: next()?,
            here: [user, uid, short, long, hash],
            original: self.host.clone(),
            host: self.required("hostname")?.to_owned(),
            port: self.required("port")?.to_owned(),
            user: self.required("user")?.to_owned(),
            jump: self.value("proxyjump").unwrap_or_default().to_owned(),
            key_name: self.value("hostkeyalias").unwrap_or(&self.host).to_owned(),
        })
    }
}
