//! The audit record: what was decided, what was done, at whose word, and what came of it.
//!
//! A run writes one record a stage, numbered from 1 and chained by hash; the last one says that it is the
//! last. A record's JSON ends in its own hash, taken over everything before it, so that a chain can be
//! checked from the stored text alone, whatever fields a later version adds.

pub mod check;
pub mod copy;

use std::collections::BTreeMap;

use jiff::Timestamp;
use redress_remediators::{Call, Change, Key, Risk};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::rules::Mode;

/// One stage of one run. Only ever added to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The run: a UUID of version 7, so that runs sort by their start.
    pub run: String,
    /// The record's number within its run, from 1.
    pub seq: u32,
    /// When it was made.
    pub time: Timestamp,
    /// What it says.
    pub stage: Stage,
    /// Whether the run ends with it.
    #[serde(default)]
    pub last: bool,
    /// What the run is about.
    #[serde(flatten)]
    pub subject: Subject,
    /// Why it ended so, or what lowered it; one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was seen, and what it is to become.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Change<Value>>,
    /// The worst that can come of the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<Risk>,
    /// What the plan had to say besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What was seen at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// The note that stood on the finding before ours took its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_note: Option<Value>,
    /// The calls made since the record before, with AWS's request ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<Call>,
    /// AWS's error code, where the run ended in an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// The hash of the record before; empty in the first.
    #[serde(default)]
    pub prev: String,
}

/// What a run is about. The same in each of its records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subject {
    /// What was asked.
    pub verb: Verb,
    /// Who asked.
    pub asked_by: Asker,
    /// The EventBridge event's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// The finding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finding: Option<FindingRef>,
    /// The control, canonical spelling.
    #[serde(default)]
    pub control: String,
    /// The rule that matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The hash of all rules and exemptions.
    #[serde(default)]
    pub rules_hash: String,
    /// The remediator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remediator: Option<String>,
    /// Its version.
    #[serde(default)]
    pub remediator_version: u32,
    /// The rule's parameters.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub params: Value,
    /// The control's parameters, where the plan took them into account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_params: Option<BTreeMap<String, Vec<String>>>,
    /// What the rule's parameters name of the finding, where they name anything.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
    /// How far the run may go.
    pub mode: Mode,
    /// The account of the finding.
    #[serde(default)]
    pub account: String,
    /// The Region of the finding.
    #[serde(default)]
    pub region: String,
    /// The resource, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<Key>,
    /// The run that this one undoes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<String>,
    /// redress's own version.
    #[serde(default)]
    pub version: String,
}

/// A finding, by the pair that Security Hub knows it by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FindingRef {
    /// ASFF `Id`; in OCSF `finding_info.uid`.
    pub id: String,
    /// ASFF `ProductArn`; in OCSF `metadata.product.uid`.
    pub product: String,
    /// OCSF `metadata.uid`; only OCSF findings have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_uid: Option<String>,
    /// Whether Security Hub does not have it: an inactive user that was handed to the engine at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unlisted: bool,
}

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Show the change.
    Plan,
    /// Make it.
    Fix,
    /// Put back what the last run changed.
    Undo,
}

/// Who asked. An event does not name the person, and nobody guesses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "door", rename_all = "snake_case")]
pub enum Asker {
    /// A rule, by itself, for an imported finding.
    Automatic {
        /// The EventBridge event's id.
        event: String,
    },
    /// A person, by a custom action of Security Hub.
    CustomAction {
        /// The action's ARN.
        action: String,
        /// The EventBridge event's id.
        event: String,
        /// The account in which the action was chosen.
        account: String,
        /// The Region in which it was chosen.
        region: String,
    },
    /// Whoever ran the command line, as STS names them.
    Cli {
        /// The caller's ARN.
        caller: String,
    },
    /// The hourly or manual recovery of a run that was cut off.
    Recovery,
}

impl Asker {
    /// Whether nobody waits for an answer.
    pub fn is_automatic(&self) -> bool {
        matches!(self, Self::Automatic { .. } | Self::Recovery)
    }
}

/// What a record says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The change is about to be made. Durable before the first write.
    Intent,
    /// The change was accepted by AWS and can't be seen yet.
    Applied,
    /// The change that a run of `plan` would make; nothing was written.
    Planned,
    /// Fixed, and seen fixed.
    Verified,
    /// Put back, and seen so.
    Undone,
    /// There was nothing to change.
    Compliant,
    /// Not yet: the plan waits for something.
    Waiting,
    /// Somebody else is on it, or it was not to be attempted again.
    Skipped,
    /// An exemption was honoured.
    Exempt,
    /// A hold was honoured.
    Held,
    /// The rules, the guard, the plan or the finding itself say no.
    #[default]
    Refused,
    /// The credentials may not do it.
    Denied,
    /// It could not be done.
    Failed,
    /// Fixed for two days by our reading, still failed by Security Hub's.
    Disagrees,
}

