pub(super) mod enable_point_in_time_recovery;
pub(super) mod protect_from_deletion;

use aws_sdk_dynamodb::{
    Client,
    types::{
        AttributeDefinition, BillingMode, KeySchemaElement, KeyType, PointInTimeRecoverySpecification,
        ScalarAttributeType, Tag,
    },
};
use serde_json::{Value, json};

use super::{Error, Place};

fn client(at: &Place) -> Client {
    Client::new(&at.config)
}

fn absent(at: &Place) -> String {
    at.arn("dynamodb", "table/no-such-table")
}

fn name(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or_default()
}

async fn table(at: &Place) -> Result<String, Error> {
    let key = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build()?;
    let id =
        AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::S).build()?;
    let create = client(at).create_table().table_name(&at.name).key_schema(key).attribute_definitions(id);
    let tag = Tag::builder().key("team").value("shop").build()?;
    create.billing_mode(BillingMode::PayPerRequest).tags(tag).send().await?;
    Ok(at.arn("dynamodb", &format!("table/{}", at.name)))
}

async fn recoverable(at: &Place) -> Result<String, Error> {
    let arn = table(at).await?;
    let on = PointInTimeRecoverySpecification::builder().point_in_time_recovery_enabled(true).build()?;
    let update = client(at).update_continuous_backups().table_name(&at.name);
    update.point_in_time_recovery_specification(on).send().await?;
    Ok(arn)
}

async fn protected(at: &Place) -> Result<String, Error> {
    let arn = table(at).await?;
    client(at).update_table().table_name(&at.name).deletion_protection_enabled(true).send().await?;
    Ok(arn)
}

/// Both settings: each remediator leaves the other's as it is.
async fn look(at: &Place, arn: &str) -> Result<Value, Error> {
    let described = client(at).describe_table().table_name(name(arn)).send().await?;
    let table = described.table();
    let backups = client(at).describe_continuous_backups().table_name(name(arn)).send().await?;
    let recovery = backups
        .continuous_backups_description()
        .and_then(|backups| backups.point_in_time_recovery_description())
        .and_then(|recovery| recovery.point_in_time_recovery_status());
    let tags = client(at).list_tags_of_resource().resource_arn(arn).send().await?;
    Ok(json!({
        "recovery": recovery.map(aws_sdk_dynamodb::types::PointInTimeRecoveryStatus::as_str),
        "protected": table.and_then(|table| table.deletion_protection_enabled),
        "billing": format!("{:?}", table.and_then(|table| table.billing_mode_summary()?.billing_mode())),
        "tags": format!("{:?}", tags.tags()),
    }))
}
