//! Commands run in the process against the embedded sandbox: what is printed, how they end, and what the
//! resources are like afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{path::PathBuf, sync::Arc};

use aws_sdk_securityhub::types::{AwsSecurityFindingIdentifier, NoteUpdate};
use redress::Exit;
use redress_router::rules::RuleSet;
use redress_sandbox::{
    account::{Furnished, furnish},
    emulator::{Emulator, Fault},
    findings::{ControlFinding, Standard},
    securityhub::SecurityHub,
    tables,
};
use serde_json::{Value, json};

use self::common::{ACCOUNT, Dir, Ended, REGION, applying, command, cut_short, function};

struct World {
    emulator: Emulator,
    hub: SecurityHub,
    made: Furnished,
    dir: Dir,
}

impl World {
    async fn new() -> Self {
        let hub = SecurityHub::new();
        let answering = hub.clone();
        let emulator = Emulator::new().with_service(
            "securityhub",
            Arc::new(move |request| answering.handle_request(&request).map(Into::into)),
        );
        let made = furnish(&emulator, ACCOUNT, REGION).await.unwrap();
        Self { emulator, hub, made, dir: Dir::new() }
    }

    fn finding(&self, control: &str) -> ControlFinding {
        let (kind, id) = match control {
            "S3.14" => ("AwsS3Bucket", self.made.unversioned.arn.clone()),
            "EC2.12" => ("AwsEc2Eip", self.made.address_arn.clone()),
            _ => ("AwsEc2SecurityGroup", self.made.group_arn.clone()),
        };
        ControlFinding::new(control).account(ACCOUNT).region(REGION).resource(kind, &id)
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.dir.join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    async fn command(&self, args: &[&str]) -> Ended {
        self.with_input(args, None).await
    }

    /// With an answer, standard input counts as a terminal.
    async fn with_input(&self, args: &[&str], answer: Option<&str>) -> Ended {
        command(&self.emulator, &self.dir, args, answer).await
    }

    async fn versioning(&self) -> Option<String> {
        let s3 = aws_sdk_s3::Client::new(&self.emulator.sdk_config(ACCOUNT, REGION));
        let found = s3.get_bucket_versioning().bucket(&self.made.unversioned.name).send().await.unwrap();
        found.status.map(|status| status.as_str().to_owned())
    }

    /// The two tables of a deployment.
    async fn deploy(&self, name: &str) {
        let dynamodb = aws_sdk_dynamodb::Client::new(&self.emulator.sdk_config(ACCOUNT, REGION));
        for (table, keys) in [("state", tables::STATE), ("audit", tables::AUDIT)] {
            tables::make(&dynamodb, &format!("{name}-{table}"), keys).await.unwrap();
        }
    }

    async fn ingress(&self) -> Vec<String> {
        let ec2 = aws_sdk_ec2::Client::new(&self.emulator.sdk_config(ACCOUNT, REGION));
        let filter = aws_sdk_ec2::types::Filter::builder().name("group-id").values(&self.made.group).build();
        let found = ec2.describe_security_group_rules().filters(filter).send().await.unwrap();
        let mut rules: Vec<String> = found
            .security_group_rules()
            .iter()
            .filter(|rule| rule.is_egress() != Some(true))
            .map(|rule| {
                let port = rule.from_port().unwrap_or(-1);
                let source = rule.cidr_ipv4().or(rule.cidr_ipv6()).unwrap_or_default();
                format!("{port} {source} {}", rule.description().unwrap_or("-"))
            })
            .collect();
        rules.sort();
        rules
    }

    fn writes(&self) -> Vec<String> {
        let writes = self.emulator.calls().into_iter().filter(|call| {
            call.is_write() && !call.operation.starts_with("GetCaller") && call.service != "securityhub"
        });
        writes.map(|call| call.operation).collect()
    }
}

fn json_of(ended: &Ended) -> Value {
    serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{}\n{}", ended.out, ended.err))
}

/// What is another in every run, made the same.
fn settled(text: &str) -> String {
    let mut text = text.to_owned();
    for word in text.clone().split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')) {
        if uuid::Uuid::parse_str(word).is_ok() {
            text = text.replace(word, "RUN");
        }
    }
    text
}

