//! One finding of a control, in one shape, whichever of Security Hub's two formats it came in.
//!
//! *ASFF* is the format of Security Hub CSPM
//! (<https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_AwsSecurityFinding.html>), *OCSF* class
//! 2003 that of the newer Security Hub (API names that end in `V2`). All text in a finding is untrusted:
//! what is shown of it goes through [`shown`].

use std::{collections::BTreeMap, fmt, sync::Arc};

use redress_remediators::Erased;
use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

mod read;

pub(crate) use read::read;

use crate::{
    control::ControlId,
    event::{Ignored, shown},
};

/// Most resources that a finding may name: ASFF's own limit, so only a forged one has more.
pub const MAX_RESOURCES: usize = 32;

/// A finding that a Security Hub control has failed, passed or could not tell, or one of redress's own.
///
/// That it was decoded says nothing about its worth: see [`Finding::authenticity`] and
/// [`Finding::actionable`].
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// ASFF `Id`; OCSF `finding_info.uid`, which is the same text for the same finding.
    pub id: String,
    /// ASFF `ProductArn`; OCSF `metadata.product.uid`.
    pub product_arn: String,
    /// The format in which it came.
    pub format: Format,
    /// OCSF `metadata.uid`, by which `BatchUpdateFindingsV2` knows the finding.
    pub metadata_uid: Option<String>,
    /// The control, in AWS's spelling.
    pub control: ControlId,
    /// Title; empty where there is none.
    pub title: String,
    /// `INFORMATIONAL`, `LOW`, `MEDIUM`, `HIGH` or `CRITICAL`.
    pub severity: Option<String>,
    /// The account that the finding is about, 12 digits; not the one that received the event.
    pub account: String,
    /// The finding's own Region.
    pub region: String,
    /// `aws`, `aws-cn`, `aws-us-gov`, …
    pub partition: String,
    /// The control's verdict.
    pub compliance: Compliance,
    /// Whether Security Hub still stands by the finding.
    pub record_state: RecordState,
    /// What people have made of it.
    pub workflow: Workflow,
    /// A sample that somebody had generated. Such findings do not get past decode.
    pub sample: bool,
    /// What the finding is about: at least one, at most [`MAX_RESOURCES`], all of AWS.
    pub resources: Vec<FindingResource>,
    /// `Compliance.SecurityControlParameters`: the values that the customer has set for the control.
    pub control_parameters: Option<BTreeMap<String, Vec<String>>>,
    /// The note on the finding. There is never more than one.
    pub note: Option<Note>,
    /// User-defined fields. OCSF findings have none.
    pub user_defined_fields: BTreeMap<String, String>,
    /// When the finding was last updated, RFC 3339. Workflow changes do not move it.
    pub updated_at: Option<String>,
    /// The finding as it came, for the patterns of rules. No object in it holds a key twice.
    pub json: Arc<Value>,
}

/// One resource of a finding, as the finding gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindingResource {
    /// Type, as given: `AwsS3Bucket` in ASFF, `AWS::S3::Bucket` in OCSF.
    pub kind: String,
    /// ASFF `Id`, mostly an ARN; OCSF `uid`, which is AWS Config's resource id (a name, a URL, an id).
    pub id: String,
    /// OCSF `uid_alt`, the ARN.
    pub id_alt: Option<String>,
    /// Owner, where the finding names one.
    pub account: Option<String>,
    /// Region; `global` in OCSF findings about IAM.
    pub region: Option<String>,
    /// Partition.
    pub partition: Option<String>,
    /// Cloud provider. Absent means AWS.
    pub provider: Option<String>,
}

/// The note on a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Text; ASFF allows 512 characters.
    pub text: String,
    /// Who wrote it; empty where the finding does not say, as in OCSF.
    pub updated_by: String,
    /// When it was written, RFC 3339.
    pub updated_at: Option<String>,
}

