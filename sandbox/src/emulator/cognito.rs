//! Where winterbaume's Cognito is not Amazon's: `ListUsers` ignores its filter, its limit and its page
//! token, groups need not exist to have members, pool ARNs name one account only, pools have no settings, and
//! nothing is remembered of sign-ins.

use std::collections::HashMap;
use std::sync::Mutex;

use bytes::Bytes;
use http::Response;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use winterbaume_cognitoidentityprovider::CognitoIdentityProviderService;
use winterbaume_core::DEFAULT_ACCOUNT_ID;

use super::wire::{Refusal, Request, respond, rewrite};
use super::{locked, own_arns};

mod settings;

/// Cognito of one account.
#[derive(Default)]
pub(super) struct Pools {
    winterbaume: CognitoIdentityProviderService,
    /// By the pool's id.
    settings: Mutex<HashMap<String, Map<String, Value>>>,
    /// Sign-ins by the pool's id and the user's name, oldest first.
    sign_ins: Mutex<HashMap<(String, String), Vec<Value>>>,
}

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

pub(super) async fn answer(pools: &Pools, request: &Request, operation: &str) -> Response<Bytes> {
    let input: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    match pools.answer(request, operation, &input).await {
        Ok(response) => response,
        Err(refusal) => refusal.response("cognito-idp"),
    }
}

impl Pools {
    async fn answer(
        &self,
        request: &Request,
        operation: &str,
        input: &Value,
    ) -> Result<Response<Bytes>, Refusal> {
        let pool = input["UserPoolId"].as_str().unwrap_or_default();
        match operation {
            "AdminAddUserToGroup" => {
                let group = json!({ "UserPoolId": pool, "GroupName": input["GroupName"] });
                self.ask(request, "GetGroup", &group).await?;
            }
            "CreateUserPool" => drop(settings::created(input)?),
            "DeleteUserPool" if self.is_protected(pool) => {
                let why = "The user pool cannot be deleted because deletion protection is activated. Deletion \
                           protection must be inactivated first.";
                return Err(Refusal::new(400, "InvalidParameterException", why));
            }
            "UpdateUserPool" => return self.update(request, pool, input).await,
            "AdminListUserAuthEvents" => return self.sign_ins(request, pool, input).await,
            _ => {}
        }
        let mut response = self.pass(request.clone(), input).await?;
        if !response.status().is_success() {
            return Ok(response);
        }
        match operation {
            "ListUsers" => {
                let all: Value = serde_json::from_slice(response.body()).unwrap_or_default();
                return list_users(input, &all);
            }
            "AdminInitiateAuth" | "AdminRespondToAuthChallenge" => self.remember(pool, input, &response),
            "SetUserPoolMfaConfig" => {
                if let Some(settings) = locked(&self.settings).get_mut(pool) {
                    settings.insert("MfaConfiguration".to_owned(), input["MfaConfiguration"].clone());
                }
            }
            _ => {}
        }
        if operation.contains("UserPool") {
            rewrite(&mut response, |text| own_arns(text, request.account()));
        }
        if matches!(operation, "CreateUserPool" | "DescribeUserPool") {
            self.show(request, operation, input, &mut response).await?;
        }
        Ok(response)
    }

    fn is_protected(&self, pool: &str) -> bool {
        let settings = locked(&self.settings);
        let protection = settings.get(pool).and_then(|settings| settings.get("DeletionProtection"));
        protection.and_then(Value::as_str) == Some("ACTIVE")
    }

    /// Asks winterbaume, which knows tagged resources by ARNs with its own account.
    async fn pass(&self, mut request: Request, input: &Value) -> Result<Response<Bytes>, Refusal> {
        if let Some(arn) = input["ResourceArn"].as_str() {
            if arn.split(':').nth(4) != Some(request.account()) {
                return Err(Refusal::new(400, "ResourceNotFoundException", "Resource not found"));
            }
            let body = String::from_utf8_lossy(&request.body);
            let own = format!(":{}:", request.account());
            request.body = body.replacen(&own, &format!(":{DEFAULT_ACCOUNT_ID}:"), 1).into();
        }
        let host = format!("cognito-idp.{}.amazonaws.com", request.region);
        Ok(request.pass_to(&self.winterbaume, &host).await)
    }

    /// Asks winterbaume something else than what was asked; an error is passed on.
    async fn ask(&self, request: &Request, operation: &str, input: &Value) -> Result<Value, Refusal> {
        let mut other = Request { body: input.to_string().into(), ..request.clone() };
        let target = format!("AWSCognitoIdentityProviderService.{operation}");
        let target = target.parse().map_err(|_| Refusal::new(500, "InternalErrorException", operation))?;
        other.headers.insert("x-amz-target", target);
        let response = self.pass(other, input).await?;
        let answer: Value = serde_json::from_slice(response.body()).unwrap_or_default();
        if response.status().is_success() {
            return Ok(answer);
        }
        let code = answer["__type"].as_str().unwrap_or("InternalErrorException");
        Err(Refusal::new(response.status().as_u16(), code, answer["message"].as_str().unwrap_or_default()))
    }

