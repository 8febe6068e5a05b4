//! Redshift clusters.

pub(crate) mod cluster;
pub(crate) mod upgrade_versions;
