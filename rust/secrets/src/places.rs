//! Search path of an operator's identity, which is never in the repository.

use std::path::PathBuf;

/// Environment variables of the search path, as values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdentityPlaces {
    /// `$MACHINIST_IDENTITY`.
    pub identity: Option<PathBuf>,
    /// `$XDG_CONFIG_HOME`.
    pub config_home: Option<PathBuf>,
    /// `$HOME`.
    pub home: Option<PathBuf>,
}

impl IdentityPlaces {
    /// Reads this process' environment. An empty variable counts as absent, as does a relative `XDG_CONFIG_HOME` (XDG
    /// Base Directory Specification).
    #[must_use]
    pub fn from_env() -> Self {
        let path = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self {
            identity: path("MACHINIST_IDENTITY"),
            config_home: path("XDG_CONFIG_HOME").filter(|path| path.is_absolute()),
            home: path("HOME"),
        }
    }

    /// Returns the files to try, in order: only `$MACHINIST_IDENTITY` if it is set, otherwise
    /// `$XDG_CONFIG_HOME/machinist/identity.txt` (`~/.config/...`), then `~/.ssh/id_ed25519`.
    #[must_use]
    pub fn search_order(&self) -> Vec<PathBuf> {
        if let Some(path) = &self.identity {
            return vec![path.clone()];
        }
        let ssh = self.home.as_ref().map(|home| home.join(".ssh/id_ed25519"));
        self.age_identity().into_iter().chain(ssh).collect()
    }

    /// Returns the path for a new identity: `$MACHINIST_IDENTITY`, otherwise machinist's directory in the user's
    /// configuration. `None` if neither that variable nor a home directory is known.
    #[must_use]
    pub fn new_identity(&self) -> Option<PathBuf> {
        self.identity.clone().or_else(|| self.age_identity())
    }

    fn age_identity(&self) -> Option<PathBuf> {
        let config = self.config_home.clone().or_else(|| self.home.as_ref().map(|home| home.join(".config")))?;
        Some(config.join("machinist/identity.txt"))
    }
}

/// Returns the path for this user's new identity, from this process' environment.
#[must_use]
pub fn default_identity_path() -> Option<PathBuf> {
    IdentityPlaces::from_env().new_identity()
}

#[cfg(test)]
mod tests {
    use super::IdentityPlaces;

    #[track_caller]
    fn check(identity: Option<&str>, config_home: Option<&str>, home: Option<&str>, expect: &[&str]) {
        let places = IdentityPlaces {
            identity: identity.map(Into::into),
            config_home: config_home.map(Into::into),
            home: home.map(Into::into),
        };
        let found: Vec<_> = places.search_order().iter().map(|path| path.display().to_string()).collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn the_variable_is_the_only_place_when_it_is_set() {
        check(Some("/k/id.txt"), Some("/x"), Some("/home/a"), &["/k/id.txt"]);
    }

    #[test]
    fn the_users_configuration_goes_before_the_ssh_key() {
        check(None, Some("/x"), Some("/home/a"), &["/x/machinist/identity.txt", "/home/a/.ssh/id_ed25519"]);
        check(None, None, Some("/home/a"), &["/home/a/.config/machinist/identity.txt", "/home/a/.ssh/id_ed25519"]);
        check(None, None, None, &[]);
    }
}
