//! Takes an instance's public address away.

use std::net::IpAddr;

use aws_sdk_ec2::types::{Filter, SecurityGroupRule};
use aws_sdk_rds::types::{DbInstance, Endpoint, VpcSecurityGroupMembership};

use super::{instance::Instance, refusal, unfit};
use crate::{prelude::*, remediator::Proposal};

pub(crate) struct MakePrivate;

/// A rule's parameters.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Params {
    /// Also fix instances whose security groups let no private address in: nobody can connect to them until
    /// somebody changes that.
    allow_unreachable: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reach {
    public: bool,
    /// Whether security groups let private addresses, or members of a group, in to the database's port. Read,
    /// never altered.
    #[serde(default)]
    private_path: bool,
    /// The public addresses that security groups let in to the database's port. Read, never altered.
    #[serde(default)]
    admitted: Vec<String>,
    /// The cluster that the instance belongs to, where it is none of Aurora's. Read, never altered.
    #[serde(default)]
    cluster: Option<String>,
    /// The status that has to be ended before anything can be changed, such as `stopped`. Read, never altered.
    #[serde(default)]
    unfit: Option<String>,
}

impl Remediator for MakePrivate {
    const SPEC: Spec = Spec {
        name: "rds.make_private",
        version: 1,
        controls: &["RDS.2"],
        risk: Risk::Downtime,
        what: "Takes the public address of the instance away: its name leads to the private address only, from \
               everywhere. It takes effect at once, without a restart. Security groups and subnets stay as they \
               are.",
        who_notices: "Whoever connects from outside the network of the instance: every such client is cut off. \
                      So is what the database itself reaches on the Internet, unless its subnet has a NAT \
                      gateway. Clients in the network, in peered ones, or behind a VPN get on as before. An \
                      instance whose security groups let no private address in is refused unless the rule \
                      allows it.",
        way_back: "Gives the instance a public address again; it may be another, under the same name.",
        reads: &[Action::new("ec2:DescribeSecurityGroupRules", On::Region)],
        writes: &[Action::new("rds:ModifyDBInstance", On::Resource)],
        undo: &[],
        implied: &[],
    };
    type Resource = Instance;
    type Params = Params;
    type State = Reach;

    async fn observe(aws: &Aws, at: &Instance) -> Result<Reach> {
        let found = at.describe(aws).await?;
        let (mut private_path, mut admitted) = (false, Vec::new());
        for rule in rules(aws, &found).await? {
            if !opens(&rule, port(&found)) {
                continue;
            }
            private_path |= rule.referenced_group_info().is_some();
            for range in
                [rule.cidr_ipv4(), rule.cidr_ipv6()].into_iter().flatten().filter(|it| !it.is_empty())
            {
                let (holds_private, holds_public) = parts(range);
                private_path |= holds_private;
                if holds_public {
                    admitted.push(range.to_owned());
                }
            }
            // What a prefix list holds is not looked at: it may be public.
            admitted.extend(rule.prefix_list_id().filter(|it| !it.is_empty()).map(str::to_owned));
        }
        admitted.sort_unstable();
        admitted.dedup();
        let aurora = found.engine().is_some_and(|engine| engine.starts_with("aurora"));
        Ok(Reach {
            public: found
                .publicly_accessible
                .ok_or_else(|| Error::unsaid("whether the instance is public"))?,
            private_path,
            admitted,
            unfit: unfit(found.db_instance_status())?,
            cluster: found.db_cluster_identifier.filter(|name| !aurora && !name.is_empty()),
        })
    }

