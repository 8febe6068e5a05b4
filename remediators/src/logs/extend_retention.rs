//! Makes a log group keep its events for longer.

use aws_sdk_cloudwatchlogs::types::LogGroupClass;
use serde::Deserializer;

use super::log_group::LogGroup;
use crate::{prelude::*, remediator::Proposal};

pub(crate) struct ExtendRetention;

/// The numbers of days that
/// [`PutRetentionPolicy`](https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html)
/// takes.
const ALLOWED: [i32; 22] =
    [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653];

/// What the control asks for where nothing else is said:
/// <https://docs.aws.amazon.com/securityhub/latest/userguide/cloudwatch-controls.html#cloudwatch-16>.
const DEFAULT: i32 = 365;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Params {
    /// For how many days events are kept, where that is longer than the control asks for: 1, 3, 5, 7, 14, 30, 60, 90,
    /// 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653.
    #[serde(deserialize_with = "allowed")]
    #[schemars(extend("enum" = days()))]
    days: Option<i32>,
}

fn allowed<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i32>, D::Error> {
    let days = Option::<i32>::deserialize(from)?;
    match days {
        Some(days) if !ALLOWED.contains(&days) => {
            Err(serde::de::Error::custom(format!("`days` is {days}, which is none of {ALLOWED:?}")))
        }
        days => Ok(days),
    }
}

