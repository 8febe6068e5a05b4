//! The deployment's sources, without Terraform: names and types of arguments, IAM policies, event patterns, and
//! what scanners say. `cargo xtask check` asks Terraform itself, where it is at hand.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use hcl::{Block, Body, Structure, structure::Attribute};
use redress_remediators::REGISTRY;
use redress_router::{
    event::{Decoded, decode, decode_many},
    pattern::Pattern,
    rules::{Mode, RuleSet},
};
use redress_tests::{
    terraform::{Configuration, Evaluated, Imagined, Source, binary, folder, schema::Schema},
    venv,
};
use serde_json::{Value, json};

/// A folder of its own, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("redress-terraform-{}", uuid::Uuid::new_v4()));
        for package in ["dispatcher.zip", "sign-in.zip"] {
            let file = dir.join("packages/x86_64").join(package);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "a package").unwrap();
        }
        Self(dir)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = self.0.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        file
    }

    /// The root module, with packages to deploy.
    fn root(&self) -> Configuration {
        Configuration::new(folder(), &self.0).variable("packages", self.0.join("packages").to_string_lossy())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Every folder with `*.tf` files.
fn modules() -> Vec<PathBuf> {
    let modules = binary::modules(&folder()).unwrap();
    assert!(modules.len() >= 6);
    modules
}

/// The root module with everything switched on.
fn everything(work: &Folder) -> Evaluated {
    work.root()
        .variable("member_accounts", json!(["111122223333"]))
        .variable("external_id", "an-id")
        .variable("concurrency", json!({ "maximum": 20, "reserved": 30 }))
        .variable(
            "kms_key_arn",
            "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        )
        .variable("notify", json!({ "alarms": ["a@example.com"], "outcomes": ["b@example.com"] }))
        .variable("archive", json!({ "bucket": "redress-archive-123456789012" }))
        .variable("cognito", json!({ "user_pools": ["eu-west-1_AbCdEfGhI"] }))
        .variable("finding_formats", json!(["ASFF", "OCSF"]))
        .variable("operators", json!(["arn:aws:iam::123456789012:role/operator"]))
        .evaluate(&Imagined::default())
        .unwrap_or_else(|error| panic!("{error}"))
}

/// The member module with every remediator.
fn member(work: &Folder) -> Evaluated {
    let remediators: Vec<&str> = REGISTRY.iter().map(|remediator| remediator.spec().name).collect();
    Configuration::new(folder().join("modules/member"), &work.0)
        .variable("dispatcher_role_arn", "arn:aws:iam::123456789012:role/redress-dispatcher")
        .variable("remediators", json!(remediators))
        .variable("external_id", "an-id")
        .evaluate(&Imagined::default())
        .unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_argument_is_one_that_the_provider_knows() {
    let work = Folder::new();
    for schema in Schema::all().unwrap() {
        for module in modules() {
            let faults = schema.check(&Source::load(&module).unwrap()).unwrap();
            assert!(faults.is_empty(), "{}: {faults:#?}", schema.version);
        }
        for resource in everything(&work).resources.iter().chain(&member(&work).resources) {
            let faults = schema.check_values(resource);
            assert!(faults.is_empty(), "{}: {faults:#?}", schema.version);
        }
    }
}

/// An organization's accounts fit into the one policy that the dispatcher's role has room for, and what does not is said
/// before anything is made.
#[test]
fn a_hundred_accounts_are_one_statement() {
    let work = Folder::new();
    let of = |many: u64| {
        let accounts: Vec<String> =
            (0..many).map(|number| format!("{:012}", 100_000_000_000 + number)).collect();
        work.root()
            .variable("member_accounts", json!(accounts))
            .variable("cognito", json!({ "user_pools": ["eu-west-1_AbCdEfGhI"] }))
            .variable("finding_formats", json!(["ASFF", "OCSF"]))
            .evaluate(&Imagined::default())
    };
    let done = of(90).unwrap_or_else(|error| panic!("{error}"));
    let policy = done.at("aws_iam_role_policy.dispatcher").unwrap().text("policy").unwrap().to_owned();
    // https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
    assert!(policy.len() <= 10_240, "{}", policy.len());
    let policy: Value = serde_json::from_str(&policy).unwrap();
    let statements = policy["Statement"].as_array().unwrap();
    let remediate: Vec<&Value> = statements.iter().filter(|one| one["Sid"] == "Remediate").collect();
    assert_eq!(remediate.len(), 1);
    assert_eq!(remediate[0]["Resource"].as_array().unwrap().len(), 91);
    let queue = done.at("aws_sqs_queue_policy.findings").unwrap().text("policy").unwrap();
    assert!(queue.len() < 2_000, "{queue}");
    let error = of(200).unwrap_err().to_string();
    assert!(error.contains("too many accounts"), "{error}");
}

/// Each body with one letter less in one of its names.
fn misspelt(body: &Body) -> Vec<(String, Body)> {
    let structures: Vec<&Structure> = body.iter().collect();
    let with = |index: usize, new: Structure| {
        let all = structures
            .iter()
            .enumerate()
            .map(|(at, old)| if at == index { new.clone() } else { (*old).clone() });
        all.collect::<Body>()
    };
    let mut all = Vec::new();
    for (index, structure) in structures.iter().enumerate() {
        match structure {
            Structure::Attribute(attribute) => {
                for name in shorter(attribute.key()) {
                    let new = Attribute::new(hcl::Identifier::sanitized(&name), attribute.expr().clone());
                    all.push((name, with(index, new.into())));
                }
            }
            Structure::Block(block) => {
                let made = |name: &str, labels: Vec<String>, body: Body| {
                    let block = Block::builder(hcl::Identifier::sanitized(name));
                    Structure::from(block.add_labels(labels).add_structures(body).build())
                };
                let labels: Vec<String> =
                    block.labels().iter().map(|label| label.as_str().to_owned()).collect();
                for name in shorter(block.identifier()) {
                    all.push((name.clone(), with(index, made(&name, labels.clone(), block.body().clone()))));
                }
                for label in labels.first().into_iter().flat_map(|label| shorter(label)) {
                    let new = made(block.identifier(), vec![label.clone()], block.body().clone());
                    all.push((label, with(index, new)));
                }
                for (name, inner) in misspelt(block.body()) {
                    all.push((name, with(index, made(block.identifier(), labels.clone(), inner))));
                }
            }
        }
    }
    all
}

fn shorter(name: &str) -> Vec<String> {
    // Two of a letter that stands twice are one misspelling.
    let mut all: Vec<String> =
        (0..name.len()).map(|at| format!("{}{}", &name[..at], &name[at + 1..])).collect();
    all.dedup();
    all.retain(|name| !name.is_empty());
    all
}

#[test]
fn a_letter_that_is_missing_in_a_name_is_found() {
    let schemas = Schema::all().unwrap();
    let mut tried = 0;
    for module in modules() {
        let source = Source::load(&module).unwrap();
        for ((kind, _), declared) in source.resources.iter().chain(&source.data) {
            let of = declared.block.identifier();
            for (name, body) in misspelt(declared.block.body()) {
                let block = Block::builder(hcl::Identifier::sanitized(of)).add_structures(body).build();
                for schema in &schemas {
                    let mut faults = Vec::new();
                    schema.check_resource("", &block, &format!("{of}.{kind}"), &mut faults).unwrap();
                    assert!(!faults.is_empty(), "`{name}` in {kind} is taken by {}", schema.version);
                }
                tried += 1;
            }
        }
    }
    assert!(tried > 3000, "{tried}");
}

#[test]
fn terraform_folder_has_what_the_documentation_promises() {
    let variables = Source::load(&folder()).unwrap().variables;
    for (name, declared) in &variables {
        let description = declared.argument("description").map(ToString::to_string).unwrap_or_default();
        assert!(description.len() > 20, "{name}: {description}");
    }
    let text = fs::read_to_string(folder().join("../docs/operate.md")).unwrap();
    let work = Folder::new();
    for alarm in everything(&work).of("aws_cloudwatch_metric_alarm") {
        let name = alarm.text("alarm_name").unwrap().replace("redress-", "NAME-");
        let name = name.replace("eu-west-1_AbCdEfGhI", "POOL");
        assert!(text.contains(&format!("`{name}`")), "docs/operate.md says nothing of {name}");
    }
}

/// Every policy document there is, by where it stands.
fn policies(work: &Folder) -> BTreeMap<String, Value> {
    let mut policies = BTreeMap::new();
    for resource in everything(work).resources.iter().chain(&member(work).resources) {
        for argument in ["policy", "assume_role_policy"] {
            if let Some(text) = resource.text(argument) {
                let document = serde_json::from_str(text).unwrap();
                policies.insert(format!("{} {argument}", resource.address), document);
            }
        }
    }
    assert!(policies.len() > 15);
    policies
}

#[test]
fn no_policy_is_wider_than_it_says() {
    let work = Folder::new();
    // What AWS offers no resource for, as its reference says, and what grants nothing.
    let reference: Value =
        serde_json::from_str(include_str!("../../remediators/data/iam-actions.json")).unwrap();
    let why = |at: &str, statement: &Value| {
        let sid = statement["Sid"].as_str().unwrap_or_default();
        let known = ["Trace", "Streams", "LostSignIns", "TellSecurityHubV2", "NothingElse"].contains(&sid);
        let actions = statement["Action"].to_string();
        let none = ["BatchGetSecurityControls", "GetPublicAccessBlock"];
        known
            || none.iter().any(|part| actions.contains(part))
            || at.contains("assume_role_policy")
            || statement["Action"].as_array().is_some_and(|actions| {
                actions.iter().all(|action| reference["actions"][action.as_str().unwrap()][1] == json!([]))
            })
    };
    for (at, document) in policies(&work) {
        for statement in document["Statement"].as_array().unwrap() {
            let texts = |value: &Value| match value {
                Value::String(text) => vec![text.clone()],
                other => other
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|one| one.as_str().unwrap().to_owned())
                    .collect(),
            };
            if statement["Effect"] == "Deny" {
                continue;
            }
            for action in texts(&statement["Action"]) {
                assert!(!action.contains('*'), "{at}: {action}");
            }
            if statement.get("Principal").is_none()
                && texts(&statement["Resource"]).iter().any(|one| one == "*")
            {
                assert!(why(&at, statement), "{at}: {statement}");
            }
        }
        let length = document.to_string().len();
        assert!(!at.contains("aws_iam_policy") || length <= 6144, "{at}: {length} characters");
    }
}

/// A Python environment of scanners, made once.
fn scanners() -> &'static venv::Venv {
    static MADE: OnceLock<venv::Venv> = OnceLock::new();
    MADE.get_or_init(|| {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
        let dir = redress_tests::process::target_dir().join("scanners-venv");
        venv::make(&dir, &tests.join("requirements-scanners.txt")).unwrap_or_else(|error| panic!("{error}"))
    })
}

fn ran(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    text
}

#[test]
fn scanners_find_nothing_that_is_not_explained() {
    let mut checkov = Command::new(scanners().program("checkov"));
    // Without this it asks its maker's host for more at each run.
    checkov.args(["--skip-download", "--quiet", "--compact", "--framework", "terraform", "-d"]).arg(folder());
    let text = ran(&mut checkov);
    assert!(text.contains("Failed checks: 0"), "{text}");
    for file in modules().iter().flat_map(|module| fs::read_dir(module).unwrap()) {
        let file = file.unwrap().path();
        let Ok(text) = fs::read_to_string(&file) else { continue };
        for skip in text.lines().filter(|line| line.contains("checkov:skip=")) {
            let reason = skip.split_once(": ").map(|(_, reason)| reason).unwrap_or_default();
            assert!(reason.len() > 15, "{}: {skip}", file.display());
        }
    }
    let template = folder().join("modules/member/stackset.json");
    ran(Command::new(scanners().program("cfn-lint")).arg(template));
}

/// [parliament](https://github.com/duo-labs/parliament) knows every action, and the resources that it takes.
#[test]
fn policies_name_actions_and_resources_that_exist() {
    const LINT: &str = "
import json, sys, parliament
for at, document in json.load(sys.stdin).items():
    for finding in parliament.analyze_policy_string(json.dumps(document)).findings:
        print(at, finding.issue, finding.detail)
";
    let work = Folder::new();
    let of_roles = policies(&work).into_iter().filter(|(at, document)| {
        // It knows no policies of resources, which name a principal.
        !at.contains("assume_role_policy") && document["Statement"][0].get("Principal").is_none()
    });
    let documents: BTreeMap<String, Value> = of_roles.collect();
    let file = work.write("policies.json", &serde_json::to_string(&documents).unwrap());
    let mut python = Command::new(scanners().program("python"));
    python.args(["-c", LINT]).stdin(fs::File::open(file).unwrap());
    let text = ran(&mut python);
    let faults: Vec<&str> = text
        .lines()
        .filter(|line| !EXPLAINED.iter().any(|(words, _)| words.iter().all(|word| line.contains(word))))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    for (words, why) in EXPLAINED {
        let found = text.lines().any(|line| words.iter().all(|word| line.contains(word)));
        assert!(found, "no longer found: {words:?} ({why})");
    }
}

/// What parliament says, and why it stays.
const EXPLAINED: &[(&[&str], &str)] = &[
    (
        &["RESOURCE_POLICY_PRIVILEGE_ESCALATION", "s3:PutBucketPolicy"],
        "S3.5 is cleared by a statement in the bucket's policy",
    ),
    (
        &["RESOURCE_POLICY_PRIVILEGE_ESCALATION", "s3:PutLifecycleConfiguration"],
        "S3.13 is cleared by a lifecycle rule",
    ),
    (
        &["UNKNOWN_CONDITION_FOR_ACTION", "securityhub:OCSFSyntaxPath/StatusId"],
        "its copy of the reference is older: BatchUpdateFindingsV2 names the key in its own page",
    ),
    (&["boundary", "RESOURCE_STAR"], "a boundary grants nothing: resources stand in the policies"),
    (
        &["RESOURCE_MISMATCH", "ec2:AuthorizeSecurityGroupIngress"],
        "groups stand in one statement, rules in the next",
    ),
    (&["RESOURCE_MISMATCH", "ec2:CreateFlowLogs"], "VPCs stand in one statement, flow logs in the next"),
    (
        &["RESOURCE_MISMATCH", "ssm:StartAutomationExecution"],
        "its copy of the reference is older: documents and executions are asked for as well",
    ),
    (
        &["RESOURCE_MISMATCH", "redshift:DescribeClusters"],
        "its copy of the reference is older: the action is allowed on clusters",
    ),
];

/// The patterns that a rules file makes.
fn patterns(work: &Folder, rules: &Path) -> Result<Vec<(String, Value)>, String> {
    let root = work
        .root()
        .variable("rules", rules.to_string_lossy())
        .variable("finding_formats", json!(["ASFF", "OCSF"]));
    let done = root.evaluate(&Imagined::default()).map_err(|error| error.to_string())?;
    let rules = done.of("aws_cloudwatch_event_rule").filter(|rule| rule.address.contains(".findings["));
    Ok(rules
        .map(|rule| {
            let text = rule.text("event_pattern").unwrap();
            let name = rule.text("name").unwrap();
            assert!(text.chars().count() <= 2048 && name.len() <= 64, "{name}: {text}");
            assert!(rule.text("description").unwrap().ends_with(']'));
            (name.to_owned(), serde_json::from_str(text).unwrap())
        })
        .collect())
}

fn events() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../router/tests/events");
    let mut events = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let json = file.extension().is_some_and(|extension| extension == "json");
        let text = fs::read(&file).ok().filter(|_| json);
        let Some(event) = text.and_then(|text| serde_json::from_slice::<Value>(&text).ok()) else { continue };
        if event["source"] == "aws.securityhub" {
            events.push((name, event));
        }
    }
    assert!(events.len() > 30);
    events
}

