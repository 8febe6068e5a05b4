//! Statements of resource policies that let everybody in, and policies without them.
//!
//! AWS calls a policy public that grants access to others than
//! [fixed values](https://docs.aws.amazon.com/config/latest/developerguide/sqs-queue-no-public-access.html): those that
//! hold neither a wildcard nor a policy variable. Which condition keys say who it is, it documents for
//! [S3](https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html#access-control-block-public-access-policy-status)
//! alone; what lies between is [`Reach::Conditional`] here, and is for somebody to look at.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Plan, Risk, Undo,
    document::{Policy, normal},
    remediator::Proposal,
    text::excerpt,
};

/// What a rule may set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Params {
    /// Also remove statements that let everybody in under a condition which does not fix who that is, such as one on
    /// `aws:SourceArn` with a wildcard in it.
    remove_conditional: bool,
}

/// Whom a statement lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Nobody, or whom it fixes.
    Fixed,
    /// Everybody.
    Public,
    /// Everybody, under a condition that does not fix who that is: this one.
    Conditional(String),
    /// It can't be told, for this reason.
    Unclear(String),
}

/// Condition keys that say who calls, or on whose behalf, or from where.
const WHO: [&str; 12] = [
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principalorgid",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceip",
    "aws:sourceorgid",
    "aws:sourceowner",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:userid",
    "aws:vpcsourceip",
];

/// One value or a list of them, which mean the same everywhere in a policy; `None` where one is no text.
pub(crate) fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(many) => many.iter().map(|one| texts(one)?.pop()).collect(),
        Value::String(one) => Some(vec![one.clone()]),
        Value::Bool(_) | Value::Number(_) => Some(vec![value.to_string()]),
        Value::Null | Value::Object(_) => None,
    }
}

fn is_fixed(value: &str) -> bool {
    !value.is_empty() && !value.contains(['*', '?']) && !value.contains("${")
}

/// Whether a range of addresses is one that AWS does not call public: `/8` of IPv4 and `/32` of IPv6 at the widest.
fn is_narrow(range: &str) -> bool {
    let (address, bits) = range.split_once('/').unwrap_or((range, "128"));
    let widest = if address.contains(':') { 32 } else { 8 };
    address.parse::<std::net::IpAddr>().is_ok() && bits.parse::<u8>().is_ok_and(|bits| bits >= widest)
}

/// Whether one line of a condition fixes who it is.
fn fixes(operator: &str, key: &str, values: &Value) -> bool {
    let operator = operator.to_ascii_lowercase();
    // `ForAllValues` and `...IfExists` are true where the key is missing:
    // https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
    let operator = operator.strip_prefix("foranyvalue:").unwrap_or(&operator);
    let key = key.to_ascii_lowercase();
    let Some(values) = texts(values).filter(|values| !values.is_empty()) else { return false };
    if !WHO.contains(&key.as_str()) {
        return false;
    }
    if key.ends_with("sourceip") {
        return operator == "ipaddress" && values.iter().all(|range| is_narrow(range));
    }
    matches!(operator, "stringequals" | "stringequalsignorecase" | "stringlike" | "arnequals" | "arnlike")
        && values.iter().all(|value| is_fixed(value))
}

/// The keys of a statement's condition, each with whether it fixes who it is; `None` where it can't be read.
pub(crate) fn condition(statement: &Value) -> Option<Vec<(String, bool)>> {
    let mut keys = Vec::new();
    if let Some(operators) = statement.get("Condition") {
        for (operator, lines) in operators.as_object()? {
            for (key, values) in lines.as_object()? {
                keys.push((key.clone(), fixes(operator, key, values)));
            }
        }
    }
    Some(keys)
}

