//! `ElastiCache` clusters.
