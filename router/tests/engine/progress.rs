//! Changes that AWS carries out in its own time, and what of a finding they are made with.

use std::{sync::Arc, time::Duration};

use redress_router::{
    audit::{Stage, Verb},
    engine::Done,
    report::verdict,
    rules::RuleSet,
};
use serde_json::{Value, json};

use crate::common::{REGISTRY, Started, World, reason, stage};

pub(crate) const RULES: &str = "
rules:
  - name: start-it
    control: Kinesis.1
    remediator: test.start_it
    automatic: apply
    exempt_by: [file]
    max_risk: downtime
    params: { with: [account, resource.id, control] }
";

fn world(id: &str, ends_as: &str) -> World {
    let world = World::new(id, RULES);
    world.thing(|thing| ends_as.clone_into(&mut thing.ends_as));
    world
}

async fn imported(world: &World, event: &str) -> Done {
    with(world, event, |_| {}).await
}

/// The finding of a control that no other remediator serves, changed by `edit` as it stands in the event.
async fn with(world: &World, event: &str, edit: impl FnOnce(&mut Value)) -> Done {
    let asked_by = redress_router::audit::Asker::Automatic { event: event.to_owned() };
    ask(world, Verb::Fix, asked_by, event, edit).await
}

async fn clicked(world: &World, verb: Verb, event: &str) -> Done {
    ask(world, verb, crate::common::clicked(event), event, |_| {}).await
}

async fn ask(
    world: &World,
    verb: Verb,
    asked_by: redress_router::audit::Asker,
    event: &str,
    edit: impl FnOnce(&mut Value),
) -> Done {
    let mut finding = world.finding("f-1");
    finding.control = "Kinesis.1".parse().unwrap();
    edit(Arc::make_mut(&mut finding.json));
    world.one(world.request(verb, asked_by, event, finding)).await
}

fn started(world: &World) -> (u32, Started) {
    world.thing(|thing| (thing.writes, thing.started.clone()))
}

#[tokio::test(start_paused = true)]
async fn what_was_started_is_seen_to_its_end() {
    let world = world("to-its-end", "done");
    let done = clicked(&world, Verb::Plan, "e-0").await;
    assert_eq!((stage(&done), started(&world).0), (Stage::Planned, 0));
    let done = imported(&world, "e-1").await;
    assert_eq!(stage(&done), Stage::Verified, "{done:?}");
    let (writes, now) = started(&world);
    assert_eq!((writes, now.what.as_str()), (1, "123456789012 to-its-end Kinesis.1"));
    let records = world.records();
    let last = records.last().unwrap();
    assert_eq!(now.run, last.run);
    assert_eq!(last.subject.fields["resource.id"], "to-its-end");
    assert_eq!(last.after.as_ref().unwrap()["status"], "done");
    // Nobody has looked at the thing itself.
    assert_eq!(reason(&done), "number 1 is done");
    let Done::Outcome(outcome) = &done else { panic!("no outcome") };
    assert_eq!(verdict(outcome), "done, as AWS says");
    assert_eq!(last.change.as_ref().unwrap().from["number"], 0);
    // What was done is not done again, and can't be undone.
    let done = clicked(&world, Verb::Fix, "e-2").await;
    assert_eq!(stage(&done), Stage::Waiting, "{done:?}");
    let done = clicked(&world, Verb::Undo, "e-3").await;
    assert_eq!((stage(&done), reason(&done).as_str()), (Stage::Refused, "there is no way back"));
    assert_eq!(started(&world).0, 1);
}

#[tokio::test(start_paused = true)]
async fn what_takes_long_is_waited_for_and_not_started_again() {
    let world = world("takes-long", "done");
    world.thing(|thing| thing.lag = 1000);
    let done = imported(&world, "e-1").await;
    assert!(matches!(done, Done::Retry { .. }), "{done:?}");
    assert_eq!(world.stages(), [Stage::Intent, Stage::Applied]);
    for _ in 0..3 {
        world.pass(2);
        let done = imported(&world, "e-1").await;
        let Done::Retry { after, why, .. } = &done else { panic!("{done:?}") };
        assert_eq!(*after, Duration::from_secs(60));
        assert!(why.ends_with("number 1 goes on"), "{why}");
    }
    world.thing(|thing| thing.lag = 0);
    let done = imported(&world, "e-1").await;
    assert_eq!((stage(&done), started(&world).0), (Stage::Verified, 1));
    assert_eq!(world.stages(), [Stage::Intent, Stage::Applied, Stage::Verified]);
    assert_eq!(reason(&done), "number 1 is done");
}