/// Makes an enum of words: its text, `Display` and `Serialize` in one spelling.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $word:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
        pub enum $name { $($(#[$word_doc])* #[serde(rename = $text)] $word,)+ }

        impl $name {
            /// The word.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$word => $text,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// Format of a finding.
    Format {
        /// AWS Security Finding Format: Security Hub CSPM.
        Asff = "ASFF",
        /// Open Cybersecurity Schema Framework, class 2003.
        Ocsf = "OCSF",
    }
}

words! {
    /// A control's verdict on a resource.
    Compliance {
        /// Complies.
        Passed = "PASSED",
        /// No verdict: the check could not be run, for the reasons that the finding gives.
        Warning = "WARNING",
        /// Fails.
        Failed = "FAILED",
        /// No verdict: the check failed, or the control does not apply.
        NotAvailable = "NOT_AVAILABLE",
        /// Missing, contradictory, or a word that is not known.
        Unknown = "UNKNOWN",
    }
}

words! {
    /// Whether Security Hub still stands by a finding.
    RecordState {
        /// Current.
        Active = "ACTIVE",
        /// Superseded, closed or deleted.
        Archived = "ARCHIVED",
    }
}

words! {
    /// State of the work on a finding
    /// (<https://docs.aws.amazon.com/securityhub/latest/userguide/findings-workflow-status.html>).
    Workflow {
        /// Nobody has looked yet. Automatic rules take no other.
        New = "NEW",
        /// Its owner knows.
        Notified = "NOTIFIED",
        /// Done.
        Resolved = "RESOLVED",
        /// Not to be worked on.
        Suppressed = "SUPPRESSED",
    }
}

impl Compliance {
    pub(crate) fn from_asff(status: Option<&str>) -> Self {
        match status {
            Some("PASSED") => Self::Passed,
            Some("WARNING") => Self::Warning,
            Some("FAILED") => Self::Failed,
            Some("NOT_AVAILABLE") => Self::NotAvailable,
            _ => Self::Unknown,
        }
    }

    /// The number decides, and the word must not contradict it.
    pub(crate) fn from_ocsf(status_id: Option<i64>, status: Option<&str>) -> Self {
        let word = status.and_then(|status| match status {
            _ if status.eq_ignore_ascii_case("pass") => Some(Self::Passed),
            _ if status.eq_ignore_ascii_case("warning") => Some(Self::Warning),
            _ if status.eq_ignore_ascii_case("fail") => Some(Self::Failed),
            _ => None,
        });
        let number = match status_id {
            None => return word.unwrap_or(Self::Unknown),
            Some(1) => Self::Passed,
            Some(2) => Self::Warning,
            Some(3) => Self::Failed,
            Some(_) => Self::Unknown,
        };
        if word.is_some_and(|word| word != number) { Self::Unknown } else { number }
    }
}

impl RecordState {
    pub(crate) fn from_asff(state: Option<&str>) -> Option<Self> {
        match state {
            None | Some("ACTIVE") => Some(Self::Active),
            Some("ARCHIVED") => Some(Self::Archived),
            Some(_) => None,
        }
    }

    /// Activity 3 is *close*; statuses 5 and 6 are *archived* and *deleted*.
    pub(crate) fn from_ocsf(activity_id: Option<i64>, status_id: Option<i64>) -> Self {
        if activity_id == Some(3) || matches!(status_id, Some(5 | 6)) { Self::Archived } else { Self::Active }
    }
}

impl Workflow {
    /// Reads `Workflow.Status`, or where it is missing the deprecated `WorkflowState`.
    pub(crate) fn from_asff(status: Option<&str>, state: Option<&str>) -> Option<Self> {
        match status.or(state) {
            None | Some("NEW") => Some(Self::New),
            Some("NOTIFIED") => Some(Self::Notified),
            Some("RESOLVED") => Some(Self::Resolved),
            Some("SUPPRESSED") => Some(Self::Suppressed),
            Some("ASSIGNED" | "IN_PROGRESS") if status.is_none() => Some(Self::Notified),
            Some("DEFERRED") if status.is_none() => Some(Self::Suppressed),
            Some(_) => None,
        }
    }

    /// 0 Unknown, 1 New, 2 In Progress, 3 Suppressed, 4 Resolved, 5 Archived, 6 Deleted, 99 Other.
    pub(crate) fn from_ocsf(status_id: Option<i64>) -> Self {
        match status_id {
            None | Some(0 | 1) => Self::New,
            Some(2) => Self::Notified,
            Some(3) => Self::Suppressed,
            Some(_) => Self::Resolved,
        }
    }
}

/// What names a finding to Security Hub: `Id` and `ProductArn` for `BatchUpdateFindings`, `metadata.uid` for
/// `BatchUpdateFindingsV2`. Of a finding that was ignored or is invalid it is what could be read, unchecked,
/// so that whoever clicked can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindingKey {
    /// The format, and so the API.
    pub format: Format,
    /// ASFF `Id`, OCSF `finding_info.uid`.
    pub id: String,
    /// ASFF `ProductArn`, OCSF `metadata.product.uid`.
    pub product_arn: String,
    /// OCSF `metadata.uid`.
    pub metadata_uid: Option<String>,
    /// The note that stands on a finding in ASFF: an answer takes its place.
    pub note: Option<Note>,
}

impl FindingKey {
    pub(crate) fn of(value: &Value, format: Format) -> Option<Self> {
        let text =
            |path| value.pointer(path).and_then(Value::as_str).filter(|text| read::fault_of(text).is_none());
        let (id, product_arn) = match format {
            Format::Asff => (text("/Id")?, text("/ProductArn")?),
            Format::Ocsf => (text("/finding_info/uid")?, text("/metadata/product/uid")?),
        };
        let metadata_uid = text("/metadata/uid").filter(|_| format == Format::Ocsf).map(str::to_owned);
        let owned = |path| text(path).map(str::to_owned);
        let note = owned("/Note/Text").filter(|_| format == Format::Asff).map(|text| Note {
            text,
            updated_by: owned("/Note/UpdatedBy").unwrap_or_default(),
            updated_at: owned("/Note/UpdatedAt"),
        });
        Some(Self { format, id: id.to_owned(), product_arn: product_arn.to_owned(), metadata_uid, note })
    }
}

/// Who, by its product ARN, has written a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Product {
    /// Security Hub itself: nobody but AWS can import under this ARN.
    SecurityHub,
    /// The default product of an account: whoever may call `BatchImportFindings` there.
    OwnDefault {
        /// The account, 12 digits.
        account: String,
    },
    /// Another AWS service, a partner, or no product ARN at all.
    Other,
}

/// Why a finding is not what it claims to be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Forged {
    /// A control's finding that does not come from the one who may write it.
    #[error("control `{}` in a finding of product `{}`, which does not write it", shown(.control), shown(.product))]
    Product {
        /// The control it names.
        control: String,
        /// The product ARN it came under.
        product: String,
    },
    /// Parts of the finding name different accounts.
    #[error("account `{}` in {field}, but the finding is about `{}`", shown(.found), shown(.finding))]
    Account {
        /// The field.
        field: &'static str,
        /// What it names.
        found: String,
        /// The account that the finding is about.
        finding: String,
    },
    /// Parts of the finding name different partitions.
    #[error("partition `{}` in {field}, but `{}` in the product ARN", shown(.found), shown(.product))]
    Partition {
        /// The field.
        field: &'static str,
        /// What it names.
        found: String,
        /// What the product ARN names.
        product: String,
    },
    /// Parts of the finding name different Regions.
    #[error("Region `{}` in {field}, but the finding is of `{}`", shown(.found), shown(.finding))]
    Region {
        /// The field.
        field: &'static str,
        /// What it names.
        found: String,
        /// The finding's Region.
        finding: String,
    },
}