/// What the router would do of itself for an event, first match aside: whether an automatic rule is for it.
fn wanted(rules: &RuleSet, event: &Value) -> bool {
    let Ok(incoming) = decode(event.to_string().as_bytes()) else { return false };
    incoming.findings.into_iter().any(|decoded| match decoded {
        Decoded::Finding(finding) => {
            finding.actionable(true).is_ok()
                && rules.rules.iter().any(|rule| rule.source.automatic != Mode::Off && rule.matches(&finding))
        }
        Decoded::Ignored(_) | Decoded::Invalid(_) => false,
    })
}

fn lets_through(patterns: &[(String, Value)], event: &Value) -> bool {
    patterns.iter().any(|(_, pattern)| Pattern::compile(pattern).unwrap().matches(event))
}

#[test]
fn patterns_let_through_what_the_router_would_act_on() {
    let work = Folder::new();
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules");
    for file in ["default.yaml", "examples/automatic.yaml", "examples/cognito.yaml"] {
        let file = rules.join(file);
        let patterns = patterns(&work, &file).unwrap();
        let set = RuleSet::load(&file, REGISTRY).unwrap();
        let mut differing = Vec::new();
        for (name, event) in events() {
            let imported = event["detail-type"] != "Security Hub Findings - Custom Action";
            let passes = lets_through(&patterns, &event);
            let is_wanted = imported && wanted(&set, &event);
            // A forged or malformed finding may well come through: it is the decoder that knows.
            if passes != is_wanted && !(passes && name.starts_with("hostile-")) {
                differing.push(format!("{name}: {}", if passes { "comes through" } else { "stays away" }));
            }
        }
        differing.retain(|line| !EXCEPTIONS.iter().any(|(known, _)| line == known));
        assert!(differing.is_empty(), "{}: {differing:#?}", file.display());
    }
}

