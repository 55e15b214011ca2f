//! Rendering of haproxy's configuration from a template. All values from etcd have types that need no escaping: names,
//! addresses and numbers.

use std::{collections::BTreeMap, net::SocketAddr};

use serde::Serialize;
use tera::{Context, Tera};
use thiserror::Error;

use crate::{Server, Service, ServiceName, command::SERVER_OPTIONS};

/// The built-in template.
pub const DEFAULT: &str = include_str!("../template/haproxy.cfg");

/// A parsed template.
pub struct Template {
    tera: Tera,
    is_own: bool,
}

/// Values of the node itself, not from etcd.
#[derive(Clone, Debug)]
pub struct Host {
    /// The path of haproxy's runtime socket.
    pub socket: String,
    /// haproxy's limit of concurrent connections.
    pub maxconn: u32,
}

/// A rendered configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// Text of the configuration.
    pub text: String,
    /// A digest of everything but the servers: a change of it requires a reload.
    pub structure: String,
}

/// Error of a template.
#[derive(Debug, Error)]
pub enum TemplateError {
    /// The template does not parse.
    #[error("the template is not a valid Tera template")]
    Read(#[source] tera::Error),
    /// The template uses an undefined value.
    #[error("the template cannot be rendered")]
    Fill(#[source] tera::Error),
}

#[derive(Serialize)]
struct ServiceView<'a> {
    name: String,
    group: &'static str,
    app: &'a str,
    port: u16,
    servers: Vec<ServerView<'a>>,
}

#[derive(Serialize)]
struct ServerView<'a> {
    name: &'a str,
    address: SocketAddr,
    weight: u16,
}

impl<'a> ServiceView<'a> {
    fn of(name: &'a ServiceName, service: &'a Service, with_servers: bool) -> Self {
        let servers = service.servers.iter().filter(|_| with_servers);
        let server =
            |(name, server): (&'a String, &Server)| ServerView { name, address: server.address, weight: server.weight };
        Self {
            name: name.to_string(),
            group: name.group.as_str(),
            app: &name.app,
            port: service.port,
            servers: servers.map(server).collect(),
        }
    }
}

const NAME: &str = "haproxy.cfg";

impl Template {
    /// Parses a custom template, or the built-in one.
    ///
    /// # Errors
    /// The template is invalid.
    pub fn read(own: Option<&str>) -> Result<Self, TemplateError> {
        let mut tera = Tera::default();
        tera.autoescape_on(Vec::new());
        tera.add_raw_template(NAME, own.unwrap_or(DEFAULT)).map_err(TemplateError::Read)?;
        Ok(Self { tera, is_own: own.is_some() })
    }

    /// Returns `true` for a known template, with which runtime commands have the same effect as a reload.
    #[must_use]
    pub const fn takes_commands(&self) -> bool {
        !self.is_own
    }

    /// Renders the configuration.
    ///
    /// # Errors
    /// The template uses an undefined value.
    pub fn render(&self, services: &BTreeMap<ServiceName, Service>, host: &Host) -> Result<Rendered, TemplateError> {
        let bare = self.fill(services, host, "", false)?;
        let structure = format!("{:016x}", digest(bare.as_bytes()));
        let text = self.fill(services, host, &structure, true)?;
        Ok(Rendered { text, structure })
    }

    fn fill(
        &self,
        services: &BTreeMap<ServiceName, Service>,
        host: &Host,
        structure: &str,
        with_servers: bool,
    ) -> Result<String, TemplateError> {
        let services: Vec<ServiceView<'_>> =
            services.iter().map(|(name, service)| ServiceView::of(name, service, with_servers)).collect();
        let mut context = Context::new();
        context.insert("structure", structure);
        context.insert("socket", &host.socket);
        context.insert("maxconn", &host.maxconn);
        context.insert("server_options", SERVER_OPTIONS);
        context.insert("services", &services);
        self.tera.render(NAME, &context).map_err(TemplateError::Fill)
    }
}

/// FNV-1a: stable across machines and releases, unlike the standard library's hash.
fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use expect_test::expect;
    use proptest::prelude::*;

