//! The engine's promises, on a world that can fail at every point.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

#[path = "engine/access.rs"]
mod access;
#[path = "engine/activity.rs"]
mod activity;
#[path = "engine/attacks.rs"]
mod attacks;
#[path = "engine/limits.rs"]
mod limits;
#[path = "engine/meanwhile.rs"]
mod meanwhile;
#[path = "engine/members.rs"]
mod members;
#[path = "engine/progress.rs"]
mod progress;
#[path = "engine/records.rs"]
mod records;
#[path = "engine/settling.rs"]
mod settling;
#[path = "engine/together.rs"]
mod together;

use std::{sync::atomic::Ordering, time::Duration};

use common::{Fragile, RULES, Thing, World, arn, clicked, finding, finding_of, reason, stage};
use jiff::Timestamp;
use redress_remediators::{Error, ErrorKind, Risk};
use redress_router::{
    audit::{Asker, Stage, Verb},
    engine::{Dismissed, Done, told},
    finding::Note,
    guard::{Stop, StopScope},
    rules::Mode,
    store::{Commit, Expect, Op, Store},
};
use serde_json::json;
use tokio::time::Instant;

async fn put(store: &Fragile, key: &str, body: serde_json::Value) {
    let op = Op::Put {
        key: key.to_owned(),
        body,
        etag: "test".to_owned(),
        expect: Expect::Anything,
        expires: None,
    };
    store.commit(&Commit { ops: vec![op], records: vec![] }).await.unwrap();
}

fn plan_rules() -> String {
    RULES.replace("automatic: apply", "automatic: plan")
}

#[tokio::test(start_paused = true)]
async fn a_finding_is_fixed_verified_recorded_and_undone() {
    let world = World::new("whole-way", RULES);
    let done = world.imported("e-1").await;
    assert_eq!(stage(&done), Stage::Verified);
    assert!(world.thing(|thing| thing.on));
    assert_eq!(world.stages(), [Stage::Intent, Stage::Verified]);
    assert_eq!(world.check_chains().await, 0);

    // Security Hub now shows it as passed and resolved: undo asks nothing of that.
    world.thing(|thing| thing.beside = 5);
    let passed = finding(&world.id, "f-1", "PASSED", "RESOLVED");
    let undo = |event: &'static str| world.request(Verb::Undo, clicked(event), event, passed.clone());
    assert_eq!(stage(&world.one(undo("e-2")).await), Stage::Undone);
    assert_eq!(world.thing(|thing| (thing.on, thing.beside, thing.writes)), (false, 5, 2));

    let again = world.one(undo("e-3")).await;
    assert_eq!(stage(&again), Stage::Skipped);
    assert!(reason(&again).starts_with("nothing to undo"), "{}", reason(&again));
    assert_eq!(world.thing(|thing| thing.writes), 2);

    let held = world.imported("e-4").await;
    assert_eq!(stage(&held), Stage::Held);
    assert!(reason(&held).contains("undone by a person"), "{}", reason(&held));
    assert_eq!(world.thing(|thing| thing.writes), 2);

    // A person's fix lifts the hold.
    assert_eq!(stage(&world.clicked(Verb::Fix, "e-5").await), Stage::Verified);
    world.thing(|thing| thing.on = false);
    assert_eq!(stage(&world.imported("e-6").await), Stage::Verified);
}

#[tokio::test(start_paused = true)]
async fn what_was_lowered_says_by_what() {
    let mut world = World::new("lowered", RULES);
    world.engine.settings.ceiling = Mode::Plan;
    let done = world.clicked(Verb::Fix, "e-1").await;
    assert_eq!(stage(&done), Stage::Planned);
    assert_eq!(reason(&done), "lowered to `plan` by the deployment's ceiling");
    world.engine.settings.ceiling = Mode::Apply;
    world.exemptions(&format!("{RULES}    on_request: plan\n"), "exemptions: []");
    let done = world.clicked(Verb::Fix, "e-2").await;
    assert_eq!(reason(&done), "lowered to `plan` by rule `turn-on` (on_request)");
    assert_eq!(world.thing(|thing| thing.writes), 0);
}

