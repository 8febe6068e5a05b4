//! The AWS Security Finding Format and its limits
//! ([syntax](https://docs.aws.amazon.com/securityhub/latest/userguide/securityhub-findings-format.html)).

use jiff::Timestamp;
use serde_json::Value;

use super::json::{at, text};
use super::{ApiError, MAX_FINDING_BYTES, is_account};

const SEVERITIES: [(&str, u64); 5] =
    [("INFORMATIONAL", 0), ("LOW", 1), ("MEDIUM", 40), ("HIGH", 70), ("CRITICAL", 90)];
const STATUSES: [&str; 4] = ["PASSED", "WARNING", "FAILED", "NOT_AVAILABLE"];
const WORKFLOWS: [&str; 4] = ["NEW", "NOTIFIED", "RESOLVED", "SUPPRESSED"];
const VERIFICATIONS: [&str; 4] = ["UNKNOWN", "TRUE_POSITIVE", "FALSE_POSITIVE", "BENIGN_POSITIVE"];
const NAMESPACES: [&str; 5] = [
    "Software and Configuration Checks",
    "TTPs",
    "Effects",
    "Unusual Behaviors",
    "Sensitive Data Identifications",
];

/// A member that is there and not null.
pub(super) fn given<'a>(input: &'a Value, name: &str) -> Option<&'a Value> {
    input.get(name).filter(|value| !value.is_null())
}

/// A parameter that the API model does not allow.
pub(super) fn invalid(parameter: &str, message: &str) -> ApiError {
    ApiError::invalid_input(format!("Invalid parameter '{parameter}'. {message}"))
}

/// A required list of at least one object, as Security Hub checks it.
pub(super) fn list<'a>(input: &'a Value, name: &str, most: usize) -> Result<&'a Vec<Value>, ApiError> {
    let Some(value) = given(input, name) else {
        return Err(ApiError::invalid_input(format!("data should have required property '{name}'")));
    };
    let Some(items) = value.as_array() else { return Err(invalid(name, "data should be array")) };
    if items.is_empty() {
        return Err(invalid(name, "data should NOT have fewer than 1 items"));
    }
    if items.len() > most {
        return Err(invalid(name, &format!("data should NOT have more than {most} items")));
    }
    if !items.iter().all(Value::is_object) {
        return Err(invalid(name, "data should be object"));
    }
    Ok(items)
}

/// What the API model itself says of an update: a violation fails the whole call.
pub(super) fn check_update(input: &Value) -> Result<(), ApiError> {
    const FIELDS: [&str; 9] = [
        "Confidence",
        "Criticality",
        "Note",
        "RelatedFindings",
        "Severity",
        "Types",
        "UserDefinedFields",
        "VerificationState",
        "Workflow",
    ];
    if !FIELDS.iter().any(|field| given(input, field).is_some()) {
        return Err(ApiError::invalid_input(
            "Invalid parameter. data should have at least one field to update",
        ));
    }
    let one_of = |path: &str, allowed: &[&str]| match at(input, path) {
        None | Some(Value::Null) => Ok(()),
        Some(value) if value.as_str().is_some_and(|value| allowed.contains(&value)) => Ok(()),
        Some(_) => Err(invalid(path, "data should be equal to one of the allowed values")),
    };
    one_of("VerificationState", &VERIFICATIONS)?;
    one_of("Workflow.Status", &WORKFLOWS)?;
    one_of("Severity.Label", &SEVERITIES.map(|(label, _)| label))?;
    for path in ["Confidence", "Criticality", "Severity.Normalized"] {
        if at(input, path).is_some_and(|value| !value.is_null() && value.as_u64().is_none_or(|n| n > 100)) {
            return Err(invalid(path, "data should be >= 0 and <= 100"));
        }
    }
    if let Some(note) = given(input, "Note") {
        for member in ["Text", "UpdatedBy"] {
            if text(note, member).trim().is_empty() {
                return Err(invalid("Note", &format!("data should have required property '{member}'")));
            }
        }
    }
    if given(input, "UserDefinedFields").is_some_and(|fields| strings(fields).is_none()) {
        return Err(invalid("UserDefinedFields", "data should be a map of strings"));
    }
    if given(input, "Types")
        .is_some_and(|types| !types.as_array().is_some_and(|t| t.iter().all(Value::is_string)))
    {
        return Err(invalid("Types", "data should be a list of strings"));
    }
    if let Some(related) = given(input, "RelatedFindings") {
        let complete = |one: &Value| !text(one, "Id").is_empty() && !text(one, "ProductArn").is_empty();
        if !related.as_array().is_some_and(|related| related.iter().all(complete)) {
            return Err(invalid("RelatedFindings", "data should have required property 'Id', 'ProductArn'"));
        }
    }
    Ok(())
}

