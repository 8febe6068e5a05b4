//! KMS keys.
