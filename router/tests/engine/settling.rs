//! What is done when a change does not go through at once: leases, runs that were cut off, refused and late writes.

use std::time::Duration;

use redress_remediators::{Error, ErrorKind};
use redress_router::{
    audit::{Asker, Stage, Verb},
    engine::{Done, lease_item},
    guard::{Stop, StopScope},
    store::Store,
};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    common::{REFUSED, RULES, Trouble, World, clicked, reason, stage},
    denied, put,
};

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn transient() -> Error {
    Error::new(ErrorKind::Transient, "connection reset")
}

/// The process ends in the middle of the write, or right before it.
async fn cut_off(world: &World, event: &str, after: bool) {
    world.thing(|thing| if after { thing.hangs_after = true } else { thing.hangs_before = true });
    assert!(tokio::time::timeout(Duration::from_secs(600), world.imported(event)).await.is_err());
    world.thing(|thing| (thing.hangs_after, thing.hangs_before) = (false, false));
}

async fn other(world: &World, event: &str, finding: &str) -> Done {
    let asker = Asker::Automatic { event: event.to_owned() };
    world.one(world.request(Verb::Fix, asker, event, world.finding(finding))).await
}

/// A lease is its holder's to the second: a minute after the holder's deadline.
#[tokio::test(start_paused = true)]
async fn a_lease_ends_a_minute_after_its_holders_deadline() {
    let world = World::new("lease-end", RULES);
    cut_off(&world, "e-1", false).await;
    let leases = world.store.scan("lease#").await.unwrap();
    assert_eq!(leases.len(), 1);
    let key = world.records()[0].subject.resource.clone().unwrap();
    assert_eq!(leases[0].0, lease_item(&key));
    // Sixty seconds to the deadline, and sixty more.
    world.pass_seconds(119);
    assert!(world.engine.recover(deadline()).await.unwrap().is_empty());
    // The same event waits; another that wants the same is spared the work; one that wants something else waits.
    assert!(matches!(world.imported("e-1").await, Done::Retry { .. }));
    let done = other(&world, "e-2", "f-2").await;
    assert_eq!(stage(&done), Stage::Skipped);
    assert!(reason(&done).ends_with("is on it"), "{done:?}");
    let done = world.clicked(Verb::Undo, "e-3").await;
    assert!(matches!(done, Done::Retry { .. }) && reason(&done).contains("holds the resource"), "{done:?}");
    // Of a plan it is no concern.
    assert_eq!(stage(&world.clicked(Verb::Plan, "e-4").await), Stage::Planned);
    world.pass_seconds(1);
    let done = world.imported("e-1").await;
    assert_eq!((stage(&done), world.thing(|thing| thing.writes)), (Stage::Verified, 1));

    let world = World::new("lease-recovered", RULES);
    cut_off(&world, "e-1", false).await;
    world.pass_seconds(120);
    assert_eq!(world.engine.recover(deadline()).await.unwrap().len(), 1);
}

/// That one is on it is told once, whichever run it is.
#[tokio::test(start_paused = true)]
async fn that_another_is_on_it_is_told_once() {
    let world = World::new("on-it", RULES);
    cut_off(&world, "e-1", false).await;
    assert_eq!(stage(&other(&world, "e-2", "f-2").await), Stage::Skipped);
    world.pass_seconds(600);
    assert_eq!(stage(&world.imported("e-1").await), Stage::Verified);
    world.thing(|thing| thing.on = false);
    cut_off(&world, "e-3", false).await;
    let done = other(&world, "e-4", "f-2").await;
    assert!(matches!(done, Done::Repeat { stage: Stage::Skipped, .. }), "{done:?}");
}

