//! Adds one rule to a bucket's lifecycle configuration.

use std::{collections::BTreeMap, fmt::Write as _, num::NonZeroU32};

use aws_sdk_s3::types::TransitionDefaultMinimumObjectSize;
use roxmltree::{Document, Node};

use super::bucket::Bucket;
use crate::{
    body::{Answer, Body},
    prelude::*,
    raw,
    remediator::Proposal,
};

/// The id of the rule that a fix adds.
const ABORTING: &str = "redress-abort-incomplete-uploads";

/// Its id where it does more.
const MORE: &str = "redress-lifecycle";

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lifecycle-mgmt.html>; can't be raised.
const MOST_RULES: usize = 1_000;

pub(crate) struct AddLifecycleRule;

/// What the added rule does, for all objects of the bucket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Params {
    /// Days after its start on which an incomplete multipart upload is aborted and its parts deleted.
    abort_incomplete_multipart_days: NonZeroU32,
    /// Moves current versions to other storage classes.
    transitions: Vec<Transition>,
    /// Moves older versions to other storage classes; days count from when a version became an older one.
    noncurrent_transitions: Vec<Transition>,
    /// Days after its creation on which an object expires: it is deleted for good, or becomes an older
    /// version where the bucket keeps versions. Loss.
    expiration_days: Option<NonZeroU32>,
    /// Days after which older versions are deleted for good. Loss.
    noncurrent_expiration_days: Option<NonZeroU32>,
    /// How many older versions (1 to 100) are kept however old they are, with
    /// `noncurrent_expiration_days`.
    newer_noncurrent_versions: Option<NonZeroU32>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            abort_incomplete_multipart_days: NonZeroU32::MIN.saturating_add(6),
            transitions: Vec::new(),
            noncurrent_transitions: Vec::new(),
            expiration_days: None,
            noncurrent_expiration_days: None,
            newer_noncurrent_versions: None,
        }
    }
}

/// A move to another storage class.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Transition {
    /// Days after which objects move; at least 30 for the infrequent-access classes.
    days: u32,
    /// Where to.
    storage_class: StorageClass,
}

/// A storage class that S3 can move objects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum StorageClass {
    /// Infrequent access.
    StandardIa,
    /// Moves by access pattern.
    IntelligentTiering,
    /// Infrequent access, in one Availability Zone.
    OnezoneIa,
    /// Archive that is read at once.
    GlacierIr,
    /// Archive: minutes to hours until an object can be read.
    Glacier,
    /// Archive: hours to days until an object can be read.
    DeepArchive,
}

impl StorageClass {
    fn as_str(self) -> &'static str {
        match self {
            Self::StandardIa => "STANDARD_IA",
            Self::IntelligentTiering => "INTELLIGENT_TIERING",
            Self::OnezoneIa => "ONEZONE_IA",
            Self::GlacierIr => "GLACIER_IR",
            Self::Glacier => "GLACIER",
            Self::DeepArchive => "DEEP_ARCHIVE",
        }
    }

    /// Whether a plain GET fails once an object is there.
    fn is_offline(self) -> bool {
        matches!(self, Self::Glacier | Self::DeepArchive)
    }
}

/// The whole lifecycle configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Lifecycle {
    /// The elements of the configuration, byte for byte as S3 returned them, in its order. Empty where
    /// there is no configuration.
    rules: Vec<String>,
    /// The header `x-amz-transition-default-minimum-object-size`. It is no part of the document, and S3
    /// sets it to its default if a write leaves it out.
    #[serde(default)]
    minimum_object_size: Option<String>,
    /// Whether versioning is enabled: S3.10 is about such buckets only. Read, never altered.
    #[serde(default)]
    versioned: bool,
}

impl PartialEq for Lifecycle {
    /// S3 may return rules and their elements in another order.
    fn eq(&self, other: &Self) -> bool {
        let forms = |state: &Self| {
            let mut forms: Vec<String> = state.rules.iter().map(|rule| form(rule)).collect();
            forms.sort_unstable();
            forms
        };
        self.minimum_object_size == other.minimum_object_size
            && self.versioned == other.versioned
            && forms(self) == forms(other)
    }
}

impl Lifecycle {
    /// The form that a rule has to have beside those there are.
    fn form(&self) -> Form {
        let is_old = |rule: &String| {
            Document::parse(rule).is_ok_and(|tree| {
                let rule = tree.root_element();
                raw::child(rule, "Prefix").is_some() && raw::child(rule, "Filter").is_none()
            })
        };
        if self.rules.iter().any(is_old) { Form::Prefix } else { Form::Filter }
    }

    /// The rule of this id.
    fn rule(&self, id: &str) -> Option<&str> {
        self.rules.iter().map(String::as_str).find(|rule| Rule::read(rule).id == id)
    }
}

/// How rules say which objects they are for. S3 takes no configuration in which one has a `Filter` and another the
/// `Prefix` of before there were filters: "Filter element can only be used in Lifecycle V2".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Filter,
    Prefix,
}

