use serde_json::{Value, json};

use super::{absent, bucket, name};
use crate::{
    scenarios::{
        Case, Error,
        Expect::{Compliant, Fixed, Refused},
        OnMinistack, Place, Scenarios,
    },
    securityhub::partition,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "s3.revoke_foreign_control",
    resource_type: "AwsS3Bucket",
    absent: Some(absent),
    cases: &[
        Case::new("that a partner may do too much with", "S3.6", |at| Box::pin(shared(at, PARTNER)), Fixed),
        Case::new("that a partner controls", "S3.6", |at| Box::pin(shared(at, CONTROLLED)), Fixed),
        Case::new("whose partner reads", "S3.6", |at| Box::pin(shared(at, READ)), Compliant),
        Case::new("without a policy", "S3.6", |at| Box::pin(bucket(at)), Compliant),
        Case::new(
            "that a partner may do all with",
            "S3.6",
            |at| Box::pin(granted(at, r#"{"AWS":"210987654321"}"#, "s3:*")),
            Refused("`s3:*`"),
        ),
        Case::new(
            "that a partner controls together with us",
            "S3.6",
            |at| Box::pin(granted(at, r#"{"AWS":["210987654321","ACCOUNT"]}"#, "s3:PutBucketPolicy")),
            Refused("a statement of their own"),
        ),
        Case::new(
            "that somebody controls",
            "S3.6",
            |at| Box::pin(granted(at, r#"{"CanonicalUser":"00ff"}"#, "s3:PutBucketPolicy")),
            Refused("whose account can't be told"),
        ),
        Case::new(
            "that all but a partner control",
            "S3.6",
            |at| Box::pin(shared(at, EXCEPTED)),
            Refused("`NotPrincipal`"),
        ),
        Case::new(
            "that a partner may do all but something with",
            "S3.6",
            |at| Box::pin(shared(at, MOST)),
            Refused("`NotAction`"),
        ),
    ],
    look: |at, arn| Box::pin(look(at, arn)),
    ministack: OnMinistack::Whole(&[]),
};

/// With a statement beside it that makes the bucket fail S3.5 no less, and stays.
const PARTNER: &str = r#"{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Sid": "Partner",
      "Effect": "Allow",
      "Principal": { "AWS": ["arn:PARTITION:iam::210987654321:root"] },
      "Action": [ "s3:PutObject", "s3:PutObjectAcl" , "s3:PutBucketAcl" ],
      "Resource": ["BUCKET", "BUCKET/*"]
    },
    { "Effect": "Allow", "Principal": { "AWS": "ACCOUNT" }, "Action": "s3:*", "Resource": "BUCKET/*" }
  ]
}"#;

const CONTROLLED: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow",
"Principal":{"AWS":"210987654321"},"Action":"s3:PutBucketPolicy","Resource":"BUCKET"}}"#;

const READ: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
"Principal":{"AWS":"210987654321"},"Action":["s3:Get*","s3:PutObject"],"Resource":["BUCKET","BUCKET/*"]}]}"#;

const EXCEPTED: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
"NotPrincipal":{"AWS":"210987654321"},"Action":"s3:PutBucketPolicy","Resource":"BUCKET"}]}"#;

const MOST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
"Principal":{"AWS":"210987654321"},"NotAction":"s3:DeleteBucket","Resource":"BUCKET"}]}"#;

async fn shared(at: &Place, policy: &str) -> Result<String, Error> {
    let arn = bucket(at).await?;
    let policy = policy
        .replace("BUCKET", &arn)
        .replace("PARTITION", partition(&at.region))
        .replace("ACCOUNT", &at.account);
    at.s3().put_bucket_policy().bucket(&at.name).policy(policy).send().await?;
    Ok(arn)
}

async fn granted(at: &Place, principal: &str, action: &str) -> Result<String, Error> {
    let statement = format!(
        r#"{{"Effect":"Allow","Principal":{principal},"Action":"{action}","Resource":["BUCKET","BUCKET/*"]}}"#
    );
    shared(at, &format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#)).await
}

async fn look(at: &Place, arn: &str) -> Result<Value, Error> {
    match at.s3().get_bucket_policy().bucket(name(arn)).send().await {
        Ok(found) => Ok(json!(found.policy)),
        Err(error) => match error.as_service_error().and_then(|error| error.meta().code()) {
            Some("NoSuchBucketPolicy") => Ok(Value::Null),
            _ => Err(error.into()),
        },
    }
}
