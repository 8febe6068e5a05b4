pub(super) mod disable_user;
pub(super) mod protect_pool;
pub(super) mod strengthen_passwords;

use aws_sdk_cognitoidentityprovider::{
    Client,
    types::{
        AdminCreateUserConfigType, CustomEmailLambdaVersionConfigType, CustomEmailSenderLambdaVersionType,
        DeletionProtectionType, LambdaConfigType, PasswordPolicyType, UserPoolPolicyType,
        VerificationMessageTemplateType, VerifiedAttributeType,
    },
};
use serde_json::{Value, json};

use super::{Error, Place};

fn absent_pool(at: &Place) -> String {
    at.arn("cognito-idp", "userpool/eu-west-1_NoSuchOne")
}

/// A pool with settings of all kinds, whose passwords must be so long and have nothing special in them, or everything.
async fn pool(at: &Place, length: i32, strict: bool, protected: bool) -> Result<String, Error> {
    let function = at.arn("lambda", "function:pre-sign-up");
    let triggers = LambdaConfigType::builder().pre_sign_up(function).build();
    pool_with(at, length, strict, protected, triggers).await
}

/// A pool of weak passwords, without protection, whose messages a function sends: a key encrypts the codes in them.
async fn pool_with_custom_sender(at: &Place) -> Result<String, Error> {
    let sender = CustomEmailLambdaVersionConfigType::builder()
        .lambda_version(CustomEmailSenderLambdaVersionType::V10)
        .lambda_arn(at.arn("lambda", "function:send"))
        .build()?;
    let key = at.arn("kms", "key/1234abcd-12ab-34cd-56ef-1234567890ab");
    let triggers = LambdaConfigType::builder().custom_email_sender(sender).kms_key_id(key).build();
    pool_with(at, 6, false, false, triggers).await
}

async fn pool_with(
    at: &Place,
    length: i32,
    strict: bool,
    protected: bool,
    triggers: LambdaConfigType,
) -> Result<String, Error> {
    let passwords = PasswordPolicyType::builder()
        .minimum_length(length)
        .require_lowercase(true)
        .require_uppercase(strict)
        .require_numbers(strict)
        .require_symbols(strict)
        .temporary_password_validity_days(7)
        .build();
    let protection =
        if protected { DeletionProtectionType::Active } else { DeletionProtectionType::Inactive };
    let messages = VerificationMessageTemplateType::builder().email_message("Your code: {####}").build();
    let made = Client::new(&at.config)
        .create_user_pool()
        .pool_name(&at.name)
        .policies(UserPoolPolicyType::builder().password_policy(passwords).build())
        .deletion_protection(protection)
        .lambda_config(triggers)
        .auto_verified_attributes(VerifiedAttributeType::Email)
        .verification_message_template(messages)
        .admin_create_user_config(
            AdminCreateUserConfigType::builder().allow_admin_create_user_only(true).build(),
        )
        .user_pool_tags("team", "shop")
        .send()
        .await?;
    let id = made.user_pool.and_then(|pool| pool.id).unwrap_or_default();
    Ok(at.arn("cognito-idp", &format!("userpool/{id}")))
}

/// Everything that an update sets.
async fn look_at_pool(at: &Place, arn: &str) -> Result<Value, Error> {
    let id = arn.rsplit('/').next().unwrap_or_default();
    let found = Client::new(&at.config).describe_user_pool().user_pool_id(id).send().await?;
    let Some(pool) = found.user_pool() else { return Ok(Value::Null) };
    Ok(json!({
        "passwords": format!("{:?}", pool.policies()),
        "protection": format!("{:?}", pool.deletion_protection()),
        "triggers": format!("{:?}", pool.lambda_config()),
        "verified": format!("{:?}", pool.auto_verified_attributes()),
        "messages": format!("{:?}", pool.verification_message_template()),
        "mfa": format!("{:?}", pool.mfa_configuration()),
        "users": format!("{:?}", pool.admin_create_user_config().map(aws_sdk_cognitoidentityprovider::types::AdminCreateUserConfigType::allow_admin_create_user_only)),
        "tags": format!("{:?}", pool.user_pool_tags()),
        "name": pool.name(),
    }))
}