/// An element in normal form; as it stands where it can't be read.
fn form(rule: &str) -> String {
    // An empty `Filter` and one with an empty `Prefix` both mean every object, and S3 may turn one into
    // the other.
    fn means_nothing(node: Node<'_, '_>) -> bool {
        node.tag_name().name() == "Prefix"
            && node.text().unwrap_or_default().is_empty()
            && node.parent_element().is_some_and(|parent| parent.tag_name().name() == "Filter")
    }
    raw::normal(rule, means_nothing).unwrap_or_else(|| rule.to_owned())
}

/// What counts for the controls in one rule.
#[derive(Debug, Default)]
struct Rule {
    id: String,
    enabled: bool,
    expiration_days: Option<u32>,
    transitions: Vec<(Option<u32>, String)>,
}

impl Rule {
    fn read(element: &str) -> Self {
        let Ok(tree) = Document::parse(element) else { return Self::default() };
        let rule = tree.root_element();
        if rule.tag_name().name() != "Rule" {
            return Self::default();
        }
        let days = |node| raw::text(node, "Days").and_then(|days| days.trim().parse().ok());
        let is_transition = |node: &Node<'_, '_>| node.tag_name().name() == "Transition";
        Self {
            id: raw::text(rule, "ID").unwrap_or_default().to_owned(),
            enabled: raw::text(rule, "Status").is_some_and(|status| status.trim() == "Enabled"),
            expiration_days: raw::child(rule, "Expiration").and_then(days),
            transitions: rule
                .children()
                .filter(is_transition)
                .map(|node| {
                    (days(node), raw::text(node, "StorageClass").unwrap_or_default().trim().to_owned())
                })
                .collect(),
        }
    }
}

/// The parameters of S3.13 in Security Hub.
#[derive(Debug, Default, PartialEq)]
struct Demands {
    transition_days: Option<u32>,
    storage_class: Option<String>,
    expiration_days: Option<u32>,
}

impl Demands {
    fn read(params: Option<&BTreeMap<String, Vec<String>>>) -> Result<Self, String> {
        let mut demands = Self::default();
        for (name, values) in params.into_iter().flatten() {
            let values: Vec<&str> =
                values.iter().map(|value| value.trim()).filter(|value| !value.is_empty()).collect();
            let value = match values.as_slice() {
                [] => continue,
                [value] => *value,
                _ => return Err(format!("the control's parameter `{}` has several values", excerpt(name))),
            };
            let days = || {
                value.parse().map(Some).map_err(|_| {
                    format!(
                        "the control's parameter `{}` is `{}`, no number of days",
                        excerpt(name),
                        excerpt(value)
                    )
                })
            };
            match name.as_str() {
                "targetTransitionDays" => demands.transition_days = days()?,
                "targetExpirationDays" => demands.expiration_days = days()?,
                // The Config rule's own documentation writes `Intelligent-Tiering`.
                "targetTransitionStorageClass" => {
                    demands.storage_class = Some(value.to_ascii_uppercase().replace(['-', ' '], "_"));
                }
                _ => return Err(format!("the control has an unknown parameter `{}`", excerpt(name))),
            }
        }
        Ok(demands)
    }

    fn transition(&self) -> bool {
        self.transition_days.is_some() || self.storage_class.is_some()
    }

    /// What this rule lacks, in words; `None` where it meets them all.
    fn missing_in(&self, rule: &Rule) -> Option<String> {
        let mut missing = Vec::new();
        let moves = |(days, class): &(Option<u32>, String)| {
            self.transition_days.is_none_or(|wanted| *days == Some(wanted))
                && self.storage_class.as_ref().is_none_or(|wanted| wanted == class)
        };
        if self.transition() && !rule.transitions.iter().any(moves) {
            let mut text = "a transition".to_owned();
            if let Some(class) = &self.storage_class {
                let _ = write!(text, " to `{}`", excerpt(class));
            }
            if let Some(days) = self.transition_days {
                let _ = write!(text, " after {days} days");
            }
            missing.push((text, "transitions"));
        }
        if let Some(days) = self.expiration_days.filter(|days| rule.expiration_days != Some(*days)) {
            missing.push((format!("an expiration after {days} days"), "expiration_days"));
        }
        let (texts, fields): (Vec<String>, Vec<&str>) = missing.into_iter().unzip();
        (!texts.is_empty()).then(|| {
            format!(
                "the control demands {}, and the rule does not ask for it: set `{}`",
                texts.join(" and "),
                fields.join("` and `")
            )
        })
    }
}

impl Params {
    /// Why S3 would refuse the rule.
    fn fault(&self) -> Option<String> {
        for (name, moves) in
            [("transitions", &self.transitions), ("noncurrent_transitions", &self.noncurrent_transitions)]
        {
            for (at, step) in moves.iter().enumerate() {
                let class = step.storage_class;
                if matches!(class, StorageClass::StandardIa | StorageClass::OnezoneIa) && step.days < 30 {
                    return Some(format!(
                        "`{name}`: `{}` takes objects after 30 days or more",
                        class.as_str()
                    ));
                }
                if moves.iter().skip(at + 1).any(|other| other.storage_class == class) {
                    return Some(format!("`{name}` names `{}` twice", class.as_str()));
                }
            }
        }
        for (name, moves, limit) in [
            ("expiration_days", &self.transitions, self.expiration_days),
            ("noncurrent_expiration_days", &self.noncurrent_transitions, self.noncurrent_expiration_days),
        ] {
            if let Some(limit) = limit
                && moves.iter().any(|step| step.days >= limit.get())
            {
                return Some(format!("`{name}` must be later than every transition"));
            }
        }
        if let Some(kept) = self.newer_noncurrent_versions {
            if self.noncurrent_expiration_days.is_none() {
                return Some("`newer_noncurrent_versions` needs `noncurrent_expiration_days`".to_owned());
            }
            if kept.get() > 100 {
                return Some("`newer_noncurrent_versions` is 100 at most".to_owned());
            }
        }
        None
    }

