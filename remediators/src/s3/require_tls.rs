//! Denies plain HTTP to a bucket, by one statement in its policy.

use serde_json::{Value, json};

use super::bucket::Bucket;
use crate::{
    Resource as _,
    document::{Document, Policy, normal},
    prelude::*,
    remediator::Proposal,
};

/// The `Sid` of the statement that a fix adds.
const SID: &str = "RedressRequireTls";

/// In bytes: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-policies.html>.
const LONGEST: usize = 20 * 1024;

pub(crate) struct RequireTls;

/// What a rule may set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Params {
    /// Also fix buckets that serve a static website: its endpoint speaks plain HTTP only and goes dark.
    allow_website: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Guarded {
    /// The bucket's ARN. Read, never altered.
    bucket: String,
    /// The bucket policy; `None` where the bucket has none.
    policy: Option<Policy>,
    /// Whether the bucket serves a static website. Read, never altered.
    #[serde(default)]
    website: bool,
}

/// The statement that a fix adds.
fn statement(bucket: &str) -> Value {
    json!({
        "Sid": SID,
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [bucket, format!("{bucket}/*")],
        "Condition": { "Bool": { "aws:SecureTransport": "false" } },
    })
}

/// Whether this statement is one that the control accepts: everybody, every action, bucket and objects,
/// and no other condition.
///
/// What AWS Config accepts is documented by
/// [example](https://repost.aws/knowledge-center/s3-bucket-policy-for-config-rule) only, so what differs
/// from it in more than spelling does not count: a second statement does no harm, a missing one does.
fn requires_tls(statement: &Value, bucket: &str) -> bool {
    let Some(fields) = statement.as_object() else { return false };
    if fields.keys().any(|name| {
        !["Sid", "Effect", "Principal", "Action", "Resource", "Condition"].contains(&name.as_str())
    }) {
        return false;
    }
    // One value and a list of it mean the same everywhere in a policy.
    let any = |value: &Value, wanted: &dyn Fn(&str) -> bool| match value {
        Value::String(one) => wanted(one),
        Value::Array(many) => many.iter().any(|one| one.as_str().is_some_and(wanted)),
        _ => false,
    };
    let is =
        |name: &str, wanted: &dyn Fn(&str) -> bool| fields.get(name).is_some_and(|value| any(value, wanted));
    let everybody = match fields.get("Principal") {
        Some(Value::Object(kinds)) => kinds.get("AWS").is_some_and(|who| any(who, &|who| who == "*")),
        Some(Value::String(who)) => who == "*",
        _ => false,
    };
    let objects = format!("{bucket}/*");
    let both = format!("{bucket}*");
    let whole = |resource: &str| resource == "*" || resource == both;
    let plain_http = fields
        .get("Condition")
        .and_then(Value::as_object)
        .filter(|operators| operators.len() == 1)
        .and_then(|operators| operators.get("Bool")?.as_object())
        .filter(|keys| keys.len() == 1)
        .and_then(|keys| keys.iter().next())
        .is_some_and(|(key, value)| {
            let value = match value {
                Value::Array(values) if values.len() == 1 => values.first().unwrap_or(value),
                value => value,
            };
            key.eq_ignore_ascii_case("aws:SecureTransport")
                && (*value == Value::Bool(false)
                    || value.as_str().is_some_and(|value| value.eq_ignore_ascii_case("false")))
        });
    fields.get("Effect").and_then(Value::as_str) == Some("Deny")
        && everybody
        && is("Action", &|action| action == "*" || action.eq_ignore_ascii_case("s3:*"))
        && is("Resource", &|resource| resource == bucket || whole(resource))
        && is("Resource", &|resource| resource == objects || whole(resource))
        && plain_http
}

fn is_ours(statement: &Value) -> bool {
    statement.get("Sid").and_then(Value::as_str) == Some(SID)
}

