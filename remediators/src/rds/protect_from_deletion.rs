//! Protects an instance from deletion.

use super::{instance::Instance, switch::Switch};
use crate::prelude::*;

pub(crate) struct ProtectFromDeletion;

impl Remediator for ProtectFromDeletion {
    const SPEC: Spec = Spec {
        name: "rds.protect_from_deletion",
        version: 1,
        controls: &["RDS.8"],
        risk: Risk::Cost,
        what: "Turns on deletion protection: RDS refuses to delete the instance until somebody turns it \
               off. It takes effect at once, without a restart.",
        who_notices: "Whoever deletes the instance, by hand, by CloudFormation or by Terraform: the deletion \
               fails until protection is off. An instance that a pipeline should have removed goes on \
               costing what it costs.",
        way_back: "Turns deletion protection off.",
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
        Switch::of_instance(aws, at, |found| found.deletion_protection).await
    }

    fn plan(now: &Switch, _: &Ask<'_, NoParams>) -> Plan<Switch> {
        // https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_DeleteInstance.html: instances of a cluster
        // can be deleted whatever their own setting says.
        let left = now.left_to_cluster("is protected from deletion", "RDS.7");
        left.unwrap_or_else(|| now.turn_on(Risk::Cost, Vec::new()))
    }

    async fn apply(aws: &Aws, at: &Instance, change: &Change<Switch>) -> Result<()> {
        let request = aws.rds().modify_db_instance().db_instance_identifier(&at.name);
        request.deletion_protection(change.to.on).send().await?;
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
        let plan = |now: &Switch| ProtectFromDeletion::plan(now, &ask("RDS.8", &NoParams {}));
        assert!(matches!(plan(&member), Plan::Refuse(why) if why.contains("cluster `orders`")));
        assert!(matches!(plan(&switch(false)), Plan::Change(_)));
        assert_eq!(plan(&Switch { on: true, ..member }), Plan::Compliant);
    }
}