    /// The id of the rule: it tells whoever reads the configuration what the rule does.
    fn id(&self) -> &'static str {
        let bare =
            Self { abort_incomplete_multipart_days: self.abort_incomplete_multipart_days, ..Self::default() };
        if *self == bare { ABORTING } else { MORE }
    }

    /// The rule as S3 takes it, in the form of those it stands beside. Nothing in it comes from outside but numbers.
    fn rule(&self, form: Form) -> String {
        let every = match form {
            Form::Filter => "<Filter><Prefix></Prefix></Filter>",
            Form::Prefix => "<Prefix></Prefix>",
        };
        let mut xml = format!("<Rule><ID>{}</ID>{every}<Status>Enabled</Status>", self.id());
        for step in &self.transitions {
            let _ = write!(
                xml,
                "<Transition><Days>{}</Days><StorageClass>{}</StorageClass></Transition>",
                step.days,
                step.storage_class.as_str()
            );
        }
        if let Some(days) = self.expiration_days {
            let _ = write!(xml, "<Expiration><Days>{days}</Days></Expiration>");
        }
        for step in &self.noncurrent_transitions {
            let _ = write!(
                xml,
                "<NoncurrentVersionTransition><NoncurrentDays>{}</NoncurrentDays>\
                 <StorageClass>{}</StorageClass></NoncurrentVersionTransition>",
                step.days,
                step.storage_class.as_str()
            );
        }
        if let Some(days) = self.noncurrent_expiration_days {
            let _ = write!(xml, "<NoncurrentVersionExpiration><NoncurrentDays>{days}</NoncurrentDays>");
            if let Some(kept) = self.newer_noncurrent_versions {
                let _ = write!(xml, "<NewerNoncurrentVersions>{kept}</NewerNoncurrentVersions>");
            }
            xml.push_str("</NoncurrentVersionExpiration>");
        }
        let _ = write!(
            xml,
            "<AbortIncompleteMultipartUpload><DaysAfterInitiation>{}</DaysAfterInitiation>\
             </AbortIncompleteMultipartUpload></Rule>",
            self.abort_incomplete_multipart_days
        );
        xml
    }

    fn moves(&self) -> impl Iterator<Item = &Transition> {
        self.transitions.iter().chain(&self.noncurrent_transitions)
    }

    fn risk(&self) -> Risk {
        if self.expiration_days.is_some() || self.noncurrent_expiration_days.is_some() {
            Risk::Loss
        } else if self.moves().any(|step| step.storage_class.is_offline()) {
            Risk::Downtime
        } else {
            Risk::Cost
        }
    }

    fn notes(&self, now: &Lifecycle) -> Vec<String> {
        let mut notes = vec![format!(
            "a multipart upload that is not completed {} days after its start is aborted",
            self.abort_incomplete_multipart_days
        )];
        if let Some(step) = self.moves().find(|step| step.storage_class.is_offline()) {
            notes.push(format!(
                "objects in `{}` can't be read until somebody restores them, which takes hours",
                step.storage_class.as_str()
            ));
        }
        if !self.transitions.is_empty() || !self.noncurrent_transitions.is_empty() {
            notes.push(
                "transitions are billed by the object, and most storage classes bill a least time".to_owned(),
            );
        }
        match self.expiration_days {
            Some(days) if now.versioned => notes.push(format!(
                "objects older than {days} days become older versions, those there are now included"
            )),
            Some(days) => notes.push(format!(
                "objects older than {days} days are deleted for good, those there are now included"
            )),
            None => {}
        }
        if let Some(days) = self.noncurrent_expiration_days {
            notes.push(format!(
                "older versions are deleted for good {days} days after they were replaced, those there are \
                 now included"
            ));
        }
        notes
    }
}

impl Remediator for AddLifecycleRule {
    const SPEC: Spec = Spec {
        name: "s3.add_lifecycle_rule",
        version: 1,
        controls: &["S3.10", "S3.13"],
        risk: Risk::Loss,
        what: "Adds one rule to the lifecycle configuration, which aborts multipart uploads that are still \
               incomplete after 7 days. No object is touched. Transitions and expirations come only where \
               the rule's parameters ask for them; every other rule of the bucket is sent back as it was \
               read.",
        who_notices: "Whoever takes longer than those days to complete a multipart upload: it fails and \
                      starts anew. With transitions: the bill, and readers of objects in an archive. With \
                      expirations: everybody who looks for an object that S3 has deleted.",
        way_back: "Removes that rule, and the configuration where nothing else is in it; other rules stay \
                   as they are then. What S3 has aborted, moved or deleted meanwhile does not come back. \
                   Refused where somebody has changed the rule since.",
        reads: &[
            Action::new("s3:GetLifecycleConfiguration", On::Resource)
                .called(&["GetBucketLifecycleConfiguration"]),
            Action::new("s3:GetBucketVersioning", On::Resource),
        ],
        writes: &[Action::new("s3:PutLifecycleConfiguration", On::Resource)
            .called(&["PutBucketLifecycleConfiguration"])],
        undo: &[Action::new("s3:PutLifecycleConfiguration", On::Resource).called(&["DeleteBucketLifecycle"])],
        implied: &[],
    };
    type Resource = Bucket;
    type Params = Params;
    type State = Lifecycle;

