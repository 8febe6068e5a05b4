use aws_sdk_ec2::types::{
    CreateVolumePermission, CreateVolumePermissionModifications, PermissionGroup, ResourceType,
    SnapshotAttributeName,
};
use serde_json::{Value, json};

use super::{id, named, sorted};
use crate::{
    scenarios::{
        Case, Error,
        Expect::{Compliant, Fixed},
        OnMinistack, Place, Scenarios,
    },
    securityhub::partition,
};

const PARTNER: &str = "210987654321";

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "ec2.unshare_snapshot",
    resource_type: "AwsEc2Snapshot",
    absent: Some(|at| arn(at, "snap-0123456789abcdef0")),
    cases: &[
        Case::new("of everybody's", "EC2.1", |at| Box::pin(snapshot(at, true, &[])), Fixed),
        Case::new(
            "of everybody's and of one account's",
            "EC2.1",
            |at| Box::pin(snapshot(at, true, &[PARTNER])),
            Fixed,
        ),
        Case::new("of one account's", "EC2.1", |at| Box::pin(snapshot(at, false, &[PARTNER])), Compliant),
        Case::new("of nobody else's", "EC2.1", |at| Box::pin(snapshot(at, false, &[])), Compliant),
        Case::new(
            "of everybody's that the account's finding stands for",
            "EC2.1",
            |at| Box::pin(among_others(at, true)),
            Fixed,
        )
        .of_account(),
        Case::new(
            "of one account's, and no other that the account's finding could stand for",
            "EC2.1",
            |at| Box::pin(among_others(at, false)),
            Compliant,
        )
        .of_account(),
    ],
    look: |at, arn| Box::pin(look(at, arn)),
    ministack: OnMinistack::No(
        "it keeps no groups in a snapshot's permissions, and takes leave for one on an ARN that names an account",
    ),
};

/// The ARN of a snapshot, which names no account.
fn arn(at: &Place, id: &str) -> String {
    format!("arn:{}:ec2:{}::snapshot/{id}", partition(&at.region), at.region)
}

async fn snapshot(at: &Place, everybody: bool, accounts: &[&str]) -> Result<String, Error> {
    let request = at.ec2().create_snapshot().volume_id("vol-0123456789abcdef0");
    let request = request.tag_specifications(named(ResourceType::Snapshot, &at.name));
    let id = request.send().await?.snapshot_id.unwrap_or_default();
    let permission = CreateVolumePermission::builder;
    let everybody = everybody.then(|| permission().group(PermissionGroup::All).build());
    let accounts = accounts.iter().map(|account| permission().user_id(*account).build());
    let shared: Vec<_> = everybody.into_iter().chain(accounts).collect();
    if !shared.is_empty() {
        let added = CreateVolumePermissionModifications::builder().set_add(Some(shared)).build();
        let request = at.ec2().modify_snapshot_attribute().snapshot_id(&id);
        let request = request.attribute(SnapshotAttributeName::CreateVolumePermission);
        request.create_volume_permission(added).send().await?;
    }
    Ok(arn(at, &id))
}

/// One that is shared with a partner, and beside it others that are not everybody's.
async fn among_others(at: &Place, everybody: bool) -> Result<String, Error> {
    snapshot(at, false, &[]).await?;
    snapshot(at, false, &[PARTNER]).await?;
    snapshot(at, everybody, &[PARTNER]).await
}

/// Who may make volumes of it, and its tags.
async fn look(at: &Place, arn: &str) -> Result<Value, Error> {
    let attribute = at.ec2().describe_snapshot_attribute().snapshot_id(id(arn));
    let found = attribute.attribute(SnapshotAttributeName::CreateVolumePermission).send().await?;
    let permissions = found.create_volume_permissions();
    let who = permissions
        .iter()
        .map(|one| one.group().map_or(one.user_id().unwrap_or_default(), PermissionGroup::as_str));
    let who: Vec<&str> = who.collect();
    let described = at.ec2().describe_snapshots().snapshot_ids(id(arn)).send().await?;
    let tags = described.snapshots().iter().map(|one| sorted(one.tags()));
    let tags: Vec<_> = tags.collect();
    Ok(json!({ "may restore": who, "tags": tags }))
}
