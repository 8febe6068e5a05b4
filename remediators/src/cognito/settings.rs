//! A user pool's settings, read and written back whole.
//!
//! [`UpdateUserPool`](https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_UpdateUserPool.html)
//! sets whatever a request leaves out to its default. So the pool's settings are taken from the answer of
//! `DescribeUserPool` as it travels, not from the SDK's types, which drop what their version does not know, and go back
//! as they came. A setting that is not known to be taken back is a reason to write nothing.

use aws_sdk_cognitoidentityprovider::Client;
use serde_json::{Map, Value};

use crate::{
    Error, ErrorKind, Result,
    body::{Answer, Body},
    text::shown,
};

/// Settings by their names.
pub type Settings = Map<String, Value>;

/// What `UpdateUserPool` takes by the name that `DescribeUserPool` shows.
const TAKEN: [&str; 22] = [
    "AccountRecoverySetting",
    "AcrConfiguration",
    "AdminCreateUserConfig",
    "AutoVerifiedAttributes",
    "DeletionProtection",
    "DeviceConfiguration",
    "EmailConfiguration",
    "EmailVerificationMessage",
    "EmailVerificationSubject",
    "IssuerConfiguration",
    "KeyConfiguration",
    "LambdaConfig",
    "MfaConfiguration",
    "Policies",
    "SmsAuthenticationMessage",
    "SmsConfiguration",
    "SmsVerificationMessage",
    "UserAttributeUpdateSettings",
    "UserPoolAddOns",
    "UserPoolTags",
    "UserPoolTier",
    "VerificationMessageTemplate",
];

/// What an update does not touch: facts, what is settled when the pool is made, what has calls of its own.
const UNTOUCHED: [&str; 15] = [
    "AliasAttributes",
    "Arn",
    "CreationDate",
    "CustomDomain",
    "Domain",
    "EmailConfigurationFailure",
    "EstimatedNumberOfUsers",
    "Id",
    "LastModifiedDate",
    "Name",
    "SchemaAttributes",
    "SmsConfigurationFailure",
    "Status",
    "UsernameAttributes",
    "UsernameConfiguration",
];

/// What changes by itself.
pub const RESTLESS: [&str; 4] =
    ["EstimatedNumberOfUsers", "LastModifiedDate", "EmailConfigurationFailure", "SmsConfigurationFailure"];

/// Texts that are no longer set by their own name, which is still shown, but in the template of messages.
const MESSAGES: [(&str, &str); 3] = [
    ("EmailVerificationMessage", "EmailMessage"),
    ("EmailVerificationSubject", "EmailSubject"),
    ("SmsVerificationMessage", "SmsMessage"),
];

/// The settings of a pool as an update takes them back.
///
/// # Errors
/// Which setting an update might reset.
pub fn carried(pool: &Settings) -> Result<Settings, String> {
    let known = |name: &&String| TAKEN.contains(&name.as_str()) || UNTOUCHED.contains(&name.as_str());
    let strange: Vec<String> = pool.keys().filter(|name| !known(name)).map(|name| shown(name)).collect();
    if !strange.is_empty() {
        return Err(format!("`{}` is not known to this version of redress", strange.join("`, `")));
    }
    let taken = |name: &str, value: &Value| TAKEN.contains(&name) && !value.is_null();
    let mut settings: Settings =
        pool.iter().filter(|(name, value)| taken(name, value)).map(|(n, v)| (n.clone(), v.clone())).collect();
    // An update without a name may keep it or not: the documentation does not say.
    if let Some(name) = pool.get("Name").filter(|name| name.is_string()) {
        settings.insert("PoolName".to_owned(), name.clone());
    }
    for (old, new) in MESSAGES {
        let Some(text) = settings.get(old).cloned() else { continue };
        match settings.get("VerificationMessageTemplate").and_then(|template| template.get(new)) {
            Some(same) if *same == text => drop(settings.remove(old)),
            // Shorter than Cognito takes: it stands for none.
            _ if text == "" => drop(settings.remove(old)),
            Some(_) => {
                return Err(format!(
                    "`{old}` and `VerificationMessageTemplate.{new}` differ, and an update takes only one"
                ));
            }
            None => {}
        }
    }
    // Shown for ever, and refused where the setting that replaced it is there:
    // https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_PasswordPolicyType.html
    let days = |policies: &Value| {
        policies.pointer("/PasswordPolicy/TemporaryPasswordValidityDays").is_some_and(Value::is_number)
    };
    if settings.get("Policies").is_some_and(days)
        && let Some(Value::Object(config)) = settings.get_mut("AdminCreateUserConfig")
    {
        config.remove("UnusedAccountValidityDays");
    }
    Ok(settings)
}

