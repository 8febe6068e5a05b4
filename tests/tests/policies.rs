//! What IAM lets a run do, enforced by ministack, for every remediator there is: its policy is enough, each action of
//! it is needed, and the session of one resource is none for its neighbour.
//! What ministack can't show of one stands with its scenarios ([`redress_sandbox::scenarios::OnMinistack`]).
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, sync::Arc};

use redress_remediators::{Access, Erased, Key, On, REGISTRY, find, policy};
use redress_router::{
    audit::{Stage, Verb},
    engine::Done,
    store::{Index, Store as _},
};
use redress_sandbox::scenarios::{Case, OnMinistack, SCENARIOS, Scenarios};
use redress_tests::{
    applier::Applier,
    background,
    deployment::sdk_config,
    ministack::{Ministack, Options},
    scene::{Scene, back},
    subject::{ACCOUNT, REGION, ROLE, Sessions, Subject, place},
};
use serde_json::{Value, json};

/// Remediators that may write to more than the one resource, as their declared actions say: to all users of a pool; to
/// whatever addresses AWS gives (the way back of a released one); to any rule, of the one security group; to any flow
/// log, which has no ARN of its VPC's; to the settings of the
/// account, or of its one detector in a Region; to the replication group of a cluster, whose name
/// no finding has; to whatever the role of a runbook may.
const NOT_TOLD_APART: [&str; 14] = [
    "cognito.disable_user",
    "ec2.block_public_snapshots",
    "ec2.close_default_group",
    "ec2.encrypt_volumes_by_default",
    "ec2.log_vpc_traffic",
    "ec2.release_address",
    "ec2.restrict_ingress",
    "elasticache.upgrade_minor_versions",
    "guardduty.turn_on_detector",
    "iam.strengthen_password_policy",
    "macie2.turn_on_session",
    "s3.block_account_public_access",
    "ssm.block_public_sharing",
    "ssm.run_runbook",
];

struct World {
    ministack: Ministack,
    applier: Arc<Applier>,
    sessions: Arc<Sessions>,
}

impl World {
    async fn new() -> Self {
        let ministack = Options::default().auth().account(ACCOUNT).region(REGION).start().await.unwrap();
        let aws = sdk_config(ministack.url(), ACCOUNT);
        let url = ministack.url().to_owned();
        let applier = background::blocking(move || Applier::start(&url, &url, REGION, &[("aws", ACCOUNT)]));
        let applier = Arc::new(applier.await.unwrap());
        let sessions = Arc::new(Sessions::new(aws));
        let world = Self { ministack, applier, sessions };
        let trust = json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow",
                "Principal": { "AWS": format!("arn:aws:iam::{ACCOUNT}:root") },
                "Action": "sts:AssumeRole",
            }],
        });
        world
            .iam("create_role", json!({ "RoleName": ROLE, "AssumeRolePolicyDocument": trust.to_string() }))
            .await;
        world
    }

    async fn iam(&self, operation: &'static str, arguments: Value) {
        let applier = Arc::clone(&self.applier);
        let call = background::blocking(move || applier.call(ACCOUNT, "iam", operation, &arguments));
        call.await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// What the role holds from now on.
    async fn role(&self, document: &Value) {
        let put = json!({ "RoleName": ROLE, "PolicyName": "all", "PolicyDocument": document.to_string() });
        self.iam("put_role_policy", put).await;
    }

    async fn subject(&self, scenarios: &'static Scenarios, case: &'static Case) -> Subject {
        let place = place(self.ministack.url());
        Subject::make(scenarios, case, place, self.sessions.clone(), tags(scenarios)).await.unwrap()
    }

    /// The key of a resource, as a run has it.
    async fn key(&self, subject: &Subject) -> Key {
        self.role(&everything(subject.scenarios)).await;
        ask(subject, Verb::Plan).await;
        last_resource(subject).await.parse().unwrap()
    }
}

/// What a rule says of tags. Of those of these, ministack asks for leave on no resource at all, which a session policy
/// never gives.
fn tags(scenarios: &Scenarios) -> &'static str {
    let services = ["cloudtrail.", "cognito.", "dynamodb.", "sns."];
    let of_these = services.iter().any(|service| scenarios.remediator.starts_with(service));
    if of_these { "    exempt_by: [file]\n" } else { "" }
}

async fn look(subject: &Subject) -> Value {
    subject.look().await.unwrap()
}

