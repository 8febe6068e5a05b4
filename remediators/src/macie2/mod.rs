//! Amazon Macie.

pub(crate) mod turn_on_session;
