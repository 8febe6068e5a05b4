//! Which run an undo takes back: one answer for the engine, which does so, and for whoever names it beforehand.

use jiff::Timestamp;
use redress_remediators::{Erased, Error, Key};

use crate::{
    audit::Stage,
    store::{Index, RunRef, Store},
};

/// How many runs of a resource are looked through: these, and where it is not among them, so many.
const HORIZONS: [usize; 2] = [200, 10_000];

/// Of runs as an index lists them, those that can be undone, in the same order: they are verified, and no undo of theirs
/// has succeeded. An undo that failed has undone nothing.
pub fn undoable(runs: &[RunRef]) -> impl Iterator<Item = &RunRef> {
    let done = runs.iter().filter(|run| run.stage == Stage::Undone);
    let undone: Vec<&str> = done.filter_map(|run| run.undoes.as_deref()).collect();
    runs.iter().filter(move |run| run.stage == Stage::Verified && !undone.contains(&run.run.as_str()))
}

/// The last run on a resource that can be undone, and the remediator that it was of; with a control, the last one that
/// was about it. One remediator may have changed the resource for several.
///
/// # Errors
/// Where the store can't be read.
pub async fn last(
    store: &dyn Store,
    registry: &[&'static dyn Erased],
    key: &Key,
    control: Option<&str>,
) -> Result<Option<(RunRef, &'static dyn Erased)>, Error> {
    for horizon in HORIZONS {
        let runs = store.runs(Index::Resource(&key.to_string()), horizon).await?;
        let about = |run: &&RunRef| control.is_none_or(|control| run.control.as_deref() == Some(control));
        for run in undoable(&runs).filter(about) {
            let of_run = |known: &&dyn Erased| Some(known.spec().name) == run.remediator.as_deref();
            if let Some(remediator) = registry.iter().copied().find(of_run) {
                return Ok(Some((run.clone(), remediator)));
            }
        }
        if runs.len() < horizon {
            break;
        }
    }
    Ok(None)
}

/// The run that has undone a change for this control since `asked`. A wish that is older is fulfilled by it: who clicks
/// twice, or on two copies of a finding, does not mean the change before that one as well.
///
/// # Errors
/// Where the store can't be read.
pub async fn undone_since(
    store: &dyn Store,
    key: &Key,
    control: &str,
    asked: Timestamp,
) -> Result<Option<String>, Error> {
    let runs = store.runs(Index::Resource(&key.to_string()), HORIZONS[0]).await?;
    Ok(undo_after(&runs, control, asked).map(|run| run.run.clone()))
}

/// Of runs as an index lists them, the undo for this control that has succeeded since.
fn undo_after<'a>(runs: &'a [RunRef], control: &str, asked: Timestamp) -> Option<&'a RunRef> {
    let mut since = runs.iter().take_while(|run| run.time > asked);
    // A fix that was taken back in its own run undoes no other.
    since.find(|run| {
        run.stage == Stage::Undone && run.undoes.is_some() && run.control.as_deref() == Some(control)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_verified_and_not_put_back_can_be_undone() {
        let run = |run: &str, stage, undoes: Option<&str>| RunRef {
            run: run.to_owned(),
            time: Timestamp::UNIX_EPOCH,
            stage,
            control: None,
            remediator: None,
            undoes: undoes.map(ToOwned::to_owned),
        };
        let runs = [
            run("f", Stage::Failed, Some("c")),
            run("e", Stage::Undone, Some("d")),
            run("d", Stage::Verified, None),
            run("c", Stage::Verified, None),
            run("b", Stage::Skipped, None),
            run("a", Stage::Verified, None),
        ];
        assert_eq!(undoable(&runs).map(|run| run.run.as_str()).collect::<Vec<_>>(), ["c", "a"]);
    }

    #[test]
    fn a_wish_is_fulfilled_by_a_later_undo_for_its_control_alone() {
        let at = |second| Timestamp::constant(second, 0);
        let fulfilled = |second, stage, undoes: Option<&str>, control: &str| {
            let run = RunRef {
                run: "u".to_owned(),
                time: at(second),
                stage,
                control: Some(control.to_owned()),
                remediator: None,
                undoes: undoes.map(ToOwned::to_owned),
            };
            undo_after(&[run], "S3.14", at(10)).is_some()
        };
        assert!(fulfilled(11, Stage::Undone, Some("f"), "S3.14"));
        assert!(!fulfilled(10, Stage::Undone, Some("f"), "S3.14"));
        assert!(!fulfilled(11, Stage::Failed, Some("f"), "S3.14"));
        assert!(!fulfilled(11, Stage::Undone, None, "S3.14"));
        assert!(!fulfilled(11, Stage::Undone, Some("f"), "S3.5"));
    }
}
