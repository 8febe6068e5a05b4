//! `redress doctor` on a deployment that is made of `terraform/` in ministack, with IAM enforced: all of it sound,
//! then one thing after the other broken and mended.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    io::{BufReader, Write},
    path::PathBuf,
    sync::{Arc, Mutex},
};

use aws_config::SdkConfig;
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use redress::{Exit, Surroundings, run};
use redress_sandbox::{securityhub::SecurityHub, serve};
use redress_tests::{
    applier::{Applier, packages},
    aws_call::AwsError,
    background,
    deployment::{ACCOUNT, REGION, sdk_config},
    hold_proxy::{HoldProxy, Target, Upstreams},
    ministack::{Ministack, Options},
    terraform::{Configuration, Evaluated, folder},
};
use serde_json::{Value, json};

/// Another account that is served.
const MEMBER: &str = "210987654321";

/// What a change to the deployment begins with.
const CHANGE: &str = r#"
import json, sys, time, boto3
url, region, account, member = sys.argv[1:]

def client(service, of=account):
    return boto3.client(service, endpoint_url=url, region_name=region, aws_access_key_id=of, aws_secret_access_key="x")
def queue(name):
    return client("sqs").get_queue_url(QueueName=name)["QueueUrl"]
def mapping():
    return client("lambda").list_event_source_mappings(FunctionName="redress-dispatcher")["EventSourceMappings"][0]["UUID"]
def environment(**changed):
    functions = client("lambda")
    known = functions.get_function_configuration(FunctionName="redress-dispatcher")["Environment"]["Variables"]
    functions.update_function_configuration(FunctionName="redress-dispatcher", Environment={"Variables": dict(known, **changed)})
    functions.get_waiter("function_updated_v2").wait(FunctionName="redress-dispatcher", WaiterConfig={"Delay": 1})
topic = f"arn:aws:sns:{region}:{account}:redress-alarms"
rule = [r for r in client("events").list_rules(NamePrefix="redress-")["Rules"] if "[rules " in r.get("Description", "")][0]
"#;

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Removed when the test ends.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Deployed {
    ministack: Ministack,
    proxy: HoldProxy,
    hub: serve::Server,
    applier: Applier,
    aws: SdkConfig,
    work: Folder,
    resources: Evaluated,
}

impl Deployed {
    /// The organization's example: the function in one account, and a role in another too.
    async fn new() -> Self {
        let ministack = Options::default().auth().account(ACCOUNT).region(REGION).start().await.unwrap();
        let hub = SecurityHub::new();
        let hub =
            serve::Server::start(move |request: http::Request<bytes::Bytes>| hub.handle_request(&request))
                .await
                .unwrap();
        let proxy =
            HoldProxy::start(Upstreams::to(ministack.url()).service("securityhub", hub.url())).unwrap();
        let work = Folder(std::env::temp_dir().join(format!("redress-doctor-{}", uuid::Uuid::new_v4())));
        std::fs::create_dir_all(&work.0).unwrap();
        let accounts = [("aws", ACCOUNT), ("aws.workload", MEMBER)];
        let (url, hub_url, endpoint, dir) =
            (ministack.url().to_owned(), hub.url(), proxy.url(), work.0.clone());
        let (applier, resources) = background::blocking(move || {
            let applier = Applier::start(&url, &hub_url, REGION, &accounts)?;
            let redress = json!({
                "rules": null,
                "packages": packages()?,
                "testing": { "event_source": "test.securityhub" },
                // There is no layer here: the rules built in are the same file.
                "environment": { "AWS_ENDPOINT_URL": endpoint, "REDRESS_RULES": "" },
            });
            let made = Configuration::new(folder().join("examples/organization"), &dir)
                .variable("region", REGION)
                .variable("workload_account", MEMBER)
                .variable("external_id", "an-id")
                .variable("alarm_emails", json!(["you@example.com"]))
                .module("redress", redress)
                .module("administrator", json!({ "testing": true }))
                .module("workload", json!({ "testing": true }))
                .evaluate(&applier)?;
            Ok((applier, made))
        })
        .await
        .unwrap_or_else(|error| panic!("{error}"));
        let aws = sdk_config(&proxy.url(), ACCOUNT);
        let deployed = Self { ministack, proxy, hub, applier, aws, work, resources };
        let waiter = r#"client("lambda").get_waiter("function_active_v2")"#;
        let there = r#"wait(FunctionName="redress-dispatcher", WaiterConfig={"Delay": 1})"#;
        deployed.change(&format!("{waiter}.{there}")).await;
        deployed
    }

