use aws_sdk_ec2::types::{IcmpTypeCode, PortRange, ResourceType, RuleAction};
use serde_json::{Value, json};

use super::{id, named, sorted, vpc};
use crate::scenarios::{
    Case, Error,
    Expect::{Compliant, Fixed, Refused},
    OnMinistack, Place, Scenarios,
};

pub(in crate::scenarios) const SCENARIOS: Scenarios = Scenarios {
    remediator: "ec2.restrict_nacl_ingress",
    resource_type: "AwsEc2NetworkAcl",
    absent: Some(|at| at.arn("ec2", "network-acl/acl-0123456789abcdef0")),
    cases: &[
        Case::new("open to administration", "EC2.21", |at| Box::pin(acl(at, OPEN)), Fixed),
        Case::new("open to everything, to split", "EC2.21", |at| Box::pin(acl(at, EVERYTHING)), Fixed)
            .params("{wide: split}"),
        Case::new("open to a range, to split", "EC2.21", |at| Box::pin(acl(at, RANGE)), Fixed)
            .params("{wide: split}"),
        Case::new("open to an office", "EC2.21", |at| Box::pin(acl(at, CLOSED)), Compliant),
        Case::new("open to a range", "EC2.21", |at| Box::pin(acl(at, RANGE)), Refused("set `wide: split`")),
        Case::new(
            "open to everything, without room",
            "EC2.21",
            |at| Box::pin(acl(at, CROWDED)),
            Refused("between its neighbours there are numbers for 3"),
        )
        .params("{wide: split}"),
        Case::new(
            "open to everything, at its quota",
            "EC2.21",
            |at| Box::pin(acl(at, EVERYTHING)),
            Refused("the quota is 8"),
        )
        .params("{wide: split, entries_per_direction: 8}"),
    ],
    look: |at, arn| Box::pin(look(at, arn)),
    ministack: OnMinistack::No("its entries have no ports"),
};

/// Number, what it does, protocol, ports (ICMP: type and code), source.
type Entry = (i32, RuleAction, &'static str, i32, i32, &'static str);

const OPEN: &[Entry] = &[
    (90, RuleAction::Allow, "6", 22, 22, "198.51.100.0/24"),
    (100, RuleAction::Allow, "6", 22, 22, "0.0.0.0/0"),
    (105, RuleAction::Deny, "6", 3389, 3389, "0.0.0.0/0"),
    (110, RuleAction::Allow, "6", 443, 443, "0.0.0.0/0"),
    (120, RuleAction::Allow, "6", 3389, 3389, "::/0"),
    (130, RuleAction::Allow, "1", 8, -1, "0.0.0.0/0"),
];
const EVERYTHING: &[Entry] = &[
    (90, RuleAction::Deny, "-1", -1, -1, "203.0.113.0/24"),
    (100, RuleAction::Allow, "-1", -1, -1, "0.0.0.0/0"),
    (101, RuleAction::Allow, "6", 443, 443, "::/0"),
];
const RANGE: &[Entry] =
    &[(100, RuleAction::Allow, "6", 20, 25, "::/0"), (110, RuleAction::Allow, "17", 53, 53, "0.0.0.0/0")];
const CROWDED: &[Entry] = &[
    (98, RuleAction::Deny, "-1", -1, -1, "203.0.113.0/24"),
    (100, RuleAction::Allow, "-1", -1, -1, "0.0.0.0/0"),
    (102, RuleAction::Deny, "6", 25, 25, "0.0.0.0/0"),
];
const CLOSED: &[Entry] = &[
    (90, RuleAction::Allow, "6", 22, 22, "198.51.100.0/24"),
    (100, RuleAction::Allow, "6", 23, 3388, "0.0.0.0/0"),
];

async fn acl(at: &Place, entries: &[Entry]) -> Result<String, Error> {
    let ec2 = at.ec2();
    let made = ec2
        .create_network_acl()
        .vpc_id(vpc(at).await?)
        .tag_specifications(named(ResourceType::NetworkAcl, &at.name))
        .send()
        .await?;
    let acl = made.network_acl.and_then(|acl| acl.network_acl_id).unwrap_or_default();
    // What goes out is none of the control's business.
    let out = ec2.create_network_acl_entry().network_acl_id(&acl).egress(true).rule_number(100);
    out.protocol("-1").rule_action(RuleAction::Allow).cidr_block("0.0.0.0/0").send().await?;
    for (number, action, protocol, from, to, source) in entries {
        let entry = ec2
            .create_network_acl_entry()
            .network_acl_id(&acl)
            .egress(false)
            .rule_number(*number)
            .rule_action(action.clone())
            .protocol(*protocol);
        let entry =
            if source.contains(':') { entry.ipv6_cidr_block(*source) } else { entry.cidr_block(*source) };
        let entry = match *protocol {
            "6" | "17" => entry.port_range(PortRange::builder().from(*from).to(*to).build()),
            "1" => entry.icmp_type_code(IcmpTypeCode::builder().r#type(*from).code(*to).build()),
            _ => entry,
        };
        entry.send().await?;
    }
    Ok(at.arn("ec2", &format!("network-acl/{acl}")))
}

async fn look(at: &Place, arn: &str) -> Result<Value, Error> {
    let found = at.ec2().describe_network_acls().network_acl_ids(id(arn)).send().await?;
    let acls = found.network_acls().iter().map(|acl| {
        let mut entries: Vec<String> = acl.entries().iter().map(|entry| format!("{entry:?}")).collect();
        entries.sort_unstable();
        json!([entries, sorted(acl.tags())])
    });
    Ok(acls.collect())
}
