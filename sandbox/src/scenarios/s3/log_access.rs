use aws_sdk_s3::types::{BucketLoggingStatus, LoggingEnabled};
use serde_json::{Value, json};

use super::{absent, bucket, name};
use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "s3.log_access",
    resource_type: "AwsS3Bucket",
    absent: Some(absent),
    cases: &[
        Case::new("whose access nobody logs", "S3.9", |at| Box::pin(beside_logs(at)), Fixed)
            .params("{target_bucket: 'logs-{account}-{region}'}"),
        Case::new("to log elsewhere", "S3.9", |at| Box::pin(beside_logs(at)), Fixed)
            .params("{target_bucket: 'logs-{account}-{region}', target_prefix: 's3 & more/{bucket}/'}"),
        Case::new("that is logged", "S3.9", |at| Box::pin(logged(at)), Compliant),
        Case::new("without a place for logs", "S3.9", |at| Box::pin(bucket(at)), Refused("`target_bucket`")),
        Case::new("of the logs", "S3.9", |at| Box::pin(bucket(at)), Refused("the log bucket itself"))
            .params("{target_bucket: '{bucket}'}"),
        Case::new("for logs in no bucket", "S3.9", |at| Box::pin(bucket(at)), Refused("no bucket name"))
            .params("{target_bucket: 'Logs!'}"),
    ],
    look: |at, arn| Box::pin(look(at, arn)),
    ministack: OnMinistack::Whole(&[]),
};

/// The bucket of a place, in whose account and Region there is one for logs.
async fn beside_logs(at: &Place) -> Result<String, Error> {
    let logs = Place { name: format!("logs-{}-{}", at.account, at.region), ..at.clone() };
    if at.s3().head_bucket().bucket(&logs.name).send().await.is_err() {
        bucket(&logs).await?;
    }
    bucket(at).await
}

async fn logged(at: &Place) -> Result<String, Error> {
    let arn = beside_logs(at).await?;
    let target = format!("logs-{}-{}", at.account, at.region);
    let enabled = LoggingEnabled::builder().target_bucket(target).target_prefix("theirs/").build()?;
    let status = BucketLoggingStatus::builder().logging_enabled(enabled).build();
    at.s3().put_bucket_logging().bucket(&at.name).bucket_logging_status(status).send().await?;
    Ok(arn)
}

async fn look(at: &Place, arn: &str) -> Result<Value, Error> {
    let found = at.s3().get_bucket_logging().bucket(name(arn)).send().await?;
    Ok(json!(found.logging_enabled.map(|enabled| format!("{enabled:?}"))))
}
