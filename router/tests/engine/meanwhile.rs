//! What others do while a run is on its way, or lies cut off.

use std::time::Duration;

use jiff::Timestamp;
use redress_remediators::{Access, ErrorKind, Risk};
use redress_router::{
    audit::{Asker, Stage, Verb},
    engine::Done,
    guard::{Stop, StopScope},
    rules::{Mode, RuleSet},
    store::Store,
};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    common::{REGISTRY, RULES, Trouble, World, clicked, reason, stage},
    denied, progress,
};

const BOTH: &str = "
rules:
  - name: turn-on
    control: [S3.14, S3.5]
    remediator: s3.turn_on
    automatic: apply
";

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// The process ends right before the write.
async fn cut_off(world: &World, event: &str) {
    world.thing(|thing| thing.hangs_before = true);
    assert!(tokio::time::timeout(Duration::from_secs(600), world.imported(event)).await.is_err());
    world.thing(|thing| thing.hangs_before = false);
    world.pass_seconds(600);
}

fn name(world: &World, prefix: &str) -> String {
    format!("{prefix}#{}#s3.turn_on", world.records()[0].subject.resource.clone().unwrap())
}

/// A person's undo that ends between a run's first look and its lease leaves a hold, which the first look has not seen.
#[tokio::test(start_paused = true)]
async fn what_another_run_leaves_before_the_lease_counts() {
    // Calls of the store: state, since, intent.
    const INTENT: u32 = 3;
    let world = World::new("hold-meanwhile", RULES);
    assert_eq!(stage(&world.clicked(Verb::Plan, "e-0").await), Stage::Planned);
    let until = world.now() + Duration::from_secs(86_400);
    let hold = json!({ "until": until, "run": "another", "why": "undone by a person" });
    world.store.then(INTENT, Trouble::Puts(name(&world, "hold"), hold));
    let done = world.imported("e-1").await;
    assert!(matches!(done, Done::Retry { .. }), "{done:?}");
    assert!(reason(&done).contains("another run has just ended"), "{done:?}");
    assert_eq!(world.thing(|thing| thing.writes), 0);
    assert_eq!(stage(&world.imported("e-1").await), Stage::Held);
    assert!(world.store.scan("lease#").await.unwrap().is_empty());
    assert_eq!(world.check_chains().await, 0);
}

/// Findings of two controls ask for two plans, whatever the rule: the second waits, and is not spared.
#[tokio::test(start_paused = true)]
async fn another_control_is_other_work() {
    let world = World::new("two-controls", BOTH);
    world.thing(|thing| thing.hangs_before = true);
    assert!(tokio::time::timeout(Duration::from_secs(600), world.imported("e-1")).await.is_err());
    let mut other = world.finding("f-2");
    other.control = "S3.5".parse().unwrap();
    let done = world.imported_finding("e-2", other).await;
    assert!(matches!(done, Done::Retry { .. }) && reason(&done).contains("holds the resource"), "{done:?}");
}

/// A run that was cut off goes no further than one that would begin now.
#[tokio::test(start_paused = true)]
async fn what_was_cut_off_heeds_what_was_decided_since() {
    let plan_only = RULES.replace("automatic: apply", "automatic: plan");
    let exempt = "exemptions:\n  - { resource: '*', owner: o, reason: r, until: 2099-01-01 }\n";
    for (id, why) in [
        ("ceiling", "lowered to `plan` by the deployment's ceiling"),
        ("rule", "lowered to `plan` by rule `turn-on`"),
        ("file", "exempt until 2099-01-01"),
        ("tag", "exempt until 2099-01-01 by tag"),
    ] {
        let mut world = World::new(&format!("since-{id}"), RULES);
        cut_off(&world, "e-1").await;
        match id {
            "ceiling" => world.engine.settings.ceiling = Mode::Plan,
            "rule" => {
                world.engine.rules = RuleSet::parse(&[("rules.yaml", &plan_only)], None, REGISTRY).unwrap();
            }
            "file" => world.exemptions(RULES, exempt),
            _ => {
                let tag = ("redress:exempt".to_owned(), "2099-01-01 o r".to_owned());
                world.thing(|thing| thing.tags = vec![tag]);
            }
        }
        let done = world.engine.recover(deadline()).await.unwrap();
        assert_eq!(stage(&done[0]), Stage::Skipped, "{id}: {done:?}");
        assert!(reason(&done[0]).contains(why), "{id}: {done:?}");
        // What is known not to be written takes no leave to write.
        let reads = matches!(id, "ceiling" | "rule");
        let last = world.ways.accesses().pop();
        assert_eq!(last == Some(Access::Plan), reads, "{id}: {last:?}");
        assert_eq!(world.thing(|thing| thing.writes), 0, "{id}");
        assert!(world.store.scan("lease#").await.unwrap().is_empty(), "{id}");
        assert_eq!(world.check_chains().await, 0);
    }
}

