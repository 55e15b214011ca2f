//! Execution of a plan: names side by side, and the steps of a name one after the other, so that a run that is killed at
//! any moment leaves no record without its owner's.

use futures_util::{StreamExt as _, stream};

use super::{
    desired::Desired,
    owner,
    plan::{Change, Plan, Verb},
    zone::{Contents, FoundSet, Zone},
};
use crate::error::CloudError;

/// Names that are changed at once.
const PARALLEL: usize = 8;

/// End of a change.
#[derive(Debug)]
pub struct End {
    /// The change.
    pub change: Change,
    /// The reason why it is not complete.
    pub result: Result<(), CloudError>,
}

/// Makes the changes. A change whose steps are cut off is continued by the next plan. `done` is called after each one.
pub async fn apply<Z: Zone>(
    zone: &Z,
    desired: &Desired,
    plan: &Plan,
    contents: &Contents,
    done: &(dyn Fn(&Change) + Sync),
) -> Vec<End> {
    // One TXT record is about all types of a name, so they are not changed at once.
    let names = plan.changes.chunk_by(|one, other| one.key.name == other.key.name);
    let work = names.map(|changes| async move {
        let mut ends = Vec::new();
        for change in changes {
            let result = make(zone, desired, change, contents).await;
            if result.is_ok() {
                done(change);
            }
            ends.push(End { change: change.clone(), result });
        }
        ends
    });
    let ends: Vec<Vec<End>> = stream::iter(work).buffered(PARALLEL).collect().await;
    ends.into_iter().flatten().collect()
}

async fn make<Z: Zone>(zone: &Z, desired: &Desired, change: &Change, contents: &Contents) -> Result<(), CloudError> {
    let owner = owner::name(&change.key.name);
    let found = contents.set(&change.key.name, change.key.kind.name());
    match change.verb {
        Verb::Create | Verb::Change => {
            // The owner first: a record without one would be taken for that of others by the next run.
            if change.unclaimed {
                let text = owner::text(&desired.cluster, change.key.kind);
                zone.add_text(&desired.zone, &owner, &text, desired.ttl).await?;
            }
            zone.write(&desired.zone, &change.set(), found).await
        }
        Verb::Delete => {
            if let Some(found) = found {
                zone.erase(&desired.zone, found).await?;
            }
            match contents.set(&owner, "TXT") {
                Some(owners) => release(zone, desired, change, owners).await,
                None => Ok(()),
            }
        }
    }
}

/// Removes the owner's texts of a set, in each form in which they are in the zone.
async fn release<Z: Zone>(zone: &Z, desired: &Desired, change: &Change, owners: &FoundSet) -> Result<(), CloudError> {
    let claims = owner::claims(owners);
    let own = claims.iter().filter(|claim| claim.key == change.key && claim.cluster == desired.cluster);
    let mut texts: Vec<&str> = own.map(|claim| claim.text.as_str()).collect();
    texts.sort_unstable();
    texts.dedup();
    for text in texts {
        zone.remove_text(&desired.zone, owners, text).await?;
    }
    Ok(())
}
