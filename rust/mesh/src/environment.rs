//! The variables by which consumers find an application.

use crate::Service;

/// Returns the text of an environment file of systemd, if the application says how its variables are called. Every value was
/// checked when it was read: none can begin a line of its own.
#[must_use]
pub fn environment_file(service: &Service) -> Option<String> {
    let env = service.env.as_ref()?;
    let (prefix, port) = (&env.prefix, service.port);
    Some(format!(
        "{prefix}_HOST=127.0.0.1\n{prefix}_PATH={}\n{prefix}_PORT={port}\n{prefix}_PROTOCOL={}\n",
        env.path, env.protocol
    ))
}

#[cfg(test)]
mod tests {
    use super::environment_file;
    use crate::{Env, Service};

    #[test]
    fn consumers_are_told_host_port_protocol_and_path() {
        let env = Some(Env { prefix: "DB".into(), protocol: "http".into(), path: "/api".into() });
        let service = Service { port: 9200, servers: [].into(), env };
        let text = "DB_HOST=127.0.0.1\nDB_PATH=/api\nDB_PORT=9200\nDB_PROTOCOL=http\n";
        assert_eq!(environment_file(&service).as_deref(), Some(text));
        assert_eq!(environment_file(&Service { env: None, ..service }), None);
    }
}
