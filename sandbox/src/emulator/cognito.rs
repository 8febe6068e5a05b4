//! Where winterbaume's Cognito is not Amazon's: `ListUsers` ignores its filter, its limit and its page
//! token, groups need not exist to have members, and pool ARNs name one account only.

use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};
use winterbaume_core::DEFAULT_ACCOUNT_ID;

use super::wire::{Refusal, Request, respond, rewrite};
use super::{Backends, own_arns};

/// Attributes by which users can be found
/// ([list](https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_ListUsers.html)).
const SEARCHABLE: [&str; 11] = [
    "username",
    "email",
    "phone_number",
    "name",
    "given_name",
    "family_name",
    "preferred_username",
    "cognito:user_status",
    "status",
    "sub",
    "email_verified",
];

pub(super) async fn answer(backends: &Backends, request: &Request, operation: &str) -> Response<Bytes> {
    let host = format!("cognito-idp.{}.amazonaws.com", request.region);
    let input: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    if operation == "AdminAddUserToGroup" {
        let ask = json!({ "UserPoolId": input["UserPoolId"], "GroupName": input["GroupName"] });
        let mut get = Request { body: ask.to_string().into(), ..request.clone() };
        let target = http::HeaderValue::from_static("AWSCognitoIdentityProviderService.GetGroup");
        get.headers.insert("x-amz-target", target);
        let answer = get.pass_to(&backends.cognito, &host).await;
        if !answer.status().is_success() {
            return answer;
        }
    }
    let mut sent = request.clone();
    if let Some(arn) = input["ResourceArn"].as_str() {
        // Tags go by ARN, and winterbaume knows it with its own account.
        if arn.split(':').nth(4) != Some(request.account()) {
            let refusal = Refusal::new(400, "ResourceNotFoundException", "Resource not found");
            return refusal.response("cognito-idp");
        }
        let body = String::from_utf8_lossy(&request.body);
        let own = format!(":{}:", request.account());
        sent.body = body.replacen(&own, &format!(":{DEFAULT_ACCOUNT_ID}:"), 1).into();
    }
    let mut response = sent.pass_to(&backends.cognito, &host).await;
    if operation == "ListUsers" && response.status().is_success() {
        let all: Value = serde_json::from_slice(response.body()).unwrap_or_default();
        return list_users(&input, &all).unwrap_or_else(|refusal| refusal.response("cognito-idp"));
    }
    if operation.contains("UserPool") {
        rewrite(&mut response, |text| own_arns(text, request.account()));
    }
    response
}

fn list_users(input: &Value, all: &Value) -> Result<Response<Bytes>, Refusal> {
    let invalid = |message: String| Refusal::new(400, "InvalidParameterException", message);
    let mut users = all["Users"].as_array().cloned().unwrap_or_default();
    users.sort_by(|a, b| a["Username"].as_str().cmp(&b["Username"].as_str()));
    if let Some(filter) = input["Filter"].as_str().filter(|filter| !filter.trim().is_empty()) {
        let (name, prefix, value) =
            parse(filter).ok_or_else(|| invalid(format!("Error while parsing filter: {filter}")))?;
        if !SEARCHABLE.contains(&name) {
            return Err(invalid(format!("Invalid attribute name in filter: {name}")));
        }
        users.retain(|user| {
            attribute(user, name)
                .is_some_and(|has| if prefix { has.starts_with(&value) } else { has == value })
        });
    }
    let limit = match input["Limit"].as_u64() {
        None => 60,
        Some(limit @ 0..=60) => usize::try_from(limit).unwrap_or(60),
        Some(limit) => {
            return Err(invalid(format!(
                "1 validation error detected: Value '{limit}' at 'limit' failed to satisfy constraint: Member \
                 must have value less than or equal to 60"
            )));
        }
    };
    let start = match input["PaginationToken"].as_str() {
        None => 0,
        Some(token) => token.parse::<usize>().map_err(|_| invalid("Invalid pagination token.".to_owned()))?,
    };
    let next = start.saturating_add(limit);
    let more = users.len() > next && limit > 0;
    let mut page: Vec<Value> = users.into_iter().skip(start).take(limit).collect();
    if let Some(wanted) = input["AttributesToGet"].as_array() {
        for user in &mut page {
            if let Some(attributes) = user["Attributes"].as_array_mut() {
                attributes.retain(|attribute| wanted.contains(&attribute["Name"]));
            }
        }
    }
    let mut body = json!({ "Users": page });
    if more && let Some(body) = body.as_object_mut() {
        body.insert("PaginationToken".to_owned(), next.to_string().into());
    }
    Ok(respond(200, "application/x-amz-json-1.1", body.to_string()))
}

/// `name = "value"` or `name ^= "value"`: the attribute, whether a prefix is enough, and the value.
fn parse(filter: &str) -> Option<(&str, bool, String)> {
    let (name, value) = filter.split_once('=')?;
    let (name, prefix) = match name.trim_end().strip_suffix('^') {
        Some(name) => (name, true),
        None => (name, false),
    };
    let value = value.trim().strip_prefix('"')?.strip_suffix('"')?;
    let name = name.trim().trim_matches('"');
    Some((name, prefix, value.replace("\\\"", "\"")))
}

fn attribute(user: &Value, name: &str) -> Option<String> {
    match name {
        "username" => user["Username"].as_str().map(ToOwned::to_owned),
        "cognito:user_status" => user["UserStatus"].as_str().map(ToOwned::to_owned),
        "status" => {
            let enabled = user["Enabled"].as_bool().unwrap_or(true);
            Some(if enabled { "Enabled" } else { "Disabled" }.to_owned())
        }
        _ => user["Attributes"]
            .as_array()?
            .iter()
            .find(|attribute| attribute["Name"] == name)
            .and_then(|attribute| attribute["Value"].as_str())
            .map(ToOwned::to_owned),
    }
}
