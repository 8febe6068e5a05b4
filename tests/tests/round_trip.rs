//! The default rules through the real engine on the embedded emulator: what single controls and doors have of their own.
//!
//! What is asserted is read from the resource by calls of the test's own, and from the calls that reached the
//! emulator; never from what the engine says of itself alone.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use redress_remediators::{BoxFuture, Connection, Error, Key, LastSeen, REGISTRY};
use redress_router::{
    audit::{Asker, Stage, Verb},
    budget::Budget,
    engine::{Activity, Connect, ControlParams, Done, Engine, Outcome, Purpose, Request, Settings, told},
    event::{Decoded, decode_many},
    rules::{Mode, RuleSet},
    store::{Index, memory::Memory},
};
use redress_sandbox::{
    account::{Furnished, furnish},
    emulator::{Call, Emulator, Fault},
    findings::{ControlFinding, Standard},
};
use serde_json::{Value, json};
use tokio::time::Instant;

const ACCOUNT: &str = "123456789012";
const REGION: &str = "eu-west-1";

/// The rules built in, with leave to do what they refuse by default.
fn rules() -> RuleSet {
    let mut text = redress_router::rules::DEFAULT_RULES.to_owned();
    text = text
        .replace("remediator: ec2.release_address", "remediator: ec2.release_address\n    max_risk: loss");
    RuleSet::parse(&[("rules.yaml", &text)], None, REGISTRY).unwrap()
}

struct InProcess(Emulator);

impl Connect for InProcess {
    fn connect<'a>(&'a self, to: &'a Purpose<'a>) -> BoxFuture<'a, Result<Connection, Error>> {
        let region = if to.key.region == "global" { to.region } else { &to.key.region };
        let config = self.0.sdk_config(&to.key.account, region);
        Box::pin(async move { Ok(Connection { config, path_style: true, pace: None }) })
    }

    fn control_params<'a>(
        &'a self,
        _: &'a Connection,
        control: &'a str,
    ) -> BoxFuture<'a, Result<Option<ControlParams>, Error>> {
        let ports = (control == "EC2.18").then(|| {
            let tcp = vec!["80".to_owned(), "443".to_owned()];
            BTreeMap::from([("authorizedTcpPorts".to_owned(), tcp)])
        });
        Box::pin(async move { Ok(ports) })
    }
}

/// Users who were last seen so many days ago; `None`: there is no row.
struct Seen(Option<i64>);

impl Activity for Seen {
    fn last<'a>(&'a self, _: &'a Key) -> BoxFuture<'a, Result<Option<LastSeen>, Error>> {
        let seen = self.0.map(|days| {
            let since = Timestamp::now() - SignedDuration::from_hours(24 * days);
            let since = since.round(jiff::Unit::Hour).unwrap();
            LastSeen { since, signed_in: true, warned: None, in_doubt: None }
        });
        Box::pin(async move { Ok(seen) })
    }

    fn disabled<'a>(&'a self, _: &'a Key, _: &'a LastSeen, _: &'a str) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async { Ok(true) })
    }

    fn restored<'a>(&'a self, _: &'a Key, _: Timestamp) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }
}

fn budget() -> Arc<Budget> {
    Arc::new(Budget::new(Arc::new(Memory::default()), Arc::new(Timestamp::now)))
}

struct World {
    emulator: Emulator,
    engine: Engine,
    account: Furnished,
}

impl World {
    async fn new() -> Self {
        let emulator = Emulator::new();
        let account = furnish(&emulator, ACCOUNT, REGION).await.unwrap();
        let engine = Engine {
            registry: REGISTRY,
            rules: rules(),
            store: Arc::new(Memory::default()),
            connect: Arc::new(InProcess(emulator.clone())),
            activity: Some(Arc::new(Seen(Some(200)))),
            budget: budget(),
            settings: Settings {
                ceiling: Mode::Apply,
                settle: Duration::from_secs(2),
                sign_in_window: Duration::ZERO,
                ..Settings::default()
            },
            clock: Arc::new(Timestamp::now),
        };
        emulator.forget_calls();
        Self { emulator, engine, account }
    }