#[tokio::test]
async fn the_whole_way_of_a_finding() {
    let world = World::new().await;
    let file = world.file("finding.json", &world.finding("S3.14").asff().to_string());
    world.emulator.forget_calls();

    let planned = world.command(&["plan", &file, "--detailed-exitcode"]).await;
    assert_eq!((planned.exit, planned.err.as_str()), (Exit::Pending, ""), "{}", planned.out);
    assert!(planned.out.contains("~ status: never -> enabled"), "{}", planned.out);
    assert!(planned.out.contains("lifecycle rule `expire-logs` expires objects"), "{}", planned.out);
    assert!(planned.out.contains("Plan: 1 to change, 0 compliant, 0 refused, 0 failed."), "{}", planned.out);
    assert!(planned.out.contains("own credentials: no session policy"), "{}", planned.out);
    assert!(world.writes().is_empty(), "{:?}", world.writes());
    assert!(!world.dir.join("state").exists(), "a dry run leaves no trace");

    let unasked = world.command(&["apply", &file]).await;
    assert_eq!(unasked.exit, Exit::Refused);
    assert!(unasked.err.contains("nobody can be asked"), "{}", unasked.err);
    let declined = world.with_input(&["apply", &file], Some("y\n")).await;
    assert_eq!(declined.exit, Exit::Refused);
    assert!(declined.err.contains("Apply this change? Only 'yes' is accepted:"), "{}", declined.err);
    assert_eq!(world.versioning().await, None);

    let applied = world.with_input(&["apply", &file], Some("yes\n")).await;
    assert_eq!(applied.exit, Exit::Done, "{}{}", applied.out, applied.err);
    assert!(applied.out.contains("guards this machine alone"), "{}", applied.out);
    assert!(applied.out.contains("fixed, and seen fixed"), "{}", applied.out);
    assert!(applied.out.contains("Apply: 1 fixed, 0 compliant, 0 refused, 0 failed."), "{}", applied.out);
    assert_eq!(world.versioning().await.as_deref(), Some("Enabled"));
    assert_eq!(world.writes(), ["PutBucketVersioning"]);

    let again = world.command(&["plan", &file, "--detailed-exitcode"]).await;
    assert_eq!(again.exit, Exit::Done);
    assert!(again.out.contains("nothing to do"), "{}", again.out);

    let told =
        world.command(&["history", "--resource", &world.made.unversioned.arn, "--format", "json"]).await;
    let told = json_of(&told);
    assert_eq!(told["schema"], "redress.history/1");
    let run = told["runs"][0]["run"].as_str().unwrap().to_owned();
    assert_eq!(told["runs"][0]["chain"], "whole");
    let detailed = world.command(&["history", "--run", &run]).await;
    assert!(detailed.out.contains("s3:PutBucketVersioning 200"), "{}", detailed.out);
    assert!(detailed.out.contains("record 1"), "{}", detailed.out);

    let shown = world.command(&["undo", "--run", &run, "--dry-run"]).await;
    assert!(shown.out.contains("would be undone") && shown.out.contains(&run), "{}", shown.out);
    assert_eq!(world.versioning().await.as_deref(), Some("Enabled"));
    let undone = world.with_input(&["undo", "--run", &run], Some("yes\n")).await;
    assert_eq!(undone.exit, Exit::Done, "{}{}", undone.out, undone.err);
    assert!(undone.out.contains("~ status: enabled -> suspended"), "{}", undone.out);
    assert_eq!(world.versioning().await.as_deref(), Some("Suspended"));

    let twice = world.command(&["undo", &file, "--yes"]).await;
    assert_eq!(twice.exit, Exit::Done);
    assert!(twice.out.contains("nothing to undo"), "{}", twice.out);
    let by_name = world.command(&["undo", "--resource", &world.made.unversioned.arn, "--yes"]).await;
    assert_eq!(by_name.exit, Exit::Input);
    assert!(by_name.err.contains("nothing to undo"), "{}", by_name.err);
    assert_eq!(world.versioning().await.as_deref(), Some("Suspended"));

    // Whoever alters a record is found out.
    let audit = world.dir.join("state/audit.jsonl");
    let text = std::fs::read_to_string(&audit).unwrap().replace("\"never\"", "\"enabled\"");
    std::fs::write(&audit, text).unwrap();
    let broken = world.command(&["history", "--run", &run]).await;
    assert_eq!(broken.exit, Exit::Failed, "{}{}", broken.out, broken.err);
}

#[tokio::test]
async fn a_plan_file_is_made_exactly_or_refused() {
    let world = World::new().await;
    let file = world.file("finding.json", &world.finding("S3.14").ocsf().to_string());
    let plan = world.dir.join("plan.json").display().to_string();
    let written = world.command(&["plan", &file, "--out", &plan]).await;
    assert_eq!(written.exit, Exit::Done, "{}{}", written.out, written.err);
    let text = std::fs::read_to_string(&plan).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["schema"], "redress.plan-file/1");

    let altered = |change: &dyn Fn(&mut Value)| {
        let mut document = document.clone();
        change(&mut document);
        world.file("altered.json", &document.to_string())
    };
    let refused = async |change: &dyn Fn(&mut Value), exit: Exit, why: &str| {
        let file = altered(change);
        let ended = world.command(&["apply", &file, "--yes"]).await;
        assert_eq!(ended.exit, exit, "{}{}", ended.out, ended.err);
        let said = format!("{}{}", ended.out, ended.err);
        assert!(said.contains(why), "{said}");
        assert_eq!(world.versioning().await, None, "{why}");
    };
    refused(&|d| d["created"] = json!("2026-01-01T00:00:00Z"), Exit::Refused, "longer ago").await;
    refused(&|d| d["created"] = json!("2999-01-01T00:00:00Z"), Exit::Refused, "in the future").await;
    refused(&|d| d["caller"]["account"] = json!("999999999999"), Exit::Refused, "999999999999").await;
    refused(&|d| d["rules_hash"] = json!("0"), Exit::Refused, "made by rules 0").await;
    refused(&|d| d["schema"] = json!("redress.plan-file/9"), Exit::Input, "plan-file/9").await;
    refused(&|d| d["more"] = json!(1), Exit::Input, "unknown field").await;
    refused(&|d| d["items"][0]["remediator_version"] = json!(7), Exit::Refused, "was version 7").await;
    refused(&|d| d["items"][0]["remediator"] = json!("s3.nope"), Exit::Input, "s3.nope").await;
    refused(&|d| d["items"][0]["finding"] = json!({}), Exit::Input, "items[0]").await;
    refused(&|d| d["items"][0]["control"] = json!("S3.1"), Exit::Input, "S3.14").await;
    let other = |d: &mut Value| d["items"][0]["change"]["to"]["status"] = json!("suspended");
    refused(&other, Exit::Refused, "not as it was").await;
    let product = |d: &mut Value| {
        let own = "arn:aws:securityhub:eu-west-1:123456789012:product/123456789012/default";
        d["items"][0]["finding"]["metadata"]["product"]["uid"] = json!(own);
    };
    refused(&product, Exit::Refused, "which does not write it").await;

    let made = world.command(&["apply", &plan, "--yes"]).await;
    assert_eq!(made.exit, Exit::Done, "{}{}", made.out, made.err);
    assert_eq!(world.versioning().await.as_deref(), Some("Enabled"));
    let again = world.command(&["apply", &plan, "--yes"]).await;
    assert!(again.out.contains("nothing to do"), "{}", again.out);
}

