use aws_sdk_s3control::types::PublicAccessBlockConfiguration;
use serde_json::{Value, json};

use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "s3.block_account_public_access",
    resource_type: "AwsAccount",
    absent: None,
    cases: &[
        Case::new("without a block", "S3.1", |at| Box::pin(open(at)), Fixed),
        Case::new("of a block by halves", "S3.1", |at| Box::pin(blocked(at, false)), Fixed),
        Case::new("that is blocked", "S3.1", |at| Box::pin(blocked(at, true)), Compliant),
    ],
    look: |at, _| Box::pin(look(at)),
    ministack: OnMinistack::No("it has no S3 Control"),
};

fn control(at: &Place) -> aws_sdk_s3control::Client {
    aws_sdk_s3control::Client::new(&at.config)
}

async fn open(at: &Place) -> Result<String, Error> {
    control(at).delete_public_access_block().account_id(&at.account).send().await?;
    Ok(format!("AWS::::Account:{}", at.account))
}

async fn blocked(at: &Place, policies: bool) -> Result<String, Error> {
    let block = PublicAccessBlockConfiguration::builder()
        .block_public_acls(true)
        .ignore_public_acls(true)
        .block_public_policy(policies)
        .restrict_public_buckets(policies)
        .build();
    let put = control(at).put_public_access_block().account_id(&at.account);
    put.public_access_block_configuration(block).send().await?;
    Ok(format!("AWS::::Account:{}", at.account))
}

async fn look(at: &Place) -> Result<Value, Error> {
    match control(at).get_public_access_block().account_id(&at.account).send().await {
        Ok(found) => Ok(json!(format!("{:?}", found.public_access_block_configuration()))),
        Err(error) => match error.as_service_error().and_then(|error| error.meta().code()) {
            Some("NoSuchPublicAccessBlockConfiguration") => Ok(Value::Null),
            _ => Err(error.into()),
        },
    }
}
