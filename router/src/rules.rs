//! The rules: which finding is fixed by what, how far, and within which limits.
//!
//! A rules file is YAML; `rules/schema.json` describes it for editors. The first rule that matches a
//! finding, and whose remediator is for a type of resource that the finding names, decides about it. What rules are meant to do stands beside them as data: see
//! [`rules_tests`](crate::rules_tests).

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use redress_remediators::{Erased, REGISTRY, Risk};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    audit::sha256,
    control::ControlId,
    event::shown,
    exemption::{Exemption, ExemptionsFile},
    finding::Finding,
    pattern::Pattern,
    yaml,
};

pub use crate::yaml::suggest;

/// The rules that are built in: every remediator; shown automatically, made at a person's request.
pub const DEFAULT_RULES: &str = include_str!("../../rules/default.yaml");

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
    /// Limits for the automatic changes of one account, whatever rule makes them. One file states them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_limits: Option<Limits>,
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
    /// Narrows the rule to findings that match this EventBridge event pattern. It is applied to the finding
    /// itself, in the format in which it came: `detail.findings[0]` of the event.
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
    /// For how many days an undo, or a third fix in a day, keeps a resource from being fixed so by itself.
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
#[serde(untagged, expecting = "expected a control such as `S3.14`, or a list of them")]
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

impl Limits {
    fn fault(&self) -> Option<&'static str> {
        (self.per_hour > self.per_day).then_some("per_hour is above per_day")
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
    /// The first 16 hexadecimal digits of SHA-256 over the files' own SHA-256 sums, a line each: the rules files in
    /// the order of their names, then `exemptions.yaml` where there is one. The deployment sums the same bytes
    /// (`terraform/rules.tf`), and so does a shell:
    ///
    /// ```sh
    /// sha256sum 10-first.yaml 20-more.yaml exemptions.yaml | cut -c1-64 | sha256sum | cut -c1-16
    /// ```
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
    /// `exemptions.yaml` among them holds exemptions. Files `*-tests.yaml`, hidden files and folders within
    /// are passed over.
    ///
    /// # Errors
    /// Names the file, the place and the fault.
    pub fn load(path: &Path, registry: &'static [&'static dyn Erased]) -> Result<Self, RulesError> {
        let fault = |what: &str| RulesError { file: path.display().to_string(), what: what.to_owned() };
        let (mut rules, mut exemptions) = (Vec::new(), Vec::new());
        for file in yaml_files(path)? {
            let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            if stem.ends_with("-tests") && file != path {
                continue;
            }
            let list = if stem == "exemptions" { &mut exemptions } else { &mut rules };
            list.push((file.display().to_string(), yaml::text(&file)?));
        }
        if rules.is_empty() {
            return Err(fault(if path.is_dir() { "no rules file in it" } else { "holds no rules" }));
        }
        // Of two, one would be forgotten, and what it exempts would be changed.
        if exemptions.len() > 1 {
            return Err(fault("exemptions stand in two files; one is read"));
        }
        let rules: Vec<_> = rules.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let exemptions = exemptions.first().map(|(name, text)| (name.as_str(), text.as_str()));
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
        let mut limits: Option<Limits> = None;
        let mut sums = String::new();
        let mut sum = |text: &str| {
            sums.push_str(&sha256(text));
            sums.push('\n');
        };
        for (name, text) in files {
            let OnDisk { account_limits, rules: sources } = yaml::read(name, text)?;
            yaml::read_alike(name, text, &["name", "control", "action", "when"])?;
            sum(text);
            if let Some(stated) = account_limits {
                let what = match limits {
                    Some(_) => Some("account_limits: stands in another file too"),
                    None => stated.fault(),
                };
                if let Some(what) = what {
                    return Err(yaml::fault_at(name, text, "/account_limits", what));
                }
                limits = Some(stated);
            }
            for (index, source) in sources.into_iter().enumerate() {
                let rule = check(source, &rules, registry).map_err(|Fault { at, what }| {
                    yaml::fault_at(name, text, &format!("/rules/{index}/{at}"), &what)
                })?;
                rules.push(rule);
            }
        }
        let exemptions = match exemptions {
            Some((name, text)) => {
                let file: ExemptionsFile = yaml::read(name, text)?;
                sum(text);
                file.check(registry).map_err(|(at, what)| yaml::fault_at(name, text, &at, &what))?
            }
            None => Vec::new(),
        };
        Ok(Self {
            rules: rules.into(),
            account_limits: limits.unwrap_or_default(),
            exemptions: exemptions.into(),
            hash: sha256(sums)[..16].into(),
        })
    }

    /// The first rule for this finding. Where a control is about several types of resources, with a remediator for
    /// each, that is the first whose remediator is for one of the finding's; where none is, the first of all.
    pub fn route(&self, finding: &Finding) -> Option<&Rule> {
        let matching = || self.rules.iter().filter(|rule| rule.matches(finding));
        matching().find(|rule| finding.is_for(rule.remediator)).or_else(|| matching().next())
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

/// A rules file as it is read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OnDisk {
    #[serde(default)]
    account_limits: Option<Limits>,
    rules: Vec<RuleSource>,
}

