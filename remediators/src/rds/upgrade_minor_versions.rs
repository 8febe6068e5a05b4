//! Has RDS upgrade an instance to new minor versions by itself.

use super::{instance::Instance, switch::Switch};
use crate::prelude::*;

pub(crate) struct UpgradeMinorVersions;

impl Remediator for UpgradeMinorVersions {
    const SPEC: Spec = Spec {
        name: "rds.upgrade_minor_versions",
        version: 1,
        controls: &["RDS.13"],
        risk: Risk::Downtime,
        what: "Turns on automatic minor version upgrades. Nothing is upgraded by the change itself: \
               from now on RDS does it in the instance's maintenance window, when AWS has named a minor \
               version for it.",
        who_notices: "Users of the database, in a maintenance window to come: an upgrade restarts the \
               instance, for minutes where it has no standby. Whoever keeps to one minor version on \
               purpose finds another.",
        way_back: "Turns automatic upgrades off. An upgrade that has taken place stays: RDS has no way back \
               to an older version.",
        // Its state is part of what proves that it exists.
        reads: &[],
        writes: &[Action::new("rds:ModifyDBInstance", On::Resource)],
        undo: &[],
        implied: &[],
    };
    type Resource = Instance;
    type Params = NoParams;
    type State = Switch;

    async fn observe(aws: &Aws, at: &Instance) -> Result<Switch> {
        Switch::of_instance(aws, at, |found| found.auto_minor_version_upgrade).await
    }

    fn plan(now: &Switch, _: &Ask<'_, NoParams>) -> Plan<Switch> {
        // https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_ModifyDBInstance.html
        // (AutoMinorVersionUpgrade): an error for RDS Custom. Instances of Aurora have it each, those of other
        // clusters have their cluster's.
        if !now.on && now.engine.starts_with("custom-") {
            return Plan::Refuse(
                "RDS Custom upgrades no minor versions by itself: its owner does".to_owned(),
            );
        }
        let left = if now.engine.starts_with("aurora") {
            None
        } else {
            now.left_to_cluster("upgrades minor versions", "RDS.35")
        };
        let notes = vec![
            "a minor version that AWS has named already is installed in the next maintenance window, with a \
             restart"
                .to_owned(),
        ];
        left.unwrap_or_else(|| now.turn_on(Risk::Downtime, notes))
    }

    async fn apply(aws: &Aws, at: &Instance, change: &Change<Switch>) -> Result<()> {
        let request = aws.rds().modify_db_instance().db_instance_identifier(&at.name);
        request.auto_minor_version_upgrade(change.to.on).send().await?;
        Ok(())
    }

    fn undo(change: &Change<Switch>, now: &Switch) -> Undo<Switch> {
        Switch::back(change, now)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "a test fails by panicking")]
    use super::*;
    use crate::{rds::switch::test::switch, remediator::test::ask};

    #[test]
    fn instances_of_aurora_have_it_each_and_others_their_clusters() {
        let member = |engine: &str| Switch {
            cluster: Some("orders".to_owned()),
            engine: engine.to_owned(),
            ..switch(false)
        };
        let plan = |now: &Switch| UpgradeMinorVersions::plan(now, &ask("RDS.13", &NoParams {}));
        assert!(matches!(plan(&switch(false)), Plan::Change(change) if change.risk == Risk::Downtime));
        assert!(matches!(plan(&member("aurora-mysql")), Plan::Change(_)));
        assert!(matches!(plan(&member("postgres")), Plan::Refuse(why) if why.contains("RDS.35")));
        let custom = Switch { engine: "custom-oracle-ee".to_owned(), ..switch(false) };
        assert!(matches!(plan(&custom), Plan::Refuse(why) if why.contains("RDS Custom")));
        assert_eq!(plan(&Switch { on: true, ..custom }), Plan::Compliant);
    }
}
