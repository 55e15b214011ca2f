//! Formats of files.

/// The format of a file, by the end of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `.yaml`, `.yml`.
    Yaml,
    /// `.json`.
    Json,
    /// `.env`.
    Dotenv,
    /// `.ini`.
    Ini,
    /// Every other name: the whole file is one value.
    Binary,
}

impl Format {
    /// Returns the format of a file's name, as sops chooses it.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        let ends = |end: &str| name.ends_with(end);
        match () {
            () if ends(".yaml") || ends(".yml") => Self::Yaml,
            () if ends(".json") => Self::Json,
            () if ends(".env") => Self::Dotenv,
            () if ends(".ini") => Self::Ini,
            () => Self::Binary,
        }
    }
}
