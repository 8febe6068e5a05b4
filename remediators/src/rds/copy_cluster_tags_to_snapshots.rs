//! Copies a cluster's tags to its snapshots.

use super::{cluster::Cluster, switch::Switch};
use crate::prelude::*;

pub(crate) struct CopyClusterTagsToSnapshots;

impl Remediator for CopyClusterTagsToSnapshots {
    const SPEC: Spec = Spec {
        name: "rds.copy_cluster_tags_to_snapshots",
        version: 1,
        controls: &["RDS.16"],
        risk: Risk::None,
        what: "Has RDS copy the tags of the cluster to every snapshot that is made of it from now on. \
               Snapshots that exist stay as they are. It takes effect at once, without a restart.",
        who_notices: "Whoever reads the tags of new snapshots: cost reports, clean-up jobs, and policies that \
               allow or deny by tag.",
        way_back: "Turns the copying off. Snapshots made meanwhile keep their tags.",
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
        Switch::of_cluster(aws, at, |found| found.copy_tags_to_snapshot).await
    }

    fn plan(now: &Switch, _: &Ask<'_, NoParams>) -> Plan<Switch> {
        now.turn_on(Risk::None, Vec::new())
    }

    async fn apply(aws: &Aws, at: &Cluster, change: &Change<Switch>) -> Result<()> {
        let request = aws.rds().modify_db_cluster().db_cluster_identifier(&at.name);
        request.copy_tags_to_snapshot(change.to.on).send().await?;
        Ok(())
    }

    fn undo(change: &Change<Switch>, now: &Switch) -> Undo<Switch> {
        Switch::back(change, now)
    }
}
