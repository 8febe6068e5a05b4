//! Where winterbaume's `GuardDuty` is not Amazon's: an account can have several detectors in a Region, and
//! `CreateDetector` makes another one when it is repeated with its client token, as the SDK does when an answer was lost
//! ([one detector](https://docs.aws.amazon.com/guardduty/latest/APIReference/API_CreateDetector.html)).

use std::collections::HashMap;
use std::sync::Mutex;

use bytes::Bytes;
use http::{Method, Response};
use serde_json::{Value, json};

use super::locked;
use super::others::Others;
use super::wire::{Refusal, Request, respond};

/// The client token that each Region's detector was made with.
pub(super) type Tokens = Mutex<HashMap<String, Value>>;

pub(super) async fn answer(others: &Others, request: &Request, operation: &str) -> Response<Bytes> {
    if operation != "CreateDetector" {
        return others.pass(request).await;
    }
    let input: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let list = Request { method: Method::GET, body: Bytes::new(), ..request.clone() };
    let known: Value = serde_json::from_slice(others.pass(&list).await.body()).unwrap_or_default();
    let Some(id) = known["detectorIds"].as_array().and_then(|ids| ids.first()) else {
        locked(&others.detectors).insert(request.region.clone(), input["clientToken"].clone());
        return others.pass(request).await;
    };
    let token = locked(&others.detectors).get(&request.region).cloned().unwrap_or_default();
    if token.is_string() && token == input["clientToken"] {
        return respond(200, "application/json", json!({ "detectorId": id }).to_string());
    }
    let message = "The request is rejected because a detector already exists for the current account.";
    Refusal::new(400, "BadRequestException", message).response("guardduty")
}
