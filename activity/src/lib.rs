//! When users of Cognito user pools were last seen: the activity table's rows, and the small Lambda function
//! that writes them at every sign-in.
//!
//! This crate is what the two functions share. The recorder stands between a user and a sign-in, so that
//! nothing is linked here but the SDK for `DynamoDB`.

pub mod environment;
pub mod loss;
pub mod memory;
pub mod recorder;
pub mod row;
pub mod trigger;
