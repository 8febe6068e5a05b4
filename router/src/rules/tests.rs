#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, fmt::Write as _, fs};

use super::*;
use crate::rules_tests;

/// A rule that is right but for what `more` says.
fn rule(more: &str) -> String {
    format!("rules:\n  - name: logs\n    control: S3.14\n    remediator: s3.enable_versioning\n{more}")
}

fn parsed(text: &str) -> Result<RuleSet, RulesError> {
    RuleSet::parse(&[("x.yaml", text)], None, REGISTRY)
}

#[test]
fn every_remediator_has_a_default_rule_that_writes_nothing_by_itself() {
    let rules = RuleSet::builtin().unwrap();
    let named: Vec<&str> = rules.rules.iter().map(|rule| rule.remediator.spec().name).collect();
    let known: Vec<&str> = REGISTRY
        .iter()
        .map(|known| known.spec())
        .filter(|spec| !spec.is_general())
        .map(|spec| spec.name)
        .collect();
    assert_eq!(named, known, "one rule each, in the registry's order");
    for rule in rules.rules.iter() {
        let spec = rule.remediator.spec();
        let controls: BTreeSet<&str> = rule.controls.iter().map(String::as_str).collect();
        assert_eq!(controls, spec.controls.iter().copied().collect(), "{}", rule.name());
        assert_eq!(rule.name(), spec.name.replace(['.', '_'], "-"));
        assert_eq!((rule.source.automatic, rule.source.on_request), (Mode::Plan, Mode::Apply));
        assert!(rule.when.is_none() && rule.source.max_risk.is_none(), "{}", rule.name());
    }
}

#[test]
fn the_tests_beside_the_rules_pass() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules");
    for folder in [rules.clone(), rules.join("examples")] {
        let report = rules_tests::run(&folder, REGISTRY).unwrap_or_else(|error| panic!("{error}"));
        let failed: Vec<String> = report
            .results
            .iter()
            .filter(|result| !result.failures.is_empty())
            .map(ToString::to_string)
            .collect();
        assert!(failed.is_empty(), "\n{}", failed.join("\n"));
        assert!(report.passed() > 8, "{}", folder.display());
    }
}

/// Each rule of the examples decides about some finding of their tests.
#[test]
fn every_example_rule_is_tested() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules/examples");
    let mut expected = Vec::new();
    for file in ["automatic-tests.yaml", "cognito-tests.yaml", "runbook-tests.yaml"] {
        let tests = fs::read_to_string(rules.join(file)).unwrap();
        let tests: rules_tests::TestsFile = yaml::read(file, &tests).unwrap();
        expected.extend(tests.tests.into_iter().map(|test| test.expect.rule));
    }
    for rule in RuleSet::load(&rules, REGISTRY).unwrap().rules.iter() {
        assert!(expected.iter().any(|name| name == rule.name()), "{}", rule.name());
    }
}

