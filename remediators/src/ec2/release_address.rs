//! Releases an Elastic IP address that nothing uses.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{AddressAttributeName, AddressTransferStatus, DomainType, ResourceType};
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use jiff::{SignedDuration, Timestamp};

use self::State::{InUse, Released, Unused};
use super::{
    address::{Eip, allocation_of, by_allocation},
    filled, settable, tag_map, tagged,
};
use crate::{Disposition, prelude::*, remediator::Proposal};

pub(crate) struct ReleaseAddress;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum State {
    /// It is not the account's.
    Released,
    /// It is the account's, and nothing is associated with it.
    Unused(Idle),
    /// It is associated.
    InUse(Used),
}

/// All that AWS says of an address which is not associated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Idle {
    public_ip: String,
    /// `vpc`; `standard` in EC2-Classic, which is no more.
    domain: String,
    /// From where it is advertised: the Region, or a Local Zone's own group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    network_border_group: Option<String>,
    /// `amazon`, or the pool of a range that the customer brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    public_ipv4_pool: Option<String>,
    /// The pool on an Outpost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    customer_owned_ipv4_pool: Option<String>,
    /// The address in a carrier's network (Wavelength).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    carrier_ip: Option<String>,
    /// The AWS service that manages it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service_managed: Option<String>,
    /// The name that reverse DNS gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reverse_dns: Option<String>,
    /// The account that it is being handed over to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    transfer_to: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Used {
    public_ip: String,
    /// What uses it: the network interface, else the instance, else the association itself.
    by: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Params {
    /// For how many days redress must have seen the address unused. Three days without a finding begin the count anew;
    /// that it was in use for a shorter time, between two looks, goes unseen.
    grace_days: u16,
    /// Whether a person who asks for this very finding need not wait for that.
    on_request_skips_grace: bool,
}

impl Default for Params {
    fn default() -> Self {
        Self { grace_days: 7, on_request_skips_grace: true }
    }
}

impl Remediator for ReleaseAddress {
    const SPEC: Spec = Spec {
        name: "ec2.release_address",
        version: 1,
        controls: &["EC2.12"],
        risk: Risk::Loss,
        what: "Releases an Elastic IP address that nothing has used for a while (7 days, unless the rule or a \
               person's request says otherwise): it goes back to AWS, which may give it to anybody.",
        who_notices: "Whoever kept it for later, or still names it: DNS records, allow-lists of partners, \
                      templates that hold its allocation id. Its next holder receives what is still sent \
                      there.",
        way_back: "Asks AWS for the same public address, with the same tags: that works until somebody else \
                   has it. The allocation id can't be had back.",
        reads: &[
            Action::new("ec2:DescribeAddressesAttribute", On::Region),
            Action::new("ec2:DescribeAddressTransfers", On::Region),
        ],
        writes: &[Action::new("ec2:ReleaseAddress", On::Resource)],
        undo: &[
            Action::new("ec2:AllocateAddress", On::Arn(ADDRESSES)),
            // https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/supported-iam-actions-tagging.html
            Action::new("ec2:CreateTags", On::Created(ADDRESSES, "AllocateAddress"))
                .called(&["AllocateAddress"]),
        ],
        implied: &[],
    };
    type Resource = Eip;
    type Params = Params;
    type State = State;

    async fn observe(aws: &Aws, at: &Eip) -> Result<State> {
        look(aws, &at.id)
            .await?
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no address `{}`", at.id)))
    }

    fn plan(now: &State, ask: &Ask<'_, Params>) -> Plan<State> {
        let Unused(idle) = now else { return Plan::Compliant };
        let hindrances = idle.hindrances();
        if !hindrances.is_empty() {
            return Plan::Refuse(format!("`{}` {}", shown(&idle.public_ip), hindrances.join("; it ")));
        }
        let since = ask.since.unwrap_or(ask.at);
        let until = after_days(since, ask.params.grace_days);
        let mut notes = Vec::new();
        if ask.at < until {
            let waited = format!("first seen unused at {}", since.strftime("%Y-%m-%d %H:%M UTC"));
            let days = ask.params.grace_days;
            if !(ask.by_person && ask.params.on_request_skips_grace) {
                return Plan::Wait {
                    until,
                    why: format!("{waited}, and released after {days} days of that"),
                };
            }
            notes.push(format!("{waited}: the grace period of {days} days is skipped at a person's request"));
        }
        notes.push(format!(
            "`{}` goes back to AWS: whoever holds it next receives what is still sent there; undo can only \
             ask for it again, and never has the allocation id back",
            shown(&idle.public_ip)
        ));
        Plan::Change(Proposal { to: Released, risk: Risk::Loss, notes })
    }

