//! Whether what a store holds is whole: every record of every run, from the stored text alone.
//!
//! The order of the lines says nothing: a record's place is its number. What one store can't show is a run
//! that is gone whole, or whose hashes were all made anew: for that, see [`super::copy`].

use std::collections::{BTreeMap, BTreeSet, HashMap, btree_map::Entry};

use jiff::Timestamp;
use redress_remediators::Error;
use serde_json::Value;

use super::{Record, open};
use crate::store::Store;

/// What stands at one place of an audit store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The place, in words: a file's line, or an item's key.
    pub place: String,
    /// What stands there.
    pub content: Content,
}

/// What may stand at a place of an audit store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A record as it is stored.
    Record {
        /// The line.
        line: String,
        /// The run and number that the place itself stands for, where it stands for one.
        key: Option<(String, u32)>,
    },
    /// What a run that has ended is found by.
    Entry {
        /// The run.
        run: String,
    },
    /// What should not be so.
    Wrong {
        /// The run, where it can be told.
        run: Option<String>,
        /// The record's number, where it can be told.
        seq: Option<u32>,
        /// What is wrong.
        why: String,
    },
}

/// Something that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The run, where it can be told.
    pub run: Option<String>,
    /// The record's number within it.
    pub record: Option<u32>,
    /// What is wrong.
    pub what: String,
}

impl Fault {
    pub(super) fn new(run: &str, record: impl Into<Option<u32>>, what: impl Into<String>) -> Self {
        Self { run: Some(run.to_owned()), record: record.into(), what: what.into() }
    }
}

/// A run as far as it can be read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// Its readable records with their hashes, by number; of one that is there twice, the first.
    pub records: BTreeMap<u32, (Record, String)>,
    /// The numbers of those that are there and can't be believed.
    pub damaged: BTreeSet<u32>,
    /// Until when its lease holds or held, if there is one.
    pub lease: Option<Timestamp>,
}

impl Run {
    /// Whether its last record is there.
    pub fn ended(&self) -> bool {
        self.records.values().any(|(record, _)| record.last)
    }
}

/// All that a store holds, and what of it does not fit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trail {
    /// The runs, by their ids.
    pub runs: BTreeMap<String, Run>,
    /// What does not fit, in the order of runs and records.
    pub faults: Vec<Fault>,
    /// Whether leases were looked at: without, a run that goes on can't be told from one that was cut off.
    pub leases_known: bool,
}

impl Trail {
    /// Looks at all that a store holds.
    ///
    /// Runs go on while their store is read: what does not fit is looked at once more, and counts if it is so
    /// both times.
    ///
    /// # Errors
    /// Where the store can't be read.
    pub async fn of(store: &dyn Store) -> Result<Self, Error> {
        let first = Self::once(store).await?;
        if first.faults.is_empty() {
            return Ok(first);
        }
        let mut second = Self::once(store).await?;
        second.faults.retain(|fault| first.faults.contains(fault));
        Ok(second)
    }

    async fn once(store: &dyn Store) -> Result<Self, Error> {
        let rows = store.rows().await?;
        let mut leases = HashMap::new();
        let mut unreadable = Vec::new();
        for (key, item) in store.scan("lease#").await? {
            let run = item.body.get("run").and_then(Value::as_str);
            let until = item.body.get("until").and_then(Value::as_str).and_then(|until| until.parse().ok());
            match (run, until) {
                (Some(run), Some(until)) => {
                    leases.insert(run.to_owned(), until);
                }
                _ => unreadable.push(Fault {
                    run: None,
                    record: None,
                    what: format!("state item `{key}` is no lease that can be read"),
                }),
            }
        }
        let mut trail = Self::read(rows);
        trail.hold_against(&leases);
        trail.faults.extend(unreadable);
        trail.faults.sort();
        Ok(trail)
    }

