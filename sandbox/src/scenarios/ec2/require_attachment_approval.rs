use aws_sdk_ec2::types::{
    AutoAcceptSharedAttachmentsValue as Accept, DefaultRouteTableAssociationValue, DnsSupportValue,
    ResourceType, TransitGatewayRequestOptions,
};
use serde_json::{Value, json};

use super::{id, named, sorted};
use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "ec2.require_attachment_approval",
    resource_type: "AwsEc2TransitGateway",
    absent: Some(|at| at.arn("ec2", "transit-gateway/tgw-0123456789abcdef0")),
    cases: &[
        Case::new("that accepts whatever comes", "EC2.23", |at| Box::pin(gateway(at, Accept::Enable)), Fixed),
        Case::new("that asks", "EC2.23", |at| Box::pin(gateway(at, Accept::Disable)), Compliant),
    ],
    look: |at, arn| Box::pin(look(at, arn)),
    ministack: OnMinistack::No("it has no transit gateways"),
};

/// With other options than those that AWS would set.
async fn gateway(at: &Place, accept: Accept) -> Result<String, Error> {
    let options = TransitGatewayRequestOptions::builder()
        .amazon_side_asn(64_999)
        .auto_accept_shared_attachments(accept)
        .default_route_table_association(DefaultRouteTableAssociationValue::Disable)
        .dns_support(DnsSupportValue::Disable)
        .build();
    let made = at
        .ec2()
        .create_transit_gateway()
        .description("between all of them")
        .options(options)
        .tag_specifications(named(ResourceType::TransitGateway, &at.name))
        .send()
        .await?;
    let gateway = made.transit_gateway.and_then(|gateway| gateway.transit_gateway_id).unwrap_or_default();
    Ok(at.arn("ec2", &format!("transit-gateway/{gateway}")))
}

async fn look(at: &Place, arn: &str) -> Result<Value, Error> {
    let found = at.ec2().describe_transit_gateways().transit_gateway_ids(id(arn)).send().await?;
    let gateways = found.transit_gateways().iter().map(|gateway| {
        json!([format!("{:?}", gateway.options()), gateway.description(), sorted(gateway.tags())])
    });
    Ok(gateways.collect())
}
