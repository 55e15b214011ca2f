//! History of runs in this directory, read from their journals.

use machinist_rollout::journal::{Record, Records};

use crate::{
    context::Context,
    failure::{Failure, Kind, OrFail as _},
};

/// Reads all records, newest last. An unreadable record is a warning.
///
/// # Errors
/// The journals' directory cannot be read.
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
