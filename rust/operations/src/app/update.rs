//! Update of an application: a sequential deploy of exactly the machines that run it.

use machinist_model::NodeName;

use crate::{
    apps::{machines, require},
    context::Context,
    deploy::{self, Deployed},
    failure::{Failure, Kind},
    rollout::options::Options,
    systems::{BuildOn, Building},
};

/// Request to update an application.
#[derive(Clone, Debug)]
pub struct Request {
    /// Name of the application.
    pub app: String,
    /// Rollout options.
    pub options: Options,
    /// Options for evaluation and build.
    pub building: Building,
    /// Location of builds.
    pub build_on: BuildOn,
}

/// Deploys the machines, including their other pending changes: a machine's system is indivisible.
///
/// # Errors
/// No such application exists, or the deploy is refused.
pub fn run(context: &Context, request: &Request) -> Result<Deployed, Failure> {
    let Request { app, options, building, build_on } = request;
    let project = &context.project;
    let cluster = project.load()?.cluster;
    require(project, &cluster, app)?;
    let targets: Vec<String> = machines(&cluster, app).into_iter().map(NodeName::to_string).collect();
    if targets.is_empty() {
        let failure = Failure::new(Kind::Input, format!("no machine of machines.nix has {app} in `apps`"));
        return Err(failure.hint(format!("add it: `machines.NAME.apps = [ \"{app}\" ];`")));
    }
    let deploy = deploy::Request::one_by_one(targets, options.clone(), building.clone(), build_on.clone());
    deploy::run(context, &deploy)
}
