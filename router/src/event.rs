//! Events: what `EventBridge` delivers, what a person hands to the CLI, and the findings in them.
//!
//! | detail type | findings | door |
//! |---|---|---|
//! | `Security Hub Findings - Imported` | one, ASFF | [`Door::Imported`] |
//! | `Findings Imported V2` | one, OCSF | [`Door::Imported`] |
//! | `Security Hub Findings - Custom Action` | one, ASFF | [`Door::CustomAction`] |
//! | `Security Hub Insight Results` | none, only counts | [`Door::CustomAction`] |
//!
//! <https://docs.aws.amazon.com/securityhub/latest/userguide/securityhub-cwe-event-formats.html>. AWS
//! documents a single finding in each event; an array it is all the same, so none and several are taken.
//!
//! [`decode`] does not judge: a finding that has passed comes out as a [`Finding`], since an undo may ask
//! for it. [`glance()`] is the cheap look before it, for the many events that concern nobody.

use serde_json::value::RawValue;
use thiserror::Error;

mod glance;
pub(crate) mod json;

pub use glance::{Glance, glance};
use json::{Members, join};

use crate::finding::{self, Compliance, Finding, FindingKey, Format, Workflow, is_account, is_label};

/// Largest event that is read, in bytes: `EventBridge`'s limit
/// (<https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevents.html>).
pub const MAX_EVENT: usize = 1 << 20;

/// Largest input of the CLI that is read, in bytes. A page of `get-findings` has up to 100 findings of up
/// to 240 KB.
pub const MAX_INPUT: usize = 256 << 20;

/// Most characters of an untrusted text that [`shown`] lets through.
const LONGEST_SHOWN: usize = 160;

const IMPORTED: &str = "Security Hub Findings - Imported";
const IMPORTED_V2: &str = "Findings Imported V2";
const CUSTOM_ACTION: &str = "Security Hub Findings - Custom Action";
const INSIGHT_RESULTS: &str = "Security Hub Insight Results";
const SOURCE: &str = "aws.securityhub";

/// The door through which an event came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Door {
    /// Nobody asked: Security Hub has written or updated the finding.
    Imported,
    /// A person clicked, in the account and Region of the envelope. The event does not say who.
    CustomAction {
        /// ARN of the action. Empty in insight results, which do not name it.
        action_arn: String,
        /// Its name, as in the console.
        name: String,
    },
    /// The CLI.
    Cli,
}

/// The envelope of an `EventBridge` event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The event's id. A redelivery has the same one.
    pub id: String,
    /// The account that received the event, 12 digits. Not the finding's, where Security Hub is run by an
    /// administrator account.
    pub account: String,
    /// The Region that received it. Not the finding's, where findings are aggregated across Regions.
    pub region: String,
    /// When the event happened, RFC 3339.
    pub time: Option<String>,
    /// The door.
    pub door: Door,
}

/// One finding of an event, or what became of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Decoded {
    /// A finding about a control.
    Finding(Box<Finding>),
    /// Nothing that redress could ever handle.
    Ignored(Ignored),
    /// Not to be trusted or not to be read.
    Invalid(InvalidEvent),
}

/// One `EventBridge` event.
#[derive(Clone, Debug, PartialEq)]
pub struct Incoming {
    /// Its envelope.
    pub envelope: Envelope,
    /// One entry a finding; at least one.
    pub findings: Vec<Decoded>,
    /// What names each of them to Security Hub, in the same order; `None` where that could not be read.
    /// This is for the note that a person gets about a finding that was ignored or is invalid.
    pub keys: Vec<Option<FindingKey>>,
}

/// Input that can't be read. Both parts are fit to be printed: see [`shown`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}{}{what}", .place.trim_end_matches(':'), if .place.is_empty() { "" } else { ": " })]
pub struct InvalidEvent {
    /// What is wrong.
    pub what: String,
    /// Where, as a path such as `detail.findings[0].Resources`; empty for the input as a whole.
    pub place: String,
}

impl InvalidEvent {
    pub(crate) fn new(place: &str, what: impl AsRef<str>) -> Self {
        // A place may hold keys of the input, and what is wrong a quotation of it.
        Self {
            what: escaped(what.as_ref(), 2 * LONGEST_SHOWN, false),
            place: escaped(place, LONGEST_SHOWN, false),
        }
    }
}

/// Why a finding or an event is passed over.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Ignored {
    /// The control has not failed.
    #[error("compliance is {0}, not FAILED")]
    NotFailed(Compliance),
    /// Security Hub no longer stands by the finding.
    #[error("the finding is archived")]
    Archived,
    /// Somebody has dealt with the finding.
    #[error("workflow status is {0}")]
    Workflow(Workflow),
    /// A sample that somebody had generated.
    #[error("a sample finding")]
    Sample,
    /// A finding of another kind, such as a threat or a vulnerability.
    #[error("not a finding of a control (product `{}`)", shown(.0))]
    NotControl(
        /// The product ARN, or nothing.
        String,
    ),
    /// Security Hub's word on whether a service is switched on.
    #[error("a coverage finding, which names no control")]
    Coverage,
    /// A control by a name that no list maps to its id.
    #[error("control `{}` is not known", shown(.0))]
    UnknownControl(
        /// What the finding calls it.
        String,
    ),
    /// A resource of another cloud.
    #[error("a resource of `{}`, not of AWS", shown(.0))]
    Multicloud(
        /// The provider or partition.
        String,
    ),
    /// The results of an insight.
    #[error(
        "insight results are not supported, because they hold counts and no findings: select the findings themselves"
    )]
    InsightResults,
    /// An event of Security Hub's that redress has no use for.
    #[error("detail type `{}` is not one that redress answers", shown(.0))]
    DetailType(
        /// The detail type.
        String,
    ),
    /// An event of another service.
    #[error("source `{}` is not Security Hub", shown(.0))]
    Source(
        /// The source.
        String,
    ),
    /// An event without findings.
    #[error("the event holds no finding")]
    NoFindings,
    /// A control that no rule names. Only [`glance()`] says so.
    #[error("no rule names control `{}`", shown(.0))]
    NoRule(
        /// The control.
        String,
    ),
}

