//! AWS in a box: the embedded emulator and redress's own Security Hub, for `redress demo` and for tests.

pub mod account;
pub mod emulator;
pub mod findings;
pub mod scenarios;
pub mod securityhub;
pub mod serve;
pub mod tables;