    /// A finding of each remediator, on the resource that was furnished for it.
    fn findings(&self) -> Vec<(&'static str, Value)> {
        let at = &self.account;
        let finding = |control: &str, kind: &str, id: &str| {
            ControlFinding::new(control).resource(kind, id).account(ACCOUNT).region(REGION).asff()
        };
        let account = format!("AWS::::Account:{ACCOUNT}");
        vec![
            ("s3.enable_versioning", finding("S3.14", "AwsS3Bucket", &at.unversioned.arn)),
            ("s3.add_lifecycle_rule", finding("S3.13", "AwsS3Bucket", &at.without_lifecycle.arn)),
            ("s3.block_public_access", finding("S3.8", "AwsS3Bucket", &at.unblocked.arn)),
            ("s3.block_account_public_access", finding("S3.1", "AwsAccount", &account)),
            ("s3.require_tls", finding("S3.5", "AwsS3Bucket", &at.plaintext.arn)),
            ("ec2.restrict_ingress", finding("EC2.19", "AwsEc2SecurityGroup", &at.group_arn)),
            ("ec2.release_address", finding("EC2.12", "AwsEc2Eip", &at.address_arn)),
            ("cognito.disable_user", self.inactive_user(ACCOUNT)),
        ]
    }

    fn inactive_user(&self, product_account: &str) -> Value {
        let arn = format!("{}/user/{}", self.account.pool_arn, self.account.sub);
        let mut finding =
            ControlFinding::new("S3.14").resource("Other", &arn).account(ACCOUNT).region(REGION).asff();
        finding["Id"] = json!(format!("redress/inactive/{}", self.account.sub));
        finding["GeneratorId"] = json!("redress.cognito-inactive-user");
        finding["ProductArn"] = json!(format!(
            "arn:aws:securityhub:{REGION}:{product_account}:product/{product_account}/default"
        ));
        finding["Compliance"] = json!({ "Status": "FAILED" });
        finding["ProductFields"] = json!({});
        finding["Title"] = json!("A user has not been seen for a long time");
        finding
    }

    async fn ask(&self, verb: Verb, finding: &Value) -> Outcome {
        match self.ask_any(verb, finding, false).await {
            Done::Outcome(outcome) => *outcome,
            other => panic!("{other:?}"),
        }
    }

    async fn ask_any(&self, verb: Verb, finding: &Value, automatic: bool) -> Done {
        let event = uuid::Uuid::new_v4().to_string();
        let asked_by = if automatic {
            Asker::Automatic { event: event.clone() }
        } else {
            Asker::Cli { caller: "arn:aws:iam::123456789012:user/tester".to_owned() }
        };
        self.ask_as(verb, finding, asked_by, event).await
    }

    async fn ask_as(&self, verb: Verb, finding: &Value, asked_by: Asker, event: String) -> Done {
        let mut done = self.ask_all(verb, finding, asked_by, event).await;
        assert_eq!(done.len(), 1, "{done:?}");
        done.remove(0)
    }

    async fn ask_all(&self, verb: Verb, finding: &Value, asked_by: Asker, event: String) -> Vec<Done> {
        let finding = match decode_many(finding.to_string().as_bytes()).unwrap().remove(0) {
            Decoded::Finding(finding) => *finding,
            other => panic!("{other:?}"),
        };
        let request = Request {
            finding,
            verb,
            asked_by,
            event,
            asked_at: None,
            only_rule: None,
            only_resource: None,
            agreed: None,
            deadline: Instant::now() + Duration::from_secs(60),
            dry_run: false,
            record: true,
            listed: true,
            after: Vec::new(),
        };
        let done = self.engine.handle(&request).await;
        for done in &done {
            if let Done::Outcome(outcome) = done
                && let Some(commit) = told(outcome)
            {
                self.engine.store.commit(&commit).await.unwrap();
            }
        }
        done
    }

    fn writes(&self) -> Vec<Call> {
        self.emulator.calls().into_iter().filter(Call::is_write).collect()
    }

    async fn live(&self) -> Value {
        live(self).await
    }
}

