#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use http::{HeaderMap, Method};
use serde_json::{Value, json};

use super::request::percent_decode;
use super::{SecurityHub, Settings, Throttle, partition};
use crate::findings::{ComplianceStatus, ControlFinding, Standard};

const ACCOUNT: &str = "123456789012";
const REGION: &str = "us-east-1";

fn call_as(hub: &SecurityHub, who: (&str, &str), method: &Method, path: &str, body: &Value) -> (u16, Value) {
    let mut headers = HeaderMap::new();
    let credential = format!(
        "AWS4-HMAC-SHA256 Credential={}/20261123/{}/securityhub/aws4_request, SignedHeaders=host, Signature=0",
        who.0, who.1
    );
    headers.insert("authorization", credential.parse().unwrap());
    let response = hub.handle(method, path, &headers, body.to_string().as_bytes());
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    if response.status() != 200 {
        assert_eq!(response.headers()["x-amzn-errortype"], body["Code"].as_str().unwrap());
    }
    (response.status().as_u16(), body)
}

fn call(hub: &SecurityHub, method: &Method, path: &str, body: &Value) -> (u16, Value) {
    call_as(hub, (ACCOUNT, REGION), method, path, body)
}

fn get(hub: &SecurityHub, body: &Value) -> Vec<String> {
    let (status, answer) = call(hub, &Method::POST, "/findings", body);
    assert_eq!(status, 200, "{answer}");
    answer["Findings"].as_array().unwrap().iter().map(|f| f["Id"].as_str().unwrap().to_owned()).collect()
}

fn update(hub: &SecurityHub, finding: &Value, change: &Value) -> Value {
    let mut body = change.clone();
    body["FindingIdentifiers"] = json!([{ "Id": finding["Id"], "ProductArn": finding["ProductArn"] }]);
    let (status, answer) = call(hub, &Method::PATCH, "/findings/batchupdate", &body);
    assert_eq!(status, 200, "{answer}");
    answer
}

fn code(hub: &SecurityHub, method: &Method, path: &str, body: &Value) -> (u16, String) {
    let (status, answer) = call(hub, method, path, body);
    (status, answer["Code"].as_str().unwrap_or_default().to_owned())
}

fn bucket(name: &str) -> ControlFinding {
    ControlFinding::new("S3.14").resource("AwsS3Bucket", &format!("arn:aws:s3:::{name}"))
}

fn with(findings: impl IntoIterator<Item = Value>) -> SecurityHub {
    let hub = SecurityHub::new();
    hub.import_as_aws(findings).unwrap();
    hub.events();
    hub
}

fn own(id: &str) -> Value {
    json!({
        "SchemaVersion": "2018-10-08",
        "Id": id,
        "ProductArn": format!("arn:aws:securityhub:{REGION}:{ACCOUNT}:product/{ACCOUNT}/default"),
        "GeneratorId": "redress/inactive-user",
        "AwsAccountId": ACCOUNT,
        "CreatedAt": "2026-11-20T08:00:00Z",
        "UpdatedAt": "2026-11-20T08:00:00Z",
        "Title": "User is inactive",
        "Description": "The user did not sign in.",
        "Resources": [{ "Type": "Other", "Id": "user-1" }],
        "FindingProviderFields": {
            "Severity": { "Label": "LOW" },
            "Types": ["Software and Configuration Checks/Users"],
        },
    })
}

fn import(hub: &SecurityHub, findings: &Value) -> Value {
    let (status, answer) = call(hub, &Method::POST, "/findings/import", &json!({ "Findings": findings }));
    assert_eq!(status, 200, "{answer}");
    answer
}

#[test]
fn filters_of_one_attribute_are_joined_by_or_and_exclusions_by_and() {
    let hub = with([
        bucket("a").asff(),
        ControlFinding::new("EC2.13").resource("AwsEc2SecurityGroup", "arn:aws:ec2:us-east-1:1:sg/b").asff(),
        ControlFinding::new("EC2.12").resource("AwsEc2Eip", "arn:aws:ec2:us-east-1:1:eip/c").asff(),
    ]);
    let count = |filters: Value| get(&hub, &json!({ "Filters": filters })).len();
    let on = |comparison: &str, value: &str| json!({ "Comparison": comparison, "Value": value });
    let id = "ComplianceSecurityControlId";
    assert_eq!(count(json!({})), 3);
    assert_eq!(count(json!({ id: [on("EQUALS", "S3.14"), on("EQUALS", "EC2.12")] })), 2);
    assert_eq!(count(json!({ id: [on("EQUALS", "s3.14")] })), 0);
    assert_eq!(count(json!({ id: [on("PREFIX", "EC2.")] })), 2);
    assert_eq!(count(json!({ id: [on("PREFIX", "EC2."), on("NOT_EQUALS", "EC2.12")] })), 1);
    assert_eq!(count(json!({ id: [on("NOT_EQUALS", "S3.14"), on("NOT_EQUALS", "EC2.12")] })), 1);
    assert_eq!(count(json!({ id: [on("PREFIX_NOT_EQUALS", "EC2.")] })), 1);
    assert_eq!(
        count(json!({ id: [on("PREFIX", "EC2.")], "ResourceType": [on("EQUALS", "AwsEc2Eip")] })),
        1,
        "attributes are joined by and"
    );
    assert_eq!(count(json!({ "SeverityLabel": [on("EQUALS", "LOW")] })), 2);
    assert_eq!(count(json!({ "SeverityNormalized": [{ "Gte": 70 }] })), 1);
    assert_eq!(count(json!({ "NoteText": [on("NOT_EQUALS", "x")] })), 3, "no note is not that note");
    assert_eq!(
        count(json!({ "ComplianceAssociatedStandardsId": [on("PREFIX", "ruleset/")] })),
        1,
        "any element of an array"
    );
    let id_of_none = on("NOT_EQUALS", "standards/nist-800-53/v/5.0.0");
    assert_eq!(
        count(json!({ "ComplianceAssociatedStandardsId": [id_of_none] })),
        0,
        "no element of an array"
    );
}

