//! Every operation of the Security Hub server through the AWS SDK for Rust, over TCP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use aws_credential_types::Credentials;
use aws_sdk_securityhub::Client;
use aws_sdk_securityhub::config::retry::RetryConfig;
use aws_sdk_securityhub::config::{BehaviorVersion, Region};
use aws_sdk_securityhub::error::ProvideErrorMetadata;
use aws_sdk_securityhub::types::{
    AllowedOperators, AwsSecurityFinding, AwsSecurityFindingFilters, AwsSecurityFindingIdentifier,
    BatchUpdateFindingsV2UnprocessedFindingErrorCode, ComplianceStatus as Status, CompositeFilter,
    FindingProviderFields, FindingProviderSeverity, NoteUpdate, OcsfFindingFilters, OcsfFindingIdentifier,
    OcsfStringField, OcsfStringFilter, ParameterValue, Resource, SeverityLabel, SortCriterion, SortOrder,
    StringFilter, StringFilterComparison, WorkflowStatus, WorkflowUpdate,
};
use bytes::Bytes;
use http::{Request, Response};
use redress_sandbox::findings::{ComplianceStatus, ControlFinding};
use redress_sandbox::securityhub::{SecurityHub, Throttle};
use redress_sandbox::serve::Server;
use serde_json::{Value, json};

const ACCOUNT: &str = "123456789012";
const REGION: &str = "us-east-1";

fn client(url: &str, account: &str, attempts: u32) -> Client {
    let config = aws_sdk_securityhub::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(url)
        .region(Region::new(REGION))
        .credentials_provider(Credentials::new(account, "secret", None, None, "test"))
        .retry_config(RetryConfig::standard().with_max_attempts(attempts))
        .build();
    Client::from_conf(config)
}

async fn start() -> (SecurityHub, Server, Client) {
    let hub = SecurityHub::new();
    let inner = hub.clone();
    let server = Server::start(move |request: Request<Bytes>| inner.handle_request(&request)).await.unwrap();
    let client = client(&server.url(), ACCOUNT, 1);
    (hub, server, client)
}

fn bucket(name: &str) -> ControlFinding {
    ControlFinding::new("S3.14").resource("AwsS3Bucket", &format!("arn:aws:s3:::{name}"))
}

fn equals(value: &str) -> StringFilter {
    StringFilter::builder().value(value).comparison(StringFilterComparison::Equals).build()
}

fn identifier(finding: &ControlFinding) -> AwsSecurityFindingIdentifier {
    AwsSecurityFindingIdentifier::builder().id(finding.id()).product_arn(finding.product_arn()).build()
}

#[tokio::test]
async fn get_findings_filters_sorts_and_pages() {
    let (hub, _server, client) = start().await;
    hub.import_as_aws((0..12).map(|n| bucket(&format!("b{n:02}")).asff())).unwrap();
    hub.import_as_aws([ControlFinding::new("EC2.12").asff()]).unwrap();
    let filters = AwsSecurityFindingFilters::builder()
        .compliance_security_control_id(equals("S3.14"))
        .workflow_status(equals("NEW"))
        .record_state(equals("ACTIVE"))
        .build();
    let order = SortCriterion::builder().field("ResourceId").sort_order(SortOrder::Descending).build();
    let mut pages =
        client.get_findings().filters(filters).sort_criteria(order).max_results(5).into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        assert!(page.findings().len() <= 5);
        found.extend(page.findings.unwrap());
    }
    assert_eq!(found.len(), 12);
    assert_eq!(found[0].resources()[0].id(), Some("arn:aws:s3:::b11"));
    let compliance = found[0].compliance().unwrap();
    assert_eq!(compliance.status(), Some(&Status::Failed));
    assert_eq!(compliance.security_control_id(), Some("S3.14"));
    assert_eq!(found[0].severity().unwrap().label(), Some(&SeverityLabel::Low));

    let mixed = AwsSecurityFindingFilters::builder()
        .title(equals("x"))
        .title(StringFilter::builder().value("y").comparison(StringFilterComparison::NotEquals).build())
        .build();
    let error = client.get_findings().filters(mixed).send().await.unwrap_err();
    assert_eq!(error.code(), Some("InvalidInputException"));
    assert!(error.as_service_error().unwrap().is_invalid_input_exception());
}

