//! SNS topics.
