//! `ElastiCache` clusters.

pub(crate) mod cluster;
pub(crate) mod upgrade_minor_versions;
