//! Documents of Systems Manager, and settings of an account in a Region.

mod any;
pub(crate) mod block_public_sharing;
mod document;
pub(crate) mod run_runbook;
mod template;
pub(crate) mod unshare_document;
