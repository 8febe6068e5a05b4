//! What redress can fix, and how.
//!
//! A *remediator* is one fix for one kind of resource: it observes the live resource, plans the smallest
//! change that clears a finding, applies it, and knows the way back. Everything else (routing, guards,
//! leases, records, verification, reports) belongs to the engine in `redress-router`.
//!
//! Start at [`Remediator`], then read one unit, for instance `s3/enable_versioning.rs`. [`REGISTRY`]
//! lists them all. Nothing in this crate reads a clock, the environment or an event.

mod aws;
pub mod body;
#[cfg(feature = "s3")]
mod document;
mod error;
mod iam;
#[cfg(feature = "s3")]
mod raw;
mod registry;
mod remediator;
mod resource;

#[cfg(feature = "s3")]
mod account;
#[cfg(feature = "cognito")]
pub mod cognito;
#[cfg(feature = "ec2")]
mod ec2;
#[cfg(feature = "s3")]
mod s3;

pub use aws::{Access, Aws, Call, Clock, Connection, Pace, Quota};
pub use error::{Disposition, Error, ErrorKind, Result};
pub use iam::{Action, Implied, On, policy};
pub use registry::{REGISTRY, find, serving};
pub use remediator::{
    Ask, BoxFuture, Change, Erased, Evidence, LastSeen, NoParams, Plan, Proposal, RawAsk, Remediator, Risk,
    Spec, Undo, whole,
};
pub use resource::{Facts, Key, KindInfo, Misplaced, Resource, Sighting, Tags};

/// What a unit file needs.
#[cfg(any(feature = "s3", feature = "ec2", feature = "cognito"))]
pub(crate) mod prelude {
    pub(crate) use schemars::JsonSchema;
    pub(crate) use serde::{Deserialize, Serialize};

    pub(crate) use crate::{
        Action, Ask, Aws, Change, Error, ErrorKind, NoParams, Plan, Remediator, Result, Risk, Spec, Undo,
        error::AbsentIf as _, iam::On,
    };
}
