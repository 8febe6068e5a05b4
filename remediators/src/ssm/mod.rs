//! Documents of Systems Manager, and settings of an account in a Region.

pub(crate) mod block_public_sharing;
mod document;
pub(crate) mod unshare_document;
