//! Security groups and their rules.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::{
    self, Filter, IpPermission, IpRange, Ipv6Range, PrefixListId, ResourceType, SecurityGroupRule,
    UserIdGroupPair,
};
use serde::{Deserialize, Serialize};

use super::{filled, is_id, network::owned, settable, tag_map, tagged};
use crate::{
    Action, Aws, Error, ErrorKind, Facts, Key, KindInfo, Misplaced, Resource, Result, action::On, text::shown,
};

/// A security group.
pub(crate) struct SecurityGroup {
    pub(crate) id: String,
    owner: String,
}

impl Resource for SecurityGroup {
    const KIND: KindInfo = KindInfo {
        what: "a security group",
        asff: "AwsEc2SecurityGroup",
        cfn: "AWS::EC2::SecurityGroup",
        arn: "arn:{partition}:ec2:{region}:{account}:security-group/{id}",
        reads: &[Action::new("ec2:DescribeSecurityGroups", On::Region)],
        longest_id: 20,
    };

    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        Self::KIND.check(key, is_id(&key.id, "sg-"))?;
        Ok(Self { id: key.id.clone(), owner: key.account.clone() })
    }

    async fn inspect(&self, aws: &Aws, _: bool) -> Result<Facts> {
        Ok(Facts { tags: Some(tag_map(self.read(aws).await?.tags()).into_iter().collect()) })
    }
}

/// The ARN of every rule: a new one has no id yet.
pub(super) const RULES: &str = "arn:{partition}:ec2:{region}:{account}:security-group-rule/*";

/// Which way a rule lets traffic through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    In,
    Out,
}

/// A rule of one direction, in normal form: without its id, which it loses when it is made anew.
///
/// A group holds no two rules of the same [`key`](Self::key):
/// [AWS refuses the second](https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html)
/// with `InvalidPermission.Duplicate`, whatever its description.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Rule {
    /// `tcp`, `udp`, `icmp`, `icmpv6`, a protocol's number, or `-1` for all of them.
    pub(crate) protocol: String,
    /// First port (ICMP: the type, -1 for all); none where the protocol has no ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from_port: Option<i32>,
    /// Last port (ICMP: the code, -1 for all).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) to_port: Option<i32>,
    #[serde(flatten)]
    pub(crate) source: Source,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) tags: BTreeMap<String, String>,
}

/// From where a rule lets traffic in, or to where it lets it out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    CidrIpv4(String),
    CidrIpv6(String),
    PrefixList(String),
    Group(Group),
}

/// A security group that a rule refers to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) peering: Option<String>,
}

/// What tells two rules of a group apart.
pub(crate) type RuleKey<'a> = (&'a str, Option<i32>, Option<i32>, &'a Source);