impl Ignored {
    /// The reason in a word, for metrics and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotFailed(_) => "not_failed",
            Self::Archived => "archived",
            Self::Workflow(_) => "workflow",
            Self::Sample => "sample",
            Self::NotControl(_) => "not_control",
            Self::Coverage => "coverage",
            Self::UnknownControl(_) => "unknown_control",
            Self::Multicloud(_) => "multicloud",
            Self::InsightResults => "insight_results",
            Self::DetailType(_) => "detail_type",
            Self::Source(_) => "source",
            Self::NoFindings => "no_findings",
            Self::NoRule(_) => "no_rule",
        }
    }

    pub(crate) fn without_control(product: &str) -> Self {
        if product.ends_with(":productv2/aws/securityhub-coverage") {
            Self::Coverage
        } else {
            Self::NotControl(product.to_owned())
        }
    }
}

/// Untrusted text, fit for a log, a terminal, a note or an error: on one line, without control or
/// invisible characters and backticks, and cut to 160 characters.
pub fn shown(text: &str) -> String {
    escaped(text, LONGEST_SHOWN, true)
}

/// A message of redress's own, which quotes untrusted text in backticks: fit to be printed, backticks kept.
pub fn printable(text: &str) -> String {
    escaped(text, 4 * LONGEST_SHOWN, false)
}

fn escaped(text: &str, longest: usize, in_backticks: bool) -> String {
    let mut shown = String::with_capacity(text.len().min(longest));
    for (count, character) in text.chars().enumerate() {
        if count == longest {
            shown.push('…');
            break;
        }
        match character {
            '"' | '\'' | '\\' => shown.push(character),
            '`' if in_backticks => shown.push_str("\\u{60}"),
            // Escapes all that is not printable, bidirectional controls and zero-width characters too.
            _ => shown.extend(character.escape_debug()),
        }
    }
    shown
}

/// Reads one `EventBridge` event.
///
/// # Errors
/// Where the envelope can't be read: too large, not UTF-8, not JSON, a part missing or of a wrong type. An
/// invalid finding is [`Decoded::Invalid`] in its place, and does not hide the others.
pub fn decode(bytes: &[u8]) -> Result<Incoming, InvalidEvent> {
    let raw = whole(bytes, MAX_EVENT)?;
    event(raw, "")
}

/// Reads what a person may hand to the CLI: an `EventBridge` event, a finding, an array of either, a page of
/// `get-findings` or `get-findings-v2`, or several of these one after the other, as in JSON lines.
///
/// # Errors
/// Where the input as a whole can't be read. An invalid finding is [`Decoded::Invalid`] in its place.
pub fn decode_many(bytes: &[u8]) -> Result<Vec<Decoded>, InvalidEvent> {
    let text = utf8(bytes, MAX_INPUT)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut documents = Vec::new();
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    loop {
        let before = stream.byte_offset();
        match stream.next() {
            None => break,
            Some(Ok(raw)) => documents.push((before, raw)),
            Some(Err(error)) => return Err(json::syntax(&error, "")),
        }
    }
    let mut decoded = Vec::new();
    match documents.as_slice() {
        [] => return Err(InvalidEvent::new("", "empty input: no finding in it")),
        [(_, raw)] => document(raw, "", true, &mut decoded),
        several => {
            let (mut line, mut counted) = (1, 0);
            for (before, raw) in several {
                let start =
                    *before + text.get(*before..).map_or(0, |rest| rest.len() - rest.trim_start().len());
                line += text.get(counted..start).map_or(0, |skipped| skipped.matches('\n').count());
                counted = start;
                document(raw, &format!("line {line}:"), true, &mut decoded);
            }
        }
    }
    Ok(decoded)
}

/// Takes one document of the CLI's input: an array only at the `top`.
fn document(raw: &RawValue, place: &str, top: bool, decoded: &mut Vec<Decoded>) {
    let each = |list: &RawValue, place: &str, decoded: &mut Vec<Decoded>| match json::elements(list, place) {
        Ok(items) if items.is_empty() => decoded.push(Decoded::Ignored(Ignored::NoFindings)),
        Ok(items) => {
            for (index, item) in items.into_iter().enumerate() {
                document(item, &format!("{place}[{index}]"), false, decoded);
            }
        }
        Err(invalid) => decoded.push(Decoded::Invalid(invalid)),
    };
    if top && raw.get().starts_with('[') {
        return each(raw, place, decoded);
    }
    let members = match Members::read(raw, place) {
        Ok(members) => members,
        Err(invalid) => return decoded.push(Decoded::Invalid(invalid)),
    };
    let has = |name| members.get(name).is_some();
    if has("detail-type") {
        match event(raw, place) {
            Ok(incoming) => decoded.extend(incoming.findings),
            Err(invalid) => decoded.push(Decoded::Invalid(invalid)),
        }
    } else if let Some(page) = members.get("Findings").filter(|_| top) {
        each(page, &join(place, "Findings"), decoded);
    } else if has("class_uid") || has("finding_info") {
        decoded.push(one(raw, place, Format::Ocsf).0);
    } else if has("ProductArn") || has("AwsAccountId") || has("SchemaVersion") {
        decoded.push(one(raw, place, Format::Asff).0);
    } else {
        let what = "neither an EventBridge event nor a finding (ASFF or OCSF)";
        decoded.push(Decoded::Invalid(InvalidEvent::new(place, what)));
    }
}

fn utf8(bytes: &[u8], most: usize) -> Result<&str, InvalidEvent> {
    if bytes.len() > most {
        return Err(InvalidEvent::new("", format!("{} bytes, of at most {most}", bytes.len())));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let what = match bytes {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "UTF-16 text, where UTF-8 is needed".to_owned(),
            _ => format!("not text: byte {} is not UTF-8", error.valid_up_to()),
        };
        InvalidEvent::new("", what)
    })
}

