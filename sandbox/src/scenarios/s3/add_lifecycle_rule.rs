use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration,
    LifecycleRule, LifecycleRuleFilter, builders::LifecycleRuleBuilder,
};
use serde_json::{Value, json};

use super::{absent, bucket, name, versioned};
use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "s3.add_lifecycle_rule",
    resource_type: "AwsS3Bucket",
    absent: Some(absent),
    cases: &[
        Case::new("without any rule", "S3.13", |at| Box::pin(bucket(at)), Fixed),
        Case::new("of versions without any rule", "S3.10", |at| Box::pin(versioned(at, "Enabled")), Fixed),
        Case::new("of a disabled rule", "S3.13", |at| Box::pin(with(at, "old", "Disabled")), Fixed),
        Case::new("of a disabled rule of old", "S3.13", |at| Box::pin(of_old(at)), Fixed),
        Case::new("to expire objects of", "S3.13", |at| Box::pin(with(at, "old", "Disabled")), Fixed)
            .params("{expiration_days: 400, transitions: [{days: 90, storage_class: GLACIER_IR}]}"),
        Case::new("of an enabled rule", "S3.13", |at| Box::pin(with(at, "theirs", "Enabled")), Compliant),
        Case::new("without versions", "S3.10", |at| Box::pin(bucket(at)), Compliant),
        Case::new(
            "of a rule of our name, disabled",
            "S3.13",
            |at| Box::pin(with(at, "redress-abort-incomplete-uploads", "Disabled")),
            Refused("has a rule `redress-abort-incomplete-uploads` already"),
        ),
    ],
    look: |at, arn| Box::pin(look(at, arn)),
    ministack: OnMinistack::Whole(&[]),
};

async fn with(at: &Place, id: &str, status: &str) -> Result<String, Error> {
    let filter = LifecycleRuleFilter::builder().prefix("tmp/").build();
    with_rule(at, LifecycleRule::builder().id(id).status(ExpirationStatus::from(status)).filter(filter)).await
}

/// From before there were filters.
async fn of_old(at: &Place) -> Result<String, Error> {
    let rule = LifecycleRule::builder().id("old").status(ExpirationStatus::Disabled);
    #[expect(deprecated, reason = "such rules are still there")]
    let rule = rule.prefix("tmp/");
    with_rule(at, rule).await
}

async fn with_rule(at: &Place, rule: LifecycleRuleBuilder) -> Result<String, Error> {
    let arn = bucket(at).await?;
    let rule = rule
        .expiration(LifecycleExpiration::builder().days(30).build())
        .abort_incomplete_multipart_upload(
            AbortIncompleteMultipartUpload::builder().days_after_initiation(3).build(),
        )
        .build()?;
    let config = BucketLifecycleConfiguration::builder().rules(rule).build()?;
    let put = at.s3().put_bucket_lifecycle_configuration().bucket(&at.name).lifecycle_configuration(config);
    put.send().await?;
    Ok(arn)
}

async fn look(at: &Place, arn: &str) -> Result<Value, Error> {
    let found = at.s3().get_bucket_lifecycle_configuration().bucket(name(arn)).send().await;
    match found {
        Ok(found) => Ok(json!(found.rules().iter().map(|rule| format!("{rule:?}")).collect::<Vec<_>>())),
        Err(error) => match error.as_service_error().and_then(|error| error.meta().code()) {
            Some("NoSuchLifecycleConfiguration") => Ok(Value::Null),
            _ => Err(error.into()),
        },
    }
}
