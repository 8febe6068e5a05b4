//! Amazon S3.

pub(crate) mod bucket;
pub(crate) mod enable_versioning;
pub(crate) mod require_tls;
pub(crate) mod set_lifecycle;
