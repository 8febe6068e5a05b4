//! Reading of one finding in either format.
//!
//! Strict in what decides anything, lenient in the rest: fields that redress has no use for may hold
//! anything at all.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::{
    Arn, Compliance, Finding, FindingResource, Format, MAX_RESOURCES, Note, RecordState, Workflow,
    is_account, is_label,
};
use crate::{
    control::{self, ControlId, Identity, Spellings},
    event::{Ignored, InvalidEvent, json::Node, shown},
};

/// Longest identifier that is taken, in bytes. ASFF's longest, `ProductArn`, is 2,048.
const LONGEST_ID: usize = 2048;

/// Reads one finding, or says why it can never be handled.
pub(crate) fn read(
    value: Value,
    place: &str,
    format: Format,
) -> Result<Result<Finding, Ignored>, InvalidEvent> {
    let json = Arc::new(value);
    let root = Node::new(&json, place);
    match format {
        Format::Asff => asff(&root, &json),
        Format::Ocsf => ocsf(&root, &json),
    }
}

fn asff(root: &Node<'_>, json: &Arc<Value>) -> Result<Result<Finding, Ignored>, InvalidEvent> {
    let id = identifier(&root.get("Id")?)?;
    let product_arn = identifier(&root.get("ProductArn")?)?;
    let compliance = root.get("Compliance")?;
    let fields = root.get("ProductFields")?;
    let (standard, guide) = (fields.get("StandardsArn")?.text()?, fields.get("StandardsGuideArn")?.text()?);
    let control = match control_of(
        root,
        &Spellings {
            security_control_id: compliance.get("SecurityControlId")?.text()?,
            generator_id: root.get("GeneratorId")?.text()?,
            finding_id: Some(id),
            control_id: fields.get("ControlId")?.text()?,
            rule_id: fields.get("RuleId")?.text()?,
            standard: standard.or(guide),
            ..Spellings::default()
        },
        product_arn,
    )? {
        Ok(control) => control,
        Err(ignored) => return Ok(Err(ignored)),
    };
    if root.get("Sample")?.truth()? {
        return Ok(Err(Ignored::Sample));
    }
    let resources = match resources_of(&root.get("Resources")?, asff_resource)? {
        Ok(resources) => resources,
        Err(ignored) => return Ok(Err(ignored)),
    };
    let region = Some(root.get("Region")?).filter(Node::is_some);
    let (record_state, workflow) = (root.get("RecordState")?, root.get("Workflow")?.get("Status")?);
    let note = root.get("Note")?;
    Ok(Ok(Finding {
        account: account(&root.get("AwsAccountId")?)?,
        region: region_of(root, region.as_ref(), &resources, product_arn)?,
        partition: partition_of(root, None, &resources, product_arn)?,
        compliance: Compliance::from_asff(compliance.get("Status")?.text()?),
        record_state: RecordState::from_asff(record_state.text()?)
            .ok_or_else(|| record_state.invalid("neither `ACTIVE` nor `ARCHIVED`"))?,
        workflow: Workflow::from_asff(workflow.text()?, root.get("WorkflowState")?.text()?)
            .ok_or_else(|| workflow.invalid("not a workflow status"))?,
        title: root.get("Title")?.text()?.unwrap_or_default().to_owned(),
        severity: asff_severity(root),
        sample: false,
        control_parameters: parameters(&compliance.get("SecurityControlParameters")?, "Name", &["Value"])?,
        note: match note.get("Text")?.text()? {
            None => None,
            Some(text) => Some(Note {
                text: text.to_owned(),
                updated_by: note.get("UpdatedBy")?.text()?.unwrap_or_default().to_owned(),
                updated_at: note.get("UpdatedAt")?.text()?.map(str::to_owned),
            }),
        },
        user_defined_fields: root
            .get("UserDefinedFields")?
            .members()?
            .into_iter()
            .map(|(name, value)| Ok((name.to_owned(), value.required()?.to_owned())))
            .collect::<Result<_, InvalidEvent>>()?,
        updated_at: root.get("UpdatedAt")?.text()?.map(str::to_owned),
        format: Format::Asff,
        metadata_uid: None,
        id: id.to_owned(),
        product_arn: product_arn.to_owned(),
        control,
        resources,
        json: Arc::clone(json),
    }))
}