#[tokio::test]
async fn batch_import_findings() {
    let (hub, _server, client) = start().await;
    let finding = |id: &str, product: &str| {
        AwsSecurityFinding::builder()
            .schema_version("2018-10-08")
            .id(id)
            .product_arn(product)
            .generator_id("redress/inactive-user")
            .aws_account_id(ACCOUNT)
            .created_at("2026-11-20T08:00:00Z")
            .updated_at("2026-11-20T08:00:00Z")
            .title("User is inactive")
            .description("The user did not sign in.")
            .resources(Resource::builder().r#type("Other").id("user-1").build())
            .finding_provider_fields(
                FindingProviderFields::builder()
                    .severity(FindingProviderSeverity::builder().label(SeverityLabel::Low).build())
                    .types("Software and Configuration Checks")
                    .build(),
            )
    };
    let product = format!("arn:aws:securityhub:{REGION}:{ACCOUNT}:product/{ACCOUNT}/default");
    let answer = client
        .batch_import_findings()
        .findings(finding("1", &product).build())
        .findings(finding("2", &product).title("x".repeat(300)).build())
        .send()
        .await
        .unwrap();
    assert_eq!((answer.success_count(), answer.failed_count()), (Some(1), Some(1)));
    let failed = &answer.failed_findings()[0];
    assert_eq!((failed.id(), failed.error_code()), (Some("2"), Some("InvalidInput")));
    assert_eq!(hub.events().len(), 1);

    let aws = format!("arn:aws:securityhub:{REGION}::product/aws/securityhub");
    let error = client.batch_import_findings().findings(finding("3", &aws).build()).send().await.unwrap_err();
    assert_eq!(error.code(), Some("AccessDeniedException"));
}

#[tokio::test]
async fn batch_update_findings() {
    let (hub, server, client) = start().await;
    let finding = bucket("a");
    hub.import_as_aws([finding.asff()]).unwrap();
    hub.events();
    let update = |client: &Client| {
        client
            .batch_update_findings()
            .finding_identifiers(identifier(&finding))
            .note(NoteUpdate::builder().text("fixed by run 1").updated_by("redress").build())
            .user_defined_fields("redress_run", "1")
            .workflow(WorkflowUpdate::builder().status(WorkflowStatus::Notified).build())
    };
    let missing = AwsSecurityFindingIdentifier::builder().id("x").product_arn(finding.product_arn()).build();
    let answer = update(&client).finding_identifiers(missing).send().await.unwrap();
    assert_eq!(answer.processed_findings()[0].id(), Some(finding.id().as_str()));
    let unprocessed = &answer.unprocessed_findings()[0];
    assert_eq!(unprocessed.error_code(), Some("FindingNotFound"));
    assert_eq!(unprocessed.finding_identifier().unwrap().id(), Some("x"));
    let read = client.get_findings().send().await.unwrap();
    let read = &read.findings()[0];
    assert_eq!(read.note().unwrap().text(), Some("fixed by run 1"));
    assert_eq!(read.user_defined_fields().unwrap()["redress_run"], "1");
    assert_eq!(read.workflow().unwrap().status(), Some(&WorkflowStatus::Notified));
    let events = hub.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["detail"]["findings"][0]["Workflow"]["Status"], "NOTIFIED");
    assert_eq!(hub.count_calls("BatchUpdateFindings"), 1);

    let stranger = self::client(&server.url(), "999999999999", 1);
    let answer = update(&stranger).send().await.unwrap();
    assert!(answer.processed_findings().is_empty(), "another account does not see it");
}

#[tokio::test]
async fn findings_v2() {
    let (hub, _server, client) = start().await;
    let (a, b) = (bucket("a"), ControlFinding::new("EC2.12"));
    hub.import_ocsf([a.ocsf(), b.ocsf()]).unwrap();
    let control = OcsfStringFilter::builder()
        .field_name(OcsfStringField::from("compliance.control"))
        .filter(equals("S3.14"))
        .build();
    let composite =
        CompositeFilter::builder().string_filters(control).operator(AllowedOperators::And).build();
    let filters = OcsfFindingFilters::builder().composite_filters(composite).build();
    let found = client.get_findings_v2().filters(filters).send().await.unwrap();
    assert_eq!(found.findings().len(), 1);
    let object = found.findings()[0].as_object().unwrap();
    assert_eq!(object["metadata"].as_object().unwrap()["uid"].as_string(), Some(a.metadata_uid().as_str()));

    let answer = client
        .batch_update_findings_v2()
        .metadata_uids(a.metadata_uid())
        .metadata_uids("ff")
        .comment("fixed by run 1")
        .status_id(2)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.processed_findings()[0].metadata_uid(), Some(a.metadata_uid().as_str()));
    assert_eq!(
        answer.unprocessed_findings()[0].error_code(),
        Some(&BatchUpdateFindingsV2UnprocessedFindingErrorCode::ResourceNotFoundException)
    );
    let identifier = OcsfFindingIdentifier::builder()
        .cloud_account_uid(ACCOUNT)
        .finding_info_uid(b.id())
        .metadata_product_uid(format!("arn:aws:securityhub:{REGION}::productv2/aws/securityhub"))
        .build();
    let answer =
        client.batch_update_findings_v2().finding_identifiers(identifier).status_id(3).send().await.unwrap();
    assert!(answer.unprocessed_findings().is_empty());
    assert_eq!(hub.ocsf_finding(&a.id()).unwrap()["comment"], "fixed by run 1");
    assert_eq!(hub.ocsf_finding(&b.id()).unwrap()["status"], "Suppressed");
    let error = client.batch_update_findings_v2().comment("c").send().await.unwrap_err();
    assert!(error.as_service_error().unwrap().is_validation_exception());
}

