use serde_json::{Value, json};

use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "ec2.encrypt_volumes_by_default",
    resource_type: "AwsAccount",
    absent: None,
    cases: &[
        Case::new("that encrypts nothing by itself", "EC2.7", |at| Box::pin(account(at, false)), Fixed),
        Case::new("that encrypts by default", "EC2.7", |at| Box::pin(account(at, true)), Compliant),
    ],
    look: |at, _| Box::pin(look(at)),
    ministack: OnMinistack::No("it has no encryption by default"),
};

async fn account(at: &Place, encrypts: bool) -> Result<String, Error> {
    if encrypts {
        at.ec2().enable_ebs_encryption_by_default().send().await?;
    } else {
        at.ec2().disable_ebs_encryption_by_default().send().await?;
    }
    Ok(format!("AWS::::Account:{}", at.account))
}

async fn look(at: &Place) -> Result<Value, Error> {
    let encryption = at.ec2().get_ebs_encryption_by_default().send().await?;
    let snapshots = at.ec2().get_snapshot_block_public_access_state().send().await?;
    Ok(json!({
        "encryption": encryption.ebs_encryption_by_default(),
        "public snapshots": snapshots.state().map(aws_sdk_ec2::types::SnapshotBlockPublicAccessState::as_str),
    }))
}