    async fn apply(aws: &Aws, at: &Eip, change: &Change<State>) -> Result<()> {
        match (&change.from, &change.to) {
            (Unused(idle), Released) => release(aws, at, idle).await,
            (_, Unused(idle)) => recover(aws, at, idle).await,
            (_, Released | InUse(_)) => {
                Err(Error::new(ErrorKind::Invalid, "only an unused address is ever released"))
            }
        }
    }

    /// After a release there is nothing of that allocation id, which is no error here; after a recovery
    /// the public address has another one.
    async fn check(aws: &Aws, at: &Eip, change: &Change<State>) -> Result<State> {
        if let Some(found) = look(aws, &at.id).await? {
            return Ok(found);
        }
        for state in [&change.to, &change.from] {
            if let Some(ip) = state.public_ip()
                && let Some(id) = allocation_of(aws, ip).await?
                && let Some(found) = look(aws, &id).await?
            {
                return Ok(found);
            }
        }
        Ok(Released)
    }

    fn undo(change: &Change<State>, now: &State) -> Undo<State> {
        let (Unused(was), Released) = (&change.from, &change.to) else {
            return Undo::Refuse("the run released no address".to_owned());
        };
        match now.public_ip() {
            Some(ip) if ip == was.public_ip => Undo::Nothing,
            Some(_) => {
                Undo::Refuse("the allocation has another public address than the run released".to_owned())
            }
            None => {
                let to = Idle { tags: settable(&was.tags), ..was.clone() };
                let mut notes = vec![format!(
                    "AWS is asked for `{}`, which only works until somebody else has it; its allocation id \
                     will be another, and what names the old one must be changed",
                    shown(&was.public_ip)
                )];
                if to.tags != was.tags {
                    notes.push("tags that AWS itself had set (`aws:`) can't be had back".to_owned());
                }
                Undo::To { to: Unused(to), notes }
            }
        }
    }

    fn aging(now: &State) -> bool {
        matches!(now, Unused(_))
    }
}

const ADDRESSES: &str = "arn:{partition}:ec2:{region}:{account}:elastic-ip/*";

impl State {
    fn public_ip(&self) -> Option<&str> {
        match self {
            Released => None,
            Unused(idle) => Some(&idle.public_ip),
            InUse(used) => Some(&used.public_ip),
        }
    }
}

impl Idle {
    /// Why it is not to be released although nothing uses it. Each reads well after the address.
    fn hindrances(&self) -> Vec<String> {
        let known = [
            (&self.service_managed, "is managed by the AWS service"),
            (&self.transfer_to, "is being handed over to account"),
            (&self.reverse_dns, "has a reverse DNS record, for"),
            (&self.customer_owned_ipv4_pool, "belongs to a customer-owned pool,"),
            (&self.carrier_ip, "is a carrier's address,"),
        ];
        let mut why: Vec<String> = known
            .into_iter()
            .filter_map(|(found, text)| found.as_ref().map(|found| format!("{text} `{}`", shown(found))))
            .collect();
        if let Some(pool) = self.public_ipv4_pool.as_deref().filter(|&pool| pool != "amazon") {
            why.push(format!("is of a range of your own, `{}`", shown(pool)));
        }
        if self.domain != "vpc" {
            why.push(format!("is for `{}`, not for VPCs", shown(&self.domain)));
        }
        why
    }

    /// What a request must say of an address that is advertised from elsewhere than the Region itself.
    fn border_group(&self, region: &str) -> Option<String> {
        self.network_border_group.clone().filter(|group| group != region)
    }
}

fn after_days(since: Timestamp, days: u16) -> Timestamp {
    since.checked_add(SignedDuration::from_hours(24 * i64::from(days))).unwrap_or(Timestamp::MAX)
}

