//! IAM users and policies, and the settings of an account.

pub(crate) mod deactivate_old_keys;
pub(crate) mod deactivate_unused_credentials;
mod keys;
pub(crate) mod strengthen_password_policy;
mod user;
