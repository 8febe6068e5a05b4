//! Closes inbound entries of a network ACL that let the world in to SSH and remote desktops.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::{IcmpTypeCode, NetworkAclEntry, PortRange, RuleAction};

use super::{filled, network::NetworkAcl, ports::Ports};
use crate::{prelude::*, remediator::Proposal};

pub(crate) struct RestrictNaclIngress;

/// Numbers from 1 to this are the customer's; AWS's own last entries come after.
/// <https://docs.aws.amazon.com/vpc/latest/userguide/nacl-rules.html>
const LAST: u16 = 32_766;

/// AWS's own last entries, one for each address family, count as well.
/// <https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html#vpc-limits-nacls>
const OWN: usize = 2;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Params {
    /// What becomes of an entry that lets the world in to more than the ports 22 and 3389 (a range of ports, all
    /// traffic).
    wide: Wide,
    /// The account's quota "Rules per network ACL" in that Region. A split that would exceed it, be it for a
    /// moment, is refused.
    entries_per_direction: u16,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Wide {
    /// Nothing in the ACL is changed, and the entry is named.
    #[default]
    Refuse,
    /// Entries for the ports around 22 and 3389 take its place, under its number and free ones beside it. Of an
    /// entry for all traffic that is TCP, UDP and ICMP: other protocols are closed.
    Split,
}

impl Default for Params {
    fn default() -> Self {
        Self { wide: Wide::default(), entries_per_direction: 20 }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Acl {
    /// The inbound entries by number, without AWS's own last ones.
    ingress: BTreeMap<u16, Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    allow: bool,
    /// A protocol's number, or `-1` for all of them.
    protocol: String,
    /// First port (ICMP: the type, -1 for all); none where the protocol has no ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from_port: Option<i32>,
    /// Last port (ICMP: the code, -1 for all).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to_port: Option<i32>,
    #[serde(flatten)]
    source: Source,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Source {
    CidrIpv4(String),
    CidrIpv6(String),
}

const TCP: &str = "6";
const UDP: &str = "17";
const ICMP: &str = "1";
const ICMPV6: &str = "58";

impl Remediator for RestrictNaclIngress {
    const SPEC: Spec = Spec {
        name: "ec2.restrict_nacl_ingress",
        version: 1,
        controls: &["EC2.21"],
        risk: Risk::Downtime,
        what: "Deletes the inbound entries of a network ACL that let 0.0.0.0/0 or ::/0 in to port 22 or 3389, \
               and no other entry; none is renumbered. An entry that lets in more than these ports is left, \
               and the ACL with it, unless the setting `wide` says to split it.",
        who_notices: "Whoever reached these ports over the internet: a network ACL knows no connections, so \
                      open ones end at once. Answers to connections that went out from port 3389 are dropped \
                      as well, which a NAT gateway may pick once in a while. Where an entry for all traffic is \
                      split, protocols other than TCP, UDP and ICMP are closed (VPN tunnels: ESP, GRE).",
        way_back: "Puts the entries back as they were, under their numbers, and deletes what a split added.",
        reads: &[],
        writes: &[
            Action::new("ec2:DeleteNetworkAclEntry", On::Resource),
            // A split needs these; the way back does in any case.
            Action::new("ec2:CreateNetworkAclEntry", On::Resource),
            Action::new("ec2:ReplaceNetworkAclEntry", On::Resource),
        ],
        undo: &[],
        implied: &[],
    };
    type Resource = NetworkAcl;
    type Params = Params;
    type State = Acl;

    async fn observe(aws: &Aws, at: &NetworkAcl) -> Result<Acl> {
        let mut ingress = BTreeMap::new();
        for entry in at.read(aws).await?.entries() {
            if entry.egress() == Some(true) {
                continue;
            }
            if let Some((number, entry)) = Entry::from_aws(entry)? {
                ingress.insert(number, entry);
            }
        }
        Ok(Acl { ingress })
    }

    fn plan(now: &Acl, ask: &Ask<'_, Params>) -> Plan<Acl> {
        let failed: Vec<(u16, &Entry)> = now
            .ingress
            .iter()
            .filter(|(_, entry)| entry.fails())
            .map(|(&number, entry)| (number, entry))
            .collect();
        if failed.is_empty() {
            return Plan::Compliant;
        }
        let (wide, narrow): (Vec<_>, Vec<_>) = failed.into_iter().partition(|(_, entry)| entry.is_wide());
        if ask.params.wide == Wide::Refuse && !wide.is_empty() {
            return Plan::Refuse(format!(
                "{} in to more than the ports 22 and 3389: set `wide: split` to keep the rest open. A deny \
                 entry before it is not known to satisfy EC2.21",
                named(&wide, "lets the world", "let the world"),
            ));
        }
        let mut to = now.ingress.clone();
        for (number, _) in &narrow {
            to.remove(number);
        }
        for (number, entry) in &wide {
            to.remove(number);
            let rests = entry.rests();
            let free = free_numbers(*number, &entry.source, &to, &now.ingress);
            if free.len() < rests.len() {
                return Plan::Refuse(format!(
                    "{} {} entries in place of one, and between its neighbours there are numbers for {}",
                    named(&[(*number, entry)], "needs", "need"),
                    rests.len(),
                    free.len(),
                ));
            }
            to.extend(free.into_iter().zip(rests));
        }
        let quota = ask.params.entries_per_direction;
        let most = now.ingress.keys().chain(to.keys()).collect::<BTreeSet<_>>().len() + OWN;
        if !wide.is_empty() && most > usize::from(quota) {
            return Plan::Refuse(format!(
                "the split needs room for {most} inbound entries at a time, and the quota is {quota} \
                 (`entries_per_direction`)"
            ));
        }
        let everything: Vec<(u16, &Entry)> =
            wide.iter().copied().filter(|(_, entry)| entry.protocol == "-1").collect();
        let mut notes = vec!["open connections end at once: a network ACL knows none".to_owned()];
        let mut risk = Risk::Access;
        if !everything.is_empty() {
            risk = Risk::Downtime;
            notes.push(format!(
                "of {} all of ICMP stays open, and TCP and UDP but for 22 and 3389; other protocols are closed",
                listed(&everything)
            ));
        }
        Plan::Change(Proposal { to: Acl { ingress: to }, risk, notes })
    }

    /// New entries come first, then those under a number that is taken, and deletions last: no traffic stops
    /// that both let in.
    async fn apply(aws: &Aws, at: &NetworkAcl, change: &Change<Acl>) -> Result<()> {
        let now = Self::observe(aws, at).await?.ingress;
        let (mut create, mut replace, mut delete) = (Vec::new(), Vec::new(), Vec::new());
        for number in changed(change) {
            let to = change.to.ingress.get(&number);
            match (now.get(&number), to) {
                (found, to) if found == to => {}
                (found, _) if found != change.from.ingress.get(&number) => return Err(drifted(number)),
                (None, Some(entry)) => create.push((number, entry)),
                (Some(_), Some(entry)) => replace.push((number, entry)),
                (_, None) => delete.push(number),
            }
        }
        for (number, entry) in create {
            let (cidr, cidr_ipv6) = entry.source.parts();
            let request = aws.ec2().create_network_acl_entry().network_acl_id(&at.id).egress(false);
            let request = request.rule_number(number.into()).rule_action(entry.action());
            let request =
                request.protocol(&entry.protocol).set_cidr_block(cidr).set_ipv6_cidr_block(cidr_ipv6);
            let request = request.set_port_range(entry.port_range()).set_icmp_type_code(entry.icmp());
            match request.send().await.map_err(Error::from) {
                Ok(_) => {}
                // The SDK's own second attempt after a lost answer finds what the first has made.
                Err(error) if error.code.as_deref() == Some("NetworkAclEntryAlreadyExists") => {
                    if Self::observe(aws, at).await?.ingress.get(&number) != Some(entry) {
                        return Err(drifted(number));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        for (number, entry) in replace {
            let (cidr, cidr_ipv6) = entry.source.parts();
            let request = aws.ec2().replace_network_acl_entry().network_acl_id(&at.id).egress(false);
            let request = request.rule_number(number.into()).rule_action(entry.action());
            let request =
                request.protocol(&entry.protocol).set_cidr_block(cidr).set_ipv6_cidr_block(cidr_ipv6);
            let request = request.set_port_range(entry.port_range()).set_icmp_type_code(entry.icmp());
            match request.send().await.map_err(Error::from) {
                Ok(_) => {}
                Err(error) if error.code.as_deref() == Some(GONE) => return Err(drifted(number)),
                Err(error) => return Err(error),
            }
        }
        for number in delete {
            let request = aws.ec2().delete_network_acl_entry().network_acl_id(&at.id).egress(false);
            request.rule_number(number.into()).send().await.absent_if(GONE)?;
        }
        Ok(())
    }

    fn undo(change: &Change<Acl>, now: &Acl) -> Undo<Acl> {
        let mut to = now.ingress.clone();
        for number in changed(change) {
            let (before, after) = (change.from.ingress.get(&number), change.to.ingress.get(&number));
            let found = now.ingress.get(&number);
            if found != before && found != after {
                return Undo::Refuse(format!("entry {number} has been changed since"));
            }
            match before {
                Some(entry) => to.insert(number, entry.clone()),
                None => to.remove(&number),
            };
        }
        if to == now.ingress {
            return Undo::Nothing;
        }
        Undo::To { to: Acl { ingress: to }, notes: Vec::new() }
    }
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>
const GONE: &str = "InvalidNetworkAclEntry.NotFound";

fn drifted(number: u16) -> Error {
    Error::new(ErrorKind::Drifted, format!("entry {number} is not as it was when the change was planned"))
}

/// The numbers whose entries the change is about.
fn changed(change: &Change<Acl>) -> BTreeSet<u16> {
    let (from, to) = (&change.from.ingress, &change.to.ingress);
    from.keys().chain(to.keys()).copied().filter(|number| from.get(number) != to.get(number)).collect()
}

/// The numbers under which entries stand where the one of this number stood: those that no entry has, between
/// the neighbours of the same address family. Of the other family none is ever asked about the same packet.
fn free_numbers(
    number: u16,
    source: &Source,
    to: &BTreeMap<u16, Entry>,
    now: &BTreeMap<u16, Entry>,
) -> Vec<u16> {
    let same =
        |entry: &&Entry| matches!(entry.source, Source::CidrIpv6(_)) == matches!(source, Source::CidrIpv6(_));
    let neighbours: Vec<u16> =
        to.iter().filter(|(_, entry)| same(entry)).map(|(&number, _)| number).collect();
    let before = neighbours.iter().copied().filter(|&other| other < number).max().unwrap_or(0);
    let after = neighbours.iter().copied().filter(|&other| other > number).min().unwrap_or(LAST + 1);
    let is_free = |other: &u16| *other == number || !to.contains_key(other) && !now.contains_key(other);
    (number..after).chain((before + 1..number).rev()).filter(is_free).collect()
}

/// "entry 100 (all traffic from 0.0.0.0/0) is".
fn named(entries: &[(u16, &Entry)], one: &str, many: &str) -> String {
    format!("{} {}", listed(entries), if entries.len() == 1 { one } else { many })
}

fn listed(entries: &[(u16, &Entry)]) -> String {
    let names: Vec<String> =
        entries.iter().map(|(number, entry)| format!("{number} (`{}`)", entry.shown())).collect();
    format!("{} {}", if entries.len() == 1 { "entry" } else { "entries" }, names.join(", "))
}

impl Source {
    fn parts(&self) -> (Option<String>, Option<String>) {
        match self {
            Self::CidrIpv4(cidr) => (Some(cidr.clone()), None),
            Self::CidrIpv6(cidr) => (None, Some(cidr.clone())),
        }
    }
}

impl Entry {
    fn ports(&self) -> Ports {
        Ports::opened(&self.protocol, self.from_port, self.to_port)
    }

    /// The Config rule speaks of TCP and UDP, and of entries, not of what comes of them together: one that allows
    /// is taken to fail it whatever denies before it.
    /// <https://docs.aws.amazon.com/config/latest/developerguide/nacl-no-unrestricted-ssh-rdp.html>
    fn fails(&self) -> bool {
        let (Source::CidrIpv4(cidr) | Source::CidrIpv6(cidr)) = &self.source;
        self.allow && cidr.ends_with("/0") && self.ports().intersects(&Ports::administration())
    }

    /// Whether it lets in more than the control has anything against.
    fn is_wide(&self) -> bool {
        self.protocol == "-1" || self.ports().without(&Ports::administration()) != Ports::default()
    }

    /// What a wide entry lets in and the control has nothing against, as entries.
    fn rests(&self) -> Vec<Self> {
        let ports = self.ports().without(&Ports::administration());
        let mut rests: Vec<(&str, i32, i32)> = Vec::new();
        rests.extend(ports.tcp.ranges().map(|(from, to)| (TCP, i32::from(from), i32::from(to))));
        rests.extend(ports.udp.ranges().map(|(from, to)| (UDP, i32::from(from), i32::from(to))));
        if self.protocol == "-1" {
            rests.push((if matches!(self.source, Source::CidrIpv6(_)) { ICMPV6 } else { ICMP }, -1, -1));
        }
        let entry = |(protocol, from, to): (&str, i32, i32)| Self {
            protocol: protocol.to_owned(),
            from_port: Some(from),
            to_port: Some(to),
            ..self.clone()
        };
        rests.into_iter().map(entry).collect()
    }

    fn action(&self) -> RuleAction {
        if self.allow { RuleAction::Allow } else { RuleAction::Deny }
    }

    fn port_range(&self) -> Option<PortRange> {
        matches!(self.protocol.as_str(), TCP | UDP)
            .then(|| PortRange::builder().set_from(self.from_port).set_to(self.to_port).build())
    }

    fn icmp(&self) -> Option<IcmpTypeCode> {
        matches!(self.protocol.as_str(), ICMP | ICMPV6)
            .then(|| IcmpTypeCode::builder().set_type(self.from_port).set_code(self.to_port).build())
    }

    /// An entry in normal form, with its number; `None` for AWS's own last ones.
    fn from_aws(entry: &NetworkAclEntry) -> Result<Option<(u16, Self)>> {
        let number = entry.rule_number().unwrap_or_default();
        let unknown = |what: &str| {
            Error::new(ErrorKind::Rejected, format!("entry {number} has {what} that is not known here"))
        };
        let Some(place) = u16::try_from(number).ok().filter(|&number| number > 0) else {
            return Err(unknown("a number"));
        };
        if place > LAST {
            return Ok(None);
        }
        let allow = match entry.rule_action() {
            Some(RuleAction::Allow) => true,
            Some(RuleAction::Deny) => false,
            _ => return Err(unknown("an action")),
        };
        let source = match (filled(entry.cidr_block()), filled(entry.ipv6_cidr_block())) {
            (Some(cidr), None) => Source::CidrIpv4(cidr),
            (None, Some(cidr)) => Source::CidrIpv6(cidr),
            _ => return Err(unknown("a source")),
        };
        // AWS returns numbers, whatever was written.
        let protocol = match entry.protocol().unwrap_or_default().to_ascii_lowercase().as_str() {
            "tcp" => TCP.to_owned(),
            "udp" => UDP.to_owned(),
            "icmp" => ICMP.to_owned(),
            "icmpv6" => ICMPV6.to_owned(),
            "all" => "-1".to_owned(),
            "" => return Err(unknown("a protocol")),
            other => other.to_owned(),
        };
        let (from_port, to_port) = match protocol.as_str() {
            TCP | UDP => {
                let range = entry.port_range().map(|range| (range.from(), range.to()));
                match range {
                    Some((Some(from), Some(to))) => (Some(from), Some(to)),
                    _ => (Some(0), Some(65_535)),
                }
            }
            ICMP | ICMPV6 => {
                let icmp = entry.icmp_type_code();
                let kind = icmp.and_then(IcmpTypeCode::r#type).unwrap_or(-1);
                (Some(kind), Some(icmp.and_then(IcmpTypeCode::code).unwrap_or(-1)))
            }
            _ => (None, None),
        };
        Ok(Some((place, Self { allow, protocol, from_port, to_port, source })))
    }

    /// `tcp 20-25 from 0.0.0.0/0`.
    fn shown(&self) -> String {
        let (Source::CidrIpv4(source) | Source::CidrIpv6(source)) = &self.source;
        let name = match self.protocol.as_str() {
            TCP => "tcp".to_owned(),
            UDP => "udp".to_owned(),
            "-1" => "all traffic".to_owned(),
            other => format!("protocol {}", shown(other)),
        };
        let ports = match (self.from_port, self.to_port) {
            (Some(from), Some(to)) if from == to => format!(" {from}"),
            (Some(from), Some(to)) => format!(" {from}-{to}"),
            _ => String::new(),
        };
        format!("{name}{ports} from {}", shown(source))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;
    use crate::{ec2::ports::tests::Numbers, remediator::test::ask};

    const V4: &str = "0.0.0.0/0";
    const V6: &str = "::/0";

    fn entry(protocol: &str, ports: impl Into<Option<(i32, i32)>>, source: &str) -> Entry {
        let (from_port, to_port) = ports.into().unzip();
        let source = source.to_owned();
        Entry {
            allow: true,
            protocol: protocol.to_owned(),
            from_port,
            to_port,
            source: if source.contains(':') { Source::CidrIpv6(source) } else { Source::CidrIpv4(source) },
        }
    }

    fn deny(entry: Entry) -> Entry {
        Entry { allow: false, ..entry }
    }

    fn acl(entries: &[(u16, Entry)]) -> Acl {
        Acl { ingress: entries.iter().cloned().collect() }
    }

    fn plan(wide: Wide, now: &Acl) -> Plan<Acl> {
        let params = Params { wide, ..Params::default() };
        let plan = RestrictNaclIngress::plan(now, &ask("EC2.21", &params));
        if let Plan::Change(change) = &plan {
            // What verification relies on: the plan for what the change leads to is empty.
            let again = RestrictNaclIngress::plan(&change.to, &ask("EC2.21", &params));
            assert_eq!(again, Plan::Compliant, "{now:?}");
        }
        plan
    }

    fn left(wide: Wide, now: &[(u16, Entry)]) -> (Acl, Risk) {
        match plan(wide, &acl(now)) {
            Plan::Change(change) => (change.to, change.risk),
            other => panic!("{other:?}"),
        }
    }

    fn refused(wide: Wide, now: &[(u16, Entry)]) -> String {
        match plan(wide, &acl(now)) {
            Plan::Refuse(why) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_fails_the_control() {
        let cases = [
            (entry(TCP, (22, 22), V4), true),
            (entry(TCP, (3389, 3389), V6), true),
            (entry(UDP, (22, 22), V4), true),
            (entry(TCP, (0, 65_535), V4), true),
            (entry("-1", None, V6), true),
            (deny(entry("-1", None, V4)), false),
            (entry(TCP, (443, 443), V4), false),
            (entry(TCP, (23, 3388), V4), false),
            (entry(TCP, (22, 22), "10.0.0.0/8"), false),
            (entry(ICMP, (-1, -1), V4), false),
            (entry("50", None, V4), false),
        ];
        for (entry, expected) in cases {
            assert_eq!(entry.fails(), expected, "{entry:?}");
            let plan = plan(Wide::Split, &acl(&[(100, entry.clone())]));
            assert_eq!(matches!(plan, Plan::Change(_)), expected, "{entry:?}");
        }
    }

    #[test]
    fn only_what_fails_is_deleted_and_nothing_is_renumbered() {
        let web = entry(TCP, (443, 443), V4);
        let office = entry(TCP, (22, 22), "198.51.100.0/24");
        let now = [
            (90, office.clone()),
            (100, entry(TCP, (22, 22), V4)),
            (110, web.clone()),
            (120, entry(TCP, (3389, 3389), V6)),
        ];
        assert_eq!(left(Wide::Refuse, &now), (acl(&[(90, office), (110, web)]), Risk::Access));
    }

    #[test]
    fn a_wide_entry_holds_the_whole_acl_until_a_setting_says_to_split_it() {
        let narrow = entry(TCP, (22, 22), V6);
        for wide in [entry(TCP, (20, 25), V4), entry("-1", None, V4)] {
            let why = refused(Wide::Refuse, &[(90, narrow.clone()), (100, wide.clone())]);
            assert!(why.contains("100") && why.contains(&wide.shown()), "{why}");
            assert!(why.contains("`wide: split`") && !why.contains("entry 90"), "{why}");
        }
    }

    #[test]
    fn a_split_takes_free_numbers_between_the_neighbours() {
        let wide = entry(TCP, (0, 65_535), V4);
        let parts = [(0, 21), (23, 3388), (3390, 65_535)].map(|ports| entry(TCP, ports, V4));
        let own = entry(TCP, (80, 80), "10.0.0.0/8");
        let placed = |numbers: [u16; 3], beside: &[(u16, Entry)]| {
            let parts = numbers.into_iter().zip(parts.clone());
            acl(&parts.chain(beside.iter().cloned()).collect::<Vec<_>>())
        };
        let to = |now: &[(u16, Entry)]| left(Wide::Split, now).0;
        assert_eq!(to(&[(100, wide.clone())]), placed([100, 101, 102], &[]));
        // What comes after stays after, and what comes before stays before.
        let beside = [(98, own.clone()), (101, own.clone())];
        let why = refused(Wide::Split, &[(100, wide.clone()), beside[0].clone(), beside[1].clone()]);
        assert!(why.contains("needs 3 entries") && why.contains("numbers for 2"), "{why}");
        let beside = [(97, own.clone()), (101, own)];
        let now = [(100, wide.clone()), beside[0].clone(), beside[1].clone()];
        assert_eq!(to(&now), placed([100, 99, 98], &beside));
        // IPv6 is asked about other packets: its entries may stand between.
        let beside = [(101, entry(TCP, (443, 443), V6))];
        assert_eq!(to(&[(100, wide), beside[0].clone()]), placed([100, 102, 103], &beside));
    }

    #[test]
    fn all_traffic_splits_into_what_has_ports_and_icmp() {
        for (source, icmp) in [(V4, ICMP), (V6, ICMPV6)] {
            let (to, risk) = left(Wide::Split, &[(100, entry("-1", None, source))]);
            let ports = [(0, 21), (23, 3388), (3390, 65_535)];
            let expected: Vec<Entry> = [TCP, UDP]
                .iter()
                .flat_map(|protocol| ports.map(|ports| entry(protocol, ports, source)))
                .chain([entry(icmp, (-1, -1), source)])
                .collect();
            assert_eq!(to.ingress.into_values().collect::<Vec<_>>(), expected);
            assert_eq!(risk, Risk::Downtime);
        }
    }

    #[test]
    fn a_split_stays_within_the_quota() {
        let mut now: Vec<(u16, Entry)> =
            (0..15u16).map(|n| (1000 + n, entry(TCP, (443, 443), "10.0.0.0/8"))).collect();
        now.push((100, entry(TCP, (0, 65_535), V4)));
        assert_eq!(left(Wide::Split, &now).0.ingress.len(), 18);
        now.push((2000, entry(TCP, (443, 443), "10.0.0.0/8")));
        let why = refused(Wide::Split, &now);
        assert!(why.contains("21 inbound entries") && why.contains("quota is 20"), "{why}");
    }

    #[test]
    fn undo_restores_its_own_numbers_and_no_others() {
        let ssh = entry(TCP, (22, 22), V4);
        let wide = entry(TCP, (3000, 4000), V4);
        let from = acl(&[(90, ssh.clone()), (100, wide)]);
        let to = left(Wide::Split, &from.ingress.clone().into_iter().collect::<Vec<_>>()).0;
        let change = Change { from: from.clone(), to: to.clone() };
        let undo = |now: &Acl| RestrictNaclIngress::undo(&change, now);
        assert!(matches!(undo(&to), Undo::To { to, .. } if to == from));
        assert_eq!(undo(&from), Undo::Nothing);

        let other = entry(TCP, (443, 443), V4);
        let mut beside = to.clone();
        beside.ingress.insert(200, other.clone());
        assert!(matches!(undo(&beside), Undo::To { to, .. } if to.ingress.get(&200) == Some(&other)
            && to.ingress.get(&90) == Some(&ssh)));
        for number in [90, 100, 101] {
            let mut theirs = to.clone();
            theirs.ingress.insert(number, other.clone());
            assert!(matches!(undo(&theirs), Undo::Refuse(why) if why.contains(&number.to_string())));
        }
        // Whatever a crash left half done, undo leads to the same state.
        let mut half = to;
        half.ingress.insert(90, ssh);
        half.ingress.remove(&101);
        assert!(matches!(undo(&half), Undo::To { to, .. } if to == from));
    }

    /// Whether the first entry that says anything about a packet lets it in.
    fn lets_in(acl: &Acl, tcp: bool, port: u16, v6: bool) -> bool {
        let says = |entry: &&Entry| {
            let open = entry.ports();
            matches!(entry.source, Source::CidrIpv6(_)) == v6
                && (if tcp { open.tcp } else { open.udp })
                    .ranges()
                    .any(|(from, to)| (from..=to).contains(&port))
        };
        acl.ingress.values().find(says).is_some_and(|entry| entry.allow)
    }

    #[test]
    fn a_split_closes_what_fails_and_nothing_else() {
        let mut numbers = Numbers(4);
        let mut changes = 0;
        for _ in 0..500 {
            let entries = (0..numbers.below(6)).map(|_| {
                let number = u16::try_from(1 + numbers.below(40)).unwrap();
                let protocol = [TCP, UDP, "-1"][numbers.below(3) as usize];
                let (from, to) = numbers.range();
                let ports = (protocol != "-1").then_some((i32::from(from), i32::from(to)));
                let made = entry(protocol, ports, [V4, V6][numbers.below(2) as usize]);
                (number, Entry { allow: numbers.below(3) > 0, ..made })
            });
            let now = Acl { ingress: entries.collect() };
            let params = Params { wide: Wide::Split, entries_per_direction: 200 };
            let Plan::Change(change) = RestrictNaclIngress::plan(&now, &ask("EC2.21", &params)) else {
                continue;
            };
            changes += 1;
            for port in (0..=45).chain(3380..3395).chain(65_530..=65_535) {
                for (tcp, v6) in [(true, true), (true, false), (false, true), (false, false)] {
                    let admin = matches!(port, 22 | 3389);
                    let (before, after) = (lets_in(&now, tcp, port, v6), lets_in(&change.to, tcp, port, v6));
                    assert_eq!(after, before && !admin, "{port} {tcp} {v6}: {now:?} {:?}", change.to);
                }
            }
            let change = Change { from: now.clone(), to: change.to };
            let back = RestrictNaclIngress::undo(&change, &change.to);
            assert!(matches!(back, Undo::To { to, .. } if to == now));
        }
        assert!(changes > 100, "{changes}");
    }

    #[test]
    fn what_was_read_is_what_is_written() {
        let read = |entry: NetworkAclEntry| Entry::from_aws(&entry).unwrap();
        let base =
            || NetworkAclEntry::builder().rule_number(100).rule_action(RuleAction::Allow).cidr_block(V4);
        let range = PortRange::builder().from(20).to(25).build();
        let tcp = read(base().protocol("6").port_range(range).build()).unwrap();
        assert_eq!(tcp, (100, entry(TCP, (20, 25), V4)));
        assert_eq!(tcp.1.port_range().unwrap().to(), Some(25));
        assert_eq!(read(base().protocol("tcp").build()).unwrap().1, entry(TCP, (0, 65_535), V4));
        let icmp = IcmpTypeCode::builder().r#type(8).code(-1).build();
        let icmp = read(base().protocol("1").icmp_type_code(icmp).build()).unwrap().1;
        assert_eq!(icmp, entry(ICMP, (8, -1), V4));
        assert_eq!(icmp.icmp().unwrap().r#type(), Some(8));
        assert_eq!(read(base().protocol("-1").rule_number(32_767).build()), None);
        assert!(Entry::from_aws(&base().protocol("-1").ipv6_cidr_block(V6).build()).is_err());
        assert!(Entry::from_aws(&base().build()).is_err());
        let json = serde_json::to_value(acl(&[(100, entry(TCP, (22, 22), V6))])).unwrap();
        let expected = serde_json::json!({ "ingress": { "100": {
            "allow": true, "protocol": "6", "from_port": 22, "to_port": 22, "cidr_ipv6": "::/0",
        } } });
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_value::<Acl>(json).unwrap(), acl(&[(100, entry(TCP, (22, 22), V6))]));
    }
}
