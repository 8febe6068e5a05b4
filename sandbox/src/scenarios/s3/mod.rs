//! Buckets, and the account's own setting.

pub(super) mod add_lifecycle_rule;
pub(super) mod block_account_public_access;
pub(super) mod block_public_access;
pub(super) mod disable_acls;
pub(super) mod enable_versioning;
pub(super) mod encrypt_with_kms;
pub(super) mod log_access;
pub(super) mod notify_event_bridge;
pub(super) mod require_tls;
pub(super) mod revoke_foreign_control;

use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};

use super::{Error, Place};
use crate::securityhub::partition;

fn absent(at: &Place) -> String {
    format!("arn:{}:s3:::no-such-{}", partition(&at.region), at.name)
}

/// A bucket's name, of its ARN.
fn name(arn: &str) -> &str {
    arn.rsplit(':').next().unwrap_or(arn)
}

/// Makes the bucket of a place.
async fn bucket(at: &Place) -> Result<String, Error> {
    let place = CreateBucketConfiguration::builder()
        .location_constraint(BucketLocationConstraint::from(at.region.as_str()))
        .build();
    at.s3()
        .create_bucket()
        .bucket(&at.name)
        // The oldest Region is the one that must not be named.
        .set_create_bucket_configuration((at.region != "us-east-1").then_some(place))
        .send()
        .await?;
    Ok(format!("arn:{}:s3:::{}", partition(&at.region), at.name))
}

async fn versioned(at: &Place, status: &str) -> Result<String, Error> {
    let arn = bucket(at).await?;
    let config = aws_sdk_s3::types::VersioningConfiguration::builder().status(status.into()).build();
    at.s3().put_bucket_versioning().bucket(&at.name).versioning_configuration(config).send().await?;
    Ok(arn)
}

async fn website(at: &Place) -> Result<String, Error> {
    let arn = bucket(at).await?;
    let index = aws_sdk_s3::types::IndexDocument::builder().suffix("index.html").build()?;
    let config = aws_sdk_s3::types::WebsiteConfiguration::builder().index_document(index).build();
    at.s3().put_bucket_website().bucket(&at.name).website_configuration(config).send().await?;
    Ok(arn)
}
