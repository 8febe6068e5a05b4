//! The detector that an account has in a Region, or has not.

use crate::{Aws, Result, action::On};

/// What is read and written of a detector: its id is AWS's to give, and an account has one in a Region.
pub(crate) const DETECTOR: On = On::Arn("arn:{partition}:guardduty:{region}:{account}:detector/*");

/// The id of the account's detector in this Region.
pub(crate) async fn find(aws: &Aws) -> Result<Option<String>> {
    let found = aws.guardduty().list_detectors().send().await?;
    Ok(found.detector_ids.unwrap_or_default().into_iter().next())
}
