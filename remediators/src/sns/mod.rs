//! SNS topics.

pub(crate) mod encrypt_with_kms;
pub(crate) mod remove_public_statements;
mod topic;
