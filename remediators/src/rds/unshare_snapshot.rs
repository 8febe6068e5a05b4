//! Takes an instance's snapshot back from everybody.

use super::snapshot::{EVERYBODY, RESTORE, Snapshot};
use crate::{
    prelude::*,
    shared_snapshot::{self, Sharing},
};

pub(crate) struct UnshareSnapshot;

impl Remediator for UnshareSnapshot {
    const SPEC: Spec = Spec {
        name: "rds.unshare_snapshot",
        version: 1,
        controls: &["RDS.1"],
        risk: Risk::Access,
        what: "Takes an instance's snapshot back from everybody: other AWS accounts can no longer see, copy or restore it. \
               Accounts that it is shared with by their numbers keep their access.",
        who_notices: "Whoever copies or restores the snapshot from an account that it is not shared with by \
                      its number. What they have copied or restored already stays theirs.",
        way_back: "Shares it with everybody again.",
        reads: &[Action::new("rds:DescribeDBSnapshotAttributes", On::Resource)],
        writes: &[Action::new("rds:ModifyDBSnapshotAttribute", On::Resource)],
        undo: &[],
        implied: &[],
    };
    type Resource = Snapshot;
    type Params = NoParams;
    type State = Sharing;

    async fn observe(aws: &Aws, at: &Snapshot) -> Result<Sharing> {
        let request = aws.rds().describe_db_snapshot_attributes().db_snapshot_identifier(&at.name);
        let found = request.send().await?.db_snapshot_attributes_result;
        let attributes = found
            .and_then(|found| found.db_snapshot_attributes)
            .ok_or_else(|| Error::unsaid("who may restore the snapshot"))?;
        let mut restore = attributes.iter().filter(|attribute| attribute.attribute_name() == Some(RESTORE));
        Ok(Sharing {
            public: restore
                .any(|attribute| attribute.attribute_values().iter().any(|value| value == EVERYBODY)),
        })
    }

    fn plan(now: &Sharing, _: &Ask<'_, NoParams>) -> Plan<Sharing> {
        shared_snapshot::plan(now)
    }

    async fn apply(aws: &Aws, at: &Snapshot, change: &Change<Sharing>) -> Result<()> {
        let request =
            aws.rds().modify_db_snapshot_attribute().db_snapshot_identifier(&at.name).attribute_name(RESTORE);
        let request = if change.to.public {
            request.values_to_add(EVERYBODY)
        } else {
            request.values_to_remove(EVERYBODY)
        };
        request.send().await?;
        Ok(())
    }

    fn undo(change: &Change<Sharing>, now: &Sharing) -> Undo<Sharing> {
        shared_snapshot::undo(change, now)
    }
}