/// What is known of this allocation, all of it asked at once; `None` if the account has none of that id.
async fn look(aws: &Aws, id: &str) -> Result<Option<State>> {
    let attributes = aws
        .ec2()
        .describe_addresses_attribute()
        .allocation_ids(id)
        .attribute(AddressAttributeName::DomainName)
        .send();
    // Asked for all: what AWS answers for an id that was never offered to anybody is not documented.
    let transfers = aws.ec2().describe_address_transfers().into_paginator().items().send();
    let (address, attributes, transfers) =
        tokio::join!(by_allocation(aws, id), attributes, transfers.collect::<Result<Vec<_>, _>>());
    let Some(address) = address? else { return Ok(None) };
    let public_ip = address.public_ip().unwrap_or_default().to_owned();
    let used = [
        ("network interface", address.network_interface_id()),
        ("instance", address.instance_id()),
        ("association", address.association_id()),
        ("private address", address.private_ip_address()),
    ];
    if let Some((what, by)) = used.into_iter().find_map(|(what, by)| Some((what, filled(by)?))) {
        return Ok(Some(InUse(Used { public_ip, by: format!("{what} {by}") })));
    }
    let reverse_dns = if_offered(attributes)?
        .and_then(|found| found.addresses)
        .unwrap_or_default()
        .into_iter()
        .filter(|found| found.allocation_id() == Some(id))
        .find_map(|found| {
            let update = found.ptr_record_update().and_then(|update| filled(update.value()));
            filled(found.ptr_record()).or(update)
        });
    let transfer_to = if_offered(transfers)?
        .unwrap_or_default()
        .into_iter()
        .filter(|found| found.allocation_id() == Some(id))
        // What is neither called off nor done may yet happen.
        .find(|found| {
            !matches!(
                found.address_transfer_status(),
                Some(AddressTransferStatus::Disabled | AddressTransferStatus::Accepted)
            )
        })
        .map(|found| found.transfer_account_id.unwrap_or_else(|| "unknown".to_owned()));
    Ok(Some(Unused(Idle {
        public_ip,
        domain: address.domain().map_or_else(|| "vpc".to_owned(), |domain| domain.as_str().to_owned()),
        network_border_group: filled(address.network_border_group()),
        public_ipv4_pool: filled(address.public_ipv4_pool()),
        customer_owned_ipv4_pool: filled(address.customer_owned_ipv4_pool())
            .or_else(|| filled(address.customer_owned_ip())),
        carrier_ip: filled(address.carrier_ip()),
        service_managed: address.service_managed().map(|service| service.as_str().to_owned()),
        reverse_dns,
        transfer_to,
        tags: tag_map(address.tags()),
    })))
}

