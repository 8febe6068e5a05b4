//! How far credentials go, and what Security Hub is asked.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use redress_remediators::{Access, Error, ErrorKind};
use redress_router::{
    audit::{Asker, Stage, Verb},
    engine::{ControlParams, Done},
    guard::{Stop, StopScope},
    rules::Mode,
};
use serde_json::json;

use crate::{
    common::{RULES, Thing, World, arn, clicked, finding_of, reason, stage},
    denied, put,
};

#[tokio::test(start_paused = true)]
async fn credentials_go_as_far_as_what_is_asked() {
    let mut world = World::new("access", RULES);
    assert_eq!(stage(&world.clicked(Verb::Plan, "e-1").await), Stage::Planned);
    assert_eq!(world.ways.accesses(), [Access::Plan]);
    // A dry run is a plan, whatever is asked.
    let mut dry = world.request(Verb::Fix, clicked("e-2"), "e-2", world.finding("f-1"));
    dry.dry_run = true;
    assert_eq!(stage(&world.one(dry).await), Stage::Planned);
    assert_eq!(world.ways.accesses(), [Access::Plan]);
    // What the ceiling lowers.
    world.engine.settings.ceiling = Mode::Plan;
    assert_eq!(stage(&world.clicked(Verb::Fix, "e-3").await), Stage::Planned);
    assert_eq!(world.ways.accesses(), [Access::Plan]);
    world.engine.settings.ceiling = Mode::Apply;
    // What the kill switch stops.
    let stop = Stop { by: "ops".into(), at: world.now(), why: String::new() };
    put(&world.store, &StopScope::All.key(), json!(stop)).await;
    assert_eq!(stage(&world.clicked(Verb::Fix, "e-4").await), Stage::Refused);
    assert_eq!(world.ways.accesses(), [Access::Plan]);
    world.forget(&StopScope::All.key()).await;

    let Done::Outcome(fixed) = world.clicked(Verb::Fix, "e-5").await else { panic!("no outcome") };
    let asked = world.ways.asked.lock().unwrap().clone();
    assert_eq!(world.ways.accesses(), [Access::Apply]);
    assert_eq!((asked[0].resource.as_str(), asked[0].remediator), ("access", "s3.turn_on"));
    // The session's name leads back to the record.
    assert_eq!(asked[0].run, fixed.run);
    let passed = finding_of("S3.14", &[("AwsTestThing", &arn("access"))]);
    let planned = world.request(Verb::Undo, clicked("e-6"), "e-6", passed);
    let mut dry = planned.clone();
    dry.dry_run = true;
    assert_eq!(stage(&world.one(dry).await), Stage::Planned);
    assert_eq!(world.ways.accesses(), [Access::Plan]);
    assert_eq!(stage(&world.one(planned).await), Stage::Undone);
    assert_eq!(world.ways.accesses(), [Access::Undo]);
}

/// A run that goes on where another process was cut off has what it needs, and no more.
#[tokio::test(start_paused = true)]
async fn credentials_go_as_far_as_what_is_settled() {
    let world = World::new("settled-access", RULES);
    let cut_off = async |verb, event: &'static str| {
        world.thing(|thing| thing.hangs_before = true);
        let cut = tokio::time::timeout(Duration::from_secs(600), world.clicked(verb, event)).await;
        assert!(cut.is_err());
        world.thing(|thing| thing.hangs_before = false);
        world.pass_seconds(600);
        world.ways.accesses();
    };
    let deadline = || tokio::time::Instant::now() + Duration::from_secs(60);
    cut_off(Verb::Fix, "e-1").await;
    // The kill switch is on: it is looked at, and nothing is written.
    let stop = Stop { by: "ops".into(), at: world.now(), why: String::new() };
    put(&world.store, &StopScope::All.key(), json!(stop)).await;
    let done = world.engine.recover(deadline()).await.unwrap();
    assert!(
        matches!(&done[0], Done::Retry { .. }) && reason(&done[0]).contains("can't be settled"),
        "{done:?}"
    );
    assert_eq!((world.ways.accesses(), world.thing(|thing| thing.writes)), (vec![Access::Plan], 0));
    world.forget(&StopScope::All.key()).await;
    let done = world.engine.recover(deadline()).await.unwrap();
    assert_eq!(stage(&done[0]), Stage::Verified);
    assert_eq!((world.ways.accesses(), world.thing(|thing| thing.writes)), (vec![Access::Apply], 1));
    cut_off(Verb::Undo, "e-2").await;
    let done = world.engine.recover(deadline()).await.unwrap();
    assert_eq!(stage(&done[0]), Stage::Undone);
    assert_eq!((world.ways.accesses(), world.thing(|thing| thing.writes)), (vec![Access::Undo], 2));
    assert_eq!(world.check_chains().await, 0);
}

const LEVELS: &str = "
rules:
  - name: match
    control: EC2.18
    remediator: s3.match
    automatic: apply
";

fn level(level: &str) -> ControlParams {
    BTreeMap::from([("level".to_owned(), vec![level.to_owned()])])
}