    /// Checks what stands in a store, in any order.
    pub fn read(rows: impl IntoIterator<Item = Row>) -> Self {
        let mut trail = Self::default();
        let mut twice: BTreeMap<(String, u32), usize> = BTreeMap::new();
        let mut entries: BTreeMap<String, String> = BTreeMap::new();
        for Row { place, content } in rows {
            match content {
                Content::Record { line, key } => match open(&line) {
                    Ok((record, hash)) => {
                        if let Some((run, seq)) = key
                            && (run != record.run || seq != record.seq)
                        {
                            let what = format!("{place} holds record {} of run {}", record.seq, record.run);
                            trail.damaged(&run, seq);
                            trail.faults.push(Fault::new(&run, seq, what));
                            continue;
                        }
                        let run = trail.runs.entry(record.run.clone()).or_default();
                        match run.records.entry(record.seq) {
                            Entry::Occupied(_) => *twice.entry((record.run, record.seq)).or_insert(1) += 1,
                            Entry::Vacant(place) => {
                                place.insert((record, hash));
                            }
                        }
                    }
                    Err(broken) => {
                        let (run, seq) = match key {
                            Some((run, seq)) => (Some(run), Some(seq)),
                            None => claimed(&line),
                        };
                        if let (Some(run), Some(seq)) = (&run, seq) {
                            trail.damaged(run, seq);
                        }
                        trail.faults.push(Fault { run, record: seq, what: format!("{place}: {broken}") });
                    }
                },
                Content::Entry { run } => {
                    entries.insert(run, place);
                }
                Content::Wrong { run, seq, why } => {
                    if let (Some(run), Some(seq)) = (&run, seq) {
                        trail.damaged(run, seq);
                    }
                    trail.faults.push(Fault { run, record: seq, what: format!("{place}: {why}") });
                }
            }
        }
        for ((run, seq), times) in twice {
            trail.faults.push(Fault::new(&run, seq, format!("it is there {times} times")));
        }
        for (id, run) in &trail.runs {
            trail.faults.extend(chain(id, run));
        }
        for (run, place) in entries {
            let what = match trail.runs.get(&run) {
                None => format!("{place} names it, and its records are gone"),
                Some(found) if !found.ended() && !last_damaged(found) => {
                    format!("{place} says that it has ended, and its last record is gone")
                }
                Some(_) => continue,
            };
            trail.faults.push(Fault::new(&run, None, what));
        }
        trail.faults.sort();
        trail.faults.dedup();
        trail
    }

    /// Holds the runs against the leases: a run without its last record is held open by one until it is
    /// settled, for as long as that takes.
    pub fn hold_against(&mut self, leases: &HashMap<String, Timestamp>) {
        self.leases_known = true;
        for (id, until) in leases {
            match self.runs.get_mut(id) {
                Some(run) => run.lease = Some(*until),
                None => {
                    self.faults.push(Fault::new(id, None, "a lease holds it open, and its records are gone"));
                }
            }
        }
        for (id, run) in &self.runs {
            if run.ended() || run.lease.is_some() || last_damaged(run) {
                continue;
            }
            let Some(last) = run.records.keys().next_back() else { continue };
            let what = format!(
                "it is cut off behind record {last}: that is not its last one, and no lease holds it open"
            );
            self.faults.push(Fault::new(id, None, what));
        }
        self.faults.sort();
    }

    fn damaged(&mut self, run: &str, seq: u32) {
        self.runs.entry(run.to_owned()).or_default().damaged.insert(seq);
    }

    /// Leaves out the runs that are not wanted. What can't be told to be of another run stays.
    pub fn narrow(&mut self, wanted: impl Fn(&str, &Run) -> bool) {
        let runs = std::mem::take(&mut self.runs);
        let (kept, left_out): (BTreeMap<_, _>, BTreeMap<_, _>) =
            runs.into_iter().partition(|(id, run)| run.records.is_empty() || wanted(id, run));
        self.runs = kept;
        self.faults.retain(|fault| fault.run.as_ref().is_none_or(|run| !left_out.contains_key(run)));
    }
}

/// Whether what can't be believed may have been the last record.
fn last_damaged(run: &Run) -> bool {
    run.damaged.last() > run.records.keys().next_back()
}

/// What does not fit among the records of one run.
fn chain(id: &str, run: &Run) -> Vec<Fault> {
    let mut faults = Vec::new();
    // The hash that the next record must name; `None` where it can't be known.
    let mut prev = Some("");
    let mut next = 1;
    let mut ended = false;
    let numbers: BTreeSet<u32> = run.records.keys().chain(&run.damaged).copied().collect();
    for seq in numbers {
        if seq == 0 {
            faults.push(Fault::new(id, seq, "records are numbered from 1"));
            continue;
        }
        if seq > next {
            let until = seq - 1;
            let what = if until == next {
                "it is missing".to_owned()
            } else {
                format!("the records {next} to {until} are missing")
            };
            faults.push(Fault::new(id, next, what));
            prev = None;
        }
        next = seq.saturating_add(1);
        let Some((record, hash)) = run.records.get(&seq) else {
            prev = None;
            continue;
        };
        if prev.is_some_and(|prev| prev != record.prev) {
            faults.push(Fault::new(id, seq, "it does not follow the record before it"));
        }
        if ended {
            faults.push(Fault::new(id, seq, "it comes after the last one"));
        }
        ended |= record.last;
        prev = Some(hash);
    }
    faults
}

/// The run and number that a line claims, which can't be believed.
fn claimed(line: &str) -> (Option<String>, Option<u32>) {
    if let Ok(value) = serde_json::from_str::<Value>(line) {
        let run = value.get("run").and_then(Value::as_str).map(str::to_owned);
        let seq = value.get("seq").and_then(Value::as_u64).and_then(|seq| seq.try_into().ok());
        return (run, seq);
    }
    // As it is written: `{"run":"…","seq":1,`.
    let run = line.split_once("\"run\":\"").and_then(|(_, rest)| rest.split_once('"')).map(|(run, _)| run);
    let seq = line.split_once("\"seq\":").and_then(|(_, rest)| {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        rest.get(..digits)?.parse().ok()
    });
    (run.map(str::to_owned), seq)
}
