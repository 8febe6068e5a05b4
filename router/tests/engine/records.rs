//! What outcomes and records say, how long they are kept, and what is told again.

use redress_router::{
    audit::{Asker, Stage, Verb},
    engine::Done,
    finding::Note,
    store::{Op, Store},
};
use serde_json::json;

use crate::common::{RULES, Trouble, World, arn, clicked, finding, reason, stage};

/// Days until an item of this kind counts as gone; `None` where none was written or it never goes.
pub(crate) fn kept(world: &World, kind: &str) -> Option<i64> {
    let done = world.store.done.lock().unwrap();
    done.iter().rev().find_map(|op| match op {
        Op::Put { key, expires: Some(expires), .. } if key.starts_with(kind) => {
            Some(expires.duration_since(world.now()).as_hours() / 24)
        }
        _ => None,
    })
}

#[tokio::test(start_paused = true)]
async fn memos_fixes_and_holds_are_kept_as_long_as_they_count() {
    let world = World::new("kept", RULES);
    assert_eq!(stage(&world.imported("e-1").await), Stage::Verified);
    assert_eq!((kept(&world, "event#"), kept(&world, "fixes#")), (Some(45), Some(45)));
    assert_eq!(stage(&world.clicked(Verb::Undo, "e-2").await), Stage::Undone);
    assert_eq!(kept(&world, "hold#"), Some(31));
    world.pass(24 * 30 - 1);
    assert_eq!(stage(&world.imported("e-3").await), Stage::Held);
    assert_eq!(kept(&world, "decision#"), Some(45));
    world.pass(1);
    assert_eq!(stage(&world.imported("e-4").await), Stage::Verified);
}

#[tokio::test(start_paused = true)]
async fn outcomes_say_what_was_seen_and_what_would_be() {
    let mut world = World::new("say", &format!("{RULES}    limits: {{ per_hour: 1, per_day: 5 }}\n"));
    world.thing(|thing| thing.tags = vec![("redress:exempt".into(), "2099-01-31 ops kept".into())]);
    let Done::Outcome(exempt) = world.imported("e-1").await else { panic!("no outcome") };
    assert_eq!(exempt.stage, Stage::Exempt);
    assert_eq!(exempt.change.unwrap().to, json!({ "on": true, "beside": 0 }));
    world.thing(|thing| thing.tags = vec![]);
    let Done::Outcome(fixed) = world.imported("e-2").await else { panic!("no outcome") };
    assert_eq!(fixed.after, Some(json!({ "on": true, "beside": 0 })));
    assert_eq!((fixed.title.as_str(), fixed.workflow_new), ("Things should be on", true));
    let done = world.imported("e-3").await;
    assert_eq!(
        (stage(&done), reason(&done).as_str()),
        (Stage::Compliant, "the resource is as the control wants it")
    );
    let Done::Outcome(compliant) = done else { panic!("no outcome") };
    assert_eq!(compliant.after, Some(json!({ "on": true, "beside": 0 })));
    world.thing(|thing| thing.on = false);
    let done = world.imported("e-4").await;
    assert!(reason(&done).contains("has made its 1 automatic changes of this hour"), "{done:?}");
    let Done::Outcome(capped) = done else { panic!("no outcome") };
    assert_eq!((capped.stage, capped.alarm), (Stage::Refused, Some("cap_reached")));
    assert_eq!(capped.change.unwrap().to, json!({ "on": true, "beside": 0 }));
    // A finding that people have dealt with is not NEW any more.
    let notified = finding("say", "f-9", "FAILED", "NOTIFIED");
    let Done::Outcome(planned) = world.one(world.request(Verb::Plan, clicked("e-5"), "e-5", notified)).await
    else {
        panic!("no outcome")
    };
    assert!(!planned.workflow_new && planned.note.is_none() && planned.fields.is_empty());
    world.exemptions(RULES, "exemptions: []");
}