fn ocsf(root: &Node<'_>, json: &Arc<Value>) -> Result<Result<Finding, Ignored>, InvalidEvent> {
    let (info, metadata, cloud) = (root.get("finding_info")?, root.get("metadata")?, root.get("cloud")?);
    let product = metadata.at(&["product", "uid"])?;
    let compliance = root.get("compliance")?;
    let named = compliance.get("control")?.text()?;
    if root.get("class_uid")?.integer()? != Some(2003) || named.is_none() {
        let product = product.text()?.unwrap_or_default();
        return Ok(Err(Ignored::without_control(product)));
    }
    let id = identifier(&info.get("uid")?)?;
    let product_arn = identifier(&product)?;
    let spellings = Spellings { compliance_control: named, finding_id: Some(id), ..Spellings::default() };
    let control = match control_of(root, &spellings, product_arn)? {
        Ok(control) => control,
        Err(ignored) => return Ok(Err(ignored)),
    };
    let provider = cloud.get("provider")?;
    if let Some(provider) = provider.text()?.filter(|provider| !provider.eq_ignore_ascii_case("aws")) {
        return Ok(Err(Ignored::Multicloud(provider.to_owned())));
    }
    let resources = match resources_of(&root.get("resources")?, ocsf_resource)? {
        Ok(resources) => resources,
        Err(ignored) => return Ok(Err(ignored)),
    };
    let region = Some(cloud.get("region")?).filter(Node::is_some);
    let partition = Some(cloud.get("cloud_partition")?).filter(Node::is_some);
    let (status_id, status) = (compliance.get("status_id")?, compliance.get("status")?);
    let workflow = root.get("status_id")?.integer()?;
    let updated_at = match info.get("modified_time_dt")?.text()? {
        Some(time) => Some(time.to_owned()),
        None => info
            .get("modified_time")?
            .integer()?
            .and_then(|milliseconds| jiff::Timestamp::from_millisecond(milliseconds).ok())
            .map(|time| time.to_string()),
    };
    Ok(Ok(Finding {
        account: account(&cloud.at(&["account", "uid"])?)?,
        region: region_of(root, region.as_ref(), &resources, product_arn)?,
        partition: partition_of(root, partition.as_ref(), &resources, product_arn)?,
        compliance: Compliance::from_ocsf(status_id.integer()?, status.text()?),
        record_state: RecordState::from_ocsf(root.get("activity_id")?.integer()?, workflow),
        workflow: Workflow::from_ocsf(workflow),
        title: info.get("title")?.text()?.unwrap_or_default().to_owned(),
        severity: ocsf_severity(root),
        sample: false,
        control_parameters: parameters(&compliance.get("control_parameters")?, "name", &["values", "value"])?,
        note: root.get("comment")?.text()?.map(|text| Note {
            text: text.to_owned(),
            updated_by: String::new(),
            updated_at: None,
        }),
        user_defined_fields: BTreeMap::new(),
        updated_at,
        format: Format::Ocsf,
        metadata_uid: match metadata.get("uid")? {
            uid if uid.is_some() => Some(identifier(&uid)?.to_owned()),
            _ => None,
        },
        id: id.to_owned(),
        product_arn: product_arn.to_owned(),
        control,
        resources,
        json: Arc::clone(json),
    }))
}

fn control_of(
    root: &Node<'_>,
    spellings: &Spellings<'_>,
    product_arn: &str,
) -> Result<Result<ControlId, Ignored>, InvalidEvent> {
    Ok(match control::identify(spellings).map_err(|conflict| root.invalid(conflict.to_string()))? {
        Identity::Control(id) => {
            ControlId::parse(&id).ok_or_else(|| Ignored::UnknownControl(id.into_owned()))
        }
        Identity::Unknown(text) => Err(Ignored::UnknownControl(text.into_owned())),
        Identity::None => Err(Ignored::without_control(product_arn)),
    })
}

