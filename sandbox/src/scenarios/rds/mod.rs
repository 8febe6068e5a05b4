//! RDS instances, clusters and snapshots.