impl Remediator for RequireTls {
    const SPEC: Spec = Spec {
        name: "s3.require_tls",
        version: 1,
        controls: &["S3.5"],
        risk: Risk::Access,
        what: "Adds one statement, `RedressRequireTls`, to the bucket policy: requests over plain HTTP are \
               denied, whoever makes them. The rest of the policy is sent back byte for byte; a bucket \
               without a policy gets one that holds this statement alone.",
        who_notices: "Clients that use `http://`: old SDKs with TLS turned off, presigned links and \
                      CloudFront origins over HTTP. They get 403. A bucket that serves a static website is \
                      refused unless the rule says `allow_website`: website endpoints know no TLS.",
        way_back: "Removes exactly that statement from the policy as it is then, or the policy where \
                   nothing else is in it. Refused where somebody has changed the statement since.",
        reads: &[
            Action::new("s3:GetBucketPolicy", On::Resource),
            Action::new("s3:GetBucketWebsite", On::Resource),
        ],
        writes: &[Action::new("s3:PutBucketPolicy", On::Resource)],
        undo: &[Action::new("s3:DeleteBucketPolicy", On::Resource)],
        implied: &[],
    };
    type Resource = Bucket;
    type Params = Params;
    type State = Guarded;

    async fn observe(aws: &Aws, at: &Bucket) -> Result<Guarded> {
        let policy = aws.s3().get_bucket_policy().bucket(&at.name).expected_bucket_owner(&at.owner).send();
        let website = aws.s3().get_bucket_website().bucket(&at.name).expected_bucket_owner(&at.owner).send();
        let (policy, website) = tokio::join!(policy, website);
        let policy = policy.absent_if("NoSuchBucketPolicy")?;
        Ok(Guarded {
            bucket: aws.key().fill(Bucket::KIND.arn),
            policy: policy.map(|found| Policy::read(found.policy.unwrap_or_default())),
            website: website.absent_if("NoSuchWebsiteConfiguration")?.is_some(),
        })
    }

    fn plan(now: &Guarded, ask: &Ask<'_, Params>) -> Plan<Guarded> {
        let ours = statement(&now.bucket);
        let document = match &now.policy {
            None => Document::of(&ours),
            Some(Policy::Opaque { why, .. }) => {
                return Plan::Refuse(format!("the bucket policy can't be edited: {why}"));
            }
            Some(Policy::Document(document)) => {
                let statements = document.values();
                if statements.iter().any(|statement| requires_tls(statement, &now.bucket)) {
                    return Plan::Compliant;
                }
                if statements.iter().any(is_ours) {
                    return Plan::Refuse(format!(
                        "the bucket policy has another statement `{SID}`, which does not deny plain HTTP to \
                         everybody: correct or delete it"
                    ));
                }
                document.with(&ours)
            }
        };
        if now.website && !ask.params.allow_website {
            return Plan::Refuse(
                "the bucket serves a static website, whose endpoint knows no TLS and would go dark; the rule can \
                 say `allow_website`"
                    .to_owned(),
            );
        }
        let length = document.text().len();
        if length > LONGEST {
            return Plan::Refuse(format!(
                "the bucket policy would have {length} bytes, and S3 takes {LONGEST}: shorten it first"
            ));
        }
        let mut notes = vec!["clients that use plain HTTP lose access".to_owned()];
        if now.website {
            notes.push(
                "the bucket serves a static website: its endpoint denies everybody from now on".to_owned(),
            );
        }
        let to = Guarded { policy: Some(Policy::Document(document)), ..now.clone() };
        Plan::Change(Proposal { to, risk: Risk::Access, notes })
    }

    async fn apply(aws: &Aws, at: &Bucket, change: &Change<Guarded>) -> Result<()> {
        if let Some(policy) = &change.to.policy {
            let request = aws.s3().put_bucket_policy().bucket(&at.name).expected_bucket_owner(&at.owner);
            request.policy(policy.text()).send().await?;
        } else {
            aws.s3().delete_bucket_policy().bucket(&at.name).expected_bucket_owner(&at.owner).send().await?;
        }
        Ok(())
    }

