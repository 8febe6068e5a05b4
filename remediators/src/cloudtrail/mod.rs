//! `CloudTrail` trails.

pub(crate) mod deliver_to_logs;
mod trail;
pub(crate) mod validate_log_files;
