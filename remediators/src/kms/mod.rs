//! AWS Key Management Service.

mod key;
pub(crate) mod rotate_key;
