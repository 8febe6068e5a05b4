//! Turns on Enhanced Monitoring for an instance.

use super::{instance::Instance, refusal, unfit};
use crate::{prelude::*, remediator::Proposal};

/// <https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_ModifyDBInstance.html>
const INTERVALS: [u32; 6] = [1, 5, 10, 15, 30, 60];

pub(crate) struct EnableMonitoring;

/// A rule's parameters.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Params {
    /// The role that RDS writes the metrics with: its ARN, or its name with its path where each account has
    /// its own, such as `rds-monitoring-role`. Without it nothing is changed.
    role: Option<String>,
    /// Seconds between two metrics: 1, 5, 10, 15, 30 or 60. A value that the control asks for in Security Hub
    /// comes first.
    interval: u32,
}

impl Default for Params {
    fn default() -> Self {
        Self { role: None, interval: 60 }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Monitoring {
    /// Seconds; 0 where it is off.
    interval: u32,
    /// The role's ARN; `None` where it is off.
    role: Option<String>,
    /// What the ARNs of the account's roles begin with. Read, never altered.
    #[serde(default)]
    roles: String,
    /// Why RDS would not change it, where that is known. Read, never altered.
    #[serde(default)]
    against: Option<String>,
}

impl Remediator for EnableMonitoring {
    const SPEC: Spec = Spec {
        name: "rds.enable_monitoring",
        version: 1,
        controls: &["RDS.6"],
        risk: Risk::Cost,
        what: "Turns on Enhanced Monitoring: an agent on the instance's host sends metrics of the operating \
               system to the log group `RDSOSMetrics` of CloudWatch Logs. It takes effect at once, without a \
               restart. Where it is on with another interval than the control asks for, the interval alone is \
               changed.",
        who_notices: "The bill: CloudWatch Logs charges for what is ingested and stored, more for a shorter \
                      interval.",
        way_back: "Puts the interval and the role back as they were, which turns monitoring off where it was \
                   off. Metrics written meanwhile stay in their log group.",
        reads: &[],
        writes: &[Action::new("rds:ModifyDBInstance", On::Resource)],
        undo: &[],
        implied: &[Implied {
            action: Action::new(
                "iam:PassRole",
                On::Passed("arn:{partition}:iam::{account}:role/*", "monitoring.rds.amazonaws.com"),
            ),
            why: "RDS is given the role to write metrics with: \
                  https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_Monitoring.OS.Enabling.html",
        }],
    };
    type Resource = Instance;
    type Params = Params;
    type State = Monitoring;

    async fn observe(aws: &Aws, at: &Instance) -> Result<Monitoring> {
        let found = at.describe(aws).await?;
        // It is left out where it was never on.
        let interval = u32::try_from(found.monitoring_interval.unwrap_or(0)).unwrap_or(0);
        let engine = found.engine().unwrap_or_default();
        let member = found.db_cluster_identifier().filter(|name| !name.is_empty());
        // https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_ModifyDBInstance.html
        // (MonitoringInterval), and the same of API_ModifyDBCluster.html.
        let against = match (unfit(found.db_instance_status())?, member) {
            (Some(status), _) => Some(refusal(&status)),
            (None, _) if engine.starts_with("custom-") => {
                Some("RDS Custom has no Enhanced Monitoring of RDS's".to_owned())
            }
            (None, Some(cluster)) if !engine.starts_with("aurora") => Some(format!(
                "the instance belongs to cluster `{}`, which has the setting for all of its instances",
                cluster.escape_debug()
            )),
            (None, _) => None,
        };
        Ok(Monitoring {
            interval,
            role: found.monitoring_role_arn.filter(|role| interval > 0 && !role.is_empty()),
            roles: aws.key().fill("arn:{partition}:iam::{account}:role/"),
            against,
        })
    }

    fn plan(now: &Monitoring, ask: &Ask<'_, Params>) -> Plan<Monitoring> {
        let asked = match ask.parameter("monitoringInterval") {
            Ok(Some(unknown)) if !INTERVALS.contains(&unknown) => {
                return Plan::Refuse(format!(
                    "the control's parameter `monitoringInterval` is `{unknown}`, which RDS does not know"
                ));
            }
            Ok(asked) => asked,
            Err(why) => return Plan::Refuse(why),
        };
        if now.interval > 0 && asked.is_none_or(|asked| asked == now.interval) {
            return Plan::Compliant;
        }
        if let Some(against) = &now.against {
            return Plan::Refuse(against.clone());
        }
        let interval = asked.unwrap_or(ask.params.interval);
        if !INTERVALS.contains(&interval) {
            return Plan::Refuse(format!(
                "the rule's `interval` is {interval}; RDS knows 1, 5, 10, 15, 30 and 60"
            ));
        }
        let role = match (&now.role, &ask.params.role) {
            (Some(role), _) => role.clone(),
            (None, Some(role)) if role.starts_with("arn:") && role.starts_with(&now.roles) => role.clone(),
            (None, Some(role)) if role.starts_with("arn:") => {
                return Plan::Refuse("the rule's `role` is one of another account's".to_owned());
            }
            (None, Some(name)) => format!("{}{}", now.roles, name.trim_start_matches('/')),
            (None, None) => {
                return Plan::Refuse(
                    "RDS needs a role to write the metrics with; the rule's `role` may name one".to_owned(),
                );
            }
        };
        let to = Monitoring { interval, role: Some(role), ..now.clone() };
        let notes = vec!["CloudWatch Logs charges for the metrics that are written".to_owned()];
        Plan::Change(Proposal { to, risk: Risk::Cost, notes })
    }

    async fn apply(aws: &Aws, at: &Instance, change: &Change<Monitoring>) -> Result<()> {
        let interval = i32::try_from(change.to.interval).unwrap_or(0);
        // A role goes with an interval only: "off" is said by the interval alone.
        let role = change.to.role.clone().filter(|_| interval > 0);
        let request = aws.rds().modify_db_instance().db_instance_identifier(&at.name);
        request.monitoring_interval(interval).set_monitoring_role_arn(role).send().await?;
        Ok(())
    }

    fn undo(change: &Change<Monitoring>, now: &Monitoring) -> Undo<Monitoring> {
        let part = |state: &Monitoring| (state.interval, state.role.clone());
        if part(now) == part(&change.from) {
            return Undo::Nothing;
        }
        if part(now) != part(&change.to) {
            return Undo::Refuse("its monitoring has been changed since".to_owned());
        }
        match &now.against {
            Some(against) => Undo::Refuse(against.clone()),
            None => Undo::To {
                to: Monitoring {
                    interval: change.from.interval,
                    role: change.from.role.clone(),
                    ..now.clone()
                },
                notes: vec!["metrics written meanwhile stay in their log group".to_owned()],
            },
        }
    }

    fn wants_control_params(_: &str, _: &Params) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "a test fails by panicking")]
    use std::collections::BTreeMap;