    fn undo(change: &Change<Guarded>, now: &Guarded) -> Undo<Guarded> {
        fn editable(policy: Option<&Policy>) -> Option<&Document> {
            policy.and_then(|policy| match policy {
                Policy::Document(document) => Some(document),
                Policy::Opaque { .. } => None,
            })
        }
        let ours =
            |document: &Document| document.values().into_iter().find(is_ours).map(|found| normal(&found));
        let document = match &now.policy {
            None => return Undo::Nothing,
            Some(Policy::Opaque { why, .. }) => {
                return Undo::Refuse(format!("the bucket policy can't be edited: {why}"));
            }
            Some(Policy::Document(document)) => document,
        };
        let Some(found) = ours(document) else { return Undo::Nothing };
        if editable(change.to.policy.as_ref()).and_then(ours) != Some(found) {
            return Undo::Refuse(format!("somebody has changed the statement `{SID}` since"));
        }
        let before = editable(change.from.policy.as_ref());
        let left = document.without(is_ours, before);
        let mut notes = Vec::new();
        if left.is_none() && !(before.is_none() && document.is_bare()) {
            notes.push("no other statement is left: the whole policy is removed".to_owned());
        }
        Undo::To { to: Guarded { policy: left.map(Policy::Document), ..now.clone() }, notes }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use super::*;
    use crate::{
        Access,
        document::test::any_policy,
        raw::test::{Dice, Wire},
        remediator::test::ask,
    };

    const BUCKET: &str = "arn:aws:s3:::logs";
    const OURS: &str = r#"{"Sid":"RedressRequireTls","Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::logs","arn:aws:s3:::logs/*"],"Condition":{"Bool":{"aws:SecureTransport":"false"}}}"#;

    fn state(policy: Option<&str>) -> Guarded {
        let policy = policy.map(|text| Policy::read(text.to_owned()));
        Guarded { bucket: BUCKET.to_owned(), policy, website: false }
    }

    fn with(statement: &Value) -> Guarded {
        state(Some(&json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string()))
    }

    fn plan(now: &Guarded) -> Plan<Guarded> {
        RequireTls::plan(now, &ask("S3.5", &Params::default()))
    }

    fn text(state: &Guarded) -> Option<String> {
        state.policy.as_ref().map(Policy::text)
    }

    fn change(now: &Guarded) -> Change<Guarded> {
        let Plan::Change(change) = plan(now) else { panic!("{:?}", plan(now)) };
        assert_eq!(change.risk, Risk::Access);
        assert_eq!(plan(&change.to), Plan::Compliant);
        Change { from: now.clone(), to: change.to }
    }

    /// `statement` with one field put in place, or taken away with `null`.
    fn altered(field: &str, value: Value) -> Value {
        let mut statement = statement(BUCKET);
        match value {
            Value::Null => drop(statement.as_object_mut().unwrap().remove(field)),
            value => statement[field] = value,
        }
        statement
    }

    #[test]
    fn only_a_statement_that_denies_plain_http_to_everybody_passes() {
        let (bucket, objects) = (BUCKET, format!("{BUCKET}/*"));
        for accepted in [
            altered("Sid", Value::Null),
            altered("Sid", json!("AllowSSLRequestsOnly")),
            altered("Principal", json!({ "AWS": "*" })),
            altered("Principal", json!({ "AWS": ["*"] })),
            altered("Action", json!("*")),
            altered("Action", json!(["s3:GetObject", "s3:*"])),
            altered("Resource", json!("*")),
            altered("Resource", json!([objects, bucket, "arn:aws:s3:::logs/a/*"])),
            altered("Resource", json!("arn:aws:s3:::logs*")),
            altered("Condition", json!({ "Bool": { "aws:SecureTransport": false } })),
            altered("Condition", json!({ "Bool": { "aws:securetransport": ["false"] } })),
        ] {
            assert_eq!(plan(&with(&accepted)), Plan::Compliant, "{accepted}");
        }
        for failing in [
            altered("Effect", json!("Allow")),
            altered("Principal", json!({ "AWS": "arn:aws:iam::123456789012:root" })),
            altered("Principal", json!({ "Service": "*" })),
            altered("Principal", Value::Null),
            altered("NotPrincipal", json!({ "AWS": "arn:aws:iam::123456789012:root" })),
            altered("Action", json!("s3:GetObject")),
            altered("Action", json!("s3:Get*")),
            altered("NotAction", json!("s3:PutObject")),
            altered("Resource", json!(objects)),
            altered("Resource", json!(bucket)),
            altered("Resource", json!(["arn:aws:s3:::other", "arn:aws:s3:::other/*"])),
            altered("Resource", json!(["arn:aws-cn:s3:::logs", "arn:aws-cn:s3:::logs/*"])),
            altered("Resource", json!([bucket, "arn:aws:s3:::logs/private/*"])),
            altered("Condition", Value::Null),
            altered("Condition", json!({ "Bool": { "aws:SecureTransport": "true" } })),
            altered("Condition", json!({ "Bool": { "aws:SecureTransport": ["false", "true"] } })),
            altered("Condition", json!({ "BoolIfExists": { "aws:SecureTransport": "false" } })),
            altered("Condition", json!({ "StringEquals": { "aws:SecureTransport": "false" } })),
            altered(
                "Condition",
                json!({ "Bool": { "aws:SecureTransport": "false", "aws:ViaAWSService": "false" } }),
            ),
            altered(
                "Condition",
                json!({ "Bool": { "aws:SecureTransport": "false" }, "IpAddress": { "aws:SourceIp": "10.0.0.0/8" } }),
            ),
        ] {
            let mut named = failing.clone();
            named["Sid"] = json!("theirs");
            let now = with(&named);
            let change = change(&now);
            let before = text(&now).unwrap();
            assert_eq!(
                text(&change.to).unwrap(),
                format!("{},{OURS}]}}", before.strip_suffix("]}").unwrap())
            );
            // The same under our name is somebody else's edit.
            assert!(matches!(plan(&with(&failing)), Plan::Refuse(why) if why.contains(SID)), "{failing}");
        }
    }

    #[test]
    fn a_bucket_without_a_policy_gets_a_minimal_one() {
        let now = state(None);
        let change = change(&now);
        let expected = format!("{{\"Version\":\"2012-10-17\",\"Statement\":[{OURS}]}}");
        assert_eq!(text(&change.to).unwrap(), expected);
        assert_eq!(RequireTls::undo(&change, &change.to), Undo::To { to: now.clone(), notes: Vec::new() });
        assert_eq!(RequireTls::undo(&change, &now), Undo::Nothing);
        let other = Guarded { bucket: "arn:aws-us-gov:s3:::logs".to_owned(), ..now };
        let Plan::Change(change) = plan(&other) else { panic!() };
        assert!(text(&change.to).unwrap().contains(r#""arn:aws-us-gov:s3:::logs/*""#));
    }

    #[test]
    fn what_cannot_be_edited_is_refused() {
        for (policy, reason) in [
            ("{", "EOF"),
            (r#"{"Statement":[{}],"Statement":[{}]}"#, "twice"),
            (r#"{"Statement":"x"}"#, "neither"),
        ] {
            let now = state(Some(policy));
            assert!(matches!(plan(&now), Plan::Refuse(why) if why.contains(reason)), "{policy}");
            let change = change(&state(None));
            assert!(matches!(RequireTls::undo(&change, &now), Undo::Refuse(why) if why.contains(reason)));
        }
    }

    #[test]
    fn a_policy_that_would_be_too_long_is_refused() {
        let long = |filler: usize| {
            let text =
                json!({ "Version": "2012-10-17", "Statement": [{ "Sid": "x".repeat(filler) }] }).to_string();
            (text.len(), state(Some(&text)))
        };
        let empty = long(0).0;
        let room = LONGEST - empty - OURS.len() - 1;
        let change = change(&long(room).1);
        assert_eq!(text(&change.to).unwrap().len(), LONGEST);
        assert!(matches!(plan(&long(room + 1).1), Plan::Refuse(why) if why.contains("20481")));
    }

    #[test]
    fn a_website_is_left_alone_unless_the_rule_says_otherwise() {
        let now = Guarded { website: true, ..state(None) };
        assert!(matches!(plan(&now), Plan::Refuse(why) if why.contains("`allow_website`")));
        let params = Params { allow_website: true };
        let Plan::Change(change) = RequireTls::plan(&now, &ask("S3.5", &params)) else { panic!() };
        assert!(change.notes.iter().any(|note| note.contains("website")));
        assert_eq!(plan(&Guarded { website: true, ..with(&statement(BUCKET)) }), Plan::Compliant);
    }

    #[test]
    fn any_policy_comes_back_byte_for_byte() {
        let mut dice = Dice(5);
        for _ in 0..500 {
            let before = any_policy(&mut dice);
            let now = state(Some(&before));
            let change = change(&now);
            assert_ne!(text(&change.to), text(&now));
            let Undo::To { to, notes } = RequireTls::undo(&change, &change.to) else { panic!("{before}") };
            assert_eq!(text(&to).unwrap(), before);
            assert!(notes.is_empty());
            // The record is JSON: it must carry the bytes as well.
            let stored = serde_json::to_string(&change).unwrap();
            let stored: Change<Guarded> = serde_json::from_str(&stored).unwrap();
            assert_eq!((text(&stored.from), text(&stored.to)), (text(&change.from), text(&change.to)));
        }
    }

    #[test]
    fn undo_removes_our_statement_and_nothing_else() {
        let theirs = r#"{"Sid":"a","Effect":"Allow"}"#;
        let from = state(Some(&format!("{{\"Statement\":{theirs}}}")));
        let change = change(&from);
        let undo = |policy: &str| RequireTls::undo(&change, &state(Some(policy)));
        // S3 has rewritten ours, and somebody has added one before and changed the other.
        let rewritten = r#"{"Sid":"RedressRequireTls","Effect":"Deny","Principal":{"AWS":"*"},"Action":["s3:*"],"Resource":["arn:aws:s3:::logs/*","arn:aws:s3:::logs"],"Condition":{"Bool":{"aws:SecureTransport":"false"}}}"#;
        let now = format!("{{\"Statement\":[{{\"Sid\":\"new\"}}, {rewritten} ,{{\"Sid\":\"a2\"}} ]}}");
        let Undo::To { to, .. } = undo(&now) else { panic!() };
        assert_eq!(text(&to).unwrap(), r#"{"Statement":[{"Sid":"new"},{"Sid":"a2"} ]}"#);
        // Nothing else is left.
        let Undo::To { to, notes } = undo(&format!("{{\"Id\":\"x\",\"Statement\":[{OURS}]}}")) else {
            panic!()
        };
        assert_eq!(to.policy, None);
        assert!(notes[0].contains("whole policy"));
        // Gone already, by statement or with all the rest.
        assert_eq!(undo(&format!("{{\"Statement\":[{theirs}]}}")), Undo::Nothing);
        assert_eq!(RequireTls::undo(&change, &state(None)), Undo::Nothing);
        // Changed since.
        let changed = OURS.replace("\"s3:*\"", "\"s3:GetObject\"");
        assert!(
            matches!(undo(&format!("{{\"Statement\":[{changed}]}}")), Undo::Refuse(why) if why.contains(SID))
        );
    }

    #[tokio::test]
    async fn the_bytes_are_read_and_written_as_they_are() {
        let before = "{\r\n \"Statement\" : [ {\"Sid\":\"\\u00e9\",\"Effect\":\"Allow\"} ]\n}\n";
        let wire = Wire::default();
        let ok = |body: &str| (200, Vec::new(), body.to_owned());
        let missing = |code: &str| (404, Vec::new(), format!("<Error><Code>{code}</Code></Error>"));
        wire.answer("GET /?website", missing("NoSuchWebsiteConfiguration"));
        wire.answer("GET /?policy", ok(before));
        wire.answer("PUT /?policy", (204, Vec::new(), String::new()));
        wire.answer("DELETE /?policy", (204, Vec::new(), String::new()));
        let unit: &dyn crate::Erased = &RequireTls;
        let aws = wire.aws(unit, Access::Apply);
        let now: Guarded = serde_json::from_value(unit.observe(&aws).await.unwrap()).unwrap();
        assert_eq!(now, state(Some(before)));
        assert_eq!(text(&now).unwrap(), before);
        let change = change(&now);
        let json = |state: &Guarded| serde_json::to_value(state).unwrap();
        unit.apply(&aws, &Change { from: json(&change.from), to: json(&change.to) }).await.unwrap();
        let put = wire.sent().into_iter().find(|sent| sent.method == "PUT").unwrap();
        assert_eq!(put.body, before.replace("} ]", &format!("}} ,{OURS}]")));

        let gone = Change { from: json(&change.to), to: json(&state(None)) };
        assert_eq!(unit.apply(&aws, &gone).await.unwrap_err().kind, ErrorKind::Blocked);
        unit.apply(&wire.aws(unit, Access::Undo), &gone).await.unwrap();
        assert_eq!(wire.sent().last().unwrap().method, "DELETE");
        for sent in wire.sent() {
            assert_eq!(sent.header("x-amz-expected-bucket-owner"), Some("123456789012"), "{sent:?}");
        }

        wire.answer("GET /?policy", missing("NoSuchBucketPolicy"));
        assert_eq!(unit.observe(&aws).await.unwrap(), json(&state(None)));
        wire.answer("GET /?policy", missing("NoSuchBucket"));
        assert_eq!(unit.observe(&aws).await.unwrap_err().kind, ErrorKind::NotFound);
        wire.answer("GET /?policy", (403, Vec::new(), "<Error><Code>AccessDenied</Code></Error>".to_owned()));
        assert_eq!(unit.observe(&aws).await.unwrap_err().kind, ErrorKind::Denied);
    }
}
