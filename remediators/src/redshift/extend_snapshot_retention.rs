//! Has a Redshift cluster keep its automated snapshots for longer.

use super::cluster::{Cluster, refusal, unfit};
use crate::{prelude::*, remediator::Proposal};

pub(crate) struct ExtendSnapshotRetention;

/// For how many days Redshift keeps automated snapshots at most:
/// <https://docs.aws.amazon.com/redshift/latest/APIReference/API_ModifyCluster.html>.
const LONGEST: i32 = 35;

/// What the control asks for where nothing else is said:
/// <https://docs.aws.amazon.com/securityhub/latest/userguide/redshift-controls.html#redshift-3>.
const DEFAULT: i32 = 7;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Params {
    /// For how many days automated snapshots are kept, where that is longer than the control asks for: at most 35.
    #[schemars(range(min = 1, max = 35))]
    days: Option<i32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Retention {
    /// 0 where no automated snapshot is made.
    days: i32,
    /// The status that has to be ended before anything can be changed, such as `paused`. Read, never altered.
    #[serde(default)]
    unfit: Option<String>,
}

impl Remediator for ExtendSnapshotRetention {
    const SPEC: Spec = Spec {
        name: "redshift.extend_snapshot_retention",
        version: 1,
        controls: &["Redshift.3"],
        risk: Risk::Cost,
        what: "Has the cluster keep its automated snapshots for as long as the control asks for (7 days, unless its \
               parameter or the rule says longer), which turns them on where they are off. A longer time is never \
               made shorter, and manual snapshots are left alone.",
        who_notices: "The bill, once the snapshots take more than the storage that comes with the cluster. Queries go \
                      on as before.",
        way_back: "Sets the number of days that was set before. Redshift then deletes the automated snapshots that are \
                   older than that, all of them where it was 0.",
        reads: &[],
        writes: &[Action::new("redshift:ModifyCluster", On::Resource)],
        undo: &[],
        implied: &[],
    };
    type Resource = Cluster;
    type Params = Params;
    type State = Retention;

    async fn observe(aws: &Aws, at: &Cluster) -> Result<Retention> {
        let found = at.describe(aws).await?;
        Ok(Retention {
            days: found
                .automated_snapshot_retention_period
                .ok_or_else(|| Error::unsaid("for how long snapshots are kept"))?,
            unfit: unfit(found.cluster_status())?,
        })
    }

    fn plan(now: &Retention, ask: &Ask<'_, Params>) -> Plan<Retention> {
        let days = match ask.parameter::<u16>("minRetentionPeriod") {
            Ok(asked) => asked.map_or(DEFAULT, i32::from).max(ask.params.days.unwrap_or_default()),
            Err(why) => return Plan::Refuse(why),
        };
        if now.days >= days {
            return Plan::Compliant;
        }
        if days > LONGEST {
            return Plan::Refuse(format!("{days} days are asked for, and Redshift takes {LONGEST} at most"));
        }
        if let Some(status) = &now.unfit {
            return Plan::Refuse(refusal(status));
        }
        let notes = vec![format!("snapshots are kept for {days} days instead of {}", now.days)];
        Plan::Change(Proposal { to: Retention { days, unfit: None }, risk: Risk::Cost, notes })
    }

    async fn apply(aws: &Aws, at: &Cluster, change: &Change<Retention>) -> Result<()> {
        let request = aws.redshift().modify_cluster().cluster_identifier(&at.name);
        request.automated_snapshot_retention_period(change.to.days).send().await?;
        Ok(())
    }

    fn undo(change: &Change<Retention>, now: &Retention) -> Undo<Retention> {
        let days = change.from.days;
        match &now.unfit {
            _ if now.days == days => Undo::Nothing,
            _ if now.days != change.to.days => {
                Undo::Refuse("the retention has been changed since".to_owned())
            }
            Some(status) => Undo::Refuse(refusal(status)),
            None => Undo::To {
                to: Retention { days, unfit: None },
                notes: vec![format!("automated snapshots that are older than {days} days are deleted then")],
            },
        }
    }

    fn wants_control_params(_: &str, _: &Params) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::remediator::test::ask;

    fn state(days: i32) -> Retention {
        Retention { days, unfit: None }
    }

    fn plan(now: &Retention, days: Option<i32>, minimum: Option<&str>) -> Plan<Retention> {
        let params = Params { days };
        let known: BTreeMap<_, _> = minimum
            .map(|days| ("MinRetentionPeriod".to_owned(), vec![days.to_owned()]))
            .into_iter()
            .collect();
        ExtendSnapshotRetention::plan(
            now,
            &Ask { control_params: Some(&known), ..ask("Redshift.3", &params) },
        )
    }

    #[test]
    fn the_longer_of_control_and_rule_counts_and_nothing_is_lowered() {
        for (now, rule, control, expected) in [
            (0, None, None, Some(7)),
            (1, None, None, Some(7)),
            (7, None, None, None),
            (35, None, None, None),
            (1, Some(3), None, Some(7)),
            (7, Some(14), None, Some(14)),
            (7, Some(14), Some("30"), Some(30)),
        ] {
            let planned = plan(&state(now), rule, control);
            match expected {
                Some(days) => assert!(matches!(planned, Plan::Change(change) if change.to == state(days))),
                None => assert_eq!(planned, Plan::Compliant),
            }
        }
    }

    #[test]
    fn what_can_not_be_set_is_refused() {
        let refused = |plan, why: &str| matches!(plan, Plan::Refuse(said) if said.contains(why));
        let paused = Retention { unfit: Some("paused".to_owned()), ..state(1) };
        assert!(refused(plan(&paused, None, None), "`paused`"));
        assert!(refused(plan(&state(1), Some(36), None), "35 at most"));
        assert!(refused(plan(&state(35), None, Some("soon")), "`soon`"));
        assert_eq!(plan(&Retention { days: 7, ..paused }, None, None), Plan::Compliant);
    }

    #[test]
    fn goes_back_unless_somebody_has_changed_it() {
        let change = Change { from: state(1), to: state(7) };
        let undo = |now| ExtendSnapshotRetention::undo(&change, &now);
        assert!(matches!(undo(state(7)), Undo::To { to, .. } if to == state(1)));
        assert_eq!(undo(state(1)), Undo::Nothing);
        assert!(matches!(undo(state(14)), Undo::Refuse(_)));
        let paused = Retention { unfit: Some("paused".to_owned()), ..state(7) };
        assert!(matches!(undo(paused), Undo::Refuse(why) if why.contains("`paused`")));
    }
}