impl Stage {
    /// The name in records, notes and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Applied => "applied",
            Self::Planned => "planned",
            Self::Verified => "verified",
            Self::Undone => "undone",
            Self::Compliant => "compliant",
            Self::Waiting => "waiting",
            Self::Skipped => "skipped",
            Self::Exempt => "exempt",
            Self::Held => "held",
            Self::Refused => "refused",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::Disagrees => "disagrees",
        }
    }

    /// Whether the resource was changed for good.
    pub fn changed(self) -> bool {
        matches!(self, Self::Verified | Self::Undone)
    }

    /// Whether nothing is left to be done about the resource. A finding of several resources stays NEW until it is so
    /// for each of them.
    pub fn is_dealt_with(self) -> bool {
        matches!(self, Self::Verified | Self::Undone | Self::Compliant | Self::Skipped)
    }
}

/// A record as it is stored: one line of JSON that ends in its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The line, without a line break.
    pub line: String,
    /// Its hash: what the next record's `prev` must be.
    pub hash: String,
}

const HASH_FIELD: &str = ",\"hash\":\"";

impl Record {
    /// When its run began: by the run's id, else the record's own time.
    pub fn started(&self) -> Timestamp {
        uuid::Uuid::parse_str(&self.run)
            .ok()
            .filter(|run| run.get_version_num() == 7)
            .and_then(|run| i64::try_from(run.get_timestamp()?.to_unix().0).ok())
            .and_then(|second| Timestamp::from_second(second).ok())
            .unwrap_or(self.time)
    }

    /// Closes the record.
    ///
    /// # Errors
    /// Where it can't be written as JSON.
    pub fn seal(&self) -> Result<Sealed, Broken> {
        let mut line = serde_json::to_string(self).map_err(|error| Broken(error.to_string()))?;
        let hash = sha256(&line);
        // The object's closing brace gives way to the hash.
        line.pop();
        line.push_str(HASH_FIELD);
        line.push_str(&hash);
        line.push_str("\"}");
        Ok(Sealed { line, hash })
    }
}

/// Why stored records can't be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Broken(pub String);

/// Reads one stored line and checks its hash.
///
/// # Errors
/// Where the line is no record, or was altered.
pub fn open(line: &str) -> Result<(Record, String), Broken> {
    let at = line.rfind(HASH_FIELD).ok_or_else(|| Broken("a record without a hash".to_owned()))?;
    let (body, tail) = line.split_at(at);
    let hash = tail
        .strip_prefix(HASH_FIELD)
        .and_then(|tail| tail.strip_suffix("\"}"))
        .ok_or_else(|| Broken("a record that does not end in its hash".to_owned()))?;
    let body = format!("{body}}}");
    if sha256(&body) != hash {
        return Err(Broken("a record was altered: its hash does not fit".to_owned()));
    }
    let record = serde_json::from_str(&body).map_err(|error| Broken(format!("a record: {error}")))?;
    Ok((record, hash.to_owned()))
}

/// Reads the lines that are kept as those of `run`, as [`verify_run`] does, and checks that they are its own: a whole
/// chain of another run, put in its place, says nothing of this one.
///
/// # Errors
/// Names the first thing that does not fit.
pub fn verify_run_of(run: &str, lines: &[String]) -> Result<Vec<Record>, Broken> {
    let records = verify_run(lines.iter().map(String::as_str))?;
    match records.iter().find(|record| record.run != run) {
        Some(other) => Err(Broken(format!("run {run}: a record of run {} is among its own", other.run))),
        None => Ok(records),
    }
}

/// Reads the lines of one run, in any order, and checks that none is missing, altered or out of place.
///
/// A run that goes on has no last record yet; whether that is so is the caller's question.
///
/// # Errors
/// Names the first thing that does not fit.
pub fn verify_run<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Vec<Record>, Broken> {
    let mut records = lines.into_iter().map(open).collect::<Result<Vec<_>, _>>()?;
    records.sort_by_key(|(record, _)| record.seq);
    let mut prev = String::new();
    let mut ended = false;
    for (number, (record, hash)) in (1u32..).zip(&records) {
        let run = &record.run;
        if record.seq < number && record.seq > 0 {
            return Err(Broken(format!("run {run}: record {} is there more than once", record.seq)));
        }
        if record.seq != number {
            return Err(Broken(format!("run {run}: record {number} is missing")));
        }
        if record.prev != prev {
            return Err(Broken(format!("run {run}: record {number} does not follow the one before it")));
        }
        if ended {
            return Err(Broken(format!("run {run}: record {number} comes after the last one")));
        }
        ended = record.last;
        prev.clone_from(hash);
    }
    Ok(records.into_iter().map(|(record, _)| record).collect())
}