fn whole(bytes: &[u8], most: usize) -> Result<&RawValue, InvalidEvent> {
    serde_json::from_str(utf8(bytes, most)?).map_err(|error| json::syntax(&error, ""))
}

fn event(raw: &RawValue, place: &str) -> Result<Incoming, InvalidEvent> {
    let members = Members::read(raw, place)?;
    let text = |name: &str| members.text(name, place);
    let required = |name: &str| text(name)?.ok_or_else(|| InvalidEvent::new(&join(place, name), "missing"));
    let (detail_type, source) = (required("detail-type")?, required("source")?);
    let (id, account, region) = (required("id")?, required("account")?, required("region")?);
    if !is_account(&account) {
        let what = format!("`{}` is not an account id of 12 digits", shown(&account));
        return Err(InvalidEvent::new(&join(place, "account"), what));
    }
    if !is_label(&region) {
        let what = format!("`{}` is not the name of a Region", shown(&region));
        return Err(InvalidEvent::new(&join(place, "region"), what));
    }
    if id.is_empty() || id.len() > 256 || id.chars().any(char::is_control) {
        return Err(InvalidEvent::new(&join(place, "id"), "not the id of an event"));
    }
    let time = text("time")?;
    let ignored = |door, ignored| {
        let envelope = Envelope {
            id: id.clone(),
            account: account.clone(),
            region: region.clone(),
            time: time.clone(),
            door,
        };
        Incoming { envelope, findings: vec![Decoded::Ignored(ignored)], keys: vec![None] }
    };
    if source != SOURCE {
        return Ok(ignored(Door::Imported, Ignored::Source(source)));
    }
    let place_of_detail = join(place, "detail");
    let detail = || match members.get("detail") {
        Some(detail) => Members::read(detail, &place_of_detail),
        None => Err(InvalidEvent::new(&place_of_detail, "missing")),
    };
    let (door, format) = match detail_type.as_str() {
        IMPORTED => (Door::Imported, Format::Asff),
        IMPORTED_V2 => (Door::Imported, Format::Ocsf),
        CUSTOM_ACTION => {
            let name = detail()?.text("actionName", &place_of_detail)?.unwrap_or_default();
            (Door::CustomAction { action_arn: action_arn(&members, place)?, name }, Format::Asff)
        }
        INSIGHT_RESULTS => {
            let name = detail()?.text("actionName", &place_of_detail)?.unwrap_or_default();
            return Ok(ignored(
                Door::CustomAction { action_arn: String::new(), name },
                Ignored::InsightResults,
            ));
        }
        _ => return Ok(ignored(Door::Imported, Ignored::DetailType(detail_type))),
    };
    let list_place = join(&place_of_detail, "findings");
    let detail = detail()?;
    let list = detail.get("findings").ok_or_else(|| InvalidEvent::new(&list_place, "missing"))?;
    let items = json::elements(list, &list_place)?;
    if items.is_empty() {
        return Ok(ignored(door, Ignored::NoFindings));
    }
    let (findings, keys) = items
        .into_iter()
        .enumerate()
        .map(|(index, raw)| one(raw, &format!("{list_place}[{index}]"), format))
        .unzip();
    Ok(Incoming { envelope: Envelope { id, account, region, time, door }, findings, keys })
}

/// The custom action's ARN: the event's only resource.
fn action_arn(members: &Members<'_>, place: &str) -> Result<String, InvalidEvent> {
    let place = join(place, "resources");
    let list = members.get("resources").ok_or_else(|| InvalidEvent::new(&place, "missing"))?;
    let place_of_first = format!("{place}[0]");
    let arn = match json::elements(list, &place)?.as_slice() {
        [first] => json::text(first, &place_of_first)?,
        several => {
            let what = format!("{} resources, where the action's ARN alone belongs", several.len());
            return Err(InvalidEvent::new(&place, what));
        }
    };
    let mut parts = arn.splitn(6, ':');
    let service = (parts.next(), parts.nth(1), parts.nth(2));
    match service {
        (Some("arn"), Some("securityhub"), Some(resource))
            if resource.starts_with("action/custom/") && !arn.chars().any(char::is_control) =>
        {
            Ok(arn)
        }
        _ => Err(InvalidEvent::new(
            &place_of_first,
            format!("`{}` is not the ARN of a custom action", shown(&arn)),
        )),
    }
}

