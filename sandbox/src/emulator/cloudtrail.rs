//! Where winterbaume's `CloudTrail` is not Amazon's.
//!
//! It drops log file validation, the delivery to `CloudWatch` Logs, the KMS key and whether a trail is an
//! organization's; and it answers an empty prefix where there is none. This layer keeps them, and refuses a log group
//! without a role ([UpdateTrail](https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_UpdateTrail.html)).

use std::collections::HashMap;
use std::sync::Mutex;

use bytes::Bytes;
use http::Response;
use serde_json::{Map, Value, json};

use super::locked;
use super::others::Others;
use super::wire::{Refusal, Request, rewrite};

/// What is kept of a trail, and what requests call it where that is another name.
const KEPT: [(&str, &str); 5] = [
    ("LogFileValidationEnabled", "EnableLogFileValidation"),
    ("CloudWatchLogsLogGroupArn", "CloudWatchLogsLogGroupArn"),
    ("CloudWatchLogsRoleArn", "CloudWatchLogsRoleArn"),
    ("KmsKeyId", "KmsKeyId"),
    ("IsOrganizationTrail", "IsOrganizationTrail"),
];

/// By ARN, what winterbaume does not keep.
#[derive(Default)]
pub(super) struct Trails(Mutex<HashMap<String, Map<String, Value>>>);

impl Trails {
    pub(super) async fn answer(
        &self,
        others: &Others,
        request: &Request,
        operation: &str,
    ) -> Response<Bytes> {
        let asked: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let writes = matches!(operation, "CreateTrail" | "UpdateTrail");
        let filled = |name: &str| asked[name].as_str().is_some_and(|text| !text.is_empty());
        if writes && filled("CloudWatchLogsLogGroupArn") != filled("CloudWatchLogsRoleArn") {
            let message = "You must specify a log group and a role ARN.";
            return Refusal::new(400, "InvalidParameterCombinationException", message).response("cloudtrail");
        }
        let mut response = others.pass(request).await;
        if !response.status().is_success() {
            return response;
        }
        let mut answer: Value = serde_json::from_slice(response.body()).unwrap_or_default();
        let trails: Vec<&mut Value> = match operation {
            "CreateTrail" | "UpdateTrail" => vec![&mut answer],
            "GetTrail" => answer.get_mut("Trail").into_iter().collect(),
            "DescribeTrails" => {
                answer.get_mut("trailList").and_then(Value::as_array_mut).into_iter().flatten().collect()
            }
            _ => return response,
        };
        let mut known = locked(&self.0);
        for trail in trails {
            let Some(trail) = trail.as_object_mut() else { continue };
            let arn = trail.get("TrailARN").and_then(Value::as_str).unwrap_or_default().to_owned();
            if operation == "CreateTrail" {
                let first = json!({ "LogFileValidationEnabled": false, "IsOrganizationTrail": false });
                known.insert(arn.clone(), first.as_object().cloned().unwrap_or_default());
            }
            let kept = known.entry(arn).or_default();
            for (name, called) in KEPT {
                match asked.get(called).filter(|_| writes) {
                    Some(Value::String(empty)) if empty.is_empty() => drop(kept.remove(name)),
                    Some(value) if !value.is_null() => drop(kept.insert(name.to_owned(), value.clone())),
                    _ => {}
                }
            }
            trail.extend(kept.clone());
            if trail.get("S3KeyPrefix").is_some_and(|prefix| prefix == "") {
                trail.remove("S3KeyPrefix");
            }
        }
        drop(known);
        rewrite(&mut response, |_| answer.to_string());
        response
    }
}
