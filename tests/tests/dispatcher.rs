//! The real dispatcher, against emulators outside its process: every claim is read from the resource, the
//! audit table, Security Hub and the outcome queue, never from the function's own output.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use redress_router::audit::Stage;
use redress_sandbox::findings::{ControlFinding, Standard};
use redress_tests::{
    deployment::{ACCOUNT, Deployment, REGION},
    hold_proxy::Target,
    runtime_api::{Function, Outcome},
    sqs_poller::Poller,
};
use serde_json::{Value, json};

const AUTOMATIC: &str = "
rules:
  - name: s3-versioning
    control: S3.14
    remediator: s3.enable_versioning
    automatic: apply
    on_request: apply
    action: TurnOnS3Versioning
";

fn key(bucket: &str) -> String {
    format!("aws/{ACCOUNT}/{REGION}/AwsS3Bucket/{bucket}")
}

fn control_finding(bucket: &str) -> ControlFinding {
    ControlFinding::new("S3.14")
        .resource("AwsS3Bucket", &format!("arn:aws:s3:::{bucket}"))
        .account(ACCOUNT)
        .region(REGION)
}

fn rules_file(text: &str) -> std::path::PathBuf {
    let dir = redress_tests::process::log_dir().unwrap();
    let path = dir.join(format!("rules-{}.yaml", uuid::Uuid::new_v4()));
    std::fs::write(&path, text).unwrap();
    path
}

async fn automatic(deployment: &Deployment) -> Function {
    deployment.function().unwrap().env("REDRESS_RULES", rules_file(AUTOMATIC)).start().await.unwrap()
}

fn writes(deployment: &Deployment) -> usize {
    let actions = deployment.proxy.actions();
    actions.iter().filter(|action| action.as_str() == "s3:PutBucketVersioning").count()
}

#[tokio::test]
async fn a_custom_action_fixes_s3_14() {
    let deployment = Deployment::start().await.unwrap();
    deployment.bucket("clicked").await.unwrap();
    let finding = control_finding("clicked");
    deployment.hub.import_as_aws([finding.asff()]).unwrap();
    deployment.hub.events();
    // No rules: those that are built in.
    let function = deployment.function().unwrap().start().await.unwrap();
    let event = deployment.hub.custom_action("RedressFix", &[&finding.id()]).unwrap().remove(0);
    let answer = function.invoke(&event).await.unwrap();
    assert!(answer.succeeded(), "{answer:?}\n{}", function.log());

    assert_eq!(deployment.versioning("clicked").await.unwrap().as_deref(), Some("Enabled"));
    let runs = deployment.runs(&key("clicked")).await.unwrap();
    assert_eq!(runs.len(), 1, "{runs:?}");
    let records = deployment.records(&runs[0].run).await.unwrap();
    let stages: Vec<Stage> = records.iter().map(|record| record.stage).collect();
    assert_eq!(stages, [Stage::Intent, Stage::Verified]);
    let written = deployment.hub.finding(&finding.id()).unwrap();
    let note = written["Note"]["Text"].as_str().unwrap();
    assert!(note.contains("fixed") && note.contains(&runs[0].run), "{note}");
    assert_eq!(written["Workflow"]["Status"], "NOTIFIED");
    assert_eq!(written["UserDefinedFields"]["redress_outcome"], "verified");
    let outcomes = deployment.outcomes().await.unwrap();
    assert_eq!(outcomes.len(), 1, "{outcomes:?}");
    assert_eq!(outcomes[0]["detail"]["class_uid"], 7001);
    assert_eq!(outcomes[0]["detail"]["command_uid"], Value::from(runs[0].run.clone()));

    // Exactly what docs/aws-calls.md lists; calls that are made together come in any order.
    let mut calls = deployment.proxy.actions();
    calls.sort();
    let documented = include_str!("../../docs/aws-calls.md");
    let listed = documented.lines().filter_map(|line| line.strip_prefix("| ")?.split('`').nth(1));
    let mut listed: Vec<String> = listed.map(str::to_owned).collect();
    listed.sort();
    assert_eq!(calls, listed);
    assert!(calls.len() <= 18, "{}", calls.len());

    // The update causes an imported event: it is dropped without a write of any kind.
    deployment.proxy.reset();
    let events = deployment.hub.events();
    let imported: Vec<_> =
        events.iter().filter(|event| event["detail-type"] == "Security Hub Findings - Imported").collect();
    assert_eq!(imported.len(), 1);
    assert!(function.invoke(imported[0]).await.unwrap().succeeded());
    assert_eq!(deployment.proxy.actions(), Vec::<String>::new());
}

