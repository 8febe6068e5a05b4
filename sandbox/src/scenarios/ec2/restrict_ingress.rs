use aws_sdk_ec2::types::{Filter, IpPermission, IpRange, Ipv6Range, ResourceType};
use serde_json::{Value, json};

use super::{id, named};
use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "ec2.restrict_ingress",
    resource_type: "AwsEc2SecurityGroup",
    absent: Some(|at| at.arn("ec2", "security-group/sg-0123456789abcdef0")),
    cases: &[
        Case::new("open to SSH", "EC2.13", |at| Box::pin(group(at, BASTION)), Fixed),
        Case::new("open to remote desktops", "EC2.14", |at| Box::pin(group(at, BASTION)), Fixed),
        Case::new("open to both", "EC2.19", |at| Box::pin(group(at, BASTION)), Fixed),
        Case::new("open to ports that nobody allows", "EC2.18", |at| Box::pin(group(at, BASTION)), Fixed)
            .parameters(&[("authorizedTcpPorts", &["80", "443"])]),
        Case::new("open too widely to split", "EC2.13", |at| Box::pin(group(at, WIDE)), Fixed)
            .params("{wide: split}"),
        Case::new("open to everything, to split", "EC2.13", |at| Box::pin(group(at, EVERYTHING)), Fixed)
            .params("{wide: split}"),
        Case::new("open too widely to keep", "EC2.13", |at| Box::pin(group(at, WIDE)), Fixed)
            .params("{wide: revoke}"),
        Case::new("administered from any IPv4 address", "EC2.53", |at| Box::pin(group(at, BASTION)), Fixed),
        Case::new("administered from any IPv6 address", "EC2.54", |at| Box::pin(group(at, BASTION)), Fixed),
        Case::new("open to everything over IPv6", "EC2.53", |at| Box::pin(group(at, EVERYTHING)), Compliant),
        Case::new(
            "open to everything",
            "EC2.54",
            |at| Box::pin(group(at, EVERYTHING)),
            Refused("set `wide: split`"),
        ),
        Case::new("open to an office", "EC2.13", |at| Box::pin(group(at, CLOSED)), Compliant),
        Case::new("open too widely", "EC2.13", |at| Box::pin(group(at, WIDE)), Refused("set `wide: split`")),
    ],
    look: |at, arn| Box::pin(look(at, arn)),
    ministack: OnMinistack::Whole(&["ec2:CreateTags"]),
};

/// Protocol, ports, source, description.
type Ingress = (&'static str, i32, i32, &'static str, &'static str);

const BASTION: &[Ingress] = &[
    ("tcp", 22, 22, "0.0.0.0/0", "temporary, for the migration"),
    ("tcp", 22, 22, "198.51.100.0/24", "office"),
    ("tcp", 3389, 3389, "::/0", "remote desktop"),
    ("-1", -1, -1, "192.0.2.10/32", ""),
];
const WIDE: &[Ingress] = &[("tcp", 20, 25, "0.0.0.0/0", "of old"), ("udp", 53, 53, "198.51.100.0/24", "")];
const EVERYTHING: &[Ingress] = &[("-1", -1, -1, "::/0", "all"), ("tcp", 443, 443, "0.0.0.0/0", "")];
const CLOSED: &[Ingress] = &[("tcp", 22, 22, "198.51.100.0/24", "office")];

async fn group(at: &Place, ingress: &[Ingress]) -> Result<String, Error> {
    let ec2 = at.ec2();
    let made = ec2.create_vpc().cidr_block("10.0.0.0/16").send().await?;
    let vpc = made.vpc.and_then(|vpc| vpc.vpc_id).unwrap_or_default();
    let made = ec2
        .create_security_group()
        .group_name(&at.name)
        .description(&at.name)
        .vpc_id(vpc)
        .tag_specifications(named(ResourceType::SecurityGroup, &at.name))
        .send()
        .await?;
    let group = made.group_id.unwrap_or_default();
    for (number, (protocol, from, to, source, description)) in ingress.iter().enumerate() {
        let permission = IpPermission::builder().ip_protocol(*protocol);
        let permission =
            if *protocol == "-1" { permission } else { permission.from_port(*from).to_port(*to) };
        let described = (!description.is_empty()).then(|| (*description).to_owned());
        let permission = if source.contains(':') {
            permission.ipv6_ranges(Ipv6Range::builder().cidr_ipv6(*source).set_description(described).build())
        } else {
            permission.ip_ranges(IpRange::builder().cidr_ip(*source).set_description(described).build())
        };
        ec2.authorize_security_group_ingress()
            .group_id(&group)
            .ip_permissions(permission.build())
            .tag_specifications(named(ResourceType::SecurityGroupRule, &format!("rule-{number}")))
            .send()
            .await?;
    }
    Ok(at.arn("ec2", &format!("security-group/{group}")))
}

async fn look(at: &Place, arn: &str) -> Result<Value, Error> {
    let filter = Filter::builder().name("group-id").values(id(arn)).build();
    let found = at.ec2().describe_security_group_rules().filters(filter).send().await?;
    let mut rules: Vec<String> = found
        .security_group_rules()
        .iter()
        .map(|rule| {
            let mut tags: Vec<_> = rule.tags().iter().map(|tag| (tag.key(), tag.value())).collect();
            tags.sort_unstable();
            format!(
                "{:?} {:?} {:?}-{:?} {:?} {:?} {:?} {tags:?}",
                rule.is_egress(),
                rule.ip_protocol(),
                rule.from_port(),
                rule.to_port(),
                rule.cidr_ipv4(),
                rule.cidr_ipv6(),
                rule.description(),
            )
        })
        .collect();
    rules.sort_unstable();
    Ok(json!(rules))
}
