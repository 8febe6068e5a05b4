//! Telling people: the note on the finding, the event for whoever subscribes.
//!
//! | outcome | a person asked | a rule did |
//! |---|---|---|
//! | planned, waiting, compliant, skipped, exempt, held | note | nothing on the finding |
//! | refused, denied, failed, disagrees | note | note, once per finding and reason |
//! | verified | note, user-defined fields, workflow NEW → NOTIFIED | the same |
//! | undone | note, user-defined fields | – |
//!
//! The workflow is never set to RESOLVED or SUPPRESSED: Security Hub resolves when its check passes. Of a finding of
//! several resources it stays NEW as long as one of them is still to be dealt with.

#[cfg(feature = "aws")]
mod send;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    audit::{Stage, Verb},
    diff,
    engine::{OnFinding, Outcome},
    event::{printable, shown},
    finding::Note,
};

#[cfg(feature = "aws")]
pub use send::{Channels, Reporter};

/// The name that our notes carry, and the prefix of our user-defined fields.
pub const AUTHOR: &str = "redress";

/// The longest note that Security Hub takes, in characters:
/// [`NoteUpdate`](https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_NoteUpdate.html).
const LONGEST_NOTE: usize = 512;

/// The longest value of a user-defined field, in characters.
const LONGEST_FIELD: usize = 1024;

/// The most user-defined fields that a finding has.
const MOST_FIELDS: usize = 50;

/// The source of our events.
pub const EVENT_SOURCE: &str = "redress";

/// The detail type of our events.
pub const EVENT_TYPE: &str = "Remediation Activity";

/// What separates our part of a note from the one it took the place of.
const EARLIER: &str = " | earlier note by ";

/// What is written to a finding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Update {
    /// The note; `None` where the one that is there stays.
    pub note: Option<String>,
    /// All user-defined fields, those of others included: Security Hub replaces them as a whole.
    pub fields: Option<BTreeMap<String, String>>,
    /// Whether the workflow goes from NEW to NOTIFIED.
    pub notified: bool,
}

/// What an outcome means for its finding; `None` where nothing is written.
pub fn update(outcome: &Outcome) -> Option<Update> {
    if !tells(outcome.stage, outcome.subject.asked_by.is_automatic()) {
        return None;
    }
    let on_finding = outcome.on_finding;
    outcome
        .subject
        .finding
        .as_ref()
        .filter(|finding| !finding.unlisted && on_finding < OnFinding::Nothing)?;
    let update = Update {
        note: (on_finding < OnFinding::AllButNote).then(|| cut(&note(outcome), LONGEST_NOTE)),
        fields: outcome.stage.changed().then(|| fields(outcome)),
        notified: outcome.stage == Stage::Verified && outcome.workflow_new,
    };
    (update.note.is_some() || update.fields.is_some() || update.notified).then_some(update)
}

/// What can be written where somebody's note has to stand whole behind ours.
pub(crate) fn room_for_note(outcome: &Outcome) -> OnFinding {
    let cut = outcome.note.as_ref().is_some_and(foreign) && note(outcome).chars().count() > LONGEST_NOTE;
    if cut { OnFinding::AllButNote } else { OnFinding::Everything }
}

/// Whether an outcome is told on the finding.
pub(crate) fn tells(stage: Stage, automatic: bool) -> bool {
    match stage {
        Stage::Verified
        | Stage::Undone
        | Stage::Refused
        | Stage::Denied
        | Stage::Failed
        | Stage::Disagrees => true,
        Stage::Intent | Stage::Applied => false,
        Stage::Planned | Stage::Waiting | Stage::Compliant | Stage::Skipped | Stage::Exempt | Stage::Held => {
            !automatic
        }
    }
}

/// Whether a note is somebody else's.
pub(crate) fn foreign(note: &Note) -> bool {
    note.updated_by != AUTHOR && !note.text.trim().is_empty()
}

/// The verdict in a line of plain words.
pub fn verdict(outcome: &Outcome) -> String {
    let undo = outcome.subject.verb == Verb::Undo;
    match outcome.stage {
        Stage::Planned if undo => "would be undone".to_owned(),
        Stage::Planned => "would be fixed".to_owned(),
        // What nobody has looked at has a reason: AWS's word.
        Stage::Verified if outcome.reason.is_some() => "done, as AWS says".to_owned(),
        Stage::Verified => "fixed, and seen fixed; Security Hub follows within minutes to a day".to_owned(),
        Stage::Undone => "undone, and seen so".to_owned(),
        Stage::Compliant => "nothing to do".to_owned(),
        Stage::Waiting => "waiting".to_owned(),
        Stage::Skipped => "skipped".to_owned(),
        Stage::Exempt => "left alone: exempt".to_owned(),
        Stage::Held => "left alone: held".to_owned(),
        Stage::Refused => "refused".to_owned(),
        Stage::Denied => "denied".to_owned(),
        Stage::Failed => "failed".to_owned(),
        Stage::Disagrees => "disagrees with Security Hub".to_owned(),
        Stage::Intent | Stage::Applied => "under way".to_owned(),
    }
}