#[tokio::test]
async fn an_imported_finding_fixes_itself_and_a_person_undoes_it() {
    let deployment = Deployment::start().await.unwrap();
    deployment.bucket("imported").await.unwrap();
    let finding = control_finding("imported");
    let event = deployment.hub.import_as_aws([finding.asff()]).unwrap().remove(0);
    let function = automatic(&deployment).await;
    assert!(function.invoke(&event).await.unwrap().succeeded(), "{}", function.log());
    assert_eq!(deployment.versioning("imported").await.unwrap().as_deref(), Some("Enabled"));

    // Security Hub sees it fixed; the undo comes to a process that knows nothing but the tables.
    deployment.hub.reevaluate(&finding.id(), redress_sandbox::findings::ComplianceStatus::Passed).unwrap();
    function.kill().await;
    let fresh = automatic(&deployment).await;
    let undo = || deployment.hub.custom_action("RedressUndo", &[&finding.id()]).unwrap().remove(0);
    assert!(fresh.invoke(&undo()).await.unwrap().succeeded());
    assert_eq!(deployment.versioning("imported").await.unwrap().as_deref(), Some("Suspended"));
    let before = writes(&deployment);
    assert!(fresh.invoke(&undo()).await.unwrap().succeeded());
    assert_eq!(writes(&deployment), before);
    let note = deployment.hub.finding(&finding.id()).unwrap()["Note"]["Text"].as_str().unwrap().to_owned();
    // Events tell their time to the second: a click within the second of the undo is an earlier one.
    assert!(note.contains("nothing to undo") || note.contains("has undone it since"), "{note}");

    // It fails again: the rule leaves it alone.
    deployment.hub.events();
    deployment.hub.reevaluate(&finding.id(), redress_sandbox::findings::ComplianceStatus::Failed).unwrap();
    for event in deployment.hub.events() {
        assert!(fresh.invoke(&event).await.unwrap().succeeded());
    }
    let runs = deployment.runs(&key("imported")).await.unwrap();
    assert_eq!(runs[0].stage, Stage::Held, "{runs:?}");
    assert_eq!(deployment.versioning("imported").await.unwrap().as_deref(), Some("Suspended"));
}

#[tokio::test]
async fn duplicates_in_eight_processes_make_one_change() {
    let deployment = Deployment::start().await.unwrap();
    deployment.bucket("eight").await.unwrap();
    let mut functions = Vec::new();
    for _ in 0..8 {
        functions.push(automatic(&deployment).await);
    }
    let finding = control_finding("eight");
    let event = deployment.hub.import_as_aws([finding.asff()]).unwrap().remove(0);
    for _ in 0..20 {
        deployment.queue.send(event.to_string());
    }
    for number in 0..20 {
        let other = control_finding("eight").number(100 + number);
        let other = match number % 5 {
            0 => deployment.hub.import_ocsf([other.ocsf()]),
            1 => deployment.hub.import_as_aws([other.asff_unconsolidated(Standard::ALL[0])]),
            2 => deployment.hub.import_as_aws([other.asff_unconsolidated(Standard::ALL[1])]),
            3 => deployment.hub.import_as_aws([other.asff_unconsolidated(Standard::ALL[2])]),
            _ => deployment.hub.import_as_aws([other.asff()]),
        };
        deployment.queue.send(other.unwrap().remove(0).to_string());
    }
    Poller::new(&deployment.queue, functions).batch_size(1).drain().await.unwrap();
    assert_eq!(writes(&deployment), 1);
    assert!(deployment.queue.dead_letters().is_empty(), "{:?}", deployment.queue.dead_letters());
    assert_eq!(deployment.versioning("eight").await.unwrap().as_deref(), Some("Enabled"));
    let runs = deployment.runs(&key("eight")).await.unwrap();
    assert_eq!(runs.iter().filter(|run| run.stage == Stage::Verified).count(), 1, "{runs:?}");
    assert!(runs.iter().all(|run| matches!(run.stage, Stage::Verified | Stage::Compliant | Stage::Skipped)));
    assert!(runs.len() >= 21, "every finding has an outcome: {}", runs.len());
}

