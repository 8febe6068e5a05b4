//! Redshift clusters.

pub(super) mod upgrade_versions;
