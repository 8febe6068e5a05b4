//! A setting of an instance or a cluster that is on or off.

use aws_sdk_rds::types::{DbCluster, DbInstance};

use super::{cluster::Cluster, instance::Instance, refusal, unfit};
use crate::{Change, Error, Plan, Result, Risk, Undo, prelude::Aws, remediator::Proposal};

/// The setting, and what decides whether it can be changed.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Switch {
    pub(crate) on: bool,
    /// The cluster that the instance belongs to. Read, never altered.
    #[serde(default)]
    pub(crate) cluster: Option<String>,
    /// Such as `postgres` or `aurora-mysql`. Read, never altered.
    #[serde(default)]
    pub(crate) engine: String,
    /// The status that has to be ended before anything can be changed, such as `stopped`. Read, never altered.
    #[serde(default)]
    pub(crate) unfit: Option<String>,
}

impl Switch {
    /// What `setting` reads of an instance.
    pub(crate) async fn of_instance(
        aws: &Aws,
        at: &Instance,
        setting: impl Fn(&DbInstance) -> Option<bool>,
    ) -> Result<Self> {
        let found = at.describe(aws).await?;
        Ok(Self {
            on: setting(&found).ok_or_else(|| Error::unsaid("whether the setting is on"))?,
            unfit: unfit(found.db_instance_status())?,
            engine: found.engine.unwrap_or_default(),
            cluster: found.db_cluster_identifier.filter(|name| !name.is_empty()),
        })
    }

    /// What `setting` reads of a cluster.
    pub(crate) async fn of_cluster(
        aws: &Aws,
        at: &Cluster,
        setting: impl Fn(&DbCluster) -> Option<bool>,
    ) -> Result<Self> {
        let found = at.describe(aws).await?;
        Ok(Self {
            on: setting(&found).ok_or_else(|| Error::unsaid("whether the setting is on"))?,
            unfit: unfit(found.status())?,
            engine: found.engine.unwrap_or_default(),
            cluster: None,
        })
    }

    /// Turns it on, where it is off and nothing stands against it.
    pub(crate) fn turn_on(&self, risk: Risk, notes: Vec<String>) -> Plan<Self> {
        if self.on {
            return Plan::Compliant;
        }
        if let Some(status) = &self.unfit {
            return Plan::Refuse(refusal(status));
        }
        Plan::Change(Proposal { to: Self { on: true, ..self.clone() }, risk, notes })
    }

    /// Why an instance is left to its cluster; `None` where it has none, or where the setting is off to be on.
    pub(crate) fn left_to_cluster(&self, what: &str, control: &str) -> Option<Plan<Self>> {
        let cluster = self.cluster.as_ref().filter(|_| !self.on)?;
        Some(Plan::Refuse(format!(
            "the instance belongs to cluster `{}`, which is what {what} ({control}): the instance's own setting \
             has no effect",
            cluster.escape_debug()
        )))
    }

    /// Puts the setting back. What has changed beside it does not hinder.
    pub(crate) fn back(change: &Change<Self>, now: &Self) -> Undo<Self> {
        if now.on == change.from.on {
            return Undo::Nothing;
        }
        match &now.unfit {
            Some(status) => Undo::Refuse(refusal(status)),
            None => Undo::To { to: Self { on: change.from.on, ..now.clone() }, notes: Vec::new() },
        }
    }
}

#[cfg(test)]
pub(crate) mod test {
    #![allow(clippy::panic, reason = "a test fails by panicking")]
    use super::*;

    /// The setting of an instance of its own.
    pub(crate) fn switch(on: bool) -> Switch {
        Switch { on, cluster: None, engine: "postgres".to_owned(), unfit: None }
    }

    #[test]
    fn what_is_off_is_turned_on_where_it_can_be() {
        assert_eq!(switch(true).turn_on(Risk::None, Vec::new()), Plan::Compliant);
        let Plan::Change(change) = switch(false).turn_on(Risk::Cost, Vec::new()) else { panic!("no change") };
        assert_eq!((change.to, change.risk), (switch(true), Risk::Cost));
        let stopped = Switch { unfit: Some("stopped".to_owned()), ..switch(false) };
        let Plan::Refuse(why) = stopped.turn_on(Risk::None, Vec::new()) else { panic!("not refused") };
        assert!(why.contains("`stopped`"), "{why}");
        let stopped = Switch { on: true, ..stopped };
        assert_eq!(stopped.turn_on(Risk::None, Vec::new()), Plan::Compliant);
    }

    #[test]
    fn an_upgrade_in_between_does_not_hinder_the_way_back() {
        let change = Change { from: switch(false), to: switch(true) };
        assert_eq!(Switch::back(&change, &switch(false)), Undo::Nothing);
        let renewed = Switch { engine: "aurora-postgresql".to_owned(), ..switch(true) };
        let back = Switch { on: false, ..renewed.clone() };
        assert_eq!(Switch::back(&change, &renewed), Undo::To { to: back, notes: Vec::new() });
        let stopped = Switch { unfit: Some("stopped".to_owned()), ..switch(true) };
        assert!(matches!(Switch::back(&change, &stopped), Undo::Refuse(_)));
    }
}