/// Findings of one bucket come in one batch, in the wrong order: the bucket has no versions yet that a lifecycle rule
/// could be for.
#[tokio::test]
async fn findings_of_one_resource_are_handled_in_their_order() {
    const BOTH: &str = "
rules:
  - name: lifecycle
    control: S3.10
    remediator: s3.add_lifecycle_rule
    automatic: apply
    max_risk: loss
  - name: versioning
    control: S3.14
    remediator: s3.enable_versioning
    automatic: apply
";
    let deployment = Deployment::start().await.unwrap();
    let function =
        deployment.function().unwrap().env("REDRESS_RULES", rules_file(BOTH)).start().await.unwrap();
    for bucket in ["first", "second"] {
        deployment.bucket(bucket).await.unwrap();
    }
    for (control, bucket, number) in
        [("S3.10", "first", 0), ("S3.10", "second", 1), ("S3.14", "first", 2), ("S3.14", "second", 3)]
    {
        let finding = ControlFinding::new(control)
            .resource("AwsS3Bucket", &format!("arn:aws:s3:::{bucket}"))
            .account(ACCOUNT)
            .region(REGION)
            .number(number);
        let event = if number == 2 {
            deployment.hub.import_ocsf([finding.ocsf()])
        } else {
            deployment.hub.import_as_aws([finding.asff()])
        };
        deployment.queue.send(event.unwrap().remove(0).to_string());
    }
    let batches = Poller::new(&deployment.queue, [function]).drain().await.unwrap();
    assert_eq!(batches.len(), 1, "none came again");
    assert!(deployment.queue.dead_letters().is_empty());
    for bucket in ["first", "second"] {
        let runs = deployment.runs(&key(bucket)).await.unwrap();
        let runs: Vec<_> = runs.iter().map(|run| (run.stage, run.remediator.as_deref().unwrap())).collect();
        let newest_first =
            [(Stage::Verified, "s3.add_lifecycle_rule"), (Stage::Verified, "s3.enable_versioning")];
        assert_eq!(runs, newest_first, "{bucket}");
    }
}

#[tokio::test]
async fn a_cap_of_twenty_holds_in_eight_processes() {
    let deployment = Deployment::start().await.unwrap();
    let mut functions = Vec::new();
    for _ in 0..8 {
        functions.push(automatic(&deployment).await);
    }
    for number in 0..500 {
        let bucket = format!("capped-{number}");
        deployment.bucket(&bucket).await.unwrap();
        let event = deployment.hub.import_as_aws([control_finding(&bucket).asff()]).unwrap().remove(0);
        deployment.queue.send(event.to_string());
    }
    Poller::new(&deployment.queue, functions).drain().await.unwrap();
    assert!(deployment.queue.dead_letters().is_empty());
    let mut enabled = 0;
    let mut refused = 0;
    for number in 0..500 {
        let bucket = format!("capped-{number}");
        enabled += usize::from(deployment.versioning(&bucket).await.unwrap().is_some());
        let runs = deployment.runs(&key(&bucket)).await.unwrap();
        if runs[0].stage == Stage::Refused {
            let records = deployment.records(&runs[0].run).await.unwrap();
            let reason = records[0].reason.clone().unwrap();
            assert!(reason.contains("has made its 20 automatic changes of this hour"), "{reason}");
            refused += 1;
        }
    }
    // An hour of the clock may end within the test: then there are two hours of twenty.
    assert!((enabled, refused) == (20, 480) || (enabled, refused) == (40, 460), "{enabled}, {refused}");
}

