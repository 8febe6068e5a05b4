use aws_sdk_s3::types::{
    AccessControlPolicy, BlockedEncryptionTypes, BucketCannedAcl, EncryptionType, Grant, Grantee,
    ObjectOwnership, OwnershipControls, OwnershipControlsRule, Permission, ServerSideEncryption,
    ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration, ServerSideEncryptionRule, Type,
};
use serde_json::{Value, json};

use super::{absent, bucket, name};
use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "s3.encrypt_with_kms",
    resource_type: "AwsS3Bucket",
    absent: Some(absent),
    cases: &[
        Case::new("as S3 makes it", "S3.17", |at| Box::pin(bucket(at)), Fixed),
        Case::new("that keeps out clients' keys", "S3.17", |at| Box::pin(encrypted(at, "AES256")), Fixed)
            .params("{kms_key: alias/data}"),
        Case::new("of two layers", "S3.17", |at| Box::pin(encrypted(at, "aws:kms:dsse")), Compliant),
        Case::new("of KMS", "S3.17", |at| Box::pin(encrypted(at, "aws:kms")), Compliant),
        Case::new(
            "for a key elsewhere",
            "S3.17",
            |at| Box::pin(bucket(at)),
            Refused("the bucket's own Region alone"),
        )
        .params("{kms_key: 'arn:aws:kms:sa-east-1:123456789012:key/1234abcd'}"),
        Case::new(
            "of logs, by its ACL",
            "S3.17",
            |at| Box::pin(logged_by_acl(at)),
            Refused("http://acs.amazonaws.com/groups/s3/LogDelivery"),
        ),
        Case::new(
            "of logs, by its policy",
            "S3.17",
            |at| Box::pin(logged(at, json!({ "Service": "logging.s3.amazonaws.com" }))),
            Refused("`logging.s3.amazonaws.com`"),
        ),
        Case::new(
            "of logs, by the policy of a load balancer's account",
            "S3.17",
            |at| Box::pin(logged(at, json!({ "AWS": "arn:aws:iam::156460612806:root" }))),
            Refused("`156460612806`"),
        ),
        Case::new(
            "of Redshift's audit logs",
            "S3.17",
            |at| Box::pin(logged(at, json!({ "Service": "redshift.amazonaws.com" }))),
            Refused("`redshift.amazonaws.com`"),
        ),
        Case::new(
            "of Redshift's audit logs, by the policy of old",
            "S3.17",
            |at| Box::pin(logged(at, json!({ "AWS": "arn:aws:iam::193672423079:user/logs" }))),
            Refused("`arn:aws:iam::193672423079:user/logs`"),
        ),
        Case::new(
            "of CloudFront's logs",
            "S3.17",
            |at| Box::pin(logged_by_cloudfront(at)),
            Refused("`kms_key`"),
        ),
        Case::new("of CloudFront's logs, and a key", "S3.17", |at| Box::pin(logged_by_cloudfront(at)), Fixed)
            .params("{kms_key: alias/logs}"),
        Case::new("of flow logs", "S3.17", |at| Box::pin(logged(at, flow_logs())), Refused("`kms_key`")),
        Case::new("of flow logs, and a key", "S3.17", |at| Box::pin(logged(at, flow_logs())), Fixed)
            .params("{kms_key: alias/logs}"),
    ],
    look: |at, arn| Box::pin(look(at, arn)),
    ministack: OnMinistack::Whole(&[]),
};

async fn encrypted(at: &Place, algorithm: &str) -> Result<String, Error> {
    let arn = bucket(at).await?;
    let default =
        ServerSideEncryptionByDefault::builder().sse_algorithm(ServerSideEncryption::from(algorithm));
    let blocked = BlockedEncryptionTypes::builder().encryption_type(EncryptionType::from("SSE-C")).build();
    let rule = ServerSideEncryptionRule::builder()
        .apply_server_side_encryption_by_default(default.build()?)
        .blocked_encryption_types(blocked)
        .build();
    let config = ServerSideEncryptionConfiguration::builder().rules(rule).build()?;
    let put = at.s3().put_bucket_encryption().bucket(&at.name).server_side_encryption_configuration(config);
    put.send().await?;
    Ok(arn)
}

/// A bucket whose ACL counts.
async fn with_acl(at: &Place) -> Result<String, Error> {
    let arn = bucket(at).await?;
    let rule = OwnershipControlsRule::builder().object_ownership(ObjectOwnership::ObjectWriter).build()?;
    let controls = OwnershipControls::builder().rules(rule).build()?;
    at.s3().put_bucket_ownership_controls().bucket(&at.name).ownership_controls(controls).send().await?;
    Ok(arn)
}

async fn logged_by_acl(at: &Place) -> Result<String, Error> {
    let arn = with_acl(at).await?;
    at.s3().put_bucket_acl().bucket(&at.name).acl(BucketCannedAcl::from("log-delivery-write")).send().await?;
    Ok(arn)
}

/// The ACL has the grant that `CloudFront` adds to it where standard logging is turned on.
async fn logged_by_cloudfront(at: &Place) -> Result<String, Error> {
    let arn = with_acl(at).await?;
    let found = at.s3().get_bucket_acl().bucket(&at.name).send().await?;
    let user = Grantee::builder()
        .r#type(Type::CanonicalUser)
        .id("c4c1ede66af53448b93c283ce9448c4ba468c9432aa01d700d3878632f77d2d0")
        .build()?;
    let mut grants = found.grants().to_vec();
    grants.push(Grant::builder().grantee(user).permission(Permission::FullControl).build());
    let acl = AccessControlPolicy::builder().set_grants(Some(grants)).set_owner(found.owner).build();
    at.s3().put_bucket_acl().bucket(&at.name).access_control_policy(acl).send().await?;
    Ok(arn)
}

fn flow_logs() -> Value {
    json!({ "Service": "delivery.logs.amazonaws.com" })
}

async fn logged(at: &Place, principal: Value) -> Result<String, Error> {
    let arn = bucket(at).await?;
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": principal,
            "Action": "s3:PutObject",
            "Resource": format!("{arn}/*"),
        }],
    });
    at.s3().put_bucket_policy().bucket(&at.name).policy(policy.to_string()).send().await?;
    Ok(arn)
}

async fn look(at: &Place, arn: &str) -> Result<Value, Error> {
    let found = at.s3().get_bucket_encryption().bucket(name(arn)).send().await?;
    let config = found.server_side_encryption_configuration;
    let rules = config.map(|config| config.rules).unwrap_or_default();
    let rules: Vec<Value> = rules
        .iter()
        .map(|rule| {
            let default = rule.apply_server_side_encryption_by_default();
            json!({
                "algorithm": default.map(|default| default.sse_algorithm().as_str()),
                "key": default.and_then(|default| default.kms_master_key_id()),
                // It is off where nothing is said of it.
                "bucket_key": rule.bucket_key_enabled().unwrap_or(false),
                "blocked": rule.blocked_encryption_types().map(|blocked| format!("{blocked:?}")),
            })
        })
        .collect();
    Ok(json!(rules))
}
