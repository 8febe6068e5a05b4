//! `GuardDuty`.
