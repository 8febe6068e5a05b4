use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration, LifecycleRule, LifecycleRuleFilter,
};
use serde_json::{Value, json};

use super::{absent, bucket, name, versioned};
use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed, FixedOneWay},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "s3.enable_versioning",
    resource_type: "AwsS3Bucket",
    absent: Some(absent),
    cases: &[
        Case::new("never versioned", "S3.14", |at| Box::pin(bucket(at)), FixedOneWay("\"Suspended\"")),
        Case::new("whose objects expire", "S3.14", |at| Box::pin(expiring(at)), FixedOneWay("\"Suspended\"")),
        Case::new("of suspended versioning", "S3.14", |at| Box::pin(versioned(at, "Suspended")), Fixed),
        Case::new("that is versioned", "S3.14", |at| Box::pin(versioned(at, "Enabled")), Compliant),
    ],
    look: |at, arn| Box::pin(look(at, arn)),
    ministack: OnMinistack::Whole(&[]),
};

async fn expiring(at: &Place) -> Result<String, Error> {
    let arn = bucket(at).await?;
    let rule = LifecycleRule::builder()
        .id("expire-logs")
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix("logs/").build())
        .expiration(LifecycleExpiration::builder().days(30).build())
        .build()?;
    let config = BucketLifecycleConfiguration::builder().rules(rule).build()?;
    let put = at.s3().put_bucket_lifecycle_configuration().bucket(&at.name).lifecycle_configuration(config);
    put.send().await?;
    Ok(arn)
}

async fn look(at: &Place, arn: &str) -> Result<Value, Error> {
    let found = at.s3().get_bucket_versioning().bucket(name(arn)).send().await?;
    Ok(json!(found.status.map(|status| status.as_str().to_owned())))
}
