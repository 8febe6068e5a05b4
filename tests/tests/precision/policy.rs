//! S3.5: bucket policies.
//!
//! ["Checks if S3 buckets have policies that require requests to use SSL/TLS. The rule is NON_COMPLIANT if any S3 bucket
//! has policies allowing HTTP requests."](https://docs.aws.amazon.com/config/latest/developerguide/s3-bucket-ssl-requests-only.html)
//! So the property is about requests: whoever asks for whatever over plain HTTP is denied, and what becomes of a request
//! over TLS is what became of it before.

use std::fmt::Write as _;

use proptest::{prelude::*, test_runner::TestCaseResult};
use redress_router::audit::{Stage, Verb};
use serde_json::{Map, Value, json};

use super::{
    hold,
    world::{Asked, BUCKET, BUCKET_ARN, Seen, World, block_on},
};

const OURS: &str = "RedressRequireTls";
const OBJECTS: &str = "arn:aws:s3:::the-bucket/*";

/// A value as it should be for the control, or one of these others.
fn mostly(right: Value, others: Vec<Value>) -> impl Strategy<Value = Value> {
    prop_oneof![6 => Just(right), 1 => prop::sample::select(others)]
}

/// A statement that denies plain HTTP, or one that does nearly.
fn guard() -> impl Strategy<Value = Value> {
    let sid = prop_oneof![4 => Just(None), 3 => Just(Some("Tls")), 1 => Just(Some(OURS))];
    let effect = mostly(json!("Deny"), vec![json!("Allow")]);
    let principal = mostly(
        json!("*"),
        vec![
            json!({ "AWS": "*" }),
            json!({ "AWS": ["arn:aws:iam::210987654321:root", "*"] }),
            json!({ "AWS": "210987654321" }),
            json!({ "AWS": "arn:aws:iam::210987654321:root" }),
            json!({ "Service": "cloudtrail.amazonaws.com" }),
        ],
    );
    let action = mostly(
        json!("s3:*"),
        vec![
            json!("*"),
            json!("S3:*"),
            json!(["s3:GetObject", "s3:*"]),
            json!("s3:Get*"),
            json!(["s3:GetObject", "s3:PutObject"]),
        ],
    );
    let resource = mostly(
        json!([BUCKET_ARN, OBJECTS]),
        vec![
            json!("*"),
            json!("arn:aws:s3:::the-bucket*"),
            json!([OBJECTS, BUCKET_ARN, "arn:aws:s3:::other/*"]),
            json!(BUCKET_ARN),
            json!(OBJECTS),
            json!(["arn:aws:s3:::the-bucket", "arn:aws:s3:::the-bucket/private/*"]),
            json!(["arn:aws:s3:::other", "arn:aws:s3:::other/*"]),
        ],
    );
    let condition = mostly(
        json!({ "Bool": { "aws:SecureTransport": "false" } }),
        vec![
            json!({ "Bool": { "aws:securetransport": ["false"] } }),
            json!({ "Bool": { "aws:SecureTransport": false } }),
            json!({ "BoolIfExists": { "aws:SecureTransport": "false" } }),
            json!({ "Bool": { "aws:SecureTransport": "true" } }),
            json!({ "Bool": { "aws:SecureTransport": ["true"], "aws:ViaAWSService": "false" } }),
            json!({ "Bool": { "aws:SecureTransport": "false", "aws:ViaAWSService": "false" } }),
            json!({ "Bool": { "aws:SecureTransport": "false" }, "IpAddress": { "aws:SourceIp": "10.0.0.0/8" } }),
        ],
    );
    (sid, effect, principal, action, resource, condition, 0..12u8).prop_map(
        |(sid, effect, principal, action, resource, condition, odd)| {
            let mut fields = Map::new();
            if let Some(sid) = sid {
                fields.insert("Sid".to_owned(), json!(sid));
            }
            fields.insert("Effect".to_owned(), effect);
            let principal = match odd {
                0 => ("NotPrincipal", json!({ "AWS": "arn:aws:iam::210987654321:root" })),
                _ => ("Principal", principal),
            };
            let action = match odd {
                1 => ("NotAction", json!("s3:PutObject")),
                _ => ("Action", action),
            };
            for (name, value) in [principal, action, ("Resource", resource), ("Condition", condition)] {
                fields.insert(name.to_owned(), value);
            }
            Value::Object(fields)
        },
    )
}

