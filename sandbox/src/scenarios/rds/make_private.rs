use aws_sdk_ec2::types::{IpPermission, IpRange};

use super::{absent_instance, instance, look_at_instance, member, rds, stopped};
use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "rds.make_private",
    resource_type: "AwsRdsDbInstance",
    absent: Some(absent_instance),
    cases: &[
        Case::new("that its own network uses", "RDS.2", |at| Box::pin(behind(at, "10.0.0.0/16")), Fixed),
        Case::new("that everybody may try", "RDS.2", |at| Box::pin(behind(at, "0.0.0.0/0")), Fixed),
        Case::new("with another change that waits", "RDS.2", |at| Box::pin(waiting(at)), Fixed),
        Case::new("that an office uses", "RDS.2", |at| Box::pin(behind(at, "198.51.100.0/24")), Fixed)
            .params("{allow_unreachable: true}"),
        Case::new(
            "that an office alone uses",
            "RDS.2",
            |at| Box::pin(behind(at, "198.51.100.0/24")),
            Refused("allow_unreachable"),
        ),
        Case::new(
            "without a public address",
            "RDS.2",
            |at| Box::pin(instance(at, |request| request.publicly_accessible(false))),
            Compliant,
        ),
        Case::new("that is stopped", "RDS.2", |at| Box::pin(stopped(at)), Refused("it is `stopped`")),
        Case::new(
            "of a cluster",
            "RDS.2",
            |at| Box::pin(member(at, "postgres")),
            Refused("Multi-AZ DB cluster"),
        ),
    ],
    look: |at, arn| Box::pin(look_at_instance(at, arn)),
    ministack: OnMinistack::Whole(&[]),
};

/// An instance whose security group lets these addresses in.
async fn behind(at: &Place, range: &str) -> Result<String, Error> {
    let ec2 = at.ec2();
    let made = ec2.create_vpc().cidr_block("10.0.0.0/16").send().await?;
    let vpc = made.vpc.and_then(|vpc| vpc.vpc_id).unwrap_or_default();
    let made = ec2.create_security_group().group_name(&at.name).description(&at.name).vpc_id(vpc);
    let group = made.send().await?.group_id.unwrap_or_default();
    let permission = IpPermission::builder()
        .ip_protocol("tcp")
        .from_port(5432)
        .to_port(5432)
        .ip_ranges(IpRange::builder().cidr_ip(range).build());
    ec2.authorize_security_group_ingress().group_id(&group).ip_permissions(permission.build()).send().await?;
    instance(at, |request| request.vpc_security_group_ids(group)).await
}

async fn waiting(at: &Place) -> Result<String, Error> {
    let arn = behind(at, "10.0.0.0/16").await?;
    let request = rds(at).modify_db_instance().db_instance_identifier(&at.name);
    request.db_instance_class("db.t3.large").send().await?;
    Ok(arn)
}