/// Without its rule nobody knows what was forbidden.
#[tokio::test(start_paused = true)]
async fn a_run_whose_rule_is_gone_is_not_gone_on_with() {
    let mut world = World::new("rule-gone", RULES);
    cut_off(&world, "e-1").await;
    let other = RULES.replace("turn-on", "another");
    world.engine.rules = RuleSet::parse(&[("rules.yaml", &other)], None, REGISTRY).unwrap();
    let done = world.engine.recover(deadline()).await.unwrap();
    assert_eq!(stage(&done[0]), Stage::Skipped, "{done:?}");
    assert!(reason(&done[0]).contains("there is no rule `turn-on` any more"), "{done:?}");
    assert_eq!(world.thing(|thing| thing.writes), 0);
    // What is made already is no less so.
    let mut world = World::new("rule-gone-made", RULES);
    world.thing(|thing| thing.hangs_after = true);
    assert!(tokio::time::timeout(Duration::from_secs(600), world.imported("e-1")).await.is_err());
    world.thing(|thing| thing.hangs_after = false);
    world.pass_seconds(600);
    world.engine.rules = RuleSet::parse(&[("rules.yaml", &other)], None, REGISTRY).unwrap();
    assert_eq!(stage(&world.engine.recover(deadline()).await.unwrap()[0]), Stage::Verified);
}

/// A change of which a part is made, and which is not to be gone on with, is the event's own end: a run anew would say
/// that nothing was changed.
#[tokio::test(start_paused = true)]
async fn a_half_made_change_is_told_as_one() {
    let mut world = World::new("half-made", RULES);
    cut_off(&world, "e-1").await;
    world.thing(|thing| thing.beside += 1);
    world.exemptions(RULES, "exemptions:\n  - { resource: '*', owner: o, reason: r, until: 2099-01-01 }\n");
    let done = world.imported("e-1").await;
    assert_eq!(stage(&done), Stage::Failed, "{done:?}");
    assert!(reason(&done).contains("not to be gone on with: exempt until"), "{done:?}");
    assert_eq!(world.thing(|thing| thing.writes), 0);
    assert!(world.store.scan("lease#").await.unwrap().is_empty());
}

/// The kill switch is read again under the lease.
#[tokio::test(start_paused = true)]
async fn a_stop_right_before_a_run_goes_on_holds_it() {
    // Calls of the store: state, intent, stops.
    const STOPS: u32 = 3;
    for unreadable in [false, true] {
        let world = World::new(&format!("stopped-again-{unreadable}"), RULES);
        cut_off(&world, "e-1").await;
        let stop = Stop { by: "ops".into(), at: world.now(), why: "incident".into() };
        let trouble = if unreadable {
            Trouble::Fails(denied())
        } else {
            Trouble::Puts(StopScope::All.key(), json!(stop))
        };
        world.store.then(STOPS, trouble);
        let done = world.engine.recover(deadline()).await.unwrap();
        assert!(matches!(done[0], Done::Retry { .. }), "{done:?}");
        assert!(reason(&done[0]).contains("can't be settled"), "{done:?}");
        assert_eq!((world.thing(|thing| thing.writes), world.stages()), (0, vec![Stage::Intent; 2]));
        world.forget(&StopScope::All.key()).await;
        assert_eq!(stage(&world.imported("e-1").await), Stage::Verified);
        assert_eq!(world.check_chains().await, 0);
    }
}

/// That a change was accepted has no risk of its own: it is that of the intent.
#[tokio::test(start_paused = true)]
async fn what_was_accepted_keeps_its_risk() {
    let mut world = World::new("accepted-risk", &format!("{RULES}    max_risk: downtime\n"));
    world.engine.settings.settle = Duration::from_secs(20);
    world.thing(|thing| (thing.beside, thing.lag) = (1000, 1000));
    assert!(matches!(world.imported("e-1").await, Done::Retry { error: Some(ErrorKind::Unsettled), .. }));
    assert_eq!(world.stages(), [Stage::Intent, Stage::Applied]);
    // It never came: after an hour it is made again.
    world.thing(|thing| (thing.on, thing.lag) = (false, 0));
    world.pass_seconds(3700);
    let done = world.imported("e-1").await;
    assert_eq!(stage(&done), Stage::Verified, "{done:?}");
    let last = world.records().pop().unwrap();
    assert_eq!((last.risk, last.notes.len()), (Some(Risk::Downtime), 1));
    assert_eq!(world.check_chains().await, 0);
}