    async fn observe(aws: &Aws, at: &Bucket) -> Result<Lifecycle> {
        let answer = Answer::default();
        let lifecycle = aws
            .s3()
            .get_bucket_lifecycle_configuration()
            .bucket(&at.name)
            .expected_bucket_owner(&at.owner)
            .customize()
            .interceptor(answer.clone())
            .send();
        let versioning =
            aws.s3().get_bucket_versioning().bucket(&at.name).expected_bucket_owner(&at.owner).send();
        let (lifecycle, versioning) = tokio::join!(lifecycle, versioning);
        let versioned = versioning?.status.is_some_and(|status| status.as_str() == "Enabled");
        let Some(found) = lifecycle.absent_if("NoSuchLifecycleConfiguration")? else {
            return Ok(Lifecycle { rules: Vec::new(), minimum_object_size: None, versioned });
        };
        Ok(Lifecycle {
            rules: raw::elements(&answer.text()?, "LifecycleConfiguration")?,
            minimum_object_size: found
                .transition_default_minimum_object_size
                .map(|size| size.as_str().to_owned()),
            versioned,
        })
    }

    fn plan(now: &Lifecycle, ask: &Ask<'_, Params>) -> Plan<Lifecycle> {
        if ask.control == "S3.10" && !now.versioned {
            return Plan::Compliant;
        }
        let demands = match Demands::read(ask.control_params.filter(|_| ask.control == "S3.13")) {
            Ok(demands) => demands,
            Err(why) => return Plan::Refuse(why),
        };
        // Both Config rules want an active rule; a disabled one does not count:
        // https://docs.aws.amazon.com/config/latest/developerguide/s3-lifecycle-policy-check.html
        let meets = |rule: &Rule| rule.enabled && demands.missing_in(rule).is_none();
        if now.rules.iter().any(|rule| meets(&Rule::read(rule))) {
            return Plan::Compliant;
        }
        if let Some(why) = ask.params.fault() {
            return Plan::Refuse(why);
        }
        let form = now.form();
        if form == Form::Prefix && ask.params.newer_noncurrent_versions.is_some() {
            return Plan::Refuse(
                "the bucket has a rule with a `Prefix` outside of a `Filter`, beside which S3 takes no \
                 `newer_noncurrent_versions`: write that rule with a `Filter`"
                    .to_owned(),
            );
        }
        let rule = ask.params.rule(form);
        if let Some(why) = demands.missing_in(&Rule::read(&rule)) {
            return Plan::Refuse(why);
        }
        let id = ask.params.id();
        if now.rule(id).is_some() {
            return Plan::Refuse(format!(
                "the bucket has a rule `{id}` already, which is disabled or not enough for the control: enable, \
                 complete or delete it"
            ));
        }
        if now.rules.len() >= MOST_RULES {
            return Plan::Refuse("the configuration is full: S3 takes 1,000 rules".to_owned());
        }
        let mut to = now.clone();
        to.rules.push(rule);
        Plan::Change(Proposal { to, risk: ask.params.risk(), notes: ask.params.notes(now) })
    }

    async fn apply(aws: &Aws, at: &Bucket, change: &Change<Lifecycle>) -> Result<()> {
        let Lifecycle { rules, minimum_object_size, .. } = &change.to;
        if rules.is_empty() {
            // S3 does not take an empty document.
            aws.s3()
                .delete_bucket_lifecycle()
                .bucket(&at.name)
                .expected_bucket_owner(&at.owner)
                .send()
                .await?;
            return Ok(());
        }
        let document = format!(
            "<LifecycleConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{}\
             </LifecycleConfiguration>",
            rules.concat()
        );
        let size = minimum_object_size.as_deref().map(TransitionDefaultMinimumObjectSize::from);
        aws.s3()
            .put_bucket_lifecycle_configuration()
            .bucket(&at.name)
            .expected_bucket_owner(&at.owner)
            .set_transition_default_minimum_object_size(size)
            .customize()
            .interceptor(Body(document))
            .send()
            .await?;
        Ok(())
    }

