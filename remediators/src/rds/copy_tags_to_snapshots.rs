//! Copies an instance's tags to its snapshots.

use super::{instance::Instance, switch::Switch};
use crate::prelude::*;

pub(crate) struct CopyTagsToSnapshots;

impl Remediator for CopyTagsToSnapshots {
    const SPEC: Spec = Spec {
        name: "rds.copy_tags_to_snapshots",
        version: 1,
        controls: &["RDS.17"],
        risk: Risk::None,
        what: "Has RDS copy the tags of the instance to every snapshot that is made of it from now on. \
               Snapshots that exist stay as they are. It takes effect at once, without a restart.",
        who_notices: "Whoever reads the tags of new snapshots: cost reports, clean-up jobs, and policies that \
               allow or deny by tag.",
        way_back: "Turns the copying off. Snapshots made meanwhile keep their tags.",
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
        Switch::of_instance(aws, at, |found| found.copy_tags_to_snapshot).await
    }

    fn plan(now: &Switch, _: &Ask<'_, NoParams>) -> Plan<Switch> {
        // https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_ModifyDBInstance.html (CopyTagsToSnapshot)
        let left = now.left_to_cluster("copies tags to snapshots", "RDS.16");
        left.unwrap_or_else(|| now.turn_on(Risk::None, Vec::new()))
    }

    async fn apply(aws: &Aws, at: &Instance, change: &Change<Switch>) -> Result<()> {
        let request = aws.rds().modify_db_instance().db_instance_identifier(&at.name);
        request.copy_tags_to_snapshot(change.to.on).send().await?;
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
    fn an_instance_of_a_cluster_is_left_to_it() {
        let member = Switch { cluster: Some("orders".to_owned()), ..switch(false) };
        let plan = |now: &Switch| CopyTagsToSnapshots::plan(now, &ask("RDS.17", &NoParams {}));
        assert!(matches!(plan(&member), Plan::Refuse(why) if why.contains("cluster `orders`")));
        assert!(matches!(plan(&switch(false)), Plan::Change(_)));
        assert_eq!(plan(&Switch { on: true, ..member }), Plan::Compliant);
    }
}
