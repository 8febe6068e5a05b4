//! Findings in the AWS Security Finding Format: import, update, query.

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::filter::{self, Filters};
use super::format::{check, check_update, given, invalid, label, list, normalized, within_format};
use super::json::{at, merge, set, text, time};
use super::{ApiError, Caller, MAX_FINDING_BYTES, State, is_account, page, partition};
use crate::findings::ComplianceStatus;

pub(super) const IMPORTED: &str = "Security Hub Findings - Imported";

/// What a provider may not change after the first import: it is the customer's
/// ([`BatchImportFindings`](https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_BatchImportFindings.html)).
const CUSTOMERS: [&str; 5] = ["Note", "UserDefinedFields", "VerificationState", "Workflow", "WorkflowState"];

/// What a provider states in `FindingProviderFields` and a customer may override at the top level.
const PROVIDERS: [&str; 5] = ["Confidence", "Criticality", "RelatedFindings", "Severity", "Types"];

/// A finding, and what of it the customer has overridden.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) finding: Value,
    overridden: Vec<&'static str>,
}

impl Stored {
    pub(super) fn id(&self) -> &str {
        text(&self.finding, "Id")
    }

    pub(super) fn account(&self) -> &str {
        text(&self.finding, "AwsAccountId")
    }

    pub(super) fn region(&self) -> &str {
        text(&self.finding, "Region")
    }

    fn is(&self, id: &str, product: &str) -> bool {
        self.id() == id && text(&self.finding, "ProductArn") == product
    }

    fn resource(&self) -> String {
        format!("{}/{}", text(&self.finding, "ProductArn"), self.id())
    }
}

impl State {
    pub(super) fn batch_import_findings(
        &mut self,
        caller: &Caller,
        input: &Value,
    ) -> Result<Value, ApiError> {
        let findings = list(input, "Findings", 100)?;
        let Caller { account, region, .. } = caller;
        let product =
            format!("arn:{}:securityhub:{region}:{account}:product/{account}/default", partition(region));
        for finding in findings {
            let asked = finding.get("ProductArn").and_then(Value::as_str);
            let owner = finding.get("AwsAccountId").and_then(Value::as_str);
            // The API model does not list this error, but it is what callers get, for a foreign account as
            // well as for a foreign product; the message names the product either way.
            if asked.is_some_and(|asked| asked != product) || owner.is_some_and(|owner| owner != account) {
                let message = format!(
                    "User: arn:{}:iam::{account}:{} is not authorized to perform: \
                     securityhub:BatchImportFindings on resource: {}",
                    partition(region),
                    if is_account(&caller.access_key) { "root" } else { "user/caller" },
                    asked.unwrap_or_default(),
                );
                return Err(ApiError::new(StatusCode::FORBIDDEN, "AccessDeniedException", message));
            }
        }
        let mut failed = Vec::new();
        for finding in findings {
            match check(finding) {
                Ok(()) => {
                    self.import(finding.clone(), Some(region));
                }
                Err(message) => {
                    let id = finding.get("Id").and_then(Value::as_str).filter(|id| !id.is_empty());
                    failed.push(json!({
                        "Id": id.unwrap_or("unknown"),
                        "ErrorCode": "InvalidInput",
                        "ErrorMessage": message,
                    }));
                }
            }
        }
        Ok(json!({
            "FailedCount": failed.len(),
            "SuccessCount": findings.len() - failed.len(),
            "FailedFindings": failed,
        }))
    }

    /// Stores a finding that has been checked, and returns its events.
    pub(super) fn import(&mut self, mut finding: Value, region: Option<&str>) -> Vec<Value> {
        let now = self.now();
        complete(&mut finding, region, now);
        let place = self.asff.iter().position(|stored| {
            stored.is(text(&finding, "Id"), text(&finding, "ProductArn"))
                && stored.account() == text(&finding, "AwsAccountId")
                && stored.region() == text(&finding, "Region")
        });
        if let Some(stored) = place.and_then(|place| self.asff.get_mut(place)) {
            let before = std::mem::replace(&mut stored.finding, finding);
            for field in CUSTOMERS.iter().chain(&stored.overridden) {
                match (before.get(field), stored.finding.as_object_mut()) {
                    (Some(kept), _) => set(&mut stored.finding, field, kept.clone()),
                    (None, Some(object)) => {
                        object.shift_remove(*field);
                    }
                    (None, None) => {}
                }
            }
            settle(&mut stored.finding, Some(&before));
        } else {
            settle(&mut finding, None);
            self.asff.push(Stored { finding, overridden: Vec::new() });
        }
        let place = place.unwrap_or(self.asff.len() - 1);
        self.announce_asff(place)
    }