/// What is wrong with a rule, and in which of its fields.
struct Fault {
    /// A JSON pointer within the rule, without its first slash.
    at: String,
    what: String,
}

/// The YAML files that a path stands for, sorted by name.
pub(crate) fn yaml_files(path: &Path) -> Result<Vec<PathBuf>, RulesError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let fault =
        |error: std::io::Error| RulesError { file: path.display().to_string(), what: error.to_string() };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(fault)? {
        let file = entry.map_err(fault)?.path();
        let hidden = file.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        let yaml = file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if yaml && !hidden && !file.is_dir() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn check(
    source: RuleSource,
    others: &[Rule],
    registry: &'static [&'static dyn Erased],
) -> Result<Rule, Fault> {
    let name = &source.name;
    let word = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if name.is_empty() || name.len() > 64 || !word(name) {
        let what = format!("rule `{}`: a name is 1 to 64 letters, digits and hyphens", shown(name));
        return Err(Fault { at: "name".to_owned(), what });
    }
    let fault = |at: &str, what: String| {
        let field = at.split('/').next().unwrap_or(at);
        Fault { at: at.to_owned(), what: format!("rule `{name}`: {field}: {what}") }
    };
    if others.iter().any(|other| other.name() == name) {
        return Err(fault("name", "another rule has it".to_owned()));
    }
    let names = registry.iter().map(|known| known.spec().name);
    let remediator =
        registry.iter().copied().find(|known| known.spec().name == source.remediator).ok_or_else(|| {
            let given = &source.remediator;
            fault("remediator", format!("there is no `{}`; {}", shown(given), yaml::suggest(given, names)))
        })?;
    let mut controls = Vec::new();
    for (index, given) in source.control.as_slice().iter().enumerate() {
        let at = match source.control {
            OneOrMany::One(_) => "control".to_owned(),
            OneOrMany::Many(_) => format!("control/{index}"),
        };
        let Some(control) = ControlId::parse(given) else {
            return Err(fault(&at, format!("`{}` is no control such as `S3.14`", shown(given))));
        };
        // EventBridge, whose patterns are made of the text as it stands, compares it to the letter.
        if given != control.as_str() {
            return Err(fault(&at, format!("`{}`: write it `{control}`", shown(given))));
        }
        let spec = remediator.spec();
        if !spec.serves(control.as_str()) {
            let fixed_by =
                registry.iter().find(|known| known.spec().controls.contains(&control.as_str())).map_or_else(
                    || "no remediator does".to_owned(),
                    |known| format!("`{}` does", known.spec().name),
                );
            let what =
                format!("`{}` fixes {}, not {control}; {fixed_by}", spec.name, spec.controls.join(", "));
            return Err(fault(&at, what));
        }
        if controls.iter().any(|known| known == control.as_str()) {
            return Err(fault(&at, format!("{control} is there twice")));
        }
        controls.push(control.as_str().to_owned());
    }
    if controls.is_empty() {
        return Err(fault("control", "names none".to_owned()));
    }
    if let Err(error) = remediator.check_params(&source.params) {
        return Err(match faulty_param(remediator, &source.params) {
            Some((field, why)) => fault(&format!("params/{field}"), format!("`{field}`: {why}")),
            None => fault("params", error.message),
        });
    }
    // Unknown means no: what may stand in a tag that is not read would be gone by.
    if remediator.kind().is_any() && source.exempt_by.contains(&ExemptBy::Tag) {
        let what = format!(
            "`{}` is for resources of any type and can't read their tags, so that an exemption by tag would be \
             missed; say `exempt_by: [file]`",
            remediator.spec().name
        );
        return Err(fault("exempt_by", what));
    }
    let when = source.when.as_ref().map(|when| pattern(when, &fault)).transpose()?;
    if source.hold_days == 0 || source.hold_days > 3650 {
        return Err(fault("hold_days", "is 1 to 3650".to_owned()));
    }
    if let Some(what) = source.limits.fault() {
        return Err(fault("limits", what.to_owned()));
    }
    if let Some(action) = &source.action {
        // https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_CreateActionTarget.html
        if action.is_empty() || action.len() > 20 || !action.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(fault("action", "is 1 to 20 letters and digits".to_owned()));
        }
        if OWN_ACTIONS.contains(&action.as_str()) {
            return Err(fault("action", format!("`{action}` is redress's own")));
        }
        if let Some(other) = others.iter().find(|other| other.source.action.as_ref() == Some(action)) {
            return Err(fault(
                "action",
                format!("`{action}` is the custom action of rule `{}`", other.name()),
            ));
        }
    }
    Ok(Rule { source, controls, remediator, when })
}

