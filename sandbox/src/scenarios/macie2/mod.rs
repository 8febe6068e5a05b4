//! Macie.
