//! The tables of a deployment, made in whatever answers as DynamoDB.

use aws_sdk_dynamodb::{
    Client, Error,
    types::{AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType},
};

/// The keys of a state table.
pub const STATE: &[&str] = &["key"];
/// The keys of an audit table.
pub const AUDIT: &[&str] = &["pk", "sk"];
/// The keys of an activity table.
pub const ACTIVITY: &[&str] = &["userpool_id", "sub"];

/// Makes a table with a partition key and perhaps a sort key, both texts.
///
/// # Errors
/// As DynamoDB said it.
pub async fn make(client: &Client, name: &str, keys: &[&str]) -> Result<(), Error> {
    let mut request = client.create_table().table_name(name).billing_mode(BillingMode::PayPerRequest);
    for (name, kind) in keys.iter().zip([KeyType::Hash, KeyType::Range]) {
        let attribute =
            AttributeDefinition::builder().attribute_name(*name).attribute_type(ScalarAttributeType::S);
        let key = KeySchemaElement::builder().attribute_name(*name).key_type(kind);
        request = request.attribute_definitions(attribute.build()?).key_schema(key.build()?);
    }
    request.send().await?;
    Ok(())
}
