use aws_sdk_ec2::types::{DomainType, ResourceType};
use serde_json::{Value, json};

use super::{id, named};
use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "ec2.release_address",
    resource_type: "AwsEc2Eip",
    absent: Some(|at| at.arn("ec2", "elastic-ip/eipalloc-0123456789abcdef0")),
    cases: &[
        Case::new("that nothing uses", "EC2.12", |at| Box::pin(address(at)), Fixed).params("{grace_days: 0}"),
        Case::new("in use", "EC2.12", |at| Box::pin(used(at)), Compliant).params("{grace_days: 0}"),
        Case::new(
            "with a name of its own",
            "EC2.12",
            |at| Box::pin(known(at)),
            Refused("reverse DNS record"),
        )
        .params("{grace_days: 0}"),
        Case::new(
            "that is handed over",
            "EC2.12",
            |at| Box::pin(offered(at)),
            Refused("handed over to account"),
        )
        .params("{grace_days: 0}"),
    ],
    look: |at, _| Box::pin(look(at)),
    ministack: OnMinistack::NoWayBack(
        "it asks for `AllocateAddress` on no address at all, and AWS on those that it gives",
    ),
};

async fn address(at: &Place) -> Result<String, Error> {
    let allocated = at
        .ec2()
        .allocate_address()
        .domain(DomainType::Vpc)
        .tag_specifications(named(ResourceType::ElasticIp, &at.name))
        .send()
        .await?;
    Ok(at.arn("ec2", &format!("elastic-ip/{}", allocated.allocation_id.unwrap_or_default())))
}

async fn used(at: &Place) -> Result<String, Error> {
    let arn = address(at).await?;
    at.ec2().associate_address().allocation_id(id(&arn)).instance_id("i-0123456789abcdef0").send().await?;
    Ok(arn)
}

async fn known(at: &Place) -> Result<String, Error> {
    let arn = address(at).await?;
    at.ec2()
        .modify_address_attribute()
        .allocation_id(id(&arn))
        .domain_name("mail.example.com")
        .send()
        .await?;
    Ok(arn)
}

async fn offered(at: &Place) -> Result<String, Error> {
    let arn = address(at).await?;
    let offer = at.ec2().enable_address_transfer().allocation_id(id(&arn));
    offer.transfer_account_id("210987654321").send().await?;
    Ok(arn)
}

/// By their public addresses: an allocation id does not come back.
async fn look(at: &Place) -> Result<Value, Error> {
    let found = at.ec2().describe_addresses().send().await?;
    let mut addresses: Vec<String> = found
        .addresses()
        .iter()
        .map(|address| {
            let tags: Vec<_> = address.tags().iter().map(|tag| (tag.key(), tag.value())).collect();
            format!("{:?} {:?} {tags:?}", address.public_ip(), address.instance_id())
        })
        .collect();
    addresses.sort_unstable();
    Ok(json!(addresses))
}
