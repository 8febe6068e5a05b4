//! What commands print: the same entries as text for people and as JSON for programs.

pub(crate) mod json;
pub(crate) mod text;

use std::collections::BTreeMap;

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use redress_remediators::{Change, ErrorKind};
use redress_router::{
    audit::Stage,
    diff::differences,
    engine::{Done, Outcome},
    finding::Finding,
};
use serde::Serialize;
use serde_json::Value;

use crate::{
    Surroundings,
    exit::Exit,
    input::{Given, What},
};

/// Whether text is coloured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint(pub(crate) bool);

impl Paint {
    fn with(self, style: Style, text: &str) -> String {
        if self.0 { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.with(Style::new().bold(), text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.with(Style::new().dimmed(), text)
    }

    pub(crate) fn in_colour(self, colour: AnsiColor, text: &str) -> String {
        self.with(Style::new().fg_color(Some(colour.into())), text)
    }
}

/// A bar on standard error where somebody sees it; nothing elsewhere.
pub(crate) fn progress(around: &Surroundings, length: Option<usize>, what: &'static str) -> ProgressBar {
    if !around.err_is_terminal || length.is_some_and(|length| length < 2) {
        return ProgressBar::hidden();
    }
    let bar = match length {
        Some(length) => {
            let style = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} {elapsed}");
            ProgressBar::new(length as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        }
        None => ProgressBar::new_spinner(),
    };
    bar.set_draw_target(ProgressDrawTarget::stderr());
    bar.enable_steady_tick(std::time::Duration::from_millis(120));
    bar.with_message(what)
}

/// One value that a change alters, adds or removes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Line {
    /// `~` altered, `+` added, `-` removed.
    pub(crate) op: &'static str,
    /// The names on the way to it, joined with dots; empty for the state as a whole.
    pub(crate) path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<Value>,
}

/// The lines of a change.
pub(crate) fn lines(change: &Change<Value>) -> Vec<Line> {
    let line = |difference: redress_router::diff::Difference| Line {
        op: match (&difference.from, &difference.to) {
            (None, _) => "+",
            (_, None) => "-",
            _ => "~",
        },
        path: difference.path,
        from: difference.from,
        to: difference.to,
    };
    differences(&change.from, &change.to).into_iter().map(line).collect()
}

/// What came of one resource of one finding. Its JSON is documented in `docs/json-output.md`.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Entry {
    /// A stage of the record, or `invalid`.
    pub(crate) outcome: &'static str,
    /// The stage that the engine has told, where the outcome is its word.
    #[serde(skip)]
    pub(crate) stage: Option<Stage>,
    pub(crate) reason: Option<String>,
    /// The file that the finding was in, `standard input`, `Security Hub`, `plan file` or `records`.
    pub(crate) source: String,
    /// The finding's id.
    pub(crate) finding: Option<String>,
    pub(crate) control: Option<String>,
    pub(crate) title: Option<String>,
    pub(crate) severity: Option<String>,
    pub(crate) account: Option<String>,
    pub(crate) region: Option<String>,
    /// The resource's key.
    pub(crate) resource: Option<String>,
    pub(crate) remediator: Option<String>,
    pub(crate) remediator_version: Option<u32>,
    pub(crate) rule: Option<String>,
    pub(crate) risk: Option<&'static str>,
    /// The change, value by value.
    pub(crate) changes: Vec<Line>,
    /// The change, whole.
    pub(crate) change: Option<Change<Value>>,
    pub(crate) notes: Vec<String>,
    /// The run, where it is recorded.
    pub(crate) run: Option<String>,
    /// The run that is undone.
    pub(crate) undoes: Option<String>,
    pub(crate) error: Option<&'static str>,
    pub(crate) error_code: Option<String>,
    /// The number, from 0, of the entry with the same change of the same resource.
    pub(crate) same_as: Option<usize>,
}

impl Entry {
    /// Of what is no finding of a control.
    pub(crate) fn given(given: &Given) -> Self {
        let (outcome, reason) = match &given.what {
            What::Finding(_) => ("skipped", String::new()),
            What::Ignored(why) => ("skipped", why.clone()),
            What::Invalid(why) => ("invalid", why.clone()),
        };
        Self { outcome, reason: Some(reason), source: given.source.clone(), ..Self::default() }
    }

    pub(crate) fn done(source: &str, finding: &Finding, done: &Done) -> Self {
        let title = Some(finding.title.clone()).filter(|title| !title.is_empty());
        let base = Self {
            source: source.to_owned(),
            finding: Some(finding.id.clone()),
            control: Some(finding.control.as_str().to_owned()),
            title: title.or_else(|| finding.control.info().map(|info| info.title.to_owned())),
            severity: finding.severity.clone(),
            account: Some(finding.account.clone()),
            region: Some(finding.region.clone()),
            ..Self::default()
        };
        base.come_of(done)
    }

