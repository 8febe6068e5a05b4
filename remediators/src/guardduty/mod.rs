//! Amazon `GuardDuty`.

mod detector;
pub(crate) mod turn_on_detector;