    fn security_hub(&self) -> aws_sdk_securityhub::Client {
        let config = self.aws.to_builder().endpoint_url(self.hub.url()).build();
        aws_sdk_securityhub::Client::new(&config)
    }

    /// The hash of the deployed rules, as Terraform computes it.
    fn rules_hash(&self) -> &str {
        let layer = self.resources.of("aws_lambda_layer_version").next().unwrap();
        let description = layer.text("description").unwrap();
        description.rsplit_once("[rules ").unwrap().1.strip_suffix(']').unwrap()
    }

    async fn change(&self, code: &str) {
        let code = format!("{CHANGE}{code}\n");
        self.ministack.python(&code, &[REGION, ACCOUNT, MEMBER]).await.unwrap();
    }

    async fn redress(&self, aws: &SdkConfig, args: &[&str]) -> (Exit, String) {
        let (out, err) = (Shared::default(), Shared::default());
        let mut around = Surroundings {
            out: Box::new(out.clone()),
            err: Box::new(err.clone()),
            input: Box::new(BufReader::new(std::io::empty())),
            out_in_colour: false,
            in_is_terminal: false,
            err_is_terminal: false,
            aws: Some(aws.clone()),
            sign_in_window: None,
        };
        let args = ["redress"].iter().chain(args).map(Into::into);
        let exit = Box::pin(run(args, &mut around)).await;
        assert_eq!(err.text(), "");
        (exit, out.text())
    }

    /// The exit code, and whatever is not as it should be.
    async fn doctor(&self, more: &[&str]) -> (Exit, Vec<Value>) {
        let args: Vec<&str> = ["doctor", "--format", "json"].iter().chain(more).copied().collect();
        let (exit, text) = self.redress(&self.aws, &args).await;
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["schema"], "redress.doctor/1");
        let checks = document["checks"].as_array().unwrap();
        (exit, checks.iter().filter(|check| check["outcome"] != "ok").cloned().collect())
    }

    /// Breaks something; what the doctor says of it; mends it, and the doctor is content.
    async fn broken(&self, code: &str, mend: &str, exit: Exit, expected: &[(&str, &str, &str)]) {
        self.change(code).await;
        self.says(code, exit, expected).await;
        if !mend.is_empty() {
            self.change(mend).await;
            self.says(mend, Exit::Done, &[]).await;
        }
    }

    /// `expected`: check, subject and a part of what is said, one for each line that is not ok.
    async fn says(&self, about: &str, exit: Exit, expected: &[(&str, &str, &str)]) {
        let (ended, lines) = self.doctor(&[]).await;
        assert_eq!(lines.len(), expected.len(), "{about}: {lines:#?}");
        for (line, (check, subject, what)) in lines.iter().zip(expected) {
            assert_eq!(line["check"], *check, "{about}: {line}");
            let told = |member: &str, part: &str| {
                line[member].as_str().is_some_and(|text| !text.is_empty() && text.contains(part))
            };
            assert!(told("subject", subject) && told("what", what) && told("mend", ""), "{about}: {line}");
        }
        assert_eq!(ended, exit, "{about}");
    }
}

