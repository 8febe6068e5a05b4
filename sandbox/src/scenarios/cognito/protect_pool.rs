use aws_sdk_cognitoidentityprovider::{
    Client,
    types::{
        CustomEmailLambdaVersionConfigType, CustomEmailSenderLambdaVersionType, LambdaConfigType,
        PasswordPolicyType, UserPoolPolicyType,
    },
};

use super::{absent_pool, look_at_pool, pool};
use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "cognito.protect_pool",
    resource_type: "AwsCognitoUserPool",
    absent: Some(absent_pool),
    cases: &[
        Case::new("without protection", "Cognito.6", |at| Box::pin(pool(at, 12, true, false)), Fixed),
        Case::new(
            "of weak passwords, without protection",
            "Cognito.6",
            |at| Box::pin(pool(at, 6, false, false)),
            Fixed,
        ),
        Case::new("that is protected", "Cognito.6", |at| Box::pin(pool(at, 12, true, true)), Compliant),
        Case::new(
            "with a custom sender",
            "Cognito.6",
            |at| Box::pin(with_custom_sender(at)),
            Refused("`kms:CreateGrant`"),
        ),
    ],
    look: |at, arn| Box::pin(look_at_pool(at, arn)),
    ministack: OnMinistack::Whole(&["iam:PassRole"]),
};

/// A pool of weak passwords, without protection, whose messages a function sends: a key encrypts the codes in them.
pub(super) async fn with_custom_sender(at: &Place) -> Result<String, Error> {
    let sender = CustomEmailLambdaVersionConfigType::builder()
        .lambda_version(CustomEmailSenderLambdaVersionType::V10)
        .lambda_arn(at.arn("lambda", "function:send"))
        .build()?;
    let key = at.arn("kms", "key/1234abcd-12ab-34cd-56ef-1234567890ab");
    let triggers = LambdaConfigType::builder().custom_email_sender(sender).kms_key_id(key).build();
    let passwords = PasswordPolicyType::builder().minimum_length(6).build();
    let made = Client::new(&at.config)
        .create_user_pool()
        .pool_name(&at.name)
        .policies(UserPoolPolicyType::builder().password_policy(passwords).build())
        .lambda_config(triggers)
        .send()
        .await?;
    let id = made.user_pool.and_then(|pool| pool.id).unwrap_or_default();
    Ok(at.arn("cognito-idp", &format!("userpool/{id}")))
}