#[test]
fn date_and_map_filters() {
    let tagged = bucket("a").tag("team", "red").tag("env", "prod").asff();
    let hub = with([tagged, bucket("b").tag("team", "blue").asff(), bucket("c").asff()]);
    hub.set_time(Some("2026-11-30T00:00:00Z".parse().unwrap()));
    let count = |filters: Value| get(&hub, &json!({ "Filters": filters })).len();
    let tag =
        |comparison: &str, value: &str| json!({ "Key": "team", "Comparison": comparison, "Value": value });
    assert_eq!(count(json!({ "ResourceTags": [tag("EQUALS", "red"), tag("EQUALS", "blue")] })), 2);
    assert_eq!(count(json!({ "ResourceTags": [tag("NOT_EQUALS", "red")] })), 2);
    let range = |days: i64, how: &str| json!({ "UpdatedAt": [{ "DateRange": { "Value": days, "Unit": "DAYS", "Comparison": how } }] });
    assert_eq!(count(range(30, "WITHIN")), 3);
    assert_eq!(count(range(2, "WITHIN")), 0);
    assert_eq!(count(range(2, "OLDER_THAN")), 3);
    let between = |from: &str, to: &str| json!({ "CreatedAt": [{ "Start": from, "End": to }] });
    assert_eq!(count(between("2026-11-01T00:00:00Z", "2026-11-29T00:00:00Z")), 3);
    assert_eq!(count(between("2026-11-28T00:00:00Z", "2026-11-29T00:00:00Z")), 0);
}

#[test]
fn filters_that_aws_refuses_are_refused() {
    let hub = SecurityHub::new();
    let on = |comparison: &str| json!({ "Comparison": comparison, "Value": "x" });
    let eleven: Value = [
        "Id",
        "ProductArn",
        "AwsAccountId",
        "GeneratorId",
        "Region",
        "Type",
        "Title",
        "Description",
        "RecordState",
        "ResourceId",
        "ResourceType",
    ]
    .iter()
    .map(|name| ((*name).to_owned(), json!([on("EQUALS")])))
    .collect::<serde_json::Map<_, _>>()
    .into();
    for filters in [
        json!({ "Title": [on("EQUALS"), on("NOT_EQUALS")] }),
        json!({ "Title": [on("EQUALS"), on("PREFIX_NOT_EQUALS")] }),
        json!({ "Title": [on("CONTAINS")] }),
        json!({ "Title": [on("CONTAINS_WORD")] }),
        json!({ "Title": [on("equals")] }),
        json!({ "Title": [{ "Value": "x" }] }),
        json!({ "Title": [{ "Comparison": "EQUALS" }] }),
        json!({ "Title": vec![on("EQUALS"); 21] }),
        json!({ "Titel": [on("EQUALS")] }),
        json!({ "UpdatedAt": [{ "Start": "yesterday" }] }),
        eleven,
    ] {
        let body = json!({ "Filters": filters });
        let expected = (400, "InvalidInputException".to_owned());
        assert_eq!(code(&hub, &Method::POST, "/findings", &body), expected, "{body}");
    }
    let lenient = SecurityHub::with_settings(Settings { allow_contains: true, ..Settings::default() });
    let contains = json!({ "Filters": { "Title": [on("CONTAINS"), on("CONTAINS")] } });
    assert_eq!(call(&lenient, &Method::POST, "/findings", &contains).0, 200);
    let mixed = json!({ "Filters": { "Title": [on("CONTAINS"), on("EQUALS")] } });
    assert_eq!(call(&lenient, &Method::POST, "/findings", &mixed).0, 400);
}

#[test]
fn pages_hold_all_findings_once_and_in_order() {
    let hub = with((0..25).map(|n| bucket(&format!("b{n:02}")).asff()));
    let sorted = json!([{ "Field": "ResourceId", "SortOrder": "desc" }]);
    let mut body = json!({ "MaxResults": 10, "SortCriteria": sorted });
    let mut ids = Vec::new();
    loop {
        let (_, answer) = call(&hub, &Method::POST, "/findings", &body);
        let page = answer["Findings"].as_array().unwrap();
        ids.extend(page.iter().map(|f| f["Resources"][0]["Id"].as_str().unwrap().to_owned()));
        let Some(token) = answer.get("NextToken") else { break };
        body["NextToken"] = token.clone();
    }
    let expected: Vec<String> = (0..25).rev().map(|n| format!("arn:aws:s3:::b{n:02}")).collect();
    assert_eq!(ids, expected);
    body["SortCriteria"] = json!([]);
    assert_eq!(call(&hub, &Method::POST, "/findings", &body).0, 400, "a token of another query");
    for size in [0, 101] {
        assert_eq!(call(&hub, &Method::POST, "/findings", &json!({ "MaxResults": size })).0, 400);
    }
}

