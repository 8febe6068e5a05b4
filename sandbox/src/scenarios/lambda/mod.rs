//! Functions.

pub(super) mod remove_public_statements;