/// `None` where the Region's EC2 does not know the operation: what can't be asked for there can't be there.
/// The id of a resource that has gone since says the same; the address's own answer decides about that.
fn if_offered<T, E>(answer: std::result::Result<T, SdkError<E, HttpResponse>>) -> Result<Option<T>>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match answer.map_err(Error::from) {
        Ok(found) => Ok(Some(found)),
        Err(error)
            if matches!(error.code.as_deref(), Some("InvalidAction" | "InvalidAllocationID.NotFound")) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn release(aws: &Aws, at: &Eip, was: &Idle) -> Result<()> {
    // In a default VPC, AWS takes a used address from its user and releases it without a word:
    // https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ReleaseAddress.html
    match look(aws, &at.id).await? {
        None | Some(Released) => return Ok(()),
        Some(Unused(now)) if now == *was => {}
        Some(InUse(used)) => {
            return Err(Error::new(
                ErrorKind::Drifted,
                format!("`{}` is in use by {} now", shown(&used.public_ip), shown(&used.by)),
            ));
        }
        Some(Unused(_)) => {
            return Err(Error::new(
                ErrorKind::Drifted,
                "the address is not as it was when its release was planned",
            ));
        }
    }
    let request = aws.ec2().release_address().allocation_id(&at.id);
    let request = request.set_network_border_group(was.border_group(&at.region));
    let Err(error) = request.send().await.map_err(Error::from) else { return Ok(()) };
    match error.code.as_deref() {
        Some("InvalidIPAddress.InUse") => Err(Error { kind: ErrorKind::Drifted, ..error }),
        // The SDK's own second attempt after a lost answer is told either.
        Some("InvalidAllocationID.NotFound" | "InvalidAddress.NotFound" | "AuthFailure") => {
            match look(aws, &at.id).await? {
                None => Ok(()),
                Some(_) if error.kind == ErrorKind::NotFound => {
                    Err(Error { kind: ErrorKind::Rejected, ..error })
                }
                Some(_) => Err(error),
            }
        }
        _ => Err(error),
    }
}

async fn recover(aws: &Aws, at: &Eip, was: &Idle) -> Result<()> {
    let ip = &was.public_ip;
    if allocation_of(aws, ip).await?.is_some() {
        return Ok(());
    }
    // https://docs.aws.amazon.com/vpc/latest/userguide/WorkWithEIPs.html#recover-eip
    let made = aws
        .ec2()
        .allocate_address()
        .domain(DomainType::Vpc)
        .address(ip)
        .set_network_border_group(was.border_group(&at.region))
        .set_tag_specifications(tagged(ResourceType::ElasticIp, &was.tags).map(|spec| vec![spec]))
        .send()
        .await
        .map_err(|error| not_recovered(error.into(), ip))?;
    match made.public_ip() {
        Some(given) if given == ip => Ok(()),
        given => Err(Error::new(
            ErrorKind::Rejected,
            format!(
                "`{}` can't be had back: another address was given, `{}` (`{}`), which is left for you to \
                 release",
                shown(ip),
                shown(given.unwrap_or("unnamed")),
                shown(made.allocation_id().unwrap_or_default())
            ),
        )),
    }
}

/// What a failed recovery means. Only a missing permission and what passes are what they seem: an address
/// that is somebody else's is "not found" or an `AuthFailure`.
fn not_recovered(error: Error, ip: &str) -> Error {
    let code = error.code.as_deref().unwrap_or_default();
    if error.disposition() == Disposition::Retry
        || matches!(error.kind, ErrorKind::Blocked | ErrorKind::Invalid)
        || (error.kind == ErrorKind::Denied && code != "AuthFailure")
    {
        return error;
    }
    let why = if code == "AddressLimitExceeded" {
        "the account holds as many addresses as its quota allows"
    } else {
        "AWS no longer has it to give"
    };
    Error { kind: ErrorKind::Rejected, ..error.context(format!("`{}` can't be had back, {why}", shown(ip))) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;
    use crate::remediator::test::ask;

    fn idle() -> Idle {
        Idle {
            public_ip: "192.0.2.1".to_owned(),
            domain: "vpc".to_owned(),
            network_border_group: Some("eu-west-1".to_owned()),
            public_ipv4_pool: Some("amazon".to_owned()),
            customer_owned_ipv4_pool: None,
            carrier_ip: None,
            service_managed: None,
            reverse_dns: None,
            transfer_to: None,
            tags: [("Name".to_owned(), "old".to_owned())].into(),
        }
    }

    fn used() -> State {
        InUse(Used { public_ip: "192.0.2.1".to_owned(), by: "network interface eni-1".to_owned() })
    }

    #[test]
    fn what_is_used_or_gone_is_compliant() {
        let params = Params::default();
        for state in [Released, used()] {
            assert_eq!(ReleaseAddress::plan(&state, &ask("EC2.12", &params)), Plan::Compliant);
            assert!(!ReleaseAddress::aging(&state));
        }
        assert!(ReleaseAddress::aging(&Unused(idle())));
    }

    #[test]
    fn waits_out_the_grace_period() {
        let params = Params::default();
        let at = ask("EC2.12", &params).at;
        let days_ago = |days: i64| at.checked_sub(SignedDuration::from_hours(24 * days)).unwrap();
        let plan = |params: &Params, since| {
            ReleaseAddress::plan(&Unused(idle()), &Ask { since, ..ask("EC2.12", params) })
        };
        let waits = |plan| match plan {
            Plan::Wait { until, .. } => until,
            other => panic!("{other:?}"),
        };
        assert_eq!(waits(plan(&params, None)), after_days(at, 7));
        assert_eq!(waits(plan(&params, Some(days_ago(6)))), after_days(at, 1));
        let Plan::Change(change) = plan(&params, Some(days_ago(7))) else { panic!("no change") };
        assert_eq!((change.to, change.risk), (Released, Risk::Loss));
        assert_eq!(change.notes.len(), 1);
        let at_once = Params { grace_days: 0, ..Params::default() };
        assert!(matches!(plan(&at_once, None), Plan::Change(_)));
        let for_ever = Params { grace_days: u16::MAX, ..Params::default() };
        assert!(waits(plan(&for_ever, None)) > after_days(at, 365));
    }

    #[test]
    fn a_person_need_not_wait_and_is_told() {
        let plan = |params: &Params| {
            ReleaseAddress::plan(&Unused(idle()), &Ask { by_person: true, ..ask("EC2.12", params) })
        };
        let Plan::Change(change) = plan(&Params::default()) else { panic!("no change") };
        assert!(change.notes[0].contains("7 days is skipped"), "{:?}", change.notes);
        let strict = Params { on_request_skips_grace: false, ..Params::default() };
        assert!(matches!(plan(&strict), Plan::Wait { .. }));
    }

    #[test]
    fn refuses_what_is_not_simply_unused() {
        let text = |text: &str| Some(text.to_owned());
        let cases = [
            (Idle { service_managed: text("alb"), ..idle() }, "`alb`"),
            (Idle { transfer_to: text("999999999999"), ..idle() }, "`999999999999`"),
            (Idle { reverse_dns: text("mail.example.com."), ..idle() }, "mail.example.com."),
            (Idle { customer_owned_ipv4_pool: text("ipv4pool-coip-1"), ..idle() }, "ipv4pool-coip-1"),
            (Idle { carrier_ip: text("198.51.100.1"), ..idle() }, "198.51.100.1"),
            (Idle { public_ipv4_pool: text("ipv4pool-ec2-1"), ..idle() }, "ipv4pool-ec2-1"),
            (Idle { domain: "standard".to_owned(), ..idle() }, "`standard`"),
        ];
        let params = Params { grace_days: 0, ..Params::default() };
        for (state, named) in cases {
            let ask = Ask { by_person: true, ..ask("EC2.12", &params) };
            let Plan::Refuse(why) = ReleaseAddress::plan(&Unused(state), &ask) else { panic!("{named}") };
            assert!(why.contains(named) && why.contains("192.0.2.1"), "{why}");
        }
        let emulated = Unused(Idle { public_ipv4_pool: None, network_border_group: None, ..idle() });
        assert!(matches!(ReleaseAddress::plan(&emulated, &ask("EC2.12", &params)), Plan::Change(_)));
    }

    #[test]
    fn undo_asks_for_the_same_address() {
        let mut was = idle();
        was.tags.insert("aws:cloudformation:stack-name".to_owned(), "x".to_owned());
        let change = Change { from: Unused(was), to: Released };
        let Undo::To { to, notes } = ReleaseAddress::undo(&change, &Released) else { panic!("nothing") };
        assert_eq!(to, Unused(idle()));
        assert!(notes[0].contains("192.0.2.1") && notes[0].contains("allocation id"), "{notes:?}");
        assert!(notes[1].contains("aws:"), "{notes:?}");
        assert_eq!(ReleaseAddress::undo(&change, &to), Undo::Nothing);
        assert_eq!(ReleaseAddress::undo(&change, &used()), Undo::Nothing);
        let other = Unused(Idle { public_ip: "192.0.2.2".to_owned(), ..idle() });
        assert!(matches!(ReleaseAddress::undo(&change, &other), Undo::Refuse(_)));
    }

    #[test]
    fn a_failed_recovery_says_what_it_means() {
        let error = |kind, code: &str| {
            let code = Some(code.to_owned());
            not_recovered(Error { code, ..Error::new(kind, "no") }, "192.0.2.1")
        };
        for (kind, code) in [
            (ErrorKind::NotFound, "InvalidAddress.NotFound"),
            (ErrorKind::Denied, "AuthFailure"),
            (ErrorKind::Rejected, "InvalidParameterValue"),
        ] {
            let error = error(kind, code);
            assert_eq!(error.kind, ErrorKind::Rejected, "{code}");
            assert!(error.message.contains("`192.0.2.1` can't be had back"), "{error}");
        }
        assert!(error(ErrorKind::Rejected, "AddressLimitExceeded").message.contains("quota"));
        assert_eq!(error(ErrorKind::Denied, "UnauthorizedOperation").kind, ErrorKind::Denied);
        assert_eq!(error(ErrorKind::Throttled, "RequestLimitExceeded").kind, ErrorKind::Throttled);
    }

    #[test]
    fn the_border_group_is_named_where_it_is_not_the_region() {
        assert_eq!(idle().border_group("eu-west-1"), None);
        let local = Idle { network_border_group: Some("us-west-2-lax-1".to_owned()), ..idle() };
        assert_eq!(local.border_group("us-west-2").as_deref(), Some("us-west-2-lax-1"));
    }

    #[test]
    fn the_stored_form_reads_back() {
        for state in [Released, Unused(idle()), used()] {
            let json = serde_json::to_value(&state).unwrap();
            assert_eq!(serde_json::from_value::<State>(json).unwrap(), state);
        }
        assert_eq!(serde_json::to_value(Released).unwrap(), serde_json::json!({ "state": "released" }));
    }
}