async fn ask(subject: &Subject, verb: Verb) -> (Stage, String) {
    match subject.ask(verb, &format!("{verb:?}")).await.unwrap() {
        Some(Done::Outcome(outcome)) => (outcome.stage, outcome.reason.clone().unwrap_or_default()),
        Some(Done::Retry { why, .. }) => (Stage::Intent, why),
        other => panic!("{other:?}"),
    }
}

/// The resource of the last run.
async fn last_resource(subject: &Subject) -> String {
    let runs = subject.memory().runs(Index::Account(ACCOUNT), 1).await.unwrap();
    let lines = subject.memory().run(&runs[0].run).await.unwrap();
    let record: Value = serde_json::from_str(&lines[0]).unwrap();
    record["resource"].as_str().unwrap().to_owned()
}

fn remediator(scenarios: &Scenarios) -> &'static dyn Erased {
    find(scenarios.remediator).unwrap()
}

/// The remediator's share of the member role's policy.
fn share(scenarios: &Scenarios, access: Access) -> Value {
    let remediator = remediator(scenarios);
    policy(remediator, access, &Key::any("aws", ACCOUNT, remediator.kind().asff))
}

fn everything(scenarios: &Scenarios) -> Value {
    share(scenarios, Access::Undo)
}

fn without(document: &Value, action: &str) -> Value {
    let mut document = document.clone();
    let statements = document["Statement"].as_array_mut().unwrap();
    for statement in statements.iter_mut() {
        statement["Action"].as_array_mut().unwrap().retain(|one| one != action);
    }
    statements.retain(|statement| statement["Action"] != json!([]));
    document
}

/// How far ministack can show a remediator.
fn access(scenarios: &Scenarios) -> Access {
    if has_way_back(scenarios) { Access::Undo } else { Access::Apply }
}

fn has_way_back(scenarios: &Scenarios) -> bool {
    matches!(scenarios.ministack, OnMinistack::Whole(_))
}

/// Everybody but those that ministack can't show; where `REDRESS_CASES` is set, those whose name has it in it.
fn here() -> impl Iterator<Item = &'static Scenarios> {
    let only = std::env::var("REDRESS_CASES").unwrap_or_default();
    let wanted = SCENARIOS.iter().copied().filter(move |scenarios| scenarios.remediator.contains(&only));
    wanted.filter(|scenarios| !matches!(scenarios.ministack, OnMinistack::No(_)))
}

