//! Security groups and Elastic IP addresses.

pub(super) mod release_address;
pub(super) mod restrict_ingress;

use aws_sdk_ec2::types::{ResourceType, Tag, TagSpecification};

fn named(kind: ResourceType, name: &str) -> TagSpecification {
    TagSpecification::builder()
        .resource_type(kind)
        .tags(Tag::builder().key("Name").value(name).build())
        .build()
}

/// What follows the last slash of an ARN.
fn id(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}