/// Whom a statement lets in.
pub(crate) fn reach(statement: &Value) -> Reach {
    let unclear = |why: &str| Reach::Unclear(why.to_owned());
    match statement.get("Effect").and_then(Value::as_str) {
        Some("Allow") => {}
        Some("Deny") => return Reach::Fixed,
        _ => return unclear("it neither allows nor denies"),
    }
    let principals: Option<Vec<(&str, String)>> = match statement.get("Principal") {
        Some(Value::String(who)) => Some(vec![("AWS", who.clone())]),
        Some(Value::Object(kinds)) => kinds.iter().try_fold(Vec::new(), |mut all, (kind, who)| {
            all.extend(texts(who)?.into_iter().map(|who| (kind.as_str(), who)));
            Some(all)
        }),
        _ => None,
    };
    let Some(principals) = principals.filter(|all| !all.is_empty()) else {
        return unclear("it does not say in `Principal` whom it allows");
    };
    let everybody = |(kind, who): &(&str, String)| *kind == "AWS" && who == "*";
    if principals.iter().all(|(_, who)| is_fixed(who)) {
        return Reach::Fixed;
    }
    let Some(keys) = condition(statement) else { return unclear("its condition can't be read") };
    if keys.iter().any(|(_, fixes)| *fixes) {
        return Reach::Fixed;
    }
    if let Some((_, who)) = principals.iter().find(|one| !everybody(one)) {
        let besides = if is_fixed(who) { "besides everybody" } else { "which is nobody in particular" };
        return Reach::Unclear(format!("it names the principal `{}` {besides}", excerpt(who)));
    }
    if keys.is_empty() {
        return Reach::Public;
    }
    let keys: Vec<String> = keys.iter().map(|(key, _)| format!("`{}`", excerpt(key))).collect();
    Reach::Conditional(format!("its condition on {} does not fix who that is", keys.join(", ")))
}

/// Whether a policy is one without statements, which lets nobody in.
pub(crate) fn is_empty(policy: &str) -> bool {
    serde_json::from_str::<Value>(policy)
        .is_ok_and(|policy| policy.get("Statement").and_then(Value::as_array).is_some_and(Vec::is_empty))
}

/// What a statement is called in a message.
pub(crate) fn label(statement: &Value, index: usize) -> String {
    match statement.get("Sid").and_then(Value::as_str) {
        Some(sid) if !sid.is_empty() => format!("statement `{}`", excerpt(sid)),
        _ => format!("statement {}", index + 1),
    }
}

