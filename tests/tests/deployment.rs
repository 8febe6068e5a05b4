//! The deployment that `terraform/` describes, made in ministack with IAM enforced, from those sources and no
//! others: events go in where AWS puts them, and everything is read where its users would look.
//!
//! Left out, because ministack lacks it: the archive (Firehose), X-Ray, reserved concurrency; it mounts no layers
//! for functions of a provided runtime, so that the layer's archive is unpacked beside it; and it knows no source
//! identity, which the member role's trust therefore does not ask for (`testing`). `s3.require_tls` is not among the
//! fixes: ministack speaks plain HTTP and enforces the policy that the fix makes, so that nothing can be read after
//! it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use redress_remediators::{Access, find};
use redress_router::{
    audit::{Record, Stage, verify_run},
    store::{Index, Store as _, dynamodb::DynamoDb},
};
use redress_sandbox::{
    findings::{ComplianceStatus, ControlFinding},
    securityhub::SecurityHub,
    serve,
};
use redress_tests::{
    applier::{Applier, packages},
    aws_call::AwsError,
    background,
    deployment::sdk_config,
    hold_proxy::{Call, HoldProxy, Target, Upstreams},
    ministack::{Ministack, Options},
    terraform::{Configuration, Evaluated, binary, folder},
};
use serde_json::{Value, json};

const ADMINISTRATOR: &str = "123456789012";
const WORKLOAD: &str = "111122223333";
const REGION: &str = "eu-west-1";
const SOURCE: &str = "test.securityhub";

const RULES: &str = "
rules:
  - name: versioning
    control: S3.14
    remediator: s3.enable_versioning
    automatic: apply
  - name: lifecycles-of-sandboxes
    control: S3.13
    remediator: s3.add_lifecycle_rule
    when:
      AwsAccountName: [sandbox]
    automatic: apply
  - name: public-buckets
    control: [S3.2, S3.3, S3.8]
    remediator: s3.block_public_access
    automatic: apply
    max_risk: access
  - name: ssh
    control: [EC2.13]
    remediator: ec2.restrict_ingress
    params:
      wide: split
    automatic: apply
    max_risk: access
";