    /// Adds what winterbaume does not know of a pool to its answer.
    async fn show(
        &self,
        request: &Request,
        operation: &str,
        input: &Value,
        response: &mut Response<Bytes>,
    ) -> Result<(), Refusal> {
        let mut answer: Value = serde_json::from_slice(response.body()).unwrap_or_default();
        let id = answer["UserPool"]["Id"].as_str().unwrap_or_default().to_owned();
        let arn = json!({ "ResourceArn": answer["UserPool"]["Arn"] });
        let tags = self.ask(request, "ListTagsForResource", &arn).await?;
        if operation == "CreateUserPool" {
            locked(&self.settings).insert(id.clone(), settings::created(input)?);
        }
        if let Some(pool) = answer["UserPool"].as_object_mut() {
            pool.remove("AccountRecoverySetting");
            pool.extend(locked(&self.settings).get(&id).cloned().unwrap_or_default());
            pool.insert("UserPoolTags".to_owned(), tags["Tags"].clone());
        }
        *response.body_mut() = answer.to_string().into();
        Ok(())
    }

    async fn update(&self, request: &Request, id: &str, input: &Value) -> Result<Response<Bytes>, Refusal> {
        let found = self.ask(request, "DescribeUserPool", &json!({ "UserPoolId": id })).await?;
        {
            let mut all = locked(&self.settings);
            let before = all.get(id).cloned().unwrap_or_default();
            let mut after = settings::updated(&before, input)?;
            after.insert("LastModifiedDate".to_owned(), json!(Timestamp::now().as_second()));
            let name = input["PoolName"].as_str().or(before.get("Name").and_then(Value::as_str));
            if let Some(name) = name {
                after.insert("Name".to_owned(), name.into());
            }
            all.insert(id.to_owned(), after);
        }
        let arn = own_arns(found["UserPool"]["Arn"].as_str().unwrap_or_default(), request.account());
        let given = input["UserPoolTags"].as_object().cloned().unwrap_or_default();
        let known = self.ask(request, "ListTagsForResource", &json!({ "ResourceArn": arn })).await?;
        let known = known["Tags"].as_object().cloned().unwrap_or_default();
        let gone: Vec<&String> = known.keys().filter(|name| !given.contains_key(*name)).collect();
        self.ask(request, "UntagResource", &json!({ "ResourceArn": arn, "TagKeys": gone })).await?;
        self.ask(request, "TagResource", &json!({ "ResourceArn": arn, "Tags": given })).await?;
        Ok(respond(200, "application/x-amz-json-1.1", "{}".to_owned()))
    }

    /// Keeps that a user has signed in. Users' own calls are not signed, so they don't come this far.
    fn remember(&self, pool: &str, input: &Value, response: &Response<Bytes>) {
        let answer: Value = serde_json::from_slice(response.body()).unwrap_or_default();
        let name = ["AuthParameters", "ChallengeResponses"]
            .iter()
            .find_map(|parameters| input[*parameters]["USERNAME"].as_str());
        let (Some(name), true) = (name, answer["AuthenticationResult"].is_object()) else { return };
        let event = json!({
            "EventId": uuid::Uuid::new_v4().to_string(),
            "EventType": "SignIn",
            "CreationDate": Timestamp::now().as_second(),
            "EventResponse": "Pass",
        });
        locked(&self.sign_ins).entry((pool.to_owned(), name.to_owned())).or_default().push(event);
    }

    /// The sign-ins of a user, newest first; Cognito keeps them for pools with threat protection only.
    async fn sign_ins(
        &self,
        request: &Request,
        pool: &str,
        input: &Value,
    ) -> Result<Response<Bytes>, Refusal> {
        let name = input["Username"].as_str().unwrap_or_default();
        self.ask(request, "AdminGetUser", &json!({ "UserPoolId": pool, "Username": name })).await?;
        let on = locked(&self.settings)
            .get(pool)
            .and_then(|settings| settings.get("UserPoolAddOns")?.get("AdvancedSecurityMode")?.as_str())
            .is_some_and(|mode| mode != "OFF");
        if !on {
            let why = "User pool add-ons are not enabled for this user pool.";
            return Err(Refusal::new(400, "UserPoolAddOnNotEnabledException", why));
        }
        let most = input["MaxResults"].as_u64().and_then(|most| usize::try_from(most).ok()).unwrap_or(60);
        let known = locked(&self.sign_ins).get(&(pool.to_owned(), name.to_owned())).cloned();
        let events: Vec<Value> = known.unwrap_or_default().into_iter().rev().take(most).collect();
        Ok(respond(200, "application/x-amz-json-1.1", json!({ "AuthEvents": events }).to_string()))
    }
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
