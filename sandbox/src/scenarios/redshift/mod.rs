//! Redshift clusters.

pub(super) mod extend_snapshot_retention;
pub(super) mod upgrade_versions;