    fn plan(now: &Reach, ask: &Ask<'_, Params>) -> Plan<Reach> {
        if !now.public {
            return Plan::Compliant;
        }
        if let Some(status) = &now.unfit {
            return Plan::Refuse(refusal(status));
        }
        // https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBCluster.html
        // (PubliclyAccessible): of a Multi-AZ DB cluster, and set when it is made.
        if let Some(cluster) = &now.cluster {
            return Plan::Refuse(format!(
                "the instance belongs to Multi-AZ DB cluster `{}`, which was made public as a whole: RDS can't \
                 change that",
                cluster.escape_debug()
            ));
        }
        if !now.private_path && !ask.params.allow_unreachable {
            return Plan::Refuse(
                "its security groups let no private address in to the database's port: nobody could connect to \
                 it any more; a rule may say `allow_unreachable: true`"
                    .to_owned(),
            );
        }
        let mut notes = vec![
            "what the database itself reaches on the Internet needs a NAT gateway from now on".to_owned(),
        ];
        if !now.private_path {
            notes
                .push("nobody can connect to it until a security group lets a private address in".to_owned());
        }
        if !now.admitted.is_empty() {
            let shown: Vec<String> =
                now.admitted.iter().take(8).map(|range| range.escape_debug().to_string()).collect();
            let more = if now.admitted.len() > shown.len() { ", …" } else { "" };
            notes.push(format!("clients from {}{more} are cut off", shown.join(", ")));
        }
        // Where no public address is let in, nobody can be using it but the database itself.
        let risk = if now.private_path && now.admitted.is_empty() { Risk::Access } else { Risk::Downtime };
        Plan::Change(Proposal { to: Reach { public: false, ..now.clone() }, risk, notes })
    }

    async fn apply(aws: &Aws, at: &Instance, change: &Change<Reach>) -> Result<()> {
        // https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_ModifyDBInstance.html
        // (PubliclyAccessible): at once, whatever `ApplyImmediately` says.
        let request = aws.rds().modify_db_instance().db_instance_identifier(&at.name);
        request.publicly_accessible(change.to.public).send().await?;
        Ok(())
    }

    fn undo(change: &Change<Reach>, now: &Reach) -> Undo<Reach> {
        if now.public == change.from.public {
            return Undo::Nothing;
        }
        match &now.unfit {
            Some(status) => Undo::Refuse(refusal(status)),
            None => Undo::To {
                to: Reach { public: change.from.public, ..now.clone() },
                notes: vec!["its public address may be another one than before".to_owned()],
            },
        }
    }
}

/// The rules of the instance's security groups.
async fn rules(aws: &Aws, of: &DbInstance) -> Result<Vec<SecurityGroupRule>> {
    let groups: Vec<String> = of
        .vpc_security_groups()
        .iter()
        .filter_map(VpcSecurityGroupMembership::vpc_security_group_id)
        .filter(|id| !id.is_empty())
        .map(str::to_owned)
        .collect();
    if groups.is_empty() {
        return Ok(Vec::new());
    }
    let request = aws.ec2().describe_security_group_rules();
    let request = request.filters(Filter::builder().name("group-id").set_values(Some(groups)).build());
    let found =
        request.into_paginator().page_size(1000).items().send().collect::<Result<Vec<_>, _>>().await?;
    Ok(found)
}

fn port(of: &DbInstance) -> Option<i32> {
    let endpoint = of.endpoint().and_then(Endpoint::port);
    endpoint.or(of.db_instance_port).filter(|port| *port > 0)
}

/// Whether a rule lets in to this port; to any, where it is not known.
fn opens(rule: &SecurityGroupRule, port: Option<i32>) -> bool {
    if rule.is_egress() == Some(true) {
        return false;
    }
    match (rule.ip_protocol(), port) {
        (Some("-1"), _) | (Some("tcp" | "6"), None) => true,
        (Some("tcp" | "6"), Some(port)) => {
            let (from, to) = (rule.from_port().unwrap_or(0), rule.to_port().unwrap_or(65_535));
            from == -1 || (from..=to).contains(&port)
        }
        _ => false,
    }
}

/// Ranges that the Internet does not lead to: RFC 1918, RFC 6598, RFC 4193.
const PRIVATE: [(&str, u32); 5] =
    [("10.0.0.0", 8), ("172.16.0.0", 12), ("192.168.0.0", 16), ("100.64.0.0", 10), ("fc00::", 7)];

/// Whether a range holds private addresses, and whether it holds public ones. One that can't be read holds
/// public ones.
fn parts(range: &str) -> (bool, bool) {
    let Some((address, length)) = range.split_once('/') else { return (false, true) };
    let (Ok(address), Ok(length)) = (address.parse::<IpAddr>(), length.parse::<u32>()) else {
        return (false, true);
    };
    let mut holds_private = false;
    for (private, bits) in PRIVATE {
        let Ok(private) = private.parse::<IpAddr>() else { continue };
        if !same_network(address, private, bits.min(length)) {
            continue;
        }
        if length >= bits {
            return (true, false);
        }
        holds_private = true;
    }
    (holds_private, true)
}