fn changing(scenarios: &'static Scenarios) -> impl Iterator<Item = &'static Case> {
    scenarios.cases.iter().filter(|case| case.expect.changes())
}

#[tokio::test]
async fn each_policy_is_enough_and_no_action_of_it_is_spare() {
    let world = World::new().await;
    let mut spare = Vec::new();
    for scenarios in here() {
        let name = scenarios.remediator;
        for case in changing(scenarios) {
            let what = format!("{name}, {} {}", case.control, case.name);
            let subject = world.subject(scenarios, case).await;
            let before = look(&subject).await;
            world.role(&share(scenarios, Access::Plan)).await;
            let planned = ask(&subject, Verb::Plan).await;
            assert_eq!(planned.0, Stage::Planned, "{what}: {planned:?}");
            let fixed = ask(&subject, Verb::Fix).await;
            assert_eq!(fixed.0, Stage::Denied, "{what}, with reads alone: {fixed:?}");
            assert_eq!(look(&subject).await, before, "{what}");
            world.role(&everything(scenarios)).await;
            let fixed = ask(&subject, Verb::Fix).await;
            assert_eq!(fixed.0, Stage::Verified, "{what}: {fixed:?}");
            if !has_way_back(scenarios) {
                continue;
            }
            let undone = ask(&subject, Verb::Undo).await;
            assert_eq!(undone.0, Stage::Undone, "{what}: {undone:?}");
            assert_eq!(look(&subject).await, back(case, before).unwrap(), "{what}");
        }
        let actions: BTreeSet<&str> =
            remediator(scenarios).actions(access(scenarios)).iter().map(|action| action.iam).collect();
        for action in actions {
            world.role(&without(&everything(scenarios), action)).await;
            let mut missed = false;
            for case in changing(scenarios) {
                let subject = world.subject(scenarios, case).await;
                let before = look(&subject).await;
                let fixed = ask(&subject, Verb::Fix).await;
                let undone =
                    if fixed.0 == Stage::Verified { Some(ask(&subject, Verb::Undo).await) } else { None };
                match (fixed.0, undone.as_ref().map(|undone| undone.0)) {
                    (Stage::Verified, None | Some(Stage::Undone)) => continue,
                    (Stage::Denied, None) => assert_eq!(look(&subject).await, before, "{name} {action}"),
                    // The way back is denied; or of two writes the second, there or back, and the run stays open until
                    // it is settled.
                    (Stage::Verified, Some(Stage::Denied | Stage::Intent)) | (Stage::Intent, None) => {}
                    other => panic!("{name} without {action}: {other:?}, {fixed:?}, {undone:?}"),
                }
                missed = true;
                break;
            }
            if !missed {
                spare.push((name, action));
            }
        }
    }
    let not_enforced: Vec<(&str, &str)> = here()
        .filter_map(|scenarios| match scenarios.ministack {
            OnMinistack::Whole(actions) => Some(actions.iter().map(|action| (scenarios.remediator, *action))),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(spare, not_enforced);
}

/// Nobody joins that list unnoticed.
#[test]
fn what_iam_cannot_tell_apart_is_known() {
    let wide = |remediator: &&&dyn Erased| {
        let spec = remediator.spec();
        let mut actions = spec.writes.iter().chain(spec.undo);
        // What is made anew has no name yet, and is named by what made it.
        actions.any(|action| !matches!(action.on, On::Resource | On::Created(..)))
    };
    let names: Vec<&str> = REGISTRY.iter().filter(wide).map(|remediator| remediator.spec().name).collect();
    assert_eq!(names, NOT_TOLD_APART);
}

#[tokio::test]
async fn a_session_is_none_for_the_neighbour() {
    let world = World::new().await;
    // An account is one of its kind.
    for scenarios in here().filter(|scenarios| scenarios.resource_type != "AwsAccount") {
        let name = scenarios.remediator;
        let case = changing(scenarios).next().unwrap();
        let neighbour = world.key(&world.subject(scenarios, case).await).await;
        let subject = world.subject(scenarios, case).await;
        let before = look(&subject).await;
        world.sessions.instead(Some(neighbour));
        let fixed = ask(&subject, Verb::Fix).await;
        world.sessions.instead(None);
        assert_eq!(fixed.0, Stage::Denied, "{name}: {}", fixed.1);
        assert_eq!(look(&subject).await, before, "{name}");
        let fixed = ask(&subject, Verb::Fix).await;
        assert_eq!(fixed.0, Stage::Verified, "{name}: {}", fixed.1);
    }
}

/// A finding of the account: its list is made by a session of the account's, with reads alone. ministack lists a
/// snapshot whoever may restore it, and then denies to look at it, since its ARNs of snapshots name an account: that
/// much is seen of it, that it was listed.
#[tokio::test]
async fn a_list_of_an_account_takes_leave_to_list() {
    let only = std::env::var("REDRESS_CASES").unwrap_or_default();
    let listing = SCENARIOS.iter().copied().find(|one| one.remediator == "ec2.unshare_snapshot");
    let Some(scenarios) = listing.filter(|one| one.remediator.contains(&only)) else { return };
    let world = World::new().await;
    let place = place(world.ministack.url());
    let ec2 = aws_sdk_ec2::Client::new(&place.config);
    let volume = ec2.create_volume().availability_zone(format!("{REGION}a")).size(1).send().await.unwrap();
    let snapshot = ec2.create_snapshot().volume_id(volume.volume_id.unwrap()).send().await.unwrap();
    let snapshot = format!("AwsEc2Snapshot/{}", snapshot.snapshot_id.unwrap());
    let account = format!("AwsAccount/{ACCOUNT}");
    let case = scenarios.cases.iter().find(|case| case.of_account).unwrap();
    let reads = share(scenarios, Access::Plan);
    let without_list = without(&everything(scenarios), "ec2:DescribeSnapshots");
    for (role, action, resource) in
        [(reads, "ec2:DescribeSnapshotAttribute", snapshot), (without_list, "ec2:DescribeSnapshots", account)]
    {
        world.role(&role).await;
        for verb in [Verb::Plan, Verb::Fix] {
            let (id, connect) = (String::new(), world.sessions.clone());
            let subject = Subject::at(scenarios, case, place.clone(), id, connect, tags(scenarios)).unwrap();
            let denied = ask(&subject, verb).await;
            assert_eq!(denied.0, Stage::Denied, "{}", denied.1);
            assert!(denied.1.contains(&format!("not authorized to perform: {action} ")), "{}", denied.1);
            assert_eq!(last_resource(&subject).await, format!("aws/{ACCOUNT}/{REGION}/{resource}"));
        }
    }
}
