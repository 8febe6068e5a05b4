//! SQS queues.

pub(crate) mod encrypt_at_rest;
mod queue;
pub(crate) mod remove_public_statements;
