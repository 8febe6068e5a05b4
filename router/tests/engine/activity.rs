//! Users: what rests on when they were last seen, up to the last moment and beyond.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use jiff::SignedDuration;
use redress_remediators::{Access, Error, ErrorKind, LastSeen};
use redress_router::{
    audit::{Asker, Stage, Verb},
    engine::Done,
    rules::{Mode, RuleSet},
};
use tokio::time::Instant;

use crate::{
    common::{ENABLED, REFUSED, REGISTRY, Seen, World, arn, clicked, finding_of, reason, stage},
    denied,
};

const RULES: &str = "
rules:
  - name: retire
    control: EC2.13
    remediator: s3.retire
    automatic: apply
    max_risk: access
";

struct Users {
    world: World,
    seen: Arc<Seen>,
}

impl Users {
    /// A user who is enabled, and was last seen so many days ago.
    fn new(id: &str, days: Option<i64>) -> Self {
        let mut world = World::new(id, RULES);
        world.engine.rules = RuleSet::parse(&[("rules.yaml", RULES)], None, REGISTRY).unwrap();
        world.thing(|thing| thing.on = true);
        let seen = Arc::new(Seen::default());
        *seen.last.lock().unwrap() = days.map(|days| at(&world, days));
        world.engine.activity = Some(seen.clone());
        Self { world, seen }
    }

    async fn ask(&self, verb: Verb, event: &str) -> Done {
        let asker =
            if verb == Verb::Fix { Asker::Automatic { event: event.to_owned() } } else { clicked(event) };
        let finding = finding_of("EC2.13", &[("AwsTestThing", &arn(&self.world.id))]);
        self.world.one(self.world.request(verb, asker, event, finding)).await
    }

    fn is_enabled(&self) -> bool {
        self.world.thing(|thing| thing.on)
    }
}

fn at(world: &World, days: i64) -> LastSeen {
    let since = world.now() - SignedDuration::from_hours(24 * days);
    LastSeen { since, signed_in: true, warned: None, in_doubt: None }
}

#[tokio::test(start_paused = true)]
async fn a_user_is_disabled_when_it_is_still_inactive_after_it() {
    let users = Users::new("inactive", Some(200));
    let begun = Instant::now();
    let done = users.ask(Verb::Fix, "e-1").await;
    assert_eq!(stage(&done), Stage::Verified, "{done:?}");
    // No sign-in from before can be on its way any more.
    assert_eq!(begun.elapsed(), users.world.engine.settings.sign_in_window);
    assert!(!users.is_enabled());
    let run = users.world.records()[0].run.clone();
    assert_eq!(*users.seen.disabled.lock().unwrap(), [run]);
    // Plan, last look, after the write, and under the condition.
    assert_eq!(users.seen.looks.load(Ordering::SeqCst), 4);
    assert_eq!(users.world.ways.accesses(), [Access::Apply]);

    // Undo gives the user the time anew, and asks nothing of the table.
    assert_eq!(stage(&users.ask(Verb::Undo, "e-2").await), Stage::Undone);
    assert!(users.is_enabled());
    assert_eq!(users.seen.restored.load(Ordering::SeqCst), 1);
    assert_eq!(users.seen.looks.load(Ordering::SeqCst), 4);
    assert_eq!(users.world.check_chains().await, 0);
}

#[tokio::test(start_paused = true)]
async fn who_is_active_or_unknown_is_left_alone() {
    for (name, days, why) in
        [("active", Some(3), "it is active"), ("unknown", None, "nothing is known of it")]
    {
        let users = Users::new(name, days);
        let done = users.ask(Verb::Fix, "e-1").await;
        assert_eq!((stage(&done), reason(&done).as_str()), (Stage::Refused, why));
        assert!(users.is_enabled() && users.world.thing(|thing| thing.writes) == 0);
    }
    let mut users = Users::new("no-table", Some(200));
    users.world.engine.activity = None;
    assert_eq!(reason(&users.ask(Verb::Fix, "e-1").await), "nothing is known of it");
}

/// Seen between the plan and the write, nothing is written; seen while it was being disabled, it is enabled again.
#[tokio::test(start_paused = true)]
async fn who_is_seen_meanwhile_stays_or_comes_back() {
    let users = Users::new("seen-before", Some(200));
    *users.seen.later.lock().unwrap() = Some((1, at(&users.world, 0)));
    let done = users.ask(Verb::Fix, "e-1").await;
    assert!(matches!(done, Done::Retry { error: Some(ErrorKind::Drifted), .. }), "{done:?}");
    assert!(users.is_enabled() && users.world.thing(|thing| thing.writes) == 0);

    for after in [2, 3] {
        let users = Users::new(&format!("seen-during-{after}"), Some(200));
        *users.seen.later.lock().unwrap() = Some((after, at(&users.world, 0)));
        let done = users.ask(Verb::Fix, "e-1").await;
        assert_eq!(stage(&done), Stage::Skipped, "{done:?}");
        assert_eq!(reason(&done), "seen while it was being disabled: enabled again");
        let Done::Outcome(outcome) = done else { panic!("no outcome") };
        assert_eq!(outcome.after.unwrap()["on"], true);
        assert!(users.is_enabled());
        assert_eq!(users.world.thing(|thing| thing.writes), 2);
        assert!(users.seen.disabled.lock().unwrap().is_empty());
        assert_eq!(users.world.ways.accesses(), [Access::Apply, Access::Undo]);
        // Both writes have their intents.
        assert_eq!(users.world.stages(), [Stage::Intent, Stage::Intent, Stage::Skipped]);
        assert_eq!(users.world.check_chains().await, 0);
    }
    // Another sight that is as long ago is none that counts: the plan is the same.
    let users = Users::new("seen-long-ago", Some(200));
    *users.seen.later.lock().unwrap() = Some((3, at(&users.world, 150)));
    let done = users.ask(Verb::Fix, "e-1").await;
    assert_eq!(stage(&done), Stage::Verified, "{done:?}");
}

