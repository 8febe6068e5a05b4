use aws_sdk_ec2::types::{
    HttpTokensState::{self, Optional, Required},
    InstanceMetadataEndpointState::{self, Disabled, Enabled},
    InstanceMetadataOptionsRequest, InstanceMetadataTagsState, ResourceType,
};
use serde_json::{Value, json};

use super::{id, named};
use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "ec2.require_imdsv2",
    resource_type: "AwsEc2Instance",
    absent: Some(|at| at.arn("ec2", "instance/i-0123456789abcdef0")),
    cases: &[
        // A hop limit of 3 and tags to be had are as bad as no tokens to some, and none of the control's business.
        Case::new(
            "that answers without tokens",
            "EC2.8",
            |at| Box::pin(instance(at, Optional, Enabled)),
            Fixed,
        ),
        Case::new("that is stopped", "EC2.8", |at| Box::pin(stopped(at)), Fixed),
        Case::new(
            "without a metadata service",
            "EC2.8",
            |at| Box::pin(instance(at, Optional, Disabled)),
            Fixed,
        ),
        Case::new("that requires tokens", "EC2.8", |at| Box::pin(instance(at, Required, Enabled)), Compliant),
    ],
    look: |at, id| Box::pin(look(at, id)),
    ministack: OnMinistack::No("it has no metadata options"),
};

async fn instance(
    at: &Place,
    tokens: HttpTokensState,
    endpoint: InstanceMetadataEndpointState,
) -> Result<String, Error> {
    let options = InstanceMetadataOptionsRequest::builder()
        .http_tokens(tokens)
        .http_endpoint(endpoint)
        .http_put_response_hop_limit(3)
        .instance_metadata_tags(InstanceMetadataTagsState::Enabled)
        .build();
    let run = at.ec2().run_instances().image_id("ami-0123456789abcdef0").min_count(1).max_count(1);
    let run = run.metadata_options(options).tag_specifications(named(ResourceType::Instance, &at.name));
    let made = run.send().await?;
    let made = made.instances().first().and_then(|made| made.instance_id()).unwrap_or_default();
    Ok(at.arn("ec2", &format!("instance/{made}")))
}

async fn stopped(at: &Place) -> Result<String, Error> {
    let arn = instance(at, Optional, Enabled).await?;
    at.ec2().stop_instances().instance_ids(id(&arn)).send().await?;
    Ok(arn)
}

async fn look(at: &Place, arn: &str) -> Result<Value, Error> {
    let found = at.ec2().describe_instances().instance_ids(id(arn)).send().await?;
    let instances = found.reservations().iter().flat_map(aws_sdk_ec2::types::Reservation::instances);
    let seen: Vec<Value> = instances
        .map(|instance| {
            let options = instance.metadata_options();
            let tags: Vec<_> = instance.tags().iter().map(|tag| (tag.key(), tag.value())).collect();
            json!({
                "state": instance.state().and_then(|state| state.name()).map(aws_sdk_ec2::types::InstanceStateName::as_str),
                "tokens": options.and_then(|options| options.http_tokens()).map(HttpTokensState::as_str),
                "hops": options.and_then(aws_sdk_ec2::types::InstanceMetadataOptionsResponse::http_put_response_hop_limit),
                "endpoint": format!("{:?}", options.and_then(|options| options.http_endpoint())),
                "IPv6": format!("{:?}", options.and_then(|options| options.http_protocol_ipv6())),
                "tags in metadata": format!("{:?}", options.and_then(|options| options.instance_metadata_tags())),
                "tags": tags,
            })
        })
        .collect();
    Ok(json!(seen))
}
