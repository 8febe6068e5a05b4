//! Amazon Cognito user pools.

pub(crate) mod disable_user;
pub(crate) mod user;
