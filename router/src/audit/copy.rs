//! A second copy of the records, and what a store says against it.
//!
//! A copy is the function's log, as [`crate::telemetry`] writes it: JSON lines, among others that are
//! something else. It may be an export of the log group, the answer of `aws logs filter-log-events`, the
//! objects of the archive (gzipped), or a folder of all these. A copy of a file store's `audit.jsonl` serves
//! as well.
//!
//! The log holds the hashes of states, not the states: a record is known by the hash that closes it.
//!
//! # Assumptions
//! - The copy can't be altered by whoever alters the store.
//! - It holds what was recorded between its first record and its last. Firehose and log exports may bring a
//!   line twice, and in any order.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;
use jiff::{SignedDuration, Timestamp};
use redress_remediators::{Error, ErrorKind};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Asker, Record,
    check::{Fault, Trail},
    open,
};

/// The most that is read of one file once it is unpacked, in bytes.
const LARGEST_FILE: u64 = 2 << 30;

/// How many lines that can't be read are named.
const MOST_NAMED: usize = 10;

/// The records that a second copy holds.
#[derive(Clone, Debug, Default)]
pub struct Copy {
    /// What is known of each record, by run and number.
    pub runs: BTreeMap<String, BTreeMap<u32, Noted>>,
    /// The files that were read.
    pub files: usize,
    /// Lines that are something else.
    pub other: usize,
    /// Lines that can't be read.
    pub garbage: usize,
    /// The places of the first of these.
    pub garbage_at: Vec<String>,
    /// The times of its first and last record.
    pub span: Option<(Timestamp, Timestamp)>,
}

/// What a copy knows of a record.
#[derive(Clone, Debug)]
pub struct Noted {
    /// Its hash; more than one where the copy contradicts itself.
    pub hashes: BTreeSet<String>,
    /// The record, with hashes in place of its states where it is from the log.
    pub record: Record,
}

/// What a store says against a copy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compared {
    /// What does not fit.
    pub faults: Vec<Fault>,
    /// Records that both have.
    pub agreeing: usize,
    /// Runs of the command line that the copy has not seen, with their callers: the function's log does not
    /// hold them.
    pub unconfirmed: Vec<(String, String)>,
    /// Records made before or after those of the copy.
    pub outside: usize,
    /// Runs of the copy whose time in the store is over.
    pub expired: usize,
}

/// How long a store keeps a run.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// From the run's start.
    pub days: u32,
    /// The time that it is.
    pub now: Timestamp,
}

#[derive(Deserialize)]
struct Events {
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    message: String,
}

