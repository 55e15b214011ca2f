//! temporary
use std::{process::ExitCode, collections::BTreeMap, sync::Arc};
use clap::Subcommand;
use machinist_model::{Cluster, NodeName};
use machinist_codegen::facts::Certificate;
use crate::{args::Global, failure::{Failure, Outcome}, project::Project, ui::Ui};
#[derive(Debug, Subcommand)]
pub enum CertsCommand { /// x
 List }
#[derive(Default)]
pub struct Inv { pub authorities: BTreeMap<String,String>, pub nodes: BTreeMap<NodeName, BTreeMap<String, Certificate>> }
impl Inv { pub fn key_files(&self, _: &NodeName) -> Vec<String> { vec![] } }
pub fn run(_: &CertsCommand, _: &Global, _: Ui) -> Outcome { Ok(ExitCode::SUCCESS) }
pub fn inventory(_: &Project, _: &Cluster) -> Result<Inv, Failure> { Ok(Inv::default()) }
pub fn trouble(_: &Project, _: &Cluster) -> Result<Vec<String>, Failure> { Ok(vec![]) }
pub fn require(_: &Project, _: &Cluster, _: &[NodeName]) -> Result<(), Failure> { Ok(()) }
pub fn key_source(_: &Project, _: &Cluster, _: &Global) -> machinist_rollout::deploy::KeySource { Arc::new(|_,_| Ok(vec![])) }