/// The note that ours takes the place of stands whole in the record, if it is somebody else's.
#[tokio::test(start_paused = true)]
async fn a_note_of_somebody_is_kept_in_the_record() {
    let world = World::new("note", RULES);
    let note = |by: &str| Note { text: "ours".to_owned(), updated_by: by.to_owned(), updated_at: None };
    let ask = async |event: &'static str, asker: Asker, note: Note| {
        let mut finding = world.finding("f-1");
        finding.note = Some(note.clone());
        finding.user_defined_fields.insert("team".to_owned(), "web".to_owned());
        let done = world.one(world.request(Verb::Plan, asker, event, finding)).await;
        if let Done::Outcome(outcome) = done {
            assert_eq!((outcome.note, outcome.fields.len()), (Some(note), 1));
        }
        world.records().pop().unwrap().replaced_note
    };
    let kept = ask("e-1", clicked("e-1"), note("ops")).await.unwrap();
    assert_eq!((&kept["text"], &kept["updated_by"]), (&json!("ours"), &json!("ops")));
    assert_eq!(ask("e-2", clicked("e-2"), note("redress")).await, None);
    // A plan that nobody asked for writes no note.
    assert_eq!(ask("e-3", Asker::Automatic { event: "e-3".to_owned() }, note("ops")).await, None);
}

#[tokio::test(start_paused = true)]
async fn who_wants_no_trace_leaves_none() {
    let world = World::new("no-trace", RULES);
    let mut request = world.request(Verb::Plan, clicked("e-1"), "e-1", world.finding("f-1"));
    request.record = false;
    let Done::Outcome(outcome) = world.one(request).await else { panic!("no outcome") };
    assert_eq!((outcome.stage, outcome.memo), (Stage::Planned, None));
    assert!(world.store.scan("").await.unwrap().is_empty() && world.records().is_empty());
}

/// A decision is the rules' as well: with others it is told anew. And it counts as told when everybody is.
#[tokio::test(start_paused = true)]
async fn a_decision_is_told_until_it_is_told_and_again_by_other_rules() {
    let mut world = World::new("decisions", &RULES.replace("automatic: apply", "automatic: plan"));
    let asker = Asker::Automatic { event: "e-1".to_owned() };
    let untold = world.request(Verb::Fix, asker, "e-1", world.finding("f-1"));
    assert_eq!(stage(&world.engine.handle(&untold).await[0]), Stage::Planned);
    assert_eq!(stage(&world.imported("e-2").await), Stage::Planned);
    assert!(matches!(world.imported("e-3").await, Done::Repeat { .. }));
    world.exemptions(
        &RULES.replace("automatic: apply", "automatic: plan\n    hold_days: 3"),
        "exemptions: []",
    );
    assert_eq!(stage(&world.imported("e-4").await), Stage::Planned);

    // What is refused before it has come to a resource is told once as well.
    let mut forged = world.finding("f-2");
    forged.product_arn = "arn:aws:securityhub:eu-west-1:123456789012:product/123456789012/default".to_owned();
    assert_eq!(stage(&world.imported_finding("e-5", forged.clone()).await), Stage::Refused);
    let again = world.imported_finding("e-6", forged).await;
    assert!(matches!(again, Done::Repeat { stage: Stage::Refused, .. }), "{again:?}");
}

/// Each half of what was agreed to counts.
#[tokio::test(start_paused = true)]
async fn both_states_of_a_change_are_agreed_to() {
    let world = World::new("halves", RULES);
    let Done::Outcome(plan) = world.clicked(Verb::Plan, "e-1").await else { panic!("no plan") };
    let change = plan.change.unwrap();
    let other = json!({ "on": true, "beside": 9 });
    for (event, from, to) in
        [("e-2", other.clone(), change.to.clone()), ("e-3", change.from.clone(), other.clone())]
    {
        let mut request = world.request(Verb::Fix, clicked(event), event, world.finding("f-1"));
        request.agreed = Some(redress_remediators::Change { from, to });
        assert_eq!(stage(&world.one(request).await), Stage::Failed);
    }
    assert_eq!(world.thing(|thing| thing.writes), 0);
}

