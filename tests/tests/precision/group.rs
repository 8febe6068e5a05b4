//! EC2.13, EC2.14, EC2.18 and EC2.19: the inbound rules of security groups.
//!
//! What the controls forbid is written down from
//! [their documentation](https://docs.aws.amazon.com/securityhub/latest/userguide/ec2-controls.html), as ports that the
//! world may come in to: 0.0.0.0/0 or `::/0`, by whatever rule.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::{
    Filter, IpPermission, IpRange, Ipv6Range, PrefixListId, ResourceType, Tag, TagSpecification,
    UserIdGroupPair,
};
use proptest::{prelude::*, test_runner::TestCaseResult};
use redress_router::audit::{Stage, Verb};

use super::{
    hold,
    world::{ACCOUNT, Asked, REGION, Seen, World, block_on},
};

/// Where a rule lets traffic in from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum From {
    V4(&'static str),
    V6(&'static str),
    List(&'static str),
    Itself,
    Other,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rule {
    protocol: &'static str,
    from: i32,
    to: i32,
    source: From,
    description: Option<String>,
    tags: BTreeMap<String, String>,
}

impl Rule {
    fn is_of_the_world(&self) -> bool {
        matches!(self.source, From::V4("0.0.0.0/0") | From::V6("::/0"))
    }

    /// Whether it lets this in.
    fn opens(&self, protocol: &str, port: i32) -> bool {
        match self.protocol {
            "-1" => true,
            known if known != protocol => false,
            "tcp" | "udp" => (self.from..=self.to).contains(&port),
            _ => true,
        }
    }
}

/// Edges, neighbours of what is forbidden, and what has nothing to do with it.
const PORTS: [i32; 18] =
    [0, 1, 19, 20, 21, 22, 23, 25, 26, 80, 443, 444, 3388, 3389, 3390, 5432, 65_534, 65_535];

fn rule() -> impl Strategy<Value = Rule> {
    let protocol = prop_oneof![
        6 => Just("tcp"), 3 => Just("udp"), 1 => Just("-1"), 1 => Just("icmp"), 1 => Just("icmpv6"), 1 => Just("47"),
    ];
    let port = || prop::sample::select(PORTS.to_vec());
    let source = prop_oneof![
        4 => Just(From::V4("0.0.0.0/0")),
        3 => Just(From::V6("::/0")),
        1 => prop::sample::select(vec!["10.0.0.0/8", "0.0.0.0/1", "128.0.0.0/1", "0.0.0.0/32"]).prop_map(From::V4),
        1 => prop::sample::select(vec!["2001:db8::/32", "::/1", "::/128"]).prop_map(From::V6),
        1 => prop::sample::select(vec!["pl-0123abcd", "pl-89ef4567"]).prop_map(From::List),
        1 => Just(From::Itself),
        1 => Just(From::Other),
    ];
    let text = prop::option::of("[a-zA-Z0-9 ._:/()#,@+=&;{}!$*-]{1,12}");
    let tags = prop::collection::btree_map("[a-zA-Z][a-z]{0,3}", "[a-z]{0,3}", 0..3);
    (protocol, port(), port(), any::<bool>(), source, text, tags).prop_map(
        |(protocol, one, other, single, source, description, tags)| {
            let (from, to) = match protocol {
                "tcp" | "udp" if single => (one, one),
                "tcp" | "udp" => (one.min(other), one.max(other)),
                _ => (-1, -1),
            };
            Rule { protocol, from, to, source, description, tags }
        },
    )
}

#[derive(Clone, Debug)]
struct Given {
    rules: Vec<Rule>,
    control: &'static str,
    wide: &'static str,
    /// The ports of EC2.18: TCP and UDP.
    authorized: (Vec<i32>, Vec<i32>),
}

fn given() -> impl Strategy<Value = Given> {
    let rules = prop::collection::vec(rule(), 0..9).prop_map(|mut rules| {
        // A group holds one rule of a kind.
        let mut kinds = BTreeSet::new();
        rules.retain(|rule| kinds.insert((rule.protocol, rule.from, rule.to, rule.source.clone())));
        rules
    });
    let control = prop::sample::select(vec!["EC2.13", "EC2.14", "EC2.18", "EC2.19"]);
    let wide = prop::sample::select(vec!["refuse", "revoke", "split"]);
    let some = || prop::collection::vec(prop::sample::select(PORTS.to_vec()), 0..3);
    let tcp = some().prop_map(|mut ports| {
        ports.extend([80, 443]);
        ports.retain(|port| *port > 0);
        ports
    });
    let udp = some().prop_map(|mut ports| {
        ports.retain(|port| *port > 0);
        ports
    });
    (rules, control, wide, (tcp, udp)).prop_map(|(rules, control, wide, authorized)| Given {
        rules,
        control,
        wide,
        authorized,
    })
}

impl Given {
    fn asked(&self) -> Asked {
        let texts = |ports: &[i32]| ports.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut parameters = Vec::new();
        if self.control == "EC2.18" {
            parameters.push(("authorizedTcpPorts", texts(&self.authorized.0)));
            if !self.authorized.1.is_empty() {
                parameters.push(("authorizedUdpPorts", texts(&self.authorized.1)));
            }
        }
        Asked {
            control: self.control,
            parameters,
            remediator: "ec2.restrict_ingress",
            params: format!("{{wide: {}}}", self.wide),
        }
    }

    /// Whether the control forbids that the world comes in here.
    fn forbids(&self, protocol: &str, port: i32) -> bool {
        match (self.control, protocol) {
            ("EC2.13", "tcp") => port == 22,
            ("EC2.14", "tcp") => port == 3389,
            ("EC2.18", "tcp") => !self.authorized.0.contains(&port),
            ("EC2.18", "udp") => !self.authorized.1.contains(&port),
            // FTP, SSH, Telnet, SMTP, POP3, RPC, IMAP, CIFS, MSSQL, Go/Node/Ruby, MySQL, RDP, ahsp, Flask,
            // PostgreSQL, fcp-addr-srvr1, OpenSearch, proxy, legacy HTTP, alternative HTTP.
            ("EC2.19", "tcp") => matches!(
                port,
                20 | 21
                    | 22
                    | 23
                    | 25
                    | 110
                    | 135
                    | 143
                    | 445
                    | 1433
                    | 1434
                    | 3000
                    | 3306
                    | 3389
                    | 4333
                    | 5000
                    | 5432
                    | 5500
                    | 5601
                    | 8080
                    | 8088
                    | 8888
                    | 9200
                    | 9300
            ),
            _ => false,
        }
    }

    fn fails(&self, rule: &Rule) -> bool {
        rule.is_of_the_world()
            && traffic().any(|(protocol, port)| self.forbids(protocol, port) && rule.opens(protocol, port))
    }

    /// Whether it opens more than what the control forbids.
    fn is_wide(&self, rule: &Rule) -> bool {
        rule.protocol == "-1"
            || traffic().any(|(protocol, port)| !self.forbids(protocol, port) && rule.opens(protocol, port))
    }
}

/// Every port of TCP and UDP.
fn traffic() -> impl Iterator<Item = (&'static str, i32)> {
    ["tcp", "udp"].into_iter().flat_map(|protocol| (0..=65_535).map(move |port| (protocol, port)))
}

/// What each family of addresses may come in to, from anywhere.
fn open(rules: &BTreeSet<Rule>, source: &From) -> Vec<bool> {
    let rules: Vec<&Rule> = rules.iter().filter(|rule| rule.source == *source).collect();
    let ping = if matches!(source, From::V4(_)) { ("icmp", -1) } else { ("icmpv6", -1) };
    traffic()
        .chain([ping])
        .map(|(protocol, port)| rules.iter().any(|rule| rule.opens(protocol, port)))
        .collect()
}

struct Group {
    id: String,
    other: String,
}

async fn make(world: &World, rules: &[Rule]) -> Group {
    let ec2 = world.ec2();
    let vpc = ec2.create_vpc().cidr_block("10.0.0.0/16").send().await.unwrap().vpc.unwrap().vpc_id.unwrap();
    let mut ids = Vec::new();
    for name in ["the-group", "other"] {
        let made = ec2.create_security_group().group_name(name).description(name).vpc_id(&vpc).send().await;
        ids.push(made.unwrap().group_id.unwrap());
    }
    let group = Group { other: ids.pop().unwrap(), id: ids.pop().unwrap() };
    for rule in rules {
        let permission = IpPermission::builder().ip_protocol(rule.protocol);
        let permission = match rule.protocol {
            "tcp" | "udp" | "icmp" | "icmpv6" => permission.from_port(rule.from).to_port(rule.to),
            _ => permission,
        };
        let text = rule.description.clone();
        let pair = |id: &str| UserIdGroupPair::builder().group_id(id).set_description(text.clone()).build();
        let permission = match &rule.source {
            From::V4(cidr) => {
                permission.ip_ranges(IpRange::builder().cidr_ip(*cidr).set_description(text.clone()).build())
            }
            From::V6(cidr) => permission
                .ipv6_ranges(Ipv6Range::builder().cidr_ipv6(*cidr).set_description(text.clone()).build()),
            From::List(list) => permission.prefix_list_ids(
                PrefixListId::builder().prefix_list_id(*list).set_description(text.clone()).build(),
            ),
            From::Itself => permission.user_id_group_pairs(pair(&group.id)),
            From::Other => permission.user_id_group_pairs(pair(&group.other)),
        };
        let tags: Vec<Tag> =
            rule.tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect();
        let tags = (!tags.is_empty()).then(|| {
            let kind = ResourceType::SecurityGroupRule;
            vec![TagSpecification::builder().resource_type(kind).set_tags(Some(tags)).build()]
        });
        ec2.authorize_security_group_ingress()
            .group_id(&group.id)
            .ip_permissions(permission.build())
            .set_tag_specifications(tags)
            .send()
            .await
            .unwrap();
    }
    group
}

/// The inbound rules and, apart, how many outbound ones there are.
async fn live(world: &World, group: &Group) -> (BTreeSet<Rule>, usize) {
    const TEXTS: [&str; 17] = [
        "tcp",
        "udp",
        "-1",
        "icmp",
        "icmpv6",
        "47",
        "0.0.0.0/0",
        "::/0",
        "10.0.0.0/8",
        "0.0.0.0/1",
        "128.0.0.0/1",
        "0.0.0.0/32",
        "2001:db8::/32",
        "::/1",
        "::/128",
        "pl-0123abcd",
        "pl-89ef4567",
    ];
    let known = |text: &str| -> &'static str { TEXTS.into_iter().find(|known| *known == text).unwrap() };
    let filter = Filter::builder().name("group-id").values(&group.id).build();
    let found = world.ec2().describe_security_group_rules().filters(filter).send().await.unwrap();
    let (out, inbound): (Vec<_>, Vec<_>) =
        found.security_group_rules().iter().partition(|rule| rule.is_egress() == Some(true));
    let rules = inbound.iter().map(|rule| {
        let source = match (rule.cidr_ipv4(), rule.cidr_ipv6(), rule.prefix_list_id()) {
            (Some(cidr), ..) => From::V4(known(cidr)),
            (_, Some(cidr), _) => From::V6(known(cidr)),
            (.., Some(list)) => From::List(known(list)),
            _ => {
                let id = rule.referenced_group_info().unwrap().group_id().unwrap();
                assert!(id == group.id || id == group.other);
                if id == group.id { From::Itself } else { From::Other }
            }
        };
        Rule {
            protocol: known(rule.ip_protocol().unwrap()),
            from: rule.from_port().unwrap(),
            to: rule.to_port().unwrap(),
            source,
            description: rule.description().map(str::to_owned),
            tags: rule
                .tags()
                .iter()
                .map(|tag| (tag.key().unwrap().to_owned(), tag.value().unwrap_or_default().to_owned()))
                .collect(),
        }
    });
    let rules: BTreeSet<Rule> = rules.collect();
    assert_eq!(rules.len(), inbound.len());
    (rules, out.len())
}

async fn goes_there_and_back(given: Given, seen: &Seen) -> TestCaseResult {
    let world = World::new();
    let group = make(&world, &given.rules).await;
    let (before, out) = live(&world, &group).await;
    prop_assert_eq!(&before, &given.rules.iter().cloned().collect::<BTreeSet<_>>());

    let asked = given.asked();
    let arn = format!("arn:aws:ec2:{REGION}:{ACCOUNT}:security-group/{}", group.id);
    let engine = world.engine(&asked);
    let (outcome, writes) = world.ask(&engine, Verb::Fix, &asked, "AwsEc2SecurityGroup", &arn).await;
    seen.count(outcome.stage);
    let (after, still_out) = live(&world, &group).await;
    prop_assert_eq!(out, still_out);
    let reason = outcome.reason.unwrap_or_default();

    let failing: BTreeSet<Rule> = before.iter().filter(|rule| given.fails(rule)).cloned().collect();
    if failing.is_empty() {
        prop_assert_eq!(outcome.stage, Stage::Compliant, "{}", reason);
        prop_assert!(writes.is_empty() && after == before);
        return Ok(());
    }
    let wide = failing.iter().any(|rule| given.is_wide(rule));
    // Sixty rules are a group's quota, and the rests of several wide rules may be more.
    if wide && given.wide == "refuse" || given.wide == "split" && reason.contains("its quota is 60") {
        prop_assert_eq!(outcome.stage, Stage::Refused, "{}", reason);
        prop_assert!(writes.is_empty() && after == before);
        return Ok(());
    }
    prop_assert_eq!(outcome.stage, Stage::Verified, "{}", reason);
    // The control's own predicate.
    prop_assert!(!after.iter().any(|rule| given.fails(rule)), "{:?}", after);
    // All that did not fail is there, with its description and tags; what failed is gone.
    let kept: BTreeSet<Rule> = before.difference(&failing).cloned().collect();
    prop_assert!(kept.is_subset(&after), "{:?} in {:?}", kept, after);
    if given.wide == "split" {
        // The world gets in to whatever it got in to, less what is forbidden.
        for source in [From::V4("0.0.0.0/0"), From::V6("::/0")] {
            let (was, is) = (open(&before, &source), open(&after, &source));
            let wanted: Vec<bool> = traffic()
                .map(|(protocol, port)| given.forbids(protocol, port))
                .chain([false])
                .zip(&was)
                .map(|(forbidden, was)| *was && !forbidden)
                .collect();
            prop_assert!(is == wanted, "{:?}: {:?}", source, after);
        }
        // What is new takes its description and tags from the rule that it was a part of.
        for rule in after.difference(&kept) {
            prop_assert!(rule.is_of_the_world());
            prop_assert!(
                failing.iter().any(|whole| {
                    (&whole.source, &whole.description, &whole.tags)
                        == (&rule.source, &rule.description, &rule.tags)
                }),
                "{:?}",
                rule
            );
        }
    } else {
        prop_assert_eq!(&after, &kept);
    }

    let (undone, _) = world.ask(&engine, Verb::Undo, &asked, "AwsEc2SecurityGroup", &arn).await;
    prop_assert_eq!(undone.stage, Stage::Undone, "{:?}", undone.reason);
    let (back, _) = live(&world, &group).await;
    prop_assert_eq!(back, before);
    Ok(())
}

#[test]
fn a_group_loses_what_is_forbidden_and_nothing_else() {
    let seen = Seen::default();
    hold(96, &given(), |given| block_on(goes_there_and_back(given, &seen)));
    seen.had(&[Stage::Verified, Stage::Compliant, Stage::Refused]);
}
