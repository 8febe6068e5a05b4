//! What somebody may put into an event, from its bytes to what people read of it: nothing is looked at or written for
//! a finding that is not what it says, and no text of a finding does anything where it is shown.

use redress_router::{
    audit::{Asker, Stage, Verb},
    engine::Done,
    event::{Decoded, MAX_EVENT, decode, decode_many},
    report,
};
use serde_json::{Value, json};

use crate::common::{RULES, World, arn, asff, clicked, stage};

fn event(finding: &Value) -> Value {
    json!({
        "version": "0",
        "id": "e-1",
        "detail-type": "Security Hub Findings - Imported",
        "source": "aws.securityhub",
        "account": "123456789012",
        "time": "2026-11-23T00:00:00Z",
        "region": "eu-west-1",
        "resources": [],
        "detail": { "findings": [finding] },
    })
}

/// What becomes of an event at both doors: no finding, or outcomes.
async fn at_both_doors(world: &World, bytes: &[u8]) -> Vec<Done> {
    let Ok(incoming) = decode(bytes) else { return Vec::new() };
    let mut done = Vec::new();
    for decoded in incoming.findings {
        let Decoded::Finding(finding) = decoded else { continue };
        for asker in [Asker::Automatic { event: "e-1".to_owned() }, clicked("e-1")] {
            let request = world.request(Verb::Fix, asker, "e-1", (*finding).clone());
            done.extend(world.engine.handle(&request).await);
        }
    }
    done
}

#[tokio::test(start_paused = true)]
async fn nothing_is_done_for_a_finding_that_is_not_what_it_says() {
    type Forge = fn(&mut Value);
    let attacks: &[(&str, Forge)] = &[
        ("product of an account", |finding| {
            finding["ProductArn"] =
                json!("arn:aws:securityhub:eu-west-1:123456789012:product/123456789012/default");
        }),
        ("product of a partner", |finding| {
            finding["ProductArn"] = json!("arn:aws:securityhub:eu-west-1::product/aws/securityhub-partner");
        }),
        ("account of another", |finding| finding["AwsAccountId"] = json!("999999999999")),
        ("ARN of another account", |finding| {
            finding["Resources"][0]["Id"] = json!("arn:aws:test:eu-west-1:999999999999:thing/attacked");
        }),
        ("ARN of another Region", |finding| {
            finding["Resources"][0]["Id"] = json!("arn:aws:test:us-east-1:123456789012:thing/attacked");
        }),
        ("ARN of another partition", |finding| {
            finding["Resources"][0]["Id"] = json!("arn:aws-cn:test:eu-west-1:123456789012:thing/attacked");
        }),
        ("partition of another", |finding| finding["Resources"][0]["Partition"] = json!("aws-us-gov")),
        ("two controls", |finding| finding["GeneratorId"] = json!("security-control/EC2.13")),
        ("a control that is a command", |finding| {
            finding["Compliance"]["SecurityControlId"] = json!("S3.14`; rm -rf /");
        }),
        ("a sample", |finding| finding["Sample"] = json!(true)),
        ("Azure", |finding| finding["Resources"][0]["Provider"] = json!("Azure")),
        ("GCP", |finding| finding["Resources"][0]["Provider"] = json!("GCP")),
        ("NUL", |finding| {
            finding["Resources"][0]["Id"] = json!("arn:aws:test:eu-west-1:123456789012:thing/attacked\0");
        }),
        ("a Region that is a host", |finding| finding["Region"] = json!("evil.example/#")),
        ("a thousand resources", |finding| {
            let one = finding["Resources"][0].clone();
            finding["Resources"] = Value::Array(vec![one; 1000]);
        }),
        ("no resources", |finding| finding["Resources"] = json!([])),
        ("passed", |finding| finding["Compliance"]["Status"] = json!("PASSED")),
        ("archived", |finding| finding["RecordState"] = json!("ARCHIVED")),
        ("too large", |finding| finding["Description"] = json!("x".repeat(MAX_EVENT))),
    ];
    let finding = || asff(&arn("attacked"), "f-1", "FAILED", "NEW");
    for (name, forge) in attacks {
        let world = World::new("attacked", RULES);
        let mut forged = finding();
        forge(&mut forged);
        let done = at_both_doors(&world, event(&forged).to_string().as_bytes()).await;
        for done in &done {
            let harmless = match done {
                Done::Outcome(outcome) => matches!(outcome.stage, Stage::Refused | Stage::Skipped),
                Done::Unwanted(_) => true,
                Done::Repeat { .. } | Done::Retry { .. } => false,
            };
            assert!(harmless, "{name}: {done:?}");
        }
        assert_eq!(world.thing(|thing| (thing.looks, thing.writes)), (0, 0), "{name}");
    }
    // And what is no JSON that everybody reads the same.
    let good = event(&finding()).to_string();
    let twice = good.replacen("\"AwsAccountId\"", "\"AwsAccountId\":\"999999999999\",\"AwsAccountId\"", 1);
    let escaped =
        good.replacen("\"AwsAccountId\"", "\"Aws\\u0041ccountId\":\"999999999999\",\"AwsAccountId\"", 1);
    let mut invalid = good.clone().into_bytes();
    let at = good.find("Things").unwrap();
    invalid[at] = 0xff;
    let nested = good.replacen("\"d\"", &format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)), 1);
    let cut = good.as_bytes()[..good.len() - 40].to_vec();
    for (name, bytes) in [
        ("key twice", twice.into_bytes()),
        ("key twice, escaped", escaped.into_bytes()),
        ("invalid UTF-8", invalid),
        ("nested deeply", nested.into_bytes()),
        ("cut off", cut),
    ] {
        let world = World::new("attacked", RULES);
        let done = at_both_doors(&world, &bytes).await;
        assert!(done.is_empty(), "{name}: {done:?}");
    }
    // What is not attacked is fixed.
    let world = World::new("attacked", RULES);
    assert_eq!(at_both_doors(&world, good.as_bytes()).await.len(), 2);
    assert_eq!(world.thing(|thing| thing.writes), 1);
}