/// SIGKILL before and after every call in turn; another process, with only the tables, ends with the right
/// state, exactly one verified record, no open intent; and undo restores.
#[tokio::test]
async fn a_killed_dispatcher_is_settled_by_the_next() {
    let deployment = Deployment::start().await.unwrap();
    // A clean run says how many calls there are.
    deployment.bucket("clean").await.unwrap();
    let finding = control_finding("clean");
    let event = deployment.hub.import_as_aws([finding.asff()]).unwrap().remove(0);
    let bootstrap = || {
        deployment
            .function()
            .unwrap()
            .env(
                "REDRESS_RULES",
                rules_file(
                    &AUTOMATIC
                        .replace("action:", "limits: { per_hour: 9999, per_day: 9999 }\n    action:")
                        .replace("rules:", "account_limits: { per_hour: 9999, per_day: 9999 }\nrules:"),
                ),
            )
            // A lease lasts a minute past its holder's deadline: the next process comes after that.
            .timeout(Duration::from_secs(8))
    };
    let function = bootstrap().start().await.unwrap();
    deployment.proxy.reset();
    assert!(function.invoke(&event).await.unwrap().succeeded(), "{}", function.log());
    let calls = deployment.proxy.actions();
    function.kill().await;

    let mut sweeps = Vec::new();
    for (number, after) in (1..=calls.len()).flat_map(|number| [(number, false), (number, true)]) {
        let bucket = format!("killed-{number}-{after}");
        deployment.bucket(&bucket).await.unwrap();
        let finding = control_finding(&bucket);
        let event = deployment.hub.import_as_aws([finding.asff()]).unwrap().remove(0);
        deployment.proxy.reset();
        let target = Target::Number(number);
        let hold =
            if after { deployment.proxy.hold_after(target) } else { deployment.proxy.hold_before(target) };
        let function = bootstrap().start().await.unwrap();
        let invoked = tokio::spawn({
            let (function, event) = (function.clone(), event.clone());
            async move { function.invoke(&event).await }
        });
        // Calls that go out together come in any order; a run may also be through before the last number.
        if let Ok(held) = hold.reached(Duration::from_secs(20)).await {
            function.kill().await;
            held.discard();
        }
        let answer = invoked.await.unwrap().unwrap();
        assert!(
            matches!(answer.outcome, Outcome::Exited(_) | Outcome::Response(_)),
            "{bucket}: {answer:?}\n{}",
            function.log()
        );
        deployment.proxy.settled(Duration::from_secs(20)).await.unwrap();
        sweeps.push((bucket, finding, event));
    }
    // All leases of the killed run out at about the same time.
    tokio::time::sleep(Duration::from_secs(70)).await;
    deployment.proxy.reset();
    let next = bootstrap().start().await.unwrap();

    // What is settled without its event leaves what somebody has written on the finding meanwhile.
    for (_, finding, _) in &sweeps {
        let product = finding.asff()["ProductArn"].clone();
        let update = json!({
            "FindingIdentifiers": [{ "Id": finding.id(), "ProductArn": product }],
            "Note": { "Text": "accepted until June", "UpdatedBy": "an analyst" },
            "UserDefinedFields": { "ticket": "T-1" },
        });
        let signed =
            format!("AWS4-HMAC-SHA256 Credential={ACCOUNT}/20260101/{REGION}/securityhub/aws4_request");
        let request = http::Request::patch("/findings/batchupdate").header("authorization", signed);
        let request = request.body(update.to_string()).unwrap();
        let answer = deployment.hub.handle_request(&request);
        assert_eq!(answer.status(), 200, "{}", String::from_utf8_lossy(answer.body()));
    }
    let answer = next.invoke(&json!({ "redress": "recover" })).await.unwrap();
    assert!(answer.succeeded(), "{answer:?}\n{}", next.log());
    let mut settled = 0;
    for (bucket, finding, _) in &sweeps {
        let written = deployment.hub.finding(&finding.id()).unwrap();
        let text = written["Note"]["Text"].as_str().unwrap();
        assert!(text.contains("accepted until June"), "{bucket}: {text}");
        assert_eq!(written["UserDefinedFields"]["ticket"], "T-1", "{bucket}");
        settled += usize::from(text.starts_with("redress:"));
    }
    assert!(settled > 2, "{settled} of {}", sweeps.len());

    for (bucket, finding, event) in sweeps {
        let answer = next.invoke(&event).await.unwrap();
        assert!(answer.succeeded(), "{bucket}: {answer:?}\n{}", next.log());
        assert_eq!(deployment.versioning(&bucket).await.unwrap().as_deref(), Some("Enabled"), "{bucket}");
        let runs = deployment.runs(&key(&bucket)).await.unwrap();
        let verified: Vec<_> = runs.iter().filter(|run| run.stage == Stage::Verified).collect();
        assert_eq!(verified.len(), 1, "{bucket}: {runs:?}");
        let records = deployment.records(&verified[0].run).await.unwrap();
        assert!(records.last().unwrap().last);
        let leases = redress_router::store::Store::scan(&deployment.store(), "lease#").await.unwrap();
        assert!(
            !leases.iter().any(|(name, _)| name.ends_with(&format!("/{bucket}"))),
            "{bucket}: {leases:?}"
        );
        let undo = deployment.hub.custom_action("RedressUndo", &[&finding.id()]).unwrap().remove(0);
        assert!(next.invoke(&undo).await.unwrap().succeeded());
        assert_eq!(deployment.versioning(&bucket).await.unwrap().as_deref(), Some("Suspended"), "{bucket}");
    }
}