/// The state of everything, read by the test's own calls. What AWS numbers anew is left out.
async fn live(world: &World) -> Value {
    let config = world.emulator.sdk_config(ACCOUNT, REGION);
    let s3 = aws_sdk_s3::Client::from_conf(
        aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build(),
    );
    let at = &world.account;
    let versioning = s3.get_bucket_versioning().bucket(&at.unversioned.name).send().await.unwrap().status;
    let lifecycle =
        s3.get_bucket_lifecycle_configuration().bucket(&at.without_lifecycle.name).send().await.ok();
    let lifecycle = lifecycle.map(|found| format!("{:?}", found.rules()));
    let block = s3.get_public_access_block().bucket(&at.unblocked.name).send().await.ok();
    let block = block.map(|found| format!("{:?}", found.public_access_block_configuration()));
    let policy = s3.get_bucket_policy().bucket(&at.plaintext.name).send().await.ok();
    let policy = policy.and_then(|found| found.policy);
    let control = aws_sdk_s3control::Client::new(&config);
    let account = control.get_public_access_block().account_id(ACCOUNT).send().await.ok();
    let account = account.map(|found| format!("{:?}", found.public_access_block_configuration()));
    let ec2 = aws_sdk_ec2::Client::new(&config);
    let filter = aws_sdk_ec2::types::Filter::builder().name("group-id").values(&at.group).build();
    let rules = ec2.describe_security_group_rules().filters(filter).send().await.unwrap();
    let rules: BTreeSet<String> = rules
        .security_group_rules()
        .iter()
        .filter(|rule| rule.is_egress() != Some(true))
        .map(|rule| {
            format!(
                "{:?} {:?}-{:?} {:?} {:?} {:?} {:?}",
                rule.ip_protocol(),
                rule.from_port(),
                rule.to_port(),
                rule.cidr_ipv4(),
                rule.cidr_ipv6(),
                rule.description(),
                rule.tags()
            )
        })
        .collect();
    let addresses = ec2.describe_addresses().send().await.unwrap();
    let addresses: Vec<_> = addresses.addresses().iter().map(|address| address.public_ip()).collect();
    let cognito = aws_sdk_cognitoidentityprovider::Client::new(&config);
    let users = cognito.list_users().user_pool_id(&at.pool).send().await.unwrap();
    let enabled: Vec<bool> =
        users.users().iter().map(aws_sdk_cognitoidentityprovider::types::UserType::enabled).collect();
    json!({
        "s3.enable_versioning": versioning.map(|status| status.as_str().to_owned()),
        "s3.add_lifecycle_rule": lifecycle,
        "s3.block_public_access": block,
        "s3.require_tls": policy,
        "s3.block_account_public_access": account,
        "ec2.restrict_ingress": rules,
        "ec2.release_address": addresses,
        "cognito.disable_user": enabled,
    })
}

/// The controls that share a remediator with another one.
#[tokio::test]
async fn every_control_has_a_plan() {
    let world = World::new().await;
    let at = &world.account;
    let group = ("AwsEc2SecurityGroup", at.group_arn.as_str());
    for (control, (kind, id)) in [
        ("S3.2", ("AwsS3Bucket", at.unblocked.arn.as_str())),
        ("S3.3", ("AwsS3Bucket", at.unblocked.arn.as_str())),
        ("S3.10", ("AwsS3Bucket", at.without_lifecycle.arn.as_str())),
        ("EC2.14", group),
        ("EC2.18", group),
    ] {
        let finding = ControlFinding::new(control).resource(kind, id).account(ACCOUNT).region(REGION).asff();
        let planned = world.ask(Verb::Plan, &finding).await;
        assert_eq!(planned.stage, Stage::Planned, "{control}: {:?}", planned.reason);
    }
    assert!(world.writes().is_empty());
}

/// Forged findings are refused at every door, recorded, and reach nothing.
#[tokio::test]
async fn forged_findings_are_refused_at_every_door() {
    let world = World::new().await;
    let good = world.findings()[0].1.clone();
    let mut product = good.clone();
    product["ProductArn"] =
        json!(format!("arn:aws:securityhub:{REGION}:{ACCOUNT}:product/{ACCOUNT}/default"));
    let mut elsewhere = good.clone();
    elsewhere["Resources"][0]["Id"] = json!("arn:aws:s3::999999999999:somebody-elses");
    let custom_action = |event: &str| Asker::CustomAction {
        action: format!("arn:aws:securityhub:{REGION}:{ACCOUNT}:action/custom/RedressFix"),
        event: event.to_owned(),
        account: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
    };
    let forged = [product, elsewhere, world.inactive_user("999999999999")];
    for finding in &forged {
        for door in 0..3 {
            let event = uuid::Uuid::new_v4().to_string();
            let asked_by = match door {
                0 => Asker::Automatic { event: event.clone() },
                1 => custom_action(&event),
                _ => Asker::Cli { caller: "arn:aws:iam::123456789012:user/tester".to_owned() },
            };
            let done = world.ask_as(Verb::Fix, finding, asked_by, event).await;
            assert!(matches!(&done, Done::Outcome(outcome) if outcome.stage == Stage::Refused), "{done:?}");
        }
    }
    let runs = world.engine.store.runs(Index::Account(ACCOUNT), 100).await.unwrap();
    assert_eq!(runs.iter().filter(|run| run.stage == Stage::Refused).count(), 9, "{runs:?}");
    assert!(world.emulator.calls().is_empty(), "{:?}", world.emulator.calls());
}

