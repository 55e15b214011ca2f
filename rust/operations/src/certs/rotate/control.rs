//! Rotation of the nodes' keys in a control mesh: of all in one stage, because all verify each other.

use machinist_model::Cluster;
use machinist_pki::{
    self as pki, KeyAlgorithm,
    rotation::{self, Position, Stage, Subject},
};
use time::Duration;

use super::{Desk, Rotated, RotatedKind, refuse_problems};
use crate::{
    certs::survey,
    context::Context,
    failure::{Failure, Kind, OrFail as _},
};

/// Starts or continues the rotation.
pub(super) fn run(context: &Context, cluster: &Cluster) -> Result<Rotated, Failure> {
    let table = pki::table(cluster);
    let subjects: Vec<Subject<'_>> = Subject::all(&table).filter(|subject| subject.is_control()).collect();
    let desk = |name| {
        let algorithm = KeyAlgorithm::default();
        Desk { context, cluster, name, algorithm, tokens_live: Duration::ZERO }
    };
    let Some(first) = subjects.first() else {
        let failure = Failure::new(Kind::Input, "the cluster has no control mesh");
        return Err(failure.hint("one with network.control in machines.nix has a key for each node"));
    };
    let _locks = desk(first.name()).lock()?;
    let survey = survey(&context.project.certs(), cluster, context.clock.now())?;
    let position = |subject: &Subject<'_>| rotation::position(&survey.table, &survey.tree, *subject);
    let positions: Vec<Position> = subjects.iter().map(position).collect();
    let Next { stage, deployed } = next(&positions);
    if let Some(deployed) = deployed {
        refuse_problems(&survey)?;
        for subject in &subjects {
            desk(subject.name()).refuse_before_deployed(&survey, *subject, deployed)?;
        }
    }
    for (subject, position) in subjects.iter().zip(&positions) {
        if is_due(position, stage) {
            desk(subject.name()).apply(stage)?;
        }
    }
    if let Ok(flake) = context.project.flake() {
        flake.make_visible(&["certs"]).failed()?;
    }
    let command = first.command();
    Ok(Rotated {
        name: "control".to_owned(),
        stage,
        trusted: Vec::new(),
        issued: 0,
        kind: RotatedKind::Control,
        command,
    })
}

/// The stage that a run applies.
#[derive(Debug, PartialEq, Eq)]
struct Next {
    stage: Stage,
    /// The stage that all nodes must run before it. None: the stage was begun, and is only completed.
    deployed: Option<Stage>,
}

/// Returns the stage that follows from the positions of all pairs. If they differ, an interrupted run is completed, or a
/// node joined meanwhile.
fn next(positions: &[Position]) -> Next {
    let any = |wanted: &dyn Fn(&Position) -> bool| positions.iter().any(wanted);
    let at = |stage: Stage| any(&|position| matches!(position, Position::At(rotation) if rotation.stage == stage));
    let unfinished = positions.iter().find_map(|position| match position {
        Position::Unfinished(stage) => Some(*stage),
        _ => None,
    });
    let complete = |stage| Next { stage, deployed: None };
    match unfinished {
        Some(stage) => complete(stage),
        None if at(Stage::TrustBoth) && at(Stage::SignNew) => complete(Stage::SignNew),
        None if at(Stage::TrustBoth) && any(&|position| *position == Position::Idle) => complete(Stage::TrustBoth),
        None if at(Stage::TrustBoth) => Next { stage: Stage::SignNew, deployed: Some(Stage::TrustBoth) },
        None if at(Stage::SignNew) => Next { stage: Stage::DropOld, deployed: Some(Stage::SignNew) },
        None => complete(Stage::TrustBoth),
    }
}

/// Returns true if a pair has not reached the stage. One without a record is only part of the first.
fn is_due(position: &Position, stage: Stage) -> bool {
    match position {
        Position::Idle => stage == Stage::TrustBoth,
        Position::Unfinished(found) => *found == stage,
        Position::At(rotation) => match stage {
            Stage::TrustBoth => false,
            Stage::SignNew => rotation.stage == Stage::TrustBoth,
            Stage::DropOld => rotation.stage == Stage::SignNew,
        },
    }
}

#[cfg(test)]
mod tests {
    use machinist_pki::rotation::{Position, Rotation, Stage};
    use time::OffsetDateTime;

    use super::{Next, is_due, next};

    fn at(stage: Stage) -> Position {
        Position::At(Rotation { stage, since: OffsetDateTime::UNIX_EPOCH, in_use_since: None })
    }

    #[track_caller]
    fn check(positions: &[Position], stage: Stage, deployed: Option<Stage>, due: &[bool]) {
        assert_eq!(next(positions), Next { stage, deployed });
        let found: Vec<bool> = positions.iter().map(|position| is_due(position, stage)).collect();
        assert_eq!(found, due);
    }

    #[test]
    fn all_nodes_go_from_stage_to_stage_together() {
        let all = |position: &Position| vec![position.clone(), position.clone()];
        check(&all(&Position::Idle), Stage::TrustBoth, None, &[true, true]);
        check(&all(&at(Stage::TrustBoth)), Stage::SignNew, Some(Stage::TrustBoth), &[true, true]);
        check(&all(&at(Stage::SignNew)), Stage::DropOld, Some(Stage::SignNew), &[true, true]);
    }

    #[test]
    fn an_interrupted_run_is_completed_before_the_next_stage() {
        check(&[at(Stage::TrustBoth), Position::Idle], Stage::TrustBoth, None, &[false, true]);
        check(&[at(Stage::SignNew), at(Stage::TrustBoth)], Stage::SignNew, None, &[false, true]);
        check(&[Position::Unfinished(Stage::SignNew), at(Stage::TrustBoth)], Stage::SignNew, None, &[true, true]);
        check(&[Position::Idle, at(Stage::SignNew)], Stage::DropOld, Some(Stage::SignNew), &[false, true]);
    }
}
