//! History: the runs of this directory, as their journals record them.

use machinist_rollout::journal::{Record, Records};

use crate::{
    context::Context,
    failure::{Failure, Kind, OrFail as _},
};

/// Reads all records, the newest last, and warns of those that cannot be read.
///
/// # Errors
/// The directory of the journals cannot be read.
pub fn run(context: &Context) -> Result<Records, Failure> {
    let records = Records::read(&context.project.local().join("runs")).failed()?;
    for path in &records.unreadable {
        let path = path.display();
        context.events.warn(format!("the journal of a run cannot be read; it is kept as {path}"));
    }
    Ok(records)
}

/// Returns the record of a run.
pub(crate) fn find(records: Records, wanted: &str) -> Result<Record, Failure> {
    let found = records.runs.into_iter().find(|record| record.run == wanted);
    found.ok_or_else(|| {
        Failure::new(Kind::Input, format!("there is no run `{wanted}`")).hint("`machinist history` lists the runs")
    })
}