/// The parameter that is at fault, and why. Every parameter has a default, so each can be tried alone.
fn faulty_param(remediator: &dyn Erased, params: &Value) -> Option<(String, String)> {
    params.as_object()?.iter().find_map(|(field, value)| {
        let alone = Value::Object(Map::from_iter([(field.clone(), value.clone())]));
        let error = remediator.check_params(&alone).err()?;
        let prefix = format!("parameters of `{}`: ", remediator.spec().name);
        let why = error.message.strip_prefix(&prefix).unwrap_or(&error.message).to_owned();
        Some((field.clone(), why))
    })
}

fn pattern(when: &Value, fault: &impl Fn(&str, String) -> Fault) -> Result<Pattern, Fault> {
    if let Some((at, number)) = unquoted_account(when, String::from("when")) {
        let what = format!("`{number}` is a number, which no account id in a finding is; put it in quotes");
        return Err(fault(&at, what));
    }
    Pattern::compile(when).map_err(|error| {
        let within = error.place.replace(['.', '['], "/").replace(']', "");
        fault(&format!("when/{within}"), error.to_string())
    })
}

/// A number of 12 digits: YAML made one of an account id, which is a text in findings.
fn unquoted_account(when: &Value, at: String) -> Option<(String, u64)> {
    match when {
        Value::Number(number) => {
            let number =
                number.as_u64().filter(|number| (100_000_000_000..1_000_000_000_000).contains(number))?;
            Some((at, number))
        }
        Value::Array(list) => {
            list.iter().enumerate().find_map(|(index, item)| unquoted_account(item, format!("{at}/{index}")))
        }
        // `numeric` compares numbers, of whatever size.
        Value::Object(map) => map
            .iter()
            .filter(|(key, _)| *key != "numeric")
            .find_map(|(key, item)| unquoted_account(item, format!("{at}/{key}"))),
        Value::Null | Value::Bool(_) | Value::String(_) => None,
    }
}

/// The JSON schema of a rules file, with the controls and parameters of every remediator.
///
/// # Errors
/// If a schema is no JSON object; a test holds that all are.
pub fn schema() -> Result<Value, serde_json::Error> {
    let mut schema = serde_json::to_value(schemars::schema_for!(RulesFile))?;
    let mut by_remediator = Vec::new();
    let mut names = Vec::new();
    let mut definitions = Map::new();
    for remediator in REGISTRY {
        let spec = remediator.spec();
        names.push(Value::from(spec.name));
        let mut params = serde_json::to_value(remediator.params_schema())?;
        let own = params.as_object_mut().and_then(|params| {
            params.remove("$schema");
            params.remove("title");
            params.remove("$defs")
        });
        if let Some(Value::Object(own)) = own {
            for (name, mut definition) in own {
                move_references(&mut definition, spec.name);
                definitions.insert(format!("{}.{name}", spec.name), definition);
            }
        }
        move_references(&mut params, spec.name);
        let one = if spec.is_general() {
            serde_json::json!({ "type": "string" })
        } else {
            serde_json::json!({ "enum": spec.controls })
        };
        by_remediator.push(serde_json::json!({
            "if": { "properties": { "remediator": { "const": spec.name } }, "required": ["remediator"] },
            "then": { "properties": {
                "control": { "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] },
                "params": params,
            } },
        }));
    }
    if let Some(Value::Object(own)) = schema.get_mut("$defs") {
        own.extend(definitions);
    }
    if let Some(Value::Object(rule)) = schema.pointer_mut("/$defs/RuleSource") {
        rule.insert("allOf".to_owned(), Value::from(by_remediator));
        if let Some(Value::Object(fields)) = rule.get_mut("properties") {
            for (field, keyword, value) in [
                ("remediator", "enum", Value::from(names)),
                ("when", "type", Value::from("object")),
                ("params", "type", Value::from("object")),
                ("name", "pattern", Value::from("^[A-Za-z0-9-]{1,64}$")),
                ("action", "pattern", Value::from("^[A-Za-z0-9]{1,20}$")),
            ] {
                if let Some(Value::Object(field)) = fields.get_mut(field) {
                    field.insert(keyword.to_owned(), value);
                    field.shift_remove("default");
                }
            }
        }
    }
    Ok(schema)
}

/// Definitions of one remediator move in with those of all others, under its name.
fn move_references(schema: &mut Value, owner: &str) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::String(target)) = map.get_mut("$ref")
                && let Some(name) = target.strip_prefix("#/$defs/")
            {
                *target = format!("#/$defs/{owner}.{name}");
            }
            map.values_mut().for_each(|value| move_references(value, owner));
        }
        Value::Array(list) => list.iter_mut().for_each(|value| move_references(value, owner)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(all(test, feature = "aws"))]
mod tests;