#[test]
fn a_fault_is_one_line_that_names_its_place() {
    let cases: Vec<(String, &str)> = vec![
        (
            rule("    autmatic: plan\n"),
            "line 5 column 5: unknown field `autmatic`; did you mean `automatic`?",
        ),
        ("rulez: []\n".into(), "line 1 column 1: unknown field `rulez`; did you mean `rules`?"),
        (
            "rules:\n  - name: logs\n    control: S3.14\n".into(),
            "line 3 column 5: missing field `remediator`",
        ),
        (String::new(), "line 1 column 1: empty, where something is needed"),
        ("# nothing\n".into(), "line 2 column 1: empty, where something is needed"),
        ("rules:\n".into(), "line 1 column 6: expected a list"),
        ("- rules\n".into(), "line 1 column 1: expected fields with values"),
        ("rules: []\n---\nrules: []\n".into(), "line 3 column 1: a second YAML document; one a file is read"),
        (rule("    name: other\n"), "line 5 column 5: `name` is there twice"),
        (rule("    when:\n      Title: [a]\n      Title: [b]\n"), "line 7 column 7: `Title` is there twice"),
        (
            rule("    automatic: maybe\n"),
            "line 5 column 16: unknown word `maybe`; there are off, plan, apply",
        ),
        (rule("    automatic: Apply\n"), "line 5 column 16: unknown word `Apply`; did you mean `apply`?"),
        (rule("    automatic:\n"), "line 5 column 14: empty; there are off, plan, apply"),
        (rule("    hold_days: thirty\n"), "line 5 column 16: expected a whole number from 0 to 65535"),
        (rule("    hold_days: 0\n"), "line 5 column 16: rule `logs`: hold_days: is 1 to 3650"),
        (rule("    limits: {per_hour: -1}\n"), "line 5 column 24: expected a whole number, 0 or more"),
        (
            rule("    limits:\n      per_hour: 30\n      per_day: 20\n"),
            "line 6 column 7: rule `logs`: limits: per_hour is above per_day",
        ),
        (rule("    exempt_by: tag\n"), "line 5 column 16: expected a list"),
        (
            "rules:\n  - name: logs\n\tcontrol: S3.14\n".into(),
            "line 2 column 11: while scanning a plain scalar, found a tab",
        ),
        ("rules: [\n".into(), "line 1 column 8: unclosed bracket '['"),
        (rule("    action: \"Turn\n"), "line 5 column 13: unclosed quote"),
        (rule("    params: *nowhere\n"), "line 5 column 13: alias references unknown anchor"),
        (
            rule("    <<: {automatic: apply}\n"),
            "line 5 column 5: merge keys (`<<`) are not read; write the fields out",
        ),
        (
            rule("").replace("enable_versioning", "enable_versionin"),
            "line 4 column 17: rule `logs`: remediator: there is no `s3.enable_versionin`; did you mean \
             `s3.enable_versioning`?",
        ),
        (
            rule("").replace("S3.14", "fourteen"),
            "line 3 column 14: rule `logs`: control: `fourteen` is no control such as `S3.14`",
        ),
        (
            rule("").replace("S3.14", "[S3.14, EC2.19]"),
            "line 3 column 22: rule `logs`: control: `s3.enable_versioning` fixes S3.14, not EC2.19; \
             `ec2.restrict_ingress` does",
        ),
        (
            rule("").replace("S3.14", "S3.7"),
            "line 3 column 14: rule `logs`: control: `s3.enable_versioning` fixes S3.14, not S3.7; no \
             remediator does",
        ),
        (
            rule("").replace("S3.14", "{id: S3.14}"),
            "line 3 column 14: expected a control such as `S3.14`, or a list of them",
        ),
        (
            rule("").replace("S3.14", "[s3.14]"),
            "line 3 column 15: rule `logs`: control: `s3.14`: write it `S3.14`",
        ),
        (rule("").replace("S3.14", "[]"), "line 3 column 14: rule `logs`: control: names none"),
        (
            rule("").replace("name: logs", "name: my logs"),
            "line 2 column 11: rule `my logs`: a name is 1 to 64 letters, digits and hyphens",
        ),
        (
            rule("    params:\n      depth: 3\n"),
            "line 6 column 14: rule `logs`: params: `depth`: unknown field `depth`, there are no fields",
        ),
        (
            rule("    when:\n      Severity:\n        Label: HIGH\n"),
            "line 7 column 16: rule `logs`: when: `Severity.Label`: is neither an object nor a list of values",
        ),
        (
            rule("    when: {AwsAccountId: [\"111122223333\", 123456789012]}\n"),
            "line 5 column 43: rule `logs`: when: `123456789012` is a number, which no account id in a \
             finding is; put it in quotes",
        ),
        (
            rule("    action: RedressFix\n"),
            "line 5 column 13: rule `logs`: action: `RedressFix` is redress's own",
        ),
        (
            rule("    action: Turn-On\n"),
            "line 5 column 13: rule `logs`: action: is 1 to 20 letters and digits",
        ),
        (
            rule("  - name: logs\n    control: S3.14\n    remediator: s3.enable_versioning\n"),
            "line 5 column 11: rule `logs`: name: another rule has it",
        ),
        (format!("rules: {}", "[".repeat(1 << 20)), "line 1 column 263: recursion limit exceeded"),
    ];
    let mut wrong = Vec::new();
    for (text, expected) in cases {
        let error = parsed(&text).expect_err(expected).to_string();
        if error != format!("x.yaml: {expected}") || error.contains('\n') {
            wrong.push(format!("{}\nexpected: x.yaml: {expected}\nfound:    {error}", shown(&text)));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n\n"));
}

#[test]
fn a_parameter_is_named_with_what_it_may_be() {
    let text = "rules:\n  - name: ssh\n    control: EC2.13\n    remediator: ec2.restrict_ingress\n    params:\n      \
                rules_per_group: 60\n      wide: Split\n";
    assert_eq!(
        parsed(text).unwrap_err().to_string(),
        "x.yaml: line 7 column 13: rule `ssh`: params: `wide`: unknown variant `Split`, expected one of \
         `refuse`, `revoke`, `split`"
    );
}

/// Findings, and people, spell an ARN in more than one way.
#[test]
fn an_exemption_counts_however_its_arn_is_spelt() {
    for (remediator, key, spelt) in [
        (
            "ec2.release_address",
            "aws/123456789012/eu-west-1/AwsEc2Eip/eipalloc-0123456789abcdef0",
            "arn:aws:ec2:eu-west-1:123456789012:eip-allocation/eipalloc-0123456789abcdef0",
        ),
        (
            "logs.extend_retention",
            "aws/123456789012/eu-west-1/AwsLogsLogGroup//aws/lambda/orders",
            "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/lambda/orders",
        ),
        ("s3.enable_versioning", "aws/123456789012/eu-west-1/AwsS3Bucket/logs", "arn:aws:s3:::logs"),
        (
            "iam.strengthen_password_policy",
            "aws/123456789012/global/AwsAccount/123456789012",
            "arn:aws:iam::123456789012:root",
        ),
    ] {
        let remediator = redress_remediators::find(remediator).unwrap();
        let key: redress_remediators::Key = key.parse().unwrap();
        let is_named = |text: &str| crate::exemption::is_named(text, &key, remediator, "eu-west-1");
        for text in [spelt, remediator.arn(&key).as_str(), key.to_string().as_str(), "*"] {
            assert!(is_named(text), "{key}: {text}");
        }
        for text in [spelt.replace("123456789012", "210987654321"), format!("{spelt}x")] {
            assert!(text == spelt || !is_named(&text), "{key}: {text}");
        }
    }
}

#[test]
fn exemptions_that_could_never_count_are_refused() {
    let entry = |resource: &str, more: &str, until: &str| {
        format!(
            "exemptions:\n  - resource: {resource}\n    owner: web\n    reason: kept\n    until: {until}\n{more}"
        )
    };
    let cases = [
        (
            entry("my-bucket", "", "2027-01-31"),
            "line 2 column 15: exemptions[0]: resource: is neither an ARN nor \
             `partition/account/region/kind/id`, nor has it a `*`",
        ),
        (
            entry(
                "arn:aws:iam::123456789012:group/web",
                "    remediator: iam.deactivate_old_keys\n",
                "2027-01-31",
            ),
            "line 2 column 15: exemptions[0]: resource: is no ARN of a resource that could be fixed",
        ),
        (
            entry("arn:aws:s3:::logs", "", "31.1.2027"),
            "line 5 column 12: exemptions[0]: until: `31.1.2027` is no date like 2027-01-31",
        ),
        (
            entry("arn:aws:s3:::logs", "    remediator: s3.requiretls\n", "2027-01-31"),
            "line 6 column 17: exemptions[0]: remediator: there is no `s3.requiretls`; did you mean \
             `s3.require_tls`?",
        ),
        (
            entry("arn:aws:s3:::logs", "", "2027-01-31").replace("kept", "\" \""),
            "line 4 column 13: exemptions[0]: reason: is empty",
        ),
        (
            entry("arn:aws:s3:::logs", "    untill: 2027-01-31\n", "2027-01-31"),
            "line 6 column 5: unknown field `untill`; did you mean `until`?",
        ),
        (
            entry("arn:aws:s3:::logs", "", "").replace("    until: \n", ""),
            "line 4 column 5: missing field `until`",
        ),
    ];
    for (text, expected) in cases {
        let error = RuleSet::parse(&[("x.yaml", &rule(""))], Some(("e.yaml", &text)), REGISTRY).unwrap_err();
        assert_eq!(error.to_string(), format!("e.yaml: {expected}"), "{text}");
    }
}

#[test]
fn aliases_may_repeat_but_not_explode() {
    let repeated = rule(
        "    when: {Title: &both [a, b]}\n  - name: other\n    control: S3.14\n    remediator: \
                         s3.enable_versioning\n    when: {Region: *both}\n",
    );
    assert_eq!(parsed(&repeated).unwrap().rules.len(), 2);

    let mut bomb = String::from("    params:\n      a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let below = format!("*a{}", level - 1);
        writeln!(bomb, "      a{level}: &a{level} [{}]", vec![below; 10].join(", ")).unwrap();
    }
    let error = parsed(&rule(&bomb)).unwrap_err().to_string();
    assert!(error.starts_with("x.yaml: line ") && !error.contains('\n') && error.len() < 300, "{error}");
}

/// Terraform reads the same file, and YAML otherwise.
#[test]
fn a_text_that_is_no_text_to_everybody_needs_quotes() {
    let title = |value: &str| parsed(&rule(&format!("    when:\n      Title: [{value}]\n")));
    for value in [
        "yes",
        "No",
        "OFF",
        "y",
        "0123",
        "012345678901",
        "2026-01-31",
        "1_000",
        "&a yes",
        "2026-01-31 10:00:00Z",
    ] {
        let error = title(value).expect_err(value).to_string();
        assert!(
            error.starts_with("x.yaml: line 6 column ") && error.contains("put it in quotes"),
            "{value}: {error}"
        );
    }
    for value in
        ["'yes'", "\"0123\"", "yes please", "10.0.0.0/8", "eu-west-1", "v1.2", "{prefix: \"0\"}", "Name"]
    {
        title(value).unwrap_or_else(|error| panic!("{value}: {error}"));
    }
    for key in ["on", "no", "0123", "1.10"] {
        let tags = |key: &str| {
            parsed(&rule(&format!("    when:\n      Resources:\n        Tags:\n          {key}: [prod]\n")))
        };
        let error = tags(key).expect_err(key).to_string();
        assert!(error.contains("line 8 column 11: ") && error.contains("put it in quotes"), "{key}: {error}");
        tags(&format!("\"{key}\"")).unwrap_or_else(|error| panic!("{key}: {error}"));
    }
    let error = parsed(&rule("    action: 0815\n")).unwrap_err().to_string();
    assert!(error.contains("`0815` is no text"), "{error}");
    // To the modes `off` is a word of their own, and Terraform takes `false` for it.
    parsed(&rule("    automatic: off\n")).unwrap();
}

/// A folder of its own, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &[u8])]) -> Self {
        let path = std::env::temp_dir().join(format!("redress-rules-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        for (file, text) in files {
            fs::write(path.join(file), text).unwrap();
        }
        Self(path)
    }

    fn fault(&self) -> String {
        let error = RuleSet::load(&self.0, REGISTRY).unwrap_err().to_string();
        error.replace(&format!("{}", self.0.display()), "DIR")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_folder_is_read_in_the_order_of_its_names() {
    let other = rule("").replace("logs", "other");
    let exemptions = b"exemptions:\n  - {resource: '*', owner: o, reason: r, until: 2027-01-31}\n";
    let folder = Folder::new(
        "order",
        &[
            ("20-more.yml", rule("").as_bytes()),
            ("10-first.yaml", format!("account_limits: {{per_hour: 1, per_day: 2}}\n{other}").as_bytes()),
            ("exemptions.yaml", exemptions),
            ("10-first-tests.yaml", b"not: rules"),
            (".hidden.yaml", b"not: rules"),
            ("README.md", b"not rules"),
        ],
    );
    fs::create_dir_all(folder.0.join("examples.yaml")).unwrap();
    let rules = RuleSet::load(&folder.0, REGISTRY).unwrap();
    let names: Vec<&str> = rules.rules.iter().map(Rule::name).collect();
    assert_eq!(names, ["other", "logs"]);
    assert_eq!(rules.exemptions.len(), 1);
    assert_eq!(rules.account_limits, Limits { per_hour: 1, per_day: 2 });
}

/// The numbers are what `sha256sum 10-first.yaml 20-more.yml exemptions.yaml | cut -c1-64 | sha256sum | cut -c1-16`
/// prints, which is also what Terraform computes.
#[test]
fn the_hash_is_the_sum_that_a_shell_makes_of_the_files() {
    let files = [
        ("20-more.yml", rule("")),
        (
            "10-first.yaml",
            format!("account_limits: {{per_hour: 1, per_day: 2}}\n{}", rule("").replace("logs", "other")),
        ),
        (
            "exemptions.yaml",
            "exemptions:\n  - {resource: '*', owner: o, reason: r, until: 2027-01-31}\n".to_owned(),
        ),
        ("10-first-tests.yaml", "not: rules".to_owned()),
    ];
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
    let folder = Folder::new("hash", &files);
    let hash = || RuleSet::load(&folder.0, REGISTRY).unwrap().hash;
    assert_eq!(&*hash(), "b7e6a9995ccc8e34");
    fs::remove_file(folder.0.join("exemptions.yaml")).unwrap();
    assert_eq!(&*hash(), "2372ca7cbc5589f8");
    // The first that matches decides: in another order they are other rules.
    fs::rename(folder.0.join("20-more.yml"), folder.0.join("05-more.yml")).unwrap();
    assert_ne!(&*hash(), "2372ca7cbc5589f8");
    fs::rename(folder.0.join("05-more.yml"), folder.0.join("20-more.yml")).unwrap();
    fs::write(folder.0.join("20-more.yml"), rule("    hold_days: 31\n")).unwrap();
    assert_ne!(&*hash(), "2372ca7cbc5589f8");
    fs::write(folder.0.join("20-more.yml"), rule("")).unwrap();
    assert_eq!(&*hash(), "2372ca7cbc5589f8");
}

#[test]
fn the_rules_built_in_have_the_hash_of_their_file() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules/default.yaml");
    let loaded = RuleSet::load(&file, REGISTRY).unwrap();
    assert_eq!(loaded.hash, RuleSet::builtin().unwrap().hash);
}

#[test]
fn a_folder_or_file_that_cannot_be_read_is_named() {
    let good = rule("");
    let good = good.as_bytes();
    assert_eq!(Folder::new("none", &[]).fault(), "DIR: no rules file in it");
    let twice = Folder::new("twice", &[("a.yaml", good), ("b.yaml", good)]);
    assert_eq!(twice.fault(), "DIR/b.yaml: line 2 column 11: rule `logs`: name: another rule has it");
    let limits = b"account_limits: {per_hour: 1, per_day: 1}\nrules: []\n";
    let limits = Folder::new("limits", &[("a.yaml", limits), ("b.yaml", limits)]);
    assert_eq!(limits.fault(), "DIR/b.yaml: line 1 column 17: account_limits: stands in another file too");
    let exemptions = b"exemptions: []\n";
    let both = [("a.yaml", good), ("exemptions.yaml", exemptions as &[u8]), ("exemptions.yml", exemptions)];
    assert_eq!(Folder::new("both", &both).fault(), "DIR: exemptions stand in two files; one is read");
    let binary = Folder::new("binary", &[("a.yaml", b"rules:\n  - name: \xff\xfe\n")]);
    assert_eq!(binary.fault(), "DIR/a.yaml: line 2: not UTF-8 text");
    let utf16 = Folder::new("utf16", &[("a.yaml", b"\xff\xfer\0u\0")]);
    assert_eq!(utf16.fault(), "DIR/a.yaml: UTF-16 text, where UTF-8 is needed");
    let large = Folder::new("large", &[("a.yaml", &vec![b'#'; yaml::LARGEST + 1])]);
    assert_eq!(large.fault(), "DIR/a.yaml: is larger than 4194304 bytes");

    let missing = RuleSet::load(Path::new("/no/such.yaml"), REGISTRY).unwrap_err().to_string();
    assert_eq!(missing, "/no/such.yaml: No such file or directory (os error 2)");
    let folder = Folder::new("only", &[("exemptions.yaml", exemptions)]);
    let only = RuleSet::load(&folder.0.join("exemptions.yaml"), REGISTRY).unwrap_err().to_string();
    assert!(only.ends_with("/exemptions.yaml: holds no rules"), "{only}");
}

#[test]
fn the_schema_knows_every_remediator_and_has_no_reference_into_the_void() {
    fn references(schema: &Value, found: &mut Vec<String>) {
        match schema {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    for schema in [schema().unwrap(), crate::exemption::schema().unwrap(), rules_tests::schema().unwrap()] {
        let mut found = Vec::new();
        references(&schema, &mut found);
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(schema.pointer(pointer).is_some(), "{reference}");
        }
    }
    let schema = schema().unwrap();
    let names = schema.pointer("/$defs/RuleSource/properties/remediator/enum").unwrap();
    assert_eq!(names.as_array().unwrap().len(), REGISTRY.len());
}

mod of_tests {
    use super::*;

    fn run(tests: &str) -> Result<Vec<rules_tests::TestResult>, RulesError> {
        rules_tests::run_file("t.yaml", tests, &parsed(&rule("    automatic: plan\n")).unwrap(), REGISTRY)
    }

    fn test(finding: &str, expect: &str) -> String {
        format!("tests:\n  - name: one\n    finding: {finding}\n    expect: {expect}\n")
    }

    const LOGS: &str = "{control: S3.14, resource: 'arn:aws:s3:::logs'}";

    #[test]
    fn what_differs_is_told_with_its_reason() {
        let failures = |finding: &str, expect: &str| run(&test(finding, expect)).unwrap()[0].failures.clone();
        assert_eq!(failures(LOGS, "{rule: logs, automatic: plan, on_request: apply}"), [""; 0]);
        assert_eq!(failures(LOGS, "{rule: none}"), ["rule: expected `none`, found `logs`"]);
        assert_eq!(
            failures("{control: S3.5, resource: 'arn:aws:s3:::logs'}", "{rule: logs, automatic: plan}"),
            [
                "rule: expected `logs`, found `none` (`logs` is for S3.14, and this is S3.5)",
                "automatic: expected `plan`, found `off` (no rule)"
            ]
        );
        assert_eq!(
            failures(
                "{control: S3.14, resource: 'arn:aws:s3:::logs', workflow: NOTIFIED}",
                "{rule: logs, automatic: plan}"
            ),
            ["automatic: expected `plan`, found `off` (workflow status is NOTIFIED)"]
        );
        assert_eq!(
            failures("{control: S3.14, resource: 'arn:aws:ec2:::logs'}", "{rule: logs, on_request: apply}"),
            ["on_request: expected `apply`, found `off` (the ARN is none of `s3`)"]
        );
        assert_eq!(
            failures(
                "{control: S3.14, resource: 'arn:aws:s3:::logs', fields: {ProductArn: \
                 'arn:aws:securityhub:eu-west-1:123456789012:product/123456789012/default'}}",
                "{rule: logs, on_request: apply}"
            )
            .len(),
            1,
            "forged"
        );
    }

    #[test]
    fn tests_that_cannot_be_read_are_faults() {
        let cases = [
            (test(LOGS, "{rule: log}"), "line 4 column 20: there is no rule `log`; did you mean `logs`?"),
            (
                test("{control: S3.14, resource: r, sevrity: LOW}", "{rule: logs}"),
                "line 3 column 14: finding: unknown field `sevrity`, expected one of `control`, `resource`, \
                 `type`, `account`, `region`, `severity`, `tags`, `workflow`, `compliance`, `parameters`, \
                 `format`, `fields`",
            ),
            (
                test(LOGS, "{rule: logs, automtic: plan}"),
                "line 4 column 26: unknown field `automtic`; did you mean `automatic`?",
            ),
            (
                test(LOGS, "{rule: logs, actions: {Other: off}}"),
                "line 4 column 43: no rule has the custom action `Other`",
            ),
            (
                format!("today: soon\n{}", test(LOGS, "{rule: logs}")),
                "line 1 column 8: today: `soon` is no date like 2027-01-31",
            ),
            (
                format!(
                    "{}  - name: one\n    finding: {LOGS}\n    expect: {{rule: logs}}\n",
                    test(LOGS, "{rule: logs}")
                ),
                "line 5 column 11: name: another test has it",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(run(&text).unwrap_err().to_string(), format!("t.yaml: {expected}"), "{text}");
        }
    }

    #[test]
    fn a_file_alone_finds_the_tests_beside_it() {
        let tests = test(LOGS, "{rule: logs}");
        let folder = Folder::new(
            "beside",
            &[("a.yaml", rule("").as_bytes()), ("a-tests.yaml", tests.as_bytes()), ("b.yaml", b"rules: []")],
        );
        for path in [folder.0.clone(), folder.0.join("a.yaml"), folder.0.join("a-tests.yaml")] {
            let report = rules_tests::run(&path, REGISTRY).unwrap();
            assert_eq!((report.passed(), report.failed()), (1, 0), "{}", path.display());
        }
        let none = rules_tests::run(&folder.0.join("b.yaml"), REGISTRY).unwrap_err().to_string();
        assert!(none.contains("no tests"), "{none}");
    }

    /// A control may be about snapshots of two types, with a remediator for each.
    #[test]
    fn of_several_rules_for_a_control_that_for_the_type_of_resource_decides() {
        let rules = "rules:
  - {name: instances, control: RDS.1, remediator: rds.unshare_snapshot}
  - {name: clusters, control: RDS.1, remediator: rds.unshare_cluster_snapshot}
";
        let cases = [
            ("instances", "AwsRdsDbSnapshot", "snapshot"),
            ("clusters", "AwsRdsDbClusterSnapshot", "cluster-snapshot"),
            // Nobody's: the first says what it is for.
            ("instances", "AwsS3Bucket", "snapshot"),
        ];
        let mut tests = "tests:\n".to_owned();
        for (expected, kind, named) in cases {
            let arn = format!("arn:aws:rds:eu-west-1:123456789012:{named}:before-upgrade");
            let _ = write!(
                tests,
                "  - name: {kind}\n    finding: {{control: RDS.1, resource: \"{arn}\", type: {kind}}}\n    \
                 expect: {{rule: {expected}}}\n"
            );
        }
        let folder =
            Folder::new("kinds", &[("a.yaml", rules.as_bytes()), ("a-tests.yaml", tests.as_bytes())]);
        let report = rules_tests::run(&folder.0, REGISTRY).unwrap();
        for result in &report.results {
            assert!(result.failures.iter().all(|failure| !failure.starts_with("rule:")), "{result}");
        }
        assert_eq!(report.results.len(), cases.len());
    }
}
