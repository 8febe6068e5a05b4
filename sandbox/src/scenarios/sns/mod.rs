//! Topics.

pub(super) mod encrypt_with_kms;
pub(super) mod remove_public_statements;

use aws_sdk_sns::Client;
use serde_json::{Value, json};

use super::{Error, Place};

fn sns(at: &Place) -> Client {
    Client::new(&at.config)
}

fn absent(at: &Place) -> String {
    at.arn("sns", &format!("no-such-{}", at.name))
}

/// Makes the topic of a place, of these attributes besides those that AWS gives to each.
async fn topic(at: &Place, attributes: &[(&str, &str)]) -> Result<String, Error> {
    let made = sns(at).create_topic().name(&at.name).send().await?;
    let arn = made.topic_arn.unwrap_or_default();
    for (name, value) in attributes {
        let set = sns(at).set_topic_attributes().topic_arn(&arn).attribute_name(*name);
        set.attribute_value(*value).send().await?;
    }
    Ok(arn)
}

/// What can be set of it.
async fn look(at: &Place, arn: &str) -> Result<Value, Error> {
    let found = sns(at).get_topic_attributes().topic_arn(arn).send().await?;
    let found = found.attributes.unwrap_or_default();
    let read = |name: &str| found.get(name).filter(|value| !value.is_empty()).cloned();
    Ok(json!({
        "key": read("KmsMasterKeyId"),
        "policy": read("Policy"),
        "name": read("DisplayName"),
    }))
}
