//! State and records in memory: for the demonstration, for tests, and for a function without tables.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use redress_remediators::{BoxFuture, Error};
use serde_json::{Value, json};

use super::{Commit, CommitError, Expect, Index, Item, Op, RunRef, Store};
use crate::audit::Record;

/// A store that is gone with its process.
#[derive(Debug, Default)]
pub struct Memory {
    tables: Mutex<Tables>,
}

/// State and records, and how a commit changes them. Shared with the file store.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    pub(super) state: BTreeMap<String, Item>,
    pub(super) records: Vec<(Record, String)>,
}

impl Tables {
    pub(super) fn read(&self, keys: &[String]) -> HashMap<String, Item> {
        keys.iter().filter_map(|key| Some((key.clone(), self.state.get(key)?.clone()))).collect()
    }

    /// Checks every condition, then writes everything.
    pub(super) fn commit(&mut self, commit: &Commit) -> Result<(), CommitError> {
        for op in &commit.ops {
            let key = op.key();
            let now = self.state.get(key);
            match op {
                Op::Put { expect, .. } | Op::Delete { expect, .. } => {
                    let holds = match expect {
                        Expect::Absent => now.is_none(),
                        Expect::Etag(etag) => now.is_some_and(|item| item.etag == *etag),
                        Expect::Anything => true,
                    };
                    if !holds {
                        return Err(CommitError::Conflict(key.to_owned()));
                    }
                }
                Op::Count { limit, .. } => {
                    if now.map_or(0, |item| count(&item.body)) >= *limit {
                        return Err(CommitError::Limit(key.to_owned()));
                    }
                }
            }
        }
        for (record, _) in &commit.records {
            if self.records.iter().any(|(known, _)| known.run == record.run && known.seq == record.seq) {
                return Err(CommitError::Exists { run: record.run.clone(), seq: record.seq });
            }
        }
        self.force(commit);
        Ok(())
    }

    /// Writes everything, without conditions: for a commit that is known to have been accepted.
    pub(super) fn force(&mut self, commit: &Commit) {
        for op in &commit.ops {
            match op {
                Op::Put { key, body, etag, .. } => {
                    self.state.insert(key.clone(), Item { etag: etag.clone(), body: body.clone() });
                }
                Op::Delete { key, .. } => {
                    self.state.remove(key);
                }
                Op::Count { key, .. } => {
                    let n = self.state.get(key).map_or(0, |item| count(&item.body)) + 1;
                    self.state.insert(key.clone(), Item { etag: n.to_string(), body: json!({ "n": n }) });
                }
            }
        }
        for (record, sealed) in &commit.records {
            if !self.records.iter().any(|(known, _)| known.run == record.run && known.seq == record.seq) {
                self.records.push((record.clone(), sealed.line.clone()));
            }
        }
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

    pub(super) fn scan(&self, prefix: &str) -> Vec<(String, Item)> {
        self.state
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, item)| (key.clone(), item.clone()))
            .collect()
    }
}

fn count(body: &Value) -> u64 {
    body.get("n").and_then(Value::as_u64).unwrap_or(0)
}

impl Memory {
    /// Every record, in the order of their making.
    pub fn records(&self) -> Vec<Record> {
        self.tables().records.iter().map(|(record, _)| record.clone()).collect()
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Memory {
    fn read<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<HashMap<String, Item>, Error>> {
        Box::pin(async move { Ok(self.tables().read(keys)) })
    }

    fn commit<'a>(&'a self, commit: &'a Commit) -> BoxFuture<'a, Result<(), CommitError>> {
        Box::pin(async move { self.tables().commit(commit) })
    }

    fn run<'a>(&'a self, run: &'a str) -> BoxFuture<'a, Result<Vec<String>, Error>> {
        Box::pin(async move { Ok(self.tables().run(run)) })
    }

    fn runs<'a>(&'a self, by: Index<'a>, limit: usize) -> BoxFuture<'a, Result<Vec<RunRef>, Error>> {
        Box::pin(async move { Ok(self.tables().runs(by, limit)) })
    }

    fn scan<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<(String, Item)>, Error>> {
        Box::pin(async move { Ok(self.tables().scan(prefix)) })
    }

    fn name(&self) -> String {
        "memory".to_owned()
    }
}