/// The organization's example, deployed: the function in one account, what it changes in another.
struct World {
    ministack: Ministack,
    hub: SecurityHub,
    proxy: HoldProxy,
    applier: Arc<Applier>,
    made: Evaluated,
    _dir: Folder,
    _hub: serve::Server,
}

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("redress-deployment-{}", uuid::Uuid::new_v4()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What Lambda does with a layer.
fn mount(layer: &str, to: &Path) {
    let mut archive = zip::ZipArchive::new(fs::File::open(layer).unwrap()).unwrap();
    for index in 0..archive.len() {
        let mut file = archive.by_index(index).unwrap();
        let target = to.join(file.enclosed_name().unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        fs::write(target, text).unwrap();
    }
}

impl World {
    async fn new() -> Self {
        let ministack =
            Options::default().auth().account(ADMINISTRATOR).region(REGION).start().await.unwrap();
        let hub = SecurityHub::new();
        hub.set_administrator(ADMINISTRATOR, [WORKLOAD]);
        let handler = hub.clone();
        let server = serve::Server::start(move |request: http::Request<bytes::Bytes>| {
            handler.handle_request(&request)
        })
        .await
        .unwrap();
        let upstreams = Upstreams::to(ministack.url()).service("securityhub", server.url());
        let proxy = HoldProxy::start(upstreams).unwrap();
        let dir = Folder::new();
        fs::create_dir_all(dir.0.join("rules")).unwrap();
        fs::write(dir.0.join("rules/rules.yaml"), RULES).unwrap();

        let accounts = [("aws", ADMINISTRATOR), ("aws.workload", WORKLOAD)];
        let (url, hub_url) = (ministack.url().to_owned(), server.url());
        let (endpoint, folder_of) = (proxy.url(), dir.0.clone());
        let (applier, made) = background::blocking(move || {
            let applier = Applier::start(&url, &hub_url, REGION, &accounts)?;
            let redress = json!({
                "ceiling": "apply",
                "rules": folder_of.join("rules"),
                "packages": packages()?,
                "deletion_protection": false,
                "testing": { "event_source": SOURCE },
                "environment": {
                    "AWS_ENDPOINT_URL": endpoint,
                    "REDRESS_RULES": folder_of.join("opt/rules"),
                },
            });
            let made = Configuration::new(folder().join("examples/organization"), &folder_of)
                .variable("region", REGION)
                .variable("workload_account", WORKLOAD)
                .variable("external_id", "an-id-of-ours")
                .variable("alarm_emails", json!(["security@example.com"]))
                .module("redress", redress)
                .module("administrator", json!({ "testing": true }))
                .module("workload", json!({ "testing": true }))
                .evaluate(&applier)?;
            Ok((Arc::new(applier), made))
        })
        .await
        .unwrap_or_else(|error| panic!("{error}"));
        let layer = made.of("aws_lambda_layer_version").next().unwrap();
        mount(layer.text("filename").unwrap(), &dir.0.join("opt"));
        Self { ministack, hub, proxy, applier, made, _dir: dir, _hub: server }
    }

    /// A call as the root of an account.
    async fn call(&self, account: &str, service: &str, operation: &str, arguments: Value) -> Value {
        let applier = Arc::clone(&self.applier);
        let (account, service, operation) = (account.to_owned(), service.to_owned(), operation.to_owned());
        let answer =
            background::blocking(move || applier.call(&account, &service, &operation, &arguments)).await;
        Value::Object(answer.unwrap_or_else(|error| panic!("{error}")))
    }

    /// Puts what Security Hub sends to the administrator's bus there, as events of the source that the patterns
    /// take here.
    async fn send(&self, events: &[Value]) {
        let entries: Vec<Value> = events
            .iter()
            .filter(|event| event["account"] == ADMINISTRATOR)
            .map(|event| {
                json!({
                    "Source": SOURCE,
                    "DetailType": event["detail-type"],
                    "Resources": event["resources"],
                    "Detail": event["detail"].to_string(),
                })
            })
            .collect();
        let sent = self.call(ADMINISTRATOR, "events", "put_events", json!({ "Entries": entries })).await;
        assert_eq!(sent["FailedEntryCount"], 0, "{sent}");
    }

    /// Sends the event of a finding, changed in what Security Hub itself adds to it or has it say later.
    async fn imported(&self, finding: &ControlFinding, change: impl Fn(&mut Value)) {
        let mut events = self.hub.import_as_aws([finding.asff()]).unwrap();
        for event in &mut events {
            change(&mut event["detail"]["findings"][0]);
        }
        self.send(&events).await;
    }

    async fn bucket(&self, name: &str) {
        let place = json!({ "Bucket": name, "CreateBucketConfiguration": { "LocationConstraint": REGION } });
        self.call(WORKLOAD, "s3", "create_bucket", place).await;
    }

    async fn versioning(&self, bucket: &str) -> Option<String> {
        let found = self.call(WORKLOAD, "s3", "get_bucket_versioning", json!({ "Bucket": bucket })).await;
        found["Status"].as_str().map(str::to_owned)
    }

    fn store(&self) -> DynamoDb {
        let aws = sdk_config(self.ministack.url(), ADMINISTRATOR);
        let client = aws_sdk_dynamodb::Client::new(&aws);
        DynamoDb::new(client, "redress-state", "redress-audit", 400, Arc::new(Timestamp::now))
    }

    /// The last record of the newest run on a resource.
    async fn last(&self, key: &str) -> Option<Record> {
        let store = self.store();
        let run = store.runs(Index::Resource(key), 1).await.unwrap().into_iter().next()?;
        let lines = store.run(&run.run).await.unwrap();
        verify_run(lines.iter().map(String::as_str)).unwrap().pop()
    }

    async fn ended(&self, key: &str) -> Option<Stage> {
        self.last(key).await.map(|record| record.stage)
    }

    /// How often the function was run.
    async fn invocations(&self) -> usize {
        let group = json!({ "logGroupName": "/aws/lambda/redress-dispatcher" });
        let found = self.call(ADMINISTRATOR, "logs", "filter_log_events", group).await;
        let events = found["events"].as_array().unwrap();
        events.iter().filter(|event| event["message"].as_str().unwrap().starts_with("START ")).count()
    }

    /// All that the tables hold.
    async fn tables(&self) -> Vec<Value> {
        let mut tables = Vec::new();
        for table in ["redress-state", "redress-audit"] {
            let found = self.call(ADMINISTRATOR, "dynamodb", "scan", json!({ "TableName": table })).await;
            tables.push(found["Items"].clone());
        }
        tables
    }
}

fn key(bucket: &str) -> String {
    format!("aws/{WORKLOAD}/{REGION}/AwsS3Bucket/{bucket}")
}

fn finding(control: &str, bucket: &str) -> ControlFinding {
    ControlFinding::new(control)
        .resource("AwsS3Bucket", &format!("arn:aws:s3:::{bucket}"))
        .account(WORKLOAD)
        .region(REGION)
}

/// Waits until it is so.
async fn until<F: Future<Output = bool>>(what: &str, patience: Duration, mut so: impl FnMut() -> F) {
    let start = Instant::now();
    while !so().await {
        assert!(start.elapsed() < patience, "not within {patience:?}: {what}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

const PATIENCE: Duration = Duration::from_mins(2);

/// Long enough for an event to be handled, if anybody takes it.
const PAUSE: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_finding_of_another_account_is_fixed_told_and_undone() {
    let world = World::new().await;
    world.bucket("app-logs").await;
    let finding = finding("S3.14", "app-logs");
    world.imported(&finding, |_| ()).await;
    until("fixed", PATIENCE, async || world.ended(&key("app-logs")).await == Some(Stage::Verified)).await;
    assert_eq!(world.versioning("app-logs").await.as_deref(), Some("Enabled"));
    let record = world.last(&key("app-logs")).await.unwrap();
    let function = world.made.at("module.redress.aws_lambda_function.dispatcher").unwrap();
    let variables = &function.arguments["environment"][0]["variables"];
    assert_eq!(variables["REDRESS_RULES_HASH"], record.subject.rules_hash.as_str());
    until("told", PATIENCE, async || {
        let written = world.hub.finding(&finding.id()).unwrap();
        written["Workflow"]["Status"] == "NOTIFIED" && written["Note"]["Text"].to_string().contains("fixed")
    })
    .await;
    // The change was made in the other account, by the role there.
    let assumed = world.proxy.calls().into_iter().find(|call| call.action() == "sts:AssumeRole").unwrap();
    let role = format!("arn:aws:iam::{WORKLOAD}:role/redress-remediator");
    assert_eq!(assumed.form("RoleArn"), Some(role));
    assert!(assumed.form("SourceIdentity").unwrap().starts_with("redress"));

    // Our own update of the finding is an event that no pattern takes.
    let before = world.invocations().await;
    let updates = world.hub.events();
    let ours: Vec<Value> =
        updates.into_iter().filter(|event| event.to_string().contains("NOTIFIED")).collect();
    assert!(!ours.is_empty());
    world.send(&ours).await;
    tokio::time::sleep(PAUSE).await;
    assert_eq!(world.invocations().await, before);

    // A person undoes it, after Security Hub has seen it fixed.
    world.hub.reevaluate(&finding.id(), ComplianceStatus::Passed).unwrap();
    let undo = world.hub.custom_action("RedressUndo", &[&finding.id()]).unwrap();
    world.send(&undo).await;
    until("undone", PATIENCE, async || world.ended(&key("app-logs")).await == Some(Stage::Undone)).await;
    assert_eq!(world.versioning("app-logs").await.as_deref(), Some("Suspended"));

    // What the schedule sends is understood.
    let recover = world.made.at("module.redress.aws_cloudwatch_event_target.recover").unwrap();
    let input = recover.text("input").unwrap();
    let call = json!({ "FunctionName": "redress-dispatcher", "Payload": input });
    let answer = world.call(ADMINISTRATOR, "lambda", "invoke", call).await;
    assert!(answer.get("FunctionError").is_none(), "{answer}");
}

#[tokio::test]
async fn what_no_rule_wants_never_runs_the_function() {
    let world = World::new().await;
    world.bucket("left-alone").await;
    let of = |control: &str| finding(control, "left-alone");
    world.imported(&of("S3.14").status(ComplianceStatus::Passed), |_| ()).await;
    world.imported(&of("S3.14"), |asff| asff["Workflow"]["Status"] = "SUPPRESSED".into()).await;
    world.imported(&of("S3.14"), |asff| asff["RecordState"] = "ARCHIVED".into()).await;
    // No rule names it; a rule does, for other accounts.
    world.imported(&of("S3.7"), |_| ()).await;
    world.imported(&of("S3.13"), |asff| asff["AwsAccountName"] = "production".into()).await;
    tokio::time::sleep(PAUSE).await;
    assert_eq!(world.invocations().await, 0);

    world.imported(&of("S3.13"), |asff| asff["AwsAccountName"] = "sandbox".into()).await;
    until("handled", PATIENCE, async || world.ended(&key("left-alone")).await.is_some()).await;
    let record = world.last(&key("left-alone")).await.unwrap();
    assert_eq!(record.stage, Stage::Verified, "{record:?}");
    assert_eq!(world.invocations().await, 1);
}

#[tokio::test]
async fn the_note_of_a_plan_is_one_run_without_a_write() {
    let world = World::new().await;
    world.bucket("planned").await;
    let finding = finding("S3.14", "planned");
    world.hub.import_as_aws([finding.asff()]).unwrap();
    world.hub.events();
    let click = world.hub.custom_action("RedressPlan", &[&finding.id()]).unwrap();
    world.send(&click).await;
    until("told", PATIENCE, async || {
        world.hub.finding(&finding.id()).unwrap()["Note"]["Text"].to_string().contains("would be fixed")
    })
    .await;
    let written = world.hub.finding(&finding.id()).unwrap();
    assert_eq!(written["Workflow"]["Status"], "NEW");
    assert_eq!(world.ended(&key("planned")).await, Some(Stage::Planned));
    assert_eq!(world.versioning("planned").await, None);
    tokio::time::sleep(PAUSE).await;

    // The note brings the finding back, still NEW: its rule says `automatic: apply`, and it is fixed. Where the
    // rule only shows, nothing is written: the plan is known.
    let events: Vec<Value> = world
        .hub
        .events()
        .into_iter()
        .filter(|event| event["detail-type"] == "Security Hub Findings - Imported")
        .filter(|event| event["account"] == ADMINISTRATOR)
        .collect();
    assert_eq!(events.len(), 1, "{events:?}");
    let lowered = json!({
        "FunctionName": "redress-dispatcher",
        "Environment": { "Variables": lowered(&world) },
    });
    world.call(ADMINISTRATOR, "lambda", "update_function_configuration", lowered).await;
    // Once, the automatic door shows its plan, and remembers it.
    world.send(&events).await;
    until("planned", PATIENCE, async || {
        world.last(&key("planned")).await.is_some_and(|record| record.subject.asked_by.is_automatic())
    })
    .await;
    tokio::time::sleep(PAUSE).await;
    let (before, tables) = (world.invocations().await, world.tables().await);
    world.proxy.reset();
    world.hub.events();
    world.send(&events).await;
    until("run once", PATIENCE, async || world.invocations().await == before + 1).await;
    tokio::time::sleep(PAUSE).await;
    assert_eq!(world.tables().await, tables);
    let reads = ["dynamodb:BatchGetItem", "dynamodb:GetItem", "sts:AssumeRole", "sts:GetCallerIdentity"];
    let other: Vec<String> = world
        .proxy
        .actions()
        .into_iter()
        .filter(|action| !reads.contains(&action.as_str()) && !action.contains(":Get"))
        .collect();
    assert!(other.is_empty(), "{other:?}");
    assert!(world.hub.events().is_empty());
    assert_eq!(world.invocations().await, before + 1);
}

/// The function's variables, with its ceiling lowered to `plan`.
fn lowered(world: &World) -> Value {
    let function = world.made.at("module.redress.aws_lambda_function.dispatcher").unwrap();
    let mut variables = function.arguments["environment"][0]["variables"].clone();
    variables["REDRESS_CEILING"] = "plan".into();
    variables
}

#[tokio::test]
async fn a_message_that_cannot_be_read_ends_among_the_dead_letters() {
    let world = World::new().await;
    world.bucket("poison").await;
    let finding = finding("S3.14", "poison");
    world.imported(&finding, |asff| asff["Resources"] = "no list".into()).await;
    let queue = world.made.at("module.redress.aws_sqs_queue.dead[\"findings\"]").unwrap();
    let name = queue.text("name").unwrap();
    let url = format!("{}/{ADMINISTRATOR}/{name}", world.ministack.url());
    let dead = std::sync::Mutex::new(Vec::new());
    until("dead", PATIENCE, async || {
        let ask = json!({ "QueueUrl": url, "MessageAttributeNames": ["All"], "WaitTimeSeconds": 1 });
        let found = world.call(ADMINISTRATOR, "sqs", "receive_message", ask).await;
        dead.lock().unwrap().extend(found["Messages"].as_array().cloned().unwrap_or_default());
        !dead.lock().unwrap().is_empty()
    })
    .await;
    let dead = dead.lock().unwrap().remove(0);
    let reason = dead["MessageAttributes"]["reason"]["StringValue"].as_str().unwrap();
    assert!(reason.contains("Resources"), "{reason}");
    assert!(dead["Body"].as_str().unwrap().contains("no list"));
    assert_eq!(world.versioning("poison").await, None);
}

/// The function is ended in the middle of a change. What it began is settled by the next that comes, without a
/// second write.
#[tokio::test]
async fn a_run_that_is_cut_off_by_its_time_is_settled_without_a_second_write() {
    let world = World::new().await;
    world.bucket("cut-off").await;
    let time = json!({ "FunctionName": "redress-dispatcher", "Timeout": 10 });
    world.call(ADMINISTRATOR, "lambda", "update_function_configuration", time).await;
    let url = format!("{}/{ADMINISTRATOR}/redress-findings", world.ministack.url());
    let soon = json!({ "QueueUrl": url, "Attributes": { "VisibilityTimeout": "5" } });
    world.call(ADMINISTRATOR, "sqs", "set_queue_attributes", soon).await;
    // The write is done, and its answer does not come before the function's time is over.
    let held = world.proxy.hold_after(Target::Nth("s3".to_owned(), "PutBucketVersioning".to_owned(), 1));
    world.imported(&finding("S3.14", "cut-off"), |_| ()).await;
    let held = held.reached(PATIENCE).await.unwrap();
    until("written", PATIENCE, async || world.versioning("cut-off").await.is_some()).await;
    tokio::time::sleep(Duration::from_secs(11)).await;
    held.discard();
    assert_eq!(world.ended(&key("cut-off")).await, None);
    let enough = json!({ "FunctionName": "redress-dispatcher", "Timeout": 60 });
    world.call(ADMINISTRATOR, "lambda", "update_function_configuration", enough).await;
    // A lease lasts to its holder's own deadline and a minute more.
    until("settled", Duration::from_secs(150), async || {
        world.ended(&key("cut-off")).await == Some(Stage::Verified)
    })
    .await;
    let actions = world.proxy.actions();
    assert_eq!(actions.iter().filter(|action| *action == "s3:PutBucketVersioning").count(), 1);
}

/// Where Terraform is at hand: it applies the example for one account, finds nothing to change, and destroys all of
/// it. ministack's alarms come back without the arguments that they were made with, and are let be.
#[tokio::test]
async fn terraform_applies_the_single_account_example_and_leaves_nothing_behind() {
    let terraform = match background::blocking(binary::find).await.unwrap() {
        Ok(terraform) => Arc::new(terraform),
        Err(why) => return println!("skipped: {why}"),
    };
    let ministack = Options::default().auth().account(ADMINISTRATOR).region(REGION).start().await.unwrap();
    let hub = SecurityHub::new();
    let handler = hub.clone();
    let server =
        serve::Server::start(move |request: http::Request<bytes::Bytes>| handler.handle_request(&request))
            .await
            .unwrap();
    let proxy =
        HoldProxy::start(Upstreams::to(ministack.url()).service("securityhub", server.url())).unwrap();
    let dir = Folder::new();
    let example = background::blocking({
        let dir = dir.0.clone();
        move || binary::copy(&dir)
    })
    .await
    .unwrap()
    .join("examples/single-account");
    fs::write(dir.0.join("rules.yaml"), RULES).unwrap();
    let packages = background::blocking(packages).await.unwrap();
    let (url, hub_url, rules) = (proxy.url(), server.url(), dir.0.join("rules.yaml"));
    let overridden = overridden(ministack.url(), &hub_url, &packages, &url, &rules);
    fs::write(example.join("ministack_override.tf"), overridden).unwrap();
    let variables = json!({
        "region": REGION,
        "ceiling": "apply",
        "rules": rules,
        "alarm_emails": ["security@example.com"],
        "deletion_protection": false,
    });
    fs::write(example.join("terraform.tfvars.json"), variables.to_string()).unwrap();
    let run = async |arguments: &'static [&str]| {
        let (terraform, example) = (Arc::clone(&terraform), example.clone());
        background::blocking(move || terraform.run(&example, arguments))
            .await
            .unwrap_or_else(|error| panic!("{error}"))
    };
    run(&["init", "-input=false"]).await;
    let applied = run(&["apply", "-input=false", "-auto-approve"]).await;
    assert!(applied.contains("Apply complete!"), "{applied}");

    run(&["plan", "-input=false", "-out=again"]).await;
    let again: Value = serde_json::from_str(&run(&["show", "-json", "again"]).await).unwrap();
    let changed: Vec<&Value> = again["resource_changes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| {
            one["type"] != "aws_cloudwatch_metric_alarm" && one["change"]["actions"] != json!(["no-op"])
        })
        .collect();
    assert!(changed.is_empty(), "{changed:?}");

    // It works: a finding of this account is fixed.
    let applier = background::blocking({
        let (url, hub_url) = (ministack.url().to_owned(), server.url());
        move || Applier::start(&url, &hub_url, REGION, &[("aws", ADMINISTRATOR)])
    })
    .await
    .unwrap();
    let applier = Arc::new(applier);
    let call = async |service: &'static str, operation: &'static str, arguments: Value| {
        let applier = Arc::clone(&applier);
        let answer =
            background::blocking(move || applier.call(ADMINISTRATOR, service, operation, &arguments)).await;
        Value::Object(answer.unwrap_or_else(|error| panic!("{error}")))
    };
    let place = json!({ "Bucket": "applied", "CreateBucketConfiguration": { "LocationConstraint": REGION } });
    call("s3", "create_bucket", place).await;
    let finding = finding("S3.14", "applied").account(ADMINISTRATOR);
    let event = hub.import_as_aws([finding.asff()]).unwrap().remove(0);
    let entry = json!({
        "Source": SOURCE,
        "DetailType": event["detail-type"],
        "Resources": event["resources"],
        "Detail": event["detail"].to_string(),
    });
    call("events", "put_events", json!({ "Entries": [entry] })).await;
    until("fixed", PATIENCE, async || {
        call("s3", "get_bucket_versioning", json!({ "Bucket": "applied" })).await["Status"] == "Enabled"
    })
    .await;

    let lists = [
        ("cloudwatch", "describe_alarms"),
        ("cloudwatch", "list_dashboards"),
        ("dynamodb", "list_tables"),
        ("events", "list_rules"),
        ("iam", "list_roles"),
        ("iam", "list_policies"),
        ("lambda", "list_functions"),
        ("lambda", "list_layers"),
        ("lambda", "list_event_source_mappings"),
        ("logs", "describe_log_groups"),
        ("securityhub", "describe_action_targets"),
        ("sns", "list_topics"),
        ("sqs", "list_queues"),
    ];
    let left = async || {
        let mut left = Vec::new();
        for (service, operation) in lists {
            if call(service, operation, json!({})).await.to_string().to_lowercase().contains("redress") {
                left.push(operation);
            }
        }
        left
    };
    assert_eq!(left().await, lists.map(|(_, operation)| operation));
    let destroyed = run(&["destroy", "-input=false", "-auto-approve"]).await;
    assert!(destroyed.contains("Destroy complete!"), "{destroyed}");
    assert!(left().await.is_empty(), "{:?}", left().await);
}

/// What a test has otherwise in the example: AWS is ministack, and the layer's rules are read where they are.
fn overridden(ministack: &str, hub_url: &str, packages: &Path, url: &str, rules: &Path) -> String {
    let services = ["cloudwatch", "dynamodb", "events", "iam", "lambda", "logs", "sns", "sqs", "sts"];
    let endpoints = services.map(|service| format!("    {service} = \"{ministack}\"\n")).concat();
    format!(
        r#"
provider "aws" {{
  access_key                  = "{ADMINISTRATOR}"
  secret_key                  = "x"
  skip_credentials_validation = true
  skip_metadata_api_check     = true

  endpoints {{
{endpoints}    securityhub = "{hub_url}"
  }}
}}

module "redress" {{
  packages    = "{packages}"
  testing     = {{ event_source = "{SOURCE}" }}
  environment = {{ AWS_ENDPOINT_URL = "{url}", REDRESS_RULES = "{rules}" }}
}}

module "member" {{
  testing = true
}}
"#,
        packages = packages.display(),
        rules = rules.display(),
    )
}

/// A policy document's statements with one action less.
fn without(document: &Value, action: &str) -> Value {
    let mut document = document.clone();
    let statements = document["Statement"].as_array_mut().unwrap();
    for statement in statements.iter_mut().filter(|statement| statement["Effect"] == "Allow") {
        statement["Action"].as_array_mut().unwrap().retain(|one| one != action);
    }
    statements.retain(|statement| statement["Action"].as_array().unwrap() != &Vec::<Value>::new());
    document
}

fn actions(document: &Value) -> BTreeSet<String> {
    let allowed = document["Statement"].as_array().unwrap().iter().filter(|one| one["Effect"] == "Allow");
    allowed
        .flat_map(|one| one["Action"].as_array().unwrap())
        .map(|one| one.as_str().unwrap().to_owned())
        .collect()
}

impl World {
    /// The member role's policies as one document, in the role itself: what is taken out of it is gone.
    async fn member(&self, document: &Value) {
        let put = json!({
            "RoleName": "redress-remediator", "PolicyName": "mutated", "PolicyDocument": document.to_string(),
        });
        self.call(WORKLOAD, "iam", "put_role_policy", put).await;
    }

    async fn detach_all(&self) -> Value {
        let mut statements = Vec::new();
        for attached in
            self.made.of("aws_iam_role_policy_attachment").filter(|one| one.provider == "aws.workload")
        {
            let detach =
                json!({ "RoleName": attached.text("role"), "PolicyArn": attached.text("policy_arn") });
            self.call(WORKLOAD, "iam", "detach_role_policy", detach).await;
        }
        for policy in self.made.of("aws_iam_policy").filter(|one| one.provider == "aws.workload") {
            if policy.text("name").unwrap().ends_with("boundary") {
                continue;
            }
            let document: Value = serde_json::from_str(policy.text("policy").unwrap()).unwrap();
            statements.extend(document["Statement"].as_array().unwrap().iter().cloned());
        }
        json!({ "Version": "2012-10-17", "Statement": statements })
    }
}

/// Taken out of the member role's policy, each action of a remediator leaves the resource as it was: the run ends as
/// denied, in the record and on the finding.
#[tokio::test]
async fn without_any_single_action_a_fix_is_denied_and_told() {
    let world = World::new().await;
    let whole = world.detach_all().await;
    let mut not_enforced = Vec::new();
    for (control, remediator) in [
        ("S3.14", "s3.enable_versioning"),
        ("S3.13", "s3.add_lifecycle_rule"),
        ("S3.8", "s3.block_public_access"),
        ("EC2.13", "ec2.restrict_ingress"),
    ] {
        // With all of it, the fix is made; and each call is one that an action is declared for.
        world.member(&whole).await;
        let (of, key) = world.failing(control, "whole").await;
        world.proxy.reset();
        world.imported(&of, in_a_sandbox).await;
        until(control, PATIENCE, async || world.ended(&key).await == Some(Stage::Verified)).await;
        let calls = world.proxy.calls();
        let remediator = find(remediator).unwrap();
        let actions = remediator.actions(Access::Apply);
        let names: BTreeSet<&str> = actions.iter().map(|action| action.iam).collect();
        for name in names {
            world.member(&without(&whole, name)).await;
            let (of, key) = world.failing(control, &name.split_once(':').unwrap().1.to_lowercase()).await;
            world.proxy.reset();
            world.imported(&of, in_a_sandbox).await;
            let over = async || world.ended(&key).await.is_some_and(|stage| stage != Stage::Intent);
            until(name, PATIENCE, over).await;
            let record = world.last(&key).await.unwrap();
            if record.stage == Stage::Verified {
                // ministack does not ask for it: the calls do, and no other action covers them.
                let covered = |action: &redress_remediators::Action| {
                    calls.iter().any(|call| action.covers(&call.aws.service, &call.aws.operation))
                };
                let needed = actions.iter().filter(|action| action.iam == name).any(covered);
                not_enforced.push((control, name, needed));
                continue;
            }
            assert_eq!(record.stage, Stage::Denied, "{name}: {record:?}");
            let changed = world.proxy.calls().into_iter().find(|call| {
                let reads =
                    ["Get", "Describe", "List"].iter().any(|verb| call.aws.operation.starts_with(verb));
                ["s3", "ec2"].contains(&call.aws.service.as_str()) && !reads && call.status == Some(200)
            });
            // Where a change takes two calls, the first may be allowed.
            let reason = record.reason.unwrap();
            let left = if changed.is_some() { "what this run had changed" } else { "" };
            assert!(reason.contains(left), "{name}: {reason}");
            let two = ["ec2:RevokeSecurityGroupIngress"];
            assert_eq!(changed.is_some(), two.contains(&name), "{name}: {changed:?}");
            until(name, PATIENCE, async || {
                world.hub.finding(&of.id()).unwrap()["Note"]["Text"].to_string().contains("denied")
            })
            .await;
            assert_eq!(world.hub.finding(&of.id()).unwrap()["Workflow"]["Status"], "NEW", "{name}");
        }
    }
    assert_eq!(not_enforced, NOT_ENFORCED);
}

/// Actions that ministack lets everybody have, and whether a call of the fix shows the need: tags travel with the rules
/// that they are for.
const NOT_ENFORCED: [(&str, &str, bool); 1] = [("EC2.13", "ec2:CreateTags", true)];

fn in_a_sandbox(asff: &mut Value) {
    asff["AwsAccountName"] = "sandbox".into();
}

impl World {
    /// A resource that fails a control, its finding, and its key in the records.
    async fn failing(&self, control: &str, name: &str) -> (ControlFinding, String) {
        if control.starts_with("S3.") {
            let bucket = format!("{}-{name}", control.to_lowercase().replace('.', "-"));
            self.bucket(&bucket).await;
            self.call(WORKLOAD, "s3", "delete_public_access_block", json!({ "Bucket": bucket })).await;
            return (finding(control, &bucket), key(&bucket));
        }
        let group = json!({ "GroupName": name, "Description": name });
        let made = self.call(WORKLOAD, "ec2", "create_security_group", group).await;
        let id = made["GroupId"].as_str().unwrap();
        let ssh = json!({
            "GroupId": id, "IpProtocol": "tcp", "FromPort": 20, "ToPort": 25, "CidrIp": "0.0.0.0/0",
        });
        self.call(WORKLOAD, "ec2", "authorize_security_group_ingress", ssh).await;
        let arn = format!("arn:aws:ec2:{REGION}:{WORKLOAD}:security-group/{id}");
        let finding = ControlFinding::new(control).resource("AwsEc2SecurityGroup", &arn);
        let key = format!("aws/{WORKLOAD}/{REGION}/AwsEc2SecurityGroup/{id}");
        (finding.account(WORKLOAD).region(REGION), key)
    }
}

/// Taken out of the dispatcher's own policy, each action that an automatic fix needs keeps it from being made,
/// recorded or told; and the message comes again.
#[tokio::test]
async fn without_any_single_action_of_its_own_the_dispatcher_does_not_get_through() {
    let world = World::new().await;
    let queue = json!({ "QueueName": "outcomes" });
    let outcomes = world.call(ADMINISTRATOR, "sqs", "create_queue", queue).await["QueueUrl"].clone();
    let rule = json!({ "Name": "outcomes", "EventPattern": "{\"source\":[\"redress\"]}" });
    world.call(ADMINISTRATOR, "events", "put_rule", rule).await;
    let arn = format!("arn:aws:sqs:{REGION}:{ADMINISTRATOR}:outcomes");
    let target = json!({ "Rule": "outcomes", "Targets": [{ "Id": "queue", "Arn": arn }] });
    world.call(ADMINISTRATOR, "events", "put_targets", target).await;

    let own = world.made.at("module.redress.aws_iam_role_policy.dispatcher").unwrap();
    let whole: Value = serde_json::from_str(own.text("policy").unwrap()).unwrap();
    let mut spare = Vec::new();
    // First with all of them: what takes much longer than that does not come.
    let mut patience = PATIENCE;
    let names: Vec<String> = std::iter::once("none".to_owned()).chain(actions(&whole)).collect();
    for (number, name) in names.into_iter().enumerate() {
        let put = |document: &Value| {
            json!({
                "RoleName": "redress-dispatcher", "PolicyName": "dispatcher", "PolicyDocument": document.to_string(),
            })
        };
        world.call(ADMINISTRATOR, "iam", "put_role_policy", put(&without(&whole, &name))).await;
        let bucket = format!("own-{number}");
        world.bucket(&bucket).await;
        let of = finding("S3.14", &bucket);
        world.imported(&of, |_| ()).await;
        let start = Instant::now();
        let mut through = false;
        while !through && start.elapsed() < patience {
            tokio::time::sleep(Duration::from_millis(300)).await;
            through = world.hub.finding(&of.id()).unwrap()["Workflow"]["Status"] == "NOTIFIED"
                && world.ended(&key(&bucket)).await == Some(Stage::Verified);
        }
        if through {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let told = world.drained(&outcomes).await.iter().any(|event| event.to_string().contains(&bucket));
            through = told && world.waiting().await == 0;
        }
        patience = patience.min((start.elapsed() * 4).max(Duration::from_secs(5)));
        if through {
            spare.push(name);
        }
        world.call(ADMINISTRATOR, "iam", "put_role_policy", put(&whole)).await;
        // What was left waiting is taken away, so that the next is counted alone.
        let url = format!("{}/{ADMINISTRATOR}/redress-findings", world.ministack.url());
        world.call(ADMINISTRATOR, "sqs", "purge_queue", json!({ "QueueUrl": url })).await;
    }
    let known: Vec<&str> = std::iter::once("none").chain(SPARE.iter().map(|(name, _)| *name)).collect();
    assert_eq!(spare, known);

    // What a person asks for, what fails, and what the schedule does need more of them. Each is needed by a call
    // that no other statement allows, or by Lambda itself.
    world.proxy.reset();
    world.every_door().await;
    let asked: Vec<(String, String)> = world.proxy.calls().iter().flat_map(on_what).collect();
    for (action, resource) in &asked {
        assert!(allows(&whole, action, resource), "nothing allows {action} on {resource}");
    }
    for (name, why) in SPARE {
        let less = without(&whole, name);
        let needed = asked.iter().any(|(action, resource)| !allows(&less, action, resource));
        assert_eq!(needed, why == Spare::Asked, "{name}");
    }
}

/// Why an action of the dispatcher's own can be missing in ministack, and an automatic fix get through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spare {
    /// Another door needs it, or ministack does not ask for it; a call shows the need.
    Asked,
    /// Lambda uses it on the function's behalf, and ministack's Lambda uses no role.
    Lambda,
    /// Part of another call, and ministack does not know it.
    Implied,
}

const SPARE: [(&str, Spare); 15] = [
    ("dynamodb:GetItem", Spare::Asked),
    ("dynamodb:Query", Spare::Asked),
    ("dynamodb:Scan", Spare::Asked),
    ("logs:CreateLogStream", Spare::Lambda),
    ("logs:PutLogEvents", Spare::Lambda),
    ("securityhub:BatchUpdateFindings", Spare::Asked),
    ("securityhub:GetFindings", Spare::Asked),
    ("sqs:ChangeMessageVisibility", Spare::Asked),
    ("sqs:DeleteMessage", Spare::Lambda),
    ("sqs:GetQueueAttributes", Spare::Asked),
    ("sqs:ReceiveMessage", Spare::Lambda),
    ("sqs:SendMessage", Spare::Asked),
    ("sts:SetSourceIdentity", Spare::Implied),
    ("xray:PutTelemetryRecords", Spare::Lambda),
    ("xray:PutTraceSegments", Spare::Lambda),
];

/// The actions and resources that a call of the dispatcher itself is checked against; none of one that it makes as
/// a member role.
fn on_what(call: &Call) -> Vec<(String, String)> {
    let here = |service: &str, rest: &str| format!("arn:aws:{service}:{REGION}:{ADMINISTRATOR}:{rest}");
    let table = |name: &Value| here("dynamodb", &format!("table/{}", name.as_str().unwrap()));
    let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    let resource = match (call.aws.service.as_str(), call.aws.operation.as_str()) {
        // A transaction is checked for what it is made of.
        ("dynamodb", "TransactWriteItems") => {
            let items = body["TransactItems"].as_array().unwrap().iter();
            let parts = items.flat_map(|item| item.as_object().unwrap());
            return parts
                .map(|(part, of)| (format!("dynamodb:{part}Item"), table(&of["TableName"])))
                .collect();
        }
        ("dynamodb", "BatchGetItem") => {
            let tables = body["RequestItems"].as_object().unwrap().keys();
            return tables.map(|name| (call.action(), table(&name.as_str().into()))).collect();
        }
        ("dynamodb", _) => table(&body["TableName"]),
        ("sqs", _) => here("sqs", body["QueueUrl"].as_str().unwrap().rsplit('/').next().unwrap()),
        ("events", _) => here("events", "event-bus/default"),
        ("securityhub", _) => here("securityhub", "hub/default"),
        ("sts", "AssumeRole") => call.form("RoleArn").unwrap(),
        ("s3", _) | ("sts", "GetCallerIdentity") => return Vec::new(),
        _ => panic!("{} is on what?", call.action()),
    };
    vec![(call.action(), resource)]
}

/// Whether a statement of the document allows it, whatever its conditions.
fn allows(document: &Value, action: &str, resource: &str) -> bool {
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
    };
    document["Statement"].as_array().unwrap().iter().any(|statement| {
        statement["Effect"] == "Allow"
            && texts(&statement["Action"]).iter().any(|one| one == action)
            && texts(&statement["Resource"]).iter().any(|one| {
                let (start, end) = one.split_once('*').unwrap_or((one, ""));
                one == resource || one.contains('*') && resource.starts_with(start) && resource.ends_with(end)
            })
    })
}

impl World {
    /// What may not be acted on, a fix and its undo, a message that can't be read, a fix that AWS throttles, the
    /// hourly `recover` and the question of `redress doctor`.
    async fn every_door(&self) {
        let of = finding("S3.14", "forged");
        self.hub.import_as_aws([of.asff()]).unwrap();
        let mut click = self.hub.custom_action("RedressPlan", &[&of.id()]).unwrap();
        click[0]["detail"]["findings"][0]["ProductArn"] =
            format!("arn:aws:securityhub:{REGION}:{WORKLOAD}:product/{WORKLOAD}/default").into();
        self.send(&click).await;
        until("refused", PATIENCE, async || self.asked("dynamodb:GetItem")).await;

        self.bucket("door").await;
        let of = finding("S3.14", "door");
        self.imported(&of, |_| ()).await;
        until("fixed", PATIENCE, async || self.ended(&key("door")).await == Some(Stage::Verified)).await;
        self.hub.reevaluate(&of.id(), ComplianceStatus::Passed).unwrap();
        let undo = self.hub.custom_action("RedressUndo", &[&of.id()]).unwrap();
        self.send(&undo).await;
        until("undone", PATIENCE, async || self.ended(&key("door")).await == Some(Stage::Undone)).await;

        self.imported(&of, |asff| asff["Resources"] = "no list".into()).await;
        until("put aside", PATIENCE, async || self.asked("sqs:SendMessage")).await;

        self.bucket("throttled").await;
        let reads = Target::Every("s3".to_owned(), "GetBucketVersioning".to_owned());
        self.proxy.fault(reads, AwsError::Throttled);
        self.imported(&finding("S3.14", "throttled"), |_| ()).await;
        until("put off", PATIENCE, async || self.asked("sqs:ChangeMessageVisibility")).await;

        let recover = self.made.at("module.redress.aws_cloudwatch_event_target.recover").unwrap();
        for direct in [recover.text("input").unwrap(), r#"{"redress":"doctor"}"#] {
            let call = json!({ "FunctionName": "redress-dispatcher", "Payload": direct });
            let answer = self.call(ADMINISTRATOR, "lambda", "invoke", call).await;
            assert!(answer.get("FunctionError").is_none(), "{answer}");
        }
    }

    fn asked(&self, action: &str) -> bool {
        self.proxy.actions().iter().any(|one| one == action)
    }

    /// Messages in the function's queue, those that are being handled too.
    async fn waiting(&self) -> u64 {
        let url = format!("{}/{ADMINISTRATOR}/redress-findings", self.ministack.url());
        let names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
        let ask = json!({ "QueueUrl": url, "AttributeNames": names });
        let found = self.call(ADMINISTRATOR, "sqs", "get_queue_attributes", ask).await;
        names.iter().map(|name| found["Attributes"][*name].as_str().unwrap().parse::<u64>().unwrap()).sum()
    }

    async fn drained(&self, url: &Value) -> Vec<Value> {
        let ask = json!({ "QueueUrl": url, "MaxNumberOfMessages": 10 });
        let found = self.call(ADMINISTRATOR, "sqs", "receive_message", ask).await;
        found["Messages"].as_array().cloned().unwrap_or_default()
    }
}
