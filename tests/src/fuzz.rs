//! What reads input that anybody may have written, as plain functions of bytes: none may panic, overflow the stack or
//! contradict itself, whatever it is given. Tests give them a corpus and mutants of it; [`cargo
//! fuzz`](https://rust-fuzz.github.io/book/cargo-fuzz.html), which needs a nightly Rust, gives them what it finds its way
//! with (`tests/fuzz`): from the root of the repository,
//!
//! ```sh
//! cargo +nightly fuzz run --dev --fuzz-dir tests --features fuzz event target/found tests/corpus/event router/tests/events
//! ```

use std::{collections::BTreeMap, str};

use jiff::Timestamp;
use redress_remediators::{Change, Key, REGISTRY, RawAsk, Sighting};
use redress_router::{
    audit::verify_run,
    event::{Decoded, decode, decode_many, printable, shown},
    pattern::Pattern,
    rules::RuleSet,
};
use serde_json::Value;

/// One function, and where inputs of its kind are found.
pub struct Target {
    /// What it is called.
    pub name: &'static str,
    /// What is given bytes.
    pub run: fn(&[u8]),
    /// Folders and files of the repository, from its root, that hold inputs of this kind.
    pub seeds: &'static [&'static str],
    /// Words of the language, which mutants are made with.
    pub words: &'static [&'static str],
}

const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "null",
    "true",
    "-1",
    "1e999",
    "0.1",
    "9223372036854775808",
    "\u{202e}",
    "\u{1b}[2J",
    "\n",
];

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "event", run: event, seeds: &["router/tests/events", "tests/corpus/event"], words: JSON },
    Target {
        name: "arn",
        run: arn,
        seeds: &["tests/corpus/arn"],
        words: &[
            "arn:",
            "aws",
            "aws-cn",
            ":",
            "/",
            "..",
            "%2e",
            "*",
            "?",
            "s3",
            "ec2",
            "eu-west-1",
            "123456789012",
            "security-group/sg-1",
            "elastic-ip/",
            "userpool/",
            "user/",
            "AWS::::Account:",
            "\0",
            "\u{200b}",
            "é",
        ],
    },
    Target {
        name: "rules",
        run: rules,
        seeds: &["rules", "tests/corpus/rules"],
        words: &[
            "rules:",
            "\n",
            "  ",
            "- ",
            "&a ",
            "*a",
            "<<: ",
            "!!str ",
            "{",
            "}",
            "[",
            "]",
            "|",
            ">",
            "---",
            "#",
            "'",
            "\"",
            "yes",
            "~",
            "0x1",
            "2026-01-01",
            "prefix:",
            "anything-but:",
            "wildcard:",
            "numeric:",
            "$or:",
        ],
    },
    Target { name: "pattern", run: pattern, seeds: &["tests/corpus/pattern"], words: JSON },
    Target { name: "state", run: state, seeds: &["tests/corpus/state"], words: JSON },
    Target { name: "audit", run: audit, seeds: &["tests/fixtures/audit", "tests/corpus/audit"], words: JSON },
];

/// Events of EventBridge, pages and lists of findings: what is read is read the same from its own text.
pub fn event(bytes: &[u8]) {
    if let Err(invalid) = decode(bytes) {
        is_fit_to_print(&printable(&invalid.to_string()));
    }
    for decoded in decode_many(bytes).unwrap_or_default() {
        let Decoded::Finding(finding) = decoded else { continue };
        is_fit_to_print(&shown(&finding.title));
        let again = decode_many(finding.json.to_string().as_bytes()).unwrap_or_default();
        let [Decoded::Finding(again)] = again.as_slice() else {
            must_hold(false, "a finding that was read is none when it is read again");
            continue;
        };
        must_hold(
            (&again.id, &again.control, &again.account, &again.region, &again.resources)
                == (&finding.id, &finding.control, &finding.account, &finding.region, &finding.resources),
            "a finding that was read is another when it is read again",
        );
    }
}