    fn undo(change: &Change<Lifecycle>, now: &Lifecycle) -> Undo<Lifecycle> {
        let is_new = |rule: &&String| change.from.rule(&Rule::read(rule).id).is_none();
        let Some(made) = change.to.rules.iter().find(is_new) else { return Undo::Nothing };
        let rule = Rule::read(made);
        let Some(found) = now.rule(&rule.id) else { return Undo::Nothing };
        if form(made) != form(found) {
            return Undo::Refuse(format!("somebody has changed the rule `{}` since", excerpt(&rule.id)));
        }
        let mut to = now.clone();
        to.rules.retain(|other| Rule::read(other).id != rule.id);
        let mut notes = Vec::new();
        if to.rules.is_empty() {
            to.minimum_object_size = None;
            if !change.from.rules.is_empty() {
                notes.push("no other rule is left: the whole configuration is removed".to_owned());
            }
        }
        if rule.expiration_days.is_some() || made.contains("<NoncurrentVersionExpiration>") {
            notes.push("what S3 has deleted meanwhile does not come back".to_owned());
        }
        if !rule.transitions.is_empty() || made.contains("<NoncurrentVersionTransition>") {
            notes.push("what S3 has moved meanwhile stays in its new storage class".to_owned());
        }
        Undo::To { to, notes }
    }