#[tokio::test]
async fn whatever_is_broken_is_named_with_how_to_mend_it() {
    let deployed = Deployed::new().await;

    let (exit, text) = deployed.redress(&deployed.aws, &["doctor"]).await;
    assert_eq!(exit, Exit::Done, "{text}");
    assert!(text.contains(" 0 warnings, 0 wrong."), "{text}");
    for line in [
        &format!("ok      role: arn:aws:iam::{ACCOUNT}:role/redress-remediator: can be assumed"),
        &format!("ok      role: arn:aws:iam::{MEMBER}:role/redress-remediator: can be assumed"),
        "ok      function: redress-dispatcher: active, ceiling plan",
        "ok      kill switch: stops: off",
        "ok      security hub: eu-west-1: findings can be read",
        "ok      table: redress-audit: active, with time to live, point-in-time recovery and deletion protection",
        "ok      dead letters: redress-async-dead: empty",
        "ok      event source mapping: redress-findings to redress-dispatcher: enabled",
        "ok      custom action: RedressPlan, RedressFix, RedressUndo: in Security Hub's Actions menu",
        "ok      alarm: redress-*: 11 alarms, none raised",
        "ok      alarm topic: redress-alarms: 1 confirmed",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    // Whatever was looked at, it and the function have only looked.
    for call in deployed.proxy.calls() {
        let action = call.action();
        let (_, operation) = action.split_once(':').unwrap();
        let looks = ["Get", "List", "Describe", "BatchGet", "Query", "AssumeRole", "GET /"];
        let asks = ["/invocations", "/DescribeAlarms"];
        let looked = looks.iter().any(|look| operation.starts_with(look));
        assert!(looked || asks.iter().any(|ask| operation.ends_with(ask)), "{action}");
    }

    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/../rules/default.yaml");
    assert_eq!(deployed.doctor(&["--rules", rules]).await.0, Exit::Done);
    let other = deployed.work.0.join("other.yaml");
    std::fs::write(
        &other,
        "rules:\n  - {name: x, control: S3.14, remediator: s3.enable_versioning, action: Mine}\n",
    )
    .unwrap();
    let (exit, lines) = deployed.doctor(&["--rules", &other.to_string_lossy()]).await;
    let checks: Vec<&Value> = lines.iter().map(|line| &line["check"]).collect();
    assert_eq!((exit, checks), (Exit::Failed, vec![&json!("rules"), &json!("custom_action")]));

    events_and_queues(&deployed).await;
    the_function(&deployed).await;
    a_caller_who_may_not_look(&deployed).await;
    alarms_and_actions(&deployed).await;
    tables_and_no_function(&deployed).await;
}

async fn events_and_queues(deployed: &Deployed) {
    deployed
        .broken(
            r#"client("events").disable_rule(Name=rule["Name"])"#,
            r#"client("events").enable_rule(Name=rule["Name"])"#,
            Exit::Failed,
            &[("event_rule", "redress-", "it is disabled")],
        )
        .await;
    let put =
        r#"client("events").put_rule(Name=rule["Name"], EventPattern=rule["EventPattern"], Description="#;
    let hash = deployed.rules_hash();
    deployed
        .broken(
            &format!(r#"{put}"Findings [rules 0123456789abcdef]")"#),
            &format!(r#"{put}"Findings [rules {hash}]")"#),
            Exit::Failed,
            &[("event_rule", "redress-", "rules with the hash 0123456789abcdef, and the function has")],
        )
        .await;
    deployed
        .broken(
            r#"client("events").remove_targets(Rule="redress-recover", Ids=["dispatcher"])"#,
            r#"client("events").put_targets(Rule="redress-recover", Targets=[{"Id": "dispatcher",
                "Arn": f"arn:aws:lambda:{region}:{account}:function:redress-dispatcher"}])"#,
            Exit::Failed,
            &[("event_rule", "redress-recover", "no target")],
        )
        .await;
    deployed
        .broken(
            // The question of `redress doctor` is none that a message may ask.
            // Nobody but EventBridge may put one in, so the queue's policy is away meanwhile.
            r#"
url_of = queue("redress-findings")
policy = client("sqs").get_queue_attributes(QueueUrl=url_of, AttributeNames=["Policy"])["Attributes"]["Policy"]
client("sqs").set_queue_attributes(QueueUrl=url_of, Attributes={"Policy": ""})
client("sqs").send_message(QueueUrl=url_of, MessageBody='{"redress":"doctor"}')
client("sqs").set_queue_attributes(QueueUrl=url_of, Attributes={"Policy": policy})
for _ in range(100):
    dead = client("sqs").get_queue_attributes(QueueUrl=queue("redress-findings-dead"), AttributeNames=["All"])
    if dead["Attributes"]["ApproximateNumberOfMessages"] == "1":
        break
    time.sleep(0.2)"#,
            r#"client("sqs").purge_queue(QueueUrl=queue("redress-findings-dead"))"#,
            Exit::Failed,
            &[("dead_letters", "redress-findings-dead", "1 in it")],
        )
        .await;
    deployed
        .broken(
            r#"client("sqs").set_queue_attributes(QueueUrl=queue("redress-findings"), Attributes={"VisibilityTimeout": "719"})"#,
            r#"client("sqs").set_queue_attributes(QueueUrl=queue("redress-findings"), Attributes={"VisibilityTimeout": "720"})"#,
            Exit::Failed,
            &[("queue", "redress-findings", "less than six times")],
        )
        .await;
    let update = r#"client("lambda").update_event_source_mapping(UUID=mapping(), "#;
    deployed
        .broken(
            &format!("{update}Enabled=False)"),
            &format!("{update}Enabled=True)"),
            Exit::Failed,
            &[("event_source_mapping", "redress-findings", "it is Disabled")],
        )
        .await;
    deployed
        .broken(
            &format!("{update}FunctionResponseTypes=[])"),
            &format!(r#"{update}FunctionResponseTypes=["ReportBatchItemFailures"])"#),
            Exit::Failed,
            &[("event_source_mapping", "redress-findings", "partial batch responses")],
        )
        .await;
}

async fn the_function(deployed: &Deployed) {
    deployed
        .broken(
            r#"environment(REDRESS_AUDIT_TABLE="other", REDRESS_DEAD_LETTER_URL=queue("redress-async-dead") + "x",
    REDRESS_ACTIVITY_TABLE="redress-activity")"#,
            r#"environment(REDRESS_AUDIT_TABLE="redress-audit", REDRESS_DEAD_LETTER_URL=queue("redress-findings-dead"),
    REDRESS_ACTIVITY_TABLE="")"#,
            Exit::Failed,
            &[
                ("audit_table", "other", "AccessDenied"),
                ("activity_table", "redress-activity", "AccessDenied"),
                ("dead_letter_queue", "redress-async-deadx", ""),
                ("dead_letters", "redress-stream-dead", "there is no such queue"),
            ],
        )
        .await;
    let target = Target::Every("securityhub".to_owned(), "GetFindings".to_owned());
    deployed.proxy.fault(target, AwsError::Denied);
    deployed.says("no findings", Exit::Failed, &[("security_hub", REGION, "AccessDenied")]).await;
    deployed.proxy.reset();
    // What the function alone can tell.
    let trust = |id: &str| {
        format!(
            r#"
trust = client("iam", member).get_role(RoleName="redress-remediator")["Role"]["AssumeRolePolicyDocument"]
trust["Statement"][0]["Condition"]["StringEquals"]["sts:ExternalId"] = "{id}"
client("iam", member).update_assume_role_policy(RoleName="redress-remediator", PolicyDocument=json.dumps(trust))"#
        )
    };
    deployed
        .broken(&trust("other"), &trust("an-id"), Exit::Failed, &[("role", MEMBER, "AccessDenied")])
        .await;
    deployed
        .broken(
            r#"environment(REDRESS_EXTERNAL_ID="another")"#,
            r#"environment(REDRESS_EXTERNAL_ID="an-id")"#,
            Exit::Failed,
            &[("role", ACCOUNT, "AccessDenied"), ("role", MEMBER, "AccessDenied")],
        )
        .await;
    let stopped =
        deployed.redress(&deployed.aws, &["stop", "--deployment", "redress", "--why", "a freeze"]).await;
    assert_eq!(stopped.0, Exit::Done);
    deployed
        .says("stop", Exit::Refused, &[("kill_switch", "stops", "everything is stopped, since 20")])
        .await;
    let (_, lines) = deployed.doctor(&[]).await;
    let line = lines.first().unwrap();
    assert!(line["what"].as_str().unwrap().ends_with(": a freeze"), "{line}");
    assert_eq!(line["mend"], "redress resume --deployment redress");
    assert_eq!(deployed.redress(&deployed.aws, &["resume", "--deployment", "redress"]).await.0, Exit::Done);

    // Nothing is known of what it would have tried, and its rules are those that it was told of.
    deployed
        .broken(
            r#"environment(REDRESS_CEILING="aply")"#,
            r#"environment(REDRESS_CEILING="apply")"#,
            Exit::Failed,
            &[("self_check", "redress-dispatcher", "the function fails")],
        )
        .await;
    deployed
        .broken(
            r#"environment(REDRESS_RULES_HASH="0123456789abcdef")"#,
            &format!(r#"environment(REDRESS_RULES_HASH="{}")"#, deployed.rules_hash()),
            Exit::Failed,
            &[
                ("self_check", "redress-dispatcher", "the function fails"),
                ("event_rule", "redress-", "and the function has 0123456789abcdef"),
                ("event_rule", "redress-", "and the function has 0123456789abcdef"),
                ("event_rule", "redress-", "and the function has 0123456789abcdef"),
            ],
        )
        .await;
    deployed
        .broken(
            r#"environment(REDRESS_DEPLOYMENT="other")"#,
            r#"environment(REDRESS_DEPLOYMENT="redress")"#,
            Exit::Failed,
            &[("self_check", "redress-dispatcher", "deployment other")],
        )
        .await;
    deployed
        .broken(
            r#"environment(REDRESS_QUEUE_URL="", REDRESS_STATE_TABLE="other")"#,
            r#"environment(REDRESS_QUEUE_URL=queue("redress-findings"), REDRESS_STATE_TABLE="redress-state")"#,
            Exit::Failed,
            &[("state_table", "other", "AccessDenied"), ("event_queue", "none", "REDRESS_QUEUE_URL is not set")],
        )
        .await;
}

