//! `DynamoDB` tables.
