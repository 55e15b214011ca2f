//! Operations of machinist, one per file: a typed request and a [`Context`] in, typed [`Event`]s during the run, a
//! typed result or a [`Failure`] out. This crate does not print, parse arguments or end the process.
//!
//! The command line is one caller; a terminal interface, a web page or an MCP server are others. After the interrupt of
//! its context is set, an operation stops at the next safe point.
//!
//! [`Context`]: context::Context
//! [`Event`]: event::Event
//! [`Failure`]: failure::Failure

pub mod acceptance;
pub mod app;
pub mod apply_local;
pub mod apps;
pub mod build;
pub mod certs;
pub mod check;
pub mod connect;
pub mod consent;
pub mod context;
pub mod deploy;
pub mod dns;
pub mod drift;
pub mod etcd;
pub mod eval;
pub mod event;
pub mod failure;
pub mod files;
pub mod gc;
pub mod generate;
pub mod graph;
pub mod history;
pub mod install;
pub mod keyring;
pub mod kubeconfig;
pub mod kubernetes;
pub mod library;
pub mod lint;
pub mod locks;
pub mod mesh;
pub mod node;
pub mod objects;
pub mod output;
pub mod plan;
pub mod privileges;
pub mod project;
pub mod provision;
pub mod query;
pub mod reach;
pub mod rehearse;
pub mod rollback;
pub mod rollout;
pub mod router_config;
pub mod run_id;
pub mod sandbox;
pub mod secrets;
mod size;
pub mod snapshot;
pub mod stage;
pub mod status;
pub mod systems;
pub mod unlock;
pub mod upgrade;
pub mod workload;
