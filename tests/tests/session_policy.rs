//! The second lock of a dry run, without the first: session policies, enforced by ministack.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use redress_remediators::{Access, Error, ErrorKind, Key, REGISTRY, find, policy};
use redress_router::{
    audit::{Asker, Stage, Verb},
    aws::{Accounts, MemberRole},
    budget::Budget,
    engine::{Connect, Done, Engine, Purpose, Request, Settings},
    event::{Decoded, decode_many},
    rules::{Mode, RuleSet},
    store::memory::Memory,
};
use redress_sandbox::findings::ControlFinding;
use redress_tests::{
    deployment::{ACCOUNT, Deployment, REGION},
    http1,
    ministack::Options,
};
use serde_json::{Value, json};
use tokio::time::Instant;

const ROLE: &str = "redress-remediator";

/// An IAM call as the account's root: ministack takes any signature of that one's.
async fn iam(deployment: &Deployment, action: &str, parameters: &[(&str, &str)]) {
    let mut body = format!("Action={action}&Version=2010-05-08");
    for (name, value) in parameters {
        let value: String = value
            .bytes()
            .map(|byte| {
                if byte.is_ascii_alphanumeric() { (byte as char).to_string() } else { format!("%{byte:02X}") }
            })
            .collect();
        body = format!("{body}&{name}={value}");
    }
    let credential = format!("{ACCOUNT}/20260101/us-east-1/iam/aws4_request");
    let request = http::Request::post("/")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("x-amz-date", "20260101T000000Z")
        .header(
            "authorization",
            format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host;x-amz-date, Signature=00"),
        )
        .body(bytes::Bytes::from(body))
        .unwrap();
    let answer = http1::send(deployment.ministack.url(), request).await.unwrap();
    assert!(answer.status().is_success(), "{action}: {answer:?}");
}

/// A raw client on the credentials of a run: without the lock in the process.
async fn client(accounts: &Accounts, bucket: &str, access: Access) -> Result<aws_sdk_s3::Client, Error> {
    let key: Key = format!("aws/{ACCOUNT}/{REGION}/AwsS3Bucket/{bucket}").parse().unwrap();
    let purpose = Purpose {
        key: &key,
        region: REGION,
        remediator: find("s3.enable_versioning").unwrap(),
        access,
        run: "0190a1b2-0000-7000-8000-000000000000",
        control_params: false,
        narrowed: &[],
    };
    let connection = accounts.connect(&purpose).await?;
    let config = aws_sdk_s3::config::Builder::from(&connection.config).force_path_style(true).build();
    Ok(aws_sdk_s3::Client::from_conf(config))
}

async fn enable(s3: &aws_sdk_s3::Client, bucket: &str) -> Result<(), Error> {
    let enabled = aws_sdk_s3::types::BucketVersioningStatus::Enabled;
    let config = aws_sdk_s3::types::VersioningConfiguration::builder().status(enabled).build();
    s3.put_bucket_versioning().bucket(bucket).versioning_configuration(config).send().await?;
    Ok(())
}

#[tokio::test]
async fn a_session_may_do_what_its_run_is_for_and_nothing_else() {
    let deployment = Deployment::start_with(Options::default().auth()).await.unwrap();
    for bucket in ["mine", "neighbour"] {
        deployment.bucket(bucket).await.unwrap();
    }
    let trust = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "AWS": format!("arn:aws:iam::{ACCOUNT}:root") },
            "Action": "sts:AssumeRole",
        }],
    });
    // What a member role holds: the share of every remediator, for every resource.
    let statements: Vec<Value> = REGISTRY
        .iter()
        .flat_map(|remediator| {
            let any = Key::any("aws", ACCOUNT, remediator.kind().asff);
            let document = policy(*remediator, Access::Undo, &any);
            document["Statement"].as_array().cloned().unwrap_or_default()
        })
        .collect();
    let document = json!({ "Version": "2012-10-17", "Statement": statements });
    iam(&deployment, "CreateRole", &[("RoleName", ROLE), ("AssumeRolePolicyDocument", &trust.to_string())])
        .await;
    let put = [("RoleName", ROLE), ("PolicyName", "all"), ("PolicyDocument", &document.to_string())];
    iam(&deployment, "PutRolePolicy", &put).await;
    let role = MemberRole { name: ROLE.to_owned(), external_id: None };
    let accounts = Accounts::new(deployment.aws.clone(), Some(role));

    // A new bucket has its block switched on, as with AWS.
    deployment.s3().delete_public_access_block().bucket("mine").send().await.unwrap();
    // The engine plans on a session that can only read.
    let role = MemberRole { name: ROLE.to_owned(), external_id: None };
    let engine = Engine {
        registry: REGISTRY,
        rules: RuleSet::builtin().unwrap(),
        store: Arc::new(Memory::default()),
        connect: Arc::new(Accounts::new(deployment.aws.clone(), Some(role))),
        activity: None,
        budget: Arc::new(Budget::new(Arc::new(Memory::default()), Arc::new(Timestamp::now))),
        settings: Settings { ceiling: Mode::Plan, ..Settings::default() },
        clock: Arc::new(Timestamp::now),
    };
    for (control, remediator) in
        [("S3.14", "s3.enable_versioning"), ("S3.8", "s3.block_public_access"), ("S3.5", "s3.require_tls")]
    {
        let finding = ControlFinding::new(control).resource("AwsS3Bucket", "arn:aws:s3:::mine");
        let finding = finding.account(ACCOUNT).region(REGION).asff().to_string();
        let Decoded::Finding(finding) = decode_many(finding.as_bytes()).unwrap().remove(0) else {
            panic!("no finding")
        };
        let request = Request {
            finding: *finding,
            verb: Verb::Plan,
            asked_by: Asker::Cli { caller: "tester".to_owned() },
            event: control.to_owned(),
            asked_at: None,
            only_rule: None,
            only_resource: None,
            agreed: None,
            deadline: Instant::now() + Duration::from_secs(60),
            dry_run: true,
            record: false,
            listed: true,
            after: Vec::new(),
        };
        let done = engine.handle(&request).await.remove(0);
        let Done::Outcome(outcome) = &done else { panic!("{done:?}") };
        assert_eq!(outcome.stage, Stage::Planned, "{control}: {:?}", outcome.reason);
        assert_eq!(outcome.subject.remediator.as_deref(), Some(remediator));
    }

    let plan = client(&accounts, "mine", Access::Plan).await.unwrap();
    assert!(plan.get_bucket_versioning().bucket("mine").send().await.is_ok());
    assert_eq!(enable(&plan, "mine").await.unwrap_err().kind, ErrorKind::Denied);
    let neighbours = plan.get_bucket_versioning().bucket("neighbour").send().await;
    assert_eq!(Error::from(neighbours.unwrap_err()).kind, ErrorKind::Denied);
    assert_eq!(deployment.versioning("mine").await.unwrap(), None);

    let apply = client(&accounts, "mine", Access::Apply).await.unwrap();
    assert_eq!(enable(&apply, "neighbour").await.unwrap_err().kind, ErrorKind::Denied);
    enable(&apply, "mine").await.unwrap();
    assert_eq!(deployment.versioning("mine").await.unwrap().as_deref(), Some("Enabled"));
    assert_eq!(deployment.versioning("neighbour").await.unwrap(), None);
}
