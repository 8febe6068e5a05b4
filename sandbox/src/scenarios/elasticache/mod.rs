//! `ElastiCache` clusters.

pub(super) mod upgrade_minor_versions;
