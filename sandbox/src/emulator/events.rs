//! `PutEvents` of `EventBridge`; what it accepts is kept for [`Emulator::events`](super::Emulator::events).

use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};

use super::wire::{Refusal, Request, respond};

/// The most bytes of one request
/// ([quota](https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html)).
const MAX_BYTES: usize = 256 * 1024;

/// An event that was put on a bus, and accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct BusEvent {
    /// The account that sent it.
    pub account: String,
    /// The Region of the bus.
    pub region: String,
    /// Name or ARN of the bus, as it was given; `default` where it was not.
    pub bus: String,
    /// Its id, as the answer gave it.
    pub id: String,
    /// `source`, such as `redress`.
    pub source: String,
    /// `detail-type`.
    pub detail_type: String,
    /// `resources`; empty where there were none.
    pub resources: Vec<String>,
    /// `detail`: a JSON object.
    pub detail: Value,
}

/// Answers a request to `EventBridge`, and adds what it accepts to `events`.
pub(super) fn answer(request: &Request, operation: &str, events: &mut Vec<BusEvent>) -> Response<Bytes> {
    let refuse = |code, message: &str| Refusal::new(400, code, message).response("events");
    if operation != "PutEvents" {
        return refuse("UnknownOperationException", "");
    }
    let input: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let Some(entries) = input.get("Entries").and_then(Value::as_array) else {
        return refuse("SerializationException", "");
    };
    if entries.is_empty() || entries.len() > 10 {
        let message = "1 validation error detected: Value at 'entries' failed to satisfy constraint: Member must \
                       have length between 1 and 10";
        return refuse("ValidationException", message);
    }
    if entries.iter().map(|entry| entry.to_string().len()).sum::<usize>() > MAX_BYTES {
        return refuse("ValidationException", "Total size of the entries in the request is over the limit.");
    }
    let results: Vec<Value> = entries
        .iter()
        .map(|entry| match accept(request, entry) {
            Err((code, message)) => json!({ "ErrorCode": code, "ErrorMessage": message }),
            Ok(event) => {
                let result = json!({ "EventId": event.id });
                events.push(event);
                result
            }
        })
        .collect();
    let failed = results.iter().filter(|result| result.get("ErrorCode").is_some()).count();
    let body = json!({ "FailedEntryCount": failed, "Entries": results });
    respond(200, "application/x-amz-json-1.1", body.to_string())
}

fn accept(request: &Request, entry: &Value) -> Result<BusEvent, (&'static str, String)> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let required = |name: &str| {
        let message = format!("Parameter {name} is not valid. Reason: {name} is a required argument.");
        text(name).ok_or(("InvalidArgument", message))
    };
    let (source, detail_type) = (required("Source")?, required("DetailType")?);
    if source.starts_with("aws.") {
        return Err(("NotAuthorizedForSource", "Not authorized for the source.".to_owned()));
    }
    let detail: Value = serde_json::from_str(required("Detail")?).unwrap_or_default();
    if !detail.is_object() {
        return Err(("MalformedDetail", "Detail is malformed.".to_owned()));
    }
    let resources = entry.get("Resources").and_then(Value::as_array).cloned().unwrap_or_default();
    Ok(BusEvent {
        account: request.account().to_owned(),
        region: request.region.clone(),
        bus: text("EventBusName").unwrap_or("default").to_owned(),
        id: uuid::Uuid::new_v4().to_string(),
        source: source.to_owned(),
        detail_type: detail_type.to_owned(),
        resources: resources.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect(),
        detail,
    })
}
