//! Log groups of `CloudWatch` Logs.