async fn alarms_and_actions(deployed: &Deployed) {
    let alarm = r#"client("cloudwatch").set_alarm_state(AlarmName="redress-waiting", StateReason="for hours", StateValue="#;
    deployed
        .broken(
            &format!(r#"{alarm}"ALARM")"#),
            &format!(r#"{alarm}"OK")"#),
            Exit::Failed,
            &[("alarm", "redress-waiting", "it is raised: for hours")],
        )
        .await;
    deployed
        .broken(
            r#"
for one in client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]:
    client("sns").unsubscribe(SubscriptionArn=one["SubscriptionArn"])"#,
            r#"client("sns").subscribe(TopicArn=topic, Protocol="email", Endpoint="you@example.com")"#,
            Exit::Failed,
            &[("alarm_topic", "redress-alarms", "alarms reach nobody")],
        )
        .await;
    let hub = deployed.security_hub();
    let arn = format!("arn:aws:securityhub:{REGION}:{ACCOUNT}:action/custom/RedressUndo");
    hub.delete_action_target().action_target_arn(arn).send().await.unwrap();
    let missing = [("custom_action", "RedressUndo", "Security Hub does not have it")];
    deployed.says("no RedressUndo", Exit::Failed, &missing).await;
    hub.create_action_target().name("x").description("x").id("RedressUndo").send().await.unwrap();
    deployed
        .broken(
            r#"client("cloudwatch").delete_alarms(AlarmNames=["redress-refixed"])"#,
            "",
            Exit::Failed,
            &[("alarm", "redress-refixed", "there is none")],
        )
        .await;
    deployed
        .broken(
            r#"client("sns").delete_topic(TopicArn=topic)"#,
            "",
            Exit::Failed,
            &[
                ("alarm", "redress-refixed", "there is none"),
                ("alarm_topic", "redress-alarms", "no such topic"),
            ],
        )
        .await;
}

async fn a_caller_who_may_not_look(deployed: &Deployed) {
    let trust = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Action": "sts:AssumeRole",
            "Principal": { "AWS": format!("arn:aws:iam::{ACCOUNT}:root") },
        }],
    });
    let role = json!({ "RoleName": "nobody", "AssumeRolePolicyDocument": trust.to_string() });
    deployed.applier.call(ACCOUNT, "iam", "create_role", &role).unwrap();
    let sts = aws_sdk_sts::Client::new(&deployed.aws);
    let role = format!("arn:aws:iam::{ACCOUNT}:role/nobody");
    let given = sts.assume_role().role_arn(role).role_session_name("nobody").send().await.unwrap();
    let given = given.credentials.unwrap();
    let credentials = Credentials::new(
        given.access_key_id,
        given.secret_access_key,
        Some(given.session_token),
        None,
        "test",
    );
    let nobody = deployed.aws.to_builder();
    let nobody = nobody.credentials_provider(SharedCredentialsProvider::new(credentials)).build();
    let (exit, text) = deployed.redress(&nobody, &["doctor"]).await;
    assert_eq!(exit, Exit::Denied, "{text}");
    // Those of CloudWatch and Security Hub are not enforced here.
    for action in [
        "lambda:GetFunctionConfiguration",
        "dynamodb:DescribeTable",
        "sqs:GetQueueUrl",
        "events:ListRules",
        "sns:ListSubscriptionsByTopic",
    ] {
        assert!(text.contains(&format!("to mend it: let the caller use {action}, or")), "{action}\n{text}");
    }
}

