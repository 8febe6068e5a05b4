use aws_sdk_kms::{
    Client,
    operation::create_key::builders::CreateKeyFluentBuilder,
    types::{KeySpec, KeyUsageType, OriginType, Tag},
};
use serde_json::{Value, json};

use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "kms.rotate_key",
    resource_type: "AwsKmsKey",
    absent: Some(|at| at.arn("kms", "key/00000000-0000-4000-8000-000000000000")),
    cases: &[
        Case::new("that does not rotate", CONTROL, |at| Box::pin(key(at)), Fixed),
        Case::new("that rotated twice a year", CONTROL, |at| Box::pin(stopped(at)), Fixed),
        Case::new("of several Regions", CONTROL, |at| Box::pin(primary(at)), Fixed),
        Case::new("that rotates", CONTROL, |at| Box::pin(rotating(at)), Compliant),
        Case::new("that rotates and is disabled", CONTROL, |at| Box::pin(dormant(at)), Compliant),
        Case::new("for signatures", CONTROL, |at| Box::pin(signing(at)), Refused("asymmetric")),
        Case::new("from elsewhere", CONTROL, |at| Box::pin(imported(at)), Refused("imported")),
        Case::new("that is disabled", CONTROL, |at| Box::pin(disabled(at)), Refused("is disabled")),
        Case::new("that is to go", CONTROL, |at| Box::pin(going(at)), Refused("scheduled for deletion")),
    ],
    look: |at, arn| Box::pin(look(at, arn)),
    ministack: OnMinistack::Whole(&[]),
};

const CONTROL: &str = "KMS.4";

fn client(at: &Place) -> Client {
    Client::new(&at.config)
}

async fn made(at: &Place, create: CreateKeyFluentBuilder) -> Result<String, Error> {
    let tag = Tag::builder().tag_key("team").tag_value("shop").build()?;
    let made = create.description(&at.name).tags(tag).send().await?;
    Ok(made.key_metadata.and_then(|key| key.arn).unwrap_or_default())
}

async fn key(at: &Place) -> Result<String, Error> {
    made(at, client(at).create_key()).await
}

async fn primary(at: &Place) -> Result<String, Error> {
    made(at, client(at).create_key().multi_region(true)).await
}

async fn rotating(at: &Place) -> Result<String, Error> {
    let arn = key(at).await?;
    client(at).enable_key_rotation().key_id(&arn).rotation_period_in_days(180).send().await?;
    Ok(arn)
}

async fn dormant(at: &Place) -> Result<String, Error> {
    let arn = rotating(at).await?;
    client(at).disable_key().key_id(&arn).send().await?;
    Ok(arn)
}

async fn stopped(at: &Place) -> Result<String, Error> {
    let arn = rotating(at).await?;
    client(at).disable_key_rotation().key_id(&arn).send().await?;
    Ok(arn)
}

async fn signing(at: &Place) -> Result<String, Error> {
    let create = client(at).create_key().key_spec(KeySpec::EccNistP256);
    made(at, create.key_usage(KeyUsageType::SignVerify)).await
}

async fn imported(at: &Place) -> Result<String, Error> {
    made(at, client(at).create_key().origin(OriginType::External)).await
}

async fn disabled(at: &Place) -> Result<String, Error> {
    let arn = key(at).await?;
    client(at).disable_key().key_id(&arn).send().await?;
    Ok(arn)
}

async fn going(at: &Place) -> Result<String, Error> {
    let arn = key(at).await?;
    client(at).schedule_key_deletion().key_id(&arn).pending_window_in_days(7).send().await?;
    Ok(arn)
}

async fn look(at: &Place, arn: &str) -> Result<Value, Error> {
    let found = client(at).describe_key().key_id(arn).send().await?;
    let key = found.key_metadata();
    let rotation = match client(at).get_key_rotation_status().key_id(arn).send().await {
        Ok(status) => json!([status.key_rotation_enabled(), status.rotation_period_in_days()]),
        Err(_) => Value::Null,
    };
    Ok(json!({
        "rotation": rotation,
        "description": key.and_then(|key| key.description()),
        "state": key.and_then(|key| key.key_state()).map(aws_sdk_kms::types::KeyState::as_str),
    }))
}
