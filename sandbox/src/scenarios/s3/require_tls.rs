use serde_json::{Value, json};

use super::{absent, bucket, name, website};
use crate::{
    scenarios::{
        Case, Error,
        Expect::{Compliant, Fixed, Refused},
        OnMinistack, Place, Scenarios,
    },
    securityhub::partition,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "s3.require_tls",
    resource_type: "AwsS3Bucket",
    absent: Some(absent),
    cases: &[
        Case::new("without a policy", "S3.5", |at| Box::pin(bucket(at)), Fixed),
        Case::new("of a policy", "S3.5", |at| Box::pin(shared(at, THEIRS)), Fixed),
        Case::new("of a policy laid out oddly", "S3.5", |at| Box::pin(shared(at, ODD)), Fixed),
        Case::new("of a website that may go dark", "S3.5", |at| Box::pin(website(at)), Fixed)
            .params("{allow_website: true}"),
        Case::new("of TLS alone", "S3.5", |at| Box::pin(shared(at, GUARDED)), Compliant),
        Case::new("of a website", "S3.5", |at| Box::pin(website(at)), Refused("static website")),
        Case::new(
            "of another statement of our name",
            "S3.5",
            |at| Box::pin(shared(at, NAMESAKE)),
            Refused("another statement `RedressRequireTls`"),
        ),
        Case::new(
            "of a policy without room",
            "S3.5",
            |at| Box::pin(crammed(at)),
            Refused("shorten it first"),
        ),
    ],
    look: |at, arn| Box::pin(look(at, arn)),
    ministack: OnMinistack::No("it speaks plain HTTP, and enforces the very policy that the fix makes"),
};

const THEIRS: &str = r#"{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Sid": "PartnerReads",
      "Effect": "Allow",
      "Principal": { "AWS": "arn:PARTITION:iam::210987654321:root" },
      "Action": ["s3:GetObject", "s3:ListBucket"],
      "Resource": ["BUCKET", "BUCKET/*"]
    }
  ]
}"#;

/// One statement that is no list, members in another order, an escaped character, white space of all kinds.
const ODD: &str = "{\t\"Id\" : \"caf\\u00e9\",\r\n \"Statement\":{\"Resource\":\"BUCKET/*\" ,\"Action\":\"s3:GetObject\",\
                   \"Principal\":{\"AWS\":\"210987654321\"},\"Effect\":\"Allow\"} , \"Version\":\"2008-10-17\"}";

const GUARDED: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:*",
"Resource":["BUCKET","BUCKET/*"],"Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}"#;

const NAMESAKE: &str = r#"{"Version":"2012-10-17","Statement":[{"Sid":"RedressRequireTls","Effect":"Deny",
"Principal":{"AWS":"210987654321"},"Action":"s3:GetObject","Resource":"BUCKET/*"}]}"#;

async fn shared(at: &Place, policy: &str) -> Result<String, Error> {
    let arn = bucket(at).await?;
    let policy = policy.replace("BUCKET", &arn).replace("PARTITION", partition(&at.region));
    at.s3().put_bucket_policy().bucket(&at.name).policy(policy).send().await?;
    Ok(arn)
}

/// As long as a policy may be.
async fn crammed(at: &Place) -> Result<String, Error> {
    let accounts: Vec<String> =
        (0..1_350).map(|number| format!("{:012}", 100_000_000_000_u64 + number)).collect();
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "AWS": accounts },
            "Action": "s3:GetObject",
            "Resource": "BUCKET/*",
        }],
    });
    shared(at, &policy.to_string()).await
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
