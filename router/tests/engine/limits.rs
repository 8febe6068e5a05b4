//! Where limits begin and end, to the second.

use redress_router::{
    audit::{Stage, Verb},
    engine::Done,
    guard::StopScope,
    rules::Mode,
    store::Op,
};

use crate::{
    common::{RULES, World, arn, clicked, finding_of, reason, stage},
    denied,
};

/// State items are read by other versions: their names are a format.
#[test]
fn stops_have_their_names() {
    let names = [StopScope::All, StopScope::Rule("r".into()), StopScope::Account("123456789012".into())]
        .map(|scope| scope.key());
    assert_eq!(names, ["stop#all", "stop#rule#r", "stop#account#123456789012"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_as_high_as_asked_lowers_nothing() {
    let mut world = World::new("not-lowered", &RULES.replace("automatic: apply", "on_request: plan"));
    world.engine.settings.ceiling = Mode::Plan;
    let done = world.clicked(Verb::Plan, "e-1").await;
    assert_eq!((stage(&done), reason(&done).as_str()), (Stage::Planned, ""));
}

#[tokio::test(start_paused = true)]
async fn counters_outlive_what_they_count() {
    let world = World::new("counters", RULES);
    assert_eq!(stage(&world.imported("e-1").await), Stage::Verified);
    let done = world.store.done.lock().unwrap();
    let mut counted: Vec<(String, i64)> = done
        .iter()
        .filter_map(|op| match op {
            Op::Count { key, expires, .. } => {
                let name: Vec<&str> = key.split('#').skip(1).take(3).collect();
                Some((name.join("#"), expires.duration_since(world.now()).as_secs() / 60))
            }
            _ => None,
        })
        .collect();
    counted.sort();
    let hours = |name: &str, hours: i64| (name.to_owned(), hours * 60);
    assert_eq!(
        counted,
        [
            hours("account#123456789012#d", 48),
            hours("account#123456789012#h", 2),
            hours("rule#turn-on#d", 48),
            hours("rule#turn-on#h", 2),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_refused_change_is_tried_again_after_a_day() {
    let world = World::new("a-day", RULES);
    world.thing(|thing| thing.writing_fails = Some(denied()));
    assert_eq!(stage(&world.imported("e-1").await), Stage::Denied);
    let tried = || world.stages().iter().filter(|stage| **stage == Stage::Intent).count();
    world.pass_seconds(24 * 3600 - 1);
    assert!(matches!(world.imported("e-2").await, Done::Repeat { .. }));
    assert_eq!(tried(), 1);
    world.pass_seconds(1);
    assert!(matches!(world.imported("e-3").await, Done::Repeat { .. }));
    assert_eq!(tried(), 2);
}

#[tokio::test(start_paused = true)]
async fn three_fixes_in_more_than_a_day_are_no_alarm() {
    for (hours, expected) in [(23, None), (22, Some("refixed"))] {
        let world = World::new(&format!("refixed-{hours}"), RULES);
        let mut alarm = None;
        for (event, pass) in [("e-1", 1), ("e-2", hours), ("e-3", 0)] {
            world.thing(|thing| thing.on = false);
            let Done::Outcome(outcome) = world.imported(event).await else { panic!("no outcome") };
            alarm = outcome.alarm;
            world.pass(pass);
        }
        assert_eq!(alarm, expected);
    }
}

/// Two rules of one remediator: for S3.14, and for S3.5.
fn two_controls(first: &str, second: &str) -> String {
    let other = RULES.replace("S3.14", "S3.5").replace("turn-on", "turn-on-too").replace("\nrules:\n", "");
    let params = |beside: &str| match beside {
        "" => String::new(),
        beside => format!("    params: {{ beside: {beside} }}\n"),
    };
    format!("{RULES}{}{other}{}", params(first), params(second))
}

/// One remediator may serve several controls: what they ask for may be the same, or something else.
#[tokio::test(start_paused = true)]
async fn fixes_for_other_controls_count_where_they_are_the_same() {
    for (second, expected) in
        [("", [None, None, Some("refixed")]), ("4", [None, None, None]), ("0", [None, None, Some("refixed")])]
    {
        let id = format!("other-controls-{second}");
        let world = World::new(&id, &two_controls("", second));
        let mut alarms = Vec::new();
        for (event, control) in [("e-1", "S3.14"), ("e-2", "S3.5"), ("e-3", "S3.14")] {
            world.thing(|thing| (thing.on, thing.beside) = (false, 0));
            let finding = finding_of(control, &[("AwsTestThing", &arn(&id))]);
            let Done::Outcome(outcome) = world.imported_finding(event, finding).await else {
                panic!("no outcome")
            };
            assert_eq!(outcome.stage, Stage::Verified, "{event}");
            alarms.push(outcome.alarm);
        }
        assert_eq!(alarms, expected, "{second}");
    }
}

/// Security Hub disagrees about what was fixed, for whichever control, and not about what never failed.
#[tokio::test(start_paused = true)]
async fn a_fix_for_another_control_is_one_where_this_one_failed_as_well() {
    for (first, on, expected) in [("", false, Stage::Disagrees), ("4", true, Stage::Compliant)] {
        let id = format!("other-control-{first}");
        let world = World::new(&id, &two_controls(first, ""));
        let about = |control: &str| finding_of(control, &[("AwsTestThing", &arn(&id))]);
        world.thing(|thing| thing.on = on);
        assert_eq!(stage(&world.imported_finding("e-1", about("S3.14")).await), Stage::Verified);
        world.pass(47);
        assert_eq!(stage(&world.imported_finding("e-2", about("S3.5")).await), Stage::Compliant);
        world.pass(2);
        let stage_of = match world.imported_finding("e-3", about("S3.5")).await {
            Done::Outcome(outcome) => outcome.stage,
            // As before.
            Done::Repeat { stage, .. } => stage,
            other => panic!("{other:?}"),
        };
        assert_eq!(stage_of, expected);
        assert_eq!(stage(&world.imported_finding("e-4", about("S3.14")).await), Stage::Disagrees);
    }
}

/// What counts is the last fix that the control's own failing was ended by.
#[tokio::test(start_paused = true)]
async fn of_fixes_for_several_controls_the_last_that_changed_this_one_counts() {
    for (first, first_fixed, off_again, expected) in
        [("", "S3.14", true, Stage::Compliant), ("4", "S3.5", false, Stage::Disagrees)]
    {
        let id = format!("last-fix-{first}");
        let world = World::new(&id, &two_controls(first, ""));
        let about = |control: &str| finding_of(control, &[("AwsTestThing", &arn(&id))]);
        let then = if first_fixed == "S3.14" { "S3.5" } else { "S3.14" };
        world.thing(|thing| thing.on = false);
        assert_eq!(stage(&world.imported_finding("e-1", about(first_fixed)).await), Stage::Verified);
        world.pass(47);
        world.thing(|thing| thing.on &= !off_again);
        assert_eq!(stage(&world.imported_finding("e-2", about(then)).await), Stage::Verified);
        world.pass(2);
        assert_eq!(stage(&world.imported_finding("e-3", about(first_fixed)).await), expected, "{first}");
    }
}

/// Tags are read where they count, and nowhere else: whoever may not read them need not.
#[tokio::test(start_paused = true)]
async fn tags_that_do_not_count_are_not_read() {
    let world = World::new("tags-unread", &format!("{RULES}    exempt_by: [file]\n"));
    world.thing(|thing| thing.tags = vec![("unreadable".into(), String::new())]);
    assert_eq!(stage(&world.imported("e-1").await), Stage::Verified);
    let undo = world.request(Verb::Undo, clicked("e-2"), "e-2", world.finding("f-1"));
    assert_eq!(stage(&world.one(undo).await), Stage::Undone);
}
