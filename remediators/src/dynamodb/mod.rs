//! Amazon DynamoDB.

pub(crate) mod enable_point_in_time_recovery;
pub(crate) mod protect_from_deletion;
mod table;
