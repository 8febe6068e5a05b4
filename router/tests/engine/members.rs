//! A finding of an account, which stands for things of it: each is a run as if the finding had named it.

use std::time::Duration;

use redress_remediators::{Access, Error, ErrorKind, Key};
use redress_router::{
    audit::{Asker, Stage, Verb},
    engine::{Done, Outcome, Request},
    event::{Decoded, decode_many},
    finding::Finding,
    guard::StopScope,
    rules::Mode,
    store::{Index, Store as _},
};
use serde_json::json;

use crate::{
    common::{Group, Thing, Trouble, World, asff, clicked, group, reason, stage, thing},
    denied, put,
    records::kept,
};

const RULES: &str = "
rules:
  - name: turn-all-on
    control: EC2.1
    remediator: s3.turn_all_on
    automatic: apply
";

/// The finding of an account, whose resource is this.
fn finding_about(account: &str, resource: &str, id: &str) -> Finding {
    let mut json = asff(resource, id, "FAILED", "NEW");
    json["Compliance"]["SecurityControlId"] = json!("EC2.1");
    json["GeneratorId"] = json!("security-control/EC2.1");
    json["Resources"][0]["Type"] = json!("AwsAccount");
    let text = json.to_string().replace("S3.14", "EC2.1").replace("123456789012", account);
    match decode_many(text.as_bytes()).unwrap().remove(0) {
        Decoded::Finding(finding) => *finding,
        other => panic!("{other:?}"),
    }
}

/// A world with an account of its own, which has these things, all of them off.
struct Account {
    world: World,
    number: &'static str,
    things: Vec<String>,
}

impl Account {
    fn new(number: &'static str, things: usize, rules: &str) -> Self {
        let world = World::new(number, rules);
        let things: Vec<String> = (0..things).map(|one| format!("{number}-{one:03}")).collect();
        for id in &things {
            thing(id, |thing| *thing = Thing::default());
        }
        group(number, |group| *group = Group { things: things.clone(), ..Group::default() });
        Self { world, number, things }
    }

    fn finding(&self) -> Finding {
        finding_about(self.number, &format!("AWS::::Account:{}", self.number), "f-1")
    }

    fn request(&self, verb: Verb, asked_by: Asker, event: &str) -> Request {
        self.world.request(verb, asked_by, event, self.finding())
    }

    fn imported(&self, event: &str) -> Request {
        self.request(Verb::Fix, Asker::Automatic { event: event.to_owned() }, event)
    }

    async fn untold(&self, request: &Request) -> Vec<Done> {
        self.world.engine.handle(request).await
    }

    /// Handles it, and tells what came of it.
    async fn ask(&self, request: &Request) -> Vec<Done> {
        let done = self.untold(request).await;
        for done in &done {
            if let Done::Outcome(outcome) = done {
                self.world.told(outcome).await;
            }
        }
        done
    }

    fn key(&self, number: usize) -> Key {
        format!("aws/{}/eu-west-1/AwsTestThing/{}", self.number, self.things[number]).parse().unwrap()
    }

    fn on(&self) -> Vec<bool> {
        self.things.iter().map(|id| thing(id, |thing| thing.on)).collect()
    }

    fn writes(&self) -> u32 {
        self.things.iter().map(|id| thing(id, |thing| thing.writes)).sum()
    }

    fn listed(&self) -> u32 {
        group(self.number, |group| group.listed)
    }
}

fn stages(done: &[Done]) -> Vec<Stage> {
    done.iter().map(stage).collect()
}

fn outcomes(done: &[Done]) -> Vec<&Outcome> {
    done.iter()
        .filter_map(|done| match done {
            Done::Outcome(outcome) => Some(&**outcome),
            _ => None,
        })
        .collect()
}

fn repeats(done: &[Done]) -> Vec<Stage> {
    let stage = |done: &Done| match done {
        Done::Repeat { stage, .. } => Some(*stage),
        _ => None,
    };
    done.iter().filter_map(stage).collect()
}

fn ids(done: &[Done]) -> Vec<String> {
    let id = |outcome: &&Outcome| outcome.subject.resource.as_ref().map(ToString::to_string);
    outcomes(done).iter().filter_map(id).collect()
}