impl Finding {
    /// Whether it names a resource that the remediator could fix, or an account that stands for such.
    pub fn is_for(&self, remediator: &dyn Erased) -> bool {
        self.resources.iter().any(|resource| remediator.takes(&resource.kind))
    }

    /// Who has written the finding, by its product ARN alone.
    pub fn product(&self) -> Product {
        let Some(arn) = Arn::parse(&self.product_arn).filter(|arn| arn.service == "securityhub") else {
            return Product::Other;
        };
        if !is_label(arn.partition) || !is_label(arn.region) {
            return Product::Other;
        }
        match (arn.account, arn.resource) {
            ("", "product/aws/securityhub" | "productv2/aws/securityhub") => Product::SecurityHub,
            (account, resource)
                if is_account(account)
                    && resource.strip_prefix("product/").and_then(|rest| rest.strip_suffix("/default"))
                        == Some(account) =>
            {
                Product::OwnDefault { account: account.to_owned() }
            }
            _ => Product::Other,
        }
    }

    /// Checks that the one who may write findings of this control has written this one, and that its
    /// product ARN, id, account, Region and partition agree. The resources' ARNs are not looked at.
    ///
    /// Findings of Security Hub's controls are AWS's word. Redress's own are only pointers even where this
    /// is `Ok`: anybody in their account can write them.
    pub fn authenticity(&self) -> Result<(), Forged> {
        let product = match (self.product(), Arn::parse(&self.product_arn)) {
            (Product::SecurityHub, Some(arn)) if !self.control.is_own() => arn,
            (Product::OwnDefault { account }, Some(arn)) if self.control.is_own() => {
                self.same_account("the product ARN", &account)?;
                arn
            }
            _ => {
                return Err(Forged::Product {
                    control: self.control.to_string(),
                    product: self.product_arn.clone(),
                });
            }
        };
        let resources = self.resources.iter().filter_map(|resource| resource.partition.as_deref());
        let given = std::iter::once(("the finding", self.partition.as_str()));
        for (field, found) in given.chain(resources.map(|partition| ("a resource", partition))) {
            if found != product.partition {
                let product = product.partition.to_owned();
                return Err(Forged::Partition { field, found: found.to_owned(), product });
            }
        }
        for account in self.resources.iter().filter_map(|resource| resource.account.as_deref()) {
            self.same_account("a resource", account)?;
        }
        self.same_region("the product ARN", product.region)?;
        if let Some(id) = Arn::parse(&self.id).filter(|arn| arn.service == "securityhub") {
            if id.partition != product.partition {
                let (found, product) = (id.partition.to_owned(), product.partition.to_owned());
                return Err(Forged::Partition { field: "the finding's id", found, product });
            }
            self.same_account("the finding's id", id.account)?;
            self.same_region("the finding's id", id.region)?;
        }
        Ok(())
    }