/// One finding in every spelling is one plan.
#[tokio::test]
async fn every_spelling_of_a_control_is_the_same_plan() {
    let world = World::new().await;
    let finding = ControlFinding::new("S3.5")
        .resource("AwsS3Bucket", &world.account.plaintext.arn)
        .account(ACCOUNT)
        .region(REGION);
    let expected = world.ask(Verb::Plan, &finding.asff()).await.change.unwrap();
    let mut compared = 0;
    for spelling in
        Standard::ALL.iter().map(|standard| finding.asff_unconsolidated(*standard)).chain([finding.ocsf()])
    {
        let planned = world.ask(Verb::Plan, &spelling).await;
        assert_eq!(planned.change.as_ref(), Some(&expected), "{spelling}");
        compared += 1;
    }
    assert!(compared >= 8, "{compared}");
}

/// Must hold: EC2.13 removes the open SSH rule alone, EC2.19 that and the open remote desktop; undo restores
/// both with their descriptions, beside a rule that somebody has added meanwhile.
#[tokio::test]
async fn only_the_open_rules_of_a_group_are_revoked() {
    let world = World::new().await;
    let ec2 = aws_sdk_ec2::Client::new(&world.emulator.sdk_config(ACCOUNT, REGION));
    let rules = async || -> BTreeSet<String> {
        serde_json::from_value(world.live().await["ec2.restrict_ingress"].clone()).unwrap()
    };
    let before = rules().await;
    assert_eq!(before.len(), 4);
    let finding = |control: &str| {
        let finding = ControlFinding::new(control).resource("AwsEc2SecurityGroup", &world.account.group_arn);
        finding.account(ACCOUNT).region(REGION).asff()
    };
    assert_eq!(world.ask(Verb::Fix, &finding("EC2.13")).await.stage, Stage::Verified);
    let without_ssh = rules().await;
    assert_eq!(before.difference(&without_ssh).count(), 1);
    assert_eq!(world.ask(Verb::Undo, &finding("EC2.13")).await.stage, Stage::Undone);
    assert_eq!(rules().await, before);

    assert_eq!(world.ask(Verb::Fix, &finding("EC2.19")).await.stage, Stage::Verified);
    assert_eq!(before.difference(&rules().await).count(), 2);
    let range = aws_sdk_ec2::types::IpRange::builder().cidr_ip("10.1.0.0/16").description("added").build();
    let permission = aws_sdk_ec2::types::IpPermission::builder()
        .ip_protocol("tcp")
        .from_port(8443)
        .to_port(8443)
        .ip_ranges(range)
        .build();
    let added =
        ec2.authorize_security_group_ingress().group_id(&world.account.group).ip_permissions(permission);
    added.send().await.unwrap();
    assert_eq!(world.ask(Verb::Undo, &finding("EC2.19")).await.stage, Stage::Undone);
    let restored = rules().await;
    assert!(before.is_subset(&restored), "{restored:#?}");
    assert_eq!(restored.len(), 5);
}