#[tokio::test(start_paused = true)]
async fn each_is_a_run_of_its_own() {
    let account = Account::new("100000000001", 2, RULES);
    let done = account.ask(&account.imported("e-1")).await;
    assert_eq!(stages(&done), [Stage::Verified; 2]);
    assert_eq!(ids(&done), [account.key(0).to_string(), account.key(1).to_string()]);
    assert_eq!((account.on(), account.writes()), (vec![true, true], 2));
    let of = [Stage::Intent, Stage::Verified];
    assert_eq!(account.world.stages(), [of, of].concat());
    assert_eq!(account.world.check_chains().await, 0);
    assert!(account.world.store.scan("lease#").await.unwrap().is_empty());
    let [one, two] = outcomes(&done)[..] else { panic!("{done:?}") };
    assert_ne!(one.run, two.run);
    assert!(one.workflow_new && two.workflow_new, "nothing of the finding is left");
    assert_eq!(kept(&account.world, "members#"), Some(45), "days, as the memos of its runs");
    // Who lists may read, and nothing else; whoever changes is narrowed to the one.
    let ways = account.world.ways.asked.lock().unwrap().clone();
    let ways: Vec<(Access, &str)> = ways.iter().map(|way| (way.access, way.resource.as_str())).collect();
    let (first, second) = (account.things[0].as_str(), account.things[1].as_str());
    assert_eq!(ways, [(Access::Plan, account.number), (Access::Apply, first), (Access::Apply, second)]);
    // The same event once more is no other change.
    assert_eq!(repeats(&account.ask(&account.imported("e-1")).await), [Stage::Verified; 2]);
    assert_eq!(account.writes(), 2);
}

/// A finding that names a resource is about that one, whoever else there is.
#[tokio::test(start_paused = true)]
async fn what_is_named_needs_no_list() {
    let account = Account::new("100000000020", 2, RULES);
    for (event, number) in [("e-1", 1), ("e-2", 0)] {
        let mut request = account.imported(event);
        let resource = &mut request.finding.resources[0];
        resource.kind = "AwsTestThing".to_owned();
        resource.id = format!("arn:aws:test:eu-west-1:{}:thing/{}", account.number, account.things[number]);
        let done = account.ask(&request).await;
        assert_eq!(stages(&done), [Stage::Verified]);
        assert_eq!(ids(&done), [account.key(number).to_string()]);
    }
    assert_eq!((account.on(), account.listed()), (vec![true, true], 0));
}

#[tokio::test(start_paused = true)]
async fn a_plan_shows_each_and_writes_nothing() {
    let account = Account::new("100000000002", 3, RULES);
    let mut dry = account.request(Verb::Plan, clicked("e-1"), "e-1");
    (dry.dry_run, dry.record) = (true, false);
    let done = account.ask(&dry).await;
    assert_eq!(stages(&done), [Stage::Planned; 3]);
    assert!(account.world.records().is_empty() && account.world.store.scan("").await.unwrap().is_empty());
    assert_eq!(
        stages(&account.ask(&account.request(Verb::Plan, clicked("e-2"), "e-2")).await),
        [Stage::Planned; 3]
    );
    assert!(account.world.ways.accesses().iter().all(|access| *access == Access::Plan));
    assert_eq!((account.writes(), account.world.stages()), (0, vec![Stage::Planned; 3]));
    assert_eq!(kept(&account.world, "members#"), None, "a plan begins nothing");
    // The one that is meant is not looked for: its own run says what there is to it.
    let listed = account.listed();
    let mut only = account.request(Verb::Fix, clicked("e-3"), "e-3");
    only.only_resource = Some(account.key(1));
    only.agreed = outcomes(&done)[1].change.clone();
    assert_eq!(stages(&account.ask(&only).await), [Stage::Verified]);
    assert_eq!((account.on(), account.listed()), (vec![false, true, false], listed));
    // One that the account's finding can't stand for is none of it.
    for other in [
        format!("aws/100000000099/eu-west-1/AwsTestThing/{}", account.things[0]),
        format!("aws/100000000002/us-east-1/AwsTestThing/{}", account.things[0]),
        format!("aws-cn/100000000002/eu-west-1/AwsTestThing/{}", account.things[0]),
        format!("aws/100000000002/eu-west-1/AwsS3Bucket/{}", account.things[0]),
    ] {
        let mut only = account.request(Verb::Fix, clicked("e-4"), "e-4");
        only.only_resource = Some(other.parse().unwrap());
        let done = account.ask(&only).await;
        assert!(reason(&done[0]).contains("names no AwsTestThing"), "{other}: {done:?}");
    }
    assert_eq!(account.writes(), 1);
}

