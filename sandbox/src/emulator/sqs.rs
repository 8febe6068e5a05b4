//! Where winterbaume's SQS is not Amazon's: queues are encrypted from the start and can't be otherwise, their URLs
//! name one account only, all attributes are answered whatever was asked for, and errors lack the header by which
//! [clients know them](https://smithy.io/2.0/aws/protocols/aws-query-protocol.html#aws-query-compatible).
//!
//! A new queue is encrypted with keys of SQS's own unless `CreateQueue`
//! [says otherwise](https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html); of the
//! two kinds of encryption a queue has one.

use std::collections::HashMap;
use std::sync::Mutex;

use bytes::Bytes;
use http::{HeaderValue, Response};
use serde_json::{Map, Value, json};
use winterbaume_core::DEFAULT_ACCOUNT_ID;

use super::locked;
use super::others::Others;
use super::wire::{Refusal, Request, rewrite};

const MANAGED: &str = "SqsManagedSseEnabled";
const KEY: &str = "KmsMasterKeyId";
const REUSE: &str = "KmsDataKeyReusePeriodSeconds";

/// How the queues of one account are encrypted, by Region and name.
#[derive(Default)]
pub(super) struct Queues(Mutex<HashMap<(String, String), Map<String, Value>>>);

impl Queues {
    pub(super) async fn answer(
        &self,
        others: &Others,
        request: &Request,
        operation: &str,
    ) -> Response<Bytes> {
        let input: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let owner = input["QueueOwnerAWSAccountId"].as_str();
        if owner.is_some_and(|owner| owner != request.account()) {
            return missing();
        }
        let mut response = others.pass(request).await;
        let theirs = format!("/{DEFAULT_ACCOUNT_ID}/");
        rewrite(&mut response, |text| text.replace(&theirs, &format!("/{}/", request.account())));
        if !response.status().is_success() {
            let gone = String::from_utf8_lossy(response.body()).contains("NonExistentQueue");
            return if gone { missing() } else { response };
        }
        let named = input["QueueName"].as_str().or_else(|| input["QueueUrl"].as_str()?.rsplit('/').next());
        let key = (request.region.clone(), named.unwrap_or_default().to_owned());
        match operation {
            "CreateQueue" => {
                let fresh = Map::from_iter([(MANAGED.to_owned(), json!("true"))]);
                let mut queues = locked(&self.0);
                set(queues.entry(key).or_insert(fresh), &input["Attributes"]);
            }
            "SetQueueAttributes" => set(locked(&self.0).entry(key).or_default(), &input["Attributes"]),
            "GetQueueAttributes" => {
                let encryption = locked(&self.0).get(&key).cloned().unwrap_or_default();
                let mut answer: Value = serde_json::from_slice(response.body()).unwrap_or_default();
                let asked: Vec<&str> = input["AttributeNames"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect();
                if let Some(attributes) = answer["Attributes"].as_object_mut() {
                    attributes.extend(encryption);
                    attributes.retain(|name, _| asked.contains(&name.as_str()) || asked.contains(&"All"));
                    if attributes.is_empty() {
                        answer = json!({});
                    }
                }
                *response.body_mut() = answer.to_string().into();
            }
            _ => {}
        }
        response
    }
}

/// Sets those of the attributes that say how a queue is encrypted.
fn set(encryption: &mut Map<String, Value>, attributes: &Value) {
    match attributes[KEY].as_str() {
        Some("") => {
            encryption.remove(KEY);
            encryption.remove(REUSE);
        }
        Some(key) => {
            encryption.insert(KEY.to_owned(), json!(key));
            encryption.insert(REUSE.to_owned(), json!("300"));
            encryption.insert(MANAGED.to_owned(), json!("false"));
        }
        None => {}
    }
    if let Some(managed) = attributes[MANAGED].as_str() {
        encryption.insert(MANAGED.to_owned(), json!(managed));
        if managed == "true" {
            encryption.remove(KEY);
            encryption.remove(REUSE);
        }
    }
    if encryption.contains_key(KEY) && attributes[REUSE].is_string() {
        encryption.insert(REUSE.to_owned(), attributes[REUSE].clone());
    }
}

fn missing() -> Response<Bytes> {
    let message = "The specified queue does not exist.";
    let mut response = Refusal::new(400, "com.amazonaws.sqs#QueueDoesNotExist", message).response("sqs");
    let code = HeaderValue::from_static("AWS.SimpleQueueService.NonExistentQueue;Sender");
    response.headers_mut().insert("x-amzn-query-error", code);
    response
}