impl Rule {
    pub(crate) fn key(&self) -> RuleKey<'_> {
        (&self.protocol, self.from_port, self.to_port, &self.source)
    }

    /// Whether it lets in every IPv4 or every IPv6 address there is.
    pub(crate) fn world_open(&self) -> bool {
        // AWS returns `0.0.0.0/0` and `::/0`, however they were written.
        match &self.source {
            Source::CidrIpv4(cidr) | Source::CidrIpv6(cidr) => cidr.ends_with("/0"),
            Source::PrefixList(_) | Source::Group(_) => false,
        }
    }

    /// The rule as it can be made again.
    pub(crate) fn settable(&self) -> Self {
        Self { tags: settable(&self.tags), ..self.clone() }
    }

    /// `tcp 20-25 from 0.0.0.0/0`.
    pub(crate) fn shown(&self) -> String {
        let source = match &self.source {
            Source::CidrIpv4(source) | Source::CidrIpv6(source) | Source::PrefixList(source) => source,
            Source::Group(group) => &group.id,
        };
        let what = match (self.protocol.as_str(), self.from_port, self.to_port) {
            ("-1", ..) => "all traffic".to_owned(),
            ("tcp" | "udp", Some(from), Some(to)) if from == to => format!("{} {from}", self.protocol),
            ("tcp" | "udp", Some(from), Some(to)) => format!("{} {from}-{to}", self.protocol),
            ("icmp" | "icmpv6", Some(kind), Some(code)) if kind != -1 => {
                format!("{} type {kind} code {code}", self.protocol)
            }
            (protocol, ..) if protocol.bytes().all(|byte| byte.is_ascii_digit()) => {
                format!("protocol {protocol}")
            }
            (protocol, ..) => shown(protocol),
        };
        format!("{what} from {}", shown(source))
    }

    fn from_aws(rule: &SecurityGroupRule) -> Result<Self> {
        let unknown = |what: &str| {
            let id = shown(rule.security_group_rule_id().unwrap_or_default());
            Error::new(ErrorKind::Rejected, format!("rule `{id}` has a {what} that is not known here"))
        };
        let source = if let Some(cidr) = filled(rule.cidr_ipv4()) {
            Source::CidrIpv4(cidr)
        } else if let Some(cidr) = filled(rule.cidr_ipv6()) {
            Source::CidrIpv6(cidr)
        } else if let Some(list) = filled(rule.prefix_list_id()) {
            Source::PrefixList(list)
        } else if let Some(group) = rule.referenced_group_info() {
            Source::Group(Group {
                id: group.group_id().unwrap_or_default().to_owned(),
                account: filled(group.user_id()),
                peering: filled(group.vpc_peering_connection_id()),
            })
        } else {
            return Err(unknown("kind of source"));
        };
        let protocol = rule.ip_protocol().ok_or_else(|| unknown("protocol"))?.to_ascii_lowercase();
        // AWS returns names for these four, and ports of -1 for protocols that have none.
        let (protocol, from_port, to_port) = match protocol.as_str() {
            "tcp" | "6" => ("tcp", ports(rule).0, ports(rule).1),
            "udp" | "17" => ("udp", ports(rule).0, ports(rule).1),
            "icmp" | "1" => ("icmp", rule.from_port().or(Some(-1)), rule.to_port().or(Some(-1))),
            "icmpv6" | "58" => ("icmpv6", rule.from_port().or(Some(-1)), rule.to_port().or(Some(-1))),
            "-1" | "all" => ("-1", None, None),
            other => (other, None, None),
        };
        Ok(Self {
            protocol: protocol.to_owned(),
            from_port,
            to_port,
            source,
            description: filled(rule.description()),
            tags: tag_map(rule.tags()),
        })
    }

    fn to_aws(&self) -> IpPermission {
        let permission = IpPermission::builder()
            .ip_protocol(&self.protocol)
            .set_from_port(self.from_port)
            .set_to_port(self.to_port);
        let description = self.description.clone();
        match &self.source {
            Source::CidrIpv4(cidr) => {
                permission.ip_ranges(IpRange::builder().cidr_ip(cidr).set_description(description).build())
            }
            Source::CidrIpv6(cidr) => permission
                .ipv6_ranges(Ipv6Range::builder().cidr_ipv6(cidr).set_description(description).build()),
            Source::PrefixList(list) => permission.prefix_list_ids(
                PrefixListId::builder().prefix_list_id(list).set_description(description).build(),
            ),
            Source::Group(group) => permission.user_id_group_pairs(
                UserIdGroupPair::builder()
                    .group_id(&group.id)
                    .set_user_id(group.account.clone())
                    .set_vpc_peering_connection_id(group.peering.clone())
                    .set_description(description)
                    .build(),
            ),
        }
        .build()
    }
}

/// A TCP or UDP rule's ports; a rule that states none is for all of them.
fn ports(rule: &SecurityGroupRule) -> (Option<i32>, Option<i32>) {
    match (rule.from_port(), rule.to_port()) {
        (Some(from), Some(to)) if from >= 0 && to >= from => (Some(from), Some(to)),
        _ => (Some(0), Some(65_535)),
    }
}

/// The rules that `other` has none of the same key for.
pub(crate) fn lacking<'a>(rules: &'a BTreeSet<Rule>, other: &BTreeSet<Rule>) -> Vec<&'a Rule> {
    let known: BTreeSet<RuleKey<'_>> = other.iter().map(Rule::key).collect();
    rules.iter().filter(|rule| !known.contains(&rule.key())).collect()
}

