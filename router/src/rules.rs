//! The rules: which finding is fixed by what, how far, and within which limits.
//!
//! A rules file is YAML ([`rules/schema.json`](https://json-schema.org) describes it for editors). The
//! first rule that matches a finding decides about it.

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc};

use redress_remediators::{Erased, REGISTRY, Risk};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    audit::sha256,
    control::ControlId,
    exemption::{Exemption, ExemptionsFile},
    finding::Finding,
    pattern::Pattern,
};

/// The rules that are built in: every remediator; shown automatically, made at a person's request.
pub const DEFAULT_RULES: &str = include_str!("../../rules/default.yaml");

/// The largest rules or exemptions file that is read, in bytes.
const LARGEST_FILE: usize = 4 << 20;

/// How far a run may go.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, Default,
)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Not at all.
    Off,
    /// Show the change.
    #[default]
    Plan,
    /// Make it.
    Apply,
}

impl Mode {
    /// The name in rules, records and settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Plan => "plan",
            Self::Apply => "apply",
        }
    }
}

/// A rules file.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "redress rules")]
pub struct RulesFile {
    /// Limits for the automatic changes of one account, whatever rule makes them.
    #[serde(default)]
    pub account_limits: Limits,
    /// The rules, in order: the first that matches a finding decides about it.
    pub rules: Vec<RuleSource>,
}

/// One rule, as it stands in the file.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleSource {
    /// The rule's name, unique in all files: letters, digits and hyphens, at most 64.
    pub name: String,
    /// The control or controls it is for, such as `S3.14`.
    pub control: OneOrMany,
    /// What fixes it, such as `s3.enable_versioning`. `redress controls` lists them.
    pub remediator: String,
    /// How far it goes by itself, when a finding is imported.
    #[serde(default)]
    pub automatic: Mode,
    /// How far it goes when a person asks: by a custom action, or on the command line.
    #[serde(default = "apply")]
    pub on_request: Mode,
    /// The worst that an automatic change may bring. `loss` also allows it for a person's request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_risk: Option<Risk>,
    /// Narrows the rule to findings that match this EventBridge event pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Value>,
    /// The remediator's parameters.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub params: Value,
    /// Where exemptions count from. Whoever may tag a resource can exempt it by tag.
    #[serde(default = "ExemptBy::all")]
    pub exempt_by: Vec<ExemptBy>,
    /// Limits for the automatic changes of this rule.
    #[serde(default)]
    pub limits: Limits,
    /// For how many days an undo keeps this rule from fixing the same resource by itself.
    #[serde(default = "hold_days")]
    #[schemars(range(min = 1, max = 3650))]
    pub hold_days: u16,
    /// A custom action of this rule's own: its id, up to 20 letters and digits. It runs this rule only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
}

fn apply() -> Mode {
    Mode::Apply
}

fn hold_days() -> u16 {
    30
}

/// One value, or a list of them.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl Default for OneOrMany {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl OneOrMany {
    fn as_slice(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// Where an exemption may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExemptBy {
    /// In the exemptions file.
    File,
    /// In the resource's tag `redress:exempt`.
    Tag,
}

impl ExemptBy {
    fn all() -> Vec<Self> {
        vec![Self::File, Self::Tag]
    }
}

/// How many automatic changes there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// In an hour of the clock, UTC.
    pub per_hour: u64,
    /// In a day of the calendar, UTC.
    pub per_day: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { per_hour: 20, per_day: 100 }
    }
}

/// A rule that has been checked.
#[derive(Clone)]
pub struct Rule {
    /// What the file says.
    pub source: RuleSource,
    /// Its controls, in their canonical spelling.
    pub controls: Vec<String>,
    /// What fixes them.
    pub remediator: &'static dyn Erased,
    /// `when`, compiled.
    pub when: Option<Pattern>,
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rule").field(&self.source.name).finish()
    }
}

impl Rule {
    /// The rule's name.
    pub fn name(&self) -> &str {
        &self.source.name
    }

    /// Whether it is for this finding.
    pub fn matches(&self, finding: &Finding) -> bool {
        self.controls.iter().any(|control| control == finding.control.as_str())
            && self.when.as_ref().is_none_or(|when| when.matches(&finding.json))
    }
}

/// All rules and exemptions, checked. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RuleSet {
    /// The rules, in order.
    pub rules: Arc<[Rule]>,
    /// Limits for the automatic changes of one account.
    pub account_limits: Limits,
    /// The exemptions file.
    pub exemptions: Arc<[Exemption]>,
    /// Changes with every change of rules or exemptions.
    pub hash: Arc<str>,
}

/// What is wrong with a rules or exemptions file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {what}")]
pub struct RulesError {
    /// The file.
    pub file: String,
    /// Place and fault, in one line.
    pub what: String,
}