#[test]
fn a_customers_fields_outlive_the_providers_updates() {
    let finding = bucket("a").asff();
    let hub = with([finding.clone()]);
    let id = finding["Id"].as_str().unwrap();
    let answer = update(
        &hub,
        &finding,
        &json!({
            "Note": { "Text": "first", "UpdatedBy": "me" },
            "UserDefinedFields": { "a": "1" },
            "Workflow": { "Status": "NOTIFIED" },
            "Severity": { "Label": "CRITICAL" },
            "VerificationState": "TRUE_POSITIVE",
        }),
    );
    assert_eq!(answer["UnprocessedFindings"], json!([]));
    let mut again = bucket("a").asff();
    again["Note"] = json!({ "Text": "provider's", "UpdatedBy": "aws", "UpdatedAt": "2026-11-20T08:00:00Z" });
    again["UserDefinedFields"] = json!({ "b": "2" });
    again["Title"] = "another title".into();
    hub.import_as_aws([again]).unwrap();
    let stored = hub.finding(id).unwrap();
    assert_eq!(stored["Title"], "another title");
    assert_eq!(stored["Note"]["Text"], "first");
    assert_eq!(stored["UserDefinedFields"], json!({ "a": "1" }));
    assert_eq!(stored["Workflow"]["Status"], "NOTIFIED");
    assert_eq!(stored["VerificationState"], "TRUE_POSITIVE");
    assert_eq!(stored["Severity"]["Label"], "CRITICAL");
    assert_eq!(stored["Severity"]["Normalized"], 90);
    assert_eq!(stored["FindingProviderFields"]["Severity"]["Label"], "LOW");
    assert_eq!(stored["UpdatedAt"], finding["UpdatedAt"], "a customer's update does not move it");

    update(
        &hub,
        &finding,
        &json!({
            "Note": { "Text": "second", "UpdatedBy": "you" },
            "UserDefinedFields": { "c": "3" },
        }),
    );
    let stored = hub.finding(id).unwrap();
    assert_eq!(stored["Note"]["Text"], "second");
    assert_eq!(stored["Note"]["UpdatedBy"], "you");
    assert_eq!(stored["UserDefinedFields"], json!({ "c": "3" }));
    assert_eq!(hub.findings().len(), 1);
}

#[test]
fn the_workflow_follows_the_check() {
    let finding = bucket("a").asff();
    let id = finding["Id"].as_str().unwrap();
    let hub = with([finding.clone()]);
    let workflow = || hub.finding(id).unwrap()["Workflow"]["Status"].as_str().unwrap().to_owned();
    let set = |status: &str| update(&hub, &finding, &json!({ "Workflow": { "Status": status } }));
    assert_eq!(workflow(), "NEW");
    set("NOTIFIED");
    hub.reevaluate(id, ComplianceStatus::Failed).unwrap();
    assert_eq!(workflow(), "NOTIFIED", "still failed");
    hub.reevaluate(id, ComplianceStatus::Passed).unwrap();
    assert_eq!(workflow(), "RESOLVED");
    let passed = hub.finding(id).unwrap();
    assert_eq!(passed["Severity"]["Label"], "INFORMATIONAL");
    assert_eq!(passed["ProductFields"]["PreviousComplianceStatus"], "FAILED");
    hub.reevaluate(id, ComplianceStatus::Failed).unwrap();
    assert_eq!(workflow(), "NEW");
    assert_eq!(hub.finding(id).unwrap()["Severity"]["Label"], "LOW");
    set("RESOLVED");
    hub.reevaluate(id, ComplianceStatus::Failed).unwrap();
    assert_eq!(workflow(), "RESOLVED", "it never left FAILED");
    hub.archive(id).unwrap();
    hub.update_as_aws(id, &json!({ "RecordState": "ACTIVE" })).unwrap();
    assert_eq!(workflow(), "NEW");
    set("SUPPRESSED");
    hub.reevaluate(id, ComplianceStatus::Passed).unwrap();
    hub.reevaluate(id, ComplianceStatus::Failed).unwrap();
    assert_eq!(workflow(), "SUPPRESSED", "never changes by itself");
}