    fn same_account(&self, field: &'static str, found: &str) -> Result<(), Forged> {
        if found == self.account {
            return Ok(());
        }
        Err(Forged::Account { field, found: found.to_owned(), finding: self.account.clone() })
    }

    fn same_region(&self, field: &'static str, found: &str) -> Result<(), Forged> {
        if found == self.region {
            return Ok(());
        }
        Err(Forged::Region { field, found: found.to_owned(), finding: self.region.clone() })
    }

    /// What names the finding to Security Hub.
    pub fn key(&self) -> FindingKey {
        FindingKey {
            format: self.format,
            id: self.id.clone(),
            product_arn: self.product_arn.clone(),
            metadata_uid: self.metadata_uid.clone(),
            note: self.note.clone(),
        }
    }

    /// Whether the finding calls for a plan or a fix. Undo does not ask: after a fix it is `PASSED`,
    /// `RESOLVED` or archived. Authenticity is not asked for: check it first.
    ///
    /// With `automatic`, when nobody has asked for it, the workflow status must be `NEW` too: redress's own
    /// updates bring a finding back, and so does each day.
    pub fn actionable(&self, automatic: bool) -> Result<(), Ignored> {
        actionable(self.compliance, self.record_state, self.workflow, automatic)
    }
}

pub(crate) fn actionable(
    compliance: Compliance,
    record_state: RecordState,
    workflow: Workflow,
    automatic: bool,
) -> Result<(), Ignored> {
    match (compliance, record_state, workflow) {
        (Compliance::Failed, RecordState::Active, Workflow::New) => Ok(()),
        (Compliance::Failed, RecordState::Active, Workflow::Notified) if !automatic => Ok(()),
        (Compliance::Failed, RecordState::Active, workflow) => Err(Ignored::Workflow(workflow)),
        (Compliance::Failed, RecordState::Archived, _) => Err(Ignored::Archived),
        (compliance, ..) => Err(Ignored::NotFailed(compliance)),
    }
}