fn one(raw: &RawValue, place: &str, format: Format) -> (Decoded, Option<FindingKey>) {
    if raw.get().len() > MAX_EVENT {
        let what = format!("{} bytes, of at most {MAX_EVENT}", raw.get().len());
        return (Decoded::Invalid(InvalidEvent::new(place, what)), None);
    }
    let value = match json::value(raw, place) {
        Ok(value) => value,
        Err(invalid) => return (Decoded::Invalid(invalid), None),
    };
    let key = FindingKey::of(&value, format);
    let decoded = match finding::read(value, place, format) {
        Ok(Ok(finding)) => Decoded::Finding(Box::new(finding)),
        Ok(Err(ignored)) => Decoded::Ignored(ignored),
        Err(invalid) => Decoded::Invalid(invalid),
    };
    (decoded, key)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

    use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

    use super::*;
    use crate::control;

    /// The test events by file name.
    fn corpus(folder: &str) -> BTreeMap<String, Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/events").join(folder);
        let files = fs::read_dir(folder).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file());
        files
            .filter(|entry| entry.path().extension().is_some_and(|kind| kind == "json" || kind == "jsonl"))
            .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
            .collect()
    }

    fn in_a_line(decoded: &Decoded) -> String {
        let finding = match decoded {
            Decoded::Finding(finding) => finding,
            Decoded::Ignored(ignored) => return format!("ignored ({}): {ignored}", ignored.name()),
            Decoded::Invalid(invalid) => return format!("invalid: {invalid}"),
        };
        let kinds: Vec<_> = finding.resources.iter().map(|resource| resource.kind.as_str()).collect();
        let verdict = match (finding.authenticity(), finding.actionable(false), finding.actionable(true)) {
            (Err(forged), ..) => format!("forged: {forged}"),
            (Ok(()), Err(ignored), _) => format!("no: {ignored}"),
            (Ok(()), Ok(()), Err(ignored)) => format!("on request; automatically no: {ignored}"),
            (Ok(()), Ok(()), Ok(())) => "yes".to_owned(),
        };
        format!(
            "{} {} {} in {}/{}/{}, {} {} {}: {verdict}",
            finding.format,
            finding.control,
            kinds.join("+"),
            finding.partition,
            finding.region,
            finding.account,
            finding.compliance,
            finding.record_state,
            finding.workflow
        )
    }

    fn in_lines(bytes: &[u8]) -> Vec<String> {
        match decode(bytes) {
            Ok(incoming) => incoming.findings.iter().map(in_a_line).collect(),
            Err(invalid) => vec![format!("invalid event: {invalid}")],
        }
    }

    fn finding(name: &str) -> Finding {
        let bytes = corpus("").remove(name).unwrap();
        match decode(&bytes).unwrap().findings.remove(0) {
            Decoded::Finding(finding) => *finding,
            other => panic!("{name}: {other:?}"),
        }
    }

    /// `tests/events/expected.txt` has a line for each finding of each event. What was read is printed where
    /// it differs.
    #[test]
    fn every_event_of_the_corpus_decodes_as_expected() {
        let mut actual = String::new();
        for (name, bytes) in corpus("") {
            for line in in_lines(&bytes) {
                writeln!(actual, "{name}: {line}").unwrap();
            }
        }
        for (name, bytes) in corpus("cli") {
            for line in decode_many(&bytes).unwrap().iter().map(in_a_line) {
                writeln!(actual, "cli/{name}: {line}").unwrap();
            }
        }
        let expected = include_str!("../tests/events/expected.txt");
        assert!(actual == expected, "decoded:\n{actual}");
    }

    #[test]
    fn what_a_finding_says_is_all_there() {
        let finding = finding("imported-note-and-fields.json");
        assert_eq!(finding.title, "S3 general purpose buckets should have versioning enabled");
        assert_eq!(finding.severity.as_deref(), Some("LOW"));
        let note = finding.note.unwrap();
        assert_eq!(
            (note.updated_by.as_str(), note.updated_at.as_deref()),
            ("jo.bloggs", Some("2026-11-12T14:02:11.000Z"))
        );
        assert!(note.text.starts_with("Owner asked on 12 November.\n"), "{}", note.text);
        assert_eq!(finding.user_defined_fields.get("ticket").map(String::as_str), Some("SEC-4411"));
        assert_eq!(finding.updated_at.as_deref(), Some("2026-11-22T08:14:22.871Z"));
        assert_eq!(finding.json["FutureField"]["nested"][1], 2.5);
        assert_eq!(finding.metadata_uid, None);
        let resource = &finding.resources[0];
        assert_eq!(
            (resource.id.as_str(), resource.partition.as_deref()),
            ("arn:aws:s3:::payments-prod-statements", Some("aws"))
        );
    }

    #[test]
    fn an_ocsf_finding_is_the_same_finding() {
        let finding = finding("ocsf-s3-14-updated-with-comment.json");
        assert!(finding.id.contains(":security-control/S3.14/finding/"), "{}", finding.id);
        assert_eq!(finding.metadata_uid.as_deref().map(str::len), Some(64));
        assert_eq!(finding.note.unwrap().text, "Owner asked.");
        assert_eq!(finding.updated_at.as_deref(), Some("2026-11-22T08:14:22.871Z"));
        let resource = &finding.resources[0];
        assert_eq!(
            (resource.kind.as_str(), resource.id.as_str()),
            ("AWS::S3::Bucket", "payments-prod-statements")
        );
        assert_eq!(resource.id_alt.as_deref(), Some("arn:aws:s3:::payments-prod-statements"));
        assert_eq!(resource.account.as_deref(), Some("123456789012"));
    }

    #[test]
    fn severity_and_parameters() {
        assert_eq!(finding("imported-old-shape.json").severity.as_deref(), Some("MEDIUM"));
        assert_eq!(finding("ocsf-iam-1-global.json").severity.as_deref(), Some("HIGH"));
        let parameters = finding("imported-parameters-ec2-18.json").control_parameters.unwrap();
        assert_eq!(parameters["authorizedTcpPorts"], ["80", "443", "8443"]);
        assert!(parameters["authorizedUdpPorts"].is_empty());
        assert_eq!(finding("imported-s3-14.json").control_parameters, None);
    }

    #[test]
    fn the_envelope_is_of_the_receiver() {
        let mut events = corpus("");
        let member = decode(&events.remove("imported-member-account.json").unwrap()).unwrap().envelope;
        assert_eq!(
            (member.account.as_str(), member.region.as_str(), member.door),
            ("123456789012", "us-east-1", Door::Imported)
        );
        let action = decode(&events.remove("action-undo-passed.json").unwrap()).unwrap().envelope;
        let Door::CustomAction { action_arn, name } = action.door else { panic!("{:?}", action.door) };
        assert_eq!(name, "RedressUndo");
        assert_eq!(action_arn, "arn:aws:securityhub:eu-west-1:123456789012:action/custom/RedressUndo");
        let insight = decode(&events.remove("insight-results.json").unwrap()).unwrap();
        assert!(matches!(insight.envelope.door, Door::CustomAction { .. }));
    }

    #[test]
    fn whoever_clicked_can_be_told() {
        let mut events = corpus("");
        for (name, known) in [
            ("imported-s3-14.json", true),
            ("imported-guardduty.json", true),
            ("imported-sample.json", true),
            ("ocsf-vulnerability.json", true),
            ("hostile-no-resources.json", true),
            ("hostile-twice-workflow.json", false),
            ("insight-results.json", false),
        ] {
            let incoming = decode(&events.remove(name).unwrap()).unwrap();
            let [key] = incoming.keys.as_slice() else { panic!("{name}: {:?}", incoming.keys) };
            assert_eq!(key.is_some(), known, "{name}");
            if let Decoded::Finding(finding) = &incoming.findings[0] {
                assert_eq!(key.as_ref(), Some(&finding.key()), "{name}");
            }
        }
    }

    #[test]
    fn the_product_is_read_to_the_letter() {
        use crate::finding::Product;
        let mut finding = finding("imported-s3-14.json");
        let mut product = |arn: &str| {
            finding.product_arn = arn.to_owned();
            finding.product()
        };
        for arn in [
            "arn:aws:securityhub:eu-west-1::product/aws/securityhub",
            "arn:aws-cn:securityhub:cn-north-1::productv2/aws/securityhub",
        ] {
            assert_eq!(product(arn), Product::SecurityHub);
        }
        let own = "arn:aws:securityhub:eu-west-1:123456789012:product/123456789012/default";
        assert_eq!(product(own), Product::OwnDefault { account: "123456789012".to_owned() });
        for arn in [
            "",
            "arn:aws:securityhub:::product/aws/securityhub",
            "arn::securityhub:eu-west-1::product/aws/securityhub",
            "arn:aws:securityhub:eu-west-1:123456789012:product/aws/securityhub",
            "arn:aws:securityhub:eu-west-1::product/aws/securityhub ",
            "arn:aws:securityhub:eu-west-1::product/AWS/securityhub",
            "arn:aws:securityhub:eu-west-1::product/aws/securityhub-coverage",
            "arn:aws:securityhub:eu-west-1::product/aws/guardduty",
            "arn:aws:securityhub:EU:1::product/aws/securityhub",
            "arn:aws:iam:eu-west-1::product/aws/securityhub",
            "arn:aws:securityhub:eu-west-1:123456789012:product/999988887777/default",
            "arn:aws:securityhub:eu-west-1::product/123456789012/default",
            "arn:aws:securityhub:eu-west-1:123:product/123/default",
        ] {
            assert_eq!(product(arn), Product::Other, "{arn}");
        }
    }

    #[test]
    fn what_is_no_event_gets_one_line() {
        let nested = [b'['].repeat(MAX_EVENT);
        let closed = [[b'['].repeat(MAX_EVENT / 2), [b']'].repeat(MAX_EVENT / 2)].concat();
        let event = String::from_utf8(corpus("").remove("imported-s3-14.json").unwrap()).unwrap();
        let deep =
            event.replace("\"payments-prod\"", &format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)));
        let many_keys: String = (0..60_000)
            .flat_map(|key| ["\"k", &key.to_string(), "\":0,"].concat().into_bytes())
            .map(char::from)
            .collect();
        let many_keys = event.replace("\"AwsAccountName\"", &format!("{many_keys}\"k7\""));
        for (what, bytes, expected) in [
            ("nothing", Vec::new(), "not JSON: EOF while parsing a value at line 1 column 0"),
            ("open arrays", nested, "not JSON: EOF while parsing a list at line 1 column 1048576"),
            ("closed arrays", closed, "an array, where an object belongs"),
            ("nested in the finding", deep.into_bytes(), "detail.findings[0]: nested deeper than 127 levels"),
            ("many keys", many_keys.into_bytes(), "detail.findings[0].k7: key stands twice"),
            ("too large", vec![b' '; MAX_EVENT + 1], "1048577 bytes, of at most 1048576"),
            ("a number", b"17".to_vec(), "a number, where an object belongs"),
            ("no type", b"{}".to_vec(), "detail-type: missing"),
            ("null type", br#"{"detail-type": null}"#.to_vec(), "detail-type: missing"),
            ("text", b"hello".to_vec(), "not JSON: expected value at line 1 column 1"),
            ("escape", b"\x1b[31m".to_vec(), "not JSON: expected value at line 1 column 1"),
            ("NUL", b"\0".to_vec(), "not JSON: expected value at line 1 column 1"),
        ] {
            let invalid = match decode(&bytes) {
                Err(invalid) => invalid,
                Ok(incoming) => match &incoming.findings[0] {
                    Decoded::Invalid(invalid) => invalid.clone(),
                    other => panic!("{what}: {other:?}"),
                },
            };
            assert_eq!(invalid.to_string(), expected, "{what}");
        }
    }

    #[test]
    fn what_is_no_input_of_the_cli_gets_one_line() {
        for (bytes, expected) in [
            (b"".as_slice(), "empty input: no finding in it"),
            (b" \n \n", "empty input: no finding in it"),
            (b"{\"Findings\": [", "not JSON: EOF while parsing a list at line 1 column 14"),
            (b"\xff\xfe{\0", "UTF-16 text, where UTF-8 is needed"),
            (b"\x1f\x8b\x08", "not text: byte 1 is not UTF-8"),
        ] {
            assert_eq!(decode_many(bytes).unwrap_err().to_string(), expected);
        }
        let lines = |bytes: &[u8]| decode_many(bytes).unwrap().iter().map(in_a_line).collect::<Vec<_>>();
        assert_eq!(lines(b"[]"), ["ignored (no_findings): the event holds no finding"]);
        assert_eq!(lines(b"{\"Findings\": 3}"), ["invalid: Findings: a number, where an array belongs"]);
        assert_eq!(lines(b"17"), ["invalid: a number, where an object belongs"]);
        assert_eq!(lines(b"[[[]]]"), ["invalid: [0]: an array, where an object belongs"]);
        assert_eq!(
            lines("\u{feff}{\"class_uid\": 2002}\n\n\n{\"ProductArn\": 5}".as_bytes()),
            [
                "ignored (not_control): not a finding of a control (product ``)",
                "invalid: line 4: Id: missing"
            ]
        );
    }

    #[test]
    fn untrusted_text_is_shown_safely() {
        for (text, expected) in [
            ("arn:aws:s3:::a-b_c/ü", "arn:aws:s3:::a-b_c/ü"),
            ("\u{1b}[31mred\r\n", "\\u{1b}[31mred\\r\\n"),
            ("\u{9b}31m\u{7f}\0", "\\u{9b}31m\\u{7f}\\0"),
            (
                "a\u{202e}b\u{200b}c\u{2028}d\u{feff}e\u{ad}",
                "a\\u{202e}b\\u{200b}c\\u{2028}d\\u{feff}e\\u{ad}",
            ),
            ("`rm`", "\\u{60}rm\\u{60}"),
            ("it's \"q\" \\", "it's \"q\" \\"),
        ] {
            assert_eq!(shown(text), expected);
        }
        assert_eq!(shown(&"x".repeat(1_000_000)).chars().count(), LONGEST_SHOWN + 1);
        for (name, bytes) in corpus("") {
            for line in in_lines(&bytes) {
                assert!(!line.chars().any(char::is_control), "{name}: {line:?}");
                assert!(line.len() < 600, "{name}: {line}");
            }
        }
    }

    /// A small generator, the same on every run.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, sides: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 % u64::try_from(sides.max(1)).unwrap()).unwrap()
        }
    }

    const WORDS: [&str; 34] = [
        "FAILED",
        "PASSED",
        "WARNING",
        "NEW",
        "NOTIFIED",
        "RESOLVED",
        "SUPPRESSED",
        "ACTIVE",
        "ARCHIVED",
        "S3.14",
        "s3.14",
        "EC2.12",
        "S3.8",
        "\"Status\"",
        "\"Compliance\"",
        "\"Workflow\"",
        "\"WorkflowState\"",
        "\"RecordState\"",
        "\"SecurityControlId\"",
        "\"GeneratorId\"",
        "\"ProductFields\"",
        "\"Id\"",
        "\"findings\"",
        "\"detail\"",
        "\"status_id\"",
        "\"compliance\"",
        "\"control\"",
        "\"activity_id\"",
        "null",
        "2003",
        ": 1",
        ": 3",
        ": 5",
        "[",
    ];

    fn mutated(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=dice.below(3) {
            let at = dice.below(bytes.len());
            match dice.below(6) {
                // One word for another, which mostly leaves it an event.
                0..=3 => {
                    let (from, to) = (WORDS[dice.below(WORDS.len())], WORDS[dice.below(WORDS.len())]);
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    let places: Vec<_> = text.match_indices(from).map(|(place, _)| place).collect();
                    if !places.is_empty() {
                        let place = places[dice.below(places.len())];
                        bytes = [&text[..place], to, &text[place + from.len()..]].concat().into_bytes();
                    }
                }
                // A line twice, so a key twice.
                4 => {
                    let mut lines: Vec<_> =
                        bytes.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
                    let line = lines[dice.below(lines.len())].clone();
                    lines.insert(dice.below(lines.len()), line);
                    bytes = lines.concat();
                }
                _ => bytes[at] = u8::try_from(dice.below(256)).unwrap(),
            }
        }
        bytes
    }

    #[test]
    fn a_glance_never_drops_what_is_wanted() {
        let wanted = |control: &str| matches!(control, "S3.14" | "S3.8" | "EC2.6" | control::INACTIVE_USER);
        let mut dice = Dice(0x5eed_1234_5678_9abc);
        let (mut kept, mut dropped, mut acted_on) = (0, 0, 0);
        for (name, original) in corpus("") {
            for round in 0..120 {
                let bytes = if round == 0 { original.clone() } else { mutated(&original, &mut dice) };
                let decoded = decode(&bytes);
                let matters = decoded.as_ref().is_ok_and(|incoming| {
                    incoming.envelope.door != Door::Imported
                        || incoming.findings.iter().any(|decoded| {
                            matches!(decoded, Decoded::Finding(finding)
                                if finding.actionable(true).is_ok() && wanted(finding.control.as_str()))
                        })
                });
                acted_on += u32::from(matters);
                match glance(&bytes, &wanted) {
                    Glance::Keep => kept += 1,
                    Glance::Drop(ignored) => {
                        dropped += 1;
                        let input = String::from_utf8_lossy(&bytes);
                        assert!(
                            !matters,
                            "{name}, round {round}: dropped ({ignored}), but {decoded:?}\n{input}"
                        );
                    }
                }
            }
        }
        assert!(
            kept > 1000 && dropped > 1000 && acted_on > 500,
            "{kept} kept, {dropped} dropped, {acted_on} matter"
        );
    }

    #[test]
    fn a_glance_drops_for_the_right_reason() {
        let events = corpus("");
        let all = |_: &str| true;
        for (name, reason) in [
            ("imported-passed.json", "not_failed"),
            ("imported-warning.json", "not_failed"),
            ("imported-notified.json", "workflow"),
            ("imported-resolved.json", "workflow"),
            ("imported-archived.json", "archived"),
            ("imported-guardduty.json", "not_control"),
            ("standard-cis-5-0-unknown.json", "unknown_control"),
            ("ocsf-passed.json", "not_failed"),
            ("ocsf-coverage.json", "coverage"),
            ("ocsf-vulnerability.json", "not_control"),
        ] {
            let Glance::Drop(ignored) = glance(&events[name], &all) else { panic!("{name}: kept") };
            assert_eq!(ignored.name(), reason, "{name}");
        }
        for name in [
            "imported-s3-14.json",
            "imported-two-findings.json",
            "action-undo-passed.json",
            "insight-results.json",
            "hostile-twice-workflow.json",
            "hostile-truncated.json",
            "hostile-forged-default-product.json",
            "imported-own-inactive-user.json",
        ] {
            assert_eq!(glance(&events[name], &all), Glance::Keep, "{name}");
        }
        let none = |_: &str| false;
        assert_eq!(
            glance(&events["imported-s3-14.json"], &none),
            Glance::Drop(Ignored::NoRule("S3.14".to_owned()))
        );
        assert_eq!(
            glance(&events["standard-pci-s3-3.json"], &none),
            Glance::Drop(Ignored::NoRule("S3.3".to_owned()))
        );
        assert_eq!(glance(&events["action-one.json"], &none), Glance::Keep);
    }

    #[test]
    fn an_envelope_out_of_bounds_is_no_event() {
        let bytes = corpus("").remove("imported-note-and-fields.json").unwrap();
        let event: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let with_id = |id: &str| {
            let mut event = event.clone();
            event["id"] = id.into();
            decode(event.to_string().as_bytes())
        };
        assert!(with_id(&"e".repeat(256)).is_ok());
        for id in [String::new(), "e".repeat(257), "e\n".to_owned()] {
            let invalid = with_id(&id).unwrap_err().to_string();
            assert!(invalid.contains("not the id of an event"), "{invalid}");
        }
    }

    #[test]
    fn nothing_but_the_arn_of_a_custom_action_is_one() {
        let bytes = corpus("").remove("action-one.json").unwrap();
        let event: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let asked = |arn: &str| {
            let mut event = event.clone();
            event["resources"][0] = arn.into();
            decode(event.to_string().as_bytes())
        };
        assert!(asked("arn:aws:securityhub:eu-west-1:123456789012:action/custom/RedressFix").is_ok());
        for other in [
            "arn:aws:securityhub:eu-west-1:123456789012:hub/default",
            "arn:aws:securityhub:eu-west-1:123456789012:action/custom/Redress\u{1b}[2J",
            "arn:aws:s3:::action/custom/RedressFix",
        ] {
            assert!(asked(other).is_err(), "{other}");
        }
    }

    #[test]
    fn one_mark_of_asff_is_enough_to_read_it_as_that() {
        for mark in ["ProductArn", "AwsAccountId", "SchemaVersion"] {
            let decoded = decode_many(format!(r#"{{"{mark}":"x"}}"#).as_bytes()).unwrap();
            let [Decoded::Invalid(invalid)] = decoded.as_slice() else { panic!("{decoded:?}") };
            assert!(!invalid.to_string().contains("neither"), "{mark}: {invalid}");
        }
        let decoded = decode_many(b"{\"Mark\":1}").unwrap();
        assert!(
            matches!(decoded.as_slice(), [Decoded::Invalid(invalid)] if invalid.to_string().contains("neither"))
        );
    }

    /// A finding of the corpus with something else in it.
    fn altered(name: &str, alter: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
        let mut event: serde_json::Value = serde_json::from_slice(&corpus("").remove(name).unwrap()).unwrap();
        alter(&mut event["detail"]["findings"][0]);
        event.to_string().into_bytes()
    }

    fn altered_finding(name: &str, alter: impl FnOnce(&mut serde_json::Value)) -> Finding {
        match decode(&altered(name, alter)).unwrap().findings.remove(0) {
            Decoded::Finding(finding) => *finding,
            other => panic!("{name}: {other:?}"),
        }
    }

    /// One field that names another control than the rest is enough to believe none of them, and no glance drops the
    /// event as another control's.
    #[test]
    fn every_field_that_names_a_control_must_agree() {
        const CIS: &str = "standard-cis-1-2-ec2-6.json";
        const OCSF: &str = "ocsf-s3-14.json";
        type Alter = fn(&mut serde_json::Value);
        let conflicts: [(&str, Alter); 9] = [
            (CIS, |finding| finding["Compliance"]["SecurityControlId"] = "S3.14".into()),
            (CIS, |finding| finding["GeneratorId"] = "security-control/S3.14".into()),
            (CIS, |finding| {
                finding["Id"] =
                    "arn:aws:securityhub:eu-west-1:123456789012:security-control/S3.14/finding/1".into();
            }),
            (CIS, |finding| finding["ProductFields"]["ControlId"] = "S3.14".into()),
            (CIS, |finding| finding["ProductFields"]["RuleId"] = "1.14".into()),
            // A rule's number is one of the standard that the finding names, by either field.
            (CIS, |finding| {
                finding["GeneratorId"] = "security-control/EC2.6".into();
                finding["ProductFields"]["RuleId"] = "1.14".into();
            }),
            (CIS, |finding| {
                finding["GeneratorId"] = "security-control/EC2.6".into();
                finding["ProductFields"]["StandardsArn"] =
                    finding["ProductFields"]["StandardsGuideArn"].take();
                finding["ProductFields"]["RuleId"] = "1.14".into();
            }),
            (OCSF, |finding| finding["compliance"]["control"] = "EC2.13".into()),
            (OCSF, |finding| {
                finding["finding_info"]["uid"] =
                    "arn:aws:securityhub:eu-west-1:123456789012:security-control/EC2.13/finding/1".into();
            }),
        ];
        for (number, (name, alter)) in conflicts.into_iter().enumerate() {
            let bytes = altered(name, alter);
            let lines = in_lines(&bytes);
            assert!(lines[0].contains("control id `"), "{number}: {lines:?}");
            assert_eq!(glance(&bytes, &|_| false), Glance::Keep, "{number}");
        }
    }

    /// Of OCSF, only a compliance finding that names a control is one.
    #[test]
    fn a_class_or_a_control_alone_is_no_control_finding() {
        for (place, value) in [("/class_uid", 2004.into()), ("/compliance/control", serde_json::Value::Null)]
        {
            let bytes = altered("ocsf-s3-14.json", |finding| *finding.pointer_mut(place).unwrap() = value);
            assert!(in_lines(&bytes)[0].starts_with("ignored ("), "{:?}", in_lines(&bytes));
            assert!(matches!(glance(&bytes, &|_| true), Glance::Drop(_)));
        }
    }

    #[test]
    fn a_glance_keeps_what_is_too_long_or_of_another_source() {
        let bytes = altered("imported-passed.json", |finding| finding["Description"] = "".into());
        let of_length = |length: usize| {
            altered("imported-passed.json", |finding| {
                finding["Description"] = "x".repeat(length - bytes.len()).into();
            })
        };
        assert!(matches!(glance(&of_length(MAX_EVENT), &|_| true), Glance::Drop(_)));
        assert_eq!(glance(&of_length(MAX_EVENT + 1), &|_| true), Glance::Keep);
        assert_eq!(glance(&corpus("")["other-source.json"], &|_| false), Glance::Keep);
        // Nor is one dropped that is like Security Hub's in all but its source.
        let ours = String::from_utf8(corpus("")["imported-s3-14.json"].clone()).unwrap();
        assert!(matches!(glance(ours.as_bytes(), &|_| false), Glance::Drop(_)));
        let other = ours.replace("\"aws.securityhub\"", "\"aws.other\"");
        assert_ne!(other, ours);
        assert_eq!(glance(other.as_bytes(), &|_| false), Glance::Keep);
    }

    #[test]
    fn what_stands_where_an_object_belongs_is_named() {
        for (text, kind) in [
            ("\"x\"", "a string"),
            ("true", "a boolean"),
            ("false", "a boolean"),
            ("null", "null"),
            ("1", "a number"),
            ("[]", "an array"),
        ] {
            let invalid = decode(text.as_bytes()).unwrap_err().to_string();
            assert!(invalid.contains(kind), "{text}: {invalid}");
        }
    }

    #[test]
    fn severities_are_words_or_numbers_on_a_scale() {
        let asff = |severity: serde_json::Value| {
            altered_finding("imported-s3-14.json", |finding| {
                finding["Severity"] = severity;
                finding.as_object_mut().unwrap().remove("FindingProviderFields");
            })
            .severity
        };
        for (score, label) in
            [(90, "CRITICAL"), (89, "HIGH"), (70, "HIGH"), (40, "MEDIUM"), (1, "LOW"), (0, "INFORMATIONAL")]
        {
            assert_eq!(asff(serde_json::json!({ "Normalized": score })).as_deref(), Some(label));
            assert_eq!(asff(serde_json::json!({ "Normalized": score.to_string() })).as_deref(), Some(label));
        }
        let ocsf = |severity: serde_json::Value, text: Option<&str>| {
            altered_finding("ocsf-s3-14.json", |finding| {
                finding["severity_id"] = severity;
                finding["severity"] = text.into();
            })
            .severity
        };
        for (id, label) in
            [(1, "INFORMATIONAL"), (2, "LOW"), (3, "MEDIUM"), (4, "HIGH"), (5, "CRITICAL"), (6, "CRITICAL")]
        {
            assert_eq!(ocsf(id.into(), None).as_deref(), Some(label));
        }
        // What is no word is none, since words are shown as they are.
        let longest = "A".repeat(32);
        for (text, known) in [
            ("Rather_High", Some("RATHER_HIGH")),
            (longest.as_str(), Some(longest.as_str())),
            (&"A".repeat(33), None),
            ("HIGH; x", None),
            ("\u{1b}[31m", None),
            ("", None),
        ] {
            assert_eq!(ocsf(99.into(), Some(text)).as_deref(), known, "{text:?}");
        }
    }

    #[test]
    fn parameters_are_texts_numbers_and_truths() {
        let of = |values: serde_json::Value| {
            let finding = altered_finding("ocsf-s3-14.json", |finding| {
                finding["compliance"]["control_parameters"] = values;
            });
            finding.control_parameters.unwrap()
        };
        let read = of(serde_json::json!([
            { "name": "ports", "values": [80, "443"] },
            { "name": "on", "values": true },
            { "name": "days", "values": null, "value": 30 },
            { "name": "none", "values": null },
        ]));
        assert_eq!(read["ports"], ["80", "443"]);
        assert_eq!(read["on"], ["true"]);
        assert_eq!(read["days"], ["30"]);
        assert!(read["none"].is_empty());
    }

    #[test]
    fn names_and_lists_have_a_longest_length() {
        let prefix = "arn:aws:s3:::";
        let long = |length: usize| {
            in_lines(&altered("imported-s3-14.json", |finding| {
                finding["Resources"][0]["Id"] =
                    format!("{prefix}{}", "x".repeat(length - prefix.len())).into();
            }))
        };
        assert!(long(2048)[0].ends_with("yes"), "{:?}", long(2048));
        for length in [2049, 2100] {
            assert!(long(length)[0].contains("of at most 2048"), "{:?}", long(length));
        }
        let many = |many: usize| {
            in_lines(&altered("imported-s3-14.json", |finding| {
                let one = finding["Resources"][0].clone();
                finding["Resources"] = vec![one; many].into();
            }))
        };
        assert!(many(32)[0].ends_with("yes"));
        assert!(many(33)[0].contains("33 resources"));
    }

    #[test]
    fn what_a_finding_leaves_out_is_read_elsewhere() {
        let finding = altered_finding("imported-s3-14.json", |finding| {
            finding.as_object_mut().unwrap().remove("Region");
            finding["Resources"][0]["Region"] = "global".into();
        });
        assert_eq!(finding.region, "eu-west-1");
        let finding = altered_finding("ocsf-s3-14.json", |finding| {
            finding["metadata"].as_object_mut().unwrap().remove("uid");
        });
        assert_eq!(finding.metadata_uid, None);
    }

    /// An input of many may be long, a finding in it may not.
    #[test]
    fn a_finding_is_as_long_as_an_event_at_most() {
        let bytes = corpus("cli").remove("bare-asff.json").unwrap();
        let mut finding: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        finding["Description"] = "".into();
        let room = MAX_EVENT - finding.to_string().len();
        for (length, fits) in [(room, true), (room + 1, false), (room + 100, false)] {
            finding["Description"] = "x".repeat(length).into();
            let decoded = decode_many(finding.to_string().as_bytes()).unwrap().remove(0);
            assert_eq!(matches!(decoded, Decoded::Finding(_)), fits, "{length}");
            if !fits {
                assert!(in_a_line(&decoded).contains("bytes, of at most 1048576"));
            }
        }
    }

    #[test]
    fn a_message_of_our_own_may_be_four_times_as_long() {
        assert_eq!(printable(&"x".repeat(640)), "x".repeat(640));
        assert!(printable(&"x".repeat(641)).chars().count() <= 641);
        assert_ne!(printable(&"x".repeat(700)), "x".repeat(700));
    }
}