/// What is done is done, and is not known to be right: it stays open until the table answers.
#[tokio::test(start_paused = true)]
async fn a_table_that_does_not_answer_leaves_the_run_open() {
    let users = Users::new("table-fails", Some(200));
    *users.seen.fails.lock().unwrap() = Some(denied());
    let done = users.ask(Verb::Fix, "e-1").await;
    assert!(matches!(done, Done::Retry { error: Some(ErrorKind::Denied), .. }), "{done:?}");
    assert!(reason(&done).starts_with("the activity table: "), "{done:?}");
    assert_eq!(users.world.check_chains().await, 1);
    *users.seen.fails.lock().unwrap() = None;
    // Nobody has to wait for the lease; and it is looked at anew.
    *users.seen.last.lock().unwrap() = Some(at(&users.world, 0));
    let done = users.ask(Verb::Fix, "e-1").await;
    assert!(users.is_enabled(), "{done:?}");
    assert_eq!(users.world.check_chains().await, 0);

    let users = Users::new("restore-fails", Some(200));
    assert_eq!(stage(&users.ask(Verb::Fix, "e-1").await), Stage::Verified);
    *users.seen.fails.lock().unwrap() = Some(Error::new(ErrorKind::Transient, "reset"));
    let done = users.ask(Verb::Undo, "e-2").await;
    assert!(matches!(done, Done::Retry { .. }), "{done:?}");
    *users.seen.fails.lock().unwrap() = None;
    assert_eq!(stage(&users.ask(Verb::Undo, "e-2").await), Stage::Undone);
    assert_eq!(users.seen.restored.load(Ordering::SeqCst), 2);
}

/// Without the table nobody is known to have been seen, and an undo could not tell it.
#[tokio::test(start_paused = true)]
async fn without_the_table_nobody_is_given_back() {
    let mut users = Users::new("table-gone", Some(200));
    *users.seen.fails.lock().unwrap() = Some(denied());
    assert!(matches!(users.ask(Verb::Fix, "e-1").await, Done::Retry { .. }));
    *users.seen.fails.lock().unwrap() = None;
    let table = users.world.engine.activity.take();
    let done = users.world.engine.recover(Instant::now() + Duration::from_secs(60)).await.unwrap();
    assert!(matches!(done[0], Done::Retry { error: Some(ErrorKind::Invalid), .. }), "{done:?}");
    assert!(reason(&done[0]).contains("REDRESS_ACTIVITY_TABLE"), "{done:?}");
    assert_eq!((users.is_enabled(), users.world.thing(|thing| thing.writes)), (false, 1));
    assert_eq!(users.world.check_chains().await, 1);

    users.world.engine.activity = table.clone();
    assert_eq!(stage(&users.ask(Verb::Fix, "e-1").await), Stage::Verified);
    users.world.engine.activity = None;
    let done = users.ask(Verb::Undo, "e-2").await;
    assert_eq!(stage(&done), Stage::Refused);
    assert!(reason(&done).contains("--activity-table"), "{done:?}");
    assert_eq!((users.is_enabled(), users.world.thing(|thing| thing.writes)), (false, 1));
    // Nor is an undo gone on with.
    users.world.engine.activity = table.clone();
    users.world.thing(|thing| thing.hangs_before = true);
    assert!(tokio::time::timeout(Duration::from_secs(600), users.ask(Verb::Undo, "e-3")).await.is_err());
    users.world.thing(|thing| thing.hangs_before = false);
    users.world.pass_seconds(600);
    users.world.engine.activity = None;
    let done = users.world.engine.recover(Instant::now() + Duration::from_secs(60)).await.unwrap();
    assert!(reason(&done[0]).contains("REDRESS_ACTIVITY_TABLE"), "{done:?}");
    assert_eq!((users.is_enabled(), users.world.thing(|thing| thing.writes)), (false, 1));
    users.world.engine.activity = table;
    assert_eq!(stage(&users.ask(Verb::Undo, "e-3").await), Stage::Undone);
}

