//! Closes inbound rules that are open to the world.

use std::collections::BTreeSet;

use super::{
    ports::{Ports, Set},
    security_group::{RULES, Rule, SecurityGroup, Source, Way, listed, named, put_back},
};
use crate::{prelude::*, remediator::Proposal};

pub(crate) struct RestrictIngress;

/// The ports of EC2.19:
/// <https://docs.aws.amazon.com/securityhub/latest/userguide/ec2-controls.html#ec2-19>
const HIGH_RISK: [u16; 24] = [
    20, 21, 22, 23, 25, 110, 135, 143, 445, 1433, 1434, 3000, 3306, 3389, 4333, 5000, 5432, 5500, 5601, 8080,
    8088, 8888, 9200, 9300,
];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Params {
    /// What becomes of a rule that is open to the world and opens, besides ports that fail the control,
    /// others that the control has nothing against (a range of ports, all traffic).
    wide: Wide,
    /// The account's quota "Inbound or outbound rules per security group" in that Region. AWS counts IPv4
    /// and IPv6 rules apart. A split that would exceed it, be it for a moment, is refused.
    rules_per_group: u16,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Wide {
    /// Nothing in the group is changed, and the rule is named.
    #[default]
    Refuse,
    /// The whole rule is revoked.
    Revoke,
    /// What the control has nothing against is authorised first, as rules of its own with the same
    /// description and tags; then the whole rule is revoked. Of a rule for all traffic that is TCP, UDP
    /// and ICMP: other protocols are closed, as a group has no room for a rule for each.
    Split,
}

impl Default for Params {
    fn default() -> Self {
        Self { wide: Wide::default(), rules_per_group: 60 }
    }
}

impl Remediator for RestrictIngress {
    const SPEC: Spec = Spec {
        name: "ec2.restrict_ingress",
        version: 1,
        controls: &["EC2.13", "EC2.14", "EC2.18", "EC2.19", "EC2.53", "EC2.54"],
        risk: Risk::Access,
        what: "Revokes the inbound rules that let 0.0.0.0/0 or ::/0 in to ports that the control forbids (for \
               EC2.53 only 0.0.0.0/0, for EC2.54 only ::/0), and no other rule. A rule that opens more ports than these is left, and the group with it, unless \
               the setting `wide` says to revoke or to split it.",
        who_notices: "Whoever reached these ports over the internet by no narrower rule: new connections time \
                      out. Open ones end at once where AWS did not track them (any address in on any port, \
                      any out), else when they are closed. Terraform or CloudFormation that made the rule \
                      sees drift.",
        way_back: "Authorises the revoked rules again, with their descriptions and tags, and revokes what a \
                   split added. Rule ids are new, and tags that AWS itself had set (`aws:`) are lost.",
        reads: &[Action::new("ec2:DescribeSecurityGroupRules", On::Region)],
        writes: &[
            Action::new("ec2:RevokeSecurityGroupIngress", On::Resource),
            // A split needs these; the way back does in any case.
            Action::new("ec2:AuthorizeSecurityGroupIngress", On::Resource),
            Action::new("ec2:AuthorizeSecurityGroupIngress", On::Arn(RULES)),
            // https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/supported-iam-actions-tagging.html
            Action::new("ec2:CreateTags", On::Created(RULES, "AuthorizeSecurityGroupIngress"))
                .called(&["AuthorizeSecurityGroupIngress"]),
        ],
        undo: &[],
        implied: &[],
    };
    type Resource = SecurityGroup;
    type Params = Params;
    type State = BTreeSet<Rule>;

    async fn observe(aws: &Aws, at: &SecurityGroup) -> Result<BTreeSet<Rule>> {
        at.ingress(aws).await
    }

    fn plan(now: &BTreeSet<Rule>, ask: &Ask<'_, Params>) -> Plan<BTreeSet<Rule>> {
        // ICMP and other protocols have no ports, and no control here speaks of them.
        if !now.iter().any(|rule| is_open(rule, ask.control) && Ports::of(rule) != Ports::default()) {
            return Plan::Compliant;
        }
        let forbidden = match Ports::forbidden_by(ask) {
            Ok(forbidden) => forbidden,
            Err(why) => return Plan::Refuse(why),
        };
        let failed: Vec<&Rule> = now
            .iter()
            .filter(|rule| is_open(rule, ask.control) && Ports::of(rule).intersects(&forbidden))
            .collect();
        if failed.is_empty() {
            return Plan::Compliant;
        }
        let wide: Vec<&Rule> = failed.iter().copied().filter(|rule| is_wide(rule, &forbidden)).collect();
        if ask.params.wide == Wide::Refuse && !wide.is_empty() {
            return Plan::Refuse(format!(
                "{} more than {} forbids: set `wide: split` to keep the rest open, or `wide: revoke` to close \
                 all of it",
                named(&wide, "opens", "open"),
                ask.control,
            ));
        }
        let mut to: BTreeSet<Rule> = now.iter().filter(|rule| !failed.contains(rule)).cloned().collect();
        if ask.params.wide == Wide::Split {
            for rest in wide.iter().flat_map(|rule| rest(rule, &forbidden)) {
                if !to.iter().any(|rule| rule.key() == rest.key()) {
                    to.insert(rest);
                }
            }
            if let Some(why) = exceeds(now, &to, ask.params.rules_per_group) {
                return Plan::Refuse(why);
            }
        }
        let notes = notes(now, &wide, &forbidden, ask);
        Plan::Change(Proposal { to, risk: Risk::Access, notes })
    }

    async fn apply(aws: &Aws, at: &SecurityGroup, change: &Change<BTreeSet<Rule>>) -> Result<()> {
        at.change(aws, Way::In, &change.from, &change.to).await
    }

    fn undo(change: &Change<BTreeSet<Rule>>, now: &BTreeSet<Rule>) -> Undo<BTreeSet<Rule>> {
        match put_back(&change.from, &change.to, now) {
            Some((to, notes)) => Undo::To { to, notes },
            None => Undo::Nothing,
        }
    }

    fn wants_control_params(control: &str, _: &Params) -> bool {
        control == "EC2.18"
    }
}

/// Whether the rule is open to as much of the world as the control looks for.
fn is_open(rule: &Rule, control: &str) -> bool {
    match (control, &rule.source) {
        ("EC2.53", Source::CidrIpv6(_)) | ("EC2.54", Source::CidrIpv4(_)) => false,
        _ => rule.world_open(),
    }
}

/// Whether the rule opens anything that the control does not forbid.
fn is_wide(rule: &Rule, forbidden: &Ports) -> bool {
    rule.protocol == "-1" || Ports::of(rule).without(forbidden) != Ports::default()
}

/// What a wide rule opens and the control does not forbid, as rules.
fn rest(rule: &Rule, forbidden: &Ports) -> Vec<Rule> {
    let ports = Ports::of(rule).without(forbidden);
    let ranges = |protocol, set: &Set| -> Vec<_> {
        set.ranges().map(|(from, to)| (protocol, i32::from(from), i32::from(to))).collect()
    };
    let mut rests = [ranges("tcp", &ports.tcp), ranges("udp", &ports.udp)].concat();
    if rule.protocol == "-1" {
        rests.push((if matches!(rule.source, Source::CidrIpv6(_)) { "icmpv6" } else { "icmp" }, -1, -1));
    }
    rests
        .into_iter()
        .map(|(protocol, from, to)| Rule {
            protocol: protocol.to_owned(),
            from_port: Some(from),
            to_port: Some(to),
            ..rule.settable()
        })
        .collect()
}

/// Why a group can't hold both sets at a time, which it must between the two calls of a change.
///
/// [IPv4 and IPv6 are counted apart](https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html#vpc-limits-security-groups);
/// a group or a prefix list counts for both. A list counts with all its entries, which are not known here:
/// AWS has the last word.
fn exceeds(now: &BTreeSet<Rule>, to: &BTreeSet<Rule>, quota: u16) -> Option<String> {
    let count = |counts: fn(&Source) -> bool| now.union(to).filter(|rule| counts(&rule.source)).count();
    let ipv4 = count(|source| !matches!(source, Source::CidrIpv6(_)));
    let ipv6 = count(|source| !matches!(source, Source::CidrIpv4(_)));
    let most = ipv4.max(ipv6);
    (most > usize::from(quota)).then(|| {
        format!(
            "the split needs room for {most} rules in the group at a time, and its quota is {quota} \
             (`rules_per_group`)"
        )
    })
}

fn notes(now: &BTreeSet<Rule>, wide: &[&Rule], forbidden: &Ports, ask: &Ask<'_, Params>) -> Vec<String> {
    let mut notes = Vec::new();
    if !wide.is_empty() && ask.params.wide == Wide::Revoke {
        notes.push(format!(
            "{} more than {} forbids; all of it is closed (`wide: revoke`)",
            named(wide, "opens", "open"),
            ask.control
        ));
    }
    let everything: Vec<&Rule> = wide.iter().copied().filter(|rule| rule.protocol == "-1").collect();
    if !everything.is_empty() && ask.params.wide == Wide::Split {
        notes.push(format!(
            "of {}, all of ICMP stays open, and what {} does not forbid of TCP and UDP; other protocols are \
             closed",
            listed(&everything),
            ask.control
        ));
    }
    // The controls look for 0.0.0.0/0 and ::/0 alone: https://docs.aws.amazon.com/config/latest/developerguide/restricted-ssh.html
    let lists: Vec<&Rule> = now
        .iter()
        .filter(|rule| matches!(rule.source, Source::PrefixList(_)) && Ports::of(rule).intersects(forbidden))
        .collect();
    if !lists.is_empty() {
        notes.push(format!(
            "{} left as is: the control does not look into prefix lists",
            named(&lists, "is", "are")
        ));
    }
    let others: Vec<&Rule> =
        now.iter().filter(|rule| rule.world_open() && Ports::of(rule) == Ports::default()).collect();
    if !others.is_empty() && ask.control == "EC2.18" {
        notes
            .push(format!("{} left as is: the control names TCP and UDP ports", named(&others, "is", "are")));
    }
    notes
}

impl Ports {
    /// What the control does not want open to the world; the error says why that is not known.
    fn forbidden_by(ask: &Ask<'_, Params>) -> Result<Self, String> {
        match ask.control {
            // The Config rules of these speak of TCP alone:
            // https://docs.aws.amazon.com/config/latest/developerguide/restricted-common-ports.html
            "EC2.13" => Ok(Self { tcp: Set::single(&[22]), udp: Set::default() }),
            "EC2.14" => Ok(Self { tcp: Set::single(&[3389]), udp: Set::default() }),
            "EC2.19" => Ok(Self { tcp: Set::single(&HIGH_RISK), udp: Set::default() }),
            // Of all protocols, by AWS's own word; what differs is the address family:
            // https://docs.aws.amazon.com/config/latest/developerguide/vpc-sg-port-restriction-check.html
            "EC2.53" | "EC2.54" => Ok(Self::administration()),
            "EC2.18" => {
                let authorized = authorized(ask)?;
                Ok(Self {
                    tcp: Set::all().without(&authorized.tcp),
                    udp: Set::all().without(&authorized.udp),
                })
            }
            control => Err(format!("`{}` is no control about inbound rules", shown(control))),
        }
    }
}

/// The parameters of EC2.18. Its TCP ports have a value even by default (80 and 443): without one the
/// parameters are not whole. Its UDP ports have none by default, and none is then authorised.
fn authorized(ask: &Ask<'_, Params>) -> Result<Ports, String> {
    const TCP: &str = "authorizedTcpPorts";
    const UDP: &str = "authorizedUdpPorts";
    if ask.control_params.is_none() {
        return Err(
            "the ports that EC2.18 authorises are known neither from the finding nor from Security Hub"
                .to_owned(),
        );
    }
    let tcp = ask.list(TCP).ok_or(format!("the parameters of EC2.18 name no `{TCP}`"))?;
    let udp = ask.list(UDP).unwrap_or_default();
    let set = |name, ports: &[&str]| {
        let ranges: Option<Vec<_>> = ports
            .iter()
            .map(|part| {
                let (from, to) = part.split_once('-').unwrap_or((part, part));
                let (from, to) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
                (from <= to).then_some((from, to))
            })
            .collect();
        ranges.map(Set::new).ok_or_else(|| {
            format!("`{}`, the value of `{name}` of EC2.18, is no list of ports", shown(&ports.join(",")))
        })
    };
    Ok(Ports { tcp: set(TCP, &tcp)?, udp: set(UDP, &udp)? })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        ec2::{
            ports::tests::Numbers,
            security_group::{lacking, tests::rule},
        },
        remediator::test::ask,
    };

    const V4: &str = "0.0.0.0/0";
    const V6: &str = "::/0";

    fn params(wide: Wide) -> Params {
        Params { wide, ..Params::default() }
    }

    fn set(rules: &[Rule]) -> BTreeSet<Rule> {
        rules.iter().cloned().collect()
    }

    fn plan(control: &str, wide: Wide, now: &[Rule]) -> Plan<BTreeSet<Rule>> {
        let params = params(wide);
        let known = authorize(&["80", "443"], &[]);
        let ask = Ask { control_params: (control == "EC2.18").then_some(&known), ..ask(control, &params) };
        let plan = RestrictIngress::plan(&set(now), &ask);
        if let Plan::Change(change) = &plan {
            // What verification relies on: the plan for what the change leads to is empty.
            assert_eq!(RestrictIngress::plan(&change.to, &ask), Plan::Compliant, "{control} {now:?}");
        }
        plan
    }

    /// The rules that are left, or `None` where nothing changes.
    fn left(control: &str, wide: Wide, now: &[Rule]) -> Option<BTreeSet<Rule>> {
        match plan(control, wide, now) {
            Plan::Compliant => None,
            Plan::Change(change) => Some(change.to),
            other => panic!("{other:?}"),
        }
    }

    fn refused(control: &str, wide: Wide, now: &[Rule]) -> String {
        match plan(control, wide, now) {
            Plan::Refuse(why) => why,
            other => panic!("{other:?}"),
        }
    }

    fn authorize(tcp: &[&str], udp: &[&str]) -> BTreeMap<String, Vec<String>> {
        let texts = |ports: &[&str]| ports.iter().map(|&port| port.to_owned()).collect();
        [("authorizedTcpPorts".to_owned(), texts(tcp)), ("authorizedUdpPorts".to_owned(), texts(udp))].into()
    }

    fn described(rule: Rule, text: &str) -> Rule {
        Rule { description: Some(text.to_owned()), ..rule }
    }

    fn by_list(rule: Rule) -> Rule {
        Rule { source: Source::PrefixList("pl-0123abcd".to_owned()), ..rule }
    }

    #[test]
    fn only_what_the_control_names_is_revoked() {
        let open_ssh = described(rule("tcp", (22, 22), V4), "ssh");
        let own_ssh = rule("tcp", (22, 22), "10.0.0.0/8");
        let all_from_one = rule("-1", None, "203.0.113.7/32");
        let open_rdp = described(rule("tcp", (3389, 3389), V6), "rdp");
        let now = [open_ssh.clone(), own_ssh.clone(), all_from_one.clone(), open_rdp.clone()];
        let left = |control| left(control, Wide::Refuse, &now);
        assert_eq!(left("EC2.13"), Some(set(&[own_ssh.clone(), all_from_one.clone(), open_rdp])));
        assert_eq!(left("EC2.14"), Some(set(&[own_ssh.clone(), all_from_one.clone(), open_ssh])));
        assert_eq!(left("EC2.19"), Some(set(&[own_ssh.clone(), all_from_one.clone()])));
        assert_eq!(left("EC2.18"), Some(set(&[own_ssh, all_from_one])));
    }

    #[test]
    fn what_fails_each_control() {
        let cases = [
            // protocol, ports, source; EC2.13, EC2.14, EC2.18, EC2.19, EC2.53, EC2.54
            (rule("tcp", (22, 22), V4), [true, false, true, true, true, false]),
            (rule("tcp", (22, 22), V6), [true, false, true, true, false, true]),
            (rule("tcp", (3389, 3389), V6), [false, true, true, true, false, true]),
            (rule("tcp", (20, 25), V4), [true, false, true, true, true, false]),
            (rule("tcp", (0, 65_535), V4), [true, true, true, true, true, false]),
            (rule("-1", None, V4), [true, true, true, true, true, false]),
            (rule("-1", None, V6), [true, true, true, true, false, true]),
            (rule("udp", (22, 22), V4), [false, false, true, false, true, false]),
            (rule("udp", (53, 53), V4), [false, false, true, false, false, false]),
            (rule("udp", (443, 443), V4), [false, false, true, false, false, false]),
            (rule("tcp", (443, 443), V4), [false, false, false, false, false, false]),
            (rule("tcp", (80, 80), V6), [false, false, false, false, false, false]),
            (rule("tcp", (443, 444), V4), [false, false, true, false, false, false]),
            (rule("tcp", (8080, 8080), V4), [false, false, true, true, false, false]),
            (rule("icmp", (-1, -1), V4), [false, false, false, false, false, false]),
            (rule("50", None, V4), [false, false, false, false, false, false]),
            (rule("tcp", (22, 22), "0.0.0.0/1"), [false, false, false, false, false, false]),
            (rule("-1", None, "10.0.0.0/8"), [false, false, false, false, false, false]),
            (by_list(rule("tcp", (22, 22), V4)), [false, false, false, false, false, false]),
        ];
        for (rule, expected) in cases {
            let fails = ["EC2.13", "EC2.14", "EC2.18", "EC2.19", "EC2.53", "EC2.54"]
                .map(|control| left(control, Wide::Revoke, std::slice::from_ref(&rule)).is_some());
            assert_eq!(fails, expected, "{rule:?}");
        }
    }

    #[test]
    fn a_wide_rule_holds_the_whole_group_until_a_setting_says_what_to_do() {
        let narrow = rule("tcp", (22, 22), V6);
        for wide in [rule("tcp", (20, 25), V4), rule("tcp", (0, 65_535), V4), rule("-1", None, V4)] {
            let why = refused("EC2.13", Wide::Refuse, &[narrow.clone(), wide.clone()]);
            assert!(why.contains(&wide.shown()), "{why}");
            assert!(why.contains("`wide: split`") && why.contains("`wide: revoke`"), "{why}");
            assert!(!why.contains(&narrow.shown()), "{why}");
            assert_eq!(left("EC2.13", Wide::Revoke, &[narrow.clone(), wide]), Some(set(&[])));
        }
        // Every port of it is one that the control names.
        assert_eq!(left("EC2.19", Wide::Refuse, &[rule("tcp", (20, 23), V4)]), Some(set(&[])));
        assert_eq!(left("EC2.18", Wide::Refuse, &[rule("tcp", (8000, 9000), V4)]), Some(set(&[])));
        assert!(refused("EC2.18", Wide::Refuse, &[rule("tcp", (79, 80), V4)]).contains("tcp 79-80"));
    }

    #[test]
    fn a_split_keeps_the_rest() {
        let tags: BTreeMap<_, _> =
            [("team".to_owned(), "web".to_owned()), ("aws:x".to_owned(), "y".to_owned())].into();
        let wide = Rule { tags, ..described(rule("tcp", (20, 25), V4), "ftp and more") };
        let kept = |ports| Rule {
            tags: [("team".to_owned(), "web".to_owned())].into(),
            ..described(rule("tcp", ports, V4), "ftp and more")
        };
        assert_eq!(
            left("EC2.13", Wide::Split, std::slice::from_ref(&wide)),
            Some(set(&[kept((20, 21)), kept((23, 25))]))
        );
        // A rule that is there already stays as it is.
        let own = described(rule("tcp", (20, 21), V4), "mine");
        assert_eq!(left("EC2.13", Wide::Split, &[wide, own.clone()]), Some(set(&[own, kept((23, 25))])));
        assert_eq!(
            left("EC2.18", Wide::Split, &[rule("tcp", (0, 65_535), V6)]),
            Some(set(&[rule("tcp", (80, 80), V6), rule("tcp", (443, 443), V6)]))
        );
    }

    #[test]
    fn all_traffic_splits_into_what_has_ports_and_icmp() {
        for (source, icmp) in [(V4, "icmp"), (V6, "icmpv6")] {
            let now = [rule("-1", None, source)];
            assert_eq!(
                left("EC2.14", Wide::Split, &now),
                Some(set(&[
                    rule("tcp", (0, 3388), source),
                    rule("tcp", (3390, 65_535), source),
                    rule("udp", (0, 65_535), source),
                    rule(icmp, (-1, -1), source),
                ]))
            );
            let Plan::Change(change) = plan("EC2.14", Wide::Split, &now) else { panic!("no change") };
            assert!(change.notes[0].contains("other protocols are closed"), "{:?}", change.notes);
        }
    }

    #[test]
    fn a_split_stays_within_the_quota() {
        let mut now: Vec<Rule> =
            (0..57).map(|host| rule("tcp", (443, 443), &format!("10.0.0.{host}/32"))).collect();
        now.push(rule("tcp", (20, 25), V4));
        assert!(left("EC2.13", Wide::Split, &now).is_some(), "58 and 2 more are 60");
        now.push(by_list(rule("tcp", (443, 443), V4)));
        let why = refused("EC2.13", Wide::Split, &now);
        assert!(why.contains("61 rules") && why.contains("quota is 60"), "{why}");
        assert!(left("EC2.13", Wide::Revoke, &now).is_some(), "nothing is added");
        // IPv6 rules are counted apart.
        now.pop();
        now.push(rule("tcp", (443, 443), "2001:db8::/32"));
        assert!(left("EC2.13", Wide::Split, &now).is_some());
    }

    #[test]
    fn authorised_ports_are_the_controls_or_nothing_is_closed() {
        let open = set(&[rule("tcp", (8443, 8443), V4), rule("udp", (500, 500), V4)]);
        let params = Params::default();
        let plan = |known: Option<&BTreeMap<String, Vec<String>>>, now| {
            RestrictIngress::plan(now, &Ask { control_params: known, ..ask("EC2.18", &params) })
        };
        assert!(RestrictIngress::wants_control_params("EC2.18", &params));
        assert!(!RestrictIngress::wants_control_params("EC2.13", &params));
        assert!(matches!(plan(None, &open), Plan::Refuse(_)));
        assert!(matches!(plan(Some(&BTreeMap::new()), &open), Plan::Refuse(_)));
        // Without an open rule no ports need be known.
        let own = set(&[rule("tcp", (22, 22), "10.0.0.0/8")]);
        assert_eq!(plan(None, &own), Plan::Compliant);

        let both = authorize(&["443,8400-8500"], &["500", "4500"]);
        assert_eq!(plan(Some(&both), &open), Plan::Compliant);
        let tcp: BTreeMap<_, _> = [("authorizedTcpPorts".to_owned(), vec!["8443".to_owned()])].into();
        assert!(matches!(plan(Some(&tcp), &open), Plan::Change(change)
            if change.to == set(&[rule("tcp", (8443, 8443), V4)])));
        assert!(
            matches!(plan(Some(&authorize(&[], &[])), &open), Plan::Change(change) if change.to.is_empty())
        );
        for broken in ["https", "80-", "90-80", "65536", "-1", "[80]", "80\u{1b}"] {
            let Plan::Refuse(why) = plan(Some(&authorize(&[broken], &[])), &open) else { panic!("{broken}") };
            assert!(why.contains("authorizedTcpPorts") && !why.contains('\u{1b}'), "{why}");
        }
    }

    #[test]
    fn whoever_decides_is_told_what_is_left() {
        let list = by_list(rule("tcp", (22, 22), V4));
        let icmp = rule("icmp", (-1, -1), V4);
        let now = [rule("tcp", (22, 22), V4), list, icmp];
        let notes = |control| match plan(control, Wide::Refuse, &now) {
            Plan::Change(change) => change.notes,
            other => panic!("{other:?}"),
        };
        assert!(notes("EC2.13").iter().any(|note| note.contains("pl-0123abcd")));
        assert!(notes("EC2.18").iter().any(|note| note.contains("icmp")));
    }

    #[test]
    fn hostile_descriptions_reach_messages_escaped() {
        let wide = described(rule("tcp", (20, 25), V4), "a\nb\u{1b}[2J");
        let why = refused("EC2.13", Wide::Refuse, &[wide]);
        assert!(why.contains("a\\nb") && !why.chars().any(char::is_control), "{why}");
    }

    #[test]
    fn undo_puts_back_what_was_revoked_and_takes_out_what_was_added() {
        let ssh = described(rule("tcp", (20, 25), V4), "ssh");
        let own = rule("tcp", (22, 22), "10.0.0.0/8");
        let from = set(&[ssh.clone(), own.clone()]);
        let to = left("EC2.13", Wide::Split, &[ssh.clone(), own.clone()]).unwrap();
        let change = Change { from: from.clone(), to: to.clone() };
        let undo = |now: &BTreeSet<Rule>| RestrictIngress::undo(&change, now);
        assert!(matches!(undo(&to), Undo::To { to: back, .. } if back == from));
        assert_eq!(undo(&from), Undo::Nothing);

        // Beside it, all may have changed.
        let other = rule("udp", (53, 53), "10.0.0.0/8");
        let mut now = to.clone();
        now.remove(&own);
        now.insert(other.clone());
        assert!(matches!(undo(&now), Undo::To { to: back, .. } if back == set(&[ssh.clone(), other])));

        // A rest that somebody has taken over stays; one that is gone is gone.
        let theirs = described(rule("tcp", (23, 25), V4), "theirs");
        let Undo::To { to: back, notes } = undo(&set(std::slice::from_ref(&theirs))) else {
            panic!("nothing")
        };
        assert_eq!(back, set(&[ssh.clone(), theirs.clone()]));
        assert!(notes.iter().any(|note| note.contains("tcp 23-25")), "{notes:?}");
        assert_eq!(undo(&back), Undo::Nothing);

        // Open again by another hand: a second one of its kind can't be.
        assert_eq!(undo(&set(&[described(ssh.clone(), "again")])), Undo::Nothing);
    }

    #[test]
    fn undo_leaves_out_the_tags_of_aws() {
        let tags: BTreeMap<_, _> =
            [("aws:y".to_owned(), "z".to_owned()), ("team".to_owned(), "web".to_owned())].into();
        let ssh = Rule { tags, ..rule("tcp", (22, 22), V4) };
        let change = Change { from: set(std::slice::from_ref(&ssh)), to: set(&[]) };
        let Undo::To { to, notes } = RestrictIngress::undo(&change, &change.to) else { panic!("nothing") };
        assert_eq!(to, set(&[ssh.settable()]));
        assert!(notes.iter().any(|note| note.contains("aws:")));
        assert_eq!(RestrictIngress::undo(&change, &to), Undo::Nothing);
    }

    #[test]
    fn parameters_are_checked() {
        let read = |json: &str| serde_json::from_str::<Params>(json);
        assert_eq!(read("{}").unwrap(), Params::default());
        assert_eq!(read(r#"{"wide":"split","rules_per_group":200}"#).unwrap().wide, Wide::Split);
        assert!(read(r#"{"wide":"yes"}"#).is_err());
        assert!(read(r#"{"wider":"split"}"#).is_err());
    }

    #[test]
    fn a_split_closes_what_fails_and_nothing_else() {
        let mut numbers = Numbers(2);
        for _ in 0..5_000 {
            let protocol = ["tcp", "udp", "-1"][numbers.below(3) as usize];
            let (from, to) = numbers.range();
            let ports = (protocol != "-1").then_some((i32::from(from), i32::from(to)));
            let rule = rule(protocol, ports, V4);
            let forbidden = Ports { tcp: numbers.set(), udp: numbers.set() };
            let rests = rest(&rule, &forbidden);
            let mut open = Ports::default();
            for rest in &rests {
                let part = Ports::of(rest);
                assert!(!part.intersects(&open), "they overlap: {rests:?}");
                assert!(!part.intersects(&forbidden), "{rests:?}");
                open.tcp = Set::new(open.tcp.ranges().chain(part.tcp.ranges()));
                open.udp = Set::new(open.udp.ranges().chain(part.udp.ranges()));
            }
            assert_eq!(open, Ports::of(&rule).without(&forbidden), "{rule:?} {forbidden:?}");
            assert_eq!(rests.iter().any(|rest| rest.protocol == "icmp"), protocol == "-1");
            assert_eq!(rests.is_empty(), !is_wide(&rule, &forbidden), "{rule:?} {forbidden:?}");
        }
    }

    #[test]
    fn any_group_is_compliant_after_its_plan_and_the_same_after_undo() {
        let mut numbers = Numbers(3);
        for round in 0..5_000 {
            let now: Vec<Rule> = (0..numbers.below(8))
                .map(|_| {
                    let protocol = ["tcp", "udp", "-1", "icmp"][numbers.below(4) as usize];
                    let (from, to) = numbers.range();
                    let ports = match protocol {
                        "-1" => None,
                        "icmp" => Some((-1, -1)),
                        _ => Some((i32::from(from), i32::from(to))),
                    };
                    rule(protocol, ports, [V4, V6, "10.0.0.0/8", "2001:db8::/32"][numbers.below(4) as usize])
                })
                .collect();
            let control = ["EC2.13", "EC2.14", "EC2.18", "EC2.19", "EC2.53", "EC2.54"][round % 6];
            let wide = [Wide::Split, Wide::Revoke][numbers.below(2) as usize];
            let Plan::Change(change) = plan(control, wide, &now) else { continue };
            let change = Change { from: set(&now), to: change.to };
            for rule in lacking(&change.from, &change.to) {
                assert!(rule.world_open(), "{rule:?}");
            }
            let Undo::To { to, .. } = RestrictIngress::undo(&change, &change.to) else {
                panic!("{change:?}")
            };
            assert_eq!(to, change.from);
            // Whatever a crash left half done, undo leads to the same state.
            let both: BTreeSet<Rule> = change.from.union(&change.to).cloned().collect();
            match RestrictIngress::undo(&change, &both) {
                Undo::Nothing => assert_eq!(both, change.from),
                Undo::To { to, .. } => assert_eq!(to, change.from),
                Undo::Refuse(why) => panic!("{why}"),
            }
        }
    }
}
