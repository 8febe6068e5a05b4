//! RDS instances, clusters and snapshots.
//!
//! None of the settings that are changed here is one that RDS defers: they take effect at once and without a
//! restart, and [ignore `ApplyImmediately`](https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_ModifyInstance.Settings.html).
//! So it is never sent: it would take with it
//! [every other modification that waits](https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_ModifyInstance.ApplyImmediately.html)
//! for the maintenance window.

pub(crate) mod cluster;
pub(crate) mod copy_cluster_tags_to_snapshots;
pub(crate) mod copy_tags_to_snapshots;
pub(crate) mod enable_monitoring;
pub(crate) mod instance;
pub(crate) mod make_private;
pub(crate) mod protect_cluster_from_deletion;
pub(crate) mod protect_from_deletion;
pub(crate) mod publish_postgresql_logs;
pub(crate) mod snapshot;
pub(crate) mod switch;
pub(crate) mod unshare_cluster_snapshot;
pub(crate) mod unshare_snapshot;
pub(crate) mod upgrade_minor_versions;

use aws_sdk_rds::types::Tag;

use crate::{Error, ErrorKind, Result, Tags, text::shown};

fn tags(list: Option<Vec<Tag>>) -> Tags {
    let text = Option::unwrap_or_default;
    list.unwrap_or_default().into_iter().map(|tag| (text(tag.key), text(tag.value))).collect()
}

/// Whether something in this status can be changed: `None` if so, else the status that has to be ended first.
///
/// Only what is available can be changed, save for work on the storage in the background:
/// <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/accessing-monitoring.html>,
/// <https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/accessing-monitoring.html>.
///
/// # Errors
/// [`ErrorKind::Transient`] for a status that passes by itself, [`ErrorKind::NotFound`] for one that ends in
/// deletion.
fn unfit(status: Option<&str>) -> Result<Option<String>> {
    match status {
        Some("available" | "storage-optimization" | "storage-config-upgrade" | "storage-initialization") => {
            Ok(None)
        }
        Some(
            passing @ ("backing-up"
            | "backtracking"
            | "configuring-activity-stream"
            | "configuring-associated-roles"
            | "configuring-enhanced-monitoring"
            | "configuring-iam-database-auth"
            | "configuring-log-exports"
            | "converting-to-vpc"
            | "creating"
            | "failing-over"
            | "maintenance"
            | "migrating"
            | "modifying"
            | "moving-to-vpc"
            | "preparing-data-migration"
            | "promoting"
            | "rebooting"
            | "renaming"
            | "resetting-master-credentials"
            | "scaling-capacity"
            | "scaling-compute"
            | "scaling-storage"
            | "starting"
            | "stopping"
            | "update-iam-db-auth"
            | "upgrading"),
        ) => {
            let why = format!("it is `{passing}`, and can't be changed before that is over");
            Err(Error::new(ErrorKind::Transient, why))
        }
        Some(gone @ ("deleting" | "delete-precheck")) => {
            Err(Error::new(ErrorKind::NotFound, format!("it is `{gone}`")))
        }
        Some(other) => Ok(Some(other.to_owned())),
        None => Err(Error::unsaid("what status it is in")),
    }
}

/// Why something in this status is not changed.
fn refusal(unfit: &str) -> String {
    format!("it is `{}`: RDS changes only what is available", shown(unfit))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_status_passes_or_has_to_be_ended() {
        for ready in ["available", "storage-optimization"] {
            assert_eq!(unfit(Some(ready)).unwrap(), None);
        }
        for passing in ["modifying", "backing-up", "rebooting", "creating", "stopping", "upgrading"] {
            assert_eq!(unfit(Some(passing)).unwrap_err().kind, ErrorKind::Transient, "{passing}");
        }
        assert_eq!(unfit(Some("deleting")).unwrap_err().kind, ErrorKind::NotFound);
        for stays in ["stopped", "failed", "incompatible-network", "a status of tomorrow"] {
            assert_eq!(unfit(Some(stays)).unwrap().as_deref(), Some(stays));
        }
        assert_eq!(unfit(None).unwrap_err().kind, ErrorKind::Rejected);
    }
}