    fn wants_control_params(control: &str, _: &Params) -> bool {
        control == "S3.13"
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;
    use crate::{
        Access,
        raw::test::{Dice, Wire},
        remediator::test::ask,
    };

    const LOGS: &str = "<Rule><ID>logs</ID><Filter><Prefix>logs/</Prefix></Filter><Status>Enabled</Status>\
                        <Expiration><Days>30</Days></Expiration></Rule>";
    const OFF: &str = "<Rule><ID>off</ID><Prefix/><Status>Disabled</Status>\
                       <Expiration><Days>30</Days></Expiration></Rule>";

    fn state(rules: &[&str]) -> Lifecycle {
        let rules: Vec<String> = rules.iter().map(|rule| (*rule).to_owned()).collect();
        let minimum_object_size = (!rules.is_empty()).then(|| "varies_by_storage_class".to_owned());
        Lifecycle { rules, minimum_object_size, versioned: true }
    }

    fn params(json: serde_json::Value) -> Params {
        serde_json::from_value(json).unwrap()
    }

    fn demands(pairs: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
        let owned = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        pairs.iter().map(|(name, values)| ((*name).to_owned(), owned(values))).collect()
    }

    fn plan(now: &Lifecycle, params: &Params, wanted: &[(&str, &[&str])]) -> Plan<Lifecycle> {
        let wanted = demands(wanted);
        AddLifecycleRule::plan(now, &Ask { control_params: Some(&wanted), ..ask("S3.13", params) })
    }

    fn change(plan: Plan<Lifecycle>) -> Proposal<Lifecycle> {
        let Plan::Change(change) = plan else { panic!("{plan:?}") };
        change
    }

    fn refusal(plan: Plan<Lifecycle>) -> String {
        let Plan::Refuse(why) = plan else { panic!("{plan:?}") };
        why
    }

    #[test]
    fn an_active_rule_of_any_kind_passes_and_a_disabled_one_does_not() {
        let default = Params::default();
        for control in ["S3.10", "S3.13"] {
            let plan = |now: &Lifecycle| AddLifecycleRule::plan(now, &ask(control, &default));
            assert_eq!(plan(&state(&[LOGS])), Plan::Compliant);
            assert_eq!(plan(&state(&[OFF, LOGS])), Plan::Compliant);
            // S3 takes rules of one form alone.
            for (rules, every) in
                [(&[][..], "<Filter><Prefix></Prefix></Filter>"), (&[OFF][..], "<Prefix></Prefix>")]
            {
                let change = change(plan(&state(rules)));
                assert_eq!(change.risk, Risk::Cost);
                assert_eq!(change.to.rules[..rules.len()], *rules, "what was there stays first, as it was");
                assert_eq!(
                    change.to.rules[rules.len()..],
                    [format!(
                        "<Rule><ID>redress-abort-incomplete-uploads</ID>{every}<Status>Enabled</Status>\
                         <AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation>\
                         </AbortIncompleteMultipartUpload></Rule>"
                    )]
                );
                assert_eq!(plan(&change.to), Plan::Compliant);
            }
        }
    }

    #[test]
    fn s3_10_is_about_versioned_buckets_only() {
        let now = Lifecycle { versioned: false, ..state(&[]) };
        let plan = |control| AddLifecycleRule::plan(&now, &ask(control, &Params::default()));
        assert_eq!(plan("S3.10"), Plan::Compliant);
        assert!(matches!(plan("S3.13"), Plan::Change(_)));
    }

    #[test]
    fn what_the_control_demands_must_be_asked_for_by_the_rule() {
        let default = Params::default();
        let expiring = params(serde_json::json!({ "expiration_days": 90 }));
        let moving = params(serde_json::json!({
            "transitions": [{ "days": 30, "storage_class": "GLACIER_IR" }],
            "expiration_days": 90,
        }));
        let bare = state(&[]);
        let why = refusal(plan(&bare, &default, &[("targetExpirationDays", &["90"])]));
        assert_eq!(
            why,
            "the control demands an expiration after 90 days, and the rule does not ask for it: set \
             `expiration_days`"
        );
        let why = refusal(plan(&bare, &expiring, &[("targetExpirationDays", &["91"])]));
        assert!(why.contains("91 days"), "{why}");
        let both: &[(&str, &[&str])] = &[
            ("targetTransitionDays", &["30"]),
            ("targetTransitionStorageClass", &["Glacier-IR"]),
            ("targetExpirationDays", &["90"]),
        ];
        let why = refusal(plan(&bare, &expiring, both));
        assert!(why.contains("a transition to `GLACIER_IR` after 30 days"), "{why}");
        assert!(!why.contains("expiration"), "{why}");
        let changed = change(plan(&bare, &moving, both));
        assert_eq!(changed.risk, Risk::Loss);
        assert_eq!(plan(&changed.to, &default, both), Plan::Compliant);

        assert_eq!(plan(&state(&[LOGS]), &default, &[("targetExpirationDays", &["30"])]), Plan::Compliant);
        assert_eq!(plan(&state(&[LOGS]), &default, &[("targetExpirationDays", &[])]), Plan::Compliant);
        // A disabled rule that would do it does not count.
        refusal(plan(&state(&[OFF]), &default, &[("targetExpirationDays", &["30"])]));
        // S3.10 has no parameters.
        let wanted = demands(both);
        let other = Ask { control_params: Some(&wanted), ..ask("S3.10", &default) };
        assert!(matches!(AddLifecycleRule::plan(&bare, &other), Plan::Change(_)));
    }

    #[test]
    fn demands_that_cannot_be_read_are_refused() {
        for wanted in [
            ("targetExpirationDays", &["soon"][..]),
            ("targetTransitionDays", &["30", "60"]),
            ("targetSomethingNew", &["1"]),
        ] {
            let why = refusal(plan(&state(&[LOGS]), &Params::default(), &[wanted]));
            assert!(why.contains(wanted.0), "{why}");
        }
    }

    #[test]
    fn risk_is_that_of_what_the_rule_asks_for() {
        use serde_json::json;
        let moving = |class: &str| json!({ "transitions": [{ "days": 30, "storage_class": class }] });
        for (json, risk) in [
            (json!({}), Risk::Cost),
            (json!({ "abort_incomplete_multipart_days": 1 }), Risk::Cost),
            (moving("STANDARD_IA"), Risk::Cost),
            (moving("INTELLIGENT_TIERING"), Risk::Cost),
            (moving("GLACIER"), Risk::Downtime),
            (
                json!({ "noncurrent_transitions": [{ "days": 1, "storage_class": "DEEP_ARCHIVE" }] }),
                Risk::Downtime,
            ),
            (json!({ "expiration_days": 1 }), Risk::Loss),
            (json!({ "noncurrent_expiration_days": 1, "newer_noncurrent_versions": 3 }), Risk::Loss),
        ] {
            let change = change(plan(&state(&[]), &params(json.clone()), &[]));
            assert_eq!(change.risk, risk, "{json}");
            assert!(change.risk <= AddLifecycleRule::SPEC.risk);
        }
        let full = params(json!({
            "abort_incomplete_multipart_days": 3,
            "transitions": [{ "days": 0, "storage_class": "GLACIER_IR" }],
            "noncurrent_transitions": [{ "days": 30, "storage_class": "ONEZONE_IA" }],
            "expiration_days": 365,
            "noncurrent_expiration_days": 60,
            "newer_noncurrent_versions": 5,
        }));
        assert_eq!(
            full.rule(Form::Filter),
            "<Rule><ID>redress-lifecycle</ID><Filter><Prefix></Prefix></Filter><Status>Enabled</Status>\
             <Transition><Days>0</Days><StorageClass>GLACIER_IR</StorageClass></Transition>\
             <Expiration><Days>365</Days></Expiration>\
             <NoncurrentVersionTransition><NoncurrentDays>30</NoncurrentDays>\
             <StorageClass>ONEZONE_IA</StorageClass></NoncurrentVersionTransition>\
             <NoncurrentVersionExpiration><NoncurrentDays>60</NoncurrentDays>\
             <NewerNoncurrentVersions>5</NewerNoncurrentVersions></NoncurrentVersionExpiration>\
             <AbortIncompleteMultipartUpload><DaysAfterInitiation>3</DaysAfterInitiation>\
             </AbortIncompleteMultipartUpload></Rule>"
        );
    }

    #[test]
    fn what_s3_would_refuse_is_refused_before() {
        use serde_json::json;
        for (json, name) in [
            (json!({ "transitions": [{ "days": 29, "storage_class": "STANDARD_IA" }] }), "transitions"),
            (
                json!({ "transitions": [
                    { "days": 1, "storage_class": "GLACIER" }, { "days": 2, "storage_class": "GLACIER" },
                ] }),
                "twice",
            ),
            (
                json!({ "transitions": [{ "days": 40, "storage_class": "GLACIER" }], "expiration_days": 40 }),
                "expiration_days",
            ),
            (json!({ "newer_noncurrent_versions": 1 }), "newer_noncurrent_versions"),
            (json!({ "newer_noncurrent_versions": 101, "noncurrent_expiration_days": 1 }), "100"),
        ] {
            let why = refusal(plan(&state(&[]), &params(json), &[]));
            assert!(why.contains(name), "{why}");
        }
        let kept = params(json!({ "newer_noncurrent_versions": 1, "noncurrent_expiration_days": 1 }));
        assert!(refusal(plan(&state(&[OFF]), &kept, &[])).contains("outside of a `Filter`"));
        for json in [
            json!({ "abort_incomplete_multipart_days": 0 }),
            json!({ "expiration_days": 0 }),
            json!({ "expire_days": 3 }),
            json!({ "transitions": [{ "days": 1, "storage_class": "TAPE" }] }),
        ] {
            assert!(serde_json::from_value::<Params>(json).is_err());
        }
    }

    #[test]
    fn a_full_configuration_and_a_rule_of_our_name_are_refused() {
        let full = Lifecycle { rules: vec![OFF.to_owned(); MOST_RULES], ..state(&[]) };
        assert!(refusal(plan(&full, &Params::default(), &[])).contains("1,000"));
        let disabled = Params::default().rule(Form::Filter).replace("Enabled", "Disabled");
        assert!(refusal(plan(&state(&[&disabled]), &Params::default(), &[])).contains(ABORTING));
        // One that only aborts does not stand in the way of one that does more.
        let wanted: &[(&str, &[&str])] = &[("targetExpirationDays", &["90"])];
        let now = state(&[&Params::default().rule(Form::Filter)]);
        let more = params(serde_json::json!({ "expiration_days": 90 }));
        let to = change(plan(&now, &more, wanted)).to;
        let change = Change { from: now.clone(), to };
        let Undo::To { to, notes } = AddLifecycleRule::undo(&change, &change.to) else { panic!() };
        assert_eq!(to, now);
        assert!(notes[0].contains("deleted"), "{notes:?}");
    }

    #[test]
    fn order_does_not_count_and_everything_else_does() {
        let turned = "<Rule><Status>Enabled</Status><Expiration><Days>30</Days></Expiration>\n\
                      <Filter><Prefix>logs/</Prefix></Filter><ID>logs</ID></Rule>";
        assert_eq!(state(&[LOGS, OFF]), state(&[OFF, turned]));
        assert_ne!(state(&[LOGS, OFF]), state(&[LOGS]));
        assert_ne!(state(&[LOGS]), state(&[&LOGS.replace("30", "31")]));
        assert_ne!(state(&[LOGS]), Lifecycle { minimum_object_size: None, ..state(&[LOGS]) });
        assert_eq!(
            state(&["<Rule><Filter/></Rule>"]),
            state(&["<Rule><Filter><Prefix></Prefix></Filter></Rule>"])
        );
        let unit: &dyn crate::Erased = &AddLifecycleRule;
        let json = |rules: &[&str]| serde_json::to_value(state(rules)).unwrap();
        assert!(unit.same(&json(&[LOGS, OFF]), &json(&[OFF, turned])).unwrap());
        assert!(!unit.same(&json(&[LOGS, OFF]), &json(&[OFF])).unwrap());
        let stored = serde_json::to_value(state(&[LOGS])).unwrap();
        assert_eq!(serde_json::from_value::<Lifecycle>(stored).unwrap(), state(&[LOGS]));
    }

    #[test]
    fn undo_removes_our_rule_and_nothing_else() {
        let ours = Params::default().rule(Form::Filter);
        let change = Change { from: state(&[OFF]), to: state(&[OFF, &ours]) };
        let undo = |now: &Lifecycle| AddLifecycleRule::undo(&change, now);
        assert_eq!(undo(&change.from), Undo::Nothing);
        assert_eq!(undo(&state(&[])), Undo::Nothing);
        assert!(matches!(undo(&change.to), Undo::To { to, notes } if to == change.from && notes.is_empty()));
        // Meanwhile another rule came, the old one went, and S3 writes ours another way.
        let rewritten =
            ours.replace("<Filter><Prefix></Prefix></Filter>", "").replace("</ID>", "</ID><Filter/>");
        let now = Lifecycle { minimum_object_size: Some("x".to_owned()), ..state(&[&rewritten, LOGS]) };
        let Undo::To { to, .. } = undo(&now) else { panic!() };
        assert_eq!((to.rules, to.minimum_object_size), (vec![LOGS.to_owned()], Some("x".to_owned())));
        // Only ours is left.
        let Undo::To { to, notes } = undo(&state(&[&ours])) else { panic!() };
        assert_eq!(to, state(&[]));
        assert!(notes[0].contains("no other rule"), "{notes:?}");
        for changed in [ours.replace(">7<", ">8<"), ours.replace("Enabled", "Disabled")] {
            assert!(matches!(undo(&state(&[OFF, &changed])), Undo::Refuse(why) if why.contains(ABORTING)));
        }
    }

    #[test]
    fn the_rest_of_any_document_is_sent_as_it_was_read() {
        let mut dice = Dice(7);
        for case in 0..300 {
            let mut rules = Vec::new();
            let mut document = String::from("<LifecycleConfiguration>");
            for n in 0..dice.below(6) {
                let rule = format!(
                    "<Rule>{space}<ID>r{n}{odd}</ID><Status>{status}</Status>{unknown}<Filter><And>\
                     <Prefix>{odd}</Prefix><Tag><Key>k</Key><Value>{odd}</Value></Tag></And></Filter></Rule>",
                    space = dice.pick(&["", "\n  ", " "]),
                    odd = dice.pick(&["", "a&amp;b", "&#13;", "é&lt;", "<![CDATA[<x>]]>", " x "]),
                    status = dice.pick(&["Disabled", "Paused"]),
                    unknown = dice.pick(&["", "<Later><New a=\"1\">x</New></Later>", "<!-- c -->"]),
                );
                document += &rule;
                document += dice.pick(&["", "\n", "  "]);
                rules.push(rule);
            }
            document += "</LifecycleConfiguration>";
            let read = raw::elements(&document, "LifecycleConfiguration").unwrap();
            assert_eq!(read, rules, "{case}");
            let now = Lifecycle { rules: read, ..state(&[]) };
            let to = change(plan(&now, &Params::default(), &[])).to;
            assert_eq!(to.rules[..rules.len()], rules, "{case}");
            let change = Change { from: now.clone(), to: to.clone() };
            let Undo::To { to: back, .. } = AddLifecycleRule::undo(&change, &to) else { panic!("{case}") };
            assert_eq!(back.rules, now.rules, "{case}");
        }
    }

    const VERSIONED: &str = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";

    fn missing(code: &str) -> (u16, Vec<(&'static str, String)>, String) {
        (404, Vec::new(), format!("<Error><Code>{code}</Code><Message>m</Message></Error>"))
    }

    #[tokio::test]
    async fn what_the_sdk_does_not_know_goes_back_as_it_came() {
        let wire = Wire::default();
        let off = OFF.replace("<Prefix/>", "<Filter><Prefix/></Filter>");
        let later =
            "<Rule><ID>a&amp;b</ID><Filter/><Status>Disabled</Status><Later><New>1</New></Later></Rule>";
        let document = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<LifecycleConfiguration \
             xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{off}{later}</LifecycleConfiguration>"
        );
        let size = ("x-amz-transition-default-minimum-object-size", "of_a_later_day".to_owned());
        wire.answer("GET /?versioning", (200, Vec::new(), VERSIONED.to_owned()));
        wire.answer("GET /?lifecycle", (200, vec![size], document));
        wire.answer("PUT /?lifecycle", (200, Vec::new(), String::new()));
        let unit: &dyn crate::Erased = &AddLifecycleRule;
        let aws = wire.aws(unit, Access::Apply);
        let from = unit.observe(&aws).await.unwrap();
        assert_eq!(from["rules"], serde_json::json!([off, later]));
        assert_eq!(from["versioned"], true);
        let now: Lifecycle = serde_json::from_value(from.clone()).unwrap();
        let to = change(plan(&now, &Params::default(), &[])).to;
        let change = Change { from, to: serde_json::to_value(&to).unwrap() };
        unit.apply(&aws, &change).await.unwrap();

        let sent = wire.sent();
        let put = sent.iter().find(|sent| sent.method == "PUT").unwrap();
        let ours = Params::default().rule(Form::Filter);
        assert_eq!(
            put.body,
            format!(
                "<LifecycleConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{off}{later}{ours}\
                 </LifecycleConfiguration>"
            )
        );
        assert_eq!(put.header("x-amz-transition-default-minimum-object-size"), Some("of_a_later_day"));
        assert_eq!(put.header("content-length"), Some(put.body.len().to_string().as_str()));
        assert_eq!(put.header("content-type"), Some("application/xml"));
        assert!(put.header("x-amz-checksum-crc32").is_some_and(|sum| sum != "AAAAAA=="), "{put:?}");
        for sent in &sent {
            assert_eq!(sent.header("x-amz-expected-bucket-owner"), Some("123456789012"), "{sent:?}");
        }
        // The way back of this run may not delete: that is for undo alone.
        let nothing = Change { from: change.to, to: serde_json::to_value(state(&[])).unwrap() };
        let error = unit.apply(&aws, &nothing).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Blocked);
    }