/// A statement of somebody's, about something else.
fn other() -> impl Strategy<Value = Value> {
    let who = prop::sample::select(vec![
        json!({ "AWS": "210987654321" }),
        json!({ "AWS": ["arn:aws:iam::210987654321:root"] }),
        json!("*"),
    ]);
    let effect = prop::sample::select(vec!["Allow", "Deny"]);
    let text = "[ -~é€\u{1f600}]{0,8}";
    let prefixes = prop::collection::vec(text.prop_map(|text| format!("{BUCKET_ARN}/{text}*")), 1..3);
    let condition =
        prop::option::of(text.prop_map(|text| json!({ "StringLike": { "aws:PrincipalTag/t": text } })));
    (who, effect, prefixes, condition).prop_map(|(who, effect, prefixes, condition)| {
        let mut statement =
            json!({ "Effect": effect, "Principal": who, "Action": "s3:GetObject", "Resource": prefixes });
        if let Some(condition) = condition {
            statement["Condition"] = condition;
        }
        statement
    })
}

/// A policy's text: its members in any order, white space of all kinds between them, characters escaped or not.
fn policy() -> impl Strategy<Value = String> {
    let statements = prop::collection::vec(prop_oneof![2 => guard(), 3 => other()], 1..5);
    let id = prop::option::of("[a-z\"\\\\/é]{0,6}");
    let version = prop::sample::select(vec![None, Some("2012-10-17"), Some("2008-10-17")]);
    (statements, id, version, any::<bool>(), prop::collection::vec(any::<u8>(), 1..40)).prop_map(
        |(mut statements, id, version, bare, layout)| {
            // Of one policy, no two statements have the same `Sid`.
            let mut sids = Vec::new();
            for statement in &mut statements {
                let Some(sid) = statement.get("Sid").cloned() else { continue };
                if sids.contains(&sid) {
                    statement.as_object_mut().unwrap().remove("Sid");
                } else {
                    sids.push(sid);
                }
            }
            let mut fields = Map::new();
            if let Some(version) = version {
                fields.insert("Version".to_owned(), json!(version));
            }
            if let Some(id) = id {
                fields.insert("Id".to_owned(), json!(id));
            }
            let statements =
                if bare && statements.len() == 1 { statements.remove(0) } else { Value::Array(statements) };
            fields.insert("Statement".to_owned(), statements);
            let mut out = String::new();
            lay(&Value::Object(fields), &mut layout.iter().copied().cycle(), &mut out);
            out
        },
    )
}

fn space(layout: &mut impl Iterator<Item = u8>, out: &mut String) {
    let choice = usize::from(layout.next().unwrap());
    out.push_str(["", "", "", " ", "\n", "\t", "\r\n  ", "  "][choice % 8]);
}

fn lay(value: &Value, layout: &mut impl Iterator<Item = u8>, out: &mut String) {
    fn text(text: &str, layout: &mut impl Iterator<Item = u8>, out: &mut String) {
        out.push('"');
        let escapes = layout.next().unwrap().is_multiple_of(4);
        for c in text.chars() {
            if escapes && !c.is_ascii_alphanumeric() {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    // Writing to a string can't fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            } else if matches!(c, '"' | '\\') {
                out.extend(['\\', c]);
            } else {
                out.push(c);
            }
        }
        out.push('"');
    }
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            let turn = usize::from(layout.next().unwrap()) % fields.len().max(1);
            fields.rotate_left(turn);
            out.push('{');
            for (number, (name, value)) in fields.into_iter().enumerate() {
                out.push_str(if number == 0 { "" } else { "," });
                space(layout, out);
                text(name, layout, out);
                space(layout, out);
                out.push(':');
                space(layout, out);
                lay(value, layout, out);
                space(layout, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (number, item) in items.iter().enumerate() {
                out.push_str(if number == 0 { "" } else { "," });
                space(layout, out);
                lay(item, layout, out);
                space(layout, out);
            }
            out.push(']');
        }
        Value::String(string) => text(string, layout, out),
        other => out.push_str(&other.to_string()),
    }
}

/// A request to the bucket.
#[derive(Clone, Copy, Debug)]
struct Access {
    /// `None`: nobody who has signed.
    account: Option<&'static str>,
    action: &'static str,
    resource: &'static str,
    tls: bool,
    inside: bool,
    by_service: bool,
}