/// Where a pattern can't see what the decoder sees.
const EXCEPTIONS: &[(&str, &str)] = &[
    (
        "imported-old-shape.json: stays away",
        "has no Compliance.SecurityControlId, which Security Hub sends since February 2023",
    ),
    ("standard-cis-1-2-without-control-id.json: stays away", "the same"),
    ("ocsf-gcp.json: comes through", "of another cloud: Security Hub checks no control of AWS there"),
    ("imported-azure.json: comes through", "the same"),
    ("ocsf-contradiction.json: comes through", "its number and its word differ, and a pattern asks for one"),
    ("imported-sample.json: comes through", "somebody has asked Security Hub for samples: a few, once"),
];

/// The findings of the tests that stand beside the rules, as events.
#[test]
fn patterns_agree_with_the_tests_of_rules() {
    let work = Folder::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules");
    for (file, tests) in [
        ("default.yaml", "default-tests.yaml"),
        ("examples/automatic.yaml", "examples/automatic-tests.yaml"),
        ("examples/cognito.yaml", "examples/cognito-tests.yaml"),
    ] {
        let patterns = patterns(&work, &folder.join(file)).unwrap();
        let set = RuleSet::load(&folder.join(file), REGISTRY).unwrap();
        let findings = redress_router::rules_tests::findings(&folder.join(tests)).unwrap();
        assert!(!findings.is_empty());
        for (name, finding) in findings {
            let text = finding.to_string();
            let Decoded::Finding(decoded) = decode_many(text.as_bytes()).unwrap().remove(0) else { continue };
            let ocsf = finding.get("class_uid").is_some();
            let kind = if ocsf { "Findings Imported V2" } else { "Security Hub Findings - Imported" };
            let event = json!({ "source": "aws.securityhub", "detail-type": kind, "detail": { "findings": [finding] } });
            let for_it =
                set.rules.iter().any(|rule| rule.source.automatic != Mode::Off && rule.matches(&decoded));
            let is_wanted = decoded.actionable(true).is_ok() && for_it;
            assert_eq!(lets_through(&patterns, &event), is_wanted, "{tests}: {name}");
            // Our own update after a fix brings it back.
            let mut after = event.clone();
            let (status, notified) =
                if ocsf { ("status_id", json!(2)) } else { ("Workflow", json!({ "Status": "NOTIFIED" })) };
            after["detail"]["findings"][0][status] = notified;
            assert!(!lets_through(&patterns, &after), "{tests}: {name}");
        }
    }
}