/// Of one bucket, what a fix brings is shown and made after it, whatever stood between them.
#[tokio::test]
async fn findings_of_one_resource_stand_together_in_the_order_in_which_they_are_fixed() {
    let world = World::new().await;
    let s3 = aws_sdk_s3::Client::new(&world.emulator.sdk_config(ACCOUNT, REGION));
    let bucket = &world.made.unversioned;
    s3.delete_bucket_lifecycle().bucket(&bucket.name).send().await.unwrap();
    let lifecycle = |control| {
        ControlFinding::new(control).account(ACCOUNT).region(REGION).resource("AwsS3Bucket", &bucket.arn)
    };
    let findings = [lifecycle("S3.10"), world.finding("EC2.13"), world.finding("S3.14"), lifecycle("S3.13")];
    let findings: Vec<Value> = findings.iter().map(ControlFinding::asff).collect();
    let file = world.file("findings.json", &json!(findings).to_string());
    let controls = |ended: &Ended| -> Vec<String> {
        let items = json_of(ended)["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["control"].as_str().unwrap().to_owned()).collect()
    };
    let planned = world.command(&["plan", &file, "--format", "json"]).await;
    assert_eq!(controls(&planned), ["S3.14", "S3.13", "S3.10", "EC2.13"], "{}", planned.out);
    assert!(planned.out.contains("once this is done, S3.10 fails"), "{}", planned.out);
    world.emulator.forget_calls();
    let made = world.command(&["apply", &file, "--yes", "--format", "json"]).await;
    assert_eq!(made.exit, Exit::Done, "{}{}", made.out, made.err);
    let writes = world.writes();
    let at = |operation: &str| writes.iter().position(|write| write == operation).unwrap();
    assert!(at("PutBucketVersioning") < at("PutBucketLifecycleConfiguration"), "{writes:?}");
}

#[tokio::test]
async fn two_controls_of_one_group_change_it_once_each() {
    let world = World::new().await;
    let before = world.ingress().await;
    let page = json!({ "Findings": [
        world.finding("EC2.13").asff(),
        world.finding("EC2.13").asff_unconsolidated(Standard::Cis120),
        world.finding("EC2.19").asff(),
    ] });
    let file = world.file("page.json", &page.to_string());
    let planned = world.command(&["plan", &file]).await;
    assert!(planned.out.contains("Plan: 2 to change"), "{}", planned.out);
    assert!(planned.out.contains("the same change as number 1 above"), "{}", planned.out);
    let applied = world.command(&["apply", &file, "--yes"]).await;
    assert_eq!(applied.exit, Exit::Done, "{}{}", applied.out, applied.err);
    let left = world.ingress().await;
    assert_eq!(left, ["-1 192.0.2.10/32 -", "22 198.51.100.0/24 office"], "{}", applied.out);
    let run = |number: usize, told: &Value| told["runs"][number]["run"].as_str().unwrap().to_owned();
    let told =
        json_of(&world.command(&["history", "--resource", &world.made.group_arn, "--format", "json"]).await);
    let fixes: Vec<usize> = (0..told["runs"].as_array().unwrap().len())
        .filter(|at| {
            let records = told["runs"][*at]["records"].as_array().unwrap();
            records.last().unwrap()["stage"] == "verified"
        })
        .collect();
    assert_eq!(fixes.len(), 2, "{told:#}");
    // The earlier one first: of what was done for the other control nothing is put back with it.
    let mut now = left;
    for at in fixes.into_iter().rev() {
        let undone = world.command(&["undo", "--run", &run(at, &told), "--yes"]).await;
        assert_eq!(undone.exit, Exit::Done, "{}{}", undone.out, undone.err);
        let next = world.ingress().await;
        assert!(next.len() > now.len(), "{next:?}");
        now = next;
    }
    assert_eq!(now, before);
}

/// A finding of the account is planned, made and undone by each of the snapshots that it stands for.
#[tokio::test]
async fn a_finding_of_the_account_is_one_of_each_snapshot() {
    use aws_sdk_ec2::types::{OperationType, SnapshotAttributeName, SnapshotBlockPublicAccessState};
    let world = World::new().await;
    let ec2 = aws_sdk_ec2::Client::new(&world.emulator.sdk_config(ACCOUNT, REGION));
    let mut ids = Vec::new();
    for public in [true, true, false] {
        let made = ec2.create_snapshot().volume_id("vol-0123456789abcdef0").send().await.unwrap();
        let id = made.snapshot_id.unwrap();
        let share = ec2.modify_snapshot_attribute().snapshot_id(&id).operation_type(OperationType::Add);
        let share = share.user_ids("210987654321");
        share.send().await.unwrap();
        if public {
            let share = ec2.modify_snapshot_attribute().snapshot_id(&id).operation_type(OperationType::Add);
            share.group_names("all").send().await.unwrap();
        }
        ids.push(id);
    }
    ids[..2].sort();
    let who = async || {
        let mut all = Vec::new();
        for id in &ids {
            let asked = ec2.describe_snapshot_attribute().snapshot_id(id);
            let asked = asked.attribute(SnapshotAttributeName::CreateVolumePermission);
            all.push(asked.send().await.unwrap().create_volume_permissions().len());
        }
        all
    };
    let finding = ControlFinding::new("EC2.1").account(ACCOUNT).region(REGION);
    let finding = finding.resource("AwsAccount", &format!("AWS::::Account:{ACCOUNT}"));
    let file = world.file("finding.json", &finding.asff().to_string());
    let plan = world.dir.join("plan.json").display().to_string();
    world.emulator.forget_calls();

    let planned = world.command(&["plan", &file, "--out", &plan, "--format", "json"]).await;
    assert_eq!(planned.exit, Exit::Done, "{}{}", planned.out, planned.err);
    let items = json_of(&planned)["items"].as_array().unwrap().clone();
    let resources: Vec<&str> = items.iter().map(|item| item["resource"].as_str().unwrap()).collect();
    let key = |id: &str| format!("aws/{ACCOUNT}/{REGION}/AwsEc2Snapshot/{id}");
    assert_eq!(resources, [key(&ids[0]), key(&ids[1])]);
    assert!(world.writes().is_empty() && !world.dir.join("state").exists());

    let made = world.command(&["apply", &plan, "--yes"]).await;
    assert_eq!(made.exit, Exit::Done, "{}{}", made.out, made.err);
    assert!(made.out.contains("Apply: 2 fixed, 0 compliant"), "{}", made.out);
    assert_eq!(world.writes(), ["ModifySnapshotAttribute"; 2]);
    assert_eq!(who().await, [1, 1, 1], "the partner keeps what it has");
    let again = world.command(&["apply", &file, "--yes"]).await;
    assert!(again.out.contains("nothing to do: no resource of account"), "{}", again.out);

    // One, by its ARN, which names no account; the other by its run.
    let arn = |id: &str| format!("arn:aws:ec2:{REGION}::snapshot/{id}");
    let undone = world.command(&["undo", "--resource", &arn(&ids[0]), "--yes"]).await;
    assert_eq!(undone.exit, Exit::Done, "{}{}", undone.out, undone.err);
    assert_eq!(who().await, [2, 1, 1]);
    let told = json_of(&world.command(&["history", "--resource", &key(&ids[1]), "--format", "json"]).await);
    let run = told["runs"][0]["run"].as_str().unwrap();
    let block = ec2.enable_snapshot_block_public_access();
    block.state(SnapshotBlockPublicAccessState::BlockNewSharing).send().await.unwrap();
    let refused = world.command(&["undo", "--run", run, "--yes"]).await;
    assert_eq!(refused.exit, Exit::Failed, "{}{}", refused.out, refused.err);
    assert!(refused.out.contains("OperationNotPermitted") && refused.out.contains("nothing was changed"));
    assert_eq!(who().await, [2, 1, 1]);
    ec2.disable_snapshot_block_public_access().send().await.unwrap();
    let undone = world.command(&["undo", "--run", run, "--yes"]).await;
    assert_eq!(undone.exit, Exit::Done, "{}{}", undone.out, undone.err);
    assert_eq!(who().await, [2, 2, 1]);

    // All that the finding stood for, by its file.
    let made = world.command(&["apply", &file, "--yes"]).await;
    assert_eq!((made.exit, who().await), (Exit::Done, vec![1, 1, 1]), "{}{}", made.out, made.err);
    let undone = world.command(&["undo", &file, "--yes"]).await;
    assert_eq!((undone.exit, who().await), (Exit::Done, vec![2, 2, 1]), "{}{}", undone.out, undone.err);
}

#[tokio::test]
async fn live_findings_are_asked_for_and_reported_to() {
    let world = World::new().await;
    let finding = world.finding("S3.14");
    let passed = world.finding("S3.14").number(2).status(redress_sandbox::findings::ComplianceStatus::Passed);
    let more = (3..230).map(|number| world.finding("S3.14").number(number).asff());
    let all = [finding.asff(), passed.asff(), world.finding("EC2.13").asff()].into_iter().chain(more);
    world.hub.import_as_aws(all).unwrap();
    let ended = world.command(&["plan", "--control", "s3.14", "--format", "json"]).await;
    assert_eq!(ended.exit, Exit::Done, "{}", ended.err);
    let document = json_of(&ended);
    assert_eq!(document["schema"], "redress.plan/1");
    assert_eq!(document["items"].as_array().unwrap().len(), 228);
    assert_eq!(document["summary"]["planned"], 1);
    assert!(world.hub.count_calls("GetFindings") >= 3);
    world.hub.fail_next("GetFindings", 429, "LimitExceededException", 1);
    let ended = world.command(&["apply", "--control", "EC2.13", "--yes", "--report"]).await;
    assert_eq!(ended.exit, Exit::Done, "{}{}", ended.out, ended.err);
    let stored = world.hub.finding(&world.finding("EC2.13").id()).unwrap();
    assert_eq!(stored["Workflow"]["Status"], "NOTIFIED");
    assert!(stored["Note"]["Text"].as_str().unwrap().contains("seen fixed"), "{stored:#}");
}

#[tokio::test]
async fn a_stop_holds_until_it_is_lifted() {
    let world = World::new().await;
    let file = world.file("finding.json", &world.finding("S3.14").asff().to_string());
    let stopped = world.command(&["stop", "--account", ACCOUNT, "--why", "change freeze"]).await;
    assert_eq!(stopped.exit, Exit::Done, "{}", stopped.err);
    assert!(stopped.out.contains("on this machine alone"), "{}", stopped.out);
    let refused = world.command(&["apply", &file, "--yes"]).await;
    assert_eq!(refused.exit, Exit::Refused, "{}", refused.out);
    assert!(
        refused.out.contains("change freeze") && refused.out.contains("redress resume"),
        "{}",
        refused.out
    );
    assert_eq!(world.versioning().await, None);
    let other = world.command(&["resume"]).await;
    assert!(other.out.contains("There was no stop of everything"), "{}", other.out);
    let lifted = world.command(&["resume", "--account", ACCOUNT]).await;
    assert!(lifted.out.contains("Lifted"), "{}", lifted.out);
    let applied = world.command(&["apply", &file, "--yes"]).await;
    assert_eq!(applied.exit, Exit::Done, "{}{}", applied.out, applied.err);
    let settled = world.command(&["recover"]).await;
    assert!(settled.out.contains("No run was cut off"), "{}", settled.out);
}

#[tokio::test]
async fn a_deployment_is_shared() {
    let world = World::new().await;
    world.deploy("team").await;
    applying(&world.emulator, "team");
    let at = ["--deployment", "team"];
    let file = world.file("finding.json", &world.finding("S3.14").asff().to_string());
    let stopped = world.command(&[&["stop", "--why", "freeze"], &at[..]].concat()).await;
    assert!(stopped.out.contains("every door of the deployment"), "{}{}", stopped.out, stopped.err);
    let refused = world.command(&[&["apply", &file, "--yes"], &at[..]].concat()).await;
    assert_eq!(refused.exit, Exit::Refused, "{}", refused.out);
    assert_eq!(world.command(&[&["resume"], &at[..]].concat()).await.exit, Exit::Done);
    let month = ["--retention-days", "30"];
    let applied = world.command(&[&["apply", &file, "--yes"], &month[..], &at[..]].concat()).await;
    assert_eq!(applied.exit, Exit::Done, "{}{}", applied.out, applied.err);
    assert!(applied.out.contains("shared with the deployment"), "{}", applied.out);
    let dynamodb = aws_sdk_dynamodb::Client::new(&world.emulator.sdk_config(ACCOUNT, REGION));
    let found = dynamodb.scan().table_name("team-audit").send().await.unwrap();
    let fixed = found.items().iter().filter(|item| item["stage"].as_s().unwrap() == "verified");
    let expires: Vec<i64> = fixed.map(|item| item["expires"].as_n().unwrap().parse().unwrap()).collect();
    let month = jiff::Timestamp::now().as_second() + 30 * 86_400;
    assert!(!expires.is_empty() && expires.iter().all(|at| (month - *at).abs() < 3_600), "{expires:?}");
    // Another folder knows nothing of it; the deployment's tables do.
    assert!(world.command(&["undo", &file, "--yes"]).await.out.contains("nothing to undo"));
    let history = world.command(&[&["history"], &at[..]].concat()).await;
    assert!(history.out.contains("every chain of records is whole"), "{}{}", history.out, history.err);
    let undone = world.command(&[&["undo", &file, "--yes"], &at[..]].concat()).await;
    assert_eq!(undone.exit, Exit::Done, "{}{}", undone.out, undone.err);
    assert_eq!(world.versioning().await.as_deref(), Some("Suspended"));
    let gone = world.command(&["plan", &file, "--deployment", "nobody"]).await;
    assert_eq!(gone.exit, Exit::Refused, "{}{}", gone.out, gone.err);
}

#[tokio::test]
async fn a_deployment_is_changed_by_its_own_rules_and_within_its_ceiling() {
    let world = World::new().await;
    world.deploy("team").await;
    let file = world.file("finding.json", &world.finding("S3.14").asff().to_string());
    let apply = ["apply", &file, "--yes"];
    let team = [&apply[..], &["--deployment", "team"]].concat();
    let tables = [&apply[..], &["--state-table", "team-state", "--audit-table", "team-audit"]].concat();
    let hash = RuleSet::builtin().unwrap().hash;
    let own: &str = &hash;
    let refused = async |args: &[&str], exit: Exit, parts: &[&str]| {
        let ended = world.command(args).await;
        assert_eq!(ended.exit, exit, "{args:?}: {}{}", ended.out, ended.err);
        for part in parts {
            assert!(ended.err.contains(part), "{args:?}: {part}: {}", ended.err);
        }
        assert_eq!(world.versioning().await, None, "{args:?}");
    };
    refused(&team, Exit::Input, &["there is no function `team-dispatcher`"]).await;
    refused(&tables, Exit::Input, &["--rules", "--deployment"]).await;
    let variables = |ceiling: &str, hash: &str| {
        function(&world.emulator, "team", &[("REDRESS_CEILING", ceiling), ("REDRESS_RULES_HASH", hash)]);
    };
    variables("apply", "0123456789abcdef");
    refused(&team, Exit::Input, &["0123456789abcdef", own, "--rules"]).await;
    for ceiling in ["plan", "off", ""] {
        variables(ceiling, own);
        let least = if ceiling.is_empty() { "plan" } else { ceiling };
        refused(&team, Exit::Refused, &[&format!("the deployment's ceiling is `{least}`")]).await;
    }
    variables("apply", own);
    let done = world.command(&team).await;
    assert_eq!(done.exit, Exit::Done, "{}{}", done.out, done.err);
    assert_eq!(world.versioning().await.as_deref(), Some("Enabled"));
}

/// Neither an old file nor the records know what people have written on a finding since.
#[tokio::test]
async fn what_people_have_written_on_a_finding_stays_there() {
    let world = World::new().await;
    let finding = world.finding("S3.14");
    world.hub.import_as_aws([finding.asff()]).unwrap();
    let file = world.file("finding.json", &finding.asff().to_string());
    let made = world.command(&["apply", &file, "--yes", "--format", "json"]).await;
    assert_eq!(made.exit, Exit::Done, "{}{}", made.out, made.err);
    let run = json_of(&made)["items"][0]["run"].as_str().unwrap().to_owned();
    let hub = aws_sdk_securityhub::Client::new(&world.emulator.sdk_config(ACCOUNT, REGION));
    let product = finding.asff()["ProductArn"].as_str().unwrap().to_owned();
    let id = AwsSecurityFindingIdentifier::builder().id(finding.id()).product_arn(product).build();
    let write = async |text: &str| {
        let note = NoteUpdate::builder().text(text).updated_by("an analyst").build();
        let written = hub.batch_update_findings().finding_identifiers(id.clone()).note(note);
        written.user_defined_fields("ticket", "T-1").send().await.unwrap();
    };
    write("accepted until June").await;
    for args in [&["undo", "--run", &run, "--yes", "--report"][..], &["apply", &file, "--yes", "--report"]] {
        let ended = world.command(args).await;
        assert_eq!(ended.exit, Exit::Done, "{args:?}: {}{}", ended.out, ended.err);
        let stored = world.hub.finding(&finding.id()).unwrap();
        let note = stored["Note"]["Text"].as_str().unwrap();
        assert!(note.contains("an analyst: accepted until June"), "{args:?}: {stored:#}");
        assert_eq!(stored["UserDefinedFields"]["ticket"], "T-1", "{args:?}: {stored:#}");
        assert!(stored["UserDefinedFields"]["redress_run"].is_string(), "{args:?}: {stored:#}");
    }
    // No record has a note that there is no room for behind the word that nothing was to be done.
    let long = format!("accepted {}", "and accepted ".repeat(35));
    write(&long).await;
    let ended = world.command(&["apply", "--control", "S3.14", "--yes", "--report"]).await;
    assert!(ended.out.contains("1 compliant"), "{}{}", ended.out, ended.err);
    let stored = world.hub.finding(&finding.id()).unwrap();
    assert_eq!(stored["Note"]["Text"], long, "{stored:#}");
    assert_eq!(stored["UserDefinedFields"]["ticket"], "T-1", "{stored:#}");
    // Where it can't be seen what stands there, nothing is put in its place.
    world.hub.fail_next("GetFindings", 403, "AccessDeniedException", 9);
    let before = world.hub.finding(&finding.id());
    let undone = world.command(&["undo", &file, "--yes", "--report"]).await;
    assert_eq!(undone.exit, Exit::Failed, "{}{}", undone.out, undone.err);
    assert!(undone.out.contains("1 undone"), "{}{}", undone.out, undone.err);
    assert!(undone.err.contains("findings can't be read"), "{}{}", undone.out, undone.err);
    assert_eq!(world.hub.finding(&finding.id()), before);
}

/// Nobody may take the end of the reader for the command's success.
#[tokio::test]
async fn a_reader_that_is_gone_does_not_make_a_failure_a_success() {
    let world = World::new().await;
    let file = world.file("finding.json", &world.finding("S3.14").asff().to_string());
    let cut = async |args: &[&str], read| cut_short(&world.emulator, &world.dir, args, read).await;
    for args in [&["apply", &file, "--yes"][..], &["plan", &file, "--detailed-exitcode"]] {
        let ended = cut(args, 10).await;
        assert_eq!(ended.exit, Exit::Failed, "{args:?}: {}", ended.err);
        assert!(!ended.err.is_empty(), "{args:?}");
        assert_eq!(world.versioning().await, None);
    }
    for args in [&["controls"][..], &["explain", "S3.14"], &["history"]] {
        let ended = cut(args, 10).await;
        assert_eq!((ended.exit, ended.err.as_str()), (Exit::Done, ""), "{args:?}");
    }
}

#[tokio::test]
async fn bad_input_is_named_in_a_line_and_ends_with_its_code() {
    let world = World::new().await;
    let good = world.finding("S3.14").asff();
    let mut empty = good.clone();
    empty.as_object_mut().unwrap().remove("Resources");
    let gone = world.finding("S3.14").resource("AwsS3Bucket", "arn:aws:s3:::no-such-bucket-anywhere").asff();
    let foreign = world.finding("S3.14").account("999999999999").asff();
    let nested = format!("{}{}", "[".repeat(500_000), "]".repeat(500_000));
    let binary = world.dir.join("binary");
    std::fs::write(&binary, [0u8, 159, 146, 150]).unwrap();
    let rules = |text: &str| world.file("rules.yaml", text);
    let text = good.to_string();
    let file = world.file("good.json", &text);
    let cut = world.file("cut.json", text.get(..text.len() / 2).unwrap());
    let nested = world.file("nested.json", &nested);
    let empty = world.file("empty.json", &empty.to_string());
    let gone = world.file("gone.json", &gone.to_string());
    let foreign = world.file("foreign.json", &foreign.to_string());
    let binary = binary.display().to_string();
    for (args, exit, what) in [
        (vec!["plan", cut.as_str()], Exit::Input, "cut.json"),
        (vec!["plan", &nested], Exit::Input, "nested.json"),
        (vec!["plan", &binary], Exit::Input, "not UTF-8"),
        (vec!["plan", "/no/such/file"], Exit::Input, "/no/such/file"),
        (vec!["plan", &empty], Exit::Input, "Resources"),
        (vec!["plan", &gone], Exit::Done, "does not exist"),
        (vec!["plan", &foreign], Exit::Denied, "a role is needed"),
        (vec!["plan"], Exit::Input, "no findings"),
        (vec!["plan", "--control", "nonsense"], Exit::Input, "`nonsense`"),
        (vec!["plan", "--account", "12"], Exit::Input, "`12`"),
        (vec!["plan", &file, "--timeout", "soon"], Exit::Input, "soon"),
        (vec!["undo"], Exit::Input, "nothing to undo is named"),
        (vec!["undo", "--run", "no-such-run"], Exit::Input, "no-such-run"),
        (vec!["history", "--run", "no-such-run"], Exit::Input, "no-such-run"),
        (vec!["history", "--resource", "logs"], Exit::Input, "logs"),
        (vec!["explain", "S3.9999x"], Exit::Input, "`S3.9999x` is neither"),
        (vec!["explain", "S3.9999"], Exit::Input, "`redress controls --all`"),
        (vec!["explain", "s3.enable_version"], Exit::Input, "did you mean `s3.enable_versioning`?"),
        (vec!["policy", "s3.nope"], Exit::Input, "`s3.nope`; none of the "),
        (vec!["apply", &file, "--format", "json"], Exit::Input, "--yes"),
        (vec!["rules", "check", "/no/such/rules"], Exit::Input, "/no/such/rules"),
        (vec!["nonsense"], Exit::Input, "nonsense"),
    ] {
        let ended = world.command(&args).await;
        let said = format!("{}{}", ended.out, ended.err);
        assert_eq!(ended.exit, exit, "{args:?}: {said}");
        assert!(said.contains(what), "{args:?}: {said}");
        if ended.err.starts_with("redress: ") {
            assert_eq!(ended.err.matches('\n').count(), 1, "{args:?}: {}", ended.err);
        }
    }
    let rule = "rules: [{ name: x, control: S3.14, remediator: s3.enable_versioning";
    for (text, what) in [
        (format!("{rule}, colour: red }}]"), "colour"),
        (format!("{rule}, when: {{ Severity: {{ Label: HIGH }} }} }}]"), "when"),
        ("rules: [{ name: x, control: S3.14, remediator: s3.nope }]".to_owned(), "s3.nope"),
        ("rules: [".to_owned(), "rules.yaml"),
    ] {
        let path = rules(&text);
        for args in [vec!["rules", "check", &path], vec!["plan", &file, "--rules", &path]] {
            let ended = world.command(&args).await;
            assert_eq!(ended.exit, Exit::Input, "{}{}", ended.out, ended.err);
            assert!(ended.err.contains("rules.yaml") && ended.err.contains(what), "{}", ended.err);
            assert_eq!(ended.err.matches('\n').count(), 1, "{}", ended.err);
        }
    }
    world.emulator.on_call(Arc::new(|call| (call.service == "s3").then_some(Fault::Denied)));
    let denied = world.command(&["plan", &file]).await;
    assert_eq!(denied.exit, Exit::Denied, "{}", denied.out);
    assert!(denied.out.contains("denied: ") && denied.out.contains("AccessDenied"), "{}", denied.out);
}

#[tokio::test]
async fn what_a_plan_prints() {
    let world = World::new().await;
    let page = json!([
        world.finding("S3.14").asff(),
        world.finding("EC2.13").asff(),
        world.finding("EC2.12").asff(),
        world.finding("EC2.9").asff(),
    ]);
    let file = world.file("findings.json", &page.to_string());
    let text = world.command(&["plan", &file]).await;
    let json = world.command(&["plan", &file, "--format", "json"]).await;
    let hash = json_of(&json)["rules"]["hash"].as_str().unwrap().to_owned();
    let plain = |text: &str| {
        let made = &world.made;
        let mut text = text.replace(&hash, "RULES");
        let seen = "first seen unused at ";
        while let Some(at) = text.find(&format!("{seen}2")) {
            let time = at + seen.len();
            text.replace_range(time..time + "2026-11-23 10:23 UTC".len(), "TIME");
        }
        let dir = world.dir.display().to_string();
        settled(&text)
            .replace(&dir, "DIR")
            .replace(&made.group, "sg-GROUP")
            .replace(&made.allocation, "eipalloc-ADDRESS")
            .replace(&made.address, "ADDRESS")
            .replace(&made.rules.open_ssh, "sgr-SSH")
    };
    snapshot("plan.txt", &plain(&text.out));
    snapshot("plan.json", &plain(&json.out));
    let role = world.command(&["plan", &file, "--role", "redress-member"]).await;
    assert!(role.out.contains("session policy of role redress-member"), "{}", role.out);
}

fn snapshot(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let known = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; make it with UPDATE_SNAPSHOTS=1", path.display()));
    assert!(known == text, "{} is otherwise now:\n{text}", path.display());
}

#[tokio::test]
async fn the_demo_ends_well() {
    let world = World::new().await;
    let ended = world.command(&["demo"]).await;
    assert_eq!(ended.exit, Exit::Done, "{}\n{}", ended.out, ended.err);
}

/// A control that no remediator serves, and the runbook of a rule.
#[tokio::test]
async fn a_runbook_is_shown_run_and_recorded() {
    const FIRST: &str = "00000000-0000-4000-8000-000000000001";
    let world = World::new().await;
    let ssm = aws_sdk_ssm::Client::new(&world.emulator.sdk_config(ACCOUNT, REGION));
    let content = json!({
        "schemaVersion": "0.3",
        "parameters": {
            "AutomationAssumeRole": { "type": "String" },
            "StreamArn": { "type": "String" },
            "KeyId": { "type": "String" },
        },
        "mainSteps": [{ "name": "wait", "action": "aws:sleep", "inputs": { "Duration": "PT1S" } }],
        "outputs": ["encrypt.Status"],
    });
    let document = ssm.create_document().name("Team-EncryptStream").content(content.to_string());
    document.document_type(aws_sdk_ssm::types::DocumentType::Automation).send().await.unwrap();
    world.emulator.forget_calls();
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/../rules/examples/runbook.yaml");
    let stream = format!("arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/orders");
    let finding = ControlFinding::new("Kinesis.1").account(ACCOUNT).region(REGION);
    let finding = finding.resource("AwsKinesisStream", &stream).asff().to_string();
    let file = world.file("finding.json", &finding);

    let planned = world.command(&["plan", "--rules", rules, &file]).await;
    assert_eq!(planned.exit, Exit::Done, "{}{}", planned.out, planned.err);
    for part in [
        "document=Team-EncryptStream",
        "StreamArn",
        &stream,
        &format!("arn:aws:iam::{ACCOUNT}:role/redress/runbook-streams"),
        "risk cost",
        "can't take it back",
    ] {
        assert!(planned.out.contains(part), "{part}: {}", planned.out);
    }
    assert_eq!(world.writes(), Vec::<String>::new());

    let applied = world.command(&["apply", "--yes", "--rules", rules, &file]).await;
    assert_eq!(applied.exit, Exit::Done, "{}{}", applied.out, applied.err);
    let said = format!("done, as AWS says: execution `{FIRST}` has ended as `Success`; encrypt.Status = ok");
    assert!(applied.out.contains(&said), "{}", applied.out);
    assert_eq!(world.writes(), ["StartAutomationExecution"]);
    let found = ssm.describe_automation_executions().send().await.unwrap();
    let [execution] = found.automation_execution_metadata_list() else { panic!("{found:?}") };
    assert_eq!(execution.automation_execution_id(), Some(FIRST));
    let key = format!("aws/{ACCOUNT}/{REGION}/Other/{stream}");
    let history = world.command(&["history", "--format", "json", "--resource", &key]).await;
    let run = json_of(&history)["runs"][0]["run"].as_str().unwrap().to_owned();
    let shown = world.command(&["history", "--run", &run]).await;
    for part in ["done, as AWS says", FIRST, "encrypt.Status = ok", "ssm:StartAutomationExecution 200"] {
        assert!(shown.out.contains(part), "{part}: {}", shown.out);
    }

    // Once is enough, and there is no way back.
    let again = world.command(&["apply", "--yes", "--rules", rules, &file]).await;
    assert_eq!(again.exit, Exit::Done, "{}{}", again.out, again.err);
    assert!(again.out.contains("is not run on the resource again until then"), "{}", again.out);
    let undone = world.command(&["undo", "--yes", "--run", &run]).await;
    assert_eq!(undone.exit, Exit::Refused, "{}{}", undone.out, undone.err);
    assert!(undone.out.contains("can't be taken back"), "{}", undone.out);
    assert_eq!(world.writes(), ["StartAutomationExecution"]);
}
