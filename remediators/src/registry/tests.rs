//! What holds for every remediator, whatever it does.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::*;
use crate::{Access, Action, Key, On, Spec, policy};

/// AWS's Service Authorization Reference for the services in use: see `data/README.md`.
#[derive(serde::Deserialize)]
struct Reference {
    /// Access level and resource types of each action.
    actions: BTreeMap<String, (String, Vec<String>)>,
    /// ARN of each resource type.
    resources: BTreeMap<String, String>,
}

impl Reference {
    fn load() -> Self {
        serde_json::from_str(include_str!("../../data/iam-actions.json")).expect("the reference parses")
    }

    /// The ARNs that the action can be allowed on; none if only on `*`.
    fn forms(&self, action: &str) -> Option<Vec<&str>> {
        let service = action.split_once(':')?.0;
        let (_, types) = self.actions.get(action)?;
        let mut forms: Vec<&str> =
            types.iter().map(|on| self.resources[&format!("{service}:{on}")].as_str()).collect();
        // The reference leaves out the end that every action but those of tags is checked with:
        // https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/iam-access-control-overview-cwl.html
        if service == "logs" && types.iter().any(|on| on == "log-group") {
            forms.push("arn:${Partition}:logs:${Region}:${Account}:log-group:${LogGroupName}:*");
        }
        Some(forms)
    }
}

fn lists(spec: &Spec) -> [(&'static str, &'static [Action]); 3] {
    [("reads", spec.reads), ("writes", spec.writes), ("undo", spec.undo)]
}

/// Every action of a remediator, those that are AWS's own doing included.
fn all_actions(remediator: &dyn Erased) -> Vec<Action> {
    remediator.actions(Access::Undo)
}

/// The longest names that AWS gives out, in the partition whose own is the longest.
fn longest(remediator: &dyn Erased) -> Key {
    Key {
        partition: "aws-us-gov".to_owned(),
        account: "123456789012".to_owned(),
        region: "us-gov-west-1".to_owned(),
        kind: remediator.kind().asff.to_owned(),
        id: "x".repeat(remediator.kind().longest_id),
    }
}

#[test]
fn names_are_sorted_unique_and_read_well_after_will() {
    let names: Vec<&str> = REGISTRY.iter().map(|remediator| remediator.spec().name).collect();
    assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
    for name in names {
        assert!(find(name).is_some_and(|found| found.spec().name == name));
        let (service, verb_phrase) = name.split_once('.').expect("a dot");
        let word = |text: &str| {
            text.starts_with(|first: char| first.is_ascii_lowercase())
                && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        assert!(service.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()), "{name}");
        assert!(verb_phrase.split('_').all(word) && verb_phrase.contains('_'), "{name}: `verb_phrase`");
        let verb = verb_phrase.split('_').next().unwrap_or_default();
        assert!(!verb.ends_with("ing") && !verb.ends_with("ed"), "{name}: reads badly after \"will\"");
    }
}

#[test]
fn versions_count_from_one() {
    for remediator in REGISTRY {
        assert!(remediator.spec().version >= 1, "{}", remediator.spec().name);
    }
}

#[test]
fn every_control_exists_and_leads_to_its_remediators() {
    let list = include_str!("../../../router/data/security-controls.tsv");
    let known: BTreeSet<&str> = list.lines().skip(1).filter_map(|row| row.split('\t').next()).collect();
    assert!(known.len() > 500 && known.contains("S3.14"));
    for remediator in REGISTRY {
        let spec = remediator.spec();
        assert_eq!(spec.is_general(), remediator.kind().is_any(), "{}: for any control", spec.name);
        for control in remediator.may_raise() {
            assert!(known.contains(control) && !spec.controls.contains(control), "{}: {control}", spec.name);
        }
        for control in spec.controls {
            assert!(known.contains(control) || control.starts_with("redress."), "{}: {control}", spec.name);
            assert_eq!(spec.controls.iter().filter(|other| *other == control).count(), 1, "{}", spec.name);
            assert!(serving(control).any(|serves| serves.spec().name == spec.name));
        }
    }
}

#[test]
fn prose_is_one_paragraph_of_sentences() {
    for remediator in REGISTRY {
        let spec = remediator.spec();
        for (field, text) in
            [("what", spec.what), ("who_notices", spec.who_notices), ("way_back", spec.way_back)]
        {
            let place = format!("{}: {field}: {text}", spec.name);
            assert!(text.len() > 20 && text.ends_with('.'), "{place}");
            assert!(text.starts_with(char::is_uppercase), "{place}");
            assert!(!text.contains('\n') && !text.contains("  ") && text.trim() == text, "{place}");
        }
        for implied in spec.implied {
            assert!(implied.why.contains("https://docs.aws.amazon.com/"), "{}: {}", spec.name, implied.why);
        }
    }
}