    /// The same, with what has come of it.
    pub(crate) fn come_of(self, done: &Done) -> Self {
        match done {
            Done::Outcome(outcome) => self.outcome(outcome),
            Done::Repeat { stage, reason, .. } => {
                Self { outcome: stage.as_str(), stage: Some(*stage), reason: Some(reason.clone()), ..self }
            }
            Done::Unwanted(why) => Self { outcome: "skipped", reason: Some(why.clone()), ..self },
            Done::Retry { why, error, .. } => Self {
                outcome: "failed",
                reason: Some(format!("not done in the time given: {why}")),
                error: error.map(ErrorKind::as_str),
                ..self
            },
        }
    }

    /// The same, with what a run has come to.
    pub(crate) fn outcome(self, outcome: &Outcome) -> Self {
        let subject = &outcome.subject;
        // Nothing was written where the resource was found changed: that is a refusal, not a failure.
        let drifted = outcome.error == Some(ErrorKind::Drifted)
            && matches!(outcome.stage, Stage::Failed | Stage::Skipped);
        Self {
            outcome: if drifted { "refused" } else { outcome.stage.as_str() },
            stage: (!drifted).then_some(outcome.stage),
            reason: outcome.reason.clone(),
            resource: subject.resource.as_ref().map(ToString::to_string),
            remediator: subject.remediator.clone(),
            remediator_version: subject.remediator.is_some().then_some(subject.remediator_version),
            rule: subject.rule.clone(),
            risk: outcome.risk.map(redress_remediators::Risk::as_str),
            changes: outcome.change.as_ref().map(lines).unwrap_or_default(),
            change: outcome.change.clone(),
            notes: outcome.notes.clone(),
            run: (outcome.stage != Stage::Planned).then(|| outcome.run.clone()),
            undoes: subject.undoes.clone(),
            error: outcome.error.map(ErrorKind::as_str),
            error_code: outcome.error_code.clone(),
            ..self
        }
    }

    /// The same, when its change was not begun after all.
    pub(crate) fn not_begun(self, why: &str) -> Self {
        Self { outcome: "refused", stage: None, reason: Some(why.to_owned()), run: None, ..self }
    }

    /// The same without notes that have been shown.
    pub(crate) fn without(mut self, shown: &[String]) -> Self {
        self.notes.retain(|note| !shown.contains(note));
        self
    }

    /// Whether the entry is a change that could be made.
    pub(crate) fn pending(&self) -> bool {
        self.outcome == "planned" && self.change.is_some()
    }

    /// Whether nothing of it is left to be done.
    pub(crate) fn dealt_with(&self) -> bool {
        self.stage.is_some_and(Stage::is_dealt_with)
    }

    /// What the outcome means for the exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self.outcome {
            "failed" | "disagrees" => Exit::Failed,
            "denied" => Exit::Denied,
            "invalid" => Exit::Input,
            "refused" => Exit::Refused,
            _ => Exit::Done,
        }
    }
}

/// The gravest of all entries.
pub(crate) fn exit<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Exit {
    entries.into_iter().fold(Exit::Done, |exit, entry| exit.and(entry.exit()))
}

/// How many there are of each outcome; the same change of the same resource counts once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Counts(BTreeMap<&'static str, usize>);

/// The outcomes in the order in which they are told, each with its word; `true` where it is told even if
/// there is none of it.
const TOLD: [(&str, &str, bool); 13] = [
    ("planned", "to change", true),
    ("verified", "fixed", false),
    ("undone", "undone", false),
    ("compliant", "compliant", true),
    ("waiting", "waiting", false),
    ("exempt", "exempt", false),
    ("held", "held", false),
    ("skipped", "skipped", false),
    ("invalid", "invalid", false),
    ("refused", "refused", true),
    ("denied", "denied", false),
    ("disagrees", "in disagreement", false),
    ("failed", "failed", true),
];