/// Our note: verdict, the change or the reason, the run, and what shows the rest; then the note that stood there, which
/// may be too long.
fn note(outcome: &Outcome) -> String {
    let what = match (&outcome.change, &outcome.reason) {
        (Some(change), None) => diff::summary(&change.from, &change.to),
        (_, Some(reason)) => printable(reason),
        (None, None) => String::new(),
    };
    let resource =
        outcome.subject.resource.as_ref().map_or(String::new(), |key| format!(" {}", shown(&key.id)));
    let tail = if outcome.run.is_empty() {
        String::new()
    } else {
        format!(". redress history --run {}", outcome.run)
    };
    let head = format!("redress:{resource} {}", verdict(outcome));
    let head = if what.is_empty() { head } else { format!("{head}: {what}") };
    let mut text = cut(&head, LONGEST_NOTE / 2 + 60 - tail.chars().count()) + &tail;
    let kept = outcome.note.as_ref().and_then(|note| {
        if foreign(note) {
            Some(format!("{EARLIER}{}: {}", shown(&note.updated_by), note.text))
        } else {
            note.text.find(EARLIER).and_then(|at| note.text.get(at..)).map(str::to_owned)
        }
    });
    if let Some(kept) = kept {
        text.push_str(&kept);
    }
    text
}

fn fields(outcome: &Outcome) -> BTreeMap<String, String> {
    let mut fields = outcome.fields.clone();
    fields.retain(|name, _| !name.starts_with("redress_"));
    let ours = [
        ("redress_outcome", outcome.stage.as_str().to_owned()),
        ("redress_run", outcome.run.clone()),
        ("redress_remediator", outcome.subject.remediator.clone().unwrap_or_default()),
        ("redress_time", outcome.time.to_string()),
    ];
    // Those of others come first: theirs are not ours to drop.
    for (name, value) in ours {
        if fields.len() < MOST_FIELDS {
            fields.insert(name.to_owned(), cut(&value, LONGEST_FIELD));
        }
    }
    fields
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// The outcome as an OCSF [Remediation Activity](https://schema.ocsf.io/1.5.0/classes/remediation_activity)
/// (class 7001).
pub fn ocsf(outcome: &Outcome) -> Value {
    let subject = &outcome.subject;
    let (status_id, status) = match outcome.stage {
        Stage::Verified | Stage::Undone | Stage::Compliant => (1, "Success"),
        Stage::Denied | Stage::Failed | Stage::Disagrees => (2, "Failure"),
        Stage::Refused if subject.remediator.is_none() => (5, "Unsupported"),
        _ => (99, outcome.stage.as_str()),
    };
    let (activity_id, activity) = if subject.verb == Verb::Undo { (3, "Restore") } else { (4, "Harden") };
    let resource = subject.resource.as_ref();
    let millis = outcome.time.as_millisecond();
    json!({
        "activity_id": activity_id,
        "activity_name": activity,
        "category_uid": 7,
        "category_name": "Remediation",
        "class_uid": 7001,
        "class_name": "Remediation Activity",
        "type_uid": 700_100 + activity_id,
        "command_uid": outcome.run,
        "time": millis,
        "time_dt": outcome.time.to_string(),
        "severity_id": 1,
        "severity": "Informational",
        "status_id": status_id,
        "status": status,
        "status_code": outcome.error_code,
        "status_detail": outcome.reason.as_deref().map(printable),
        "message": format!("{}: {}", subject.control, verdict(outcome)),
        "metadata": {
            "version": "1.5.0",
            "uid": outcome.run,
            "product": { "name": "redress", "vendor_name": "redress", "version": subject.version },
        },
        "cloud": {
            "provider": "AWS",
            "account": { "uid": subject.account },
            "region": subject.region,
        },
        "resources": resource.map(|key| vec![json!({
            "type": key.kind,
            "uid": key.id,
            "region": key.region,
            "cloud_partition": key.partition,
            "owner": { "account": { "uid": key.account } },
        })]).unwrap_or_default(),
        "finding_info_list": subject.finding.as_ref().map(|finding| vec![json!({
            "uid": finding.id,
            "title": shown(&outcome.title),
            "product_uid": finding.product,
        })]).unwrap_or_default(),
        "remediation": {
            "desc": outcome.change.as_ref().map(|change| diff::summary(&change.from, &change.to))
                .unwrap_or_default(),
        },
        "unmapped": {
            "outcome": outcome.stage.as_str(),
            "control": subject.control,
            "rule": subject.rule,
            "rules_hash": subject.rules_hash,
            "remediator": subject.remediator,
            "mode": subject.mode.as_str(),
            "verb": subject.verb,
            "asked_by": subject.asked_by,
            "risk": outcome.risk.map(redress_remediators::Risk::as_str),
            "notes": outcome.notes.iter().map(|note| printable(note)).collect::<Vec<_>>(),
            "undoes": subject.undoes,
            "resource_key": resource.map(ToString::to_string),
        },
    })
}