/// A pool's settings, and the facts that are shown with them, as they travelled.
///
/// # Errors
/// As AWS said it.
pub async fn describe(cognito: &Client, id: &str) -> Result<Settings> {
    let answer = Answer::default();
    let request = cognito.describe_user_pool().user_pool_id(id).customize().interceptor(answer.clone());
    request.send().await?;
    let unreadable =
        |why: String| Error::new(ErrorKind::Rejected, format!("the answer can't be read: {why}"));
    let mut document: Value =
        serde_json::from_str(&answer.text()?).map_err(|error| unreadable(error.to_string()))?;
    match document.get_mut("UserPool").map(Value::take) {
        Some(Value::Object(pool)) => Ok(pool),
        _ => Err(unreadable("it describes no pool".to_owned())),
    }
}

/// Sets all of a pool's settings: those of [`carried`], with what is to change.
///
/// # Errors
/// As AWS said it.
pub async fn update(cognito: &Client, id: &str, settings: &Settings) -> Result<()> {
    let mut body = settings.clone();
    body.insert("UserPoolId".to_owned(), id.into());
    let body = Body(Value::Object(body).to_string());
    cognito.update_user_pool().user_pool_id(id).customize().interceptor(body).send().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use serde_json::json;

    use super::*;

    fn pool(document: Value) -> Settings {
        match document {
            Value::Object(pool) => pool,
            _ => Settings::new(),
        }
    }

    #[test]
    fn everything_but_facts_goes_back_as_it_came() {
        let found = pool(json!({
            "Id": "eu-west-1_AbC123", "Name": "shop", "Status": "Enabled", "LastModifiedDate": 1.5,
            "Policies": { "PasswordPolicy": { "MinimumLength": 8, "NewerThanTheSdk": [1] } },
            "DeletionProtection": "INACTIVE", "UserPoolTags": { "team": "shop" }, "SmsConfiguration": null,
        }));
        let expected = pool(json!({
            "PoolName": "shop",
            "Policies": { "PasswordPolicy": { "MinimumLength": 8, "NewerThanTheSdk": [1] } },
            "DeletionProtection": "INACTIVE", "UserPoolTags": { "team": "shop" },
        }));
        assert_eq!(carried(&found).unwrap(), expected);
    }

    #[test]
    fn what_an_update_might_reset_is_named() {
        let found = pool(json!({ "Id": "x", "Brand\nNew": { "On": true } }));
        let why = carried(&found).unwrap_err();
        assert!(why.contains("`Brand\\nNew` is not known"), "{why}");
        let found = pool(json!({
            "EmailVerificationMessage": "one",
            "VerificationMessageTemplate": { "EmailMessage": "another" },
        }));
        assert!(carried(&found).unwrap_err().contains("differ"));
    }

    #[test]
    fn what_is_shown_twice_goes_back_once() {
        let found = pool(json!({
            "Policies": { "PasswordPolicy": { "TemporaryPasswordValidityDays": 7 } },
            "AdminCreateUserConfig": { "AllowAdminCreateUserOnly": true, "UnusedAccountValidityDays": 7 },
            "EmailVerificationMessage": "code {####}",
            "VerificationMessageTemplate": { "EmailMessage": "code {####}" },
        }));
        let settings = carried(&found).unwrap();
        assert_eq!(settings["AdminCreateUserConfig"], json!({ "AllowAdminCreateUserOnly": true }));
        assert!(!settings.contains_key("EmailVerificationMessage"));
    }
}
