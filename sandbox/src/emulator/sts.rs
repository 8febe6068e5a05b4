//! STS: who a caller is, and the credentials of roles.
//!
//! Our own, because winterbaume's forgets whose credentials it gave: the account of a request is then
//! always the same. Every role can be assumed by everybody, and no policy is enforced; the session policy
//! is kept with the [`Principal`] for a test to look at.

use bytes::Bytes;
use http::Response;
use jiff::{SignedDuration, Timestamp};

use super::wire::{Refusal, Request, Xml, request_id, respond};
use super::{Emulator, Principal};

pub(super) fn answer(emulator: &Emulator, request: &Request, operation: &str) -> Response<Bytes> {
    let result = match operation {
        "GetCallerIdentity" => Ok(Xml::default()
            .text("Arn", &request.principal.arn)
            .text("UserId", &request.principal.user_id)
            .text("Account", request.account())),
        "AssumeRole" => assume_role(emulator, request),
        other => {
            let message = format!("The sandbox has no operation `{other}` of STS.");
            Err(Refusal::new(400, "InvalidAction", message))
        }
    };
    match result {
        Err(refusal) => refusal.response("sts"),
        Ok(xml) => {
            let id = Xml::default().text("RequestId", request_id());
            let body =
                Xml::default().nested(&format!("{operation}Result"), &xml).nested("ResponseMetadata", &id);
            let space = "https://sts.amazonaws.com/doc/2011-06-15/";
            let body =
                format!("<{operation}Response xmlns=\"{space}\">{}</{operation}Response>", body.finish());
            respond(200, "text/xml", body)
        }
    }
}

/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>
fn assume_role(emulator: &Emulator, request: &Request) -> Result<Xml, Refusal> {
    let form = &request.form;
    let invalid = |message: String| Refusal::new(400, "ValidationError", message);
    let role = form.get("RoleArn").unwrap_or_default();
    let parts: Vec<&str> = role.splitn(6, ':').collect();
    let [_, partition, "iam", "", account, path] = parts.as_slice() else {
        return Err(invalid(format!("{role} is invalid")));
    };
    let Some(name) = path.strip_prefix("role/").and_then(|path| path.rsplit('/').next()) else {
        return Err(invalid(format!("{role} is invalid")));
    };
    let session = form.get("RoleSessionName").unwrap_or_default();
    let fits = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    if !(2..=64).contains(&session.len()) || !session.chars().all(fits) {
        return Err(invalid(format!(
            "1 validation error detected: Value '{session}' at 'roleSessionName' failed to satisfy constraint: \
             Member must satisfy regular expression pattern: [\\w+=,.@-]*"
        )));
    }
    let policy = form.get("Policy");
    if policy.is_some_and(|policy| policy.len() > 2048) {
        let message = "1 validation error detected: Value at 'policy' failed to satisfy constraint: Member must \
                       have length less than or equal to 2048";
        return Err(invalid(message.to_owned()));
    }
    if policy.is_some_and(|policy| serde_json::from_str::<serde_json::Value>(policy).is_err()) {
        return Err(Refusal::new(400, "MalformedPolicyDocument", "This policy contains invalid Json"));
    }
    let seconds = form.get("DurationSeconds").map_or(Ok(3600), str::parse::<i64>).unwrap_or_default();
    if !(900..=43_200).contains(&seconds) {
        return Err(invalid(format!("Value '{seconds}' at 'durationSeconds' is out of range")));
    }
    // A role that was assumed with a role's credentials lasts an hour at most.
    if seconds > 3600 && request.principal.arn.contains(":assumed-role/") {
        let message = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role \
                       chaining";
        return Err(invalid(message.to_owned()));
    }
    let id = |prefix: &str| {
        let id = uuid::Uuid::new_v4().simple().to_string().to_uppercase();
        format!("{prefix}{}", id.chars().take(16).collect::<String>())
    };
    let (access_key, user_id) = (id("ASIA"), format!("{}:{session}", id("AROA")));
    let arn = format!("arn:{partition}:sts::{account}:assumed-role/{name}/{session}");
    let until = Timestamp::now().saturating_add(SignedDuration::from_secs(seconds));
    let principal = Principal {
        account: (*account).to_owned(),
        arn: arn.clone(),
        user_id: user_id.clone(),
        session_policy: policy.map(ToOwned::to_owned),
    };
    emulator.add_session(&access_key, principal);
    let credentials = Xml::default()
        .text("AccessKeyId", access_key)
        .text("SecretAccessKey", uuid::Uuid::new_v4().simple())
        .text("SessionToken", uuid::Uuid::new_v4().simple())
        .optional("Expiration", until.ok().map(|until| format!("{until:.0}")));
    let user = Xml::default().text("AssumedRoleId", user_id).text("Arn", arn);
    Ok(Xml::default().nested("AssumedRoleUser", &user).nested("Credentials", &credentials))
}
