//! Amazon S3.

pub(crate) mod add_lifecycle_rule;
pub(crate) mod block_account_public_access;
pub(crate) mod block_public_access;
pub(crate) mod bucket;
pub(crate) mod disable_acls;
pub(crate) mod enable_versioning;
pub(crate) mod encrypt_with_kms;
pub(crate) mod log_access;
pub(crate) mod notify_event_bridge;
mod public_access;
pub(crate) mod require_tls;
pub(crate) mod revoke_foreign_control;