    use super::{Host, Template};
    use crate::{Group, Pair, Settings, Store, route};

    fn render(pairs: &[(&str, &str)]) -> super::Rendered {
        let pair = |(key, value): &(&str, &str)| Pair {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
            created: 1,
            modified: 1,
        };
        let settings = Settings { groups: Group::ALL.into(), ..Settings::default() };
        let routing = route(&Store::of(pairs.iter().map(pair)), &settings);
        let host = Host { socket: "/run/haproxy.sock".to_owned(), maxconn: 1000 };
        Template::read(None).unwrap().render(&routing.services, &host).unwrap()
    }

    const METADATA: &str = r#"{"publish":{"port":80}}"#;

    #[test]
    fn a_service_listens_on_127_0_0_1_and_its_instances_are_servers() {
        let w1 = r#"{"node":"w1","ipv4":"10.0.0.1","port":8080}"#;
        let rendered = render(&[
            ("/cluster/services/a/meta_data", METADATA),
            ("/cluster/services/b/meta_data", r#"{"publish":{"port":81}}"#),
            ("/cluster/services/a/instances/w1", w1),
        ]);
        let services = rendered.text.split_once("timeout server 1h\n").unwrap().1;
        expect![[r#"

            listen services.a
              bind 127.0.0.1:80
              server w1 10.0.0.1:8080 weight 100 check inter 10s fastinter 500ms downinter 1s fall 2 rise 1 observe layer4 error-limit 3 on-error fail-check

            listen services.b
              bind 127.0.0.1:81
        "#]]
        .assert_eq(services);
        let bare = render(&[
            ("/cluster/services/a/meta_data", METADATA),
            ("/cluster/services/b/meta_data", r#"{"publish":{"port":81}}"#),
        ]);
        assert_eq!(rendered.structure, bare.structure, "servers do not belong to the structure");
        assert_ne!(rendered.structure, render(&[("/cluster/services/a/meta_data", METADATA)]).structure);
    }

    #[test]
    fn an_invalid_custom_template_is_refused() {
        assert!(Template::read(Some("{% for x in %}")).is_err());
        let host = Host { socket: String::new(), maxconn: 1 };
        assert!(Template::read(Some("{{ nothing }}")).unwrap().render(&[].into(), &host).is_err());
        let own = Template::read(Some("{{ socket }} {{ services | length }}")).unwrap();
        assert_eq!(own.render(&[].into(), &host).unwrap().text, " 0");
        assert!(!own.takes_commands());
    }

    proptest! {
        #[test]
        fn nothing_in_etcd_writes_a_line_of_the_configuration(
            app in any::<String>(), node in any::<String>(), address in any::<String>(), prefix in any::<String>(),
            value in any::<String>(), port in any::<u32>(),
        ) {
            let instance = serde_json::json!({ "node": node, "ipv4": address, "port": port, "env_prefix": prefix }).to_string();
            let good = r#"{"node":"w1","ipv4":"10.0.0.1","port":8080}"#;
            let hostile = render(&[
                (&format!("/cluster/services/{app}/meta_data"), r#"{"publish":{"port":81}}"#),
                (&format!("/cluster/services/a/instances/{node}"), &instance),
                (&format!("/cluster/services/{app}/instances/w1"), &value),
                (&format!("/cluster/instances/{node}/services/a/{app}"), &instance),
                ("/cluster/services/a/meta_data", METADATA),
                ("/cluster/services/a/instances/w1", good),
            ]);
            let known = ["listen services.", "  bind 127.0.0.1:", "  server "];
            let services = hostile.text.split_once("timeout server 1h\n").unwrap().1;
            for line in services.lines() {
                prop_assert!(line.is_empty() || known.iter().any(|start| line.starts_with(start)), "{line:?}");
            }
            prop_assert!(hostile.text.contains("server w1 10.0.0.1:8080"), "{}", hostile.text);
        }
    }
}
