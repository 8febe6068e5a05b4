use aws_sdk_ec2::types::SnapshotBlockPublicAccessState::{self, BlockAllSharing, BlockNewSharing};
use serde_json::{Value, json};

use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "ec2.block_public_snapshots",
    resource_type: "AwsEc2SnapshotBlockPublicAccess",
    absent: None,
    cases: &[
        Case::new("without a block", "EC2.182", |at| Box::pin(blocked(at, None)), Fixed),
        Case::new(
            "that blocks new sharing alone",
            "EC2.182",
            |at| Box::pin(blocked(at, Some(BlockNewSharing))),
            Fixed,
        ),
        Case::new("that is blocked", "EC2.182", |at| Box::pin(blocked(at, Some(BlockAllSharing))), Compliant),
    ],
    look: |at, _| Box::pin(look(at)),
    ministack: OnMinistack::No("it has no block of public snapshots"),
};

async fn blocked(at: &Place, state: Option<SnapshotBlockPublicAccessState>) -> Result<String, Error> {
    match state {
        Some(state) => {
            at.ec2().enable_snapshot_block_public_access().state(state).send().await?;
        }
        None => {
            at.ec2().disable_snapshot_block_public_access().send().await?;
        }
    }
    Ok(at.arn("ec2", &format!("snapshotblockpublicaccess/{}", at.account)))
}

async fn look(at: &Place) -> Result<Value, Error> {
    let encryption = at.ec2().get_ebs_encryption_by_default().send().await?;
    let snapshots = at.ec2().get_snapshot_block_public_access_state().send().await?;
    Ok(json!({
        "encryption": encryption.ebs_encryption_by_default(),
        "public snapshots": snapshots.state().map(aws_sdk_ec2::types::SnapshotBlockPublicAccessState::as_str),
    }))
}