    fn announce_asff(&mut self, place: usize) -> Vec<Value> {
        let Some(stored) = self.asff.get(place).cloned() else { return Vec::new() };
        self.announce(IMPORTED, stored.account(), stored.region(), &stored.resource(), &stored.finding)
    }

    /// Changes a finding as its provider.
    pub(super) fn patch(&mut self, id: &str, patch: &Value) -> Result<Vec<Value>, String> {
        let stored = self.asff.iter().find(|stored| stored.id() == id);
        let stored = stored.ok_or_else(|| format!("there is no finding `{id}`"))?;
        let mut finding = stored.finding.clone();
        set(&mut finding, "UpdatedAt", time(self.now()).into());
        merge(&mut finding, patch);
        check(&finding)?;
        let same = |path| text(&finding, path) == text(&stored.finding, path);
        if !["Id", "ProductArn", "AwsAccountId", "Region"].into_iter().all(same) {
            return Err("a patch cannot change which finding it is".to_owned());
        }
        Ok(self.import(finding, None))
    }

    pub(super) fn reevaluate(&mut self, id: &str, status: ComplianceStatus) -> Result<Vec<Value>, String> {
        let mut events = Vec::new();
        let mut known = false;
        if let Some(stored) = self.asff.iter().find(|stored| stored.id() == id) {
            known = true;
            let control = text(&stored.finding, "Compliance.SecurityControlId");
            let failed = self.severity_of(control).unwrap_or_else(|| "MEDIUM".to_owned());
            // A check that passed is informational, whatever the control's severity.
            let severity =
                if status == ComplianceStatus::Passed { "INFORMATIONAL".to_owned() } else { failed };
            let severity = json!({ "Label": severity, "Original": severity });
            let now = time(self.now());
            let patch = json!({
                "Compliance": { "Status": status.as_str() },
                "Severity": severity,
                "FindingProviderFields": { "Severity": severity },
                "LastObservedAt": now,
            });
            events.extend(self.patch(id, &patch)?);
        }
        let twin = self.reevaluate_ocsf(id, status);
        if !known && twin.is_none() {
            return Err(format!("there is no finding `{id}`"));
        }
        events.extend(twin.unwrap_or_default());
        Ok(events)
    }

    pub(super) fn get_findings(&self, caller: &Caller, input: &Value) -> Result<Value, ApiError> {
        let filters = Filters::asff(input.get("Filters"), self.settings.allow_contains)
            .map_err(ApiError::invalid_input)?;
        let sort = filter::asff_order(input.get("SortCriteria")).map_err(ApiError::invalid_input)?;
        let now = self.now();
        let mut found: Vec<&Value> = self
            .asff
            .iter()
            .filter(|stored| self.sees(caller, stored.account(), stored.region()))
            .map(|stored| &stored.finding)
            .filter(|finding| filters.matches(finding, now))
            .collect();
        filter::sort(&mut found, &sort);
        let (found, next) = page(found, caller, input).map_err(ApiError::invalid_input)?;
        let mut output = json!({ "Findings": found });
        if let Some(next) = next {
            set(&mut output, "NextToken", next.into());
        }
        Ok(output)
    }

    pub(super) fn batch_update_findings(
        &mut self,
        caller: &Caller,
        input: &Value,
    ) -> Result<Value, ApiError> {
        let identifiers = list(input, "FindingIdentifiers", 100)?;
        for identifier in identifiers {
            for member in ["Id", "ProductArn"] {
                if text(identifier, member).trim().is_empty() {
                    return Err(invalid(
                        "FindingIdentifiers",
                        &format!("data should have required property '{member}'"),
                    ));
                }
            }
        }
        check_update(input)?;
        let (mut processed, mut unprocessed) = (Vec::new(), Vec::new());
        for identifier in identifiers {
            let (id, product) = (text(identifier, "Id"), text(identifier, "ProductArn"));
            let same = |other: &&Value| text(other, "Id") == id && text(other, "ProductArn") == product;
            let outcome = if identifiers.iter().filter(same).count() > 1 {
                Err("DuplicatedFindingIdentifier".to_owned())
            } else {
                self.update(caller, id, product, input)
            };
            match outcome {
                Ok(()) => processed.push(identifier),
                Err(code) => unprocessed.push(json!({
                    "FindingIdentifier": identifier,
                    "ErrorMessage": unprocessed_message(&code),
                    "ErrorCode": code,
                })),
            }
        }
        Ok(json!({ "ProcessedFindings": processed, "UnprocessedFindings": unprocessed }))
    }

