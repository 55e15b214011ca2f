//! What the failure of machines takes.

use std::collections::BTreeSet;

use machinist_model::NodeName;
use serde::Serialize;

use crate::{domain::Division, service::Service};

/// The failure of one domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The kind of the domain, such as `machine`.
    pub kind: String,
    /// The domain's name.
    pub domain: String,
    /// Names of the services that are lost with it.
    pub lost: Vec<String>,
    /// Names of the services that stand afterwards, and that one more machine can take.
    pub without_reserve: Vec<String>,
}

/// Returns the failure of each domain of the division.
pub fn failures<'a>(division: &'a Division, services: &'a [Service]) -> impl Iterator<Item = Failure> + 'a {
    division.domains.iter().map(|(name, machines)| {
        let those = |is: fn(&Service, &BTreeSet<NodeName>) -> bool| {
            let found = services.iter().filter(|service| is(service, machines));
            found.map(|service| service.name.clone()).collect()
        };
        let touched = services.iter().filter(|service| service.machines().iter().any(|node| machines.contains(*node)));
        let without_reserve = touched.filter(|service| service.is_last(machines)).map(|service| service.name.clone());
        Failure {
            kind: division.kind.clone(),
            domain: name.clone(),
            lost: those(Service::is_lost),
            without_reserve: without_reserve.collect(),
        }
    })
}

/// Returns how many domains of the division may fail, whichever they are, before the service is lost.
///
/// The worst choice is that of the domains with most of a need's machines, because domains share no machine.
#[must_use]
pub fn tolerance(service: &Service, division: &Division) -> usize {
    let of_need = |need: &crate::service::Need| {
        let mut sizes: Vec<usize> = division
            .groups(&need.of)
            .map(|group| group.intersection(&need.of).count())
            .filter(|&size| size > 0)
            .collect();
        sizes.sort_unstable_by(|one, other| other.cmp(one));
        let mut left = need.of.len();
        let survives = |size: &&usize| {
            left = left.saturating_sub(**size);
            left >= need.least
        };
        sizes.iter().take_while(survives).count()
    };
    service.needs.iter().map(of_need).min().unwrap_or(0)
}
