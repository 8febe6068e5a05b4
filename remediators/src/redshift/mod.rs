//! Redshift clusters.

pub(crate) mod cluster;
pub(crate) mod extend_snapshot_retention;
pub(crate) mod upgrade_versions;