    #[tokio::test]
    async fn no_configuration_is_an_empty_one_and_no_bucket_is_not_found() {
        let wire = Wire::default();
        let unit: &dyn crate::Erased = &AddLifecycleRule;
        wire.answer("GET /?versioning", (200, Vec::new(), "<VersioningConfiguration/>".to_owned()));
        wire.answer("GET /?lifecycle", missing("NoSuchLifecycleConfiguration"));
        wire.answer("DELETE /?lifecycle", (204, Vec::new(), String::new()));
        let aws = wire.aws(unit, Access::Undo);
        let now = unit.observe(&aws).await.unwrap();
        assert_eq!(now, serde_json::json!({ "rules": [], "minimum_object_size": null, "versioned": false }));
        unit.apply(&aws, &Change { from: now.clone(), to: now }).await.unwrap();
        assert_eq!(wire.sent().last().unwrap().method, "DELETE");
        wire.answer("GET /?lifecycle", missing("NoSuchBucket"));
        assert_eq!(unit.observe(&aws).await.unwrap_err().kind, ErrorKind::NotFound);
        wire.answer("GET /?lifecycle", (200, Vec::new(), "<LifecycleConfiguration a='1'/>".to_owned()));
        assert_eq!(unit.observe(&aws).await.unwrap_err().kind, ErrorKind::Invalid);
    }
}
