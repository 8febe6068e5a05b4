//! The two tables as the engine sees them: state (leases, holds, caps, …) that changes, and audit records
//! that are only added.
//!
//! One commit may touch both, and is carried out whole or not at all. That is what keeps promises 2 and 6:
//! a lease is never taken without its intent, an outcome never lost while its lease is released.

#[cfg(feature = "aws")]
pub mod dynamodb;
pub mod file;
pub mod memory;

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use redress_remediators::{BoxFuture, Error, ErrorKind};
use serde_json::Value;

use crate::audit::{Broken, Record, Sealed, Stage, check::Row, verify_run_of};

/// Where a store takes the time from, to tell which items have expired.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A state item as read.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Changes with every write of the item.
    pub etag: String,
    /// What it holds.
    pub body: Value,
}

/// What must hold of a state item for a write to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// It does not exist.
    Absent,
    /// It is as it was read.
    Etag(String),
    /// Nothing.
    Anything,
}

impl Expect {
    /// As it was read, be that absent.
    pub fn unchanged(item: Option<&Item>) -> Self {
        item.map_or(Self::Absent, |item| Self::Etag(item.etag.clone()))
    }
}

/// One write to the state.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Writes an item.
    Put {
        /// Its key.
        key: String,
        /// What it holds from now on.
        body: Value,
        /// Its etag from now on, chosen by the writer so that it need not read its own write.
        etag: String,
        /// What must hold before.
        expect: Expect,
        /// From when on it counts as absent, to the second; `None` never.
        expires: Option<Timestamp>,
    },
    /// Removes an item.
    Delete {
        /// Its key.
        key: String,
        /// What must hold before.
        expect: Expect,
    },
    /// Adds one to a counter, unless it has reached its limit. A counter's body is `{"n": 3}`, its etag the
    /// same number; only this operation writes it.
    Count {
        /// The counter's key.
        key: String,
        /// The highest number it may reach.
        limit: u64,
        /// From when on it counts as absent, to the second: it begins anew at one.
        expires: Timestamp,
    },
}

impl Op {
    /// The item it touches.
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key, .. } | Self::Count { key, .. } => key,
        }
    }
}

/// Writes that happen together or not at all. No key may occur twice; at most 100 writes in all.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// Changes of state.
    pub ops: Vec<Op>,
    /// New audit records, sealed.
    pub records: Vec<(Record, Sealed)>,
}

/// Why a commit was not carried out. Nothing of it was.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// The item is not as expected: somebody else was faster.
    #[error("`{0}` has changed meanwhile")]
    Conflict(String),
    /// The counter stands at its limit.
    #[error("`{0}` has reached its limit")]
    Limit(String),
    /// A record of this run and number exists already.
    #[error("run {run} has a record {seq} already")]
    Exists {
        /// The run.
        run: String,
        /// The record's number.
        seq: u32,
    },
    /// The store could not be written.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// A run as an index lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRef {
    /// The run.
    pub run: String,
    /// When its last record was made.
    pub time: Timestamp,
    /// What that record says.
    pub stage: Stage,
    /// The control that it was about; `None` where that is not known.
    pub control: Option<String>,
    /// The remediator.
    pub remediator: Option<String>,
    /// The run that it undoes.
    pub undoes: Option<String>,
}

/// What runs are looked up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index<'a> {
    /// A resource key.
    Resource(&'a str),
    /// A finding's id.
    Finding(&'a str),
    /// The account of a finding.
    Account(&'a str),
}

/// Where state and records live.
pub trait Store: Send + Sync {
    /// Reads state items, consistently. Those that do not exist, or have expired, are missing from the answer.
    fn read<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<HashMap<String, Item>, Error>>;

    /// Carries out a commit.
    fn commit<'a>(&'a self, commit: &'a Commit) -> BoxFuture<'a, Result<(), CommitError>>;

    /// Whether a record of this size can be stored, with some room to spare: what is going to be recorded is known
    /// before something is changed, but for the last word.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where it can't.
    fn has_room_for(&self, record: &Record, sealed: &Sealed) -> Result<(), Error> {
        let _ = (record, sealed);
        Ok(())
    }

    /// The stored lines of a run, in order of their numbers; empty where there is none.
    fn run<'a>(&'a self, run: &'a str) -> BoxFuture<'a, Result<Vec<String>, Error>>;

    /// Runs that have ended, newest first, at most `limit`.
    fn runs<'a>(&'a self, by: Index<'a>, limit: usize) -> BoxFuture<'a, Result<Vec<RunRef>, Error>>;

    /// All state items whose key starts with `prefix`, in no order. For recovery and the command line; not for a run.
    fn scan<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<(String, Item)>, Error>>;

    /// All that the records' part holds, as it stands there, damaged things included. To verify it whole.
    fn rows(&self) -> BoxFuture<'_, Result<Vec<Row>, Error>> {
        let why = format!("{} can't list all of its records", self.name());
        Box::pin(async { Err(Error::new(ErrorKind::Invalid, why)) })
    }

    /// What to call it in messages, such as a file's path or a table's name.
    fn name(&self) -> String;
}

/// Why it is not known what a run has done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unread {
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] Error),
    /// Its records can't be believed.
    #[error("records of run {run}: {broken}")]
    Broken {
        /// The run.
        run: String,
        /// What does not fit.
        broken: Broken,
    },
}

/// The records of a run, in their order, checked; empty where there is none.
///
/// # Errors
/// Where they can't be read, or not be believed.
pub async fn records(store: &dyn Store, run: &str) -> Result<Vec<Record>, Unread> {
    let lines = store.run(run).await?;
    verify_run_of(run, &lines).map_err(|broken| Unread::Broken { run: run.to_owned(), broken })
}

impl From<&Record> for RunRef {
    fn from(record: &Record) -> Self {
        Self {
            run: record.run.clone(),
            time: record.time,
            stage: record.stage,
            control: Some(record.subject.control.clone()),
            remediator: record.subject.remediator.clone(),
            undoes: record.subject.undoes.clone(),
        }
    }
}