/// The rules as they are when what a run revoked is back and what it added is gone, and what there is to say of
/// that; `None` where both are so already.
pub(crate) fn put_back(
    from: &BTreeSet<Rule>,
    to: &BTreeSet<Rule>,
    now: &BTreeSet<Rule>,
) -> Option<(BTreeSet<Rule>, Vec<String>)> {
    let added = lacking(to, from);
    let revoked: BTreeSet<Rule> = lacking(from, to).into_iter().map(Rule::settable).collect();
    let back = lacking(&revoked, now);
    // One that somebody has described or tagged since is theirs.
    let (spare, kept): (Vec<&Rule>, Vec<&Rule>) = added
        .iter()
        .filter_map(|rule| now.iter().find(|found| found.key() == rule.key()))
        .partition(|found| added.contains(found));
    if back.is_empty() && spare.is_empty() {
        return None;
    }
    let rules = now.iter().filter(|rule| !spare.contains(rule)).chain(back).cloned().collect();
    let mut notes = vec!["the rules come back with ids of their own".to_owned()];
    if !kept.is_empty() {
        notes.push(format!("{} changed since and stays", named(&kept, "was", "were")));
    }
    if from.iter().any(|rule| rule.settable() != *rule && !to.contains(rule)) {
        notes.push("tags that AWS itself had set (`aws:`) can't be had back".to_owned());
    }
    Some((rules, notes))
}

/// "rule `tcp 22 from ::/0` is".
pub(super) fn named(rules: &[&Rule], one: &str, many: &str) -> String {
    format!("{} {}", listed(rules), if rules.len() == 1 { one } else { many })
}

pub(super) fn listed(rules: &[&Rule]) -> String {
    const MOST: usize = 5;
    let names: Vec<String> = rules
        .iter()
        .take(MOST)
        .map(|rule| match &rule.description {
            Some(description) => format!("`{}` ({})", rule.shown(), shown(description)),
            None => format!("`{}`", rule.shown()),
        })
        .collect();
    let more = match rules.len().saturating_sub(MOST) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{} {}{more}", if rules.len() == 1 { "rule" } else { "rules" }, names.join(", "))
}

impl SecurityGroup {
    /// The group as it is, which is the account's own.
    pub(crate) async fn read(&self, aws: &Aws) -> Result<types::SecurityGroup> {
        let found = aws.ec2().describe_security_groups().group_ids(&self.id).send().await?;
        let mut found = found.security_groups.unwrap_or_default().into_iter();
        // Groups that other accounts share are listed as well:
        // https://docs.aws.amazon.com/vpc/latest/userguide/security-group-sharing.html
        let found = found.find(|group| group.group_id() == Some(&self.id));
        owned(&Self::KIND, found, &self.id, &self.owner, types::SecurityGroup::owner_id)
    }

    /// Every rule.
    async fn described(&self, aws: &Aws) -> Result<Vec<SecurityGroupRule>> {
        let found = aws
            .ec2()
            .describe_security_group_rules()
            .filters(Filter::builder().name("group-id").values(&self.id).build())
            .into_paginator()
            .page_size(1000)
            .items()
            .send()
            .collect::<Result<Vec<_>, _>>()
            .await?;
        if found.is_empty() {
            // A filter finds nothing where there is no such group, too.
            self.read(aws).await?;
        }
        Ok(found)
    }

    /// Every rule of one direction, with its present id.
    async fn rules(&self, aws: &Aws, way: Way) -> Result<Vec<(String, Rule)>> {
        of(way, &self.described(aws).await?)
    }

    /// Every inbound rule.
    pub(crate) async fn ingress(&self, aws: &Aws) -> Result<BTreeSet<Rule>> {
        Ok(self.rules(aws, Way::In).await?.into_iter().map(|(_, rule)| rule).collect())
    }

    /// Every inbound rule, and every outbound one.
    pub(crate) async fn both(&self, aws: &Aws) -> Result<(BTreeSet<Rule>, BTreeSet<Rule>)> {
        let found = self.described(aws).await?;
        let rules = |way| of(way, &found).map(|rules| rules.into_iter().map(|(_, rule)| rule).collect());
        Ok((rules(Way::In)?, rules(Way::Out)?))
    }