/// Whoever settles what another left does not take its outcome for its own.
#[tokio::test(start_paused = true)]
async fn each_event_has_its_own_outcome() {
    let world = World::new("own-outcome", RULES);
    cut_off(&world, "e-1", true).await;
    world.pass_seconds(600);
    let done = other(&world, "e-2", "f-2").await;
    assert_eq!(stage(&done), Stage::Compliant);
    assert_eq!(world.stages(), [Stage::Intent, Stage::Verified, Stage::Compliant]);

    // AWS's refusal of the change that this very event had begun is its outcome …
    let world = World::new("own-refusal", RULES);
    cut_off(&world, "e-1", false).await;
    world.pass_seconds(600);
    world.thing(|thing| thing.writing_fails = Some(denied()));
    let done = world.imported("e-1").await;
    assert_eq!(stage(&done), Stage::Denied);
    assert_eq!(world.stages(), [Stage::Intent, Stage::Intent, Stage::Denied]);
    let Done::Outcome(outcome) = done else { panic!("no outcome") };
    assert_eq!(outcome.title, "Things should be on");
    assert_eq!(outcome.run, world.records()[0].run);
    // … and not that of another.
    let world = World::new("others-refusal", RULES);
    cut_off(&world, "e-1", false).await;
    world.pass_seconds(600);
    world.thing(|thing| thing.writing_fails = Some(denied()));
    let done = other(&world, "e-2", "f-2").await;
    let Done::Outcome(outcome) = done else { panic!("{done:?}") };
    assert_ne!(outcome.run, world.records()[0].run);
    // But whoever waits for the other hears of it, though its own event should never come again.
    let world = World::new("others-end", RULES);
    cut_off(&world, "e-1", false).await;
    world.pass_seconds(600);
    world.thing(|thing| thing.writing_fails = Some(denied()));
    let finding = world.finding("f-2");
    let asked_by = Asker::Automatic { event: "e-2".to_owned() };
    let done = world.engine.handle(&world.request(Verb::Fix, asked_by, "e-2", finding)).await;
    let [_, Done::Outcome(other)] = done.as_slice() else { panic!("{done:?}") };
    assert!(done[1].is_of_another() && !done[0].is_of_another());
    assert_eq!((other.stage, &other.run), (Stage::Denied, &world.records()[0].run));
    assert!(other.memo.is_some(), "it is marked once it is told");

    // Our own failure to go on is not the end of it: it is looked at anew.
    let world = World::new("own-failure", RULES);
    cut_off(&world, "e-1", false).await;
    world.pass_seconds(600);
    world.thing(|thing| thing.beside = REFUSED);
    let done = world.imported("e-1").await;
    assert_eq!((stage(&done), reason(&done).as_str()), (Stage::Refused, "it is not to be turned on"));
    let failed = world.records().into_iter().find(|record| record.stage == Stage::Failed).unwrap();
    assert_eq!(
        failed.reason.as_deref(),
        Some("cut off, and not to be gone on with: it is not to be turned on")
    );
    assert_eq!(failed.after, Some(json!({ "on": false, "beside": REFUSED })));
    let change = failed.change.unwrap();
    assert_eq!(change.from, json!({ "on": false, "beside": 0 }));
    assert_eq!(change.to, json!({ "on": true, "beside": 0 }));
    assert!(failed.risk.is_some() && failed.notes == ["a note"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_begun_and_has_to_wait_again_is_said_so() {
    let world = World::new("waits-again", &format!("{RULES}    params: {{ patience: 2 }}\n"));
    assert_eq!(stage(&world.imported("e-1").await), Stage::Waiting);
    world.pass(24 * 2);
    cut_off(&world, "e-2", false).await;
    world.pass_seconds(600);
    let (since, _) = world.store.scan("since#").await.unwrap().remove(0);
    world.forget(&since).await;
    let done = world.engine.recover(deadline()).await.unwrap();
    assert_eq!(stage(&done[0]), Stage::Skipped);
    assert_eq!(reason(&done[0]), "cut off, and nothing is changed: patience");
}

#[tokio::test(start_paused = true)]
async fn a_run_goes_on_with_no_more_risk_than_it_began_with() {
    let world = World::new("riskier", &format!("{RULES}    max_risk: downtime\n"));
    cut_off(&world, "e-1", false).await;
    world.pass_seconds(600);
    world.thing(|thing| thing.beside = 1000);
    let done = world.engine.recover(deadline()).await.unwrap();
    assert_eq!(stage(&done[0]), Stage::Failed);
    assert!(reason(&done[0]).contains("riskier"), "{done:?}");
    assert_eq!(world.thing(|thing| thing.writes), 0);
    assert_eq!(world.check_chains().await, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_or_hidden_after_a_cut_is_not_guessed_at() {
    let world = World::new("gone-after", RULES);
    cut_off(&world, "e-1", false).await;
    world.pass_seconds(600);
    world.thing(|thing| thing.reading_fails = Some(denied()));
    let done = world.engine.recover(deadline()).await.unwrap();
    assert!(
        matches!(done[0], Done::Retry { .. }) && reason(&done[0]).contains("can't be looked at"),
        "{done:?}"
    );
    world.thing(|thing| thing.reading_fails = Some(transient()));
    let done = world.engine.recover(deadline()).await.unwrap();
    assert!(matches!(done[0], Done::Retry { error: Some(ErrorKind::Transient), .. }), "{done:?}");
    assert_eq!(world.check_chains().await, 1);
    world.thing(|thing| thing.reading_fails = Some(Error::new(ErrorKind::NotFound, "no such thing")));
    let done = world.engine.recover(deadline()).await.unwrap();
    assert_eq!(
        (stage(&done[0]), reason(&done[0]).as_str()),
        (Stage::Failed, "the resource does not exist any more")
    );
    assert_eq!(world.check_chains().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_crashed_undo_is_settled_as_an_undo() {
    let world = World::new("recovered-undo", &format!("{RULES}    hold_days: 90\n"));
    assert_eq!(stage(&world.imported("e-1").await), Stage::Verified);
    world.thing(|thing| thing.hangs_before = true);
    let undo = tokio::time::timeout(Duration::from_secs(600), world.clicked(Verb::Undo, "u-1")).await;
    assert!(undo.is_err());
    world.thing(|thing| thing.hangs_before = false);
    world.pass_seconds(600);
    let done = world.engine.recover(deadline()).await.unwrap();
    assert_eq!((stage(&done[0]), world.thing(|thing| thing.on)), (Stage::Undone, false));
    // For as long as the rule says whose fix it was.
    world.pass(24 * 89);
    assert_eq!(stage(&world.imported("e-2").await), Stage::Held);
    world.pass(24 + 1);
    assert_eq!(stage(&world.imported("e-3").await), Stage::Verified);
}

/// A refusal is not waited out, and says what is left.
#[tokio::test(start_paused = true)]
async fn a_refused_write_ends_at_once() {
    for (error, expected) in
        [(denied(), Stage::Denied), (Error::new(ErrorKind::Rejected, "no"), Stage::Failed)]
    {
        let world = World::new(&format!("refused-{}", expected.as_str()), RULES);
        world.thing(|thing| thing.writing_fails = Some(error.clone()));
        let begun = Instant::now();
        let done = world.clicked(Verb::Fix, "e-1").await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        let Done::Outcome(outcome) = done else { panic!("{done:?}") };
        assert_eq!((outcome.stage, outcome.error), (expected, Some(error.kind)));
        assert!(outcome.reason.unwrap().ends_with("; nothing was changed"));
        assert_eq!(outcome.after, Some(json!({ "on": false, "beside": 0 })));
        assert_eq!(outcome.change.unwrap().to, json!({ "on": true, "beside": 0 }));
        let record = world.records().pop().unwrap();
        assert_eq!(record.error_code, error.code);
        // A person may try again at once.
        world.thing(|thing| thing.writing_fails = None);
        assert_eq!(stage(&world.clicked(Verb::Fix, "e-2").await), Stage::Verified);
    }
}

/// A write that failed on the way, or half-way, is not known to be over: whoever comes next looks.
#[tokio::test(start_paused = true)]
async fn what_may_have_happened_stays_open() {
    let world = World::new("transient", RULES);
    world.thing(|thing| thing.writing_fails = Some(transient()));
    let done = world.imported("e-1").await;
    assert!(matches!(done, Done::Retry { error: Some(ErrorKind::Transient), .. }), "{done:?}");
    assert_eq!((world.stages(), world.check_chains().await), (vec![Stage::Intent], 1));
    // Nobody has to wait for the lease.
    world.thing(|thing| thing.writing_fails = None);
    let done = world.imported("e-1").await;
    assert_eq!((stage(&done), world.thing(|thing| thing.writes)), (Stage::Verified, 1));
    assert_eq!(world.check_chains().await, 0);

    let world = World::new("half-way", RULES);
    world.thing(|thing| (thing.writing_fails, thing.half_done) = (Some(denied()), true));
    let done = world.imported("e-1").await;
    assert!(matches!(done, Done::Retry { error: Some(ErrorKind::Denied), .. }), "{done:?}");
    assert_eq!(world.check_chains().await, 1);
    world.thing(|thing| thing.half_done = false);
    let done = world.imported("e-1").await;
    assert_eq!(stage(&done), Stage::Denied);
    assert!(reason(&done).ends_with("; what this run had changed before is left"), "{done:?}");
    let Done::Outcome(outcome) = done else { panic!("no outcome") };
    assert_eq!(outcome.change.unwrap().from, json!({ "on": false, "beside": 0 }));
    // That is the end for which there was to be room, when it was gone on with.
    let ends = world.store.ends.lock().unwrap();
    let from: Vec<_> = ends.iter().map(|(end, _)| &end.change.as_ref().unwrap().from).collect();
    assert_eq!(from, [&json!({ "on": false, "beside": 0 }); 2]);
}

/// Looks that fail after the write: those that pass by themselves are waited out.
#[tokio::test(start_paused = true)]
async fn looks_that_fail_after_the_write_are_repeated() {
    let world = World::new("blind-a-while", RULES);
    // Plan and last look are the first two.
    world.thing(|thing| thing.looks_fail = Some((2, 2, transient())));
    assert_eq!(stage(&world.imported("e-1").await), Stage::Verified);
    let world = World::new("blind", RULES);
    world.thing(|thing| thing.looks_fail = Some((2, 1, denied())));
    let begun = Instant::now();
    let done = world.imported("e-1").await;
    assert!(matches!(done, Done::Retry { .. }), "{done:?}");
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(world.check_chains().await, 1);
    world.pass_seconds(60);
    assert_eq!(stage(&world.imported("e-1").await), Stage::Verified);
    assert_eq!(world.thing(|thing| thing.writes), 1);
    // A lost answer, and a change that is seen late.
    let world = World::new("lost-and-late", RULES);
    world.thing(|thing| (thing.answer_lost, thing.lag) = (true, 3));
    assert_eq!(stage(&world.imported("e-1").await), Stage::Verified);
    assert_eq!(world.thing(|thing| thing.writes), 1);
}

/// A change is looked for as long as the settings say, ever more rarely.
#[tokio::test(start_paused = true)]
async fn a_change_is_looked_for_no_longer_than_the_settings_say() {
    let mut world = World::new("settle", RULES);
    world.engine.settings.settle = Duration::from_secs(20);
    world.thing(|thing| thing.lag = 1000);
    let begun = Instant::now();
    assert!(matches!(world.imported("e-1").await, Done::Retry { error: Some(ErrorKind::Unsettled), .. }));
    let waited = begun.elapsed();
    assert!(waited > Duration::from_secs(14) && waited <= Duration::from_secs(20), "{waited:?}");
    assert!(world.thing(|thing| thing.looks) < 14);
    assert_eq!(world.stages(), [Stage::Intent, Stage::Applied]);
    assert_eq!(world.records()[1].change.as_ref().unwrap().to["on"], true);
    // It was accepted: for an hour it is waited for, then it is made again.
    world.thing(|thing| thing.on = false);
    world.thing(|thing| thing.lag = 0);
    world.pass_seconds(3599);
    let done = world.imported("e-1").await;
    assert!(matches!(done, Done::Retry { error: Some(ErrorKind::Unsettled), .. }), "{done:?}");
    assert_eq!(world.thing(|thing| thing.writes), 1);
    world.pass_seconds(1);
    assert_eq!(stage(&world.imported("e-1").await), Stage::Verified);
    assert_eq!(world.thing(|thing| thing.writes), 2);
    assert_eq!(world.check_chains().await, 0);
}

/// The least time that a write may begin with is the time to verify it.
#[tokio::test(start_paused = true)]
async fn a_write_begins_with_just_enough_time() {
    for (seconds, expected) in [(5, 1), (4, 0)] {
        let mut world = World::new(&format!("time-{seconds}"), RULES);
        world.deadline = Duration::from_secs(seconds);
        let done = world.imported("e-1").await;
        assert_eq!(world.thing(|thing| thing.writes), expected, "{done:?}");
    }
}

/// Between the plan and the write, everything may still happen.
#[tokio::test(start_paused = true)]
async fn what_happens_between_intent_and_write_stops_it() {
    // Calls of the store: state, since, intent, stops.
    const STOPS: u32 = 4;
    let begun = |world: &World| {
        assert_eq!(world.thing(|thing| thing.writes), 0);
        let records = world.records();
        assert_eq!(records[0].stage, Stage::Intent);
        let last = records.into_iter().next_back().unwrap();
        assert!(last.last && last.change.is_some() && last.risk.is_some());
        last
    };
    let world = World::new("stopped-late", RULES);
    let stop = Stop { by: "ops".into(), at: world.now(), why: "incident".into() };
    world.store.then(STOPS, Trouble::Puts(StopScope::All.key(), json!(stop)));
    let done = world.clicked(Verb::Fix, "e-1").await;
    assert_eq!(stage(&done), Stage::Refused);
    assert!(reason(&done).starts_with("stopped for everything"), "{done:?}");
    begun(&world);

    let world = World::new("unreadable-late", RULES);
    world.store.then(STOPS, Trouble::Fails(denied()));
    let done = world.clicked(Verb::Fix, "e-1").await;
    assert_eq!(stage(&done), Stage::Refused);
    assert!(reason(&done).contains("kill switch can't be read, so it is on"), "{done:?}");
    begun(&world);

    let world = World::new("throttled-late", RULES);
    world.store.then(STOPS, Trouble::Fails(Error::new(ErrorKind::Throttled, "slow down")));
    let done = world.clicked(Verb::Fix, "e-1").await;
    assert!(matches!(done, Done::Retry { error: Some(ErrorKind::Throttled), .. }), "{done:?}");
    assert!(reason(&done).contains("kill switch can't be read"), "{done:?}");
    assert!(begun(&world).reason.unwrap().contains("kill switch can't be read"));
    assert_eq!(stage(&world.clicked(Verb::Fix, "e-1").await), Stage::Verified);

    let world = World::new("drifted-late", RULES);
    world.thing(|thing| thing.meddle_after = Some(1));
    let done = world.clicked(Verb::Fix, "e-1").await;
    assert!(reason(&done).contains("changed between plan and write"), "{done:?}");
    let last = begun(&world);
    assert_eq!((last.stage, last.after), (Stage::Skipped, Some(json!({ "on": false, "beside": 1 }))));
    // Who has agreed to a change is not asked to agree to another by coming again.
    let world = World::new("agreed-drift", RULES);
    let Done::Outcome(plan) = world.clicked(Verb::Plan, "e-1").await else { panic!("no plan") };
    let mut request = world.request(Verb::Fix, clicked("e-2"), "e-2", world.finding("f-1"));
    request.agreed.clone_from(&plan.change);
    world.thing(|thing| (thing.looks, thing.meddle_after) = (0, Some(1)));
    let Done::Outcome(outcome) = world.one(request).await else { panic!("no outcome") };
    assert_eq!((outcome.stage, outcome.error), (Stage::Skipped, Some(ErrorKind::Drifted)));

    for (error, retried) in [(denied(), false), (transient(), true)] {
        let world = World::new(&format!("blind-late-{retried}"), RULES);
        world.thing(|thing| thing.looks_fail = Some((1, 1, error.clone())));
        let done = world.clicked(Verb::Fix, "e-1").await;
        let last = begun(&world);
        assert_eq!(last.stage, Stage::Failed);
        assert!(last.reason.unwrap().starts_with("nothing was written: "));
        assert_eq!(last.error_code, error.code);
        match done {
            Done::Retry { error: Some(kind), .. } if retried => assert_eq!(kind, error.kind),
            Done::Outcome(outcome) if !retried => {
                assert_eq!((outcome.stage, outcome.error), (Stage::Failed, Some(error.kind)));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(world.check_chains().await, 0);
        world.thing(|thing| thing.looks_fail = None);
        assert_eq!(stage(&world.clicked(Verb::Fix, "e-2").await), Stage::Verified);
    }
}

#[tokio::test(start_paused = true)]
async fn an_intent_that_cannot_be_stored_is_no_write() {
    const INTENT: u32 = 3;
    let world = World::new("no-intent", RULES);
    world.store.then(INTENT, Trouble::Fails(denied()));
    let done = world.clicked(Verb::Fix, "e-1").await;
    assert_eq!(stage(&done), Stage::Refused);
    assert!(reason(&done).contains("the intent can't be stored, nothing was written"), "{done:?}");
    let world = World::new("intent-later", RULES);
    world.store.then(INTENT, Trouble::Fails(Error::new(ErrorKind::Throttled, "slow down")));
    assert!(matches!(world.clicked(Verb::Fix, "e-1").await, Done::Retry { .. }));
    assert_eq!((world.thing(|thing| thing.writes), world.records().len()), (0, 0));
}

/// The outcome of a write is stored, or the run stays open; that of a run without a write is told in any case.
#[tokio::test(start_paused = true)]
async fn an_outcome_that_cannot_be_stored() {
    // State, since, intent, stops, outcome.
    for error in [denied(), transient()] {
        let world = World::new(&format!("unstored-{:?}", error.kind), RULES);
        world.store.then(5, Trouble::Fails(error));
        let done = world.clicked(Verb::Fix, "e-1").await;
        assert!(matches!(done, Done::Retry { .. }) && reason(&done).contains("can't be stored"), "{done:?}");
        assert_eq!(world.check_chains().await, 1);
        world.pass_seconds(600);
        assert_eq!(stage(&world.clicked(Verb::Fix, "e-1").await), Stage::Verified);
        assert_eq!(world.thing(|thing| thing.writes), 1);
    }
    let world = World::new("unstored-plan", RULES);
    world.store.then(3, Trouble::Fails(denied()));
    assert_eq!(stage(&world.clicked(Verb::Plan, "e-1").await), Stage::Planned);
    assert!(world.records().is_empty());
    world.store.then(2, Trouble::Fails(transient()));
    assert!(matches!(world.clicked(Verb::Plan, "e-2").await, Done::Retry { .. }));
}

/// What is stored and can't be read is no leave to write.
#[tokio::test(start_paused = true)]
async fn a_lease_or_hold_that_cannot_be_read_stops_the_write() {
    let world = World::new("unreadable-items", RULES);
    assert_eq!(stage(&world.imported("e-1").await), Stage::Verified);
    let resource = world.records()[0].subject.resource.clone().unwrap();
    world.thing(|thing| (thing.on, thing.writes) = (false, 0));
    for key in [lease_item(&resource), format!("hold#{resource}#s3.turn_on")] {
        put(&world.store, &key, json!("garbage")).await;
        let done = world.clicked(Verb::Fix, &key).await;
        assert_eq!(stage(&done), Stage::Refused, "{key}");
        assert!(reason(&done).contains(&key), "{done:?}");
        world.forget(&key).await;
    }
    assert_eq!(world.thing(|thing| thing.writes), 0);
    assert_eq!(stage(&world.imported("e-2").await), Stage::Verified);
}

/// A lease that another has taken meanwhile is his: nothing of ours is stored over it.
#[tokio::test(start_paused = true)]
async fn a_lost_lease_is_noticed() {
    let world = World::new("lost-lease", RULES);
    cut_off(&world, "e-1", false).await;
    let (key, theirs) = world.store.scan("lease#").await.unwrap().remove(0);
    // State, since, intent, stops, outcome.
    let other = World::new("lost-lease", RULES);
    other.store.then(5, Trouble::Puts(key.clone(), theirs.body.clone()));
    let done = other.clicked(Verb::Fix, "e-2").await;
    assert!(matches!(done, Done::Retry { .. }) && reason(&done).contains("can't be stored"), "{done:?}");
    assert_eq!(other.store.scan("lease#").await.unwrap()[0].1.body, theirs.body);
    assert_eq!(other.stages(), [Stage::Intent]);

    // Who settles a run takes its lease over only as it was read.
    world.pass_seconds(600);
    world.thing(|thing| (thing.on, thing.writes) = (false, 0));
    world.store.then(2, Trouble::Puts(key, theirs.body));
    let done = world.engine.recover(deadline()).await.unwrap();
    assert!(matches!(done[0], Done::Retry { .. }), "{done:?}");
    assert_eq!(world.thing(|thing| thing.writes), 0);
}

/// Whoever goes on with a run proves once more whose the resource is.
#[tokio::test(start_paused = true)]
async fn ownership_is_proven_before_a_run_goes_on() {
    let world = World::new("owned", RULES);
    cut_off(&world, "e-1", false).await;
    world.pass_seconds(600);
    world.thing(|thing| thing.inspection_fails = Some(denied()));
    let done = world.engine.recover(deadline()).await.unwrap();
    assert!(matches!(done[0], Done::Retry { .. }), "{done:?}");
    assert_eq!(world.thing(|thing| thing.writes), 0);
    let world = World::new("not-owned", RULES);
    world.thing(|thing| thing.inspection_fails = Some(denied()));
    assert_eq!(stage(&world.clicked(Verb::Fix, "e-1").await), Stage::Denied);
    assert_eq!(world.thing(|thing| thing.writes), 0);
}

/// What took long between plan and write took the time that the proof needs.
#[tokio::test(start_paused = true)]
async fn a_write_does_not_begin_late() {
    let world = World::new("late-write", RULES);
    world.store.then(4, Trouble::Takes(Duration::from_secs(56)));
    let done = world.imported("e-1").await;
    assert!(matches!(done, Done::Retry { .. }) && reason(&done).contains("no time was left"), "{done:?}");
    assert_eq!((world.stages(), world.thing(|thing| thing.writes)), (vec![Stage::Intent], 0));
    // Nobody has to wait for the lease.
    assert_eq!(stage(&world.imported("e-1").await), Stage::Verified);
    assert_eq!((world.thing(|thing| thing.writes), world.check_chains().await), (1, 0));
}

/// Records that were altered are nothing to go by.
#[tokio::test(start_paused = true)]
async fn altered_records_are_not_gone_by() {
    let world = World::new("altered", RULES);
    assert_eq!(stage(&world.imported("e-1").await), Stage::Verified);
    *world.store.altered.lock().unwrap() = Some(("\"beside\":0", "\"beside\":7"));
    let done = world.clicked(Verb::Undo, "e-2").await;
    assert_eq!(stage(&done), Stage::Refused);
    assert!(reason(&done).contains("was altered"), "{done:?}");
    assert_eq!(world.thing(|thing| thing.writes), 1);

    let world = World::new("altered-intent", RULES);
    cut_off(&world, "e-1", false).await;
    world.pass_seconds(600);
    *world.store.altered.lock().unwrap() = Some(("\"beside\":0", "\"beside\":7"));
    let done = world.engine.recover(deadline()).await.unwrap();
    assert!(matches!(done[0], Done::Repeat { stage: Stage::Failed, .. }), "{done:?}");
    assert_eq!(world.thing(|thing| thing.writes), 0);
}

/// What a rule says of its runs holds for those that are settled as well.
#[tokio::test(start_paused = true)]
async fn a_run_that_was_cut_off_is_settled_by_its_rule() {
    let rules = RULES.replace("automatic: apply", "automatic: apply\n    hold_days: 3");
    let world = World::new("settled-hold", &rules);
    for event in ["e-1", "e-2"] {
        assert_eq!(stage(&world.imported(event).await), Stage::Verified);
        world.thing(|thing| thing.on = false);
    }
    cut_off(&world, "e-3", true).await;
    world.pass_seconds(120);
    let [Done::Outcome(outcome)] = &world.engine.recover(deadline()).await.unwrap()[..] else {
        panic!("no outcome")
    };
    assert_eq!((outcome.stage, outcome.alarm), (Stage::Verified, Some("refixed")));

    world.thing(|thing| thing.on = false);
    world.pass(71);
    assert_eq!(stage(&world.imported("e-4").await), Stage::Held);
    world.pass(2);
    assert_eq!(stage(&world.imported("e-5").await), Stage::Verified);
}

/// Where another event's run was cut off, whoever may not go on with it refuses, and leaves it as it is.
#[tokio::test(start_paused = true)]
async fn a_run_of_another_is_left_to_whoever_may_go_on_with_it() {
    let mut world = World::new("left-to-others", RULES);
    cut_off(&world, "e-1", false).await;
    world.pass_seconds(600);
    world.engine.settings.settles_others = false;
    let done = world.clicked(Verb::Fix, "e-2").await;
    assert_eq!(stage(&done), Stage::Refused);
    assert!(reason(&done).contains("redress recover"), "{done:?}");
    assert_eq!((world.thing(|thing| thing.writes), world.check_chains().await), (0, 1));
    // Its own event is no other's.
    assert_eq!(stage(&world.imported("e-1").await), Stage::Verified);
    assert_eq!((world.thing(|thing| thing.writes), world.check_chains().await), (1, 0));
}

/// A run that is gone on with looks once more right before its write, as any other does.
#[tokio::test(start_paused = true)]
async fn what_changes_before_a_run_is_gone_on_with_is_not_written_over() {
    let world = World::new("meddled-with", RULES);
    cut_off(&world, "e-1", false).await;
    world.pass_seconds(600);
    world.thing(|thing| thing.meddle_after = Some(thing.looks + 1));
    let done = world.engine.recover(deadline()).await.unwrap();
    assert!(matches!(done[0], Done::Retry { .. }), "{done:?}");
    assert!(reason(&done[0]).ends_with("the resource changed before it could be gone on with"), "{done:?}");
    assert_eq!((world.thing(|thing| thing.writes), world.check_chains().await), (0, 1));

    world.thing(|thing| {
        thing.meddle_after = None;
        thing.looks_fail = Some((thing.looks + 1, 1, Error::new(ErrorKind::Denied, "AccessDenied")));
    });
    let done = world.engine.recover(deadline()).await.unwrap();
    assert!(matches!(done[0], Done::Retry { .. }), "{done:?}");
    assert_eq!((world.thing(|thing| thing.writes), world.check_chains().await), (0, 1));

    let done = world.engine.recover(deadline()).await.unwrap();
    assert_eq!(stage(&done[0]), Stage::Verified);
    // What somebody has put beside it stays.
    assert_eq!(world.thing(|thing| (thing.writes, thing.on, thing.beside > 0)), (1, true, true));
    assert_eq!(world.check_chains().await, 0);
}