/// Must hold: an account's finding takes back every snapshot of its that is everybody's, in its Region; what others let
/// everybody restore is described to it as well, and is none of it.
#[tokio::test]
async fn the_snapshots_of_an_account_are_its_own() {
    use aws_sdk_ec2::types::{OperationType, SnapshotAttributeName};
    const OTHER: &str = "999999999999";
    let world = World::new().await;
    let snapshot = async |account: &str, region: &str| {
        let ec2 = aws_sdk_ec2::Client::new(&world.emulator.sdk_config(account, region));
        let id = ec2
            .create_snapshot()
            .volume_id("vol-0123456789abcdef0")
            .send()
            .await
            .unwrap()
            .snapshot_id
            .unwrap();
        let share = ec2.modify_snapshot_attribute().snapshot_id(&id).operation_type(OperationType::Add);
        share.group_names("all").send().await.unwrap();
        (ec2, id)
    };
    let is_public = async |(ec2, id): &(aws_sdk_ec2::Client, String)| {
        let asked = ec2.describe_snapshot_attribute().snapshot_id(id);
        let asked = asked.attribute(SnapshotAttributeName::CreateVolumePermission).send().await.unwrap();
        !asked.create_volume_permissions().is_empty()
    };
    let own = [snapshot(ACCOUNT, REGION).await, snapshot(ACCOUNT, REGION).await];
    let elsewhere = snapshot(ACCOUNT, "us-east-1").await;
    let theirs = snapshot(OTHER, REGION).await;
    let mine = aws_sdk_ec2::Client::new(&world.emulator.sdk_config(ACCOUNT, REGION));
    let seen = mine.describe_snapshots().restorable_by_user_ids("all").send().await.unwrap();
    assert_eq!(seen.snapshots().len(), 3, "theirs is described to everybody");

    let finding = |kind: &str, id: &str| {
        ControlFinding::new("EC2.1").resource(kind, id).account(ACCOUNT).region(REGION).asff()
    };
    let of_account = finding("AwsAccount", &format!("AWS::::Account:{ACCOUNT}"));
    let asked_by = Asker::Cli { caller: "tester".to_owned() };
    let done = world.ask_all(Verb::Fix, &of_account, asked_by, "e-1".to_owned()).await;
    let stage = |done: &Done| match done {
        Done::Outcome(outcome) => outcome.stage,
        other => panic!("{other:?}"),
    };
    assert_eq!(done.iter().map(stage).collect::<Vec<_>>(), [Stage::Verified; 2]);
    for one in &own {
        assert!(!is_public(one).await);
    }
    assert!(is_public(&elsewhere).await && is_public(&theirs).await);

    // One that somebody else's account has, in a finding of this one.
    world.emulator.forget_calls();
    for id in [theirs.1.clone(), format!("arn:aws:ec2:{REGION}::snapshot/{}", theirs.1)] {
        for verb in [Verb::Plan, Verb::Fix] {
            let outcome = world.ask(verb, &finding("AwsEc2Snapshot", &id)).await;
            assert_eq!(outcome.stage, Stage::Failed, "{:?}", outcome.reason);
            let reason = outcome.reason.unwrap();
            assert!(reason.contains(&format!("belongs to `{OTHER}`")), "{reason}");
        }
    }
    assert!(world.writes().is_empty() && is_public(&theirs).await);
}

/// A finding about an inactive user is a pointer, never evidence; nobody's product but the account's own may
/// even point.
#[tokio::test]
async fn users_are_disabled_on_proof_of_inactivity_alone() {
    for (seen, expected) in [(None, "no activity"), (Some(3), "is active"), (Some(200), "")] {
        let mut world = World::new().await;
        world.engine.activity = Some(Arc::new(Seen(seen)));
        let outcome = world.ask(Verb::Fix, &world.inactive_user(ACCOUNT)).await;
        let enabled = world.live().await["cognito.disable_user"] == json!([true]);
        if expected.is_empty() {
            assert_eq!(outcome.stage, Stage::Verified, "{:?}", outcome.reason);
            assert!(!enabled);
        } else {
            assert_eq!(outcome.stage, Stage::Refused);
            assert!(outcome.reason.unwrap().contains(expected));
            assert!(enabled);
        }
    }
    let world = World::new().await;
    for automatic in [true, false] {
        let done = world.ask_any(Verb::Fix, &world.inactive_user("999999999999"), automatic).await;
        assert!(matches!(&done, Done::Outcome(outcome) if outcome.stage == Stage::Refused), "{done:?}");
    }
    assert!(world.emulator.calls().is_empty(), "{:?}", world.emulator.calls());
}

#[tokio::test]
async fn denied_and_gone_are_said_and_change_nothing() {
    let world = World::new().await;
    for (name, finding) in world.findings() {
        world.emulator.on_call(Arc::new(|_: &Call| Some(Fault::Denied)));
        let outcome = world.ask(Verb::Fix, &finding).await;
        assert_eq!(outcome.stage, Stage::Denied, "{name}: {:?}", outcome.reason);
        world.emulator.clear_hook();
    }
    let gone = ControlFinding::new("S3.14").resource("AwsS3Bucket", "arn:aws:s3:::no-such-bucket-here");
    let outcome = world.ask(Verb::Fix, &gone.account(ACCOUNT).region(REGION).asff()).await;
    assert_eq!(outcome.stage, Stage::Skipped);
    assert!(outcome.reason.unwrap().starts_with("the resource does not exist"));
    // A lost answer is looked at.
    let finding = &world.findings()[0].1;
    world.emulator.on_call(Arc::new(|call: &Call| {
        (call.operation == "PutBucketVersioning").then_some(Fault::AnswerLost)
    }));
    assert_eq!(world.ask(Verb::Fix, finding).await.stage, Stage::Verified);
}