/// In the schema, nothing is also a value.
fn days() -> Vec<Option<i32>> {
    ALLOWED.into_iter().map(Some).chain([None]).collect()
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Retention {
    /// `None` where events never expire.
    days: Option<i32>,
    /// Whether it belongs to the class `DELIVERY`. Read, never altered.
    #[serde(default)]
    delivery: bool,
}

impl Remediator for ExtendRetention {
    const SPEC: Spec = Spec {
        name: "logs.extend_retention",
        version: 1,
        controls: &["CloudWatch.16"],
        risk: Risk::Cost,
        what: "Makes a log group keep its events for as long as the control asks for (365 days, unless its \
               parameter or the rule says longer). A longer time is never made shorter, and a group that never \
               expires events complies.",
        who_notices: "The bill, which grows by the events that are no longer deleted. Nothing else changes.",
        way_back: "Sets the number of days that was set before. CloudWatch Logs then deletes the events that are \
                   older than that.",
        reads: &[Action::new("logs:DescribeLogGroups", On::Region)],
        writes: &[Action::new("logs:PutRetentionPolicy", On::Resource)],
        undo: &[],
        implied: &[],
    };
    type Resource = LogGroup;
    type Params = Params;
    type State = Retention;

    async fn observe(aws: &Aws, at: &LogGroup) -> Result<Retention> {
        let mut token = None;
        loop {
            let request = aws.logs().describe_log_groups().log_group_name_prefix(&at.name);
            let page = request.set_next_token(token).send().await?;
            for group in page.log_groups.unwrap_or_default() {
                if group.log_group_name.as_ref() == Some(&at.name) {
                    let delivery = group.log_group_class == Some(LogGroupClass::Delivery);
                    return Ok(Retention { days: group.retention_in_days, delivery });
                }
            }
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Err(Error::new(ErrorKind::NotFound, format!("no log group `{}`", at.name)));
            }
        }
    }

    fn plan(now: &Retention, ask: &Ask<'_, Params>) -> Plan<Retention> {
        // AWS's default is enough where nothing is known: nothing is deleted by it.
        let asked = match ask.parameter::<u16>("minRetentionTime") {
            Ok(days) => days.map_or(DEFAULT, i32::from),
            Err(why) => return Plan::Refuse(why),
        };
        let Some(days) = now.days else { return Plan::Compliant };
        let least = asked.max(ask.params.days.unwrap_or_default());
        if days >= least {
            return Plan::Compliant;
        }
        if now.delivery {
            return Plan::Refuse(
                "the log group is of the class `DELIVERY`, whose retention is two days and can't be changed"
                    .to_owned(),
            );
        }
        let Some(to) = ALLOWED.into_iter().find(|allowed| *allowed >= least) else {
            return Plan::Refuse(format!(
                "the control asks for {least} days, and CloudWatch Logs takes {} at most: let the group never \
                 expire its events",
                ALLOWED[ALLOWED.len() - 1]
            ));
        };
        let notes = vec![format!("events are kept, and billed, for {to} days instead of {days}")];
        Plan::Change(Proposal { to: Retention { days: Some(to), ..now.clone() }, risk: Risk::Cost, notes })
    }

    async fn apply(aws: &Aws, at: &LogGroup, change: &Change<Retention>) -> Result<()> {
        let Some(days) = change.to.days else {
            return Err(Error::new(ErrorKind::Invalid, "no number of days to set"));
        };
        let request = aws.logs().put_retention_policy().log_group_name(&at.name);
        request.retention_in_days(days).send().await?;
        Ok(())
    }

    fn undo(change: &Change<Retention>, now: &Retention) -> Undo<Retention> {
        if now.days == change.from.days {
            return Undo::Nothing;
        }
        match change.from.days {
            Some(days) if now.days == change.to.days => Undo::To {
                to: Retention { days: Some(days), ..now.clone() },
                notes: vec![format!("events that are older than {days} days are deleted then")],
            },
            _ => Undo::Refuse("the retention has been changed since".to_owned()),
        }
    }

    fn wants_control_params(_: &str, _: &Params) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::{find, remediator::test::ask};

    fn state(days: Option<i32>) -> Retention {
        Retention { days, delivery: false }
    }

    fn plan(now: &Retention, days: Option<i32>, minimum: Option<&str>) -> Plan<Retention> {
        let params = Params { days };
        let known: BTreeMap<_, _> =
            minimum.map(|days| ("minRetentionTime".to_owned(), vec![days.to_owned()])).into_iter().collect();
        ExtendRetention::plan(now, &Ask { control_params: Some(&known), ..ask("CloudWatch.16", &params) })
    }

    #[test]
    fn the_longer_of_control_and_rule_counts_and_nothing_is_lowered() {
        for (now, rule, control, expected) in [
            (Some(7), None, None, Some(365)),
            (Some(364), None, None, Some(365)),
            (Some(365), None, None, None),
            (Some(3653), None, None, None),
            (None, None, None, None),
            (None, Some(3653), Some("3653"), None),
            (Some(30), Some(90), None, Some(365)),
            (Some(30), Some(400), None, Some(400)),
            (Some(30), Some(400), Some("731"), Some(731)),
            (Some(365), Some(400), None, Some(400)),
            (Some(30), None, Some("366"), Some(400)),
            (Some(30), None, Some("1"), None),
        ] {
            let planned = plan(&state(now), rule, control);
            let to = match &planned {
                Plan::Change(change) => change.to.days,
                _ => None,
            };
            assert_eq!(to, expected, "{now:?} {rule:?} {control:?}: {planned:?}");
            assert_eq!(planned == Plan::Compliant, expected.is_none());
        }
    }

    #[test]
    fn what_can_not_be_set_is_refused() {
        let refused = |plan, why: &str| matches!(plan, Plan::Refuse(said) if said.contains(why));
        assert!(refused(plan(&state(Some(7)), None, Some("4000")), "3653 at most"));
        assert!(refused(plan(&state(Some(7)), None, Some("many")), "`many`"));
        assert!(refused(plan(&state(None), None, Some("-1")), "`-1`"));
        assert!(refused(plan(&Retention { delivery: true, ..state(Some(2)) }, None, None), "DELIVERY"));
    }

    #[test]
    fn a_rule_names_days_that_are_allowed() {
        let remediator = find("logs.extend_retention").unwrap();
        assert!(remediator.check_params(&json!({ "days": 400 })).is_ok());
        let error = remediator.check_params(&json!({ "days": 366 })).unwrap_err();
        assert!(error.message.contains("`days` is 366"), "{error}");
    }

    #[test]
    fn goes_back_unless_somebody_has_changed_it() {
        let change = Change { from: state(Some(7)), to: state(Some(365)) };
        let undo = |days| ExtendRetention::undo(&change, &state(days));
        assert!(matches!(undo(Some(365)), Undo::To { to, .. } if to == state(Some(7))));
        assert_eq!(undo(Some(7)), Undo::Nothing);
        assert!(matches!(undo(None), Undo::Refuse(_)));
        assert!(matches!(undo(Some(400)), Undo::Refuse(_)));
    }
}