impl Counts {
    pub(crate) fn of<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        let mut counts = BTreeMap::new();
        for entry in entries.into_iter().filter(|entry| entry.same_as.is_none()) {
            *counts.entry(entry.outcome).or_default() += 1;
        }
        Self(counts)
    }

    fn get(&self, outcome: &str) -> usize {
        self.0.get(outcome).copied().unwrap_or_default()
    }

    /// `Plan: 2 to change, 1 compliant, 0 refused, 0 failed.`
    pub(crate) fn line(&self, head: &str, first: &str) -> String {
        let parts: Vec<String> = TOLD
            .iter()
            .filter(|(outcome, _, always)| {
                let shown = if *outcome == "planned" { first == "planned" } else { *always };
                shown || *outcome == first || self.get(outcome) > 0
            })
            .map(|(outcome, word, _)| format!("{} {word}", self.get(outcome)))
            .collect();
        format!("{head}: {}.", parts.join(", "))
    }

    pub(crate) fn pending(&self) -> usize {
        self.get("planned")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use serde_json::json;

    use super::*;

    /// Compares with a file in `tests/snapshots`; `UPDATE_SNAPSHOTS=1` writes it.
    pub(crate) fn snapshot(name: &str, text: &str) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
        }
        let known = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}; make it with UPDATE_SNAPSHOTS=1", path.display()));
        assert!(known == text, "{} is otherwise now:\n{text}", path.display());
    }

    fn base(outcome: &'static str, id: &str) -> Entry {
        Entry {
            outcome,
            source: "findings.json".to_owned(),
            finding: Some(format!(
                "arn:aws:securityhub:eu-west-1:123456789012:security-control/S3.14/finding/{id}"
            )),
            control: Some("S3.14".to_owned()),
            title: Some("S3 general purpose buckets should have versioning enabled".to_owned()),
            severity: Some("LOW".to_owned()),
            account: Some("123456789012".to_owned()),
            region: Some("eu-west-1".to_owned()),
            resource: Some(format!("aws/123456789012/eu-west-1/AwsS3Bucket/{id}")),
            remediator: Some("s3.enable_versioning".to_owned()),
            remediator_version: Some(1),
            rule: Some("s3-enable-versioning".to_owned()),
            ..Entry::default()
        }
    }

    fn changing(entry: Entry, from: Value, to: Value) -> Entry {
        let change = Change { from, to };
        Entry { changes: lines(&change), change: Some(change), risk: Some("cost"), ..entry }
    }

    /// One of each outcome, hostile text among them.
    pub(crate) fn entries() -> Vec<Entry> {
        let reason = |entry: Entry, why: &str| Entry { reason: Some(why.to_owned()), ..entry };
        let policy =
            |statements: Value| json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
        let reads = json!({ "Sid": "Reads", "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
            "Resource": "arn:aws:s3:::exchange/*" });
        let tls = json!({ "Sid": "Tls", "Effect": "Deny", "Principal": "*", "Action": "s3:*",
            "Resource": "arn:aws:s3:::exchange/*", "Condition": { "Bool": { "aws:SecureTransport": "false" } } });
        let versioning = |status: &str| json!({ "status": status, "mfa_delete": false });
        vec![
            Entry {
                notes: vec!["undo can suspend versioning; S3 has no way back to \"never\"".to_owned()],
                ..changing(base("planned", "logs"), versioning("never"), versioning("enabled"))
            },
            Entry {
                same_as: Some(0),
                ..changing(base("planned", "logs"), versioning("never"), versioning("enabled"))
            },
            Entry {
                control: Some("EC2.13".to_owned()),
                title: Some("evil \u{1b}[2J\u{202e}title`".to_owned()),
                severity: Some("HIGH".to_owned()),
                ..changing(
                    base("planned", "sg-1"),
                    json!({ "rules": [{ "protocol": "tcp", "from": 22, "source": "0.0.0.0/0" }, "kept"] }),
                    json!({ "rules": ["kept"], "new": true }),
                )
            },
            changing(
                base("planned", "exchange"),
                json!({ "policy": policy(json!([reads])) }),
                json!({ "policy": policy(json!([reads, tls])) }),
            ),
            reason(base("compliant", "done"), "the resource is as the control wants it"),
            Entry {
                run: Some("0197a000-0000-7000-8000-000000000001".to_owned()),
                ..changing(base("verified", "fixed"), versioning("suspended"), versioning("enabled"))
            },
            reason(base("exempt", "kept"), "exempt until 2027-01-31 by tag `redress:exempt`, owner a: b"),
            reason(
                base("refused", "mfa"),
                "MFA delete guards its versioning: only the root user can change it",
            ),
            Entry {
                error: Some("denied"),
                error_code: Some("AccessDenied".to_owned()),
                ..reason(base("denied", "secret"), "AccessDenied: not yours")
            },
            reason(base("failed", "slow"), "not done in the time given: SlowDown"),
            Entry {
                outcome: "invalid",
                source: "findings.json".to_owned(),
                reason: Some("Findings[7].Resources: missing".to_owned()),
                ..Entry::default()
            },
            Entry {
                outcome: "skipped",
                source: "findings.json".to_owned(),
                reason: Some("a sample finding".to_owned()),
                ..Entry::default()
            },
        ]
    }

    #[test]
    fn each_end_has_its_exit_code() {
        let end = |outcome| base(outcome, "x").exit();
        for outcome in ["planned", "verified", "undone", "compliant", "waiting", "exempt", "held", "skipped"]
        {
            assert_eq!(end(outcome), Exit::Done, "{outcome}");
        }
        assert_eq!(end("failed"), Exit::Failed);
        assert_eq!(end("disagrees"), Exit::Failed);
        assert_eq!(end("denied"), Exit::Denied);
        assert_eq!(end("invalid"), Exit::Input);
        assert_eq!(end("refused"), Exit::Refused);
        assert_eq!(exit(&entries()), Exit::Failed);
    }

    #[test]
    fn a_change_counts_once() {
        let counts = Counts::of(&entries());
        assert_eq!(counts.pending(), 3);
        assert_eq!(
            counts.line("Plan", "planned"),
            "Plan: 3 to change, 1 fixed, 1 compliant, 1 exempt, 1 skipped, 1 invalid, 1 refused, 1 denied, \
             1 failed."
        );
        assert_eq!(
            Counts::default().line("Apply", "verified"),
            "Apply: 0 fixed, 0 compliant, 0 refused, 0 failed."
        );
    }
}