/// One change, one set of writes, every event with an outcome: the same event twenty times, then twenty
/// findings of one thing, all at once.
#[tokio::test(start_paused = true)]
async fn duplicates_make_one_change() {
    let world = World::new("duplicates", RULES);
    let same = (0..20).map(|_| world.imported("e-1"));
    let others = (0..20).map(|number| {
        let finding = world.finding(&format!("f-{number}"));
        let event: &'static str = Box::leak(format!("o-{number}").into_boxed_str());
        world.imported_finding(event, finding)
    });
    let done = futures_join(same.map(boxed).chain(others.map(boxed)).collect()).await;
    assert_eq!(world.thing(|thing| thing.writes), 1);
    let verified = world.stages().iter().filter(|stage| **stage == Stage::Verified).count();
    assert_eq!(verified, 1);
    // The one event's own duplicates come again, until its outcome is there.
    let retries = done.iter().filter(|done| matches!(done, Done::Retry { .. })).count();
    assert!(retries <= 20, "{retries}");
    let again = world.imported("e-1").await;
    assert!(matches!(again, Done::Repeat { .. } | Done::Outcome(_)), "{again:?}");
    assert_eq!(world.thing(|thing| thing.writes), 1);
    assert_eq!(world.check_chains().await, 0);
}

type Boxed<'a> = std::pin::Pin<Box<dyn Future<Output = Done> + 'a>>;

fn boxed<'a>(future: impl Future<Output = Done> + 'a) -> Boxed<'a> {
    Box::pin(future)
}

