//! Findings of one resource that come together, one after the other.

use redress_router::{
    audit::{Asker, Stage, Subject, Verb},
    engine::Done,
};

use serde_json::json;

use crate::common::{World, clicked, reason, stage};

const RULES: &str = "
rules:
  - name: two
    control: S3.14
    remediator: s3.turn_on
    automatic: apply
    params: { beside: 2 }
  - name: four
    control: S3.5
    remediator: s3.turn_on
    automatic: apply
    params: { beside: 4 }
  - name: turn-on
    control: S3.5
    remediator: s3.turn_on
    automatic: apply
    action: Other
";

async fn fix(world: &World, control: &str, rule: Option<&str>, after: &[Subject]) -> Done {
    let event = format!("e-{}", world.records().len());
    let mut finding = world.finding(&format!("f-{control}"));
    finding.control = control.parse().unwrap();
    let asker = Asker::Automatic { event: event.clone() };
    let mut request = world.request(Verb::Fix, asker, &event, finding);
    request.after = after.to_vec();
    request.only_rule = rule.map(str::to_owned);
    world.one(request).await
}

fn subject(done: &Done) -> Subject {
    match done {
        Done::Outcome(outcome) => outcome.subject.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_at_odds_with_the_one_before_is_refused() {
    let world = World::new("at-odds", RULES);
    let first = fix(&world, "S3.14", None, &[]).await;
    assert_eq!((stage(&first), world.thing(|thing| thing.beside)), (Stage::Verified, 2));
    let before = [subject(&first)];
    let done = fix(&world, "S3.5", None, &before).await;
    assert_eq!((stage(&done), world.thing(|thing| thing.beside)), (Stage::Refused, 2));
    assert!(reason(&done).contains("S3.14 of rule `two`"), "{done:?}");
    // A person's fix waits for nothing, and stands as well.
    let mut other = before.clone();
    other[0].asked_by = clicked("e-0");
    other[0].params = json!({ "beside": 2, "patience": 7 });
    let done = fix(&world, "S3.5", None, &other).await;
    assert!(matches!(done, Done::Repeat { stage: Stage::Refused, .. }), "{done:?}");
    // What leaves it be is done; so is what another remediator, another resource or nobody has to do with.
    world.thing(|thing| thing.on = false);
    let done = fix(&world, "S3.5", Some("turn-on"), &before).await;
    assert_eq!((stage(&done), world.thing(|thing| (thing.on, thing.beside))), (Stage::Verified, (true, 2)));
    // Three times in a day would be a hold.
    world.pass(25);
    let mut other = before.clone();
    other[0].remediator = Some("s3.match".to_owned());
    assert_eq!(stage(&fix(&world, "S3.5", None, &other).await), Stage::Verified);
    world.thing(|thing| thing.beside = 2);
    let mut other = before;
    other[0].resource.as_mut().unwrap().id.push('x');
    assert_eq!(stage(&fix(&world, "S3.5", None, &other).await), Stage::Verified);
    assert_eq!(world.thing(|thing| thing.beside), 4);
}