#[tokio::test]
async fn action_targets() {
    let (_hub, _server, client) = start().await;
    let create =
        || client.create_action_target().id("RedressFix").name("Redress: fix").description("Fixes it");
    let arn = create().send().await.unwrap().action_target_arn.unwrap();
    let error = create().send().await.unwrap_err();
    assert!(error.as_service_error().unwrap().is_resource_conflict_exception());
    client.update_action_target().action_target_arn(&arn).name("Redress: mend").send().await.unwrap();
    let listed = client.describe_action_targets().action_target_arns(&arn).send().await.unwrap();
    assert_eq!(listed.action_targets()[0].name(), Some("Redress: mend"));
    assert_eq!(listed.action_targets()[0].description(), Some("Fixes it"));
    let deleted = client.delete_action_target().action_target_arn(&arn).send().await.unwrap();
    assert_eq!(deleted.action_target_arn(), Some(arn.as_str()));
    let error = client.describe_action_targets().action_target_arns(&arn).send().await.unwrap_err();
    assert!(error.as_service_error().unwrap().is_resource_not_found_exception());
    let error = client.update_action_target().action_target_arn(&arn).name("n").send().await.unwrap_err();
    assert!(error.as_service_error().unwrap().is_resource_not_found_exception());
    let error = client.delete_action_target().action_target_arn(&arn).send().await.unwrap_err();
    assert!(error.as_service_error().unwrap().is_resource_not_found_exception());
}

#[tokio::test]
async fn security_controls_and_hub() {
    let (_hub, _server, client) = start().await;
    let answer =
        client.batch_get_security_controls().security_control_ids("EC2.18").security_control_ids("X.1");
    let answer = answer.send().await.unwrap();
    let control = &answer.security_controls()[0];
    let ports = &control.parameters().unwrap()["authorizedTcpPorts"];
    assert_eq!(ports.value(), Some(&ParameterValue::IntegerList(vec![80, 443])));
    let none = &control.parameters().unwrap()["authorizedUdpPorts"];
    assert_eq!(none.value(), Some(&ParameterValue::IntegerList(Vec::new())));
    assert_eq!(answer.unprocessed_ids()[0].security_control_id(), Some("X.1"));

    client.enable_security_hub().send().await.unwrap();
    let error = client.enable_security_hub().send().await.unwrap_err();
    assert!(error.as_service_error().unwrap().is_resource_conflict_exception());
    let hub = client.describe_hub().send().await.unwrap();
    assert_eq!(hub.hub_arn(), Some("arn:aws:securityhub:us-east-1:123456789012:hub/default"));
    let error = client.describe_hub().hub_arn("arn:aws:securityhub:x").send().await.unwrap_err();
    assert!(error.as_service_error().unwrap().is_resource_not_found_exception());
}

#[tokio::test]
async fn the_sdk_takes_a_throttle_for_one() {
    let (hub, server, _) = start().await;
    hub.set_throttle(Some(Throttle::uniform(20.0, 1.0)));
    let impatient = client(&server.url(), ACCOUNT, 1);
    impatient.get_findings().send().await.unwrap();
    let error = impatient.get_findings().send().await.unwrap_err();
    assert_eq!(error.code(), Some("TooManyRequestsException"));
    let patient = client(&server.url(), ACCOUNT, 5);
    patient.get_findings().send().await.unwrap();
    patient.get_findings().send().await.unwrap();
}

/// The binary; killed when dropped.
struct Binary(Child);

