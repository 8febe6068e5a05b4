//! Queues.

pub(super) mod encrypt_at_rest;
pub(super) mod remove_public_statements;

use aws_sdk_sqs::{Client, types::QueueAttributeName};
use serde_json::{Value, json};

use super::{Error, Place};

fn sqs(at: &Place) -> Client {
    Client::new(&at.config)
}

fn absent(at: &Place) -> String {
    at.arn("sqs", &format!("no-such-{}", at.name))
}

/// Makes the queue of a place, of these attributes.
async fn queue(at: &Place, attributes: &[(QueueAttributeName, &str)]) -> Result<String, Error> {
    let attributes = attributes.iter().map(|(name, value)| (name.clone(), (*value).to_owned())).collect();
    sqs(at).create_queue().queue_name(&at.name).set_attributes(Some(attributes)).send().await?;
    Ok(at.arn("sqs", &at.name))
}

/// All that can be set of it.
async fn look(at: &Place, _: &str) -> Result<Value, Error> {
    let url = sqs(at).get_queue_url().queue_name(&at.name).send().await?.queue_url.unwrap_or_default();
    let found =
        sqs(at).get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::All).send().await?;
    let found = found.attributes.unwrap_or_default();
    let read = |name: QueueAttributeName| found.get(&name).filter(|value| !value.is_empty()).cloned();
    Ok(json!({
        "managed": read(QueueAttributeName::SqsManagedSseEnabled),
        "key": read(QueueAttributeName::KmsMasterKeyId),
        "reuse": read(QueueAttributeName::KmsDataKeyReusePeriodSeconds),
        "policy": read(QueueAttributeName::Policy),
        "visibility": read(QueueAttributeName::VisibilityTimeout),
        "retention": read(QueueAttributeName::MessageRetentionPeriod),
    }))
}
