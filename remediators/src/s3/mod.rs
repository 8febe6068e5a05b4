//! Amazon S3.

pub(crate) mod add_lifecycle_rule;
pub(crate) mod block_account_public_access;
pub(crate) mod block_public_access;
pub(crate) mod bucket;
pub(crate) mod enable_versioning;
mod public_access;
pub(crate) mod require_tls;