impl Drop for Binary {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn post(url: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    let address = url.strip_prefix("http://").unwrap();
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let stream = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let method = if body.is_some() { "POST" } else { "GET" };
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", address)
        .body(http_body_util::Full::new(Bytes::from(body)))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn the_binary_serves_the_api_the_test_api_and_events() {
    let received = Arc::new(Mutex::new(Vec::new()));
    let inbox = received.clone();
    let bus = Server::start(move |request: Request<Bytes>| {
        inbox.lock().unwrap().push(serde_json::from_slice::<Value>(request.body()).unwrap());
        Response::new(Bytes::new())
    })
    .await
    .unwrap();
    let events = format!("{}/events", bus.url());
    let mut child = Command::new(env!("CARGO_BIN_EXE_securityhub-server"))
        .args(["--port", "0", "--events-endpoint", &events])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let _running = Binary(child);
    let url = line.trim().strip_prefix("listening on ").unwrap().to_owned();
    let sdk = client(&url, ACCOUNT, 1);

    let finding = bucket("a");
    let ask = async |path: &str, body: Value| {
        let (status, answer) = post(&url, &format!("/_test/{path}"), Some(body)).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    };
    let caused = ask("import-as-aws", finding.asff()).await;
    assert_eq!(caused["events"][0]["detail-type"], "Security Hub Findings - Imported");
    ask("import-ocsf", json!([finding.ocsf()])).await;
    sdk.create_action_target().id("Fix").name("n").description("d").send().await.unwrap();
    let clicked = ask("custom-action", json!({ "action": "Fix", "findings": [finding.id()] })).await;
    assert_eq!(clicked["events"][0]["detail-type"], "Security Hub Findings - Custom Action");
    ask("reevaluate", json!({ "id": finding.id(), "status": ComplianceStatus::Passed.as_str() })).await;
    ask("archive", json!({ "id": finding.id() })).await;
    ask("update", json!({ "id": finding.id(), "patch": { "RecordState": "ACTIVE" } })).await;
    let ports = json!({ "authorizedTcpPorts": { "ValueType": "CUSTOM", "Value": { "IntegerList": [443] } } });
    let set = json!({ "account": ACCOUNT, "region": REGION, "control": "EC2.18", "parameters": ports });
    ask("parameters", set).await;
    let control = sdk.batch_get_security_controls().security_control_ids("EC2.18").send().await.unwrap();
    let value = control.security_controls()[0].parameters().unwrap()["authorizedTcpPorts"].value().cloned();
    assert_eq!(value, Some(ParameterValue::IntegerList(vec![443])));
    ask("control", json!({ "id": "KMS.4", "title": "Rotate", "severity": "MEDIUM" })).await;
    ask("fail", json!({ "operation": "GetFindings", "status": 500, "code": "InternalException" })).await;
    let error = sdk.get_findings().send().await.unwrap_err();
    assert!(error.as_service_error().unwrap().is_internal_exception());
    let code = "ConcurrentUpdateError";
    ask("fail-update", json!({ "id": finding.id(), "code": code, "times": 1 })).await;
    let update = sdk.batch_update_findings().finding_identifiers(identifier(&finding)).confidence(50);
    let refused = update.send().await.unwrap();
    assert_eq!(refused.unprocessed_findings()[0].error_code(), Some(code));
    ask("throttle", json!({ "rate": 0, "burst": 0 })).await;
    assert_eq!(sdk.describe_hub().send().await.unwrap_err().code(), Some("TooManyRequestsException"));
    ask("throttle", json!({ "on": false })).await;
    ask("administrator", json!({ "account": "999999999999", "members": [ACCOUNT] })).await;
    ask("home-region", json!({ "region": "eu-west-1" })).await;
    ask("access-key", json!({ "key": "ASIAEXAMPLE", "account": "999999999999" })).await;
    let administrator = client(&url, "ASIAEXAMPLE", 1);
    assert_eq!(administrator.get_findings().send().await.unwrap().findings().len(), 1);
    ask("time", json!({ "now": "2026-11-23T08:00:00Z" })).await;

    let (_, calls) = post(&url, "/_test/calls", None).await;
    assert_eq!(calls["calls"][0]["operation"], "CreateActionTarget");
    let (_, stored) = post(&url, "/_test/findings", None).await;
    assert_eq!((stored["asff"].as_array().unwrap().len(), stored["ocsf"].as_array().unwrap().len()), (1, 1));
    let (_, drained) = post(&url, "/_test/events", None).await;
    let drained = drained["events"].as_array().unwrap().clone();
    // Two imports, the click, both formats checked again, archived, active again.
    assert_eq!(drained.len(), 7);
    for _ in 0..100 {
        if received.lock().unwrap().len() == drained.len() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(*received.lock().unwrap(), drained, "all of them, in order");
    ask("reset", Value::Null).await;
    assert!(sdk.get_findings().send().await.unwrap().findings().is_empty());
    let (status, answer) =
        post(&url, "/_test/reevaluate", Some(json!({ "id": "x", "status": "MAYBE" }))).await;
    assert_eq!((status, answer["error"].as_str()), (400, Some("`MAYBE` is no compliance status")));
}
