//! Makes a trail deliver to `CloudWatch` Logs as well.

use super::trail::{Trail, of_organization};
use crate::{Implied, prelude::*, remediator::Proposal, resource::Arn};

pub(crate) struct DeliverToLogs;

/// What a rule may set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Params {
    /// The log group that events are delivered to, by its name or ARN: in the trail's account and home Region.
    /// Needed: without it nothing is turned on.
    log_group: Option<String>,
    /// The ARN of the role of the trail's account by which `CloudTrail` writes to the group. Needed as well.
    role: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Delivery {
    /// The log group's ARN; `None` where events go to no group.
    group: Option<String>,
    /// The ARN of the role that `CloudTrail` takes for it.
    role: Option<String>,
    /// The trail's ARN. Read, never altered.
    #[serde(default)]
    trail: String,
    /// Whether it is an organization's trail. Read, never altered.
    #[serde(default)]
    organization: bool,
}

/// The ARN of a group as `CloudTrail` takes it, which ends in `:*`:
/// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/send-cloudtrail-events-to-cloudwatch-logs.html>.
fn group(named: &str, home: &Arn<'_>) -> Result<String, String> {
    let name = match Arn::parse(named) {
        None => named,
        Some(arn) => {
            if (arn.partition, arn.service, arn.region, arn.account)
                != (home.partition, "logs", home.region, home.account)
            {
                return Err(format!(
                    "`log_group` is `{}`, and a trail delivers to groups of its own account and Region alone",
                    excerpt(named)
                ));
            }
            let name = arn.resource.strip_prefix("log-group:").unwrap_or_default();
            name.strip_suffix(":*").unwrap_or(name)
        }
    };
    // https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_CreateLogGroup.html
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_-/.#".contains(&byte);
    if name.is_empty() || name.len() > 512 || !name.bytes().all(legal) {
        return Err(format!(
            "`log_group` is `{}`, which is neither name nor ARN of a log group",
            excerpt(named)
        ));
    }
    let Arn { partition, region, account, .. } = home;
    Ok(format!("arn:{partition}:logs:{region}:{account}:log-group:{name}:*"))
}

fn role(named: &str, home: &Arn<'_>) -> Result<String, String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-/".contains(&byte);
    let is_role = Arn::parse(named).is_some_and(|arn| {
        (arn.partition, arn.service, arn.region, arn.account) == (home.partition, "iam", "", home.account)
            && arn
                .resource
                .strip_prefix("role/")
                .is_some_and(|name| !name.is_empty() && name.bytes().all(legal))
    });
    if is_role {
        Ok(named.to_owned())
    } else {
        Err(format!("`role` is `{}`, which is no ARN of a role of the trail's account", excerpt(named)))
    }
}

impl Remediator for DeliverToLogs {
    const SPEC: Spec = Spec {
        name: "cloudtrail.deliver_to_logs",
        version: 1,
        controls: &["CloudTrail.5"],
        risk: Risk::Cost,
        what: "Makes the trail deliver its events to the log group that the rule names as well, by the role that the \
               rule names. Both must be there already, and the role must let CloudTrail create streams and put \
               events into that group. Nothing else of the trail changes.",
        who_notices: "The bill: CloudWatch Logs charges for what is delivered, and for as long as the group keeps it. \
                      Metric filters and subscriptions of the group begin to see the events. The trail of an \
                      organization is refused.",
        way_back: "Ends the delivery; group and role stay, and what was delivered with them. Refused where somebody \
                   has changed group or role since.",
        reads: &[Action::new("cloudtrail:GetTrail", On::Resource)],
        writes: &[Action::new("cloudtrail:UpdateTrail", On::Resource)],
        undo: &[],
        implied: &[Implied {
            action: Action::new(
                "iam:PassRole",
                On::Passed("arn:{partition}:iam::{account}:role/*", "cloudtrail.amazonaws.com"),
            ),
            why: "The role is handed to CloudTrail, see https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html",
        }],
    };
    type Resource = Trail;
    type Params = Params;
    type State = Delivery;

    async fn observe(aws: &Aws, at: &Trail) -> Result<Delivery> {
        let trail = at.find(aws).await?;
        // After an end of the delivery both may be empty.
        let filled = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        Ok(Delivery {
            group: filled(trail.cloud_watch_logs_log_group_arn()),
            role: filled(trail.cloud_watch_logs_role_arn()),
            trail: at.arn.clone(),
            organization: trail.is_organization_trail().unwrap_or(false),
        })
    }

    fn plan(now: &Delivery, ask: &Ask<'_, Params>) -> Plan<Delivery> {
        if now.group.is_some() {
            return Plan::Compliant;
        }
        if let Some(why) = of_organization(now.organization) {
            return Plan::Refuse(why);
        }
        let (Some(named), Some(by)) = (&ask.params.log_group, &ask.params.role) else {
            return Plan::Refuse(
                "the rule must say where events go, and by which role: `log_group` and `role`".to_owned(),
            );
        };
        let Some(home) = Arn::parse(&now.trail) else {
            return Plan::Refuse("the trail's own ARN is not known".to_owned());
        };
        match (group(named, &home), role(by, &home)) {
            (Ok(group), Ok(role)) => Plan::Change(Proposal {
                notes: vec![format!("CloudWatch Logs charges for what is delivered to `{group}`")],
                to: Delivery { group: Some(group), role: Some(role), ..now.clone() },
                risk: Risk::Cost,
            }),
            (Err(why), _) | (_, Err(why)) => Plan::Refuse(why),
        }
    }