/// A failure that could not be told is told when the event comes again, though the change is not tried again.
#[tokio::test(start_paused = true)]
async fn a_failure_is_told_though_late() {
    let world = World::new("told-late", RULES);
    world.thing(|thing| thing.writing_fails = Some(denied()));
    let automatic = || {
        let asker = Asker::Automatic { event: "e-1".to_owned() };
        world.request(Verb::Fix, asker, "e-1", world.finding("f-1"))
    };
    let first = world.engine.handle(&automatic()).await.remove(0);
    assert_eq!(stage(&first), Stage::Denied);
    let again = world.one(automatic()).await;
    let (Done::Outcome(first), Done::Outcome(again)) = (first, again) else { panic!("not told") };
    assert_eq!((again.stage, &again.run), (Stage::Denied, &first.run));
    assert!(matches!(world.one(automatic()).await, Done::Repeat { .. }));
}

/// What a general remediator did for another control is not in the way of an undo.
#[tokio::test(start_paused = true)]
async fn an_undo_is_of_the_findings_control() {
    let general = progress::RULES.replace("rules:\n", "");
    let world = World::new("undo-control", &format!("{RULES}{general}"));
    assert_eq!(stage(&world.imported("e-1").await), Stage::Verified);
    world.thing(|thing| "done".clone_into(&mut thing.ends_as));
    let mut other = world.finding("f-2");
    other.control = "Kinesis.1".parse().unwrap();
    let done = world.one(world.request(Verb::Fix, clicked("e-2"), "e-2", other)).await;
    assert_eq!(stage(&done), Stage::Verified, "{done:?}");
    assert_eq!(stage(&world.clicked(Verb::Undo, "e-3").await), Stage::Undone);
    assert!(!world.thing(|thing| thing.on));
}

/// One remediator may have changed a resource for several controls: what the finding is about is put back, and no more.
#[tokio::test(start_paused = true)]
async fn what_was_done_for_another_control_stays() {
    let world = World::new("undo-other", &RULES.replace("S3.14", "[S3.14, S3.5]"));
    assert_eq!(stage(&world.imported("e-1").await), Stage::Verified);
    let first = world.records()[0].run.clone();
    world.thing(|thing| thing.on = false);
    world.pass(1);
    let mut other = world.finding("f-2");
    other.control = "S3.5".parse().unwrap();
    let done = world.one(world.request(Verb::Fix, clicked("e-2"), "e-2", other)).await;
    assert_eq!(stage(&done), Stage::Verified, "{done:?}");
    let Done::Outcome(second) = done else { panic!("not told") };
    let undone = world.clicked(Verb::Undo, "e-3").await;
    assert_eq!(stage(&undone), Stage::Undone, "{undone:?}");
    let Done::Outcome(undone) = undone else { panic!("not told") };
    assert_eq!(undone.subject.undoes, Some(first));
    let again = world.clicked(Verb::Undo, "e-4").await;
    let why = format!(
        "nothing to undo: no verified change for S3.14 is left in the records; run {} on this resource was for \
         S3.5",
        second.run
    );
    assert_eq!((stage(&again), reason(&again)), (Stage::Skipped, why));
}

/// Who clicks twice means one undo; who clicks again later means another.
#[tokio::test(start_paused = true)]
async fn a_second_click_takes_nothing_more_back() {
    let world = World::new("twice", RULES);
    for event in ["e-1", "e-2"] {
        world.thing(|thing| thing.on = false);
        world.pass(24);
        assert_eq!(stage(&world.imported(event).await), Stage::Verified);
    }
    let undo = async |event: &str, asked: Timestamp| {
        let mut request = world.request(Verb::Undo, clicked("u"), event, world.finding("f-1"));
        request.asked_at = Some(asked);
        world.one(request).await
    };
    let asked = (world.engine.clock)();
    world.pass_seconds(30);
    let first = undo("u-1", asked).await;
    assert_eq!(stage(&first), Stage::Undone);
    world.thing(|thing| thing.on = true);
    world.pass_seconds(30);
    let Done::Outcome(first) = first else { panic!("not told") };
    let again = undo("u-2", asked).await;
    let why = format!("run {} has undone it since this was asked", first.run);
    assert_eq!((stage(&again), reason(&again)), (Stage::Skipped, why));
    assert!(world.thing(|thing| thing.on));
    // What was undone by then was not undone since.
    assert_eq!(stage(&undo("u-3", first.time).await), Stage::Undone);
}

/// However much has been recorded of a resource since, its change can be undone.
#[tokio::test(start_paused = true)]
async fn a_change_is_found_behind_many_other_runs() {
    let world = World::new("long-history", RULES);
    assert_eq!(stage(&world.imported("e-1").await), Stage::Verified);
    for number in 0..205 {
        let event: &'static str = Box::leak(format!("plan-{number}").into_boxed_str());
        world.pass_seconds(1);
        assert_eq!(stage(&world.clicked(Verb::Plan, event).await), Stage::Compliant);
    }
    assert_eq!(stage(&world.clicked(Verb::Undo, "e-2").await), Stage::Undone);
}
