//! State and records in memory: for the demonstration, for tests, and for a function without tables.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use redress_remediators::{BoxFuture, Error};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Clock, Commit, CommitError, Expect, Index, Item, Op, RunRef, Store};
use crate::audit::{
    Record,
    check::{Content, Row},
};

/// A store that is gone with its process. Made by `default`, it has no clock, and nothing in it expires.
#[derive(Default)]
pub struct Memory {
    tables: Mutex<Tables>,
    clock: Option<Clock>,
}

/// State and records, and how a commit changes them. Shared with the file store.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    pub(super) state: State,
    pub(super) records: Vec<(Record, String)>,
}

/// The state items, by their keys.
pub(super) type State = BTreeMap<String, Stored>;

/// A state item, and until when it counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stored {
    etag: String,
    body: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
}

impl Stored {
    /// To the second, as DynamoDB has it.
    pub(super) fn is_alive(&self, now: Timestamp) -> bool {
        self.expires.is_none_or(|expires| expires.as_second() > now.as_second())
    }

    fn item(&self) -> Item {
        Item { etag: self.etag.clone(), body: self.body.clone() }
    }
}

/// What a commit makes of the state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Changes {
    put: State,
    delete: Vec<String>,
}

impl Changes {
    pub(super) fn apply(self, state: &mut State) {
        for key in &self.delete {
            state.remove(key);
        }
        state.extend(self.put);
    }
}

impl Tables {
    pub(super) fn read(&self, keys: &[String], now: Timestamp) -> HashMap<String, Item> {
        keys.iter().filter_map(|key| Some((key.clone(), self.item(key, now)?.item()))).collect()
    }

    fn item(&self, key: &str, now: Timestamp) -> Option<&Stored> {
        self.state.get(key).filter(|stored| stored.is_alive(now))
    }

    /// Checks every condition, and says what the commit makes of the state.
    pub(super) fn changes(&self, commit: &Commit, now: Timestamp) -> Result<Changes, CommitError> {
        let mut changes = Changes::default();
        for op in &commit.ops {
            let key = op.key();
            let stored = self.item(key, now);
            match op {
                Op::Put { expect, .. } | Op::Delete { expect, .. } => {
                    let holds = match expect {
                        Expect::Absent => stored.is_none(),
                        Expect::Etag(etag) => stored.is_some_and(|stored| stored.etag == *etag),
                        Expect::Anything => true,
                    };
                    if !holds {
                        return Err(CommitError::Conflict(key.to_owned()));
                    }
                }
                Op::Count { .. } => {}
            }
            match op {
                Op::Put { key, body, etag, expires, .. } => {
                    let stored = Stored { etag: etag.clone(), body: body.clone(), expires: *expires };
                    changes.put.insert(key.clone(), stored);
                }
                Op::Delete { key, .. } => changes.delete.push(key.clone()),
                Op::Count { key, limit, expires } => {
                    let n = stored.map_or(0, |stored| count(&stored.body));
                    if n >= *limit {
                        return Err(CommitError::Limit(key.clone()));
                    }
                    let n = n + 1;
                    let body = json!({ "n": n });
                    let stored = Stored { etag: n.to_string(), body, expires: Some(*expires) };
                    changes.put.insert(key.clone(), stored);
                }
            }
        }
        for (record, _) in &commit.records {
            if self.records.iter().any(|(known, _)| known.run == record.run && known.seq == record.seq) {
                return Err(CommitError::Exists { run: record.run.clone(), seq: record.seq });
            }
        }
        Ok(changes)
    }

    /// Adds the records of a commit that was accepted.
    pub(super) fn add_records(&mut self, commit: &Commit) {
        let lines = commit.records.iter().map(|(record, sealed)| (record.clone(), sealed.line.clone()));
        self.records.extend(lines);
    }

    pub(super) fn run(&self, run: &str) -> Vec<String> {
        let mut lines: Vec<_> = self.records.iter().filter(|(record, _)| record.run == run).collect();
        lines.sort_by_key(|(record, _)| record.seq);
        lines.into_iter().map(|(_, line)| line.clone()).collect()
    }

    pub(super) fn runs(&self, by: Index<'_>, limit: usize) -> Vec<RunRef> {
        let mut runs: Vec<RunRef> = self
            .records
            .iter()
            .map(|(record, _)| record)
            .filter(|record| record.last)
            .filter(|record| match by {
                Index::Resource(key) => {
                    record.subject.resource.as_ref().is_some_and(|known| known.to_string() == key)
                }
                Index::Finding(id) => record.subject.finding.as_ref().is_some_and(|known| known.id == id),
                Index::Account(account) => record.subject.account == account,
            })
            .map(RunRef::from)
            .collect();
        runs.sort_by(|a, b| (b.time, &b.run).cmp(&(a.time, &a.run)));
        runs.truncate(limit);
        runs
    }

    pub(super) fn scan(&self, prefix: &str, now: Timestamp) -> Vec<(String, Item)> {
        self.state
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter(|(_, stored)| stored.is_alive(now))
            .map(|(key, stored)| (key.clone(), stored.item()))
            .collect()
    }
}

fn count(body: &Value) -> u64 {
    body.get("n").and_then(Value::as_u64).unwrap_or(0)
}

impl Memory {
    /// A store whose items expire by this clock.
    pub fn with_clock(clock: Clock) -> Self {
        Self { tables: Mutex::default(), clock: Some(clock) }
    }

    /// Every record, in the order of their making.
    pub fn records(&self) -> Vec<Record> {
        self.tables().records.iter().map(|(record, _)| record.clone()).collect()
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        self.clock.as_ref().map_or(Timestamp::MIN, |clock| clock())
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("tables", &self.tables).finish_non_exhaustive()
    }
}

impl Store for Memory {
    fn read<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<HashMap<String, Item>, Error>> {
        Box::pin(async move { Ok(self.tables().read(keys, self.now())) })
    }

    fn commit<'a>(&'a self, commit: &'a Commit) -> BoxFuture<'a, Result<(), CommitError>> {
        Box::pin(async move {
            let mut tables = self.tables();
            let changes = tables.changes(commit, self.now())?;
            changes.apply(&mut tables.state);
            tables.add_records(commit);
            Ok(())
        })
    }

    fn run<'a>(&'a self, run: &'a str) -> BoxFuture<'a, Result<Vec<String>, Error>> {
        Box::pin(async move { Ok(self.tables().run(run)) })
    }

    fn runs<'a>(&'a self, by: Index<'a>, limit: usize) -> BoxFuture<'a, Result<Vec<RunRef>, Error>> {
        Box::pin(async move { Ok(self.tables().runs(by, limit)) })
    }

    fn scan<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<(String, Item)>, Error>> {
        Box::pin(async move { Ok(self.tables().scan(prefix, self.now())) })
    }

    fn rows(&self) -> BoxFuture<'_, Result<Vec<Row>, Error>> {
        let row = |(number, (_, line)): (usize, &(Record, String))| Row {
            place: format!("record {number} in memory"),
            content: Content::Record { line: line.clone(), key: None },
        };
        Box::pin(async move { Ok((1..).zip(&self.tables().records).map(row).collect()) })
    }

    fn name(&self) -> String {
        "memory".to_owned()
    }
}