    /// Makes the rules of `to` that `from` lacks, then revokes those of `from` that `to` lacks.
    ///
    /// In this order, no traffic stops that both sets let through.
    pub(crate) async fn change(
        &self,
        aws: &Aws,
        way: Way,
        from: &BTreeSet<Rule>,
        to: &BTreeSet<Rule>,
    ) -> Result<()> {
        let (wanted, unwanted) = (lacking(to, from), lacking(from, to));
        let mut present = self.rules(aws, way).await?;
        // Before the first write: everything in the way is known.
        let missing = missing(&wanted, &present)?;
        matching(&unwanted, &present)?;
        self.authorize(aws, way, &missing).await?;
        // By id: rules that a request describes and AWS does not know are no error in a default VPC.
        for _ in 0..3 {
            let ids = matching(&unwanted, &present)?;
            if ids.is_empty() {
                return Ok(());
            }
            match self.revoke(aws, way, ids).await {
                Ok(()) => return Ok(()),
                // The SDK's own second attempt after a lost answer, or somebody was faster.
                Err(error)
                    if matches!(
                        error.code.as_deref(),
                        Some("InvalidSecurityGroupRuleId.NotFound" | "InvalidPermission.NotFound")
                    ) => {}
                Err(error) => return Err(error),
            }
            present = self.rules(aws, way).await?;
        }
        Err(Error::new(ErrorKind::Transient, "the rules change while they are being revoked"))
    }

    async fn revoke(&self, aws: &Aws, way: Way, ids: Vec<String>) -> Result<()> {
        match way {
            Way::In => {
                let request = aws.ec2().revoke_security_group_ingress().group_id(&self.id);
                request.set_security_group_rule_ids(Some(ids)).send().await?;
            }
            Way::Out => {
                let request = aws.ec2().revoke_security_group_egress().group_id(&self.id);
                request.set_security_group_rule_ids(Some(ids)).send().await?;
            }
        }
        Ok(())
    }

    async fn authorize(&self, aws: &Aws, way: Way, rules: &[&Rule]) -> Result<()> {
        // Tags are for all rules of a call.
        let mut calls: BTreeMap<&BTreeMap<String, String>, Vec<&Rule>> = BTreeMap::new();
        for rule in rules {
            calls.entry(&rule.tags).or_default().push(rule);
        }
        for (tags, rules) in calls {
            match self.authorize_together(aws, way, tags, &rules).await {
                Ok(()) => {}
                // The SDK's own second attempt after a lost answer finds what the first has made.
                Err(error) if error.code.as_deref() == Some("InvalidPermission.Duplicate") => {
                    if !missing(&rules, &self.rules(aws, way).await?)?.is_empty() {
                        return Err(Error { kind: ErrorKind::Drifted, ..error });
                    }
                }
                Err(error) if error.code.as_deref() == Some("RulesPerSecurityGroupLimitExceeded") => {
                    return Err(error.context("the group can't hold the rules; none was revoked"));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// One call, for rules with the same tags.
    async fn authorize_together(
        &self,
        aws: &Aws,
        way: Way,
        tags: &BTreeMap<String, String>,
        rules: &[&Rule],
    ) -> Result<()> {
        let permissions = Some(rules.iter().map(|rule| rule.to_aws()).collect());
        let tags = tagged(ResourceType::SecurityGroupRule, tags).map(|spec| vec![spec]);
        match way {
            Way::In => {
                let request = aws.ec2().authorize_security_group_ingress().group_id(&self.id);
                request.set_ip_permissions(permissions).set_tag_specifications(tags).send().await?;
            }
            Way::Out => {
                let request = aws.ec2().authorize_security_group_egress().group_id(&self.id);
                request.set_ip_permissions(permissions).set_tag_specifications(tags).send().await?;
            }
        }
        Ok(())
    }
}

/// The rules of one direction, with their ids.
fn of(way: Way, rules: &[SecurityGroupRule]) -> Result<Vec<(String, Rule)>> {
    rules
        .iter()
        .filter(|rule| (rule.is_egress() == Some(true)) == (way == Way::Out))
        .map(|rule| Ok((rule.security_group_rule_id().unwrap_or_default().to_owned(), Rule::from_aws(rule)?)))
        .collect()
}

/// The rules that are not there yet.
fn missing<'a>(wanted: &[&'a Rule], present: &[(String, Rule)]) -> Result<Vec<&'a Rule>> {
    let mut missing = Vec::new();
    for &rule in wanted {
        match present.iter().find(|(_, found)| found.key() == rule.key()) {
            None => missing.push(rule),
            Some((_, found)) if found == rule => {}
            Some(_) => return Err(changed(rule)),
        }
    }
    Ok(missing)
}

/// The ids that these rules have now; none for a rule that is gone.
fn matching(unwanted: &[&Rule], present: &[(String, Rule)]) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for &rule in unwanted {
        match present.iter().find(|(_, found)| found.key() == rule.key()) {
            None => {}
            Some((id, found)) if found == rule => ids.push(id.clone()),
            Some(_) => return Err(changed(rule)),
        }
    }
    Ok(ids)
}