/// Polls all in turn: the interleaving at every await.
async fn futures_join(mut futures: Vec<Boxed<'_>>) -> Vec<Done> {
    let mut done: Vec<Option<Done>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        let mut pending = false;
        for (future, slot) in futures.iter_mut().zip(&mut done) {
            if slot.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *slot = Some(value),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    done.into_iter().flatten().collect()
}

/// A finding that stays open is re-emitted daily: it is told once.
#[tokio::test(start_paused = true)]
async fn thirty_days_of_one_open_finding_are_one_record() {
    let world = World::new("thirty-days", &plan_rules());
    let mut outcomes = 0;
    for day in 0..30 {
        let event: &'static str = Box::leak(format!("e-{day}").into_boxed_str());
        outcomes += u32::from(matches!(world.imported(event).await, Done::Outcome(_)));
        world.pass(24);
    }
    assert_eq!(outcomes, 1);
    assert_eq!(world.stages(), [Stage::Planned]);
}

#[tokio::test(start_paused = true)]
async fn our_own_note_comes_back_without_a_write() {
    let world = World::new("no-loop", RULES);
    world.thing(|thing| thing.writing_fails = Some(denied()));
    assert_eq!(stage(&world.imported("e-1").await), Stage::Denied);
    let state = world.store.scan("").await.unwrap();
    let records = world.records().len();
    for event in ["e-2", "e-3"] {
        assert!(matches!(world.imported(event).await, Done::Repeat { .. }));
    }
    assert_eq!(world.store.scan("").await.unwrap(), state);
    assert_eq!(world.records().len(), records);
}

fn denied() -> Error {
    Error {
        kind: ErrorKind::Denied,
        message: "AccessDenied: no".to_owned(),
        code: Some("AccessDenied".to_owned()),
        request_id: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_denied_rule_is_told_once_and_tried_daily() {
    let world = World::new("denied-days", RULES);
    world.thing(|thing| thing.writing_fails = Some(denied()));
    let mut told = 0;
    for day in 0..30 {
        let event: &'static str = Box::leak(format!("e-{day}").into_boxed_str());
        told += u32::from(matches!(world.imported(event).await, Done::Outcome(_)));
        world.pass(24);
    }
    assert_eq!(told, 1);
    assert_eq!(world.check_chains().await, 0);
    world.thing(|thing| thing.writing_fails = None);
    assert_eq!(stage(&world.imported("e-last").await), Stage::Verified);
}

/// Each reason of the guard, through both doors: no write, a reason that names it; with the cause gone, the
/// same event is fixed.
#[tokio::test(start_paused = true)]
async fn the_guard_stops_and_lets_go() {
    type Cause = (&'static str, fn(&mut Thing), Stage, &'static str);
    let causes: [Cause; 6] = [
        (
            "tag",
            |thing| thing.tags = vec![("redress:exempt".into(), "2027-01-31 ops kept".into())],
            Stage::Exempt,
            "owner ops: kept",
        ),
        (
            "bad-tag",
            |thing| thing.tags = vec![("redress:exempt".into(), "yes".into())],
            Stage::Refused,
            "not `2027-01-31 owner reason`",
        ),
        (
            "unreadable-tags",
            |thing| thing.tags = vec![("unreadable".into(), String::new())],
            Stage::Denied,
            "AccessDenied",
        ),
        ("risk", |thing| thing.beside = 1000, Stage::Refused, "risk `downtime` is above"),
        ("loss", |thing| thing.beside = 1001, Stage::Refused, "does not say `max_risk: loss`"),
        ("reading", |thing| thing.reading_fails = Some(denied()), Stage::Denied, "AccessDenied"),
    ];
    for (name, cause, expected, words) in causes {
        for door in ["automatic", "person"] {
            // A person may go to downtime: that is their decision.
            if (name, door) == ("risk", "person") {
                continue;
            }
            let world = World::new(&format!("guard-{name}-{door}"), RULES);
            world.thing(cause);
            let run = async || match door {
                "automatic" => world.imported("e-1").await,
                _ => world.clicked(Verb::Fix, "e-1").await,
            };
            let done = run().await;
            assert_eq!(stage(&done), expected, "{name} {door}: {done:?}");
            assert!(reason(&done).contains(words), "{name} {door}: {}", reason(&done));
            assert_eq!(world.thing(|thing| thing.writes), 0, "{name} {door}");
            world.thing(|thing| *thing = Thing::default());
            assert_eq!(stage(&run().await), Stage::Verified, "{name} {door}");
            assert_eq!(world.check_chains().await, 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_person_may_go_to_downtime_and_to_loss_only_by_the_rules_word() {
    let world = World::new("person-downtime", RULES);
    world.thing(|thing| thing.beside = 1000);
    assert_eq!(stage(&world.clicked(Verb::Fix, "e-1").await), Stage::Verified);
    let world = World::new("rule-loss", &format!("{RULES}    max_risk: loss\n"));
    world.thing(|thing| thing.beside = 1001);
    assert_eq!(stage(&world.imported("e-1").await), Stage::Verified);
}

#[tokio::test(start_paused = true)]
async fn the_kill_switch_stops_everything_one_rule_or_one_account() {
    for scope in
        [StopScope::All, StopScope::Rule("turn-on".into()), StopScope::Account("123456789012".into())]
    {
        let world = World::new(&format!("stop-{}", scope.key()), RULES);
        let stop = Stop {
            by: "arn:aws:iam::1:user/ops".into(),
            at: "2026-11-23T10:00:00Z".parse().unwrap(),
            why: "incident".into(),
        };
        put(&world.store, &scope.key(), json!(stop)).await;
        for (number, done) in
            [world.imported("e-1").await, world.clicked(Verb::Fix, "e-2").await].iter().enumerate()
        {
            assert_eq!(stage(done), Stage::Refused, "{number}");
            let text = reason(done);
            assert!(text.contains("2026-11-23 10:00 UTC by arn:aws:iam::1:user/ops (incident)"), "{text}");
        }
        // What is known before is not begun.
        assert_eq!(world.stages(), [Stage::Refused; 2]);
        // What can't be read is on.
        put(&world.store, &scope.key(), json!("garbage")).await;
        let done = world.imported("e-3").await;
        assert!(reason(&done).contains("can't be read, so it is on"), "{}", reason(&done));
        let op = Op::Delete { key: scope.key(), expect: Expect::Anything };
        world.store.commit(&Commit { ops: vec![op], records: vec![] }).await.unwrap();
        assert_eq!(stage(&world.imported("e-1").await), Stage::Verified);
    }
}

#[tokio::test(start_paused = true)]
async fn a_state_table_that_cannot_be_read_or_written_means_no_write() {
    let world = World::new("unreadable-state", RULES);
    *world.store.reading_fails.lock().unwrap() = Some(denied());
    let done = world.imported("e-1").await;
    assert_eq!(stage(&done), Stage::Refused);
    assert!(reason(&done).contains("kill switch can't be read"), "{}", reason(&done));
    assert_eq!(world.stages(), [Stage::Refused]);
    *world.store.reading_fails.lock().unwrap() = Some(Error::new(ErrorKind::Throttled, "slow down"));
    assert!(matches!(world.imported("e-1").await, Done::Retry { .. }));
    *world.store.reading_fails.lock().unwrap() = None;
    *world.store.writing_fails.lock().unwrap() = Some(denied());
    let request = world.request(Verb::Fix, Asker::Automatic { event: "e".into() }, "e", world.finding("f-1"));
    let done = world.engine.handle(&request).await.remove(0);
    assert!(matches!(done, Done::Outcome(_) | Done::Retry { .. }), "{done:?}");
    assert_eq!(world.thing(|thing| thing.writes), 0);
    *world.store.writing_fails.lock().unwrap() = None;
    assert_eq!(stage(&world.imported("e-1").await), Stage::Verified);
}

#[tokio::test(start_paused = true)]
async fn exemptions_of_the_file_count_until_their_day() {
    let mut world = World::new("exempt-file", RULES);
    let file = |until: &str| {
        format!(
            "exemptions:\n  - resource: arn:aws:test:eu-west-1:123456789012:thing/exempt-file\n    owner: ops\n    reason: kept\n    until: {until}\n"
        )
    };
    world.exemptions(RULES, &file("2099-12-31"));
    let done = world.imported("e-1").await;
    assert_eq!(stage(&done), Stage::Exempt);
    assert!(reason(&done).contains("exempt until 2099-12-31 by the exemptions file"), "{}", reason(&done));
    // The tag does not count where the rule says so.
    world.exemptions(&format!("{RULES}    exempt_by: [tag]\n"), &file("2099-12-31"));
    assert_eq!(stage(&world.imported("e-2").await), Stage::Verified);
    world.thing(|thing| thing.on = false);
    world.exemptions(RULES, &file("2020-01-01"));
    let Done::Outcome(outcome) = world.imported("e-3").await else { panic!("no outcome") };
    assert_eq!(outcome.stage, Stage::Verified);
    assert!(outcome.notes.iter().any(|note| note.starts_with("expired: ")), "{:?}", outcome.notes);
}

#[tokio::test(start_paused = true)]
async fn caps_are_never_passed() {
    let world = World::new("caps", RULES);
    let mut stages = Vec::new();
    for number in 0..60 {
        let id = format!("caps-{number}");
        common::thing(&id, |thing| *thing = Thing::default());
        let event: &'static str = Box::leak(format!("e-{number}").into_boxed_str());
        let done = world.imported_finding(event, finding(&id, &id, "FAILED", "NEW")).await;
        if stage(&done) == Stage::Refused {
            assert_eq!(reason(&done), "rule `turn-on` has made its 20 automatic changes of this hour");
        }
        stages.push(stage(&done));
    }
    assert_eq!(stages.iter().filter(|stage| **stage == Stage::Verified).count(), 20);
    assert_eq!(stages.iter().filter(|stage| **stage == Stage::Refused).count(), 40);
    // A person is not counted.
    let request = world.request(Verb::Fix, clicked("p"), "p", finding("caps-59", "caps-59", "FAILED", "NEW"));
    assert_eq!(stage(&world.one(request).await), Stage::Verified);
}

#[tokio::test(start_paused = true)]
async fn three_fixes_in_a_day_are_a_hold_and_an_alarm() {
    let world = World::new("refixed", RULES);
    let mut alarms = Vec::new();
    for event in ["e-1", "e-2", "e-3"] {
        world.thing(|thing| thing.on = false);
        let Done::Outcome(outcome) = world.imported(event).await else { panic!("no outcome") };
        assert_eq!(outcome.stage, Stage::Verified);
        alarms.extend(outcome.alarm);
        world.pass(1);
    }
    assert_eq!(alarms, ["refixed"]);
    world.thing(|thing| thing.on = false);
    let done = world.imported("e-4").await;
    assert_eq!(stage(&done), Stage::Held);
    assert!(reason(&done).contains("fixed three times within 24 hours"), "{}", reason(&done));
}

#[tokio::test(start_paused = true)]
async fn security_hub_that_does_not_agree_after_two_days_is_said_so() {
    let world = World::new("disagrees", RULES);
    assert_eq!(stage(&world.imported("e-1").await), Stage::Verified);
    world.pass(24);
    assert_eq!(stage(&world.imported("e-2").await), Stage::Compliant);
    world.pass(25);
    let Done::Outcome(outcome) = world.imported("e-3").await else { panic!("no outcome") };
    assert_eq!((outcome.stage, outcome.alarm), (Stage::Disagrees, Some("disagrees")));
}

#[tokio::test(start_paused = true)]
async fn patience_counts_from_the_first_look() {
    let rules = format!("{RULES}    params: {{ patience: 7 }}\n");
    // Security Hub brings a finding that fails each day; two may be lost.
    let waits = async |world: &World, event: &str, days: i64| {
        world.pass(24 * days);
        let done = world.imported(event).await;
        let waiting = match &done {
            Done::Outcome(outcome) => outcome.stage == Stage::Waiting,
            Done::Repeat { stage, .. } => *stage == Stage::Waiting,
            Done::Unwanted(_) | Done::Retry { .. } => false,
        };
        assert!(waiting, "{event}: {done:?}");
    };
    let world = World::new("patience", &rules);
    for (event, days) in [("a-1", 0), ("a-2", 2), ("a-3", 2), ("a-4", 2)] {
        waits(&world, event, days).await;
    }
    // In use for a moment: the count starts anew.
    world.thing(|thing| thing.on = true);
    assert_eq!(stage(&world.imported("b").await), Stage::Compliant);
    world.thing(|thing| thing.on = false);
    for (event, days) in [("c-1", 1), ("c-2", 2), ("c-3", 2), ("c-4", 2)] {
        waits(&world, event, days).await;
    }
    world.pass(24);
    assert_eq!(stage(&world.imported("d").await), Stage::Verified);

    // A finding that passes brings nobody here: that the thing was in use shows by the looks that are missing.
    let world = World::new("unseen", &rules);
    for (event, days) in [("a-1", 0), ("a-2", 2), ("b-1", 8), ("b-2", 2), ("b-3", 2), ("b-4", 2)] {
        waits(&world, event, days).await;
    }
    world.pass(24);
    assert_eq!(stage(&world.imported("c").await), Stage::Verified);

    let impatient = World::new("impatient", &rules);
    assert_eq!(stage(&impatient.clicked(Verb::Fix, "e-1").await), Stage::Verified);
}

#[tokio::test(start_paused = true)]
async fn what_settles_late_is_waited_for_and_never_written_twice() {
    let world = World::new("late", RULES);
    world.thing(|thing| thing.lag = 4);
    assert_eq!(stage(&world.imported("e-1").await), Stage::Verified);
    let mut world = World::new("very-late", RULES);
    world.engine.settings.settle = Duration::from_secs(1);
    world.thing(|thing| thing.lag = 12);
    let done = world.imported("e-1").await;
    assert!(matches!(done, Done::Retry { error: Some(ErrorKind::Unsettled), .. }), "{done:?}");
    for _ in 0..10 {
        world.pass_seconds(60);
        if matches!(world.imported("e-1").await, Done::Outcome(_)) {
            break;
        }
    }
    assert_eq!(world.stages().last(), Some(&Stage::Verified));
    assert_eq!(world.thing(|thing| thing.writes), 1);
    assert_eq!(world.check_chains().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_looked_at_not_believed() {
    let world = World::new("lost-answer", RULES);
    world.thing(|thing| thing.answer_lost = true);
    assert_eq!(stage(&world.imported("e-1").await), Stage::Verified);
    assert_eq!(world.thing(|thing| thing.writes), 1);
}

#[tokio::test(start_paused = true)]
async fn drift_between_plan_and_write_writes_nothing() {
    let world = World::new("drift", RULES);
    world.thing(|thing| thing.meddle_after = Some(1));
    let done = world.imported("e-1").await;
    assert!(matches!(done, Done::Retry { error: Some(ErrorKind::Drifted), .. }), "{done:?}");
    assert_eq!(world.thing(|thing| thing.writes), 0);
    world.thing(|thing| thing.meddle_after = None);
    assert_eq!(stage(&world.imported("e-1").await), Stage::Verified);
    assert_eq!(world.check_chains().await, 0);
}

#[tokio::test(start_paused = true)]
async fn without_time_to_verify_no_write_begins() {
    let mut world = World::new("no-time", RULES);
    world.deadline = Duration::from_secs(3);
    assert!(matches!(world.imported("e-1").await, Done::Retry { .. }));
    assert_eq!(world.thing(|thing| thing.writes), 0);
    assert!(world.records().is_empty());
}

#[tokio::test(start_paused = true)]
async fn only_the_change_that_was_agreed_to_is_made() {
    let world = World::new("agreed", RULES);
    let Done::Outcome(plan) = world.clicked(Verb::Plan, "e-1").await else { panic!("no plan") };
    let mut request = world.request(Verb::Fix, clicked("e-2"), "e-2", world.finding("f-1"));
    request.agreed.clone_from(&plan.change);
    world.thing(|thing| thing.beside = 3);
    let done = world.one(request.clone()).await;
    assert_eq!(stage(&done), Stage::Failed);
    assert!(reason(&done).contains("plan again"), "{}", reason(&done));
    world.thing(|thing| thing.beside = 0);
    assert_eq!(stage(&world.one(request).await), Stage::Verified);
}

/// The process is gone at every point in turn: another one, with only the store, ends with the right state,
/// exactly one verified record, no open intent; and undo restores.
#[tokio::test(start_paused = true)]
async fn a_crash_at_any_point_is_settled_by_the_next() {
    for point in (1..=8).flat_map(|number| [number, -number]) {
        let world = World::new(&format!("crash-{point}"), RULES);
        world.store.hang_at.store(point, Ordering::SeqCst);
        let crashed = tokio::time::timeout(Duration::from_secs(600), world.imported("e-1")).await.is_err();
        crash_is_settled(world, &format!("store call {point}"), crashed).await;
    }
    for after in [false, true] {
        let world = World::new(&format!("crash-write-{after}"), RULES);
        world.thing(|thing| if after { thing.hangs_after = true } else { thing.hangs_before = true });
        let crashed = tokio::time::timeout(Duration::from_secs(600), world.imported("e-1")).await.is_err();
        assert!(crashed);
        world.thing(|thing| {
            thing.hangs_after = false;
            thing.hangs_before = false;
        });
        crash_is_settled(world, &format!("write, after: {after}"), crashed).await;
    }
}

async fn crash_is_settled(world: World, point: &str, crashed: bool) {
    world.store.hang_at.store(0, Ordering::SeqCst);
    // Within the lease, the same event waits.
    if crashed && world.check_chains().await > 0 {
        assert!(matches!(world.imported("e-1").await, Done::Retry { .. }), "{point}");
    }
    world.pass_seconds(600);
    let _ = world.imported("e-1").await;
    assert!(world.thing(|thing| thing.on), "{point}");
    assert_eq!(world.check_chains().await, 0, "{point}");
    let verified = world.stages().iter().filter(|stage| **stage == Stage::Verified).count();
    assert_eq!(verified, 1, "{point}: {:?}", world.stages());
    assert!(world.store.scan("lease#").await.unwrap().is_empty(), "{point}");
    assert_eq!(stage(&world.clicked(Verb::Undo, "u").await), Stage::Undone, "{point}");
    assert!(!world.thing(|thing| thing.on), "{point}");
}

#[tokio::test(start_paused = true)]
async fn recovery_needs_no_event() {
    let world = World::new("recover", RULES);
    world.thing(|thing| thing.hangs_after = true);
    assert!(tokio::time::timeout(Duration::from_secs(600), world.imported("e-1")).await.is_err());
    world.thing(|thing| thing.hangs_after = false);
    let deadline = || Instant::now() + Duration::from_secs(60);
    assert!(world.engine.recover(deadline()).await.unwrap().is_empty(), "the lease still runs");
    world.pass_seconds(600);
    let done = world.engine.recover(deadline()).await.unwrap();
    assert_eq!(done.len(), 1);
    assert_eq!(stage(&done[0]), Stage::Verified);
    assert_eq!(world.check_chains().await, 0);
    // The event comes again: its outcome is told, and nothing is done.
    let done = world.imported("e-1").await;
    assert_eq!(stage(&done), Stage::Verified);
    assert_eq!(world.thing(|thing| thing.writes), 1);
    assert!(matches!(world.imported("e-1").await, Done::Repeat { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_crashed_undo_is_settled_too() {
    let world = World::new("crashed-undo", RULES);
    assert_eq!(stage(&world.imported("e-1").await), Stage::Verified);
    world.thing(|thing| thing.hangs_before = true);
    let undo = tokio::time::timeout(Duration::from_secs(600), world.clicked(Verb::Undo, "u-1")).await;
    assert!(undo.is_err());
    world.thing(|thing| thing.hangs_before = false);
    world.pass_seconds(600);
    assert_eq!(stage(&world.clicked(Verb::Undo, "u-1").await), Stage::Undone);
    assert!(!world.thing(|thing| thing.on));
    assert_eq!(world.check_chains().await, 0);
    assert_eq!(world.stages().iter().filter(|stage| **stage == Stage::Undone).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn forged_and_foreign_findings_are_refused_and_recorded() {
    let world = World::new("forged", RULES);
    let mut forged = world.finding("f-1");
    forged.product_arn = "arn:aws:securityhub:eu-west-1:123456789012:product/123456789012/default".to_owned();
    assert_eq!(stage(&world.imported_finding("e-1", forged).await), Stage::Refused);
    let mut elsewhere = world.finding("f-2");
    elsewhere.resources[0].id = "arn:aws:test:eu-west-1:999999999999:thing/forged".to_owned();
    let done = world.imported_finding("e-2", elsewhere).await;
    assert_eq!(stage(&done), Stage::Refused);
    assert!(reason(&done).contains("999999999999"), "{}", reason(&done));
    let mut china = world.finding("f-3");
    china.partition = "aws-cn".to_owned();
    assert_eq!(stage(&world.imported_finding("e-3", china).await), Stage::Refused);
    // One that agrees in itself is of another deployment.
    let mut china = world.finding("f-4");
    china.partition = "aws-cn".to_owned();
    china.resources[0].partition = Some("aws-cn".to_owned());
    for text in [&mut china.product_arn, &mut china.id, &mut china.resources[0].id] {
        *text = text.replace("arn:aws:", "arn:aws-cn:");
    }
    assert_eq!(china.authenticity(), Ok(()));
    let done = world.imported_finding("e-4", china).await;
    assert_eq!(stage(&done), Stage::Refused);
    assert_eq!(reason(&done), "partition `aws-cn` is not this deployment's");
    assert_eq!(world.stages(), [Stage::Refused; 4]);
    assert_eq!(world.thing(|thing| thing.looks), 0);
}

#[tokio::test(start_paused = true)]
async fn a_person_always_gets_an_answer() {
    let mut world = World::new("answers", RULES);
    let request =
        |world: &World, event: &str, finding| world.request(Verb::Fix, clicked(event), event, finding);
    let done = world.one(request(&world, "e-1", finding("answers", "f", "PASSED", "RESOLVED"))).await;
    assert_eq!(stage(&done), Stage::Skipped);
    world.exemptions(&RULES.replace("S3.14", "S3.5"), "exemptions: []");
    let done = world.one(request(&world, "e-2", world.finding("f-1"))).await;
    assert_eq!((stage(&done), reason(&done).as_str()), (Stage::Refused, "no rule is for S3.14"));
    let done = world.imported("e-3").await;
    assert!(matches!(done, Done::Unwanted(_)));
    let done = world.clicked(Verb::Undo, "e-4").await;
    assert!(reason(&done).starts_with("nothing to undo"), "{}", reason(&done));
    world.thing(|thing| thing.risk = Risk::None);
}

/// One run for each resource of the remediator's kind, one for those named twice, none for the others.
#[tokio::test(start_paused = true)]
async fn a_finding_of_several_resources_is_a_run_for_each() {
    let world = World::new("several-1", RULES);
    let (one, two) = (arn("several-1"), arn("several-2"));
    let things = [
        ("AwsTestThing", one.as_str()),
        ("AwsTestThing", two.as_str()),
        ("AWS::Test::Thing", one.as_str()),
        ("AwsS3Bucket", "arn:aws:s3:::other"),
        ("AwsTestThing", "arn:aws:test:eu-west-1:999999999999:thing/theirs"),
    ];
    let request = world.request(Verb::Plan, clicked("e-1"), "e-1", finding_of("S3.14", &things));
    let done = world.engine.handle(&request).await;
    let stages: Vec<Stage> = done.iter().map(stage).collect();
    assert_eq!(stages, [Stage::Refused, Stage::Planned, Stage::Planned]);
    let ids: Vec<String> = done
        .iter()
        .skip(1)
        .filter_map(|done| match done {
            Done::Outcome(outcome) => outcome.subject.resource.as_ref().map(|key| key.id.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(ids, ["several-1", "several-2"]);

    // The one that is meant.
    let only = match &done[2] {
        Done::Outcome(outcome) => outcome.subject.resource.clone(),
        other => panic!("{other:?}"),
    };
    let mut request = world.request(Verb::Plan, clicked("e-2"), "e-2", finding_of("S3.14", &things[..2]));
    request.only_resource.clone_from(&only);
    let done = world.engine.handle(&request).await;
    let [Done::Outcome(planned)] = done.as_slice() else { panic!("{done:?}") };
    assert_eq!(planned.subject.resource, only);

    // Of the partition of another, and of no kind that it could fix.
    let mut finding = finding_of("S3.14", &things[..1]);
    finding.resources[0].partition = Some("aws-cn".to_owned());
    let done = world.one(world.request(Verb::Plan, clicked("e-3"), "e-3", finding)).await;
    assert!(reason(&done).contains("partition `aws-cn` in a resource"), "{done:?}");
    let none = finding_of("S3.14", &things[3..4]);
    let done = world.one(world.request(Verb::Plan, clicked("e-4"), "e-4", none)).await;
    assert!(reason(&done).contains("names no AwsTestThing"), "{done:?}");
}

/// AWS sends at most 32 resources. Of more, that many are handled, and it is said.
#[tokio::test(start_paused = true)]
async fn of_too_many_resources_the_first_are_handled() {
    let world = World::new("many", RULES);
    for (number, expected) in [(32, 32), (33, 33), (40, 33)] {
        let first = arn("many-0");
        let mut finding = finding_of("S3.14", &[("AwsTestThing", first.as_str())]);
        // More than the decoder lets through.
        for number in 1..number {
            let mut another = finding.resources[0].clone();
            another.id = arn(&format!("many-{number}"));
            finding.resources.push(another);
        }
        let request = world.request(Verb::Plan, clicked("e-1"), "e-1", finding);
        let done = world.engine.handle(&request).await;
        assert_eq!(done.len(), expected);
        let planned = done.iter().filter(|done| stage(done) == Stage::Planned).count();
        assert_eq!(planned, 32);
        assert_eq!(reason(&done[0]).contains("32 are handled"), number > 32);
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_in_vain_learns_why_and_nobody_else() {
    let world = World::new("in-vain", RULES);
    let thing = arn("in-vain");
    let of = |control: &str| finding_of(control, &[("AwsTestThing", &thing)]);
    for (control, why) in
        [("S3.5", "no rule is for S3.5"), ("EC2.12", "EC2.12 is not supported: no remediator serves it")]
    {
        let done = world.one(world.request(Verb::Fix, clicked("e-1"), "e-1", of(control))).await;
        assert_eq!((stage(&done), reason(&done).as_str()), (Stage::Refused, why));
        let automatic = Asker::Automatic { event: "e-2".to_owned() };
        let done = world.one(world.request(Verb::Fix, automatic, "e-2", of(control))).await;
        assert!(matches!(done, Done::Unwanted(_)), "{done:?}");
    }
    for (rule, why) in
        [("turn-on", "rule `turn-on` is not for this finding"), ("gone", "there is no rule `gone`")]
    {
        let mut request = world.request(Verb::Fix, clicked("e-3"), "e-3", of("S3.5"));
        request.only_rule = Some(rule.to_owned());
        let done = world.one(request).await;
        assert!(reason(&done).contains(why), "{done:?}");
    }
    let mut request = world.request(Verb::Fix, clicked("e-4"), "e-4", of("S3.14"));
    request.only_rule = Some("turn-on".to_owned());
    request.listed = false;
    let Done::Outcome(fixed) = world.one(request).await else { panic!("no outcome") };
    assert_eq!((fixed.stage, fixed.subject.mode), (Stage::Verified, Mode::Apply));
    assert!(fixed.subject.finding.unwrap().unlisted);
    let planned = world.clicked(Verb::Plan, "e-5").await;
    let Done::Outcome(planned) = planned else { panic!("{planned:?}") };
    assert_eq!(planned.subject.mode, Mode::Plan);
    assert!(!planned.subject.finding.unwrap().unlisted);
}

/// Our own notes bring a finding back: that is no other look at the resource.
#[tokio::test(start_paused = true)]
async fn a_look_counts_for_six_hours() {
    let world = World::new("looks", &format!("{RULES}    params: {{ patience: 7 }}\n"));
    let seen = async |event: &str| -> Timestamp {
        world.imported(event).await;
        let (_, since) = world.store.scan("since#").await.unwrap().remove(0);
        serde_json::from_value(since.body["seen"].clone()).unwrap()
    };
    let first = seen("e-1").await;
    assert_eq!((first, records::kept(&world, "since#")), (world.now(), Some(3)));
    world.pass(5);
    assert_eq!(seen("e-2").await, first);
    world.pass(1);
    assert_eq!(seen("e-3").await, world.now());
}

/// What was undone is not undone again, whoever has turned it on since.
#[tokio::test(start_paused = true)]
async fn an_undo_is_for_a_change_that_is_not_yet_undone() {
    let world = World::new("undone-once", RULES);
    assert_eq!(stage(&world.imported("e-1").await), Stage::Verified);
    assert_eq!(stage(&world.clicked(Verb::Undo, "e-2").await), Stage::Undone);
    world.thing(|thing| thing.on = true);
    let again = world.clicked(Verb::Undo, "e-3").await;
    assert_eq!(stage(&again), Stage::Skipped);
    assert!(reason(&again).starts_with("nothing to undo"), "{}", reason(&again));
    assert!(world.thing(|thing| thing.on));
    // Of few runs, nobody asks twice.
    assert!(world.store.listed.lock().unwrap().iter().all(|limit| *limit == 200));
}

#[tokio::test(start_paused = true)]
async fn what_was_dismissed_is_said_as_it_was() {
    let world = World::new("dismissed", RULES);
    let mine = Note { text: "mine".to_owned(), updated_by: "an analyst".to_owned(), updated_at: None };
    let dismissed = Dismissed {
        note: Some(mine.clone()),
        finding: None,
        event: "e-1",
        asked_by: clicked("e-1"),
        verb: Verb::Fix,
        account: "123456789012",
        region: "eu-west-1",
        stage: Stage::Skipped,
        why: "a sample",
    };
    let done = world.engine.dismiss(&dismissed).await;
    assert_eq!((stage(&done), reason(&done).as_str()), (Stage::Skipped, "a sample"));
    let Done::Outcome(outcome) = &done else { panic!("{done:?}") };
    // An answer takes the place of the note that stands there: that one follows, and stays in the record.
    assert_eq!(outcome.note.as_ref(), Some(&mine));
    let kept = world.records()[0].replaced_note.clone().unwrap();
    assert_eq!((&kept["text"], &kept["updated_by"]), (&json!("mine"), &json!("an analyst")));
    let commit = told(outcome).unwrap();
    let [Op::Put { body, expires, .. }] = commit.ops.as_slice() else { panic!("{commit:?}") };
    assert_eq!(body["reported"], true);
    let days = expires.unwrap().duration_since(outcome.time).as_hours() / 24;
    assert_eq!(days, 45);
}

#[tokio::test(start_paused = true)]
async fn a_failure_keeps_its_kind() {
    let world = World::new("kinds", RULES);
    world.thing(|thing| thing.reading_fails = Some(Error::new(ErrorKind::Denied, "AccessDenied: no")));
    let done = world.clicked(Verb::Fix, "e-1").await;
    let Done::Outcome(outcome) = done else { panic!("{done:?}") };
    assert_eq!((outcome.stage, outcome.error), (Stage::Denied, Some(ErrorKind::Denied)));
}