#[test]
fn kinds_have_their_parts() {
    for remediator in REGISTRY {
        let kind = remediator.kind();
        if kind.is_any() {
            assert_eq!((kind.asff, kind.cfn, kind.arn), ("*", "*", "{id}"));
            continue;
        }
        assert!(kind.cfn.starts_with("AWS::"), "{}", kind.cfn);
        assert!(kind.asff == "Other" || kind.asff.starts_with("Aws"), "{}", kind.asff);
        assert!(kind.arn.contains("{id"), "{}", kind.arn);
        let filled = longest(*remediator).fill(kind.arn);
        assert!(!filled.contains(['{', '}']), "{filled}");
    }
}

#[test]
fn every_action_is_in_the_reference_in_a_form_that_it_has() {
    let reference = Reference::load();
    for remediator in REGISTRY {
        let name = remediator.spec().name;
        for action in all_actions(*remediator) {
            let iam = action.iam;
            let Some(forms) = reference.forms(iam) else { panic!("{name}: {iam} is no action of AWS's") };
            let template = match action.on {
                On::Resource => remediator.kind().arn,
                On::Arn(template) | On::Created(template, _) | On::Passed(template, _) => template,
                On::Region | On::Anything => {
                    assert!(forms.is_empty(), "{name}: {iam} can be allowed on {forms:?}, not only on `*`");
                    continue;
                }
            };
            assert!(
                forms.iter().any(|form| same_form(form, template)),
                "{name}: {iam} is allowed on {template}, which is none of {forms:?}"
            );
        }
    }
}

/// Whether `ours` (`{region}`, `{id}`, `*`) is what `form` (`${Region}`, `${BucketName}`) describes, part by
/// part. What is a placeholder there may be anything but a separator here, save for a name with its path.
fn same_form(form: &str, ours: &str) -> bool {
    // But for settings of Systems Manager, whose ids are paths:
    // https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetServiceSetting.html
    if let Some((head, _)) = form.split_once("/${ResourceId}")
        && head.ends_with(":servicesetting")
        && let Some((ours, id)) = ours.split_once("/ssm/")
    {
        return same_form(head, ours) && !id.is_empty();
    }
    // A runbook may be another account's that shares it, and is run in the Region that the session calls, also for a
    // resource that has none.
    let automation = ["automation-definition/", "automation-execution/", "document/"]
        .iter()
        .any(|kind| form.starts_with("arn:${Partition}:ssm:") && form.contains(kind));
    if automation && let Some(rest) = ours.strip_prefix("arn:{partition}:ssm:*:") {
        let rest =
            rest.strip_prefix("*:").map_or_else(|| rest.to_owned(), |rest| format!("{{account}}:{rest}"));
        return same_form(form, &format!("arn:{{partition}}:ssm:{{region}}:{rest}"));
    }
    if let Some(before) = form.strip_suffix("/${RoleNameWithPath}") {
        let kind = before.rsplit(':').next().unwrap_or_default();
        let named = ours.split_once(&format!(":{kind}/"));
        return named
            .is_some_and(|(of, name)| !name.is_empty() && same_form(before, &format!("{of}:{kind}")));
    }
    fn parts(text: &str) -> impl Iterator<Item = &str> {
        text.split([':', '/'])
    }
    fn separators(text: &str) -> impl Iterator<Item = char> {
        text.chars().filter(|char| matches!(char, ':' | '/'))
    }
    separators(form).eq(separators(ours))
        && parts(form).zip(parts(ours)).all(|(form, ours)| match form {
            "${Partition}" => ours == "{partition}",
            "${Region}" => ours == "{region}",
            "${Account}" => ours == "{account}",
            _ if form.starts_with("${") => !ours.is_empty(),
            _ => form == ours,
        })
}

#[test]
fn forms_are_told_apart() {
    let bucket = "arn:${Partition}:s3:::${BucketName}";
    let group = "arn:${Partition}:ec2:${Region}:${Account}:security-group/${SecurityGroupId}";
    assert!(same_form(bucket, "arn:{partition}:s3:::{id}"));
    assert!(!same_form(bucket, "arn:{partition}:s3:::{id}/*"));
    assert!(!same_form(bucket, "arn:aws:s3:::{id}"));
    assert!(same_form(group, "arn:{partition}:ec2:{region}:{account}:security-group/{id}"));
    assert!(!same_form(group, "arn:{partition}:ec2:{region}:{account}:elastic-ip/{id}"));
    let role = "arn:${Partition}:iam::${Account}:role/${RoleNameWithPath}";
    assert!(same_form(role, "arn:{partition}:iam::{account}:role/aws-service-role/x.amazonaws.com/Name"));
    assert!(same_form(role, "arn:{partition}:iam::{account}:role/Name"));
    assert!(!same_form(role, "arn:{partition}:iam::{account}:user/Name"));
    assert!(!same_form(role, "arn:{partition}:iam::*:role/Name"));
    assert!(!same_form(group, "arn:{partition}:ec2:*:{account}:security-group/{id}"));
    let setting = "arn:${Partition}:ssm:${Region}:${Account}:servicesetting/${ResourceId}";
    assert!(same_form(setting, "arn:{partition}:ssm:{region}:{account}:servicesetting/ssm/documents/x"));
    assert!(!same_form(setting, "arn:{partition}:ssm:{region}:*:servicesetting/ssm/documents/x"));
}

