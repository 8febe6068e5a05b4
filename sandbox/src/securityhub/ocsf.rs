//! Findings in the Open Cybersecurity Schema Framework (Security Hub's V2 operations).

use http::StatusCode;
use serde_json::{Value, json};

use super::filter::{self, Filters};
use super::json::{at, set, text, time};
use super::{ApiError, Caller, State, page};
use crate::findings::ComplianceStatus;

pub(super) const IMPORTED: &str = "Findings Imported V2";

/// Ids and captions of `severity` ([schema](https://schema.ocsf.io/)).
const SEVERITIES: [(i64, &str); 8] = [
    (0, "Unknown"),
    (1, "Informational"),
    (2, "Low"),
    (3, "Medium"),
    (4, "High"),
    (5, "Critical"),
    (6, "Fatal"),
    (99, "Other"),
];

/// Ids and captions of `status` of a finding.
const STATUSES: [(i64, &str); 7] = [
    (0, "Unknown"),
    (1, "New"),
    (2, "In Progress"),
    (3, "Suppressed"),
    (4, "Resolved"),
    (5, "Archived"),
    (99, "Other"),
];

const NEW: i64 = 1;
const IN_PROGRESS: i64 = 2;
const RESOLVED: i64 = 4;

fn caption(captions: &[(i64, &'static str)], id: i64) -> Option<&'static str> {
    captions.iter().find(|(known, _)| *known == id).map(|(_, caption)| *caption)
}

fn number(value: &Value, path: &str) -> i64 {
    at(value, path).and_then(Value::as_i64).unwrap_or_default()
}

fn validation(message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "ValidationException", message)
}

/// Checks that a finding can be told from others.
pub(super) fn check(finding: &Value) -> Result<(), String> {
    for path in
        ["metadata.uid", "metadata.product.uid", "finding_info.uid", "cloud.account.uid", "cloud.region"]
    {
        if text(finding, path).is_empty() {
            return Err(format!("the finding has no `{path}`"));
        }
    }
    if number(finding, "class_uid") == 0 {
        return Err("the finding has no `class_uid`".to_owned());
    }
    Ok(())
}

fn set_status(finding: &mut Value, id: i64) {
    set(finding, "status_id", id.into());
    set(finding, "status", caption(&STATUSES, id).into());
}

fn set_severity(finding: &mut Value, id: i64) {
    set(finding, "severity_id", id.into());
    set(finding, "severity", caption(&SEVERITIES, id).into());
}

impl State {
    fn ocsf_visible(&self, caller: &Caller, finding: &Value) -> bool {
        self.sees(caller, text(finding, "cloud.account.uid"), text(finding, "cloud.region"))
    }

    /// Stores a finding that has been checked, and returns its events. What a customer set (comment,
    /// status) outlives the provider's updates, and changes by the same rules as an ASFF finding's
    /// workflow.
    pub(super) fn import_ocsf(&mut self, mut finding: Value) -> Vec<Value> {
        let uid = text(&finding, "metadata.uid").to_owned();
        let place = self.ocsf.iter().position(|known| text(known, "metadata.uid") == uid);
        let before = place.and_then(|place| self.ocsf.get(place)).cloned();
        let (passed, failed) = (1, 3);
        let status = number(&finding, "compliance.status_id");
        if let Some(before) = &before {
            let mut workflow = number(before, "status_id");
            let was = number(before, "compliance.status_id");
            if status == passed && [NEW, IN_PROGRESS].contains(&workflow) {
                workflow = RESOLVED;
            } else if was == passed && status == failed && [IN_PROGRESS, RESOLVED].contains(&workflow) {
                workflow = NEW;
            }
            set_status(&mut finding, workflow);
            if let Some(comment) = before.get("comment") {
                set(&mut finding, "comment", comment.clone());
            }
            set(&mut finding, "activity_id", 2.into());
            set(&mut finding, "activity_name", "Update".into());
            let class = number(&finding, "class_uid");
            set(&mut finding, "type_uid", (class * 100 + 2).into());
            let name = format!("{}: Update", text(&finding, "class_name"));
            set(&mut finding, "type_name", name.into());
        } else if status == passed && number(&finding, "status_id") == NEW {
            set_status(&mut finding, RESOLVED);
        }
        match place.and_then(|place| self.ocsf.get_mut(place)) {
            Some(known) => *known = finding.clone(),
            None => self.ocsf.push(finding.clone()),
        }
        self.announce_ocsf(&finding)
    }

    fn announce_ocsf(&mut self, finding: &Value) -> Vec<Value> {
        let (account, region) = (text(finding, "cloud.account.uid"), text(finding, "cloud.region"));
        self.announce(IMPORTED, account, region, text(finding, "metadata.uid"), finding)
    }

    /// Checks the control of a finding again; nothing where there is no such finding.
    pub(super) fn reevaluate_ocsf(&mut self, id: &str, status: ComplianceStatus) -> Option<Vec<Value>> {
        let is_it =
            |finding: &&Value| text(finding, "finding_info.uid") == id || text(finding, "metadata.uid") == id;
        let mut finding = self.ocsf.iter().find(is_it)?.clone();
        let (status_id, caption) = status.ocsf();
        set(&mut finding, "compliance.status_id", status_id.into());
        set(&mut finding, "compliance.status", caption.into());
        let failed = match self.severity_of(text(&finding, "compliance.control")).as_deref() {
            Some("LOW") => 2,
            Some("HIGH") => 4,
            Some("CRITICAL") => 5,
            _ => 3,
        };
        let severity = if status == ComplianceStatus::Passed { 1 } else { failed };
        set_severity(&mut finding, severity);
        set(&mut finding, "vendor_attributes.severity_id", severity.into());
        set(&mut finding, "vendor_attributes.severity", super::ocsf::caption(&SEVERITIES, severity).into());
        let now = self.now();
        for path in ["time", "finding_info.modified_time", "finding_info.last_seen_time"] {
            set(&mut finding, path, now.as_millisecond().into());
            set(&mut finding, &format!("{path}_dt"), time(now).into());
        }
        Some(self.import_ocsf(finding))
    }

    pub(super) fn get_findings_v2(&self, caller: &Caller, input: &Value) -> Result<Value, ApiError> {
        if input.get("Scopes").is_some_and(|scopes| !scopes.is_null()) {
            return Err(validation("Scopes need an organization, and there is none here"));
        }
        let filters =
            Filters::ocsf(input.get("Filters"), self.settings.allow_contains).map_err(validation)?;
        let sort = filter::ocsf_order(input.get("SortCriteria")).map_err(validation)?;
        let now = self.now();
        let mut found: Vec<&Value> = self
            .ocsf
            .iter()
            .filter(|finding| self.ocsf_visible(caller, finding) && filters.matches(finding, now))
            .collect();
        filter::sort(&mut found, &sort);
        let (found, next) = page(found, caller, input).map_err(validation)?;
        let mut output = json!({ "Findings": found });
        if let Some(next) = next {
            set(&mut output, "NextToken", next.into());
        }
        Ok(output)
    }

    pub(super) fn batch_update_findings_v2(
        &mut self,
        caller: &Caller,
        input: &Value,
    ) -> Result<Value, ApiError> {
        let update = Update::read(input)?;
        let asked = |name: &str| match input.get(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(items)) if items.len() <= 100 => Ok(items.clone()),
            Some(_) => Err(validation(format!("{name} must be a list of at most 100"))),
        };
        let (uids, identifiers) = (asked("MetadataUids")?, asked("FindingIdentifiers")?);
        if uids.is_empty() == identifiers.is_empty() {
            return Err(validation("either MetadataUids or FindingIdentifiers must be given, not both"));
        }
        for identifier in &identifiers {
            for member in ["CloudAccountUid", "FindingInfoUid", "MetadataProductUid"] {
                if text(identifier, member).is_empty() {
                    return Err(validation(format!("FindingIdentifiers need a {member}")));
                }
            }
        }
        let (mut processed, mut unprocessed) = (Vec::new(), Vec::new());
        for asked in uids.iter().chain(&identifiers) {
            let place = self.ocsf.iter().position(|finding| {
                let same = |path: &str, member: &str| text(finding, path) == text(asked, member);
                let is_it = match asked.as_str() {
                    Some(uid) => text(finding, "metadata.uid") == uid,
                    None => {
                        same("cloud.account.uid", "CloudAccountUid")
                            && same("finding_info.uid", "FindingInfoUid")
                            && same("metadata.product.uid", "MetadataProductUid")
                    }
                };
                is_it && self.ocsf_visible(caller, finding)
            });
            if let Some(finding) = place.and_then(|place| self.ocsf.get_mut(place)) {
                update.apply(finding);
                let finding = finding.clone();
                self.announce_ocsf(&finding);
                processed.push(json!({
                    "FindingIdentifier": {
                        "CloudAccountUid": text(&finding, "cloud.account.uid"),
                        "FindingInfoUid": text(&finding, "finding_info.uid"),
                        "MetadataProductUid": text(&finding, "metadata.product.uid"),
                    },
                    "MetadataUid": text(&finding, "metadata.uid"),
                }));
            } else {
                let member = if asked.is_string() { "MetadataUid" } else { "FindingIdentifier" };
                unprocessed.push(json!({
                    member: asked,
                    "ErrorCode": "ResourceNotFoundException",
                    "ErrorMessage": "Finding Not Found",
                }));
            }
        }
        Ok(json!({ "ProcessedFindings": processed, "UnprocessedFindings": unprocessed }))
    }
}

/// What a customer changes. Times of the finding stay as they are.
struct Update {
    comment: Option<String>,
    severity: Option<i64>,
    status: Option<i64>,
}

impl Update {
    fn read(input: &Value) -> Result<Self, ApiError> {
        let comment = match input.get("Comment") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if !text.trim().is_empty() && text.chars().count() <= 512 => {
                Some(text.clone())
            }
            Some(_) => return Err(validation("Comment must have 1 to 512 characters")),
        };
        let id = |name: &str, allowed: &[(i64, &'static str)]| match input.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(given) => given
                .as_i64()
                .filter(|id| caption(allowed, *id).is_some())
                .map(Some)
                .ok_or_else(|| validation(format!("{name} is not one of the allowed values"))),
        };
        let update =
            Self { comment, severity: id("SeverityId", &SEVERITIES)?, status: id("StatusId", &STATUSES)? };
        if update.comment.is_none() && update.severity.is_none() && update.status.is_none() {
            return Err(validation("at least one of Comment, SeverityId, StatusId must be given"));
        }
        Ok(update)
    }

    fn apply(&self, finding: &mut Value) {
        if let Some(comment) = &self.comment {
            set(finding, "comment", comment.as_str().into());
        }
        if let Some(severity) = self.severity {
            set_severity(finding, severity);
        }
        if let Some(status) = self.status {
            set_status(finding, status);
        }
    }
}
