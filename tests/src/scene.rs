//! What is to come of a case that something has happened to, wherever its resource is.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, Unit};
use redress_remediators::{BoxFuture, Error, Key, LastSeen};
use redress_router::{
    audit::{Asker, Stage, Verb, verify_run},
    engine::{Activity, Done, Outcome, Request},
    event::{Decoded, decode_many},
    store::{Store as _, memory::Memory},
};
use redress_sandbox::scenarios::{Case, Expect};
use serde_json::Value;
use tokio::time::Instant;

/// A case that is played: a resource somewhere, and the engine.
pub trait Scene {
    /// The case.
    fn case(&self) -> &'static Case;
    /// What the engine has stored.
    fn memory(&self) -> &Memory;
    /// The resource as it is, read by the scenario's own calls.
    fn look(&self) -> impl Future<Output = Result<Value, String>>;
    /// Asks as a person does, with an event of this id; `None` where the process ended on the way.
    fn ask(&self, verb: Verb, event: &str) -> impl Future<Output = Result<Option<Done>, String>>;
    /// Lets time pass.
    fn pass(&self, time: Duration) -> impl Future<Output = ()>;
}

/// When the user of a case was last seen, in whole hours as rows have it.
pub struct Seen(Option<Timestamp>);

impl Seen {
    /// As the case has it, at this time; without days there is no row.
    pub fn of(case: &Case, now: Timestamp) -> Result<Self, String> {
        let since = case.last_seen.map(|days| {
            let since = now - SignedDuration::from_hours(24 * i64::from(days));
            since.round(Unit::Hour).map_err(|error| error.to_string())
        });
        Ok(Self(since.transpose()?))
    }
}

impl Activity for Seen {
    fn last<'a>(&'a self, _: &'a Key) -> BoxFuture<'a, Result<Option<LastSeen>, Error>> {
        let seen = self.0.map(|since| LastSeen { since, signed_in: true, warned: None, in_doubt: None });
        Box::pin(async move { Ok(seen) })
    }

    fn disabled<'a>(&'a self, _: &'a Key, _: &'a LastSeen, _: &'a str) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async { Ok(true) })
    }

    fn restored<'a>(&'a self, _: &'a Key, _: Timestamp) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }
}

/// What a person asks of the one finding in this event, with so much time for the run.
pub fn request(finding: &Value, verb: Verb, event: &str, time: Duration) -> Result<Request, String> {
    let decoded = decode_many(finding.to_string().as_bytes()).map_err(|error| error.to_string())?.pop();
    let Some(Decoded::Finding(finding)) = decoded else { return Err(format!("no finding: {decoded:?}")) };
    Ok(Request {
        finding: *finding,
        verb,
        asked_by: Asker::Cli { caller: "arn:aws:iam::123456789012:user/tester".to_owned() },
        event: event.to_owned(),
        asked_at: None,
        only_rule: None,
        only_resource: None,
        agreed: None,
        deadline: Instant::now() + time,
        dry_run: false,
        record: true,
        listed: true,
        after: Vec::new(),
    })
}

/// What a fault means to whoever sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It passes: the event goes back to its queue.
    Passing,
    /// It may be taken for what the resource holds: nothing is written on account of it.
    Nonsense,
    /// It needs a person.
    Denied,
    /// The resource is gone.
    Gone,
}

/// `Err` where it does not hold.
pub fn holds(so: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if so { Ok(()) } else { Err(otherwise()) }
}

/// The outcome, where there is one.
pub fn outcome(done: Option<Done>) -> Result<Outcome, String> {
    match done {
        Some(Done::Outcome(outcome)) => Ok(*outcome),
        other => Err(format!("no outcome: {other:?}")),
    }
}

/// Whether a fix or a plan says that nothing is left to do. What was removed is skipped; of what was done for good, it
/// is waited for what comes of it.
pub fn is_done(case: &Case, outcome: &Outcome) -> bool {
    match outcome.stage {
        Stage::Compliant | Stage::Skipped => true,
        Stage::Waiting => matches!(case.expect, Expect::FixedForGood(_)),
        _ => false,
    }
}

/// Where undo leads to from a fixed resource.
pub fn back(case: &Case, untouched: Value) -> Result<Value, String> {
    match case.expect {
        Expect::FixedOneWay(text) => serde_json::from_str(text).map_err(|error| error.to_string()),
        _ => Ok(untouched),
    }
}

/// The stage of a run that does what it was asked for.
fn good(verb: Verb) -> Stage {
    if verb == Verb::Undo { Stage::Undone } else { Stage::Verified }
}