/// Whether two addresses of one family begin with the same bits.
fn same_network(one: IpAddr, two: IpAddr, bits: u32) -> bool {
    match (one, two) {
        (IpAddr::V4(one), IpAddr::V4(two)) => (one.to_bits() ^ two.to_bits()).leading_zeros() >= bits,
        (IpAddr::V6(one), IpAddr::V6(two)) => (one.to_bits() ^ two.to_bits()).leading_zeros() >= bits,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "a test fails by panicking")]
    use super::*;
    use crate::remediator::test::ask;

    fn reach(private_path: bool, admitted: &[&str]) -> Reach {
        let admitted = admitted.iter().map(|range| (*range).to_owned()).collect();
        Reach { public: true, private_path, admitted, cluster: None, unfit: None }
    }

    #[test]
    fn the_risk_is_what_its_security_groups_let_in() {
        let params = Params::default();
        let plan = |now: &Reach| MakePrivate::plan(now, &ask("RDS.2", &params));
        let Plan::Change(change) = plan(&reach(true, &[])) else { panic!("no change") };
        assert_eq!((change.to.public, change.risk), (false, Risk::Access));
        let Plan::Change(change) = plan(&reach(true, &["198.51.100.0/24"])) else { panic!("no change") };
        assert_eq!(change.risk, Risk::Downtime);
        assert!(change.notes.iter().any(|note| note.contains("198.51.100.0/24")), "{:?}", change.notes);
        assert_eq!(plan(&Reach { public: false, ..reach(false, &[]) }), Plan::Compliant);
    }

    #[test]
    fn an_instance_that_nobody_could_reach_needs_leave() {
        let now = reach(false, &["198.51.100.0/24"]);
        let Plan::Refuse(why) = MakePrivate::plan(&now, &ask("RDS.2", &Params::default())) else {
            panic!("not refused")
        };
        assert!(why.contains("allow_unreachable"), "{why}");
        let params = Params { allow_unreachable: true };
        let Plan::Change(change) = MakePrivate::plan(&now, &ask("RDS.2", &params)) else {
            panic!("no change")
        };
        assert_eq!(change.risk, Risk::Downtime);
    }

    #[test]
    fn what_cannot_be_changed_is_refused() {
        let params = Params::default();
        for now in [
            Reach { cluster: Some("orders".to_owned()), ..reach(true, &[]) },
            Reach { unfit: Some("stopped".to_owned()), ..reach(true, &[]) },
        ] {
            assert!(matches!(MakePrivate::plan(&now, &ask("RDS.2", &params)), Plan::Refuse(_)), "{now:?}");
        }
    }

    #[test]
    fn ranges_are_told_apart_by_what_they_hold() {
        for (range, expected) in [
            ("10.1.0.0/16", (true, false)),
            ("172.16.0.0/12", (true, false)),
            ("172.0.0.0/8", (true, true)),
            ("0.0.0.0/0", (true, true)),
            ("198.51.100.0/24", (false, true)),
            ("192.168.1.1/32", (true, false)),
            ("::/0", (true, true)),
            ("fd00:1234::/32", (true, false)),
            ("2001:db8::/32", (false, true)),
            ("nonsense", (false, true)),
        ] {
            assert_eq!(parts(range), expected, "{range}");
        }
    }

    #[test]
    fn only_what_leads_to_the_port_counts() {
        let rule = |protocol: &str, from, to| {
            SecurityGroupRule::builder().ip_protocol(protocol).from_port(from).to_port(to).build()
        };
        assert!(opens(&rule("tcp", 5432, 5432), Some(5432)));
        assert!(opens(&rule("-1", -1, -1), Some(5432)));
        assert!(opens(&rule("tcp", 22, 22), None));
        assert!(!opens(&rule("tcp", 22, 22), Some(5432)));
        assert!(!opens(&rule("udp", 0, 65_535), Some(5432)));
        assert!(!opens(&SecurityGroupRule::builder().ip_protocol("-1").is_egress(true).build(), None));
    }

    #[test]
    fn the_way_back_looks_at_the_address_alone() {
        let from = reach(true, &["198.51.100.0/24"]);
        let change = Change { to: Reach { public: false, ..from.clone() }, from };
        let now = Reach { public: false, ..reach(true, &[]) };
        assert!(matches!(MakePrivate::undo(&change, &now), Undo::To { to, .. } if to == reach(true, &[])));
        assert_eq!(MakePrivate::undo(&change, &reach(true, &[])), Undo::Nothing);
    }
}
