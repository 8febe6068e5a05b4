//! IAM users and policies, and the settings of an account.
