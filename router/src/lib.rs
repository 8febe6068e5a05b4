//! When to fix what.
//!
//! A finding comes in as an event ([`event`]), is routed by a rule ([`rules`], [`pattern`]), goes its way
//! through the [`engine`] past the [`guard`], leaves records ([`audit`], [`store`]) and is told to whoever
//! waits ([`report`]). [`service`] is the Lambda function around all that.

#[cfg(feature = "aws")]
pub mod activity;
pub mod audit;
#[cfg(feature = "aws")]
pub mod aws;
pub mod budget;
#[cfg(feature = "aws")]
pub mod config;
pub mod control;
pub mod diff;
#[cfg(feature = "aws")]
pub mod doctor;
pub mod engine;
pub mod event;
pub mod exemption;
#[cfg(feature = "aws")]
pub mod expiry;
pub mod finding;
pub mod guard;
#[cfg(feature = "aws")]
pub mod hub;
#[cfg(feature = "aws")]
pub mod inactive;
#[cfg(feature = "aws")]
pub mod losses;
pub mod pattern;
pub mod permissions;
pub mod report;
pub mod rules;
pub mod rules_tests;
#[cfg(feature = "aws")]
pub mod service;
pub mod store;
pub mod telemetry;
pub mod undo;
mod yaml;