/// What a policy says to it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Answer {
    allowed: bool,
    denied: bool,
}

fn accesses(tls: bool) -> Vec<Access> {
    let mut all = Vec::new();
    for account in [None, Some("123456789012"), Some("210987654321")] {
        for (action, resource) in [
            ("s3:GetObject", "arn:aws:s3:::the-bucket/a"),
            ("s3:PutObject", "arn:aws:s3:::the-bucket/private/b"),
            ("s3:DeleteObject", "arn:aws:s3:::the-bucket/private/b"),
            ("s3:ListBucket", BUCKET_ARN),
            ("s3:PutBucketPolicy", BUCKET_ARN),
        ] {
            for (inside, by_service) in [(false, false), (true, false), (false, true)] {
                all.push(Access { account, action, resource, tls, inside, by_service });
            }
        }
    }
    all
}

fn list(value: &Value) -> Vec<&Value> {
    value.as_array().map_or_else(|| vec![value], |list| list.iter().collect())
}

/// IAM's wild cards: `*` and `?`.
fn like(pattern: &str, text: &str) -> bool {
    let Some(first) = pattern.chars().next() else { return text.is_empty() };
    let rest = &pattern[first.len_utf8()..];
    if first == '*' {
        return like(rest, text)
            || text.chars().next().is_some_and(|next| like(pattern, &text[next.len_utf8()..]));
    }
    text.chars()
        .next()
        .is_some_and(|next| (first == '?' || first == next) && like(rest, &text[next.len_utf8()..]))
}

fn names(principal: &Value, access: &Access) -> bool {
    if principal == "*" {
        return true;
    }
    list(&principal["AWS"]).iter().filter_map(|who| who.as_str()).any(|who| {
        who == "*"
            || access
                .account
                .is_some_and(|account| who == account || who == format!("arn:aws:iam::{account}:root"))
    })
}

fn applies(statement: &Value, access: &Access) -> bool {
    let any = |value: &Value, text: &str| {
        list(value).iter().filter_map(|one| one.as_str()).any(|one| like(one, text))
    };
    let lower = |value: &Value| {
        let lower: Vec<Value> = list(value)
            .iter()
            .map(|one| json!(one.as_str().unwrap_or_default().to_ascii_lowercase()))
            .collect();
        Value::Array(lower)
    };
    let action = access.action.to_ascii_lowercase();
    let who = match statement.get("NotPrincipal") {
        Some(but) => !names(but, access),
        None => names(&statement["Principal"], access),
    };
    let what = match statement.get("NotAction") {
        Some(but) => !any(&lower(but), &action),
        None => any(&lower(&statement["Action"]), &action),
    };
    let empty = Map::new();
    let conditions = statement.get("Condition").and_then(Value::as_object).unwrap_or(&empty);
    let met = conditions.iter().all(|(operator, keys)| {
        keys.as_object().unwrap().iter().all(|(key, wanted)| {
            let is = match key.to_ascii_lowercase().as_str() {
                "aws:securetransport" => json!(access.tls),
                "aws:viaawsservice" => json!(access.by_service),
                "aws:sourceip" => json!(access.inside),
                _ => Value::Null,
            };
            match operator.as_str() {
                "Bool" | "BoolIfExists" => {
                    let spelt = is.to_string();
                    list(wanted).iter().any(|one| **one == is || one.as_str() == Some(spelt.as_str()))
                }
                // The one range that is generated is where those inside are.
                "IpAddress" => is == true,
                // No request here has the tag.
                _ => false,
            }
        })
    });
    who && what && any(&statement["Resource"], access.resource) && met
}

fn answer(policy: &Value, access: &Access) -> Answer {
    let has = |effect: &str| {
        list(&policy["Statement"])
            .iter()
            .any(|statement| statement["Effect"] == effect && applies(statement, access))
    };
    Answer { allowed: has("Allow"), denied: has("Deny") }
}

/// The control: nobody gets anything over plain HTTP.
fn passes(policy: Option<&str>) -> Result<(), String> {
    let Some(policy) = policy else { return Err("there is no policy".to_owned()) };
    let policy: Value = serde_json::from_str(policy).unwrap();
    match accesses(false).iter().find(|access| !answer(&policy, access).denied) {
        None => Ok(()),
        Some(access) => Err(format!("not denied: {access:?}")),
    }
}