#[test]
fn a_new_rule_shows_up_and_one_that_does_not_fit_is_named() {
    let work = Folder::new();
    let rule = |name: &str, control: &str, remediator: &str, more: &str| {
        format!("  - name: {name}\n    control: {control}\n    remediator: {remediator}\n{more}")
    };
    let one = format!("rules:\n{}", rule("one", "S3.14", "s3.enable_versioning", ""));
    work.write("rules/a.yaml", &one);
    let folder = work.0.join("rules");
    let before = patterns(&work, &folder).unwrap();
    assert_eq!(before.len(), 2);
    work.write(
        "rules/b.yaml",
        &format!("rules:\n{}", rule("two", "S3.5", "s3.require_tls", "    when: {AwsAccountName: [dev]}\n")),
    );
    work.write("rules/b-tests.yaml", "not: rules");
    work.write("rules/.hidden.yaml", "not: rules");
    let after = patterns(&work, &folder).unwrap();
    assert_eq!(after.len(), 4);
    assert!(
        after
            .iter()
            .any(|(name, pattern)| name.starts_with("redress-two-") && pattern.to_string().contains("S3.5"))
    );

    // More controls than a pattern holds are split, and none is lost.
    let names: Vec<String> = (1..=600).map(|number| format!("S3.{number}")).collect();
    work.write(
        "many/a.yaml",
        &format!("rules:\n{}", rule("many", &format!("[{}]", names.join(", ")), "s3.require_tls", "")),
    );
    let many = patterns(&work, &work.0.join("many")).unwrap();
    assert!(many.len() > 4, "{}", many.len());
    for control in &names {
        let found =
            many.iter().filter(|(_, pattern)| pattern.to_string().contains(&format!("\"{control}\"")));
        assert_eq!(found.count(), 2, "{control}, in ASFF and in OCSF");
    }

    let long: Vec<String> = (0..200).map(|number| format!("account-name-{number}")).collect();
    let refused = |when: &str| {
        let text = rule("too-much", "S3.14", "s3.enable_versioning", &format!("    when: {when}\n"));
        work.write("bad/a.yaml", &format!("rules:\n{text}"));
        patterns(&work, &work.0.join("bad")).unwrap_err()
    };
    let error = refused(&format!("{{AwsAccountName: [{}]}}", long.join(", ")));
    assert!(error.contains("rule `too-much`: its event pattern has") && error.contains("2048"), "{error}");
    for when in [
        "{Workflow: {Status: [NOTIFIED]}}",
        "{Compliance: {Status: [PASSED]}}",
        "{$or: [{RecordState: [ARCHIVED]}, {Title: [x]}]}",
    ] {
        let error = refused(when);
        assert!(error.contains("rule `too-much`: when: RecordState, Workflow"), "{when}: {error}");
    }
}

/// The hash that the function compares with its own.
#[test]
fn terraform_and_the_router_sum_the_same_rules() {
    let work = Folder::new();
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules/default.yaml");
    let of = |path: &Path| {
        let root = work.root().variable("rules", path.to_string_lossy());
        root.evaluate(&Imagined::default()).unwrap().outputs["rules_hash"].as_str().unwrap().to_owned()
    };
    assert_eq!(of(&rules), *RuleSet::builtin().unwrap().hash);
    let folder = work.write("sum/b.yaml", &fs::read_to_string(&rules).unwrap());
    let folder = folder.parent().unwrap();
    work.write("sum/exemptions.yaml", "exemptions: []\n");
    work.write("sum/a-tests.yaml", "tests: []\n");
    assert_eq!(of(folder), *RuleSet::load(folder, REGISTRY).unwrap().hash);
    let alone = of(folder);
    work.write("sum/c.yaml", "rules: []\n");
    assert_ne!(of(folder), alone);
    assert_eq!(of(folder), *RuleSet::load(folder, REGISTRY).unwrap().hash);
}