/// Forged and malformed findings change nothing, and end as a record or among the dead letters.
#[tokio::test]
async fn forged_and_malformed_messages_change_nothing() {
    let deployment = Deployment::start().await.unwrap();
    deployment.bucket("target").await.unwrap();
    let function = automatic(&deployment).await;
    let good = control_finding("target");
    let event = deployment.hub.import_as_aws([good.asff()]).unwrap().remove(0);
    let mut forged = event.clone();
    forged["detail"]["findings"][0]["ProductArn"] =
        Value::from(format!("arn:aws:securityhub:{REGION}:{ACCOUNT}:product/{ACCOUNT}/default"));
    let mut elsewhere = event.clone();
    elsewhere["detail"]["findings"][0]["Resources"][0]["Id"] =
        Value::from("arn:aws:s3::999999999999:target".to_owned());
    let mut headless = event.clone();
    headless["detail"]["findings"][0].as_object_mut().unwrap().remove("Resources");
    deployment.queue.send(forged.to_string());
    deployment.queue.send(elsewhere.to_string());
    deployment.queue.send(headless.to_string());
    deployment.queue.send(event.to_string()[..900].to_owned());
    deployment.queue.send("[".repeat(200_000));
    deployment.queue.send("\u{1b}[31mnot json");
    Poller::new(&deployment.queue, [function.clone()]).drain().await.unwrap();
    assert_eq!(writes(&deployment), 0);
    assert_eq!(deployment.versioning("target").await.unwrap(), None);
    let dead = deployment.queue.dead_letters();
    assert_eq!(dead.len(), 4, "{dead:?}");
    for letter in &dead {
        let reason = letter.attributes["reason"]["StringValue"].as_str().unwrap();
        assert!(!reason.is_empty() && !reason.contains('\u{1b}') && !reason.contains('\n'), "{reason}");
    }
    let account = redress_router::store::Index::Account(ACCOUNT);
    let runs = redress_router::store::Store::runs(&deployment.store(), account, 100).await.unwrap();
    assert_eq!(runs.iter().filter(|run| run.stage == Stage::Refused).count(), 2, "{runs:?}");
    // The same process goes on.
    deployment.queue.send(event.to_string());
    Poller::new(&deployment.queue, [function]).drain().await.unwrap();
    assert_eq!(deployment.versioning("target").await.unwrap().as_deref(), Some("Enabled"));
}

/// Without tables, rules or roles it still answers every event, and writes nothing.
#[tokio::test]
async fn without_settings_it_plans() {
    let deployment = Deployment::start().await.unwrap();
    deployment.bucket("bare").await.unwrap();
    let finding = control_finding("bare");
    let event = deployment.hub.import_as_aws([finding.asff()]).unwrap().remove(0);
    let bare =
        redress_tests::runtime_api::Bootstrap::new(redress_tests::deployment::binary("dispatcher").unwrap())
            .aws(&deployment.proxy.url(), ACCOUNT, "secret")
            .place(ACCOUNT, REGION);
    let function = bare.start().await.unwrap();
    let click = deployment.hub.custom_action("RedressFix", &[&finding.id()]).unwrap().remove(0);
    for event in [event, click] {
        assert!(function.invoke(&event).await.unwrap().succeeded(), "{}", function.log());
    }
    assert_eq!(deployment.versioning("bare").await.unwrap(), None);
    assert!(function.log().contains("\\\"stage\\\":\\\"planned\\\""), "{}", function.log());
}
