//! Files of the routing loop: haproxy's configuration, the saved state, and the consumers' variables.

use std::{collections::BTreeMap, fs, io};

use machinist_mesh::{Pair, Service, ServiceName, environment, template::Rendered};
use tokio::{task::spawn_blocking, time::Instant as Moment};

use super::{RoutingError, RoutingLoop, saving::Saving};
use crate::{config::chain, files};

impl RoutingLoop {
    /// Starts writing haproxy's routing and etcd's content, for the next start of haproxy and of the agent.
    pub(super) async fn begin_to_write(&mut self) {
        self.saving = Saving::Current;
        if let Err(error) = self.write_configuration().await {
            return self.not_written(&error);
        }
        let (configuration, state) = (self.config.haproxy_file(), self.config.state_file());
        let pairs: Vec<Pair> = self.store.pairs().collect();
        self.saving.begun(spawn_blocking(move || {
            files::sync(&configuration)?;
            files::write_state(&state, &pairs)
        }));
    }

    pub(super) fn written(&mut self, result: io::Result<()>) {
        match result {
            Ok(()) => self.status.trouble("files", None),
            Err(error) => {
                self.not_written(&RoutingError::File(self.config.state_directory.display().to_string(), error));
            }
        }
    }

    fn not_written(&mut self, error: &RoutingError) {
        self.saving.failed(Moment::now());
        self.status.trouble("files", Some(chain(error)));
    }

    async fn write_configuration(&self) -> Result<(), RoutingError> {
        let Some(running) = self.state.running() else { return Ok(()) };
        let rendered = self.render(&running.services)?;
        if !self.template.takes_commands() || rendered.structure != running.structure {
            return self.put(&rendered).await;
        }
        // haproxy has validated this structure and runs these servers: another check would only delay changes.
        let prepared = files::prepare(&self.config.haproxy_file(), rendered.text.as_bytes());
        let failed = |error| RoutingError::File(self.config.state_directory.display().to_string(), error);
        prepared.and_then(|prepared| prepared.put()).map_err(failed)
    }

    /// Writes the files of other programs on this node: the consumers' variables, and the rendered templates.
    pub(super) fn write_for_consumers(
        &mut self,
        services: &BTreeMap<ServiceName, Service>,
    ) -> Result<(), RoutingError> {
        let host = self.host();
        let why = self.files.stage(&self.config.files_directory(), services, &host);
        self.status.trouble("files from templates", why);
        let variables = environment::write(services);
        if self.consumers.as_ref() == Some(&variables) {
            return Ok(());
        }
        let path = self.config.environment_file();
        files::prepare(&path, variables.as_bytes())
            .and_then(|prepared| prepared.put())
            .map_err(|error| RoutingError::File(self.config.runtime_directory.display().to_string(), error))?;
        self.consumers = Some(variables);
        Ok(())
    }

    /// Installs a configuration after haproxy has validated it. It is synced to disk later, with the saved state; after
    /// a power failure before that, the agent writes it again from the saved state.
    pub(super) async fn put(&self, rendered: &Rendered) -> Result<(), RoutingError> {
        let failed = |error| RoutingError::File(self.config.state_directory.display().to_string(), error);
        let path = self.config.haproxy_file();
        if fs::read(&path).ok().as_deref() == Some(rendered.text.as_bytes()) {
            return Ok(());
        }
        let prepared = files::prepare(&path, rendered.text.as_bytes()).map_err(failed)?;
        if let Err(error) = self.haproxy.check(&prepared.new).await {
            self.status.with(|facts| facts.refused += 1);
            return Err(error.into());
        }
        prepared.put().map_err(failed)
    }

    pub(super) fn put_back(&self, before: Option<Vec<u8>>) -> Result<(), RoutingError> {
        let Some(text) = before else { return Ok(()) };
        let failed = |error| RoutingError::File(self.config.state_directory.display().to_string(), error);
        files::prepare(&self.config.haproxy_file(), &text).and_then(|prepared| prepared.put()).map_err(failed)
    }
}
