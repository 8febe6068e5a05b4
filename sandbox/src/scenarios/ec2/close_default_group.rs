use aws_sdk_ec2::types::{Filter, IpPermission, IpRange, Ipv6Range, ResourceType};
use serde_json::{Value, json};

use super::{id, named, sorted, vpc};
use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "ec2.close_default_group",
    resource_type: "AwsEc2SecurityGroup",
    absent: Some(|at| at.arn("ec2", "security-group/sg-0123456789abcdef0")),
    cases: &[
        Case::new("with rules of its own", "EC2.2", |at| Box::pin(used_by_hand(at)), Fixed),
        Case::new("as AWS makes it", "EC2.2", |at| Box::pin(as_made(at)), Fixed),
        Case::new("in use, to close", "EC2.2", |at| Box::pin(in_use(at)), Fixed).params("{in_use: close}"),
        Case::new("in use", "EC2.2", |at| Box::pin(in_use(at)), Refused("`in_use: close`")),
        Case::new("without rules", "EC2.2", |at| Box::pin(closed(at)), Compliant),
        Case::new(
            "that is none of AWS's making",
            "EC2.2",
            |at| Box::pin(another(at)),
            Refused("no default security group"),
        ),
    ],
    look: |at, arn| Box::pin(look(at, arn)),
    ministack: OnMinistack::Whole(&["ec2:CreateTags"]),
};

async fn default_of(at: &Place, vpc: &str) -> Result<String, Error> {
    let filter = |name: &str, value: &str| Filter::builder().name(name).values(value).build();
    let found = at
        .ec2()
        .describe_security_groups()
        .filters(filter("vpc-id", vpc))
        .filters(filter("group-name", "default"))
        .send()
        .await?;
    Ok(found.security_groups().first().and_then(|group| group.group_id()).unwrap_or_default().to_owned())
}

async fn as_made(at: &Place) -> Result<String, Error> {
    let group = default_of(at, &vpc(at).await?).await?;
    Ok(at.arn("ec2", &format!("security-group/{group}")))
}

/// With tags on the group, and described and tagged rules for both directions and address families.
async fn used_by_hand(at: &Place) -> Result<String, Error> {
    let arn = as_made(at).await?;
    let ec2 = at.ec2();
    let tags = named(ResourceType::SecurityGroup, &at.name);
    ec2.create_tags().resources(id(&arn)).set_tags(tags.tags).send().await?;
    let tcp = |port| IpPermission::builder().ip_protocol("tcp").from_port(port).to_port(port);
    let office = IpRange::builder().cidr_ip("198.51.100.0/24").description("office").build();
    ec2.authorize_security_group_ingress()
        .group_id(id(&arn))
        .ip_permissions(tcp(22).ip_ranges(office).build())
        .tag_specifications(named(ResourceType::SecurityGroupRule, "way in"))
        .send()
        .await?;
    let anywhere = Ipv6Range::builder().cidr_ipv6("::/0").description("updates").build();
    ec2.authorize_security_group_egress()
        .group_id(id(&arn))
        .ip_permissions(tcp(443).ipv6_ranges(anywhere).build())
        .tag_specifications(named(ResourceType::SecurityGroupRule, "way out"))
        .send()
        .await?;
    Ok(arn)
}

async fn in_use(at: &Place) -> Result<String, Error> {
    let ec2 = at.ec2();
    let vpc = vpc(at).await?;
    let group = default_of(at, &vpc).await?;
    let made = ec2.create_subnet().vpc_id(vpc).cidr_block("10.0.1.0/24").send().await?;
    let subnet = made.subnet.and_then(|subnet| subnet.subnet_id).unwrap_or_default();
    ec2.create_network_interface().subnet_id(subnet).groups(&group).send().await?;
    Ok(at.arn("ec2", &format!("security-group/{group}")))
}

async fn closed(at: &Place) -> Result<String, Error> {
    let arn = as_made(at).await?;
    let ec2 = at.ec2();
    for (egress, rule) in rules(at, &arn).await?.iter().map(|rule| (rule.is_egress(), rule)) {
        let rule = rule.security_group_rule_id().unwrap_or_default();
        if egress == Some(true) {
            let revoke = ec2.revoke_security_group_egress().group_id(id(&arn));
            revoke.security_group_rule_ids(rule).send().await?;
        } else {
            let revoke = ec2.revoke_security_group_ingress().group_id(id(&arn));
            revoke.security_group_rule_ids(rule).send().await?;
        }
    }
    Ok(arn)
}

async fn another(at: &Place) -> Result<String, Error> {
    let made = at
        .ec2()
        .create_security_group()
        .group_name(&at.name)
        .description(&at.name)
        .vpc_id(vpc(at).await?)
        .send()
        .await?;
    Ok(at.arn("ec2", &format!("security-group/{}", made.group_id.unwrap_or_default())))
}

async fn rules(at: &Place, arn: &str) -> Result<Vec<aws_sdk_ec2::types::SecurityGroupRule>, Error> {
    let filter = Filter::builder().name("group-id").values(id(arn)).build();
    let found = at.ec2().describe_security_group_rules().filters(filter).send().await?;
    Ok(found.security_group_rules.unwrap_or_default())
}

async fn look(at: &Place, arn: &str) -> Result<Value, Error> {
    let mut rules: Vec<String> = rules(at, arn)
        .await?
        .iter()
        .map(|rule| {
            // Its own group's id is another one in every run.
            let itself = rule.referenced_group_info().map(|group| group.group_id() == Some(id(arn)));
            format!(
                "{:?} {:?} {:?}-{:?} {:?} {:?} {itself:?} {:?} {:?}",
                rule.is_egress(),
                rule.ip_protocol(),
                rule.from_port(),
                rule.to_port(),
                rule.cidr_ipv4(),
                rule.cidr_ipv6(),
                rule.description(),
                sorted(rule.tags()),
            )
        })
        .collect();
    rules.sort_unstable();
    let found = at.ec2().describe_security_groups().group_ids(id(arn)).send().await?;
    let tags = found.security_groups().first().map(|group| sorted(group.tags()));
    Ok(json!([rules, tags]))
}