/// The text less one piece of it, or less a list's brackets around one statement and what else is in them.
fn is_inserted(before: &str, after: &str) -> bool {
    let less_one = |after: &str| {
        let first = before.bytes().zip(after.bytes()).take_while(|(a, b)| a == b).count();
        let last = before.bytes().rev().zip(after.bytes().rev()).take_while(|(a, b)| a == b).count();
        after.len() > before.len() && first + last >= before.len()
    };
    let bracket = before.bytes().zip(after.bytes()).take_while(|(a, b)| a == b).count();
    less_one(after)
        || after[bracket..].starts_with('[')
            && less_one(&format!("{}{}", &after[..bracket], &after[bracket + 1..]))
}

async fn live(world: &World) -> Option<String> {
    match world.s3().get_bucket_policy().bucket(BUCKET).send().await {
        Ok(found) => found.policy,
        Err(error) => {
            let code = error.as_service_error().and_then(|error| error.meta().code().map(str::to_owned));
            assert_eq!(code.as_deref(), Some("NoSuchBucketPolicy"), "{error:?}");
            None
        }
    }
}

async fn goes_there_and_back(before: Option<String>, seen: &Seen) -> TestCaseResult {
    let world = World::new();
    world.bucket().await;
    world.s3().delete_public_access_block().bucket(BUCKET).send().await.unwrap();
    if let Some(policy) = &before {
        world.s3().put_bucket_policy().bucket(BUCKET).policy(policy).send().await.unwrap();
    }
    prop_assert_eq!(&live(&world).await, &before);
    let asked = Asked {
        control: "S3.5",
        parameters: Vec::new(),
        remediator: "s3.require_tls",
        params: "{}".to_owned(),
    };
    let engine = world.engine(&asked);
    let (outcome, writes) = world.ask(&engine, Verb::Fix, &asked, "AwsS3Bucket", BUCKET_ARN).await;
    seen.count(outcome.stage);
    let after = live(&world).await;
    match outcome.stage {
        Stage::Compliant => {
            prop_assert_eq!(passes(after.as_deref()), Ok(()));
            prop_assert!(writes.is_empty() && after == before);
        }
        Stage::Verified => {
            prop_assert_eq!(passes(after.as_deref()), Ok(()));
            prop_assert_eq!(writes.len(), 1);
            let after = after.unwrap();
            if let Some(before) = &before {
                prop_assert!(is_inserted(before, &after), "{}", after);
                let (before, after): (Value, Value) =
                    (serde_json::from_str(before).unwrap(), serde_json::from_str(&after).unwrap());
                let (old, new) = (list(&before["Statement"]), list(&after["Statement"]));
                prop_assert!(new.len() == old.len() + 1 && new[..old.len()] == old[..]);
                for access in accesses(true) {
                    prop_assert_eq!(answer(&after, &access), answer(&before, &access), "{:?}", access);
                }
            }
            let (undone, _) = world.ask(&engine, Verb::Undo, &asked, "AwsS3Bucket", BUCKET_ARN).await;
            prop_assert_eq!(undone.stage, Stage::Undone, "{:?}", undone.reason);
            prop_assert_eq!(live(&world).await, before);
        }
        Stage::Refused => {
            // A statement of our name that is not ours is the one thing in the way that is generated.
            let reason = outcome.reason.unwrap_or_default();
            prop_assert!(
                reason.contains(OURS)
                    && before.as_ref().is_some_and(|text| {
                        let policy: Value = serde_json::from_str(text).unwrap();
                        list(&policy["Statement"]).iter().any(|statement| statement["Sid"] == OURS)
                    }),
                "{}",
                reason
            );
            prop_assert!(writes.is_empty() && after == before);
        }
        other => prop_assert!(false, "{other:?}: {:?}", outcome.reason),
    }
    Ok(())
}

#[test]
fn a_policy_denies_plain_http_and_is_otherwise_what_it_was() {
    let seen = Seen::default();
    let policies = prop_oneof![1 => Just(None), 20 => policy().prop_map(Some)];
    hold(96, &policies, |before| block_on(goes_there_and_back(before, &seen)));
    seen.had(&[Stage::Verified, Stage::Compliant]);
}
