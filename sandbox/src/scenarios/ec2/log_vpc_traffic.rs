use aws_sdk_ec2::types::{Filter, FlowLogsResourceType, LogDestinationType, ResourceType, TrafficType};
use serde_json::{Value, json};

use super::{id, named, sorted, vpc};
use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "ec2.log_vpc_traffic",
    resource_type: "AwsEc2Vpc",
    absent: Some(|at| at.arn("ec2", "vpc/vpc-0123456789abcdef0")),
    cases: &[
        Case::new(
            "whose accepted traffic is logged",
            "EC2.6",
            |at| Box::pin(logged(at, Some("ACCEPT"))),
            Fixed,
        )
        .params("{log_group: /vpc/flow, role: service/flow-logs}"),
        Case::new("without a flow log", "EC2.6", |at| Box::pin(logged(at, None)), Fixed)
            .params("{traffic: all, bucket: 'arn:aws:s3:::flow-logs/vpcs/'}"),
        Case::new("whose traffic is all logged", "EC2.6", |at| Box::pin(logged(at, Some("ALL"))), Compliant),
        Case::new(
            "whose rejected traffic is logged",
            "EC2.6",
            |at| Box::pin(logged(at, Some("REJECT"))),
            Compliant,
        )
        .params("{log_group: /vpc/flow, role: service/flow-logs}"),
        Case::new(
            "whose rule names no destination",
            "EC2.6",
            |at| Box::pin(logged(at, None)),
            Refused("where to log to"),
        ),
    ],
    look: |at, arn| Box::pin(look(at, arn)),
    ministack: OnMinistack::No("it keeps neither the role nor the format of a flow log"),
};

/// A VPC, with a flow log of this traffic to a bucket.
async fn logged(at: &Place, traffic: Option<&str>) -> Result<String, Error> {
    let ec2 = at.ec2();
    let vpc = vpc(at).await?;
    let tags = named(ResourceType::Vpc, &at.name);
    ec2.create_tags().resources(&vpc).set_tags(tags.tags).send().await?;
    if let Some(traffic) = traffic {
        ec2.create_flow_logs()
            .resource_type(FlowLogsResourceType::Vpc)
            .resource_ids(&vpc)
            .traffic_type(TrafficType::from(traffic))
            .log_destination_type(LogDestinationType::S3)
            .log_destination("arn:aws:s3:::older-flow-logs")
            .max_aggregation_interval(60)
            .tag_specifications(named(ResourceType::VpcFlowLog, &at.name))
            .send()
            .await?;
    }
    Ok(at.arn("ec2", &format!("vpc/{vpc}")))
}

/// Without ids.
async fn look(at: &Place, arn: &str) -> Result<Value, Error> {
    let filter = Filter::builder().name("resource-id").values(id(arn)).build();
    let found = at.ec2().describe_flow_logs().filter(filter).send().await?;
    let mut logs: Vec<String> = found
        .flow_logs()
        .iter()
        .map(|log| {
            format!(
                "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
                log.traffic_type(),
                log.log_destination_type(),
                log.log_destination(),
                log.log_group_name(),
                log.deliver_logs_permission_arn(),
                log.log_format(),
                log.max_aggregation_interval(),
                sorted(log.tags()),
            )
        })
        .collect();
    logs.sort_unstable();
    let vpcs = at.ec2().describe_vpcs().vpc_ids(id(arn)).send().await?;
    let tags = vpcs.vpcs().first().map(|vpc| sorted(vpc.tags()));
    Ok(json!([logs, tags]))
}