    /// Updates one finding as its customer; the error is a code of an unprocessed finding.
    fn update(&mut self, caller: &Caller, id: &str, product: &str, input: &Value) -> Result<(), String> {
        if let Some((_, code, times)) =
            self.update_faults.iter_mut().find(|(of, _, times)| of == id && *times > 0)
        {
            *times -= 1;
            return Err(code.clone());
        }
        let now = time(self.now());
        let place = self.asff.iter().position(|stored| {
            stored.is(id, product) && self.sees(caller, stored.account(), stored.region())
        });
        let place = place.ok_or("FindingNotFound")?;
        let stored = self.asff.get(place).ok_or("FindingNotFound")?;
        if !within_format(input) {
            return Err("InvalidInput".to_owned());
        }
        let mut changed = stored.clone();
        for field in [
            "Confidence",
            "Criticality",
            "RelatedFindings",
            "Types",
            "UserDefinedFields",
            "VerificationState",
        ] {
            if let Some(new) = given(input, field) {
                set(&mut changed.finding, field, new.clone());
            }
        }
        if let Some(note) = given(input, "Note") {
            let note = json!({
                "Text": note.get("Text"),
                "UpdatedBy": note.get("UpdatedBy"),
                "UpdatedAt": now,
            });
            set(&mut changed.finding, "Note", note);
        }
        if let Some(status) = at(input, "Workflow.Status") {
            set(&mut changed.finding, "Workflow.Status", status.clone());
        }
        if let Some(severity) = given(input, "Severity") {
            let mut merged = changed.finding.get("Severity").cloned().unwrap_or_else(|| json!({}));
            merge(&mut merged, severity);
            // Label wins over the deprecated number, and each sets the other.
            let number = severity.get("Normalized").and_then(Value::as_u64);
            if let Some(label) = severity.get("Label").and_then(Value::as_str) {
                set(&mut merged, "Normalized", normalized(label).into());
            } else if let Some(number) = number {
                set(&mut merged, "Label", label(number).into());
            }
            set(&mut changed.finding, "Severity", merged);
        }
        for field in PROVIDERS {
            if given(input, field).is_some() && !changed.overridden.contains(&field) {
                changed.overridden.push(field);
            }
        }
        if changed.finding.to_string().len() > MAX_FINDING_BYTES {
            return Err("FindingSizeExceeded".to_owned());
        }
        if let Some(stored) = self.asff.get_mut(place) {
            *stored = changed;
        }
        self.announce_asff(place);
        Ok(())
    }
}

/// Whether a finding is Security Hub's own, of one of its controls.
fn is_control_finding(finding: &Value) -> bool {
    let product = text(finding, "ProductArn");
    product.ends_with("::product/aws/securityhub") || product.ends_with("::productv2/aws/securityhub")
}