#[test]
fn what_a_dry_run_may_do_is_reading() {
    let reference = Reference::load();
    for remediator in REGISTRY {
        for action in remediator.actions(Access::Plan) {
            let (level, _) = &reference.actions[action.iam];
            let name = remediator.spec().name;
            assert!(matches!(level.as_str(), "Read" | "List"), "{name}: {} is a {level}", action.iam);
        }
    }
}

#[test]
fn an_operation_is_in_one_list_and_an_action_that_writes_in_no_list_of_reads() {
    for remediator in REGISTRY {
        let spec = remediator.spec();
        let mut seen = BTreeMap::new();
        for (list, actions) in lists(spec) {
            // Tags of what is being made are checked with the call that makes it.
            let own = actions.iter().filter(|action| !matches!(action.on, On::Created(..)));
            for operation in own.flat_map(Action::operations) {
                if let Some(other) = seen.insert(operation, list) {
                    // One operation may be checked on two resources: on a group and on its rules.
                    assert_eq!(other, list, "{}: {operation:?} is in both lists", spec.name);
                }
            }
        }
        let written: Vec<&str> = spec.writes.iter().chain(spec.undo).map(|action| action.iam).collect();
        for action in remediator.actions(Access::Plan) {
            assert!(!written.contains(&action.iam), "{}: {} reads and writes", spec.name, action.iam);
        }
    }
}

#[test]
fn session_policies_fit_with_the_longest_names() {
    for remediator in REGISTRY {
        let key = longest(*remediator);
        for access in [Access::Plan, Access::Apply, Access::Undo] {
            let document = policy(*remediator, access, &key).to_string();
            let length = document.chars().count();
            assert!(length <= 2048, "{} {access:?}: {length} characters", remediator.spec().name);
            assert!(!document.contains(['\n', '\t']) && !document.contains("{id"), "{document}");
        }
    }
}

#[test]
fn a_policy_for_more_holds_all_that_one_for_less_does() {
    let allowed = |remediator: &dyn Erased, access| -> BTreeSet<(String, String)> {
        let document = policy(remediator, access, &longest(remediator));
        let statements = document["Statement"].as_array().cloned().unwrap_or_default();
        let pairs = statements.iter().flat_map(|statement| {
            let actions = statement["Action"].as_array().cloned().unwrap_or_default();
            actions.into_iter().map(|action| (action.to_string(), statement["Resource"].to_string()))
        });
        pairs.collect()
    };
    for remediator in REGISTRY {
        let [plan, apply, undo] =
            [Access::Plan, Access::Apply, Access::Undo].map(|access| allowed(*remediator, access));
        let name = remediator.spec().name;
        assert!(!plan.is_empty() && plan.is_subset(&apply) && apply.is_subset(&undo), "{name}");
        assert!(plan.len() < apply.len(), "{name} writes nothing");
    }
}

#[test]
fn parameters_have_defaults_and_unknown_fields_are_refused() {
    for remediator in REGISTRY {
        let name = remediator.spec().name;
        for none in [Value::Null, json!({})] {
            assert!(remediator.check_params(&none).is_ok(), "{name}: {none}");
        }
        let error = remediator.check_params(&json!({ "no_such_field": 1 })).expect_err(name);
        assert!(error.message.contains(name) && error.message.contains("no_such_field"), "{error}");
        for other in [json!([]), json!("text"), json!(7)] {
            assert!(remediator.check_params(&other).is_err(), "{name}: {other}");
        }
    }
}

#[test]
fn parameters_are_described_for_whoever_writes_a_rule() {
    for remediator in REGISTRY {
        let name = remediator.spec().name;
        let schema = remediator.params_schema().to_value();
        assert_eq!(schema["type"], "object", "{name}");
        assert_eq!(schema["additionalProperties"], false, "{name}");
        assert_eq!(schema.get("required"), None, "{name}: a parameter without a default");
        for (field, property) in schema["properties"].as_object().into_iter().flatten() {
            let description = property["description"].as_str().unwrap_or_default();
            assert!(description.ends_with('.'), "{name}: {field}: {description:?}");
        }
    }
}
