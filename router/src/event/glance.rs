//! The cheap look before [`decode`](super::decode), for the many events that concern nobody.

use serde::Deserialize;

use super::{IMPORTED, IMPORTED_V2, Ignored, MAX_EVENT, SOURCE, json::Text};
use crate::{
    control::{self, Identity, Spellings},
    finding::{self, Compliance, Format, RecordState, Workflow},
};

/// What a [`glance`] at an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Glance {
    /// The event may matter: decode it.
    Keep,
    /// No automatic rule can want any finding of the event, for this reason.
    Drop(Ignored),
}

/// Looks once over an event, without copying anything, and says whether it can be dropped.
///
/// `wanted` tells whether any automatic rule names a control, given in AWS's spelling. Dropped is only an
/// imported event all of whose findings [`decode`](super::decode) would have called invalid or ignored, or
/// which are not [`actionable`](crate::finding::Finding::actionable), or whose control is not wanted.
/// Whatever can't be told at a glance is kept, and so is all that a person has asked for. Neither
/// authenticity nor the rest of the finding is looked at: what is kept, [`decode`](super::decode) must read.
pub fn glance(bytes: &[u8], wanted: &dyn Fn(&str) -> bool) -> Glance {
    if bytes.len() > MAX_EVENT {
        return Glance::Keep;
    }
    let Ok(event) = serde_json::from_slice::<GlancedEvent<'_>>(bytes) else { return Glance::Keep };
    if event.source.0 != SOURCE || event.detail.findings.is_empty() {
        return Glance::Keep;
    }
    let format = match &*event.detail_type.0 {
        IMPORTED => Format::Asff,
        IMPORTED_V2 => Format::Ocsf,
        _ => return Glance::Keep,
    };
    let mut reason = None;
    for finding in &event.detail.findings {
        match finding.irrelevant(format, wanted) {
            Some(ignored) => reason = reason.or(Some(ignored)),
            None => return Glance::Keep,
        }
    }
    reason.map_or(Glance::Keep, Glance::Drop)
}

// The parts of an event that a glance reads. A key that stands twice, a wrong type, anything odd fails
// deserialization, and the event is kept for `decode` to judge.

#[derive(Deserialize)]
struct GlancedEvent<'a> {
    #[serde(rename = "detail-type", borrow)]
    detail_type: Text<'a>,
    #[serde(borrow)]
    source: Text<'a>,
    #[serde(borrow)]
    detail: GlancedDetail<'a>,
}

#[derive(Deserialize)]
struct GlancedDetail<'a> {
    #[serde(borrow)]
    findings: Vec<GlancedFinding<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct GlancedFinding<'a> {
    #[serde(rename = "Id", borrow)]
    id: Option<Text<'a>>,
    #[serde(rename = "ProductArn", borrow)]
    product_arn: Option<Text<'a>>,
    #[serde(rename = "GeneratorId", borrow)]
    generator_id: Option<Text<'a>>,
    #[serde(rename = "Compliance", borrow)]
    compliance: Option<GlancedCompliance<'a>>,
    #[serde(rename = "ProductFields", borrow)]
    product_fields: Option<GlancedProductFields<'a>>,
    #[serde(rename = "RecordState", borrow)]
    record_state: Option<Text<'a>>,
    #[serde(rename = "Workflow", borrow)]
    workflow: Option<GlancedWorkflow<'a>>,
    #[serde(rename = "WorkflowState", borrow)]
    workflow_state: Option<Text<'a>>,

    class_uid: Option<i64>,
    activity_id: Option<i64>,
    status_id: Option<i64>,
    #[serde(rename = "compliance", borrow)]
    ocsf_compliance: Option<GlancedOcsfCompliance<'a>>,
    #[serde(borrow)]
    finding_info: Option<GlancedUid<'a>>,
    #[serde(borrow)]
    metadata: Option<GlancedMetadata<'a>>,
}

