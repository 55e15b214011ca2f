//! Pruning of objects that an earlier run applied and that are no longer desired.

use std::collections::BTreeSet;

use kube::api::DynamicObject;

use super::{Change, Outcome, Problem, Run, is_ours};
use crate::{
    inventory::{Entry, holds_data},
    kinds::{Kind, Kinds},
    object::{Object, Origin},
    server::ServerError,
};

impl Run<'_> {
    /// Deletes objects that are in the inventory, still carry our label and are no longer desired. Returns those kept
    /// for the next run.
    pub(super) async fn prune(&self, wanted: &[Entry], prune_data: bool, outcome: &mut Outcome) -> BTreeSet<Entry> {
        let mut left_over = BTreeSet::new();
        let unwanted = self.unwanted(wanted);
        let kinds = match self.kinds_of(&unwanted).await {
            Ok(kinds) => kinds,
            Err(source) => {
                if let Some(entry) = unwanted.first() {
                    let origin = Origin::Generated;
                    outcome.problems.push(Problem { id: entry.id.clone(), origin, source });
                }
                return unwanted.into_iter().collect();
            }
        };
        for entry in unwanted {
            match self.remove(&entry, &kinds, prune_data).await {
                Ok(None) => {}
                Ok(Some(change)) => {
                    if change == Change::Kept {
                        left_over.insert(entry.clone());
                    }
                    outcome.objects.push((entry.id, change));
                }
                Err(source) => {
                    left_over.insert(entry.clone());
                    outcome.problems.push(Problem { id: entry.id, origin: Origin::Generated, source });
                }
            }
        }
        left_over
    }

    /// Returns the recorded objects to prune, in the order of their deletion.
    pub(crate) fn unwanted(&self, wanted: &[Entry]) -> Vec<Entry> {
        unwanted(&self.stored.inventory.entries, wanted)
    }

    /// Discovers the kinds of recorded objects.
    pub(crate) async fn kinds_of(&self, entries: &[Entry]) -> Result<Kinds, ServerError> {
        let object = |entry: &Entry| Object {
            id: entry.id.clone(),
            version: entry.version.clone(),
            value: serde_json::Value::Null,
            origin: Origin::Generated,
        };
        self.server.kinds(&entries.iter().map(object).collect::<Vec<_>>()).await
    }

    /// Returns a recorded object's current state, unless it is deleted or being deleted.
    pub(crate) async fn removable<'b>(
        &self,
        entry: &Entry,
        kinds: &'b Kinds,
    ) -> Result<Option<(&'b Kind, DynamicObject)>, ServerError> {
        let Entry { id, version } = entry;
        let api_version = if id.group.is_empty() { version.clone() } else { format!("{}/{version}", id.group) };
        // Deleting a kind's definition deletes its objects.
        let Some(kind) = kinds.get(&api_version, &id.kind) else { return Ok(None) };
        let found = self.server.get(kind, id.namespace.as_deref(), &id.name).await?;
        Ok(found.filter(|found| found.metadata.deletion_timestamp.is_none()).map(|found| (kind, found)))
    }

    /// Deletes one object; `None` if it no longer exists.
    async fn remove(&self, entry: &Entry, kinds: &Kinds, prune_data: bool) -> Result<Option<Change>, ServerError> {
        let id = &entry.id;
        let Some((kind, found)) = self.removable(entry, kinds).await? else { return Ok(None) };
        if !is_ours(&found, &self.desired.cluster) {
            return Ok(Some(Change::Left));
        }
        if holds_data(id) && !prune_data {
            return Ok(Some(Change::Kept));
        }
        let uid = found.metadata.uid.unwrap_or_default();
        self.server.remove(kind, id.namespace.as_deref(), &id.name, &uid).await?;
        Ok(Some(Change::Removed))
    }
}

/// The recorded objects to prune, in the order of their deletion: users before what they use, namespaces last. Another
/// version of a desired object is the same object.
fn unwanted(recorded: &BTreeSet<Entry>, wanted: &[Entry]) -> Vec<Entry> {
    let wanted: BTreeSet<_> = wanted.iter().map(|entry| &entry.id).collect();
    let mut unwanted: Vec<Entry> = recorded.iter().filter(|entry| !wanted.contains(&entry.id)).cloned().collect();
    unwanted.sort_by_key(|entry| std::cmp::Reverse(crate::desired::Phase::of(&entry.id)));
    unwanted
}

#[cfg(test)]
mod tests {
    use super::unwanted;
    use crate::{inventory::Entry, object::Id};

    fn entry(kind: &str, name: &str, version: &str) -> Entry {
        let id = Id { group: String::new(), kind: kind.to_owned(), namespace: None, name: name.to_owned() };
        Entry { id, version: version.to_owned() }
    }

    #[test]
    fn only_what_was_recorded_and_is_not_wanted_goes_and_a_namespace_goes_last() {
        let recorded = [
            entry("Namespace", "shop", "v1"),
            entry("ConfigMap", "a", "v1"),
            entry("ConfigMap", "b", "v1beta1"),
            entry("Pod", "web", "v1"),
        ];
        let wanted = [entry("ConfigMap", "b", "v1"), entry("ConfigMap", "new", "v1")];
        let names: Vec<String> = unwanted(&recorded.into(), &wanted).iter().map(|entry| entry.id.to_string()).collect();
        assert_eq!(names, ["Pod web", "ConfigMap a", "Namespace shop"]);
    }
}