/// Whether an update keeps to the limits that stand in the finding format only.
pub(super) fn within_format(input: &Value) -> bool {
    let length = |path: &str, most: usize| text(input, path).chars().count() <= most;
    let count = |field: &str, most: usize| {
        given(input, field).and_then(Value::as_array).is_none_or(|items| items.len() <= most)
    };
    let fields = given(input, "UserDefinedFields").and_then(strings).unwrap_or_default();
    let fits = |(key, value): &(&str, &str)| {
        (1..=128).contains(&key.chars().count()) && value.chars().count() <= 1024
    };
    let types = given(input, "Types").and_then(Value::as_array);
    length("Note.Text", 512)
        && length("Note.UpdatedBy", 512)
        && count("RelatedFindings", 10)
        && count("Types", 50)
        && types.is_none_or(|types| types.iter().all(is_type))
        && fields.len() <= 50
        && fields.iter().all(fits)
}

fn strings(map: &Value) -> Option<Vec<(&str, &str)>> {
    map.as_object()?.iter().map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect()
}

fn is_type(kind: &Value) -> bool {
    let kind = kind.as_str().unwrap_or_default();
    NAMESPACES
        .iter()
        .any(|space| kind.strip_prefix(space).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// Number of a severity label.
pub(super) fn normalized(label: &str) -> u64 {
    SEVERITIES.iter().find(|(known, _)| *known == label).map_or(0, |(_, number)| *number)
}

/// Label of a severity number.
pub(super) fn label(normalized: u64) -> &'static str {
    SEVERITIES
        .iter()
        .rev()
        .find(|(_, least)| normalized >= *least)
        .map_or("INFORMATIONAL", |(label, _)| label)
}

/// Checks a finding against the format, and says all that is wrong with it in Security Hub's own words.
pub(super) fn check(finding: &Value) -> Result<(), String> {
    let mut wrong = Vec::new();
    for name in [
        "SchemaVersion",
        "Id",
        "ProductArn",
        "GeneratorId",
        "AwsAccountId",
        "CreatedAt",
        "UpdatedAt",
        "Title",
        "Description",
        "Resources",
    ] {
        if finding.get(name).is_none() {
            wrong.push(format!("data should have required property '{name}'"));
        }
    }
    // Providers must state severity and types, in one of the two places.
    if finding.get("FindingProviderFields").is_none()
        && !(finding.get("Severity").is_some() && finding.get("Types").is_some())
    {
        wrong.push("data should have required property 'FindingProviderFields'".to_owned());
        wrong.push("data should match some schema in anyOf".to_owned());
    }
    for (name, least, most) in [
        ("Id", 1, 512),
        ("ProductArn", 12, 2048),
        ("GeneratorId", 1, 512),
        ("Title", 1, 256),
        ("Description", 1, 1024),
        ("Region", 1, 16),
    ] {
        check_length(finding, name, least, most, &mut wrong);
    }
    if let Some(version) = finding.get("SchemaVersion")
        && version != "2018-10-08"
    {
        wrong.push("data.SchemaVersion should be equal to one of the allowed values".to_owned());
    }
    if let Some(account) = finding.get("AwsAccountId")
        && !account.as_str().is_some_and(is_account)
    {
        wrong.push("data.AwsAccountId should match pattern \"^[0-9]{12}$\"".to_owned());
    }
    for name in ["CreatedAt", "UpdatedAt", "FirstObservedAt", "LastObservedAt", "ProcessedAt"] {
        if let Some(at) = finding.get(name)
            && at.as_str().is_none_or(|at| at.parse::<Timestamp>().is_err())
        {
            wrong.push(format!("data.{name} should match format \"date-time\""));
        }
    }
    for (path, allowed) in [
        ("RecordState", ["ACTIVE", "ARCHIVED"].as_slice()),
        ("Workflow.Status", &WORKFLOWS),
        ("Compliance.Status", &STATUSES),
        ("VerificationState", &VERIFICATIONS),
        ("Severity.Label", &SEVERITIES.map(|(label, _)| label)),
        ("FindingProviderFields.Severity.Label", &SEVERITIES.map(|(label, _)| label)),
    ] {
        if let Some(value) = at(finding, path)
            && !value.as_str().is_some_and(|value| allowed.contains(&value))
        {
            wrong.push(format!("data.{path} should be equal to one of the allowed values"));
        }
    }
    check_collections(finding, &mut wrong);
    if finding.to_string().len() > MAX_FINDING_BYTES {
        wrong.push("data should NOT be larger than 240 KB".to_owned());
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!("Finding does not adhere to Amazon Finding Format. {}.", wrong.join(", ")))
}

fn check_length(value: &Value, name: &str, least: usize, most: usize, wrong: &mut Vec<String>) {
    match value.get(name) {
        None => {}
        Some(Value::String(text)) => {
            let length = text.chars().count();
            if length < least || text.trim().is_empty() {
                wrong.push(format!("data.{name} should NOT be shorter than {least} characters"));
            } else if length > most {
                wrong.push(format!("data.{name} should NOT be longer than {most} characters"));
            }
        }
        Some(_) => wrong.push(format!("data.{name} should be string")),
    }
}

fn check_collections(finding: &Value, wrong: &mut Vec<String>) {
    for (path, least, most) in [
        ("Resources", 1, 32),
        ("Types", 0, 50),
        ("FindingProviderFields.Types", 0, 50),
        ("RelatedFindings", 1, 10),
        ("Compliance.RelatedRequirements", 0, 32),
    ] {
        match at(finding, path) {
            Some(Value::Array(items)) if items.len() < least => {
                wrong.push(format!("data.{path} should NOT have fewer than {least} items"));
            }
            Some(Value::Array(items)) if items.len() > most => {
                wrong.push(format!("data.{path} should NOT have more than {most} items"));
            }
            None | Some(Value::Array(_)) => {}
            Some(_) => wrong.push(format!("data.{path} should be array")),
        }
    }
    for path in ["Types", "FindingProviderFields.Types"] {
        let types = at(finding, path).and_then(Value::as_array);
        if types.is_some_and(|types| !types.iter().all(is_type)) {
            wrong.push(format!("data.{path} should match pattern \"^({})\"", NAMESPACES.join("|")));
        }
    }
    let resources = finding.get("Resources").and_then(Value::as_array);
    for (place, resource) in resources.into_iter().flatten().enumerate() {
        for name in ["Type", "Id"] {
            if text(resource, name).trim().is_empty() {
                wrong.push(format!("data.Resources[{place}] should have required property '{name}'"));
            }
        }
    }
    for (path, key_most, value_most) in [("ProductFields", 128, 2048), ("UserDefinedFields", 128, 1024)] {
        let Some(map) = finding.get(path) else { continue };
        let fits = strings(map).is_some_and(|pairs| {
            pairs.len() <= 50
                && pairs.iter().all(|(key, value)| {
                    key.chars().count() <= key_most && value.chars().count() <= value_most
                })
        });
        if !fits {
            wrong.push(format!("data.{path} should be a map of at most 50 strings"));
        }
    }
}