impl Copy {
    /// Reads a file, or all files in a folder.
    ///
    /// # Errors
    /// Where a file can't be read, or is packed in a way that is not known.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let mut files = Vec::new();
        collect(path, &mut files)?;
        let mut copy = Self::default();
        for file in files {
            let content = unpacked(&file)?;
            copy.read(&file.display().to_string(), &content);
        }
        Ok(copy)
    }

    /// Reads the content of one file.
    pub fn read(&mut self, name: &str, content: &[u8]) {
        self.files += 1;
        if let Ok(document) = serde_json::from_slice::<Events>(content) {
            for (number, event) in (1..).zip(document.events) {
                self.line(&format!("{name}: event {number}"), event.message.trim());
            }
            return;
        }
        for (number, line) in (1..).zip(content.split(|byte| *byte == b'\n')) {
            let place = format!("{name}: line {number}");
            match std::str::from_utf8(line) {
                Ok(line) => self.line(&place, line.trim()),
                Err(_) => self.unreadable(place),
            }
        }
    }

    /// A line: one JSON object or several in a row, perhaps behind the time at which it was logged.
    fn line(&mut self, place: &str, line: &str) {
        if line.is_empty() {
            return;
        }
        let Some(start) = line.find('{') else { return self.unreadable(place.to_owned()) };
        let line = line.get(start..).unwrap_or_default();
        let mut values = serde_json::Deserializer::from_str(line).into_iter::<Value>();
        let mut from = 0;
        while let Some(value) = values.next() {
            let Ok(value) = value else { return self.unreadable(place.to_owned()) };
            let text = line.get(from..values.byte_offset()).unwrap_or_default().trim();
            from = values.byte_offset();
            self.value(place, text, &value);
        }
    }

    fn value(&mut self, place: &str, text: &str, value: &Value) {
        let member = |name: &str| value.get(name).and_then(Value::as_str);
        let noted = if member("target") == Some("audit") {
            let hash = member("hash").filter(|hash| hash.len() == 64);
            let record = member("record").and_then(|record| serde_json::from_str(record).ok());
            hash.map(str::to_owned).zip(record)
        } else if value.get("run").is_some() && value.get("seq").is_some() && value.get("hash").is_some() {
            open(text).ok().map(|(record, hash)| (hash, record))
        } else {
            self.other += 1;
            return;
        };
        match noted {
            Some((hash, record)) => self.note(hash, record),
            None => self.unreadable(place.to_owned()),
        }
    }

    fn note(&mut self, hash: String, record: Record) {
        let time = record.time;
        self.span = Some(self.span.map_or((time, time), |(from, to)| (from.min(time), to.max(time))));
        let run = self.runs.entry(record.run.clone()).or_default();
        let noted = run.entry(record.seq).or_insert_with(|| Noted { hashes: BTreeSet::new(), record });
        noted.hashes.insert(hash);
    }

    fn unreadable(&mut self, place: String) {
        self.garbage += 1;
        if self.garbage_at.len() < MOST_NAMED {
            self.garbage_at.push(place);
        }
    }

    /// How many records it holds.
    pub fn records(&self) -> usize {
        self.runs.values().map(BTreeMap::len).sum()
    }

    /// Leaves out the runs that are not wanted. The time that the copy covers stays.
    pub fn narrow(&mut self, wanted: impl Fn(&str, &[&Record]) -> bool) {
        self.runs.retain(|id, run| wanted(id, &run.values().map(|noted| &noted.record).collect::<Vec<_>>()));
    }

    /// Holds a store's runs against it. Without a retention, runs stay for ever.
    pub fn compare(&self, trail: &Trail, retention: Option<Retention>) -> Compared {
        let mut compared = Compared::default();
        for (id, noted) in &self.runs {
            for (seq, one) in noted.iter().filter(|(_, one)| one.hashes.len() > 1) {
                let what = format!("the copy itself holds it with {} hashes", one.hashes.len());
                compared.faults.push(Fault::new(id, *seq, what));
            }
            match trail.runs.get(id) {
                None if noted.values().next().is_some_and(|first| is_over(&first.record, retention)) => {
                    compared.expired += 1;
                }
                None => {
                    let what = format!("the copy holds {} of its records, the store none", noted.len());
                    compared.faults.push(Fault::new(id, None, what));
                }
                Some(run) => {
                    let mut anew = Vec::new();
                    for (seq, one) in noted {
                        match run.records.get(seq) {
                            Some((_, hash)) if one.hashes.contains(hash) => compared.agreeing += 1,
                            Some(_) => anew.push(*seq),
                            None if run.damaged.contains(seq) => {}
                            None => {
                                let what = "the copy holds it, the store does not";
                                compared.faults.push(Fault::new(id, *seq, what));
                            }
                        }
                    }
                    if let [first, more @ ..] = anew.as_slice() {
                        let more = if more.is_empty() {
                            String::new()
                        } else {
                            format!(", nor are those of {} records after it", more.len())
                        };
                        let what = format!(
                            "its hash is not the one in the copy{more}: it was written anew after it was logged"
                        );
                        compared.faults.push(Fault::new(id, *first, what));
                    }
                }
            }
        }
        self.unseen(trail, &mut compared);
        compared.faults.sort();
        compared
    }

    /// Records of the store that the copy does not hold.
    fn unseen(&self, trail: &Trail, compared: &mut Compared) {
        for (id, run) in &trail.runs {
            let noted = self.runs.get(id);
            let unseen: Vec<(&u32, &Record)> = run
                .records
                .iter()
                .filter(|(seq, _)| noted.is_none_or(|noted| !noted.contains_key(seq)))
                .map(|(seq, (record, _))| (seq, record))
                .collect();
            let within = |time: Timestamp| self.span.is_some_and(|(from, to)| from <= time && time <= to);
            let (inside, outside): (Vec<_>, Vec<_>) =
                unseen.into_iter().partition(|(_, record)| within(record.time));
            compared.outside += outside.len();
            let Some((first, record)) = inside.first() else { continue };
            match (noted, &record.subject.asked_by) {
                (None, Asker::Cli { caller }) => compared.unconfirmed.push((id.clone(), caller.clone())),
                (None, _) => {
                    let what = "the copy, which covers its time, has never seen it";
                    compared.faults.push(Fault::new(id, None, what));
                }
                (Some(_), _) => {
                    let what = "the copy, which covers its time, does not hold it";
                    compared.faults.push(Fault::new(id, **first, what));
                }
            }
        }
    }
}

/// Whether a run's records are no longer kept. Their time is counted from the run's start.
fn is_over(record: &Record, retention: Option<Retention>) -> bool {
    let Some(Retention { days, now }) = retention else { return false };
    let time = SignedDuration::from_hours(24 * i64::from(days));
    record.started().checked_add(time).is_ok_and(|end| end <= now)
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    let failed = |error: std::io::Error| unusable(path, &error.to_string());
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let mut inside = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // A link may lead back to where it stands.
        if !entry.file_type().map_err(failed)?.is_symlink() {
            inside.push(entry.path());
        }
    }
    inside.sort();
    inside.iter().try_for_each(|path| collect(path, files))
}

fn unpacked(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |error: std::io::Error| unusable(path, &error.to_string());
    let packed = fs::read(path).map_err(failed)?;
    let mut content = Vec::new();
    match packed.as_slice() {
        [0x1f, 0x8b, ..] => {
            MultiGzDecoder::new(packed.as_slice())
                .take(LARGEST_FILE + 1)
                .read_to_end(&mut content)
                .map_err(failed)?;
        }
        [b'P', b'K', 3, 4, ..]
        | [0x28, 0xb5, 0x2f, 0xfd, ..]
        | [b'B', b'Z', b'h', ..]
        | [0xfd, b'7', b'z', ..] => {
            return Err(unusable(path, "packed otherwise than by gzip: unpack it first"));
        }
        _ => content = packed,
    }
    if content.len() as u64 > LARGEST_FILE {
        return Err(unusable(path, "more than 2 GiB: split it"));
    }
    Ok(content)
}

fn unusable(path: &Path, why: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("{}: {why}", path.display()))
}