    use super::*;
    use crate::remediator::test::ask;

    const ROLES: &str = "arn:aws:iam::123456789012:role/";

    fn monitoring(interval: u32, role: Option<&str>) -> Monitoring {
        let role = role.map(|name| format!("{ROLES}{name}"));
        Monitoring { interval, role, roles: ROLES.to_owned(), against: None }
    }

    fn plan(now: &Monitoring, role: Option<&str>, interval: u32, asked: Option<&[&str]>) -> Plan<Monitoring> {
        let params = Params { role: role.map(str::to_owned), interval };
        let asked = asked.map(|values| {
            let values = values.iter().map(|value| (*value).to_owned()).collect();
            BTreeMap::from([("monitoringInterval".to_owned(), values)])
        });
        EnableMonitoring::plan(now, &Ask { control_params: asked.as_ref(), ..ask("RDS.6", &params) })
    }

    #[test]
    fn a_role_is_a_name_in_each_account_or_an_arn() {
        let off = monitoring(0, None);
        for role in ["metrics", "arn:aws:iam::123456789012:role/metrics"] {
            let Plan::Change(change) = plan(&off, Some(role), 30, None) else { panic!("{role}") };
            assert_eq!(change.to, monitoring(30, Some("metrics")));
        }
        for role in [None, Some("arn:aws:iam::999999999999:role/metrics")] {
            assert!(matches!(plan(&off, role, 60, None), Plan::Refuse(_)), "{role:?}");
        }
        assert!(matches!(plan(&off, Some("metrics"), 7, None), Plan::Refuse(why) if why.contains('7')));
    }

    #[test]
    fn the_control_may_ask_for_an_interval() {
        let on = monitoring(60, Some("own"));
        assert_eq!(plan(&on, None, 60, None), Plan::Compliant);
        assert_eq!(plan(&on, None, 60, Some(&["60"])), Plan::Compliant);
        let Plan::Change(change) = plan(&on, Some("metrics"), 60, Some(&["5"])) else { panic!("no change") };
        assert_eq!(change.to, monitoring(5, Some("own")));
        for wrong in [&["7"][..], &["often"], &["5", "60"]] {
            assert!(matches!(plan(&on, None, 60, Some(wrong)), Plan::Refuse(_)), "{wrong:?}");
        }
    }

    #[test]
    fn what_stands_against_it_does_so_only_where_something_is_to_be_changed() {
        let stopped =
            |interval| Monitoring { against: Some("stopped".to_owned()), ..monitoring(interval, None) };
        assert_eq!(plan(&stopped(60), None, 60, None), Plan::Compliant);
        assert!(
            matches!(plan(&stopped(0), Some("metrics"), 60, None), Plan::Refuse(why) if why == "stopped")
        );
    }

    #[test]
    fn undo_refuses_what_somebody_has_changed() {
        let change = Change { from: monitoring(0, None), to: monitoring(60, Some("metrics")) };
        let undo = |now: &Monitoring| EnableMonitoring::undo(&change, now);
        assert!(matches!(undo(&change.to), Undo::To { to, .. } if to == change.from));
        assert_eq!(undo(&change.from), Undo::Nothing);
        assert!(matches!(undo(&monitoring(5, Some("metrics"))), Undo::Refuse(_)));
    }
}