pub(crate) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

pub(crate) fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

struct Arn<'a> {
    partition: &'a str,
    service: &'a str,
    region: &'a str,
    account: &'a str,
    resource: &'a str,
}

impl<'a> Arn<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(6, ':');
        if parts.next() != Some("arn") {
            return None;
        }
        Some(Self {
            partition: parts.next()?,
            service: parts.next()?,
            region: parts.next()?,
            account: parts.next()?,
            resource: parts.next()?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use serde_json::json;

    use super::*;

    #[test]
    fn the_states_of_both_formats_are_read() {
        use Compliance as C;
        for (status, expected) in [
            (Some("PASSED"), C::Passed),
            (Some("WARNING"), C::Warning),
            (Some("FAILED"), C::Failed),
            (Some("NOT_AVAILABLE"), C::NotAvailable),
            (Some("failed"), C::Unknown),
            (None, C::Unknown),
        ] {
            assert_eq!(C::from_asff(status), expected, "{status:?}");
        }
        for (id, word, expected) in [
            (Some(1), Some("Pass"), C::Passed),
            (Some(2), Some("Warning"), C::Warning),
            (Some(3), Some("FAIL"), C::Failed),
            (Some(3), None, C::Failed),
            (Some(3), Some("Nonsense"), C::Failed),
            (Some(99), Some("Nonsense"), C::Unknown),
            (None, Some("fail"), C::Failed),
            (None, Some("warning"), C::Warning),
            (None, Some("Nonsense"), C::Unknown),
            // The word contradicts the number.
            (Some(1), Some("Fail"), C::Unknown),
            (Some(3), Some("Warning"), C::Unknown),
        ] {
            assert_eq!(C::from_ocsf(id, word), expected, "{id:?} {word:?}");
        }
        for (activity, status, expected) in [
            (Some(1), Some(1), RecordState::Active),
            (Some(3), Some(1), RecordState::Archived),
            (Some(1), Some(5), RecordState::Archived),
            (None, Some(6), RecordState::Archived),
            (Some(3), Some(5), RecordState::Archived),
        ] {
            assert_eq!(RecordState::from_ocsf(activity, status), expected, "{activity:?} {status:?}");
        }
        for (status, state, expected) in [
            (None, None, Some(Workflow::New)),
            (None, Some("ASSIGNED"), Some(Workflow::Notified)),
            (None, Some("IN_PROGRESS"), Some(Workflow::Notified)),
            (None, Some("DEFERRED"), Some(Workflow::Suppressed)),
            // Words of the deprecated field, in the one that took its place.
            (Some("ASSIGNED"), Some("ASSIGNED"), None),
            (Some("DEFERRED"), None, None),
            (Some("SUPPRESSED"), Some("NEW"), Some(Workflow::Suppressed)),
        ] {
            assert_eq!(Workflow::from_asff(status, state), expected, "{status:?} {state:?}");
        }
    }

    #[test]
    fn only_ocsf_findings_have_a_uid_of_their_metadata() {
        let note = json!({ "Text": "mine", "UpdatedBy": "an analyst" });
        let asff = json!({ "Id": "f", "ProductArn": "p", "metadata": { "uid": "u" }, "Note": note });
        let key = FindingKey::of(&asff, Format::Asff).unwrap();
        assert_eq!(key.metadata_uid, None);
        assert_eq!(
            key.note.map(|note| (note.text, note.updated_by)),
            Some(("mine".into(), "an analyst".into()))
        );
        let ocsf = json!({
            "Note": note,
            "finding_info": { "uid": "f" },
            "metadata": { "uid": "u", "product": { "uid": "p" } },
        });
        let key = FindingKey::of(&ocsf, Format::Ocsf).unwrap();
        assert_eq!((key.metadata_uid.as_deref(), key.note), (Some("u"), None));
    }
}