    async fn apply(aws: &Aws, at: &Trail, change: &Change<Delivery>) -> Result<()> {
        // An empty text ends the delivery:
        // https://docs.aws.amazon.com/awscloudtrail/latest/userguide/stop-cloudtrail-from-sending-events-to-cloudwatch-logs.html
        let Delivery { group, role, .. } = &change.to;
        aws.cloudtrail()
            .update_trail()
            .name(&at.arn)
            .cloud_watch_logs_log_group_arn(group.as_deref().unwrap_or_default())
            .cloud_watch_logs_role_arn(role.as_deref().unwrap_or_default())
            .send()
            .await?;
        Ok(())
    }

    fn undo(change: &Change<Delivery>, now: &Delivery) -> Undo<Delivery> {
        let part = |state: &Delivery| (state.group.clone(), state.role.clone());
        if part(now) == part(&change.from) {
            return Undo::Nothing;
        }
        if part(now) != part(&change.to) {
            return Undo::Refuse("somebody has changed the delivery to CloudWatch Logs since".to_owned());
        }
        let (group, role) = part(&change.from);
        Undo::To {
            to: Delivery { group, role, ..now.clone() },
            notes: vec!["what was delivered meanwhile stays in the log group".to_owned()],
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "a test fails by panicking")]
    use super::*;
    use crate::remediator::test::ask;

    const GROUP: &str = "arn:aws:logs:eu-west-1:123456789012:log-group:trail/all:*";
    const ROLE: &str = "arn:aws:iam::123456789012:role/service/CloudTrailToLogs";

    fn state(delivery: Option<(&str, &str)>) -> Delivery {
        Delivery {
            group: delivery.map(|(group, _)| group.to_owned()),
            role: delivery.map(|(_, role)| role.to_owned()),
            trail: "arn:aws:cloudtrail:eu-west-1:123456789012:trail/all".to_owned(),
            organization: false,
        }
    }

    fn plan(now: &Delivery, group: Option<&str>, role: Option<&str>) -> Plan<Delivery> {
        let params = Params { log_group: group.map(str::to_owned), role: role.map(str::to_owned) };
        DeliverToLogs::plan(now, &ask("CloudTrail.5", &params))
    }

    #[test]
    fn events_go_where_the_rule_says() {
        let (off, on) = (state(None), state(Some((GROUP, ROLE))));
        assert_eq!(plan(&on, None, None), Plan::Compliant);
        for named in ["trail/all", GROUP, GROUP.trim_end_matches(":*")] {
            let Plan::Change(change) = plan(&off, Some(named), Some(ROLE)) else { panic!("{named}") };
            assert_eq!(change.to, on);
        }
        let change = Change { from: off.clone(), to: on.clone() };
        assert!(matches!(DeliverToLogs::undo(&change, &on), Undo::To { to, .. } if to == off));
        assert_eq!(DeliverToLogs::undo(&change, &off), Undo::Nothing);
        let other = state(Some(("arn:aws:logs:eu-west-1:123456789012:log-group:b:*", ROLE)));
        assert!(matches!(DeliverToLogs::undo(&change, &other), Undo::Refuse(_)));
    }

    #[test]
    fn what_the_rule_does_not_say_or_says_wrong_is_refused() {
        let off = state(None);
        for (group, role, why) in [
            (None, None, "`log_group` and `role`"),
            (Some("all"), None, "`log_group` and `role`"),
            (None, Some(ROLE), "`log_group` and `role`"),
            (Some("arn:aws:logs:us-east-1:123456789012:log-group:all"), Some(ROLE), "own account and Region"),
            (Some("arn:aws:logs:eu-west-1:999999999999:log-group:all"), Some(ROLE), "own account and Region"),
            (Some("arn:aws:logs:eu-west-1:123456789012:all"), Some(ROLE), "neither name nor ARN"),
            (Some("a b"), Some(ROLE), "neither name nor ARN"),
            (Some("all"), Some("CloudTrailToLogs"), "`role`"),
            (Some("all"), Some("arn:aws:iam::999999999999:role/a"), "`role`"),
            (Some("all"), Some("arn:aws:iam::123456789012:user/a"), "`role`"),
            (Some("all"), Some("arn:aws:iam::123456789012:role/*"), "`role`"),
        ] {
            let Plan::Refuse(said) = plan(&off, group, role) else { panic!("{group:?} {role:?}") };
            assert!(said.contains(why), "{said}");
        }
        let theirs = Delivery { organization: true, ..off };
        assert!(
            matches!(plan(&theirs, Some("all"), Some(ROLE)), Plan::Refuse(why) if why.contains("organization"))
        );
    }
}