#[derive(Deserialize)]
struct GlancedCompliance<'a> {
    #[serde(rename = "Status", borrow)]
    status: Option<Text<'a>>,
    #[serde(rename = "SecurityControlId", borrow)]
    security_control_id: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct GlancedProductFields<'a> {
    #[serde(rename = "ControlId", borrow)]
    control_id: Option<Text<'a>>,
    #[serde(rename = "RuleId", borrow)]
    rule_id: Option<Text<'a>>,
    #[serde(rename = "StandardsArn", borrow)]
    standards_arn: Option<Text<'a>>,
    #[serde(rename = "StandardsGuideArn", borrow)]
    standards_guide_arn: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct GlancedWorkflow<'a> {
    #[serde(rename = "Status", borrow)]
    status: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct GlancedOcsfCompliance<'a> {
    #[serde(borrow)]
    control: Option<Text<'a>>,
    status_id: Option<i64>,
    #[serde(borrow)]
    status: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct GlancedMetadata<'a> {
    #[serde(borrow)]
    product: Option<GlancedUid<'a>>,
}

#[derive(Deserialize)]
struct GlancedUid<'a> {
    #[serde(borrow)]
    uid: Option<Text<'a>>,
}

impl GlancedFinding<'_> {
    /// Why no automatic rule can want the finding; `None` where one might.
    fn irrelevant(&self, format: Format, wanted: &dyn Fn(&str) -> bool) -> Option<Ignored> {
        let (compliance, record_state, workflow) = match format {
            Format::Asff => (
                Compliance::from_asff(
                    self.compliance.as_ref().and_then(|compliance| compliance.status.as_deref()),
                ),
                RecordState::from_asff(self.record_state.as_deref())?,
                Workflow::from_asff(
                    self.workflow.as_ref().and_then(|workflow| workflow.status.as_deref()),
                    self.workflow_state.as_deref(),
                )?,
            ),
            Format::Ocsf => {
                let compliance = self.ocsf_compliance.as_ref();
                (
                    Compliance::from_ocsf(
                        compliance.and_then(|compliance| compliance.status_id),
                        compliance.and_then(|compliance| compliance.status.as_deref()),
                    ),
                    RecordState::from_ocsf(self.activity_id, self.status_id),
                    Workflow::from_ocsf(self.status_id),
                )
            }
        };
        let ignored = finding::actionable(compliance, record_state, workflow, true).err();
        // Without a verdict it is more likely no control's finding at all, which is the better reason.
        if let Some(ignored) = &ignored
            && compliance != Compliance::Unknown
        {
            return Some(ignored.clone());
        }
        let identity = match self.spellings(format) {
            Some(spellings) => control::identify(&spellings).ok()?,
            None => Identity::None,
        };
        match identity {
            Identity::None => Some(Ignored::without_control(self.product())),
            Identity::Unknown(name) => Some(Ignored::UnknownControl(name.into_owned())),
            Identity::Control(id) => {
                ignored.or_else(|| (!wanted(&id)).then(|| Ignored::NoRule(id.into_owned())))
            }
        }
    }

    fn product(&self) -> &str {
        let ocsf = || self.metadata.as_ref()?.product.as_ref()?.uid.as_deref();
        self.product_arn.as_deref().or_else(ocsf).unwrap_or_default()
    }

    /// The fields that name the control; `None` where the finding is of no class that has one.
    fn spellings(&self, format: Format) -> Option<Spellings<'_>> {
        Some(match format {
            Format::Asff => {
                let fields = self.product_fields.as_ref();
                let standard = fields.and_then(|fields| fields.standards_arn.as_deref());
                let guide = fields.and_then(|fields| fields.standards_guide_arn.as_deref());
                Spellings {
                    security_control_id: self
                        .compliance
                        .as_ref()
                        .and_then(|compliance| compliance.security_control_id.as_deref()),
                    generator_id: self.generator_id.as_deref(),
                    finding_id: self.id.as_deref(),
                    control_id: fields.and_then(|fields| fields.control_id.as_deref()),
                    rule_id: fields.and_then(|fields| fields.rule_id.as_deref()),
                    standard: standard.or(guide),
                    ..Spellings::default()
                }
            }
            Format::Ocsf => {
                let control =
                    self.ocsf_compliance.as_ref().and_then(|compliance| compliance.control.as_deref());
                if self.class_uid != Some(2003) || control.is_none() {
                    return None;
                }
                Spellings {
                    compliance_control: control,
                    finding_id: self.finding_info.as_ref().and_then(|info| info.uid.as_deref()),
                    ..Spellings::default()
                }
            }
        })
    }
}