#[test]
fn each_finding_that_cannot_be_updated_is_named_with_its_reason() {
    let (a, b) = (bucket("a").asff(), bucket("b").asff());
    let hub = with([a.clone(), b.clone()]);
    hub.fail_next_update(b["Id"].as_str().unwrap(), "ConcurrentUpdateError", 1);
    let id = |finding: &Value| json!({ "Id": finding["Id"], "ProductArn": finding["ProductArn"] });
    let foreign =
        json!({ "Id": a["Id"], "ProductArn": "arn:aws:securityhub:us-east-1::product/aws/guardduty" });
    let body = json!({
        "FindingIdentifiers": [id(&a), id(&b), foreign, { "Id": "x", "ProductArn": "p" }, { "Id": "x", "ProductArn": "p" }],
        "Note": { "Text": "x".repeat(512), "UpdatedBy": "redress" },
    });
    let (status, answer) = call(&hub, &Method::PATCH, "/findings/batchupdate", &body);
    assert_eq!(status, 200);
    assert_eq!(answer["ProcessedFindings"], json!([id(&a)]));
    let codes: Vec<&str> = answer["UnprocessedFindings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|u| u["ErrorCode"].as_str().unwrap())
        .collect();
    let expected = [
        "ConcurrentUpdateError",
        "FindingNotFound",
        "DuplicatedFindingIdentifier",
        "DuplicatedFindingIdentifier",
    ];
    assert_eq!(codes, expected);
    let long = update(&hub, &a, &json!({ "Note": { "Text": "x".repeat(513), "UpdatedBy": "redress" } }));
    assert_eq!(long["UnprocessedFindings"][0]["ErrorCode"], "InvalidInput");
    let many: serde_json::Map<String, Value> = (0..51).map(|n| (format!("k{n}"), "v".into())).collect();
    let many = update(&hub, &a, &json!({ "UserDefinedFields": many }));
    assert_eq!(many["UnprocessedFindings"][0]["ErrorCode"], "InvalidInput");
    let elsewhere = call_as(&hub, (ACCOUNT, "eu-west-1"), &Method::PATCH, "/findings/batchupdate", &body);
    assert_eq!(elsewhere.1["ProcessedFindings"], json!([]), "another Region does not see it");
}

#[test]
fn updates_against_the_api_model_fail_as_a_whole() {
    let hub = SecurityHub::new();
    let one = json!([{ "Id": "x", "ProductArn": "p" }]);
    for body in [
        json!({ "Note": { "Text": "t", "UpdatedBy": "u" } }),
        json!({ "FindingIdentifiers": [], "Confidence": 1 }),
        json!({ "FindingIdentifiers": vec![one[0].clone(); 101], "Confidence": 1 }),
        json!({ "FindingIdentifiers": [{ "Id": "x" }], "Confidence": 1 }),
        json!({ "FindingIdentifiers": one }),
        json!({ "FindingIdentifiers": one, "Note": { "Text": "t" } }),
        json!({ "FindingIdentifiers": one, "Workflow": { "Status": "DONE" } }),
        json!({ "FindingIdentifiers": one, "Confidence": 101 }),
        json!({ "FindingIdentifiers": one, "Severity": { "Label": "low" } }),
        json!({ "FindingIdentifiers": one, "UserDefinedFields": { "a": 1 } }),
    ] {
        let expected = (400, "InvalidInputException".to_owned());
        assert_eq!(code(&hub, &Method::PATCH, "/findings/batchupdate", &body), expected, "{body}");
    }
}

#[test]
fn a_provider_imports_under_its_own_product_only() {
    let hub = SecurityHub::new();
    assert_eq!(import(&hub, &json!([own("1")]))["SuccessCount"], 1);
    let stored = hub.finding("1").unwrap();
    assert_eq!(stored["ProductName"], "Default");
    assert_eq!(stored["Region"], REGION);
    assert_eq!(stored["Workflow"]["Status"], "NEW");
    assert_eq!(stored["Severity"], json!({ "Label": "LOW", "Normalized": 1 }));
    let mut foreign_account = own("2");
    foreign_account["AwsAccountId"] = "210987654321".into();
    for finding in [bucket("a").asff(), foreign_account] {
        let body = json!({ "Findings": [own("3"), finding] });
        let expected = (403, "AccessDeniedException".to_owned());
        assert_eq!(code(&hub, &Method::POST, "/findings/import", &body), expected);
    }
    assert!(hub.finding("3").is_none(), "none of a refused call");
}

#[test]
fn findings_that_do_not_adhere_are_named_and_the_others_imported() {
    let hub = SecurityHub::new();
    let mut bad = Vec::new();
    for change in [
        json!({ "Resources": [] }),
        json!({ "Resources": [{ "Type": "Other" }] }),
        json!({ "Title": "x".repeat(257) }),
        json!({ "CreatedAt": "yesterday" }),
        json!({ "FindingProviderFields": null }),
        json!({ "SchemaVersion": "2020-01-01" }),
        json!({ "Severity": { "Label": "low" } }),
        json!({ "Types": ["Whatever/x"] }),
        json!({ "ProductFields": { "a": 1 } }),
        json!({ "Compliance": { "Status": "Failed" } }),
        json!({ "Description": "x".repeat(2000) }),
        json!({ "SourceUrl": "x".repeat(250_000) }),
    ] {
        let mut finding = own(&format!("bad{}", bad.len()));
        super::json::merge(&mut finding, &change);
        bad.push(finding);
    }
    let mut all = bad.clone();
    all.push(own("good"));
    let answer = import(&hub, &json!(all));
    assert_eq!(answer["FailedCount"], bad.len());
    assert_eq!(answer["SuccessCount"], 1);
    let failed = &answer["FailedFindings"];
    assert_eq!(failed[0]["Id"], "bad0");
    assert_eq!(failed[0]["ErrorCode"], "InvalidInput");
    assert_eq!(
        failed[0]["ErrorMessage"],
        "Finding does not adhere to Amazon Finding Format. data.Resources should NOT have fewer than 1 items."
    );
    let body = json!({ "Findings": vec![own("x"); 101] });
    assert_eq!(code(&hub, &Method::POST, "/findings/import", &body).0, 400);
}

#[test]
fn each_change_is_one_event_on_each_bus_that_carries_it() {
    let finding = bucket("a").asff();
    let hub = SecurityHub::new();
    let heard = std::sync::Arc::new(std::sync::Mutex::new(0));
    let counter = heard.clone();
    let again = hub.clone();
    hub.on_event(move |_| {
        // A listener may call the hub.
        again.findings();
        *counter.lock().unwrap() += 1;
    });
    let caused = hub.import_as_aws([finding.clone(), bucket("b").asff()]).unwrap();
    assert_eq!(caused.len(), 2);
    assert_eq!(hub.events(), caused);
    update(&hub, &finding, &json!({ "Note": { "Text": "t", "UpdatedBy": "u" } }));
    let events = hub.events();
    assert_eq!(events.len(), 1);
    let event = &events[0];
    let resource = format!("{}/{}", finding["ProductArn"].as_str().unwrap(), finding["Id"].as_str().unwrap());
    assert_eq!(event["detail-type"], "Security Hub Findings - Imported");
    assert_eq!(event["source"], "aws.securityhub");
    assert_eq!(event["resources"], json!([resource]));
    assert_eq!(event["account"], ACCOUNT);
    assert_eq!(event["detail"]["findings"][0]["Note"]["Text"], "t");
    assert!(event["time"].as_str().unwrap().ends_with('Z') && event["time"].as_str().unwrap().len() == 20);
    assert_eq!(*heard.lock().unwrap(), 3);

    hub.set_administrator("999999999999", [ACCOUNT]);
    hub.set_home_region(Some("eu-west-1"));
    let caused = hub.update_as_aws(finding["Id"].as_str().unwrap(), &json!({})).unwrap();
    let mut buses: Vec<(&str, &str)> =
        caused.iter().map(|e| (e["account"].as_str().unwrap(), e["region"].as_str().unwrap())).collect();
    buses.sort_unstable();
    let expected =
        [(ACCOUNT, "eu-west-1"), (ACCOUNT, REGION), ("999999999999", "eu-west-1"), ("999999999999", REGION)];
    assert_eq!(buses, expected);
    let home = ("999999999999", "eu-west-1");
    let (_, seen) = call_as(&hub, home, &Method::POST, "/findings", &json!({}));
    assert_eq!(seen["Findings"].as_array().unwrap().len(), 2);
    let (_, unseen) = call_as(&hub, ("888888888888", REGION), &Method::POST, "/findings", &json!({}));
    assert_eq!(unseen["Findings"], json!([]));
}

#[test]
fn a_custom_action_is_one_event_a_finding() {
    let (a, b) = (bucket("a").asff(), bucket("b").asff());
    let hub = with([a.clone(), b.clone()]);
    let ids = [a["Id"].as_str().unwrap(), b["Id"].as_str().unwrap()];
    assert!(hub.custom_action("RedressFix", &ids).is_err(), "no such action yet");
    let action = json!({ "Id": "RedressFix", "Name": "Redress: fix", "Description": "Fixes it" });
    let (_, made) = call(&hub, &Method::POST, "/actionTargets", &action);
    assert_eq!(
        made["ActionTargetArn"],
        "arn:aws:securityhub:us-east-1:123456789012:action/custom/RedressFix"
    );
    let events = hub.custom_action("RedressFix", &ids).unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(events[1]["detail-type"], "Security Hub Findings - Custom Action");
    assert_eq!(events[1]["resources"], json!([made["ActionTargetArn"]]));
    assert_eq!(events[1]["detail"]["actionName"], "Redress: fix");
    assert_eq!(events[1]["detail"]["actionDescription"], "Fixes it");
    assert_eq!(events[1]["detail"]["findings"][0]["Id"], b["Id"]);
    assert_eq!(hub.events(), events);
    assert!(hub.custom_action("RedressFix", &["nothing"]).is_err());
}

#[test]
fn action_targets_have_limits() {
    let hub = SecurityHub::new();
    let make = |id: &str, name: &str| {
        code(&hub, &Method::POST, "/actionTargets", &json!({ "Id": id, "Name": name, "Description": "d" }))
    };
    assert_eq!(make("with-dash", "n").0, 400);
    assert_eq!(make(&"x".repeat(21), "n").0, 400);
    assert_eq!(make("ok", &"n".repeat(21)).0, 400);
    assert_eq!(make("ok", "n").0, 200);
    assert_eq!(make("ok", "n"), (409, "ResourceConflictException".to_owned()));
    for n in 0..49 {
        assert_eq!(make(&format!("a{n}"), "n").0, 200);
    }
    assert_eq!(make("onemore", "n"), (429, "LimitExceededException".to_owned()));
    let (_, all) = call(&hub, &Method::POST, "/actionTargets/get", &json!({}));
    assert_eq!(all["ActionTargets"].as_array().unwrap().len(), 50);
}

#[test]
fn ocsf_findings_are_found_updated_and_announced() {
    let hub = SecurityHub::new();
    let (a, b) = (bucket("a").tag("team", "red"), ControlFinding::new("EC2.19"));
    let events = hub.import_ocsf([a.ocsf(), b.ocsf()]).unwrap();
    assert_eq!(events[0]["detail-type"], "Findings Imported V2");
    assert_eq!(events[0]["resources"], json!([a.metadata_uid()]));
    hub.events();
    let count = |filters: Value| {
        let (status, answer) = call(&hub, &Method::POST, "/findingsv2", &json!({ "Filters": filters }));
        assert_eq!(status, 200, "{answer}");
        answer["Findings"].as_array().unwrap().len()
    };
    let string = |field: &str, comparison: &str, value: &str| json!({ "FieldName": field, "Filter": { "Comparison": comparison, "Value": value } });
    let s3 = string("compliance.control", "EQUALS", "S3.14");
    let ec2 = string("compliance.control", "PREFIX", "EC2");
    let of = |filters: Value, operator: &str| json!({ "StringFilters": filters, "Operator": operator });
    assert_eq!(count(json!({})), 2);
    assert_eq!(count(json!({ "CompositeFilters": [of(json!([s3]), "AND")] })), 1);
    assert_eq!(count(json!({ "CompositeFilters": [of(json!([s3, ec2]), "AND")] })), 0);
    assert_eq!(count(json!({ "CompositeFilters": [of(json!([s3, ec2]), "OR")] })), 2);
    let two = json!([of(json!([s3]), "AND"), of(json!([ec2]), "AND")]);
    assert_eq!(count(json!({ "CompositeFilters": two, "CompositeOperator": "OR" })), 2);
    assert_eq!(count(json!({ "CompositeFilters": two, "CompositeOperator": "AND" })), 0);
    let nested = json!({ "StringFilters": [string("status", "EQUALS", "New")], "NestedCompositeFilters": [of(json!([ec2]), "OR")] });
    assert_eq!(count(json!({ "CompositeFilters": [nested] })), 1);
    let word = string("finding_info.title", "CONTAINS_WORD", "VERSIONING");
    assert_eq!(count(json!({ "CompositeFilters": [of(json!([word]), "AND")] })), 1);
    let tag = json!({ "FieldName": "resources.tags", "Filter": { "Key": "team", "Comparison": "EQUALS", "Value": "red" } });
    assert_eq!(count(json!({ "CompositeFilters": [{ "MapFilters": [tag] }] })), 1);
    let high = json!({ "FieldName": "severity_id", "Filter": { "Gte": 4 } });
    assert_eq!(count(json!({ "CompositeFilters": [{ "NumberFilters": [high] }] })), 1);
    let unknown =
        json!({ "Filters": { "CompositeFilters": [of(json!([string("control", "EQUALS", "x")]), "AND")] } });
    assert_eq!(code(&hub, &Method::POST, "/findingsv2", &unknown), (400, "ValidationException".to_owned()));

    let before = hub.ocsf_finding(&a.metadata_uid()).unwrap();
    let change = json!({ "MetadataUids": [a.metadata_uid(), "ff"], "Comment": "fixed", "StatusId": 2 });
    let (_, answer) = call(&hub, &Method::PATCH, "/findingsv2/batchupdatev2", &change);
    assert_eq!(answer["ProcessedFindings"][0]["MetadataUid"], a.metadata_uid());
    assert_eq!(answer["ProcessedFindings"][0]["FindingIdentifier"]["FindingInfoUid"], a.id());
    assert_eq!(answer["UnprocessedFindings"][0]["MetadataUid"], "ff");
    assert_eq!(answer["UnprocessedFindings"][0]["ErrorCode"], "ResourceNotFoundException");
    let after = hub.ocsf_finding(&a.id()).unwrap();
    assert_eq!(
        (&after["comment"], &after["status"], &after["status_id"]),
        (&json!("fixed"), &json!("In Progress"), &json!(2))
    );
    assert_eq!(after["finding_info"]["modified_time"], before["finding_info"]["modified_time"]);
    assert_eq!(hub.events().len(), 1);
    let identifier = json!({
        "CloudAccountUid": ACCOUNT,
        "FindingInfoUid": b.id(),
        "MetadataProductUid": "arn:aws:securityhub:us-east-1::productv2/aws/securityhub",
    });
    let change = json!({ "FindingIdentifiers": [identifier], "SeverityId": 2 });
    let (_, answer) = call(&hub, &Method::PATCH, "/findingsv2/batchupdatev2", &change);
    assert_eq!(answer["UnprocessedFindings"], json!([]));
    assert_eq!(hub.ocsf_finding(&b.id()).unwrap()["severity"], "Low");
    let elsewhere =
        call_as(&hub, (ACCOUNT, "eu-west-1"), &Method::PATCH, "/findingsv2/batchupdatev2", &change);
    assert_eq!(elsewhere.1["ProcessedFindings"], json!([]), "another Region does not see it");
    for wrong in [
        json!({ "Comment": "c" }),
        json!({ "MetadataUids": ["ff"], "FindingIdentifiers": [identifier], "Comment": "c" }),
        json!({ "MetadataUids": ["ff"] }),
        json!({ "MetadataUids": ["ff"], "Comment": "" }),
        json!({ "MetadataUids": ["ff"], "Comment": "x".repeat(513) }),
        json!({ "MetadataUids": ["ff"], "StatusId": 6 }),
        json!({ "MetadataUids": vec!["ff"; 101], "Comment": "c" }),
    ] {
        let expected = (400, "ValidationException".to_owned());
        assert_eq!(code(&hub, &Method::PATCH, "/findingsv2/batchupdatev2", &wrong), expected, "{wrong}");
    }
}

#[test]
fn both_formats_of_a_finding_are_checked_again_together() {
    let finding = bucket("a");
    let hub = with([finding.asff()]);
    hub.import_ocsf([finding.ocsf()]).unwrap();
    let events = hub.reevaluate(&finding.id(), ComplianceStatus::Passed).unwrap();
    assert_eq!(events.len(), 2);
    let ocsf = hub.ocsf_finding(&finding.id()).unwrap();
    assert_eq!(ocsf["compliance"]["status"], "Pass");
    assert_eq!((&ocsf["status"], &ocsf["severity"]), (&json!("Resolved"), &json!("Informational")));
    assert_eq!((&ocsf["activity_name"], &ocsf["type_uid"]), (&json!("Update"), &json!(200_302)));
    hub.reevaluate(&finding.id(), ComplianceStatus::Failed).unwrap();
    assert_eq!(hub.ocsf_finding(&finding.id()).unwrap()["status"], "New");
    assert!(hub.reevaluate("nothing", ComplianceStatus::Failed).is_err());
}

#[test]
fn control_parameters_are_those_of_the_account_and_region() {
    let hub = SecurityHub::new();
    let ask = |who: (&str, &str)| {
        let ids = json!({ "SecurityControlIds": ["EC2.18", "Nope.1"] });
        call_as(&hub, who, &Method::POST, "/securityControls/batchGet", &ids).1
    };
    let defaults = ask((ACCOUNT, REGION));
    let ports = &defaults["SecurityControls"][0]["Parameters"]["authorizedTcpPorts"];
    assert_eq!(*ports, json!({ "ValueType": "DEFAULT", "Value": { "IntegerList": [80, 443] } }));
    assert_eq!(defaults["UnprocessedIds"][0]["SecurityControlId"], "Nope.1");
    let custom =
        json!({ "authorizedTcpPorts": { "ValueType": "CUSTOM", "Value": { "IntegerList": [443] } } });
    hub.set_parameters(ACCOUNT, "eu-west-1", "EC2.18", &custom).unwrap();
    let there = ask((ACCOUNT, "eu-west-1"));
    let parameters = &there["SecurityControls"][0]["Parameters"];
    assert_eq!(parameters["authorizedTcpPorts"], custom["authorizedTcpPorts"]);
    assert_eq!(parameters["authorizedUdpPorts"]["Value"]["IntegerList"], json!([]));
    assert_eq!(ask((ACCOUNT, REGION)), defaults);
    assert!(hub.set_parameters(ACCOUNT, REGION, "Nope.1", &custom).is_err());
}

#[test]
fn callers_are_told_apart_and_logged() {
    let hub = with([bucket("a").asff()]);
    let (_, none) = call_as(&hub, ("999999999999", REGION), &Method::POST, "/findings", &json!({}));
    assert_eq!(none["Findings"], json!([]));
    let (_, by_default) = call_as(&hub, ("ASIAEXAMPLE", REGION), &Method::POST, "/findings", &json!({}));
    assert_eq!(by_default["Findings"].as_array().unwrap().len(), 1);
    hub.map_access_key("ASIAEXAMPLE", "999999999999");
    let (_, mapped) =
        call_as(&hub, ("ASIAEXAMPLE", REGION), &Method::POST, "/findings", &json!({ "MaxResults": 0 }));
    assert_eq!(mapped["Code"], "InvalidInputException");
    let calls = hub.calls();
    let logged: Vec<(&str, &str, u16)> =
        calls.iter().map(|call| (call.operation.as_str(), call.account.as_str(), call.status)).collect();
    let expected = [
        ("GetFindings", "999999999999", 200),
        ("GetFindings", ACCOUNT, 200),
        ("GetFindings", "999999999999", 400),
    ];
    assert_eq!(logged, expected);
    assert_eq!(calls[2].body, json!({ "MaxResults": 0 }));
    assert_eq!(hub.count_calls("BatchUpdateFindings"), 0);

    let unsigned = hub.handle(&Method::POST, "/findings", &HeaderMap::new(), b"{}");
    assert_eq!(unsigned.status(), 403);
    assert_eq!(unsigned.headers()["x-amzn-errortype"], "MissingAuthenticationTokenException");
    assert_eq!(
        code(&hub, &Method::POST, "/insights", &json!({})),
        (404, "UnknownOperationException".to_owned())
    );
    let broken = hub.handle(&Method::GET, "/_test/nothing", &HeaderMap::new(), b"");
    assert_eq!(broken.status(), 400);
}

#[test]
fn accounts_must_enable_the_hub_where_that_is_required() {
    let hub = SecurityHub::with_settings(Settings { require_enabled: true, ..Settings::default() });
    let refused = (401, "InvalidAccessException".to_owned());
    assert_eq!(code(&hub, &Method::POST, "/findings", &json!({})), refused);
    assert_eq!(code(&hub, &Method::GET, "/accounts", &json!({})), refused);
    assert_eq!(call(&hub, &Method::POST, "/accounts", &json!({})).0, 200);
    let again = (409, "ResourceConflictException".to_owned());
    assert_eq!(code(&hub, &Method::POST, "/accounts", &json!({})), again);
    let (_, described) = call(&hub, &Method::GET, "/accounts", &json!({}));
    assert_eq!(described["HubArn"], "arn:aws:securityhub:us-east-1:123456789012:hub/default");
    let other = "/accounts?HubArn=arn%3Aaws%3Asecurityhub%3Aus-east-1%3A123456789012%3Ahub%2Fother";
    assert_eq!(code(&hub, &Method::GET, other, &json!({})).0, 404);
}

#[test]
fn the_documented_rates_are_kept() {
    let hub = SecurityHub::new();
    let clock = |at: &str| hub.set_time(Some(at.parse().unwrap()));
    clock("2026-11-23T08:00:00Z");
    hub.set_throttle(Some(Throttle::documented()));
    let get = || code(&hub, &Method::POST, "/findings", &json!({}));
    for _ in 0..6 {
        assert_eq!(get().0, 200);
    }
    assert_eq!(get(), (429, "TooManyRequestsException".to_owned()));
    let elsewhere = call_as(&hub, (ACCOUNT, "eu-west-1"), &Method::POST, "/findings", &json!({}));
    assert_eq!(elsewhere.0, 200, "a bucket for each Region");
    clock("2026-11-23T08:00:01Z");
    for _ in 0..3 {
        assert_eq!(get().0, 200);
    }
    assert_eq!(get().0, 429);
    for _ in 0..30 {
        assert_eq!(code(&hub, &Method::POST, "/findingsv2", &json!({})).0, 200);
    }
    assert_eq!(code(&hub, &Method::POST, "/findingsv2", &json!({})), (429, "ThrottlingException".to_owned()));
    clock("2026-11-23T09:00:00Z");
    assert_eq!((0..7).filter(|_| get().0 == 200).count(), 6, "a rest does not raise the burst");
    hub.set_throttle(None);
    assert_eq!(get().0, 200);
}

#[test]
fn faults_come_as_often_as_they_were_asked_for() {
    let hub = SecurityHub::new();
    hub.fail_next("GetFindings", 500, "InternalException", 2);
    let get = || code(&hub, &Method::POST, "/findings", &json!({}));
    assert_eq!(get(), (500, "InternalException".to_owned()));
    assert_eq!(get().0, 500);
    assert_eq!(get().0, 200);
    hub.import_as_aws([bucket("a").asff()]).unwrap();
    hub.reset();
    assert_eq!((hub.findings().len(), hub.calls().len(), hub.events().len()), (0, 0, 0));
}

#[test]
fn updates_from_many_threads_are_all_kept() {
    let hub = with((0..8).map(|n| bucket(&format!("b{n}")).asff()));
    std::thread::scope(|scope| {
        for finding in hub.findings() {
            let hub = &hub;
            scope.spawn(move || {
                for n in 0..25 {
                    update(hub, &finding, &json!({ "Note": { "Text": n.to_string(), "UpdatedBy": "t" } }));
                }
            });
        }
    });
    assert_eq!(hub.events().len(), 200);
    assert!(hub.findings().iter().all(|finding| finding["Note"]["Text"] == "24"));
}

#[test]
fn findings_of_each_form_adhere_and_are_told_apart() {
    let finding = ControlFinding::new("S3.3").resource("AwsS3Bucket", "arn:aws:s3:::a").details(json!({
        "AwsS3Bucket": { "OwnerId": "abc" },
    }));
    let forms: Vec<Value> = Standard::ALL
        .iter()
        .map(|standard| finding.asff_unconsolidated(*standard))
        .chain([finding.asff(), finding.clone().number(1).asff()])
        .collect();
    let hub = with(forms.clone());
    assert_eq!(hub.findings().len(), forms.len(), "each has an id of its own");
    for (imported, written) in hub.findings().iter().zip(&forms) {
        assert_eq!(imported["ProductFields"], written["ProductFields"], "nothing is left for the hub to add");
        assert_eq!(imported["Severity"], written["Severity"]);
        assert_eq!(imported["Resources"], written["Resources"]);
    }
    let pci = finding.asff_unconsolidated(Standard::PciDss321);
    assert_eq!(pci["GeneratorId"], "pci-dss/v/3.2.1/PCI.S3.1");
    assert!(pci["Id"].as_str().unwrap().contains(":subscription/pci-dss/v/3.2.1/PCI.S3.1/finding/"));
    assert!(pci["Title"].as_str().unwrap().starts_with("PCI.S3.1 "));
    let cis = ControlFinding::new("EC2.13").asff_unconsolidated(Standard::Cis120);
    assert_eq!(
        cis["GeneratorId"],
        "arn:aws:securityhub:::ruleset/cis-aws-foundations-benchmark/v/1.2.0/rule/4.1"
    );
    assert_eq!(cis["ProductFields"]["RuleId"], "4.1");
    assert_eq!(cis["Compliance"]["SecurityControlId"], "EC2.13");
    assert_eq!(finding.asff()["Id"], finding.ocsf()["finding_info"]["uid"]);
    assert_eq!(finding.metadata_uid().len(), 64);
    let gov = ControlFinding::new("S3.1").region("us-gov-west-1").account("210987654321");
    assert_eq!(gov.asff()["ProductArn"], "arn:aws-us-gov:securityhub:us-gov-west-1::product/aws/securityhub");
    assert_eq!(gov.ocsf()["cloud"]["cloud_partition"], "aws-us-gov");
    let passed = ControlFinding::new("S3.1").status(ComplianceStatus::Passed);
    assert_eq!(passed.asff()["Severity"]["Label"], "INFORMATIONAL");
    assert_eq!(passed.asff()["Workflow"]["Status"], "RESOLVED");
    let group = ControlFinding::new("EC2.19")
        .resource("AwsEc2SecurityGroup", "arn:aws:ec2:us-east-1:123456789012:security-group/sg-1");
    let resource = &group.ocsf()["resources"][0];
    assert_eq!((&resource["type"], &resource["uid"]), (&json!("AWS::EC2::SecurityGroup"), &json!("sg-1")));
}

#[test]
fn paths_and_partitions() {
    assert_eq!(percent_decode("arn%3Aaws%3Ax/y").as_deref(), Some("arn:aws:x/y"));
    assert_eq!(percent_decode("%zz"), None);
    assert_eq!(percent_decode("%4"), None);
    assert_eq!((partition("us-iso-east-1"), partition("us-isob-east-1")), ("aws-iso", "aws-iso-b"));
    assert_eq!((partition("cn-north-1"), partition("eu-central-1")), ("aws-cn", "aws"));
}