impl RuleSet {
    /// The default rules, without exemptions.
    ///
    /// # Errors
    /// If the built-in file did not fit the registry; a test holds that it does.
    pub fn builtin() -> Result<Self, RulesError> {
        Self::parse(&[("rules/default.yaml", DEFAULT_RULES)], None, REGISTRY)
    }

    /// Reads a rules file, or every `*.yaml` and `*.yml` file of a folder in the order of their names;
    /// `exemptions.yaml` among them holds exemptions, and `*-tests.yaml` are not read.
    ///
    /// # Errors
    /// Names the file, the place and the fault.
    pub fn load(path: &Path, registry: &'static [&'static dyn Erased]) -> Result<Self, RulesError> {
        let fault = |file: &Path, what: String| RulesError { file: file.display().to_string(), what };
        let mut files = Vec::new();
        if path.is_dir() {
            let entries = std::fs::read_dir(path).map_err(|error| fault(path, error.to_string()))?;
            for entry in entries {
                let file = entry.map_err(|error| fault(path, error.to_string()))?.path();
                let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                let yaml = matches!(file.extension().and_then(|e| e.to_str()), Some("yaml" | "yml"));
                if yaml && !name.ends_with("-tests.yaml") && !name.ends_with("-tests.yml") {
                    files.push(file);
                }
            }
            files.sort();
        } else {
            files.push(path.to_owned());
        }
        let mut texts = Vec::new();
        for file in &files {
            let text = std::fs::read_to_string(file).map_err(|error| fault(file, error.to_string()))?;
            texts.push((file.display().to_string(), text));
        }
        let is_exemptions = |name: &str| Path::new(name).file_stem().is_some_and(|stem| stem == "exemptions");
        let rules: Vec<(&str, &str)> = texts
            .iter()
            .filter(|(name, _)| !is_exemptions(name))
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect();
        let exemptions =
            texts.iter().find(|(name, _)| is_exemptions(name)).map(|(n, t)| (n.as_str(), t.as_str()));
        if rules.is_empty() {
            return Err(fault(path, "no rules file in it".to_owned()));
        }
        Self::parse(&rules, exemptions, registry)
    }

    /// Checks rules files and an exemptions file, given as name and text.
    ///
    /// # Errors
    /// Names the file, the place and the fault.
    pub fn parse(
        files: &[(&str, &str)],
        exemptions: Option<(&str, &str)>,
        registry: &'static [&'static dyn Erased],
    ) -> Result<Self, RulesError> {
        let mut rules: Vec<Rule> = Vec::new();
        let mut account_limits: Option<Limits> = None;
        let mut hashed = String::new();
        for (name, text) in files {
            let parsed: RulesFile = yaml(name, text)?;
            if parsed.account_limits != Limits::default() || account_limits.is_none() {
                account_limits = Some(parsed.account_limits);
            }
            for source in parsed.rules {
                let rule =
                    check(source, registry).map_err(|what| RulesError { file: (*name).to_owned(), what })?;
                if let Some(other) = rules.iter().find(|other| other.name() == rule.name()) {
                    let what = format!("rule `{}` is there twice", other.name());
                    return Err(RulesError { file: (*name).to_owned(), what });
                }
                if let Some(action) = &rule.source.action
                    && let Some(other) =
                        rules.iter().find(|other| other.source.action.as_ref() == Some(action))
                {
                    let what = format!(
                        "rules `{}` and `{}` have the same custom action `{action}`",
                        other.name(),
                        rule.name()
                    );
                    return Err(RulesError { file: (*name).to_owned(), what });
                }
                hashed.push_str(&serde_json::to_string(&rule.source).unwrap_or_default());
                hashed.push('\n');
                rules.push(rule);
            }
        }
        let account_limits = account_limits.unwrap_or_default();
        hashed.push_str(&serde_json::to_string(&account_limits).unwrap_or_default());
        let exemptions = match exemptions {
            Some((name, text)) => {
                let file: ExemptionsFile = yaml(name, text)?;
                file.check().map_err(|what| RulesError { file: name.to_owned(), what })?
            }
            None => Vec::new(),
        };
        hashed.push_str(&serde_json::to_string(&exemptions).unwrap_or_default());
        Ok(Self {
            rules: rules.into(),
            account_limits,
            exemptions: exemptions.into(),
            hash: sha256(hashed)[..16].into(),
        })
    }

    /// The first rule for this finding.
    pub fn route(&self, finding: &Finding) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.matches(finding))
    }

    /// The rule of this name.
    pub fn rule(&self, name: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.name() == name)
    }

    /// The rule that this custom action belongs to.
    pub fn by_action(&self, id: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.source.action.as_deref() == Some(id))
    }

    /// Whether any rule names this control. Takes every spelling of its case.
    pub fn wants(&self, control: &str) -> bool {
        self.rules.iter().any(|rule| rule.controls.iter().any(|own| own.eq_ignore_ascii_case(control)))
    }
}