/// The parameters of a control are the finding's, else those that Security Hub names; what can't be read is said.
#[tokio::test(start_paused = true)]
async fn the_parameters_of_a_control_are_asked_for_once() {
    let world = World::new("levels", LEVELS);
    let thing = arn("levels");
    let finding = || finding_of("EC2.18", &[("AwsTestThing", &thing)]);
    let ask = async |event: &'static str, verb, finding| {
        let request = world.request(verb, clicked(event), event, finding);
        let done = world.one(request).await;
        let asked = world.ways.params_asked.swap(0, Ordering::SeqCst);
        let way = world.ways.asked.lock().unwrap().drain(..).next().unwrap();
        assert_eq!(way.control_params, asked > 0);
        (done, asked)
    };
    let of = |done: &Done| match done {
        Done::Outcome(outcome) => (outcome.notes.clone(), outcome.subject.control_params.clone()),
        other => panic!("{other:?}"),
    };
    let mut own = finding();
    own.control_parameters = Some(level("3"));
    let (done, asked) = ask("e-1", Verb::Plan, own).await;
    assert_eq!(asked, 0);
    assert_eq!(of(&done), (vec!["level 3".to_owned()], Some(level("3"))));

    *world.ways.params.lock().unwrap() = Some(Ok(Some(level("4"))));
    let (done, asked) = ask("e-2", Verb::Plan, finding()).await;
    assert_eq!(asked, 1);
    assert_eq!(of(&done), (vec!["level 4".to_owned()], Some(level("4"))));

    *world.ways.params.lock().unwrap() = Some(Err(denied()));
    let (done, _) = ask("e-3", Verb::Plan, finding()).await;
    assert_eq!(stage(&done), Stage::Refused);
    assert_eq!(reason(&done), "the level is not known (AccessDenied: no)");
    *world.ways.params.lock().unwrap() = Some(Err(Error::new(ErrorKind::Throttled, "slow down")));
    let (done, _) = ask("e-4", Verb::Plan, finding()).await;
    assert!(matches!(done, Done::Retry { .. }), "{done:?}");

    *world.ways.params.lock().unwrap() = Some(Ok(Some(level("5"))));
    assert_eq!(stage(&ask("e-5", Verb::Fix, finding()).await.0), Stage::Verified);
    assert_eq!(stage(&ask("e-5b", Verb::Plan, finding()).await.0), Stage::Compliant);
    // Whether nothing is to be done is not known either.
    *world.ways.params.lock().unwrap() = Some(Err(denied()));
    let (done, _) = ask("e-5c", Verb::Plan, finding()).await;
    assert_eq!(stage(&done), Stage::Refused);
    assert_eq!(reason(&done), "what the control asks for in this account is not known (AccessDenied: no)");
    // The way back is that of the record.
    let (done, asked) = ask("e-6", Verb::Undo, finding()).await;
    assert_eq!((stage(&done), asked), (Stage::Undone, 0));
    // Another control of the same things is none of its business, and asks for nothing.
    let both = format!("{LEVELS}{}", RULES.replace("rules:\n", "").trim_start_matches('\n'));
    let mut world = World::new("no-levels", &both);
    let done = world.clicked(Verb::Fix, "e-1").await;
    assert_eq!((stage(&done), world.ways.params_asked.load(Ordering::SeqCst)), (Stage::Verified, 0));
    let thing = arn("no-levels");
    let undo =
        world.request(Verb::Undo, clicked("e-2"), "e-2", finding_of("EC2.18", &[("AwsTestThing", &thing)]));
    let done = world.one(undo).await;
    assert!(reason(&done).starts_with("nothing to undo"), "{done:?}");
    assert!(world.thing(|thing| thing.on));
    world.exemptions(&both, "exemptions: []");
}

/// A run that was cut off goes on with the parameters that its plan was made with.
#[tokio::test(start_paused = true)]
async fn parameters_are_those_of_the_plan_until_the_end() {
    let world = World::new("level-kept", LEVELS);
    *world.ways.params.lock().unwrap() = Some(Ok(Some(level("5"))));
    world.thing(|thing| thing.hangs_before = true);
    let finding = finding_of("EC2.18", &[("AwsTestThing", &arn("level-kept"))]);
    let asker = Asker::Automatic { event: "e-1".to_owned() };
    let cut = world.one(world.request(Verb::Fix, asker, "e-1", finding));
    assert!(tokio::time::timeout(Duration::from_secs(600), cut).await.is_err());
    world.thing(|thing| thing.hangs_before = false);
    world.pass_seconds(600);
    *world.ways.params.lock().unwrap() = Some(Ok(None));
    let done = world.engine.recover(tokio::time::Instant::now() + Duration::from_secs(60)).await.unwrap();
    assert_eq!(stage(&done[0]), Stage::Verified);
    assert_eq!(world.ways.params_asked.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_is_off_is_off_at_its_door() {
    let world = World::new("off", &format!("{RULES}    on_request: off\n"));
    let done = world.clicked(Verb::Fix, "e-1").await;
    assert_eq!(
        (stage(&done), reason(&done).as_str()),
        (Stage::Refused, "rule `turn-on` has `on_request: off`")
    );
    assert_eq!(stage(&world.imported("e-2").await), Stage::Verified);
    world.thing(|thing| *thing = Thing::default());
    let world = World::new("off-automatic", &RULES.replace("automatic: apply", "automatic: off"));
    let done = world.imported("e-1").await;
    assert!(matches!(done, Done::Unwanted(_)), "{done:?}");
    assert_eq!(stage(&world.clicked(Verb::Fix, "e-2").await), Stage::Verified);
}

/// OCSF findings say whose each resource is.
#[tokio::test(start_paused = true)]
async fn the_owner_of_a_resource_is_the_account_of_the_finding() {
    let world = World::new("owner", RULES);
    let mut finding = world.finding("f-1");
    finding.resources[0].account = Some("123456789012".to_owned());
    finding.resources[0].partition = Some("aws".to_owned());
    assert_eq!(stage(&world.imported_finding("e-1", finding.clone()).await), Stage::Verified);
    finding.resources[0].account = Some("999999999999".to_owned());
    assert_eq!(stage(&world.imported_finding("e-2", finding).await), Stage::Refused);
}
