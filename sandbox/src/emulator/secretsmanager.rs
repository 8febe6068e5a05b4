//! Where winterbaume's Secrets Manager is not Amazon's: a secret does not show the service that manages it, by whose
//! name and an exclamation mark its own begins
//! ([managed secrets](https://docs.aws.amazon.com/secretsmanager/latest/userguide/service-linked-secrets.html)), nor its
//! Region where it has replicas, which keep it from being deleted
//! ([`DeleteSecret`](https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_DeleteSecret.html)), nor when it
//! was last used.
//!
//! And where time does not pass: the tag [`UNUSED`] stands for the days that a secret was not used, since it was made.
//! It is not shown.

use bytes::Bytes;
use http::{HeaderValue, Response};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::others::Others;
use super::wire::{Refusal, Request};

/// The tag of the sandbox's own that makes a secret old.
const UNUSED: &str = "sandbox:unused-days";

pub(super) async fn answer(others: &Others, request: &Request, operation: &str) -> Response<Bytes> {
    match operation {
        "DeleteSecret" => {
            let input: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let asked = json!({ "SecretId": input["SecretId"] });
            let mut describe = Request { body: asked.to_string().into(), ..request.clone() };
            let target = HeaderValue::from_static("secretsmanager.DescribeSecret");
            describe.headers.insert("x-amz-target", target);
            let found: Value =
                serde_json::from_slice(others.pass(&describe).await.body()).unwrap_or_default();
            if found["ReplicationStatus"].as_array().is_some_and(|replicas| !replicas.is_empty()) {
                let message = "You can't delete secret that still has replica regions.";
                return Refusal::new(400, "InvalidParameterException", message).response("secretsmanager");
            }
            others.pass(request).await
        }
        "DescribeSecret" => {
            let mut response = others.pass(request).await;
            if response.status().is_success() {
                let mut secret: Value = serde_json::from_slice(response.body()).unwrap_or_default();
                complete(&mut secret, request);
                *response.body_mut() = secret.to_string().into();
            }
            response
        }
        _ => others.pass(request).await,
    }
}

fn complete(secret: &mut Value, request: &Request) {
    let owner =
        secret["Name"].as_str().and_then(|name| name.split_once('!')).map(|(owner, _)| owner.to_owned());
    if let Some(owner) = owner {
        secret["OwningService"] = owner.into();
    }
    if secret["ReplicationStatus"].as_array().is_some_and(|replicas| !replicas.is_empty()) {
        secret["PrimaryRegion"] = request.region.clone().into();
    }
    let Some(tags) = secret["Tags"].as_array_mut() else { return };
    let unused = tags.iter().position(|tag| tag["Key"] == UNUSED).map(|at| tags.remove(at));
    let days = unused.and_then(|tag| tag["Value"].as_str()?.parse::<i64>().ok());
    if let Some(days) = days {
        let day = Timestamp::now().as_second() / 86_400 - days;
        secret["CreatedDate"] = json!(day * 86_400);
        secret["LastAccessedDate"] = json!(day * 86_400);
    }
}
