//! Networks, Elastic IP addresses, instances, launch templates, snapshots, and an account's defaults.

pub(super) mod block_public_snapshots;
pub(super) mod close_default_group;
pub(super) mod encrypt_volumes_by_default;
pub(super) mod log_vpc_traffic;
pub(super) mod release_address;
pub(super) mod require_attachment_approval;
pub(super) mod require_imdsv2;
pub(super) mod require_imdsv2_in_template;
pub(super) mod restrict_ingress;
pub(super) mod restrict_nacl_ingress;
pub(super) mod unshare_snapshot;
pub(super) mod withhold_public_addresses;

use aws_sdk_ec2::types::{ResourceType, Tag, TagSpecification};

use super::{Error, Place};

fn named(kind: ResourceType, name: &str) -> TagSpecification {
    TagSpecification::builder()
        .resource_type(kind)
        .tags(Tag::builder().key("Name").value(name).build())
        .build()
}

/// A VPC, by its id.
async fn vpc(at: &Place) -> Result<String, Error> {
    let made = at.ec2().create_vpc().cidr_block("10.0.0.0/16").send().await?;
    Ok(made.vpc.and_then(|vpc| vpc.vpc_id).unwrap_or_default())
}

/// Tags in an order that is the same in every run.
fn sorted(tags: &[Tag]) -> Vec<String> {
    let text = |tag: &Tag| format!("{}={}", tag.key().unwrap_or_default(), tag.value().unwrap_or_default());
    let mut tags: Vec<String> = tags.iter().map(text).collect();
    tags.sort_unstable();
    tags
}

/// What follows the last slash of an ARN.
fn id(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}
