//! Variables through which consumers find an application, from the agent to systemd's environment files.
//!
//! The agent may not write files that root reads: it passes the variables on as one JSON text, and a process of root's
//! writes the files after validating the values of etcd once more.

use std::collections::BTreeMap;

use serde_json::Value;
use thiserror::Error;

use crate::{Env, Metadata, Name, Service, ServiceName, ValueError};

/// Reason why a text is not the variables of consumers.
#[derive(Debug, Error)]
pub enum VariablesError {
    /// The text is not a JSON object.
    #[error("the variables are not a JSON object")]
    Json(#[source] serde_json::Error),
    /// An application has an invalid name.
    #[error("{0:?} is not a name of an application")]
    Name(String),
    /// The variables of an application are invalid.
    #[error("variables of {app}")]
    Value {
        /// Application.
        app: Name,
        /// Violated rule.
        source: ValueError,
    },
}

/// Renders the variables of all applications that have a prefix, as the JSON text that [`files`] reads.
#[must_use]
pub fn write(services: &BTreeMap<ServiceName, Service>) -> String {
    let variables = services.iter().filter_map(|(name, service)| {
        let metadata = Metadata { port: Some(service.port), env: Some(service.env.clone()?), nodes: None };
        let value: Value = serde_json::from_str(&metadata.write()).ok()?;
        Some((name.app.to_string(), value))
    });
    Value::Object(variables.collect()).to_string()
}

/// Returns the name and text of each environment file, sorted by name.
///
/// # Errors
/// The text is not an object, or one of its names or values is invalid. No file is returned then.
pub fn files(text: &[u8]) -> Result<Vec<(String, String)>, VariablesError> {
    let variables: BTreeMap<String, Value> = serde_json::from_slice(text).map_err(VariablesError::Json)?;
    variables
        .into_iter()
        .map(|(app, value)| {
            let app = Name::parse(&app).map_err(|_| VariablesError::Name(app.chars().take(80).collect()))?;
            let text = file(&value).map_err(|source| VariablesError::Value { app: app.clone(), source })?;
            Ok((format!("{app}.env"), text))
        })
        .collect()
}

/// No value can start a line: each was validated when it was read.
fn file(value: &Value) -> Result<String, ValueError> {
    let metadata = Metadata::read(value.to_string().as_bytes())?;
    let port = metadata.port.ok_or(ValueError::Missing("publish"))?;
    let Env { prefix, protocol, path } = metadata.env.ok_or(ValueError::Missing("env_prefix"))?;
    Ok(format!("{prefix}_HOST=127.0.0.1\n{prefix}_PATH={path}\n{prefix}_PORT={port}\n{prefix}_PROTOCOL={protocol}\n"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{files, write};
    use crate::{Env, Group, Name, Service, ServiceName};

    fn service(env: Option<Env>) -> Service {
        Service { port: 9200, servers: [].into(), env }
    }

    fn name(app: &str) -> ServiceName {
        ServiceName { group: Group::Services, app: Name::parse(app).unwrap() }
    }

    #[test]
    fn consumers_find_host_port_protocol_and_path() {
        let env = Some(Env { prefix: "DB".into(), protocol: "http".into(), path: "/api".into() });
        let services = [(name("db"), service(env)), (name("without"), service(None))].into();
        let text = "DB_HOST=127.0.0.1\nDB_PATH=/api\nDB_PORT=9200\nDB_PROTOCOL=http\n";
        assert_eq!(files(write(&services).as_bytes()).unwrap(), [("db.env".to_owned(), text.to_owned())]);
    }

    #[test]
    fn what_the_mesh_s_service_user_writes_becomes_no_variable_of_a_loader() {
        let of = |app: &str, prefix: &str, protocol: &str, path: &str| {
            let env = serde_json::json!({ "PROTOCOL": protocol, "PATH": path });
            serde_json::json!({ app: { "publish": { "port": 1 }, "env_prefix": prefix, "env": env } }).to_string()
        };
        assert!(files(of("db", "DB", "tcp", "/x").as_bytes()).is_ok());
        let bad = [
            of("../../etc/profile", "DB", "tcp", ""),
            of("db", "LD_PRELOAD=/tmp/x.so\nDB", "tcp", ""),
            of("db", "DB", "tcp\nLD_PRELOAD=/tmp/x.so", ""),
            of("db", "DB", "tcp", "/x\nLD_PRELOAD=/tmp/x.so"),
            of("db", "LD_LIBRARY", "tcp", "/tmp"),
            of("db", "GCONV", "tcp", "/tmp"),
            r#"{"db":{"env_prefix":"DB"}}"#.to_owned(),
            r#"{"db":{"publish":{"port":1}}}"#.to_owned(),
            "[]".to_owned(),
        ];
        for text in bad {
            assert!(files(text.as_bytes()).is_err(), "{text}");
        }
    }
}