fn changed(rule: &Rule) -> Error {
    Error::new(
        ErrorKind::Drifted,
        format!("rule `{}` has another description or other tags than before", rule.shown()),
    )
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use aws_sdk_ec2::types::ReferencedSecurityGroup;

    use super::*;
    use crate::Sighting;

    /// A rule as AWS would return it: `tcp`, 22 to 22, from `source` in CIDR notation.
    pub(crate) fn rule(protocol: &str, ports: impl Into<Option<(i32, i32)>>, source: &str) -> Rule {
        let (from_port, to_port) = ports.into().unzip();
        let source = source.to_owned();
        Rule {
            protocol: protocol.to_owned(),
            from_port,
            to_port,
            source: if source.contains(':') { Source::CidrIpv6(source) } else { Source::CidrIpv4(source) },
            description: None,
            tags: BTreeMap::new(),
        }
    }

    fn seen(id: &str) -> Sighting<'_> {
        Sighting {
            kind: "AwsEc2SecurityGroup",
            id,
            id_alt: None,
            account: "123456789012",
            region: "eu-west-1",
            partition: "aws",
        }
    }

    #[test]
    fn both_formats_name_the_same_group() {
        let arn = "arn:aws:ec2:eu-west-1:123456789012:security-group/sg-0123456789abcdef0";
        let asff = SecurityGroup::locate(&seen(arn)).unwrap();
        let ocsf = SecurityGroup::locate(&Sighting { id_alt: Some(arn), ..seen("sg-0123456789abcdef0") });
        assert_eq!(ocsf.unwrap(), asff);
        assert_eq!(SecurityGroup::locate(&seen("sg-0123456789abcdef0")).unwrap(), asff);
        assert_eq!(asff.fill(SecurityGroup::KIND.arn), arn);
        assert_eq!(asff.id.len(), SecurityGroup::KIND.longest_id);
    }

    #[test]
    fn what_does_not_agree_is_refused() {
        for id in [
            "arn:aws:ec2:eu-west-1:999999999999:security-group/sg-0123456789abcdef0",
            "arn:aws:ec2:us-east-1:123456789012:security-group/sg-0123456789abcdef0",
            "arn:aws-cn:ec2:eu-west-1:123456789012:security-group/sg-0123456789abcdef0",
            "arn:aws:ec2:eu-west-1:123456789012:instance/i-0123456789abcdef0",
            "arn:aws:ec2:eu-west-1:123456789012:security-group/sg-0123456789abcdef0/x",
            "arn:aws:ec2:eu-west-1:123456789012:security-group/*",
            "sg-*",
            "default",
        ] {
            assert!(SecurityGroup::locate(&seen(id)).is_err(), "{id}");
        }
        let nowhere = Sighting { region: "global", ..seen("sg-0123456789abcdef0") };
        assert!(SecurityGroup::locate(&nowhere).is_err());
    }

    #[test]
    fn every_spelling_of_a_rule_is_one() {
        let from_aws = |protocol: &str, from, to| {
            let builder = SecurityGroupRule::builder().ip_protocol(protocol).cidr_ipv4("0.0.0.0/0");
            Rule::from_aws(&builder.set_from_port(from).set_to_port(to).build()).unwrap()
        };
        let all = rule("-1", None, "0.0.0.0/0");
        assert_eq!(from_aws("-1", Some(-1), Some(-1)), all);
        assert_eq!(from_aws("-1", None, None), all);
        assert_eq!(from_aws("6", Some(22), Some(22)), rule("tcp", (22, 22), "0.0.0.0/0"));
        assert_eq!(from_aws("tcp", None, None), rule("tcp", (0, 65_535), "0.0.0.0/0"));
        assert_eq!(from_aws("UDP", Some(53), Some(53)), rule("udp", (53, 53), "0.0.0.0/0"));
        assert_eq!(from_aws("icmp", None, None), rule("icmp", (-1, -1), "0.0.0.0/0"));
        assert_eq!(from_aws("icmp", Some(8), Some(-1)), rule("icmp", (8, -1), "0.0.0.0/0"));
        assert_eq!(from_aws("50", Some(-1), Some(-1)), rule("50", None, "0.0.0.0/0"));
    }

    #[test]
    fn a_source_of_an_unknown_kind_is_refused() {
        let rule = SecurityGroupRule::builder().security_group_rule_id("sgr-1").ip_protocol("tcp").build();
        let error = Rule::from_aws(&rule).unwrap_err();
        assert!(error.message.contains("`sgr-1`"), "{error}");
    }

    #[test]
    fn what_was_read_is_what_is_written() {
        let group = ReferencedSecurityGroup::builder()
            .group_id("sg-0123abcd")
            .user_id("999999999999")
            .vpc_peering_connection_id("pcx-1")
            .peering_status("active");
        let read = SecurityGroupRule::builder()
            .ip_protocol("tcp")
            .from_port(5432)
            .to_port(5432)
            .description("from the app")
            .referenced_group_info(group.build());
        let written = Rule::from_aws(&read.build()).unwrap().to_aws();
        let pair = &written.user_id_group_pairs()[0];
        assert_eq!(
            (pair.group_id(), pair.user_id(), pair.vpc_peering_connection_id(), pair.description()),
            (Some("sg-0123abcd"), Some("999999999999"), Some("pcx-1"), Some("from the app")),
        );

        let v6 = Rule { description: Some("rdp".to_owned()), ..rule("tcp", (3389, 3389), "::/0") };
        let written = v6.to_aws();
        assert_eq!(
            (written.ip_protocol(), written.from_port(), written.to_port()),
            (Some("tcp"), Some(3389), Some(3389))
        );
        assert_eq!(written.ipv6_ranges()[0].cidr_ipv6(), Some("::/0"));
        assert_eq!(written.ipv6_ranges()[0].description(), Some("rdp"));
        assert!(written.ip_ranges().is_empty());

        // AWS refuses ports for protocol -1.
        let all = rule("-1", None, "10.0.0.1/32").to_aws();
        assert_eq!((all.from_port(), all.to_port()), (None, None));
    }

    #[test]
    fn the_stored_form_reads_back() {
        let mut rules = BTreeSet::from([
            Rule { description: Some("ssh".to_owned()), ..rule("tcp", (22, 22), "0.0.0.0/0") },
            rule("-1", None, "10.0.0.1/32"),
            rule("tcp", (3389, 3389), "::/0"),
        ]);
        rules.insert(Rule {
            source: Source::Group(Group { id: "sg-0123abcd".to_owned(), account: None, peering: None }),
            tags: [("a".to_owned(), "b".to_owned())].into(),
            ..rule("tcp", (443, 443), "")
        });
        let json = serde_json::to_value(&rules).unwrap();
        assert_eq!(serde_json::from_value::<BTreeSet<Rule>>(json.clone()).unwrap(), rules);
        assert_eq!(
            json[1],
            serde_json::json!({
                "protocol": "tcp", "from_port": 22, "to_port": 22, "cidr_ipv4": "0.0.0.0/0",
                "description": "ssh",
            })
        );
    }

    #[test]
    fn ids_are_found_by_content_and_never_for_another_rule() {
        let ssh = rule("tcp", (22, 22), "0.0.0.0/0");
        let other = rule("tcp", (22, 22), "10.0.0.0/8");
        let noted = Rule { description: Some("new".to_owned()), ..ssh.clone() };
        let present = |rules: &[&Rule]| -> Vec<(String, Rule)> {
            rules.iter().enumerate().map(|(at, rule)| (format!("sgr-{at}"), (*rule).clone())).collect()
        };
        assert_eq!(matching(&[&ssh], &present(&[&other, &ssh])).unwrap(), ["sgr-1"]);
        assert!(matching(&[&ssh], &present(&[&other])).unwrap().is_empty());
        assert_eq!(matching(&[&ssh], &present(&[&noted])).unwrap_err().kind, ErrorKind::Drifted);
        assert!(missing(&[&ssh], &present(&[&ssh])).unwrap().is_empty());
        assert_eq!(missing(&[&ssh], &present(&[&other])).unwrap(), [&ssh]);
        assert_eq!(missing(&[&ssh], &present(&[&noted])).unwrap_err().kind, ErrorKind::Drifted);
    }
}
