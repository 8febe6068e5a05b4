//! Takes every rule from a VPC's default security group.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{Filter, NetworkInterface};

use super::security_group::{RULES, Rule, SecurityGroup, Way, put_back};
use crate::{prelude::*, remediator::Proposal};

pub(crate) struct CloseDefaultGroup;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Params {
    /// What becomes of a group that network interfaces are in.
    in_use: InUse,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum InUse {
    /// Nothing is changed.
    #[default]
    Refuse,
    /// It is closed all the same: what has no other group is cut off.
    Close,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rules {
    ingress: BTreeSet<Rule>,
    egress: BTreeSet<Rule>,
    /// Whether it is its VPC's default group. Read, never altered.
    #[serde(default)]
    is_default: bool,
    /// Whether any network interface is in it. Read, never altered.
    #[serde(default)]
    in_use: bool,
}

impl Remediator for CloseDefaultGroup {
    const SPEC: Spec = Spec {
        name: "ec2.close_default_group",
        version: 1,
        controls: &["EC2.2"],
        risk: Risk::Downtime,
        what: "Revokes every inbound and outbound rule of a VPC's default security group. The group itself \
               can't be deleted. One that network interfaces are in is left, unless the setting `in_use` says \
               to close it.",
        who_notices: "Whatever is launched in the VPC from now on without naming a group: it is in this one, \
                      and nothing reaches it or is reached by it. With `in_use: close` also what is in the \
                      group already and in no other.",
        way_back: "Authorises the revoked rules again, with their descriptions and tags. Rule ids are new, and \
                   tags that AWS itself had set (`aws:`) are lost.",
        reads: &[
            Action::new("ec2:DescribeSecurityGroupRules", On::Region),
            Action::new("ec2:DescribeNetworkInterfaces", On::Region),
        ],
        writes: &[
            Action::new("ec2:RevokeSecurityGroupIngress", On::Resource),
            Action::new("ec2:RevokeSecurityGroupEgress", On::Resource),
        ],
        undo: &[
            Action::new("ec2:AuthorizeSecurityGroupIngress", On::Resource),
            Action::new("ec2:AuthorizeSecurityGroupIngress", On::Arn(RULES)),
            Action::new("ec2:AuthorizeSecurityGroupEgress", On::Resource),
            Action::new("ec2:AuthorizeSecurityGroupEgress", On::Arn(RULES)),
            // https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/supported-iam-actions-tagging.html
            Action::new("ec2:CreateTags", On::Created(RULES, "AuthorizeSecurityGroupIngress"))
                .called(&["AuthorizeSecurityGroupIngress"]),
            Action::new("ec2:CreateTags", On::Created(RULES, "AuthorizeSecurityGroupEgress"))
                .called(&["AuthorizeSecurityGroupEgress"]),
        ],
        implied: &[],
    };
    type Resource = SecurityGroup;
    type Params = Params;
    type State = Rules;

    async fn observe(aws: &Aws, at: &SecurityGroup) -> Result<Rules> {
        // The account's own interfaces are all there can be: a default group
        // [is never shared](https://docs.aws.amazon.com/vpc/latest/userguide/security-group-sharing.html).
        let filter = Filter::builder().name("group-id").values(&at.id).build();
        let mut pages = aws.ec2().describe_network_interfaces().filters(filter).into_paginator().send();
        // A page may be empty, and not the last.
        let used = async {
            while let Some(page) = pages.try_next().await? {
                if page.network_interfaces().iter().any(|one| may_be_in(one, &at.id)) {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        let (group, rules, in_use) = tokio::try_join!(at.read(aws), at.both(aws), used)?;
        let (ingress, egress) = rules;
        Ok(Rules { ingress, egress, is_default: group.group_name() == Some("default"), in_use })
    }

    fn plan(now: &Rules, ask: &Ask<'_, Params>) -> Plan<Rules> {
        if !now.is_default {
            return Plan::Refuse("it is no default security group of a VPC".to_owned());
        }
        if now.ingress.is_empty() && now.egress.is_empty() {
            return Plan::Compliant;
        }
        if now.in_use && ask.params.in_use == InUse::Refuse {
            return Plan::Refuse(
                "network interfaces are in the group: give them a group of their own, or set `in_use: close` \
                 to cut them off"
                    .to_owned(),
            );
        }
        let to = Rules { ingress: BTreeSet::new(), egress: BTreeSet::new(), ..now.clone() };
        let (risk, notes) = if now.in_use {
            let note = "network interfaces are in the group: those in no other are cut off (`in_use: close`)";
            (Risk::Downtime, vec![note.to_owned()])
        } else {
            (Risk::Access, Vec::new())
        };
        Plan::Change(Proposal { to, risk, notes })
    }

    async fn apply(aws: &Aws, at: &SecurityGroup, change: &Change<Rules>) -> Result<()> {
        at.change(aws, Way::In, &change.from.ingress, &change.to.ingress).await?;
        at.change(aws, Way::Out, &change.from.egress, &change.to.egress).await
    }

    fn undo(change: &Change<Rules>, now: &Rules) -> Undo<Rules> {
        let ingress = put_back(&change.from.ingress, &change.to.ingress, &now.ingress);
        let egress = put_back(&change.from.egress, &change.to.egress, &now.egress);
        if ingress.is_none() && egress.is_none() {
            return Undo::Nothing;
        }
        let mut notes: Vec<String> = Vec::new();
        let mut rules = |back: Option<(BTreeSet<Rule>, Vec<String>)>, now: &BTreeSet<Rule>| match back {
            Some((rules, said)) => {
                notes.extend(said);
                rules
            }
            None => now.clone(),
        };
        let ingress = rules(ingress, &now.ingress);
        let egress = rules(egress, &now.egress);
        notes.dedup();
        Undo::To { to: Rules { ingress, egress, ..now.clone() }, notes }
    }
}

/// Whether the interface is in the group, or does not say in which it is.
fn may_be_in(interface: &NetworkInterface, group: &str) -> bool {
    let groups = interface.groups();
    groups.is_empty() || groups.iter().any(|one| one.group_id() == Some(group))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "a test fails by panicking")]
    use super::*;
    use crate::{
        ec2::security_group::{Group, Source, tests::rule},
        remediator::test::ask,
    };

    fn as_made() -> Rules {
        let itself = Group { id: "sg-0123abcd".to_owned(), account: None, peering: None };
        Rules {
            ingress: [Rule { source: Source::Group(itself), ..rule("-1", None, "") }].into(),
            egress: [rule("-1", None, "0.0.0.0/0")].into(),
            is_default: true,
            in_use: false,
        }
    }

    fn plan(now: &Rules, in_use: InUse) -> Plan<Rules> {
        let params = Params { in_use };
        let plan = CloseDefaultGroup::plan(now, &ask("EC2.2", &params));
        if let Plan::Change(change) = &plan {
            assert_eq!(CloseDefaultGroup::plan(&change.to, &ask("EC2.2", &params)), Plan::Compliant);
        }
        plan
    }

    #[test]
    fn every_rule_goes_where_nobody_is() {
        let closed = Rules { ingress: BTreeSet::new(), egress: BTreeSet::new(), ..as_made() };
        let half = Rules { ingress: BTreeSet::new(), ..as_made() };
        for now in [as_made(), half] {
            let Plan::Change(change) = plan(&now, InUse::Refuse) else { panic!("no change") };
            assert_eq!((change.to, change.risk), (closed.clone(), Risk::Access));
        }
        assert_eq!(plan(&closed, InUse::Refuse), Plan::Compliant);
        assert_eq!(plan(&Rules { in_use: true, ..closed }, InUse::Refuse), Plan::Compliant);
    }

    #[test]
    fn whoever_is_in_it_is_cut_off_at_a_word_only() {
        let now = Rules { in_use: true, ..as_made() };
        assert!(matches!(plan(&now, InUse::Refuse), Plan::Refuse(why) if why.contains("`in_use: close`")));
        let Plan::Change(change) = plan(&now, InUse::Close) else { panic!("no change") };
        assert_eq!(change.risk, Risk::Downtime);
        assert!(!change.notes.is_empty());
    }

    #[test]
    fn another_group_is_left_alone() {
        let now = Rules { is_default: false, ..as_made() };
        assert!(matches!(plan(&now, InUse::Close), Plan::Refuse(why) if why.contains("no default")));
    }

    #[test]
    fn undo_brings_back_what_was_revoked_beside_what_is_new() {
        let from = as_made();
        let to = Rules { ingress: BTreeSet::new(), egress: BTreeSet::new(), ..as_made() };
        let change = Change { from: from.clone(), to: to.clone() };
        assert!(matches!(CloseDefaultGroup::undo(&change, &to), Undo::To { to, .. } if to == from));
        assert_eq!(CloseDefaultGroup::undo(&change, &from), Undo::Nothing);

        let own = rule("tcp", (443, 443), "10.0.0.0/8");
        let now = Rules { ingress: [own.clone()].into(), in_use: true, ..to };
        let Undo::To { to, .. } = CloseDefaultGroup::undo(&change, &now) else { panic!("nothing") };
        assert!(to.ingress.contains(&own) && to.ingress.is_superset(&from.ingress) && to.in_use);
        assert_eq!(to.egress, from.egress);
        assert_eq!(CloseDefaultGroup::undo(&change, &to), Undo::Nothing);
    }
}