/// The policy of `what` without its public statements; where none is left, `otherwise` and the note on it.
pub(crate) fn plan(
    what: &str,
    policy: Option<&Policy>,
    params: Params,
    otherwise: impl FnOnce() -> (Option<Policy>, &'static str),
) -> Plan<Option<Policy>> {
    let document = match policy {
        None => return Plan::Compliant,
        Some(Policy::Opaque { text, .. }) if is_empty(text) => return Plan::Compliant,
        Some(Policy::Opaque { why, .. }) => {
            return Plan::Refuse(format!("the policy of the {what} can't be edited: {why}"));
        }
        Some(Policy::Document(document)) => document,
    };
    let mut notes = Vec::new();
    for (index, statement) in document.values().iter().enumerate() {
        let label = label(statement, index);
        match reach(statement) {
            Reach::Fixed => {}
            Reach::Public => notes.push(format!("{label} goes, which lets everybody in")),
            Reach::Conditional(why) if params.remove_conditional => {
                notes.push(format!("{label} goes, which lets everybody in; {why}"));
            }
            Reach::Conditional(why) => {
                return Plan::Refuse(format!(
                    "{label} lets everybody in, and {why}: correct it, or the rule can say `remove_conditional`"
                ));
            }
            Reach::Unclear(why) => {
                return Plan::Refuse(format!("{label} may let everybody in: {why}; correct it by hand"));
            }
        }
    }
    if notes.is_empty() {
        return Plan::Compliant;
    }
    // Whatever else there is would have been refused above.
    let to = if let Some(left) = document.without(|statement| reach(statement) != Reach::Fixed, None) {
        Some(Policy::Document(left))
    } else {
        let (policy, note) = otherwise();
        notes.push(note.to_owned());
        policy
    };
    Plan::Change(Proposal { to, risk: Risk::Access, notes })
}

/// Puts back the statements that a run has removed, and takes away what it put in their place; whatever else has been
/// changed since stays.
pub(crate) fn undo(from: Option<&Policy>, to: Option<&Policy>, now: Option<&Policy>) -> Undo<Option<Policy>> {
    let normals = |policy: Option<&Policy>| -> Vec<Value> {
        match policy {
            Some(Policy::Document(document)) => document.values().iter().map(normal).collect(),
            _ => Vec::new(),
        }
    };
    if now == from {
        return Undo::Nothing;
    }
    if now == to {
        return Undo::To { to: from.cloned(), notes: Vec::new() };
    }
    let (Some(Policy::Document(before)), had, left, found) = (from, normals(from), normals(to), normals(now))
    else {
        return Undo::Refuse("the record does not hold the policy as it was".to_owned());
    };
    let is_missing = |statement: &Value| {
        let statement = normal(statement);
        !left.contains(&statement) && !found.contains(&statement)
    };
    if !before.values().iter().any(is_missing) {
        return Undo::Nothing;
    }
    let document = match now {
        None => before.without(|statement| !is_missing(statement), None),
        Some(Policy::Opaque { text, .. }) if is_empty(text) => {
            before.without(|statement| !is_missing(statement), None)
        }
        Some(Policy::Opaque { why, .. }) => {
            return Undo::Refuse(format!("the policy can't be edited: {why}"));
        }
        Some(Policy::Document(document)) => {
            for (index, statement) in before.values().iter().enumerate().filter(|(_, one)| is_missing(one)) {
                let sid = |one: &Value| one.get("Sid").and_then(Value::as_str).unwrap_or_default().to_owned();
                let own = sid(statement);
                if !own.is_empty() && found.iter().any(|other| sid(other) == own) {
                    return Undo::Refuse(format!(
                        "somebody has made another {} since",
                        label(statement, index)
                    ));
                }
            }
            let ours = |statement: &Value| {
                let statement = normal(statement);
                left.contains(&statement) && !had.contains(&statement)
            };
            document.with_those_of(before, is_missing).without(ours, None)
        }
    };
    Undo::To { to: document.map(Policy::Document), notes: Vec::new() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
    use serde_json::json;

    use super::*;

    fn allow(principal: Value, condition: Value) -> Value {
        let mut made = json!({ "Sid": "a", "Effect": "Allow", "Action": "sqs:*" });
        made["Principal"] = principal;
        made["Condition"] = condition;
        made
    }

    fn on(operator: &str, key: &str, value: Value) -> Value {
        let mut condition = json!({ operator: {} });
        condition[operator][key] = value;
        condition
    }

    fn policy(statements: &[&str]) -> Policy {
        Policy::read(format!("{{\"Version\":\"2012-10-17\", \"Statement\": [ {} ]}}", statements.join(" , ")))
    }

    #[test]
    fn whom_a_statement_lets_in() {
        let none = || json!({});
        for principal in [json!("*"), json!({ "AWS": "*" }), json!({ "AWS": ["*"] })] {
            assert_eq!(reach(&allow(principal.clone(), none())), Reach::Public, "{principal}");
            let mut bare = allow(principal, none());
            bare.as_object_mut().unwrap().remove("Condition");
            assert_eq!(reach(&bare), Reach::Public);
            bare["Effect"] = json!("Deny");
            assert_eq!(reach(&bare), Reach::Fixed);
        }
        for principal in [
            json!("123456789012"),
            json!({ "AWS": ["123456789012", "arn:aws:iam::210987654321:root"] }),
            json!({ "Service": "sns.amazonaws.com" }),
        ] {
            assert_eq!(reach(&allow(principal.clone(), none())), Reach::Fixed, "{principal}");
        }
        for principal in [
            json!({ "AWS": ["*", "123456789012"] }),
            json!({ "AWS": "arn:aws:iam::*:root" }),
            json!({ "Service": "*" }),
            json!({ "AWS": [] }),
            json!({}),
            json!(null),
            json!({ "AWS": { "x": "*" } }),
        ] {
            assert!(matches!(reach(&allow(principal.clone(), none())), Reach::Unclear(_)), "{principal}");
        }
        let mut others = allow(json!("*"), none());
        others.as_object_mut().unwrap().remove("Principal");
        others["NotPrincipal"] = json!({ "AWS": "123456789012" });
        assert!(matches!(reach(&others), Reach::Unclear(why) if why.contains("`Principal`")));
        assert!(matches!(reach(&json!("x")), Reach::Unclear(_)));
        assert!(matches!(reach(&allow(json!("*"), json!("x"))), Reach::Unclear(_)));
        assert!(matches!(reach(&allow(json!("*"), json!({ "Bool": "x" }))), Reach::Unclear(_)));
    }

    #[test]
    fn conditions_that_fix_who_it_is() {
        let bucket = "arn:aws:s3:::uploads";
        for fixed in [
            on("StringEquals", "aws:SourceAccount", json!("123456789012")),
            on("StringEquals", "AWS:SourceOwner", json!(["123456789012"])),
            on("StringEquals", "aws:PrincipalOrgID", json!("o-0123456789")),
            on("ForAnyValue:StringEquals", "aws:PrincipalArn", json!("arn:aws:iam::123456789012:role/a")),
            on("ArnLike", "aws:SourceArn", json!([bucket, "arn:aws:s3:::more"])),
            on("arnequals", "AWS:SOURCEARN", json!(bucket)),
            on("IpAddress", "aws:SourceIp", json!(["192.0.2.0/24", "2001:db8::/32", "198.51.100.7"])),
            json!({ "Bool": { "aws:SecureTransport": "true" }, "StringLike": { "aws:SourceVpce": "vpce-1" } }),
        ] {
            assert_eq!(reach(&allow(json!("*"), fixed.clone())), Reach::Fixed, "{fixed}");
        }
        for other in [
            on("ArnLike", "aws:SourceArn", json!("arn:aws:s3:*:123456789012:uploads")),
            on("ArnLike", "aws:SourceArn", json!([bucket, "*"])),
            on("StringEquals", "aws:SourceAccount", json!("${aws:PrincipalAccount}")),
            on("StringEquals", "aws:SourceAccount", json!([])),
            on("StringEqualsIfExists", "aws:SourceAccount", json!("123456789012")),
            on("ForAllValues:StringEquals", "aws:SourceAccount", json!("123456789012")),
            on("StringNotEquals", "aws:SourceAccount", json!("123456789012")),
            on("StringEquals", "sns:Protocol", json!("https")),
            on("Bool", "aws:SecureTransport", json!(true)),
            on("IpAddress", "aws:SourceIp", json!("0.0.0.0/0")),
            on("IpAddress", "aws:SourceIp", json!(["192.0.2.0/24", "10.0.0.0/7"])),
            on("IpAddress", "aws:SourceIp", json!("2001::/16")),
            on("NotIpAddress", "aws:SourceIp", json!("192.0.2.0/24")),
        ] {
            let Reach::Conditional(why) = reach(&allow(json!("*"), other.clone())) else { panic!("{other}") };
            assert!(why.contains("does not fix"), "{why}");
        }
    }

    const OPEN: &str = r#"{"Sid":"open" ,"Effect":"Allow","Principal":"*","Action":"sqs:SendMessage"}"#;
    const NAMED: &str =
        r#"{"Sid":"named","Effect":"Allow","Principal":{"AWS":"210987654321"},"Action":"sqs:*"}"#;
    const DENY: &str = r#"{"Effect":"Deny","Principal":"*","Action":"sqs:DeleteQueue"}"#;
    const WIDE: &str = r#"{"Sid":"wide","Effect":"Allow","Principal":"*","Condition":{"Bool":{"aws:SecureTransport":"true"}}}"#;

    fn planned(policy: &Policy, remove_conditional: bool) -> Plan<Option<Policy>> {
        plan("queue", Some(policy), Params { remove_conditional }, || (None, "it goes"))
    }

    fn to(policy: &Policy, remove_conditional: bool) -> Option<Policy> {
        let Plan::Change(change) = planned(policy, remove_conditional) else { panic!() };
        assert!(change.notes[0].contains("lets everybody in"), "{:?}", change.notes);
        change.to
    }

    #[test]
    fn the_public_statements_go_and_no_other_byte() {
        assert_eq!(plan("queue", None, Params::default(), || (None, "")), Plan::Compliant);
        assert_eq!(planned(&Policy::read("{\"Statement\":[]}".to_owned()), false), Plan::Compliant);
        assert_eq!(planned(&policy(&[NAMED, DENY]), false), Plan::Compliant);
        let left = to(&policy(&[NAMED, OPEN, DENY]), false).unwrap();
        assert_eq!(
            left.text(),
            format!("{{\"Version\":\"2012-10-17\", \"Statement\": [ {NAMED} , {DENY} ]}}")
        );
        assert_eq!(to(&policy(&[OPEN, OPEN]), false), None);
        assert_eq!(to(&Policy::read(format!("{{\"Statement\":{OPEN}}}")), false), None);
        for remove in [false, true] {
            let opaque = Policy::read("{".to_owned());
            assert!(matches!(planned(&opaque, remove), Plan::Refuse(why) if why.contains("can't be edited")));
            let others = r#"{"Effect":"Allow","NotPrincipal":{"AWS":"1"}}"#;
            let refused = planned(&policy(&[OPEN, others]), remove);
            assert!(
                matches!(refused, Plan::Refuse(why) if why.contains("statement 2") && why.contains("by hand"))
            );
        }
        let both = policy(&[OPEN, WIDE, DENY]);
        assert!(matches!(planned(&both, false), Plan::Refuse(why) if why.contains("`wide`")));
        assert_eq!(to(&both, true), Some(policy(&[DENY])));
    }

    #[test]
    fn undo_puts_back_what_was_removed() {
        let from = policy(&[NAMED, OPEN, DENY]);
        let left = policy(&[NAMED, DENY]);
        let back = |from: &Policy, to: Option<&Policy>, now: Option<&Policy>| undo(Some(from), to, now);
        let reached = |undo: Undo<Option<Policy>>| match undo {
            Undo::To { to, .. } => to.unwrap().text(),
            other => panic!("{other:?}"),
        };
        assert_eq!(back(&from, Some(&left), Some(&from)), Undo::Nothing);
        assert_eq!(reached(back(&from, Some(&left), Some(&left))), from.text());
        // A change beside it stays.
        let new = r#"{"Sid":"new","Effect":"Deny","Principal":"*","Action":"sqs:*"}"#;
        assert_eq!(
            reached(back(&from, Some(&left), Some(&policy(&[NAMED, new])))),
            policy(&[NAMED, OPEN.trim(), new]).text()
        );
        let gone = reached(back(&from, Some(&left), None));
        assert_eq!(Policy::read(gone), policy(&[OPEN]));
        // Somebody has put it back, or something else of its name.
        assert_eq!(back(&from, Some(&left), Some(&policy(&[OPEN, new]))), Undo::Nothing);
        let namesake = OPEN.replace("Allow", "Deny");
        let refused = back(&from, Some(&left), Some(&policy(&[&namesake])));
        assert!(matches!(refused, Undo::Refuse(why) if why.contains("`open`")));
        assert!(matches!(back(&from, Some(&left), Some(&Policy::read("{".to_owned()))), Undo::Refuse(_)));
    }

    #[test]
    fn what_was_put_in_its_place_goes_with_undo() {
        let from = policy(&[OPEN]);
        let default = r#"{"Sid":"default","Effect":"Allow","Principal":"*","Condition":{"StringEquals":{"aws:SourceOwner":"1"}}}"#;
        let to = policy(&[default]);
        assert!(
            matches!(undo(Some(&from), Some(&to), Some(&to)), Undo::To { to: Some(to), .. } if to == from)
        );
        let now = policy(&[default, NAMED]);
        let Undo::To { to: Some(to), .. } = undo(Some(&from), Some(&to), Some(&now)) else { panic!() };
        assert_eq!(to, policy(&[OPEN, NAMED]));
    }
}