async fn tables_and_no_function(deployed: &Deployed) {
    let before =
        [("alarm", "redress-refixed", "there is none"), ("alarm_topic", "redress-alarms", "no such topic")];
    let with = |lines: &[(&'static str, &'static str, &'static str)]| [lines, &before].concat();
    deployed
        .broken(
            r#"
client("dynamodb").update_time_to_live(TableName="redress-state", TimeToLiveSpecification={
    "Enabled": False, "AttributeName": "expires"})
client("dynamodb").update_continuous_backups(TableName="redress-audit", PointInTimeRecoverySpecification={
    "PointInTimeRecoveryEnabled": False})
client("dynamodb").update_table(TableName="redress-state", DeletionProtectionEnabled=False)"#,
            "",
            Exit::Failed,
            &with(&[
                ("table", "redress-state", "time to live is not on"),
                ("table", "redress-state", "deletion protection is off"),
                ("table", "redress-audit", "point-in-time recovery is off"),
            ]),
        )
        .await;
    deployed
        .broken(
            r#"client("dynamodb").delete_table(TableName="redress-state")"#,
            "",
            Exit::Failed,
            &with(&[
                ("state_table", "redress-state", "ResourceNotFoundException"),
                ("table", "redress-state", "there is no such table"),
                ("table", "redress-audit", "point-in-time recovery is off"),
            ]),
        )
        .await;
    deployed
        .broken(
            r#"client("lambda").delete_function(FunctionName="redress-dispatcher")
client("sqs").delete_queue(QueueUrl=queue("redress-findings"))"#,
            "",
            Exit::Failed,
            &with(&[
                ("function", "redress-dispatcher", "there is none in account"),
                ("table", "redress-state", "there is no such table"),
                ("table", "redress-audit", "point-in-time recovery is off"),
                ("queue", "redress-findings", "there is no such queue"),
            ]),
        )
        .await;
}
