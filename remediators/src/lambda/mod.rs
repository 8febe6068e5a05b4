//! Lambda functions.

mod function;
pub(crate) mod remove_public_statements;
