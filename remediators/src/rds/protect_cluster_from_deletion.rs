//! Protects a cluster from deletion.

use super::{cluster::Cluster, switch::Switch};
use crate::prelude::*;

pub(crate) struct ProtectClusterFromDeletion;

impl Remediator for ProtectClusterFromDeletion {
    const SPEC: Spec = Spec {
        name: "rds.protect_cluster_from_deletion",
        version: 1,
        controls: &["RDS.7"],
        risk: Risk::Cost,
        what: "Turns on deletion protection: RDS refuses to delete the cluster until somebody turns it \
               off. Its instances can be deleted as before. It takes effect at once, without a restart.",
        who_notices: "Whoever deletes the cluster, by hand, by CloudFormation or by Terraform: the deletion \
               fails until protection is off. A cluster that a pipeline should have removed goes on \
               costing what it costs.",
        way_back: "Turns deletion protection off.",
        // Its state is part of what proves that it exists.
        reads: &[],
        writes: &[Action::new("rds:ModifyDBCluster", On::Resource)],
        undo: &[],
        implied: &[],
    };
    type Resource = Cluster;
    type Params = NoParams;
    type State = Switch;

    async fn observe(aws: &Aws, at: &Cluster) -> Result<Switch> {
        Switch::of_cluster(aws, at, |found| found.deletion_protection).await
    }

    fn plan(now: &Switch, _: &Ask<'_, NoParams>) -> Plan<Switch> {
        now.turn_on(Risk::Cost, Vec::new())
    }

    async fn apply(aws: &Aws, at: &Cluster, change: &Change<Switch>) -> Result<()> {
        let request = aws.rds().modify_db_cluster().db_cluster_identifier(&at.name);
        request.deletion_protection(change.to.on).send().await?;
        Ok(())
    }

    fn undo(change: &Change<Switch>, now: &Switch) -> Undo<Switch> {
        Switch::back(change, now)
    }
}