fn resources_of(
    list: &Node<'_>,
    one: fn(&Node<'_>) -> Result<FindingResource, InvalidEvent>,
) -> Result<Result<Vec<FindingResource>, Ignored>, InvalidEvent> {
    let items = list.items()?;
    if items.is_empty() {
        return Err(list.invalid("missing or empty: the finding is about nothing"));
    }
    if items.len() > MAX_RESOURCES {
        return Err(list.invalid(format!("{} resources, of at most {MAX_RESOURCES}", items.len())));
    }
    let resources = items.iter().map(one).collect::<Result<Vec<_>, _>>()?;
    for resource in &resources {
        if let Some(provider) = resource.provider.as_deref().filter(|name| !name.eq_ignore_ascii_case("aws"))
        {
            return Ok(Err(Ignored::Multicloud(provider.to_owned())));
        }
        if let Some(partition) = resource.partition.as_deref().filter(|name| *name == "AzureCloud") {
            return Ok(Err(Ignored::Multicloud(partition.to_owned())));
        }
    }
    Ok(Ok(resources))
}

fn asff_resource(node: &Node<'_>) -> Result<FindingResource, InvalidEvent> {
    Ok(FindingResource {
        kind: identifier(&node.get("Type")?)?.to_owned(),
        id: identifier(&node.get("Id")?)?.to_owned(),
        id_alt: None,
        account: node.at(&["Owner", "Account", "Id"])?.text()?.map(str::to_owned),
        region: node.get("Region")?.text()?.map(str::to_owned),
        partition: node.get("Partition")?.text()?.map(str::to_owned),
        provider: node.get("Provider")?.text()?.map(str::to_owned),
    })
}

fn ocsf_resource(node: &Node<'_>) -> Result<FindingResource, InvalidEvent> {
    let alt = node.get("uid_alt")?;
    Ok(FindingResource {
        kind: identifier(&node.get("type")?)?.to_owned(),
        id: identifier(&node.get("uid")?)?.to_owned(),
        id_alt: if alt.is_some() { Some(identifier(&alt)?.to_owned()) } else { None },
        account: node.at(&["owner", "account", "uid"])?.text()?.map(str::to_owned),
        region: node.get("region")?.text()?.map(str::to_owned),
        partition: node.get("cloud_partition")?.text()?.map(str::to_owned),
        provider: node.get("provider")?.text()?.map(str::to_owned),
    })
}

fn parameters(
    list: &Node<'_>,
    name: &str,
    values: &[&str],
) -> Result<Option<BTreeMap<String, Vec<String>>>, InvalidEvent> {
    if !list.is_some() {
        return Ok(None);
    }
    let mut parameters = BTreeMap::new();
    for item in list.items()? {
        let name = item.get(name)?;
        let mut given = Vec::new();
        for value in values {
            let value = item.get(value)?;
            match value.value() {
                Value::Null => continue,
                Value::Array(_) => {
                    for item in value.items()? {
                        given.push(scalar(&item)?);
                    }
                }
                _ => given.push(scalar(&value)?),
            }
            break;
        }
        if parameters.insert(identifier(&name)?.to_owned(), given).is_some() {
            return Err(name.invalid("parameter stands twice"));
        }
    }
    Ok(Some(parameters))
}

fn scalar(node: &Node<'_>) -> Result<String, InvalidEvent> {
    match node.value() {
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        _ => Ok(node.required()?.to_owned()),
    }
}

/// Severity, leniently: it decides nothing.
fn asff_severity(root: &Node<'_>) -> Option<String> {
    let label = |path: &[&str]| {
        let node = root.at(path).ok()?;
        node.text().ok()?.map(str::to_ascii_uppercase)
    };
    let normalized = || {
        // A number in some findings, the number in quotes in others.
        let score = root.at(&["Severity", "Normalized"]).ok()?.number()?;
        let bounds =
            [(90.0, "CRITICAL"), (70.0, "HIGH"), (40.0, "MEDIUM"), (1.0, "LOW"), (0.0, "INFORMATIONAL")];
        bounds.iter().find(|(least, _)| score >= *least).map(|(_, label)| (*label).to_owned())
    };
    label(&["Severity", "Label"])
        .or_else(normalized)
        .or_else(|| label(&["FindingProviderFields", "Severity", "Label"]))
        .filter(|label| is_word(label))
}

fn ocsf_severity(root: &Node<'_>) -> Option<String> {
    let label = match root.get("severity_id").ok()?.number() {
        Some(1.0) => Cow::Borrowed("INFORMATIONAL"),
        Some(2.0) => Cow::Borrowed("LOW"),
        Some(3.0) => Cow::Borrowed("MEDIUM"),
        Some(4.0) => Cow::Borrowed("HIGH"),
        Some(5.0 | 6.0) => Cow::Borrowed("CRITICAL"),
        _ => Cow::Owned(root.get("severity").ok()?.text().ok()??.to_ascii_uppercase()),
    };
    Some(label.into_owned()).filter(|label| is_word(label))
}

fn is_word(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

/// A string by which something is found again.
fn identifier<'v>(node: &Node<'v>) -> Result<&'v str, InvalidEvent> {
    let text = node.required()?;
    match fault_of(text) {
        None => Ok(text),
        Some(fault) => Err(node.invalid(fault)),
    }
}

