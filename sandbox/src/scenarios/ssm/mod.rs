//! Documents, and settings of the account.

pub(super) mod block_public_sharing;
pub(super) mod run_runbook;
pub(super) mod unshare_document;

use aws_sdk_ssm::Client;

use super::Place;

fn ssm(at: &Place) -> Client {
    Client::new(&at.config)
}
