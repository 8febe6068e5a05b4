//! `CloudTrail` trails.