/// What is wrong with an identifier: it must not be empty, endless, or hold control characters.
pub(super) fn fault_of(text: &str) -> Option<String> {
    if text.is_empty() {
        Some("empty".to_owned())
    } else if text.len() > LONGEST_ID {
        Some(format!("{} bytes, of at most {LONGEST_ID}", text.len()))
    } else if text.chars().any(char::is_control) {
        Some(format!("control character in `{}`", shown(text)))
    } else {
        None
    }
}

fn account(node: &Node<'_>) -> Result<String, InvalidEvent> {
    let text = node.required()?;
    if is_account(text) {
        Ok(text.to_owned())
    } else {
        Err(node.invalid(format!("`{}` is not an account id of 12 digits", shown(text))))
    }
}

/// The finding's Region: its own field, else the first resource's, else the product ARN's.
fn region_of(
    root: &Node<'_>,
    given: Option<&Node<'_>>,
    resources: &[FindingResource],
    product_arn: &str,
) -> Result<String, InvalidEvent> {
    let first =
        || resources.iter().find_map(|resource| resource.region.as_deref()).filter(|name| *name != "global");
    let of_product = || Arn::parse(product_arn).map(|arn| arn.region);
    label_of(root, "Region", given, first, of_product)
}

/// The finding's partition: its own field, else the first resource's, else the product ARN's.
fn partition_of(
    root: &Node<'_>,
    given: Option<&Node<'_>>,
    resources: &[FindingResource],
    product_arn: &str,
) -> Result<String, InvalidEvent> {
    let first = || resources.iter().find_map(|resource| resource.partition.as_deref());
    let of_product = || Arn::parse(product_arn).map(|arn| arn.partition);
    label_of(root, "partition", given, first, of_product)
}

/// Region and partition names become parts of host names, so they must be fit for it. More is not asked:
/// AWS adds both.
fn label_of<'a>(
    root: &Node<'_>,
    what: &str,
    given: Option<&Node<'a>>,
    first: impl FnOnce() -> Option<&'a str>,
    of_product: impl FnOnce() -> Option<&'a str>,
) -> Result<String, InvalidEvent> {
    let node = given.unwrap_or(root);
    let text = match given {
        Some(node) => node.text()?,
        None => first().or_else(of_product),
    };
    match text {
        Some(text) if is_label(text) => Ok(text.to_owned()),
        Some(text) => Err(node.invalid(format!("`{}` is not the name of a {what}", shown(text)))),
        None => Err(node.invalid(format!("names no {what}"))),
    }
}