/// Adds what Security Hub adds to each finding that comes in.
fn complete(finding: &mut Value, region: Option<&str>, now: Timestamp) {
    let product = text(finding, "ProductArn").to_owned();
    let home = region.unwrap_or_else(|| {
        let own = text(finding, "Region");
        if own.is_empty() { product.split(':').nth(3).unwrap_or_default() } else { own }
    });
    let home = home.to_owned();
    let own = !is_custom(&product);
    let name = if own { "Security Hub" } else { "Default" };
    let company = if own { "AWS" } else { "Personal" };
    set(finding, "Region", home.clone().into());
    set(finding, "ProcessedAt", time(now).into());
    for (path, value) in [
        ("ProductName", json!(name)),
        ("CompanyName", json!(company)),
        ("RecordState", json!("ACTIVE")),
        ("WorkflowState", json!("NEW")),
        ("Workflow", json!({ "Status": "NEW" })),
        ("ProductFields", json!({})),
        ("FindingProviderFields", json!({})),
    ] {
        if given(finding, path).is_none() {
            set(finding, path, value);
        }
    }
    let id = text(finding, "Id").to_owned();
    if let Some(fields) = finding.get_mut("ProductFields").and_then(Value::as_object_mut) {
        fields.insert("aws/securityhub/FindingId".to_owned(), format!("{product}/{id}").into());
        fields.entry("aws/securityhub/ProductName").or_insert_with(|| name.into());
        fields.entry("aws/securityhub/CompanyName").or_insert_with(|| company.into());
    }
    exchange(finding);
    for resource in finding.get_mut("Resources").and_then(Value::as_array_mut).into_iter().flatten() {
        for (member, value) in [("Partition", partition(&home)), ("Region", home.as_str())] {
            if given(resource, member).is_none() {
                set(resource, member, value.into());
            }
        }
    }
}

/// Whether a product is an account's own default one.
fn is_custom(product: &str) -> bool {
    product.ends_with("/default")
}

/// Fills `FindingProviderFields` from the top level where the provider left them out, and the top level
/// from them ([order](https://docs.aws.amazon.com/securityhub/latest/userguide/finding-update-batchimportfindings.html)).
fn exchange(finding: &mut Value) {
    for field in PROVIDERS {
        let below = format!("FindingProviderFields.{field}");
        match (at(finding, &below).cloned(), finding.get(field).cloned()) {
            (Some(provided), top) => {
                let mut merged = top.unwrap_or(Value::Null);
                if field == "Severity" {
                    merge(&mut merged, &provided);
                } else {
                    merged = provided;
                }
                set(finding, field, merged);
            }
            (None, Some(top)) => {
                let provided = if field == "Severity" {
                    let kept = top
                        .as_object()
                        .into_iter()
                        .flatten()
                        .filter(|(key, _)| *key == "Label" || *key == "Original");
                    Value::Object(
                        kept.map(|(key, value)| (key.clone(), value.clone())).collect::<Map<_, _>>(),
                    )
                } else {
                    top
                };
                set(finding, &below, provided);
            }
            (None, None) => {}
        }
    }
    let severity = text(finding, "Severity.Label").to_owned();
    if severity.is_empty() {
        if let Some(number) = at(finding, "Severity.Normalized").and_then(Value::as_u64) {
            set(finding, "Severity.Label", label(number).into());
        }
    } else {
        set(finding, "Severity.Normalized", normalized(&severity).into());
    }
}

/// Changes the workflow as Security Hub does by itself, and notes a changed status
/// ([rules](https://docs.aws.amazon.com/securityhub/latest/userguide/findings-workflow-status.html)).
fn settle(finding: &mut Value, before: Option<&Value>) {
    let status = text(finding, "Compliance.Status").to_owned();
    let was = before.map(|before| text(before, "Compliance.Status")).unwrap_or_default();
    let own = is_control_finding(finding);
    if own && !was.is_empty() && was != status {
        set(finding, "ProductFields.PreviousComplianceStatus", was.into());
    }
    let workflow = text(finding, "Workflow.Status").to_owned();
    let reopened = before.is_some_and(|before| text(before, "RecordState") == "ARCHIVED")
        && text(finding, "RecordState") == "ACTIVE";
    let regressed = was == "PASSED" && status != "PASSED" && !status.is_empty();
    let settled = match workflow.as_str() {
        "SUPPRESSED" => return,
        _ if own && status == "PASSED" => "RESOLVED",
        "NOTIFIED" | "RESOLVED" if reopened || regressed => "NEW",
        _ => return,
    };
    set(finding, "Workflow.Status", settled.into());
}

fn unprocessed_message(code: &str) -> &'static str {
    match code {
        "ConcurrentUpdateError" => "Concurrent finding updates detected",
        "DuplicatedFindingIdentifier" => "Finding Identifier is duplicated",
        "FindingNotFound" => "Finding Not Found",
        "FindingSizeExceeded" => "Finding size exceeded 240 KB",
        "InvalidInput" => "Invalid Input",
        _ => "Internal service failure",
    }
}
