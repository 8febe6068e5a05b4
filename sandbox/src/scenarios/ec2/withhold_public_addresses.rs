use aws_sdk_ec2::types::{AttributeBooleanValue, ResourceType};
use serde_json::{Value, json};

use super::{id, named, sorted, vpc};
use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "ec2.withhold_public_addresses",
    resource_type: "AwsEc2Subnet",
    absent: Some(|at| at.arn("ec2", "subnet/subnet-0123456789abcdef0")),
    cases: &[
        Case::new("that gives public addresses", "EC2.15", |at| Box::pin(subnet(at, true, false)), Fixed),
        Case::new(
            "that gives IPv6 addresses as well",
            "EC2.15",
            |at| Box::pin(subnet(at, true, true)),
            Fixed,
        ),
        Case::new("that gives none", "EC2.15", |at| Box::pin(subnet(at, false, false)), Compliant),
    ],
    look: |at, arn| Box::pin(look(at, arn)),
    ministack: OnMinistack::Whole(&[]),
};

async fn subnet(at: &Place, public: bool, ipv6: bool) -> Result<String, Error> {
    let ec2 = at.ec2();
    let made = ec2
        .create_subnet()
        .vpc_id(vpc(at).await?)
        .cidr_block("10.0.1.0/24")
        .tag_specifications(named(ResourceType::Subnet, &at.name))
        .send()
        .await?;
    let subnet = made.subnet.and_then(|subnet| subnet.subnet_id).unwrap_or_default();
    let on = || AttributeBooleanValue::builder().value(true).build();
    if public {
        ec2.modify_subnet_attribute().subnet_id(&subnet).map_public_ip_on_launch(on()).send().await?;
    }
    if ipv6 {
        ec2.modify_subnet_attribute().subnet_id(&subnet).assign_ipv6_address_on_creation(on()).send().await?;
    }
    Ok(at.arn("ec2", &format!("subnet/{subnet}")))
}

async fn look(at: &Place, arn: &str) -> Result<Value, Error> {
    let found = at.ec2().describe_subnets().subnet_ids(id(arn)).send().await?;
    let subnets = found.subnets().iter().map(|subnet| {
        json!([
            subnet.map_public_ip_on_launch(),
            subnet.assign_ipv6_address_on_creation(),
            subnet.cidr_block(),
            sorted(subnet.tags()),
        ])
    });
    Ok(subnets.collect())
}