/// Times are shown, never reckoned with: those of the far future, or of none, change nothing.
#[tokio::test(start_paused = true)]
async fn times_of_a_finding_decide_nothing() {
    for time in
        ["9999-12-31T23:59:59Z", "+292277026596-12-04T15:30:08Z", "0000-00-00T00:00:00Z", "yesterday", ""]
    {
        let world = World::new("times", RULES);
        let mut finding = asff(&arn("times"), "f-1", "FAILED", "NEW");
        for field in ["CreatedAt", "UpdatedAt", "FirstObservedAt", "LastObservedAt"] {
            finding[field] = json!(time);
        }
        let done = at_both_doors(&world, event(&finding).to_string().as_bytes()).await;
        assert_eq!(stage(&done[0]), Stage::Verified, "{time}");
    }
}

/// Terminals, templates, shells and pages: what a finding says reaches people as text.
#[tokio::test(start_paused = true)]
async fn text_of_a_finding_is_text_where_it_is_shown() {
    let texts = [
        "\u{1b}[2J\u{1b}]0;owned\u{7}",
        "line\r\nWorkflow: RESOLVED",
        "\u{202e}txet\u{2066}",
        "{{constructor.constructor('x')()}} ${jndi:ldap://x} #{7*7} <%= 7*7 %> %s %n",
        "<script>alert(1)</script> [x](javascript:alert(1))",
        "`; rm -rf / #' \" \\",
    ];
    for (number, text) in texts.into_iter().enumerate() {
        let id = format!("shown-{number}");
        let world = World::new(&id, RULES);
        let mut finding = asff(&arn(&id), "f-1", "FAILED", "NEW");
        finding["Title"] = json!(text);
        finding["Description"] = json!(text);
        finding["Note"] = json!({ "Text": "an earlier one", "UpdatedBy": text, "UpdatedAt": text });
        finding["Remediation"] = json!({ "Recommendation": { "Text": text, "Url": text } });
        let done = at_both_doors(&world, event(&finding).to_string().as_bytes()).await;
        let Done::Outcome(fixed) = &done[0] else { panic!("{done:?}") };
        assert_eq!(fixed.stage, Stage::Verified);
        let note = report::update(fixed).unwrap().note.unwrap();
        let told = report::ocsf(fixed);
        let title = told["finding_info_list"][0]["title"].as_str().unwrap();
        for shown in [note.as_str(), title] {
            let marks =
                |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            assert!(!shown.chars().any(marks), "{shown:?}");
        }
        // What is no control character stands as it was: nothing has read it as a template.
        if !text.chars().any(char::is_control) && number == 3 {
            assert!(title.contains("${jndi:ldap://x}") && note.contains("#{7*7}"), "{title} {note}");
        }
        // Of what is ours in the note, nothing is the finding's.
        assert!(note.starts_with(&format!("redress: {id} fixed")), "{note}");

        // Refused, the reason names what was wrong, in one line.
        finding["Resources"][0]["Id"] = json!(format!("arn:aws:test:eu-west-1:999999999999:thing/{text}"));
        let refused = decode_many(finding.to_string().as_bytes()).unwrap().remove(0);
        let reason = match refused {
            Decoded::Finding(finding) => {
                let request = world.request(Verb::Fix, clicked("e-2"), "e-2", *finding);
                let done = world.engine.handle(&request).await.remove(0);
                let Done::Outcome(outcome) = done else { panic!("{done:?}") };
                assert_eq!(outcome.stage, Stage::Refused);
                report::update(&outcome).unwrap().note.unwrap()
            }
            Decoded::Invalid(invalid) => invalid.to_string(),
            Decoded::Ignored(ignored) => ignored.to_string(),
        };
        assert!(!reason.chars().any(char::is_control), "{reason:?}");
    }
}
