//! What redress can fix, and how.
//!
//! A *remediator* is one fix for one kind of resource: it observes the live resource, plans the smallest
//! change that clears a finding, applies it, and knows the way back. Everything else (routing, guards,
//! leases, records, verification, reports) belongs to the engine in `redress-router`.
//!
//! Start at [`Remediator`], then read one unit, for instance `s3/enable_versioning.rs`. [`REGISTRY`]
//! lists them all. Nothing in this crate reads a clock, the environment or an event.

mod account;
mod action;
mod answer;
mod aws;
pub mod body;
#[cfg(any(feature = "lambda", feature = "s3", feature = "sns", feature = "sqs"))]
mod document;
mod error;
#[cfg(any(feature = "lambda", feature = "sns", feature = "sqs"))]
mod public_statements;
#[cfg(feature = "s3")]
mod raw;
mod registry;
mod remediator;
mod resource;
#[cfg(any(feature = "ec2", feature = "rds"))]
mod shared_snapshot;

#[cfg(feature = "cloudtrail")]
mod cloudtrail;
#[cfg(feature = "cognito")]
pub mod cognito;
#[cfg(feature = "dynamodb")]
mod dynamodb;
#[cfg(feature = "ec2")]
mod ec2;
#[cfg(feature = "ecr")]
mod ecr;
#[cfg(feature = "elasticache")]
mod elasticache;
#[cfg(feature = "guardduty")]
mod guardduty;
#[cfg(feature = "iam")]
mod iam;
#[cfg(feature = "kms")]
mod kms;
#[cfg(feature = "lambda")]
mod lambda;
#[cfg(feature = "logs")]
mod logs;
#[cfg(feature = "macie2")]
mod macie2;
#[cfg(feature = "rds")]
mod rds;
#[cfg(feature = "redshift")]
mod redshift;
#[cfg(feature = "s3")]
mod s3;
#[cfg(feature = "secretsmanager")]
mod secretsmanager;
#[cfg(feature = "sns")]
mod sns;
#[cfg(feature = "sqs")]
mod sqs;
#[cfg(feature = "ssm")]
mod ssm;
mod text;

pub use account::RegionOfAccount;
pub use action::{Action, Implied, Narrowed, On, narrowed_policy, policy};
pub use answer::WholeAnswers;
pub use aws::{Access, Aws, Call, Clock, Connection, Pace, Quota};
pub use error::{Disposition, Error, ErrorKind, Result};
pub use registry::{REGISTRY, find, serving};
pub use remediator::{
    Ask, BoxFuture, Change, Erased, Evidence, FIELDS, LastSeen, NoParams, Plan, Progress, Proposal, RawAsk,
    Remediator, Risk, Spec, Undo, whole,
};
pub use resource::{Facts, Key, KindInfo, Misplaced, Resource, Sighting, Tags};

/// What a unit file needs.
#[allow(unused_imports, reason = "a build may have the features of no service, or of few")]
pub(crate) mod prelude {
    pub(crate) use schemars::JsonSchema;
    pub(crate) use serde::{Deserialize, Serialize};

    pub(crate) use crate::{
        Action, Ask, Aws, Change, Error, ErrorKind, Implied, NoParams, Plan, Remediator, Result, Risk, Spec,
        Undo,
        action::On,
        error::AbsentIf as _,
        text::{excerpt, shown},
    };
}
