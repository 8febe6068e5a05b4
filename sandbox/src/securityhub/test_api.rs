//! The test API over TCP; its paths are listed in the documentation of [`super`].

use http::{Method, Response, StatusCode};
use serde_json::{Map, Value, json};

use super::json::text;
use super::{SecurityHub, Throttle, respond};
use crate::findings::ComplianceStatus;

pub(super) fn handle(hub: &SecurityHub, method: &Method, path: &str, body: &[u8]) -> Response<Vec<u8>> {
    let input = if body.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(body) };
    let answer = match input {
        Err(error) => Err(format!("the body is not JSON: {error}")),
        Ok(input) => match (method.as_str(), path) {
            ("GET", "events") => Ok(json!({ "events": hub.events() })),
            ("GET", "calls") => Ok(json!({ "calls": hub.calls() })),
            ("GET", "findings") => Ok(json!({ "asff": hub.findings(), "ocsf": hub.ocsf_findings() })),
            ("POST", path) => post(hub, path, &input),
            _ => Err(format!("there is no `{method} /_test/{path}`")),
        },
    };
    match answer {
        Ok(answer) => respond(StatusCode::OK, &answer),
        Err(error) => respond(StatusCode::BAD_REQUEST, &json!({ "error": error })),
    }
}

fn post(hub: &SecurityHub, path: &str, input: &Value) -> Result<Value, String> {
    let events = |events: Vec<Value>| json!({ "events": events });
    let required = |name: &str| match text(input, name) {
        "" => Err(format!("`{name}` is missing")),
        found => Ok(found),
    };
    let times =
        || u32::try_from(input.get("times").and_then(Value::as_u64).unwrap_or(1)).map_err(|e| e.to_string());
    match path {
        "import-as-aws" => return hub.import_as_aws(many(input)).map(events),
        "import-ocsf" => return hub.import_ocsf(many(input)).map(events),
        "update" => {
            let change = input.get("patch").ok_or("`patch` is missing")?;
            return hub.update_as_aws(required("id")?, change).map(events);
        }
        "reevaluate" => {
            let status: ComplianceStatus = required("status")?.parse()?;
            return hub.reevaluate(required("id")?, status).map(events);
        }
        "archive" => return hub.archive(required("id")?).map(events),
        "custom-action" => {
            let ids = input.get("findings").and_then(Value::as_array).ok_or("`findings` must be a list")?;
            let ids: Vec<&str> = ids.iter().filter_map(Value::as_str).collect();
            return hub.custom_action(required("action")?, &ids).map(events);
        }
        "parameters" => {
            let parameters = input.get("parameters").ok_or("`parameters` is missing")?;
            hub.set_parameters(required("account")?, required("region")?, required("control")?, parameters)?;
        }
        "control" => {
            let parameters = input.get("parameters").and_then(Value::as_object).cloned();
            let (id, title, severity) = (required("id")?, required("title")?, required("severity")?);
            let description = match text(input, "description") {
                "" => title,
                given => given,
            };
            hub.add_control(id, title, severity, description, parameters.unwrap_or_else(Map::new));
        }
        "throttle" => {
            let number = |name: &str| input.get(name).and_then(Value::as_f64);
            hub.set_throttle(
                match (number("rate"), number("burst"), input.get("on").and_then(Value::as_bool)) {
                    (Some(rate), Some(burst), _) => Some(Throttle::uniform(rate, burst)),
                    (_, _, Some(true)) => Some(Throttle::documented()),
                    (_, _, Some(false)) => None,
                    _ => return Err("`on`, or `rate` and `burst`, must be given".to_owned()),
                },
            );
        }
        "fail" => {
            let status = input.get("status").and_then(Value::as_u64).unwrap_or(500);
            let status = u16::try_from(status).map_err(|error| error.to_string())?;
            hub.fail_next(required("operation")?, status, required("code")?, times()?);
        }
        "fail-update" => hub.fail_next_update(required("id")?, required("code")?, times()?),
        "administrator" => {
            let members = input.get("members").and_then(Value::as_array).ok_or("`members` must be a list")?;
            hub.set_administrator(required("account")?, members.iter().filter_map(Value::as_str));
        }
        "home-region" => hub.set_home_region(input.get("region").and_then(Value::as_str)),
        "access-key" => hub.map_access_key(required("key")?, required("account")?),
        "time" => {
            let now = match text(input, "now") {
                "" => None,
                now => Some(now.parse().map_err(|error| format!("`now` is no time: {error}"))?),
            };
            hub.set_time(now);
        }
        "reset" => hub.reset(),
        _ => return Err(format!("there is no `POST /_test/{path}`")),
    }
    Ok(json!({}))
}

/// One finding, or a list of them.
fn many(input: &Value) -> Vec<Value> {
    match input {
        Value::Array(findings) => findings.clone(),
        one => vec![one.clone()],
    }
}
