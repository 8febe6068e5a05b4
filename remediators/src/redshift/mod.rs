//! Redshift clusters.
