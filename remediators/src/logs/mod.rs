//! Amazon `CloudWatch` Logs.

pub(crate) mod extend_retention;
mod log_group;