/// A resource's id in a finding: where a remediator takes it, its key prints and parses to itself, and is of the
/// finding's account.
pub fn arn(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(key) = text.parse::<Key>() {
        must_hold(
            key.to_string().parse::<Key>().as_ref() == Ok(&key),
            "a key is another when it is read again",
        );
    }
    for remediator in REGISTRY {
        let kind = remediator.kind();
        let seen = Sighting {
            kind: if kind.is_any() { "AwsKinesisStream" } else { kind.asff },
            id: text,
            id_alt: None,
            account: "123456789012",
            region: "eu-west-1",
            partition: "aws",
        };
        let Ok(key) = remediator.locate(&seen) else { continue };
        must_hold(key.account == "123456789012" && key.partition == "aws", "a key of another account");
        must_hold(
            key.to_string().parse::<Key>().as_ref() == Ok(&key),
            "a key is another when it is read again",
        );
    }
}

/// Rules and exemptions: two readings agree, and a fault is one line.
pub fn rules(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let one = RuleSet::parse(&[("a.yaml", text)], None, REGISTRY);
    let two = RuleSet::parse(&[("a.yaml", text)], None, REGISTRY);
    match (&one, &two) {
        (Ok(one), Ok(two)) => must_hold(one.hash == two.hash, "two hashes of one file"),
        (Err(one), Err(two)) => must_hold(one.to_string() == two.to_string(), "two faults of one file"),
        _ => must_hold(false, "one file is sound and is not"),
    }
    let empty = "rules: []\n";
    let _ = RuleSet::parse(&[("a.yaml", empty)], Some(("exemptions.yaml", text)), REGISTRY);
}

/// A pattern and an event, a line each: a pattern answers the same twice, also when it was printed and read.
pub fn pattern(bytes: &[u8]) {
    let mut lines = bytes.splitn(2, |byte| *byte == b'\n');
    let mut next = || serde_json::from_slice::<Value>(lines.next()?).ok();
    let (Some(source), event) = (next(), next().unwrap_or_default()) else { return };
    let Ok(pattern) = Pattern::compile(&source) else { return };
    let answer = pattern.matches(&event);
    must_hold(pattern.matches(&event) == answer, "two answers");
    match Pattern::compile(pattern.as_json()) {
        Ok(again) => must_hold(again.matches(&event) == answer, "another pattern when it is read again"),
        Err(_) => must_hold(false, "no pattern when it is read again"),
    }
}

/// The state of a resource, as a record has it: plan and undo take it or say that they can't.
pub fn state(bytes: &[u8]) {
    let Ok(state) = serde_json::from_slice::<Value>(bytes) else { return };
    let params = Value::Null;
    for remediator in REGISTRY {
        // What is for any control is asked about one.
        let controls =
            if remediator.spec().is_general() { &["S3.14"][..] } else { remediator.spec().controls };
        for control in controls {
            let (control_params, fields) = (BTreeMap::new(), BTreeMap::new());
            let ask = RawAsk {
                control,
                params: &params,
                control_params: Some(&control_params),
                at: Timestamp::UNIX_EPOCH,
                since: None,
                seen: None,
                fields: &fields,
                by_person: true,
            };
            let _ = remediator.plan(&state, &ask);
        }
        let change = Change { from: state.clone(), to: state.clone() };
        let _ = remediator.undo(&change, &state);
        let same = remediator.same(&state, &state);
        must_hold(same.is_err() || same.is_ok_and(|same| same), "a state is not itself");
    }
}

/// Records of runs, a line each: a chain that holds does not when any of its lines is left out but the last ones
/// together, or altered.
pub fn audit(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let lines: Vec<&str> = text.lines().collect();
    let Ok(records) = verify_run(lines.iter().copied()) else { return };
    if !records.last().is_some_and(|record| record.last) {
        return;
    }
    for left_out in 0..lines.len() {
        let rest = lines.iter().enumerate().filter(|(number, _)| *number != left_out).map(|(_, line)| *line);
        let whole = verify_run(rest).is_ok_and(|records| records.last().is_some_and(|record| record.last));
        must_hold(!whole, "a run is whole without one of its records");
    }
    for altered in 0..lines.len() {
        let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        if let Some(line) = lines.get_mut(altered) {
            *line = line.replacen("\"stage\"", "\"stagE\"", 1);
        }
        let changed = lines.iter().map(String::as_str).ne(text.lines());
        must_hold(
            !changed || verify_run(lines.iter().map(String::as_str)).is_err(),
            "an altered record passes",
        );
    }
}

fn is_fit_to_print(text: &str) {
    must_hold(!text.chars().any(char::is_control), "a control character is printed");
}

/// What must hold. The one way in which a target ends otherwise than by returning.
fn must_hold(so: bool, otherwise: &str) {
    assert!(so, "{otherwise}");
}
