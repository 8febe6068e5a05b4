use aws_sdk_s3::types::{BucketCannedAcl, ObjectOwnership, OwnershipControls, OwnershipControlsRule};
use serde_json::{Value, json};

use super::{absent, bucket, name};
use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "s3.disable_acls",
    resource_type: "AwsS3Bucket",
    absent: Some(absent),
    cases: &[
        Case::new("without a setting", "S3.12", |at| Box::pin(unset(at)), Fixed),
        Case::new("of its objects' writers", "S3.12", |at| Box::pin(owned(at, "ObjectWriter")), Fixed),
        Case::new(
            "whose owner is preferred",
            "S3.12",
            |at| Box::pin(owned(at, "BucketOwnerPreferred")),
            Fixed,
        ),
        Case::new("as S3 makes it", "S3.12", |at| Box::pin(owned(at, "BucketOwnerEnforced")), Compliant),
        Case::new(
            "whose ACL lets logs in",
            "S3.12",
            |at| Box::pin(granting(at)),
            Refused("WRITE to http://acs.amazonaws.com/groups/s3/LogDelivery"),
        ),
    ],
    look: |at, arn| Box::pin(look(at, arn)),
    ministack: OnMinistack::Whole(&[]),
};

async fn owned(at: &Place, setting: &str) -> Result<String, Error> {
    let arn = bucket(at).await?;
    let rule = OwnershipControlsRule::builder().object_ownership(ObjectOwnership::from(setting)).build()?;
    let controls = OwnershipControls::builder().rules(rule).build()?;
    at.s3().put_bucket_ownership_controls().bucket(&at.name).ownership_controls(controls).send().await?;
    Ok(arn)
}

async fn unset(at: &Place) -> Result<String, Error> {
    let arn = owned(at, "ObjectWriter").await?;
    at.s3().delete_bucket_ownership_controls().bucket(&at.name).send().await?;
    Ok(arn)
}

async fn granting(at: &Place) -> Result<String, Error> {
    let arn = owned(at, "ObjectWriter").await?;
    at.s3().put_bucket_acl().bucket(&at.name).acl(BucketCannedAcl::from("log-delivery-write")).send().await?;
    Ok(arn)
}

async fn look(at: &Place, arn: &str) -> Result<Value, Error> {
    let acl = at.s3().get_bucket_acl().bucket(name(arn)).send().await?;
    let grants: Vec<String> = acl.grants().iter().map(|grant| format!("{grant:?}")).collect();
    let setting = match at.s3().get_bucket_ownership_controls().bucket(name(arn)).send().await {
        Ok(found) => {
            let controls = found.ownership_controls.map(|controls| controls.rules).unwrap_or_default();
            json!(controls.iter().map(|rule| rule.object_ownership.as_str()).collect::<Vec<_>>())
        }
        Err(error) => match error.as_service_error().and_then(|error| error.meta().code()) {
            Some("OwnershipControlsNotFoundError") => Value::Null,
            _ => return Err(error.into()),
        },
    };
    Ok(json!([setting, grants]))
}
