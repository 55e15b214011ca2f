//! Endpoints and their handlers.

use std::collections::BTreeMap;

use crate::message::{Call, Handled};

/// A handler of a provider's state.
pub type Handler<S> = fn(&mut S, &Call) -> Handled;

/// Method, template of the path, handler.
pub type Route<S> = (&'static str, &'static str, Handler<S>);

/// The handlers of a provider by method and template.
pub struct Router<S>(BTreeMap<(&'static str, &'static str), Handler<S>>);

impl<S> Router<S> {
    /// A router for several tables.
    pub fn new(tables: &[&[Route<S>]]) -> Router<S> {
        let rows = tables.iter().flat_map(|table| table.iter());
        Router(rows.map(|(method, path, handler)| ((*method, *path), *handler)).collect())
    }

    /// The handler of an endpoint.
    pub fn handler(&self, method: &str, template: &str) -> Option<Handler<S>> {
        self.0.iter().find(|((one, path), _)| *one == method && *path == template).map(|(_, handler)| *handler)
    }

    /// Methods and templates, sorted.
    pub fn endpoints(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.0.keys().copied()
    }
}