/// A record as long as a store takes is stored, and one byte more is not; an intent that is not stored is no write.
#[tokio::test(start_paused = true)]
async fn records_have_a_longest_length() {
    const LONGEST: usize = 1 << 20;
    let world = World::new("long", RULES);
    let length = |event: usize| "e".repeat(event);
    let plan = async |event: &str| {
        let mut request = world.request(Verb::Plan, clicked("c"), event, world.finding("f-1"));
        request.finding.id = arn("long");
        let done = world.engine.handle(&request).await;
        assert_eq!(stage(&done[0]), Stage::Planned);
    };
    plan(&length(10)).await;
    let run = world.records()[0].run.clone();
    let line = world.memory.run(&run).await.unwrap()[0].len();
    plan(&length(10 + LONGEST - line)).await;
    assert_eq!(world.records().len(), 2);
    plan(&length(11 + LONGEST - line)).await;
    assert_eq!(world.records().len(), 2);
    // An intent that fits, of a change whose end would not.
    let event = length(LONGEST - line - 30_000);
    let done =
        world.engine.handle(&world.request(Verb::Fix, clicked("c"), &event, world.finding("f-1"))).await;
    assert_eq!((stage(&done[0]), world.thing(|thing| thing.writes)), (Stage::Refused, 0));
    assert!(reason(&done[0]).contains("the record of its end would be about"), "{done:?}");
    let event = length(LONGEST);
    let done =
        world.engine.handle(&world.request(Verb::Fix, clicked("c"), &event, world.finding("f-1"))).await;
    assert_eq!((stage(&done[0]), world.thing(|thing| thing.writes)), (Stage::Refused, 0));
    assert!(reason(&done[0]).contains("the intent can't be stored"), "{done:?}");
}

/// Before something is changed, there is room for what its record will say: the change from where it began, the state at
/// the end, the note that is replaced.
#[tokio::test(start_paused = true)]
async fn a_change_begins_where_its_end_can_be_stored() {
    const MOST: usize = (1 << 20) - (64 << 10);
    let world = World::new("end", RULES);
    let (off, on) = (json!({ "on": false, "beside": 0 }), json!({ "on": true, "beside": 0 }));
    let fix = async |event: &str| {
        let mut request = world.request(Verb::Fix, clicked("c"), event, world.finding("f-1"));
        let text = "checked by hand".to_owned();
        request.finding.note = Some(Note { text, updated_by: "an analyst".to_owned(), updated_at: None });
        world.thing(|thing| thing.on = false);
        world.one(request).await
    };
    assert_eq!(stage(&fix("e").await), Stage::Verified);
    let (end, line) = world.store.ends.lock().unwrap().remove(0);
    assert!(end.last);
    assert_eq!((end.after, end.replaced_note), (Some(on.clone()), Some(json!("checked by hand"))));
    let change = end.change.unwrap();
    assert_eq!((change.from, change.to), (off, on));
    // As long as can be, and one byte more.
    assert_eq!(stage(&fix(&"e".repeat(1 + MOST - line)).await), Stage::Verified);
    assert_eq!(world.store.ends.lock().unwrap().remove(0).1, MOST);
    let done = fix(&"e".repeat(2 + MOST - line)).await;
    assert_eq!(stage(&done), Stage::Refused);
    let why = format!("the record of its end would be about {} bytes; at most {MOST} are stored", MOST + 1);
    assert!(reason(&done).ends_with(&why), "{done:?}");
}

/// After an undo, the rule that had made the fix says for how long it stays away.
#[tokio::test(start_paused = true)]
async fn an_undo_holds_for_as_long_as_the_rule_says() {
    let world = World::new("hold-days", &format!("{RULES}    hold_days: 90\n"));
    assert_eq!(stage(&world.imported("e-1").await), Stage::Verified);
    assert_eq!(stage(&world.clicked(Verb::Undo, "e-2").await), Stage::Undone);
    world.pass(24 * 89);
    assert_eq!(stage(&world.imported("e-3").await), Stage::Held);
    world.pass(24 + 1);
    assert_eq!(stage(&world.imported("e-4").await), Stage::Verified);
}

/// A rule's own fix lifts no hold: one that was placed while it was at work stays.
#[tokio::test(start_paused = true)]
async fn only_a_persons_fix_lifts_a_hold() {
    let world = World::new("hold-stays", RULES);
    assert_eq!(stage(&world.imported("e-1").await), Stage::Verified);
    assert_eq!(stage(&world.clicked(Verb::Undo, "e-2").await), Stage::Undone);
    let (key, hold) = world.store.scan("hold#").await.unwrap().remove(0);
    world.pass(24 * 31);
    // State, since, intent, stops, outcome.
    world.store.then(5, Trouble::Puts(key, hold.body));
    assert_eq!(stage(&world.imported("e-3").await), Stage::Verified);
    assert_eq!(world.store.scan("hold#").await.unwrap().len(), 1);
}
