//! When to fix what.
//!
//! A finding comes in as an event ([`event`]), is routed by a rule ([`rules`], [`pattern`]), goes its way
//! through the [`engine`] past the [`guard`], leaves records ([`audit`], [`store`]) and is told to whoever
//! waits ([`report`]). [`service`] is the Lambda function around all that.

pub mod activity;
pub mod audit;
pub mod aws;
pub mod budget;
pub mod config;
pub mod control;
pub mod diff;
pub mod doctor;
pub mod engine;
pub mod event;
pub mod exemption;
pub mod expiry;
pub mod finding;
pub mod guard;
pub mod hub;
pub mod inactive;
pub mod losses;
pub mod pattern;
pub mod permissions;
pub mod report;
pub mod rules;
pub mod rules_tests;
pub mod service;
pub mod store;
pub mod telemetry;
mod yaml;