/// The way back is a write like any other.
#[tokio::test(start_paused = true)]
async fn nobody_is_given_back_beyond_the_ceiling() {
    let mut users = Users::new("back-ceiling", Some(200));
    *users.seen.fails.lock().unwrap() = Some(denied());
    assert!(matches!(users.ask(Verb::Fix, "e-1").await, Done::Retry { .. }));
    *users.seen.fails.lock().unwrap() = None;
    *users.seen.last.lock().unwrap() = Some(at(&users.world, 0));
    users.world.engine.settings.ceiling = Mode::Plan;
    let soon = || Instant::now() + Duration::from_secs(60);
    let done = users.world.engine.recover(soon()).await.unwrap();
    assert!(matches!(done[0], Done::Retry { .. }), "{done:?}");
    assert!(reason(&done[0]).ends_with("the deployment's ceiling is `plan`"), "{done:?}");
    assert_eq!((users.is_enabled(), users.world.thing(|thing| thing.writes)), (false, 1));
    users.world.engine.settings.ceiling = Mode::Apply;
    let done = users.world.engine.recover(soon()).await.unwrap();
    assert_eq!(reason(&done[0]), "seen while it was being disabled: enabled again");
    assert!(users.is_enabled());
}

#[tokio::test(start_paused = true)]
async fn who_was_enabled_by_somebody_meanwhile_is_left_so() {
    let users = Users::new("enabled-by-somebody", Some(200));
    *users.seen.fails.lock().unwrap() = Some(denied());
    assert!(matches!(users.ask(Verb::Fix, "e-1").await, Done::Retry { .. }));
    *users.seen.fails.lock().unwrap() = None;
    *users.seen.last.lock().unwrap() = Some(at(&users.world, 0));
    users.world.thing(|thing| thing.on = true);
    let done = users.ask(Verb::Fix, "e-1").await;
    assert_eq!((stage(&done), reason(&done).as_str()), (Stage::Refused, "it is active"));
    assert_eq!(users.world.thing(|thing| thing.writes), 1);
    assert_eq!(users.world.check_chains().await, 0);
}

/// That somebody was on it has been told; what came of that is another thing to tell.
#[tokio::test(start_paused = true)]
async fn what_came_of_it_is_told_after_who_was_on_it() {
    let users = Users::new("told-after", Some(200));
    users.world.thing(|thing| thing.hangs_before = true);
    assert!(tokio::time::timeout(Duration::from_secs(600), users.ask(Verb::Fix, "e-1")).await.is_err());
    users.world.thing(|thing| thing.hangs_before = false);
    assert!(reason(&users.ask(Verb::Fix, "e-2").await).ends_with("is on it"));
    users.world.pass_seconds(600);
    let looks = users.seen.looks.load(Ordering::SeqCst);
    *users.seen.later.lock().unwrap() = Some((looks + 2, at(&users.world, 0)));
    let done = users.world.engine.recover(Instant::now() + Duration::from_secs(60)).await.unwrap();
    assert_eq!(stage(&done[0]), Stage::Skipped);
    assert_eq!(reason(&done[0]), "seen while it was being disabled: enabled again");
}

/// Where there is no way back, or no need of one, that is said.
#[tokio::test(start_paused = true)]
async fn who_cannot_or_need_not_be_enabled_is_said_so() {
    for (beside, expected, why) in [
        (ENABLED, Stage::Skipped, "seen while it was being disabled; somebody has enabled it"),
        (
            REFUSED,
            Stage::Failed,
            "seen while it was being disabled, and not enabled again: it is not to be turned on",
        ),
    ] {
        let users = Users::new(&format!("no-way-{beside}"), Some(200));
        users.world.thing(|thing| thing.beside = beside);
        *users.seen.later.lock().unwrap() = Some((2, at(&users.world, 0)));
        let done = users.ask(Verb::Fix, "e-1").await;
        assert_eq!((stage(&done), reason(&done).as_str()), (expected, why));
        let Done::Outcome(outcome) = done else { panic!("no outcome") };
        assert_eq!(outcome.after.unwrap()["on"], false);
        assert_eq!(users.world.thing(|thing| thing.writes), 1);
        assert_eq!(users.world.check_chains().await, 0);
    }
}

/// The window after the write is part of the time that a write needs.
#[tokio::test(start_paused = true)]
async fn a_write_that_rests_on_activity_needs_the_window_as_well() {
    for (seconds, writes) in [(20, 1), (19, 0)] {
        let mut users = Users::new(&format!("window-{seconds}"), Some(200));
        users.world.deadline = Duration::from_secs(seconds);
        let done = users.ask(Verb::Fix, "e-1").await;
        assert_eq!(users.world.thing(|thing| thing.writes), writes, "{done:?}");
    }
    // The way back does not.
    let mut users = Users::new("no-window-back", Some(200));
    assert_eq!(stage(&users.ask(Verb::Fix, "e-1").await), Stage::Verified);
    users.world.deadline = Duration::from_secs(8);
    assert_eq!(stage(&users.ask(Verb::Undo, "e-2").await), Stage::Undone);
}