/// Whatever the call was answered with: what goes on has been accepted.
#[tokio::test(start_paused = true)]
async fn what_is_under_way_is_waited_for_in_spite_of_its_answer() {
    let world = world("in-spite", "done");
    world.thing(|thing| (thing.answer_lost, thing.lag) = (true, 2));
    let done = imported(&world, "e-1").await;
    assert_eq!((stage(&done), started(&world).0), (Stage::Verified, 1), "{done:?}");
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_said_so_and_tried_again_for_a_person() {
    let failed = world("fails", "broken");
    let done = imported(&failed, "e-1").await;
    assert_eq!((stage(&done), reason(&done).as_str()), (Stage::Failed, "number 1 is broken"));
    let last = failed.records().pop().unwrap();
    assert!(last.last && last.after.unwrap()["status"] == "broken" && last.change.is_some());
    assert_eq!(stage(&imported(&failed, "e-2").await), Stage::Waiting);
    failed.thing(|thing| thing.ends_as = "done".to_owned());
    // What is recorded as broken is so by what AWS says of it, not by what became of its successor.
    failed.thing(|thing| thing.started.status = "broken".to_owned());
    let done = clicked(&failed, Verb::Fix, "e-3").await;
    assert_eq!((stage(&done), started(&failed).0), (Stage::Verified, 2));

    // Also where another process sees it.
    let late = world("fails-late", "broken");
    late.thing(|thing| thing.lag = 1000);
    assert!(matches!(imported(&late, "e-1").await, Done::Retry { .. }));
    late.thing(|thing| thing.lag = 0);
    late.pass(1);
    let settled = late.engine.recover(tokio::time::Instant::now() + late.deadline).await.unwrap();
    assert_eq!(settled.iter().map(stage).collect::<Vec<_>>(), [Stage::Failed]);
    assert_eq!(reason(&settled[0]), "number 1 is broken");
    assert!(late.store.inner.records().last().unwrap().last);
}

#[tokio::test(start_paused = true)]
async fn a_crash_starts_nothing_twice() {
    for after in [false, true] {
        let world = world(if after { "crash-after" } else { "crash-before" }, "done");
        world.thing(|thing| if after { thing.hangs_after = true } else { thing.hangs_before = true });
        assert!(tokio::time::timeout(Duration::from_secs(600), imported(&world, "e-1")).await.is_err());
        world.thing(|thing| (thing.hangs_after, thing.hangs_before) = (false, false));
        world.pass_seconds(600);
        let settled = world.engine.recover(tokio::time::Instant::now() + world.deadline).await.unwrap();
        assert_eq!(settled.iter().map(stage).collect::<Vec<_>>(), [Stage::Verified], "{after}");
        let (writes, now) = started(&world);
        // Without the finding at hand, it is started with what was read of it.
        assert_eq!((writes, now.what.starts_with("123456789012 crash")), (1, true), "{after}");
        assert_eq!(now.run, world.records()[0].run);
    }
}

#[tokio::test(start_paused = true)]
async fn text_of_a_finding_is_a_name_or_stops_the_run() {
    let rules = |with: &str| RULES.replace("[account, resource.id, control]", with);
    let pointer = rules("['finding:/Marker']");
    for (marker, filled) in [
        (
            json!("arn:aws:kms:eu-west-1:123456789012:key/a_b-c.d"),
            Ok("arn:aws:kms:eu-west-1:123456789012:key/a_b-c.d"),
        ),
        (json!("a+b=c@d#e"), Ok("a+b=c@d#e")),
        (json!(7), Ok("7")),
        (json!(true), Ok("true")),
        (json!("x".repeat(512)), Ok("")),
        (json!("x".repeat(513)), Err("is not made of")),
        (json!(""), Err("is not made of")),
        (json!("{{ ssm:secret }}"), Err("is not made of")),
        (json!("a b"), Err("is not made of")),
        (json!("a\nb"), Err("is not made of")),
        (json!("$(reboot)"), Err("is not made of")),
        (json!("müde"), Err("is not made of")),
        (json!(["a"]), Err("names nothing")),
        (json!({ "a": "b" }), Err("names nothing")),
        (Value::Null, Err("names nothing")),
    ] {
        let world = World::new("marked", &pointer);
        world.thing(|thing| thing.ends_as = "done".to_owned());
        let done = with(&world, "e-1", |json| json["Marker"] = marker.clone()).await;
        match filled {
            Ok(text) => {
                assert_eq!(stage(&done), Stage::Verified, "{marker}: {done:?}");
                assert!(started(&world).1.what.contains(text), "{marker}");
            }
            Err(why) => {
                assert_eq!(stage(&done), Stage::Refused, "{marker}: {done:?}");
                assert!(
                    reason(&done).contains(why) && reason(&done).contains("{finding:/Marker}"),
                    "{done:?}"
                );
                assert_eq!(started(&world).0, 0);
                assert!(world.ways.accesses().is_empty(), "credentials were asked for");
            }
        }
    }
    let world = World::new("named", &rules("[region, partition, resource.arn, resource.type]"));
    world.thing(|thing| thing.ends_as = "done".to_owned());
    assert_eq!(stage(&imported(&world, "e-1").await), Stage::Verified);
    let what = "eu-west-1 aws arn:aws:test:eu-west-1:123456789012:thing/named AwsTestThing";
    assert_eq!(started(&world).1.what, what);
    // What has no Region of its own is worked on in the finding's.
    let world = World::new("everywhere", &rules("[region]"));
    world.thing(|thing| thing.ends_as = "done".to_owned());
    let mut finding = world.finding("f-1");
    finding.control = "Kinesis.1".parse().unwrap();
    finding.resources[0].region = Some("global".to_owned());
    let asked_by = crate::common::clicked("e-1");
    let done = world.one(world.request(Verb::Fix, asked_by, "e-1", finding)).await;
    assert_eq!((stage(&done), started(&world).1.what.as_str()), (Stage::Verified, "eu-west-1"), "{done:?}");
    let world = World::new("no-such", &rules("[no-such]"));
    assert!(reason(&imported(&world, "e-1").await).contains("`{no-such}` names nothing"));
}

#[test]
fn a_rule_for_any_type_can_not_have_exemptions_by_tag() {
    let parse = |rules: &str| RuleSet::parse(&[("rules.yaml", rules)], None, REGISTRY);
    let without = RULES.replace("    exempt_by: [file]\n", "");
    for rules in [without.clone(), without + "    exempt_by: [tag]\n"] {
        let fault = parse(&rules).unwrap_err().to_string();
        assert!(fault.contains("exempt_by: [file]") && fault.contains("test.start_it"), "{fault}");
    }
}

/// Of two rules for a control, the one decides whose remediator is for the finding's type of resource.
#[tokio::test(start_paused = true)]
async fn a_finding_goes_to_what_is_for_its_type() {
    const BOTH: &str = "
rules:
  - name: turn-on
    control: S3.14
    remediator: s3.turn_on
  - name: start-it
    control: S3.14
    remediator: test.start_it
    exempt_by: [file]
";
    for (kind, remediator) in [
        ("AwsTestThing", "s3.turn_on"),
        ("AWS::Test::Thing", "s3.turn_on"),
        ("AwsOtherThing", "test.start_it"),
    ] {
        let world = World::new("its-type", BOTH);
        let mut finding = world.finding("f-1");
        finding.resources[0].kind = kind.to_owned();
        let done = world.one(world.request(Verb::Plan, crate::common::clicked("e-1"), "e-1", finding)).await;
        assert_eq!(stage(&done), Stage::Planned, "{kind}: {done:?}");
        let Done::Outcome(outcome) = done else { panic!("no outcome") };
        assert_eq!(outcome.subject.remediator.as_deref(), Some(remediator), "{kind}");
    }
}
