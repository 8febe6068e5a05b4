//! Where winterbaume's Lambda is not Amazon's: it keeps one policy for all versions and aliases of a function, and of
//! a permission's conditions the source's ARN alone; and what it says of an alias has the ARN of the function.
//!
//! What Lambda makes of each field of a permission is what
//! [`AddPermission`](https://docs.aws.amazon.com/lambda/latest/api/API_AddPermission.html) answers with; a policy
//! without statements is none.

use std::collections::HashMap;
use std::sync::Mutex;

use bytes::Bytes;
use http::{Method, Response};
use serde_json::{Map, Value, json};

use super::locked;
use super::others::Others;
use super::wire::{Refusal, Request, percent_decode, respond};

/// The policies of one account's functions, by ARN.
#[derive(Default)]
pub(super) struct Functions(Mutex<HashMap<String, Vec<Value>>>);

impl Functions {
    pub(super) async fn answer(
        &self,
        others: &Others,
        request: &Request,
        operation: &str,
    ) -> Response<Bytes> {
        let request = &without_qualifier(request);
        match self.policy(others, request, operation).await {
            None if operation == "GetFunctionConfiguration" => configuration(others, request).await,
            None => others.pass(request).await,
            Some(Ok(response)) => response,
            Some(Err(refusal)) => refusal.response("lambda"),
        }
    }

    async fn policy(
        &self,
        others: &Others,
        request: &Request,
        operation: &str,
    ) -> Option<Result<Response<Bytes>, Refusal>> {
        if !matches!(operation, "GetPolicy" | "AddPermission" | "RemovePermission") {
            return None;
        }
        let missing = |message: &str| Some(Err(Refusal::new(404, "ResourceNotFoundException", message)));
        // The function must be there, or the version or alias of it; its ARN says which.
        let (path, rest) = request.path.split_once("/policy")?;
        let mut asked = Request { path: format!("{path}/configuration"), ..request.clone() };
        (asked.method, asked.body) = (Method::GET, Bytes::new());
        let found = configuration(others, &asked).await;
        if !found.status().is_success() {
            return Some(Ok(found));
        }
        let found: Value = serde_json::from_slice(found.body()).unwrap_or_default();
        let arn = found["FunctionArn"].as_str().unwrap_or_default().to_owned();
        let mut policies = locked(&self.0);
        let statements = policies.entry(arn.clone()).or_default();
        let place = |sid: &str| statements.iter().position(|statement| statement["Sid"] == sid);
        let input: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let sid = match operation {
            "RemovePermission" => percent_decode(rest.trim_start_matches('/')),
            _ => input["StatementId"].as_str().unwrap_or_default().to_owned(),
        };
        match (operation, place(&sid)) {
            ("GetPolicy", _) if statements.is_empty() => {
                missing("The resource you requested does not exist.")
            }
            ("GetPolicy", _) => {
                let policy = json!({ "Version": "2012-10-17", "Id": "default", "Statement": statements });
                let answer = json!({ "Policy": policy.to_string(), "RevisionId": super::wire::request_id() });
                Some(Ok(respond(200, "application/json", answer.to_string())))
            }
            ("AddPermission", Some(_)) => {
                let message = format!(
                    "The statement id ({sid}) provided already exists. Please provide a new statement id, or remove \
                     the existing statement."
                );
                Some(Err(Refusal::new(409, "ResourceConflictException", message)))
            }
            ("AddPermission", None) => {
                let statement = statement(&input, &arn);
                statements.push(statement.clone());
                let answer = json!({ "Statement": statement.to_string() });
                Some(Ok(respond(201, "application/json", answer.to_string())))
            }
            (_, Some(place)) => {
                statements.remove(place);
                Some(Ok(respond(204, "application/json", "")))
            }
            (_, None) => missing(&format!("Statement {sid} is not found in resource policy.")),
        }
    }
}

/// A request whose path names a version or an alias, `name:alias`, with that as a parameter, as winterbaume takes it.
fn without_qualifier(request: &Request) -> Request {
    let mut asked = request.clone();
    let parts: Vec<&str> = request.path.splitn(5, '/').collect();
    if let ["", version, "functions", function, rest @ ..] = parts.as_slice()
        && let Some((name, qualifier)) = percent_decode(function).split_once(':')
        && name != "arn"
    {
        asked.path = format!("/{version}/functions/{name}");
        for rest in rest {
            asked.path = format!("{}/{rest}", asked.path);
        }
        asked.query = format!("Qualifier={qualifier}");
    }
    asked
}

/// What there is to say of a function, or of the version or alias that is asked for, by whose name its ARN ends.
async fn configuration(others: &Others, request: &Request) -> Response<Bytes> {
    let mut response = others.pass(request).await;
    let qualifier = request.query.split('&').find_map(|pair| pair.strip_prefix("Qualifier="));
    let mut answer: Value = serde_json::from_slice(response.body()).unwrap_or_default();
    if let (Some(qualifier), Some(arn)) = (qualifier.map(percent_decode), answer["FunctionArn"].as_str()) {
        let whole: Vec<&str> = arn.split(':').take(7).collect();
        answer["FunctionArn"] = json!(format!("{}:{qualifier}", whole.join(":")));
        *response.body_mut() = answer.to_string().into();
    }
    response
}

/// The statement that a permission makes.
fn statement(input: &Value, arn: &str) -> Value {
    let who = input["Principal"].as_str().unwrap_or_default();
    let principal = if who == "*" {
        json!("*")
    } else if who.contains(".amazonaws.com") {
        json!({ "Service": who })
    } else if who.len() == 12 && who.bytes().all(|byte| byte.is_ascii_digit()) {
        let partition = arn.split(':').nth(1).unwrap_or_default();
        json!({ "AWS": format!("arn:{partition}:iam::{who}:root") })
    } else {
        json!({ "AWS": who })
    };
    let mut conditions = Map::new();
    for (field, operator, key) in [
        ("SourceArn", "ArnLike", "AWS:SourceArn"),
        ("SourceAccount", "StringEquals", "AWS:SourceAccount"),
        ("PrincipalOrgID", "StringEquals", "aws:PrincipalOrgID"),
        ("EventSourceToken", "StringEquals", "lambda:EventSourceToken"),
        ("FunctionUrlAuthType", "StringEquals", "lambda:FunctionUrlAuthType"),
        ("InvokedViaFunctionUrl", "Bool", "lambda:InvokedViaFunctionUrl"),
    ] {
        let value = match &input[field] {
            Value::Null => continue,
            Value::Bool(so) => json!(so.to_string()),
            value => value.clone(),
        };
        let lines = conditions.entry(operator).or_insert_with(|| json!({}));
        lines[key] = value;
    }
    let mut statement = json!({
        "Sid": input["StatementId"],
        "Effect": "Allow",
        "Principal": principal,
        "Action": input["Action"],
        "Resource": arn,
    });
    if !conditions.is_empty() {
        statement["Condition"] = Value::Object(conditions);
    }
    statement
}
