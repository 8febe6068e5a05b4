//! Where winterbaume's CloudWatch Logs are not Amazon's: the class of a log group is not kept, groups of the class
//! `DELIVERY` have no retention of their own, any number of days can be set, and a page of groups has no end
//! ([classes](https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CloudWatch_Logs_Log_Classes.html),
//! [days](https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html),
//! [pages](https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_DescribeLogGroups.html)).

use std::collections::HashMap;
use std::sync::Mutex;

use bytes::Bytes;
use http::{HeaderValue, Response};
use serde_json::{Value, json};

use super::locked;
use super::others::Others;
use super::wire::{Refusal, Request};

/// The classes of log groups other than the standard one, by Region and name.
pub(super) type Classes = Mutex<HashMap<(String, String), String>>;

const DAYS: [u64; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

pub(super) async fn answer(others: &Others, request: &Request, operation: &str) -> Response<Bytes> {
    let mut input: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let key = |name: &Value| (request.region.clone(), name.as_str().unwrap_or_default().to_owned());
    let class = |name: &Value| locked(&others.log_classes).get(&key(name)).cloned();
    let refused = |message: &str| Refusal::new(400, "InvalidParameterException", message).response("logs");
    match operation {
        "CreateLogGroup" => {
            let response = others.pass(request).await;
            let class = input["logGroupClass"].as_str().unwrap_or("STANDARD");
            if response.status().is_success() && class != "STANDARD" {
                locked(&others.log_classes).insert(key(&input["logGroupName"]), class.to_owned());
                if class == "DELIVERY" {
                    let days = json!({ "logGroupName": input["logGroupName"], "retentionInDays": 2 });
                    ask(others, request, "PutRetentionPolicy", &days).await;
                }
            }
            response
        }
        "DeleteLogGroup" => {
            locked(&others.log_classes).remove(&key(&input["logGroupName"]));
            others.pass(request).await
        }
        "PutRetentionPolicy" | "DeleteRetentionPolicy"
            if class(&input["logGroupName"]).as_deref() == Some("DELIVERY") =>
        {
            refused("The retention of a log group of the class DELIVERY can't be changed.")
        }
        "PutRetentionPolicy"
            if !input["retentionInDays"].as_u64().is_some_and(|days| DAYS.contains(&days)) =>
        {
            refused("1 validation error detected: Value at 'retentionInDays' failed to satisfy constraint")
        }
        "DescribeLogGroups" => {
            if input["limit"].is_null()
                && let Some(input) = input.as_object_mut()
            {
                input.insert("limit".to_owned(), json!(50));
            }
            let mut response = ask(others, request, operation, &input).await;
            let mut output: Value = serde_json::from_slice(response.body()).unwrap_or_default();
            for group in output["logGroups"].as_array_mut().into_iter().flatten() {
                let class = class(&group["logGroupName"]).unwrap_or_else(|| "STANDARD".to_owned());
                group["logGroupClass"] = class.into();
            }
            if response.status().is_success() {
                *response.body_mut() = output.to_string().into();
            }
            response
        }
        _ => others.pass(request).await,
    }
}

async fn ask(others: &Others, request: &Request, operation: &str, input: &Value) -> Response<Bytes> {
    let mut asked = Request { body: input.to_string().into(), ..request.clone() };
    if let Ok(target) = HeaderValue::from_str(&format!("Logs_20140328.{operation}")) {
        asked.headers.insert("x-amz-target", target);
    }
    others.pass(&asked).await
}
