//! AWS Secrets Manager.

pub(crate) mod delete_unused_secret;
mod secret;
