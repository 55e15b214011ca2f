//! The `secrets` section.

use schemars::JsonSchema;
use serde::Deserialize;

/// A file of secrets, by its path below `secrets/`, such as `"db.yaml"`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct SecretShape {
    /// The nodes that decrypt the file with their SSH host key: targets as in commands, names, globs, `@role`,
    /// `label=value`. After a change, `machinist secrets rekey` encrypts the file again.
    #[schemars(extend("x-default" = "[ ]", "x-example" = "[ \"@worker\" \"db1\" ]"))]
    pub nodes: Vec<String>,
}