/// Custom actions that belong to redress itself, and to no rule.
pub const OWN_ACTIONS: [&str; 3] = ["RedressPlan", "RedressFix", "RedressUndo"];

fn check(source: RuleSource, registry: &'static [&'static dyn Erased]) -> Result<Rule, String> {
    let name = &source.name;
    let word = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if name.is_empty() || name.len() > 64 || !word(name) {
        return Err(format!("rule `{}`: a name is 1 to 64 letters, digits and hyphens", name.escape_debug()));
    }
    let at = |place: &str, what: String| format!("rule `{name}`: {place}: {what}");
    let remediator =
        registry.iter().copied().find(|known| known.spec().name == source.remediator).ok_or_else(|| {
            let names: Vec<&str> = registry.iter().map(|known| known.spec().name).collect();
            at(
                "remediator",
                format!("there is no `{}`; there are {}", source.remediator.escape_debug(), names.join(", ")),
            )
        })?;
    let mut controls = Vec::new();
    for given in source.control.as_slice() {
        let canonical = ControlId::parse(given)
            .ok_or_else(|| at("control", format!("there is no `{}`", given.escape_debug())))?;
        if !remediator.spec().controls.contains(&canonical.as_str()) {
            let served = remediator.spec().controls.join(", ");
            return Err(at(
                "control",
                format!("`{}` does not fix `{canonical}`, only {served}", remediator.spec().name),
            ));
        }
        controls.push(canonical.as_str().to_owned());
    }
    if controls.is_empty() {
        return Err(at("control", "names none".to_owned()));
    }
    remediator.check_params(&source.params).map_err(|error| at("params", error.to_string()))?;
    let when = source
        .when
        .as_ref()
        .map(|when| Pattern::compile(when).map_err(|error| at("when", error.to_string())))
        .transpose()?;
    if source.hold_days == 0 || source.hold_days > 3650 {
        return Err(at("hold_days", "is 1 to 3650".to_owned()));
    }
    if source.limits.per_hour > source.limits.per_day {
        return Err(at("limits", "per_hour is above per_day".to_owned()));
    }
    if let Some(action) = &source.action {
        // https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_CreateActionTarget.html
        if action.is_empty() || action.len() > 20 || !action.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(at("action", "is 1 to 20 letters and digits".to_owned()));
        }
        if OWN_ACTIONS.contains(&action.as_str()) {
            return Err(at("action", format!("`{action}` is redress's own")));
        }
    }
    Ok(Rule { controls, remediator, when, source })
}

/// Reads YAML, naming the place of a fault in one line.
pub(crate) fn yaml<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, RulesError> {
    let fault = |what: String| RulesError { file: file.to_owned(), what };
    if text.len() > LARGEST_FILE {
        return Err(fault(format!("is larger than {LARGEST_FILE} bytes")));
    }
    serde_saphyr::from_str(text).map_err(|error| {
        // The library appends a quotation of the source over several lines.
        let text = error.to_string();
        fault(text.lines().next().unwrap_or("can't be read").to_owned())
    })
}

/// The JSON schema of a rules file, with the parameters of every remediator.
///
/// # Errors
/// If a schema is no JSON object; a test holds that all are.
pub fn schema() -> Result<Value, serde_json::Error> {
    let mut schema = serde_json::to_value(schemars::schema_for!(RulesFile))?;
    let mut by_remediator = Vec::new();
    let mut names = Vec::new();
    let mut controls: BTreeMap<&str, ()> = BTreeMap::new();
    for remediator in REGISTRY {
        let spec = remediator.spec();
        names.push(Value::from(spec.name));
        controls.extend(spec.controls.iter().map(|control| (*control, ())));
        let mut params = serde_json::to_value(remediator.params_schema())?;
        if let Some(params) = params.as_object_mut() {
            params.remove("$schema");
            params.remove("title");
        }
        by_remediator.push(serde_json::json!({
            "if": { "properties": { "remediator": { "const": spec.name } } },
            "then": { "properties": { "params": params } },
        }));
    }
    if let Some(rule) = schema.pointer_mut("/$defs/RuleSource") {
        rule["properties"]["remediator"]["enum"] = Value::from(names);
        rule["allOf"] = Value::from(by_remediator);
        rule["properties"]["when"] = serde_json::json!({
            "description": "Narrows the rule to findings that match this EventBridge event pattern.",
            "type": "object",
        });
    }
    Ok(schema)
}