/// SHA-256 in hexadecimal.
pub fn sha256(text: impl AsRef<[u8]>) -> String {
    use std::fmt::Write as _;
    Sha256::digest(text).iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a string can't fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    pub(crate) fn record(run: &str, seq: u32, stage: Stage, prev: &str, last: bool) -> Record {
        Record {
            run: run.to_owned(),
            seq,
            time: "2026-01-02T03:04:05Z".parse().unwrap(),
            stage,
            last,
            subject: Subject {
                verb: Verb::Fix,
                asked_by: Asker::Automatic { event: "e-1".to_owned() },
                event: Some("e-1".to_owned()),
                finding: Some(FindingRef {
                    id: "f-1".to_owned(),
                    product: "arn:aws:securityhub:eu-west-1::product/aws/securityhub".to_owned(),
                    metadata_uid: None,
                    unlisted: false,
                }),
                control: "S3.14".to_owned(),
                rule: Some("s3-versioning".to_owned()),
                rules_hash: "abc".to_owned(),
                remediator: Some("s3.enable_versioning".to_owned()),
                remediator_version: 1,
                params: Value::Null,
                control_params: None,
                fields: BTreeMap::new(),
                mode: Mode::Apply,
                account: "123456789012".to_owned(),
                region: "eu-west-1".to_owned(),
                resource: Some("aws/123456789012/eu-west-1/AwsS3Bucket/logs".parse().unwrap()),
                undoes: None,
                version: "0.1.0".to_owned(),
            },
            reason: None,
            change: Some(Change {
                from: serde_json::json!({ "status": "never" }),
                to: serde_json::json!({ "status": "enabled" }),
            }),
            risk: Some(Risk::Cost),
            notes: Vec::new(),
            after: None,
            replaced_note: None,
            calls: Vec::new(),
            error_code: None,
            prev: prev.to_owned(),
        }
    }

    fn chain() -> Vec<String> {
        let first = record("r", 1, Stage::Intent, "", false).seal().unwrap();
        let second = record("r", 2, Stage::Verified, &first.hash, true).seal().unwrap();
        vec![first.line, second.line]
    }

    fn verify(lines: &[String]) -> Result<Vec<Record>, Broken> {
        verify_run(lines.iter().map(String::as_str))
    }

    #[test]
    fn a_whole_chain_is_read_back_as_it_was() {
        let records = verify(&chain()).unwrap();
        assert_eq!(records[0], record("r", 1, Stage::Intent, "", false));
        assert!(records[1].last);
    }

    #[test]
    fn removed_altered_moved_and_added_records_show() {
        let lines = chain();
        let mut reversed = lines.clone();
        reversed.reverse();
        assert!(verify(&reversed).is_ok(), "stores may return them in any order");
        assert!(verify(&lines[1..]).unwrap_err().0.contains("record 1 is missing"));
        let twice = [&lines[..], &lines[..1]].concat();
        assert!(verify(&twice).unwrap_err().0.contains("record 1 is there more than once"));
        let altered = vec![lines[0].replace("never", "enabled"), lines[1].clone()];
        assert!(verify(&altered).unwrap_err().0.contains("altered"));
        let mut other = record("r", 1, Stage::Intent, "", false);
        other.reason = Some("made anew".to_owned());
        let swapped = vec![other.seal().unwrap().line, lines[1].clone()];
        assert!(verify(&swapped).unwrap_err().0.contains("does not follow"));
        let hash = open(&lines[1]).unwrap().1;
        let third = record("r", 3, Stage::Verified, &hash, true).seal().unwrap().line;
        assert!(
            verify(&[lines[0].clone(), lines[1].clone(), third]).unwrap_err().0.contains("after the last")
        );
    }

    #[test]
    fn the_chain_of_another_run_is_not_believed_to_be_this_ones() {
        assert_eq!(verify_run_of("r", &chain()).unwrap().len(), 2);
        let error = verify_run_of("s", &chain()).unwrap_err().0;
        assert_eq!(error, "run s: a record of run r is among its own");
        assert_eq!(verify_run_of("s", &[]), Ok(Vec::new()));
    }

    #[test]
    fn a_field_of_a_later_version_does_not_break_the_chain() {
        let body = serde_json::to_string(&record("r", 1, Stage::Intent, "", false)).unwrap();
        let body = body.replacen('{', "{\"added_later\":7,", 1);
        let line = format!("{}{HASH_FIELD}{}\"}}", &body[..body.len() - 1], sha256(&body));
        assert_eq!(open(&line).unwrap().0.run, "r");
    }
}