#[tokio::test(start_paused = true)]
async fn limits_hold_across_them_and_the_finding_stays_new_for_the_rest() {
    let limited = format!("{RULES}    limits: {{ per_hour: 2, per_day: 100 }}\n");
    let account = Account::new("100000000003", 3, &limited);
    let done = account.ask(&account.imported("e-1")).await;
    assert_eq!(stages(&done), [Stage::Verified, Stage::Verified, Stage::Refused]);
    assert_eq!(reason(&done[2]), "rule `turn-all-on` has made its 2 automatic changes of this hour");
    assert!(outcomes(&done).iter().all(|outcome| !outcome.workflow_new), "rules take no other than NEW");
    // Our notes bring the finding back at once: nothing comes of it, and nothing is told.
    let done = account.ask(&account.imported("e-2")).await;
    assert_eq!(repeats(&done), [Stage::Refused]);
    account.world.pass(1);
    let done = account.ask(&account.imported("e-3")).await;
    assert_eq!(stages(&done), [Stage::Verified]);
    assert!(outcomes(&done)[0].workflow_new);
    assert_eq!((account.on(), account.writes()), (vec![true; 3], 3));
}

#[tokio::test(start_paused = true)]
async fn what_guards_one_stops_that_one() {
    let account = Account::new("100000000004", 3, RULES);
    thing(&account.things[0], |thing| {
        thing.tags = vec![("redress:exempt".into(), "2099-01-31 ops kept".into())];
    });
    thing(&account.things[1], |thing| thing.writing_fails = Some(denied()));
    let done = account.ask(&account.imported("e-1")).await;
    assert_eq!(stages(&done), [Stage::Exempt, Stage::Denied, Stage::Verified]);
    assert!(!outcomes(&done)[2].workflow_new);
    // The kill switch stops all of them.
    let account = Account::new("100000000005", 2, RULES);
    put(&account.world.store, &StopScope::Account(account.number.to_owned()).key(), json!("on")).await;
    assert_eq!(stages(&account.ask(&account.imported("e-1")).await), [Stage::Refused; 2]);
    let mut account = Account::new("100000000006", 2, RULES);
    account.world.engine.settings.ceiling = Mode::Plan;
    assert_eq!(stages(&account.ask(&account.imported("e-1")).await), [Stage::Planned; 2]);
    assert_eq!(account.writes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_fails_is_no_list() {
    let account = Account::new("100000000007", 2, RULES);
    group(account.number, |group| group.listing_fails = Some(denied()));
    let done = account.ask(&account.imported("e-1")).await;
    assert_eq!((stages(&done), outcomes(&done)[0].error), (vec![Stage::Denied], Some(ErrorKind::Denied)));
    assert!(
        reason(&done[0]).contains("can't be listed") && reason(&done[0]).contains("AccessDenied"),
        "{done:?}"
    );
    assert_eq!(ids(&done), [format!("aws/{0}/eu-west-1/AwsAccount/{0}", account.number)]);
    assert_eq!(repeats(&account.ask(&account.imported("e-2")).await), [Stage::Denied], "told once");
    let done = account.ask(&account.request(Verb::Fix, clicked("e-3"), "e-3")).await;
    assert_eq!(stages(&done), [Stage::Denied], "a person gets an answer");
    for kind in [ErrorKind::Throttled, ErrorKind::Transient] {
        let records = account.world.records().len();
        group(account.number, |group| group.listing_fails = Some(Error::new(kind, "not now")));
        let done = account.ask(&account.imported("e-4")).await;
        assert!(matches!(done[..], [Done::Retry { error: Some(said), .. }] if said == kind), "{done:?}");
        assert_eq!(account.world.records().len(), records);
    }
    assert_eq!(account.writes(), 0);
    group(account.number, |group| group.listing_fails = None);
    assert_eq!(stages(&account.ask(&account.imported("e-4")).await), [Stage::Verified; 2]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_listed_for_an_account_that_is_not_the_findings() {
    let account = Account::new("100000000008", 2, RULES);
    for resource in
        ["AWS::::Account:100000000099", "100000000099", "arn:aws:iam::100000000099:root", "AWS::::Account:"]
    {
        let finding = finding_about(account.number, resource, "f-1");
        let asker = || Asker::Automatic { event: "e-1".to_owned() };
        let done = account.untold(&account.world.request(Verb::Fix, asker(), "e-1", finding)).await;
        assert_eq!(stages(&done), [Stage::Refused], "{resource}: {done:?}");
    }
    let mut forged = account.finding();
    forged.product_arn = "arn:aws:securityhub:eu-west-1:100000000008:product/100000000008/default".to_owned();
    let asker = Asker::Automatic { event: "e-2".to_owned() };
    let done = account.untold(&account.world.request(Verb::Fix, asker, "e-2", forged)).await;
    assert_eq!(stages(&done), [Stage::Refused]);
    assert_eq!((account.listed(), account.writes()), (0, 0));
    assert!(account.world.ways.accesses().is_empty());
    // What does not stand for things takes no account.
    let of_things = RULES.replace("EC2.1", "S3.14").replace("s3.turn_all_on", "s3.turn_on");
    let account = Account::new("100000000009", 1, &of_things);
    let mut finding = account.finding();
    finding.control = "S3.14".parse().unwrap();
    let done = account.untold(&account.world.request(Verb::Fix, clicked("e-3"), "e-3", finding)).await;
    assert!(reason(&done[0]).contains("names no AwsTestThing"), "{done:?}");
}

#[tokio::test(start_paused = true)]
async fn none_is_said_once_and_contradicts_security_hub_after_two_days() {
    let account = Account::new("100000000010", 0, RULES);
    let done = account.ask(&account.imported("e-1")).await;
    assert_eq!(stages(&done), [Stage::Compliant]);
    assert_eq!(reason(&done[0]), "no resource of account 100000000010 in eu-west-1 fails the control");
    assert_eq!(ids(&done), ["aws/100000000010/eu-west-1/AwsAccount/100000000010"]);
    assert_eq!(repeats(&account.ask(&account.imported("e-2")).await), [Stage::Compliant]);
    assert_eq!(account.world.stages(), [Stage::Compliant]);
    assert_eq!(
        stages(&account.ask(&account.request(Verb::Plan, clicked("e-3"), "e-3")).await),
        [Stage::Compliant]
    );
    // How far it might have gone.
    let modes: Vec<Mode> = account.world.records().iter().map(|record| record.subject.mode).collect();
    assert_eq!(modes, [Mode::Apply, Mode::Plan]);

    let account = Account::new("100000000011", 1, RULES);
    assert_eq!(stages(&account.ask(&account.imported("e-1")).await), [Stage::Verified]);
    account.world.pass(47);
    assert_eq!(stages(&account.ask(&account.imported("e-2")).await), [Stage::Compliant]);
    account.world.pass(1);
    let done = account.ask(&account.imported("e-3")).await;
    assert_eq!((stages(&done), outcomes(&done)[0].alarm), (vec![Stage::Disagrees], Some("disagrees")));
}

/// What is put right is not listed any more, and is still part of the event that did it.
#[tokio::test(start_paused = true)]
async fn an_event_that_comes_again_is_about_the_same() {
    let account = Account::new("100000000012", 2, RULES);
    let slow = Error::new(ErrorKind::Throttled, "slow down");
    thing(&account.things[1], |thing| thing.reading_fails = Some(slow));
    let done = account.untold(&account.imported("e-1")).await;
    assert!(matches!(&done[..], [Done::Outcome(_), Done::Retry { .. }]), "{done:?}");
    assert!(!outcomes(&done)[0].workflow_new);
    // Nobody could be told of the first, nor will the list show it.
    thing(&account.things[1], |thing| thing.reading_fails = None);
    let done = account.ask(&account.imported("e-1")).await;
    assert_eq!(stages(&done), [Stage::Verified; 2]);
    assert_eq!(ids(&done), [account.key(0).to_string(), account.key(1).to_string()]);
    assert!(outcomes(&done).iter().all(|outcome| outcome.workflow_new));
    assert_eq!(account.writes(), 2);
    assert_eq!(repeats(&account.ask(&account.imported("e-1")).await), [Stage::Verified; 2]);

    // A process that was cut off is settled by its event.
    let account = Account::new("100000000013", 2, RULES);
    thing(&account.things[0], |thing| thing.hangs_after = true);
    let request = account.imported("e-1");
    assert!(tokio::time::timeout(Duration::from_secs(600), account.untold(&request)).await.is_err());
    thing(&account.things[0], |thing| thing.hangs_after = false);
    account.world.pass_seconds(600);
    assert_eq!(stages(&account.ask(&account.imported("e-1")).await), [Stage::Verified; 2]);
    assert_eq!((account.writes(), account.world.check_chains().await), (2, 0));
    assert!(account.world.store.scan("lease#").await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_kept_is_not_begun() {
    let account = Account::new("100000000014", 2, RULES);
    for (error, retried) in [(denied(), false), (Error::new(ErrorKind::Throttled, "slow down"), true)] {
        for at in [1, 2] {
            account.world.store.then(at, Trouble::Fails(error.clone()));
            let done = account.untold(&account.imported("e-1")).await;
            assert_eq!(matches!(done[..], [Done::Retry { .. }]), retried, "{at}: {done:?}");
            if !retried {
                assert_eq!(stages(&done), [Stage::Refused]);
                assert!(reason(&done[0]).contains("nothing was written"), "{done:?}");
            }
            assert_eq!(account.writes(), 0);
        }
    }
    // Somebody is at the same event.
    let request = account.imported("e-1");
    let (one, two) = tokio::join!(account.untold(&request), account.untold(&request));
    let retried = [&one, &two].map(|done| matches!(done[..], [Done::Retry { .. }]));
    assert_eq!(retried.iter().filter(|retried| **retried).count(), 1, "{one:?} {two:?}");
    assert_eq!(account.writes(), 2);
    // What can't be read is not guessed.
    let (name, _) = account.world.store.scan("members#").await.unwrap().remove(0);
    put(&account.world.store, &name, json!("garbage")).await;
    let done = account.untold(&account.imported("e-1")).await;
    assert_eq!(stages(&done), [Stage::Refused]);
    assert!(reason(&done[0]).contains("state item of the event"), "{done:?}");
}

/// Of many, the first are at hand, and the event comes again until all have been: also where nothing becomes of
/// some, and where the time is up.
#[tokio::test(start_paused = true)]
async fn many_are_handled_by_and_by() {
    let limits = format!("{RULES}    limits: {{ per_hour: 200, per_day: 200 }}\n");
    let rules = format!("account_limits: {{ per_hour: 200, per_day: 200 }}\n{limits}");
    let account = Account::new("100000000015", 70, &rules);
    // These are refused, and stay listed.
    for id in &account.things[..35] {
        thing(id, |thing| thing.beside = crate::common::REFUSED);
    }
    let first = account.ask(&account.imported("e-1")).await;
    assert_eq!((first.len(), outcomes(&first).len()), (33, 32));
    assert!(matches!(&first[32], Done::Retry { why, .. } if why.contains("38 more")), "{:?}", first[32]);
    let second = account.untold(&account.imported("e-1")).await;
    assert_eq!((second.len(), ids(&second)[0].clone()), (33, account.key(32).to_string()));
    assert!(matches!(&second[32], Done::Retry { why, .. } if why.contains("6 more")), "{:?}", second[32]);
    // The report of the second got lost: it is made up beside the rest.
    let third = account.ask(&account.imported("e-1")).await;
    assert_eq!((third.len(), outcomes(&third).len()), (6 + 32, 6 + 32), "{third:?}");
    assert!(!third.iter().any(|done| matches!(done, Done::Retry { .. })));
    assert_eq!(account.on().iter().filter(|on| **on).count(), 35);
    assert_eq!(account.writes(), 35);
    assert_eq!(account.world.check_chains().await, 0);
    // Once more than it had to.
    let again = account.ask(&account.imported("e-1")).await;
    assert!(outcomes(&again).is_empty() && account.writes() == 35, "{again:?}");

    // Another day: what is left is refused as before, which is told to nobody.
    account.world.pass(24);
    let next = account.ask(&account.imported("e-2")).await;
    assert_eq!((next.len(), repeats(&next).len()), (33, 32));
    assert_eq!(repeats(&account.ask(&account.imported("e-2")).await).len(), 3);

    // A dry run that keeps nothing shows all of them.
    let mut dry = account.request(Verb::Plan, clicked("e-3"), "e-3");
    (dry.dry_run, dry.record) = (true, false);
    assert_eq!(stages(&account.ask(&dry).await), [Stage::Refused; 35]);
}

/// A plan begins nothing, and comes to an end all the same.
#[tokio::test(start_paused = true)]
async fn a_plan_of_many_gets_further_each_time() {
    let account = Account::new("100000000021", 40, RULES);
    let plan = account.request(Verb::Plan, clicked("e-1"), "e-1");
    let first = account.ask(&plan).await;
    assert_eq!((first.len(), outcomes(&first).len()), (33, 32));
    let second = account.ask(&plan).await;
    assert_eq!(stages(&second), [Stage::Planned; 8]);
    assert_eq!(ids(&second)[0], account.key(32).to_string());
    assert_eq!(account.writes(), 0);
}

#[tokio::test(start_paused = true)]
async fn without_time_the_rest_comes_again() {
    let mut account = Account::new("100000000016", 3, RULES);
    account.world.deadline = Duration::from_secs(20);
    thing(&account.things[0], |thing| thing.lag = 9);
    account.world.engine.settings.settle = Duration::from_secs(18);
    let first = account.ask(&account.imported("e-1")).await;
    assert!(matches!(&first.last(), Some(Done::Retry { why, .. }) if why.contains("2 more")), "{first:?}");
    for _ in 0..3 {
        account.world.pass_seconds(600);
        account.ask(&account.imported("e-1")).await;
    }
    assert_eq!((account.on(), account.writes()), (vec![true; 3], 3));
    assert_eq!(account.world.check_chains().await, 0);
    // With just as much as a write takes to be seen, none is left.
    let mut just = Account::new("210000000098", 2, RULES);
    just.world.deadline = just.world.engine.settings.time_to_verify;
    assert_eq!(stages(&just.ask(&just.imported("e-1")).await), [Stage::Verified, Stage::Verified]);
}

#[tokio::test(start_paused = true)]
async fn an_undo_puts_back_what_the_finding_stood_for() {
    let account = Account::new("100000000017", 3, RULES);
    // One is on already, by somebody else's hand.
    thing(&account.things[2], |thing| thing.on = true);
    assert_eq!(stages(&account.ask(&account.imported("e-1")).await), [Stage::Verified; 2]);

    // One alone, by its key.
    let mut one = account.request(Verb::Undo, clicked("e-2"), "e-2");
    one.only_resource = Some(account.key(0));
    assert_eq!(stages(&account.ask(&one).await), [Stage::Undone]);
    assert_eq!(account.on(), [false, true, true]);

    // The rest of it; the list is not asked.
    let listed = account.listed();
    let all = account.request(Verb::Undo, clicked("e-3"), "e-3");
    let done = account.untold(&all).await;
    assert_eq!((stages(&done), ids(&done)), (vec![Stage::Undone], vec![account.key(1).to_string()]));
    assert_eq!((account.on(), account.listed()), (vec![false, false, true], listed));
    // Its report got lost.
    assert_eq!(stages(&account.ask(&all).await), [Stage::Undone]);
    assert_eq!(account.writes(), 4);
    let nothing = account.ask(&account.request(Verb::Undo, clicked("e-4"), "e-4")).await;
    assert_eq!(stages(&nothing), [Stage::Skipped]);
    assert!(reason(&nothing[0]).starts_with("nothing to undo"), "{nothing:?}");
    let runs = account.world.memory.runs(Index::Resource(&account.key(1).to_string()), 9).await.unwrap();
    assert_eq!(runs.iter().map(|run| run.stage).collect::<Vec<_>>(), [Stage::Undone, Stage::Verified]);
    // Both are held now: the door that is automatic leaves them alone.
    assert_eq!(stages(&account.ask(&account.imported("e-5")).await), [Stage::Held; 2]);
}

/// What is for any type of resource does not come before what an account's finding stands for.
#[tokio::test(start_paused = true)]
async fn an_account_is_for_what_it_stands_for() {
    let general = "\nrules:\n  - name: start-it\n    control: EC2.1\n    remediator: test.start_it\n    max_risk: downtime\n    \
                   exempt_by: [file]\n    automatic: apply\n";
    let rules = RULES.replace("\nrules:\n", "");
    for rules in [format!("{general}{rules}"), format!("{RULES}{}", general.replace("\nrules:\n", ""))] {
        let account = Account::new("100000000018", 1, &rules);
        let first = if rules.starts_with(RULES) { "s3.turn_all_on" } else { "test.start_it" };
        let planned = account.ask(&account.request(Verb::Plan, clicked("e-1"), "e-1")).await;
        assert_eq!(outcomes(&planned)[0].subject.remediator.as_deref(), Some(first), "{planned:?}");
    }
    // Undo has no rule to go by.
    let account = Account::new("100000000019", 1, RULES);
    assert_eq!(stages(&account.ask(&account.imported("e-1")).await), [Stage::Verified]);
    let undone = account.ask(&account.request(Verb::Undo, clicked("e-2"), "e-2")).await;
    assert_eq!((stages(&undone), account.on()), (vec![Stage::Undone], vec![false]));
}