/// Whether a run may end so under a fault of this kind.
pub fn plausible(case: &Case, verb: Verb, class: Class, done: &Done) -> Result<(), String> {
    let clean = match case.expect {
        _ if verb == Verb::Undo && !case.expect.changes() => Stage::Skipped,
        Expect::FixedForGood(_) if verb == Verb::Undo => Stage::Refused,
        Expect::Fixed | Expect::FixedOneWay(_) | Expect::FixedForGood(_) => good(verb),
        Expect::Compliant => Stage::Compliant,
        Expect::Refused(_) => Stage::Refused,
        Expect::Exempt(_) => Stage::Exempt,
    };
    let fine = match done {
        // What is fixed in spite of it.
        Done::Outcome(outcome) if outcome.stage == clean => true,
        Done::Retry { .. } => true,
        Done::Outcome(outcome) => match class {
            Class::Passing => false,
            Class::Nonsense => matches!(outcome.stage, Stage::Refused | Stage::Failed),
            // Of the store it means that nothing is known of stops and exemptions.
            Class::Denied => matches!(outcome.stage, Stage::Denied | Stage::Refused | Stage::Failed),
            Class::Gone => matches!(outcome.stage, Stage::Skipped | Stage::Failed | Stage::Refused),
        },
        Done::Repeat { .. } | Done::Unwanted(_) => false,
    };
    holds(fine, || format!("{done:?}"))
}

/// Whether an outcome owns up to a change that was made. What is given back says nothing yet.
pub fn admits(done: Option<&Done>, changed: bool) -> Result<(), String> {
    let Some(Done::Outcome(outcome)) = done else { return Ok(()) };
    let admitted =
        outcome.stage.changed() || outcome.reason.as_ref().is_some_and(|reason| reason.contains("is left"));
    holds(!changed || admitted, || format!("changed, and said to be {outcome:?}"))
}

/// When nothing goes wrong any more, the event comes to its end, and what was fixed goes back to what it was.
///
/// `untouched` is the resource before all, `before` what it was when the event came first, and `done` what came of it
/// then.
pub async fn comes_to_its_end(
    scene: &impl Scene,
    verb: Verb,
    untouched: Value,
    before: &Value,
    done: Option<&Done>,
) -> Result<(), String> {
    let case = scene.case();
    let (good, ended) = (good(verb), if verb == Verb::Undo { Stage::Skipped } else { Stage::Compliant });
    let mut last = None;
    for attempt in 0..6 {
        scene.pass(Duration::from_secs(960)).await;
        last = scene.ask(verb, if attempt < 3 { "event" } else { "another" }).await?;
        if !matches!(last, Some(Done::Retry { .. })) {
            break;
        }
    }
    let stage = match &last {
        Some(Done::Outcome(outcome)) => outcome.stage,
        Some(Done::Repeat { stage, .. }) => *stage,
        other => return Err(format!("after {done:?}, it does not come to an end: {other:?}")),
    };
    let expected = match case.expect {
        Expect::FixedForGood(_) if verb == Verb::Undo => stage == Stage::Refused,
        Expect::FixedForGood(_) => stage == good || stage == Stage::Waiting,
        Expect::Fixed | Expect::FixedOneWay(_) => stage == good || stage == ended,
        Expect::Compliant => stage == ended,
        Expect::Refused(_) if verb != Verb::Undo => stage == Stage::Refused,
        Expect::Exempt(_) if verb != Verb::Undo => stage == Stage::Exempt,
        Expect::Refused(_) | Expect::Exempt(_) => stage == Stage::Skipped,
    };
    holds(expected, || format!("after {done:?}, it ends as {last:?}"))?;
    is_settled(scene.memory()).await?;
    if !case.expect.changes() {
        return holds(scene.look().await? == *before, || "it changed".to_owned());
    }

    if matches!(case.expect, Expect::FixedForGood(_)) {
        let fixed = scene.look().await?;
        if verb != Verb::Undo {
            let planned = outcome(scene.ask(Verb::Plan, "plan").await?)?;
            holds(is_done(case, &planned), || format!("it is not done: {planned:?}"))?;
            let undone = outcome(scene.ask(Verb::Undo, "undo").await?)?;
            holds(undone.stage == Stage::Refused, || format!("undo: {undone:?}"))?;
        }
        holds(fixed != untouched && scene.look().await? == fixed, || "it did not stay".to_owned())?;
        return is_settled(scene.memory()).await;
    }

    // It is as it should be, and goes back to what it was.
    if verb != Verb::Undo {
        let planned = outcome(scene.ask(Verb::Plan, "plan").await?)?;
        holds(is_done(case, &planned), || format!("it is not compliant: {planned:?}"))?;
        let undone = outcome(scene.ask(Verb::Undo, "undo").await?)?;
        holds(undone.stage == Stage::Undone, || format!("undo: {undone:?}"))?;
    }
    let back = back(case, untouched)?;
    let found = scene.look().await?;
    holds(found == back, || format!("undo leads to {found}, not to {back}"))?;
    is_settled(scene.memory()).await
}

/// Whether every chain of records is whole, every run has ended, and no lease is left.
pub async fn is_settled(memory: &Memory) -> Result<(), String> {
    let mut runs: Vec<String> = memory.records().into_iter().map(|record| record.run).collect();
    runs.sort();
    runs.dedup();
    for run in runs {
        let lines = memory.run(&run).await.map_err(|error| error.to_string())?;
        let records = verify_run(lines.iter().map(String::as_str)).map_err(|error| error.0)?;
        if !records.last().is_some_and(|record| record.last) {
            return Err(format!("run {run} has not ended: {:?}", records.last().map(|record| record.stage)));
        }
    }
    let leases = memory.scan("lease#").await.map_err(|error| error.to_string())?;
    holds(leases.is_empty(), || format!("a lease is left: {leases:?}"))
}
