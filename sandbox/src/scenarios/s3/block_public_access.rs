use aws_sdk_s3::types::PublicAccessBlockConfiguration;
use serde_json::{Value, json};

use super::{absent, bucket, name, website};
use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "s3.block_public_access",
    resource_type: "AwsS3Bucket",
    absent: Some(absent),
    cases: &[
        Case::new("without a block", "S3.8", |at| Box::pin(open(at)), Fixed),
        Case::new("that may be read", "S3.2", |at| Box::pin(open(at)), Fixed),
        Case::new("that may be written", "S3.3", |at| Box::pin(open(at)), Fixed),
        Case::new("of a block by halves", "S3.8", |at| Box::pin(blocked(at, false)), Fixed),
        Case::new("of a website that may go dark", "S3.8", |at| Box::pin(open_website(at)), Fixed)
            .params("{allow_website: true}"),
        Case::new("that is blocked", "S3.8", |at| Box::pin(blocked(at, true)), Compliant),
        Case::new("of a website", "S3.8", |at| Box::pin(open_website(at)), Refused("static website")),
    ],
    look: |at, arn| Box::pin(look(at, arn)),
    ministack: OnMinistack::Whole(&[]),
};

async fn open(at: &Place) -> Result<String, Error> {
    let arn = bucket(at).await?;
    at.s3().delete_public_access_block().bucket(&at.name).send().await?;
    Ok(arn)
}

async fn open_website(at: &Place) -> Result<String, Error> {
    let arn = website(at).await?;
    at.s3().delete_public_access_block().bucket(&at.name).send().await?;
    Ok(arn)
}

async fn blocked(at: &Place, policies: bool) -> Result<String, Error> {
    let arn = bucket(at).await?;
    let block = PublicAccessBlockConfiguration::builder()
        .block_public_acls(true)
        .ignore_public_acls(true)
        .block_public_policy(policies)
        .restrict_public_buckets(policies)
        .build();
    let put = at.s3().put_public_access_block().bucket(&at.name).public_access_block_configuration(block);
    put.send().await?;
    Ok(arn)
}

async fn look(at: &Place, arn: &str) -> Result<Value, Error> {
    match at.s3().get_public_access_block().bucket(name(arn)).send().await {
        Ok(found) => Ok(json!(format!("{:?}", found.public_access_block_configuration()))),
        Err(error) => match error.as_service_error().and_then(|error| error.meta().code()) {
            Some("NoSuchPublicAccessBlockConfiguration") => Ok(Value::Null),
            _ => Err(error.into()),
        },
    }
}
