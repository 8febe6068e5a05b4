//! The settings of a pool, which winterbaume neither keeps nor shows.
//!
//! [`UpdateUserPool`](https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_UpdateUserPool.html)
//! sets whatever a request leaves out to its default; so does this.

use serde_json::{Map, Value, json};

use super::Refusal;

/// What `UpdateUserPool` sets, each under the name that `DescribeUserPool` shows it by; tags are winterbaume's.
const UPDATED: [&str; 21] = [
    "Policies",
    "DeletionProtection",
    "LambdaConfig",
    "AutoVerifiedAttributes",
    "SmsVerificationMessage",
    "EmailVerificationMessage",
    "EmailVerificationSubject",
    "VerificationMessageTemplate",
    "SmsAuthenticationMessage",
    "UserAttributeUpdateSettings",
    "MfaConfiguration",
    "DeviceConfiguration",
    "EmailConfiguration",
    "SmsConfiguration",
    "AdminCreateUserConfig",
    "UserPoolAddOns",
    "AccountRecoverySetting",
    "UserPoolTier",
    "KeyConfiguration",
    "IssuerConfiguration",
    "AcrConfiguration",
];

/// What only `CreateUserPool` sets.
const CREATED: [&str; 3] = ["AliasAttributes", "UsernameAttributes", "UsernameConfiguration"];

/// The settings of a new pool.
pub(super) fn created(input: &Value) -> Result<Map<String, Value>, Refusal> {
    let mut settings = updated(&Map::new(), input)?;
    for name in CREATED {
        if let Some(value) = given(input, name) {
            settings.insert(name.to_owned(), value.clone());
        }
    }
    Ok(settings)
}

/// The settings after an update: nothing of `before` stays but what can't be updated.
pub(super) fn updated(before: &Map<String, Value>, input: &Value) -> Result<Map<String, Value>, Refusal> {
    check(input)?;
    let mut settings = defaults();
    for name in CREATED {
        if let Some(value) = before.get(name) {
            settings.insert(name.to_owned(), value.clone());
        }
    }
    for name in UPDATED {
        let Some(value) = given(input, name) else { continue };
        match (settings.get_mut(name), value) {
            (Some(Value::Object(known)), Value::Object(value)) => known.extend(value.clone()),
            _ => drop(settings.insert(name.to_owned(), value.clone())),
        }
    }
    shown_twice(&mut settings);
    Ok(settings)
}

fn given<'a>(input: &'a Value, name: &str) -> Option<&'a Value> {
    input.get(name).filter(|value| !value.is_null())
}

/// What Cognito refuses.
fn check(input: &Value) -> Result<(), Refusal> {
    let refused = |why: &str| Err(Refusal::new(400, "InvalidParameterException", why));
    let new = input.pointer("/Policies/PasswordPolicy/TemporaryPasswordValidityDays");
    let old = input.pointer("/AdminCreateUserConfig/UnusedAccountValidityDays");
    // The one has replaced the other, though DescribeUserPool goes on to show both:
    // https://github.com/aws/aws-sdk-js/issues/3817
    // The SDK sends 0 where nothing is set.
    if new.is_some() && old.is_some_and(|days| days.as_u64() != Some(0)) {
        return refused(
            "Please use TemporaryPasswordValidityDays in PasswordPolicy instead of UnusedAccountValidityDays",
        );
    }
    let triggers = &input["LambdaConfig"];
    let (old, new) = (&triggers["PreTokenGeneration"], &triggers["PreTokenGenerationConfig"]["LambdaArn"]);
    if old.is_string() && new.is_string() && old != new {
        return refused("PreTokenGeneration and PreTokenGenerationConfig name different functions");
    }
    for (old, new) in MESSAGES {
        let (old, new) = (&input[old], &input["VerificationMessageTemplate"][new]);
        if old.is_string() && new.is_string() && old != new {
            return refused("A verification message and that of the template differ");
        }
    }
    Ok(())
}

/// Messages that Cognito takes and shows by two names.
const MESSAGES: [(&str, &str); 3] = [
    ("SmsVerificationMessage", "SmsMessage"),
    ("EmailVerificationMessage", "EmailMessage"),
    ("EmailVerificationSubject", "EmailSubject"),
];

fn shown_twice(settings: &mut Map<String, Value>) {
    for (old, new) in MESSAGES {
        let text = settings.get(old).cloned().or_else(|| {
            settings.get("VerificationMessageTemplate").and_then(|template| template.get(new)).cloned()
        });
        if let Some(text) = text {
            settings.insert(old.to_owned(), text.clone());
            if let Some(Value::Object(template)) = settings.get_mut("VerificationMessageTemplate") {
                template.insert(new.to_owned(), text);
            }
        }
    }
    let days = settings
        .get("Policies")
        .and_then(|policies| policies.pointer("/PasswordPolicy/TemporaryPasswordValidityDays"))
        .cloned();
    if let (Some(days), Some(Value::Object(config))) = (days, settings.get_mut("AdminCreateUserConfig")) {
        config.insert("UnusedAccountValidityDays".to_owned(), days);
    }
    let Some(Value::Object(triggers)) = settings.get_mut("LambdaConfig") else { return };
    let old = triggers.get("PreTokenGeneration").cloned();
    let new = triggers.get("PreTokenGenerationConfig").and_then(|config| config.get("LambdaArn")).cloned();
    match (old, new) {
        (Some(arn), None) => {
            let config = json!({ "LambdaVersion": "V1_0", "LambdaArn": arn });
            triggers.insert("PreTokenGenerationConfig".to_owned(), config);
        }
        (None, Some(arn)) => drop(triggers.insert("PreTokenGeneration".to_owned(), arn)),
        _ => {}
    }
}

fn defaults() -> Map<String, Value> {
    let defaults = json!({
        "Policies": {
            "PasswordPolicy": {
                "MinimumLength": 8,
                "RequireUppercase": true,
                "RequireLowercase": true,
                "RequireNumbers": true,
                "RequireSymbols": true,
                "TemporaryPasswordValidityDays": 7,
            },
            "SignInPolicy": { "AllowedFirstAuthFactors": ["PASSWORD"] },
        },
        "DeletionProtection": "INACTIVE",
        "LambdaConfig": {},
        "VerificationMessageTemplate": { "DefaultEmailOption": "CONFIRM_WITH_CODE" },
        "MfaConfiguration": "OFF",
        "EmailConfiguration": { "EmailSendingAccount": "COGNITO_DEFAULT" },
        "AdminCreateUserConfig": { "AllowAdminCreateUserOnly": false },
        "UserPoolTier": "ESSENTIALS",
    });
    match defaults {
        Value::Object(defaults) => defaults,
        _ => Map::new(),
    }
}
