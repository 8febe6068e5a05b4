//! Amazon S3.

pub(crate) mod bucket;
pub(crate) mod enable_versioning;
