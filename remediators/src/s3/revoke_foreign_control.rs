//! Takes control of a bucket out of other accounts' hands, by the bucket's policy.

use serde_json::Value;

use super::bucket::Bucket;
use crate::{
    document::{Document, Policy, narrowed, normal},
    prelude::*,
    remediator::Proposal,
    resource::Arn,
};

/// What S3.6 wants no other account to be allowed; no parameter changes it:
/// <https://docs.aws.amazon.com/securityhub/latest/userguide/s3-controls.html#s3-6>.
const CONTROL: [&str; 5] = [
    "s3:DeleteBucketPolicy",
    "s3:PutBucketAcl",
    "s3:PutBucketPolicy",
    "s3:PutEncryptionConfiguration",
    "s3:PutObjectAcl",
];

/// The elements of a statement of a resource's policy:
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>.
const FIELDS: [&str; 9] = [
    "Sid",
    "Effect",
    "Principal",
    "NotPrincipal",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
    "Condition",
];

pub(crate) struct RevokeForeignControl;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shared {
    /// The account that owns the bucket. Read, never altered.
    account: String,
    /// The bucket policy; `None` where the bucket has none.
    policy: Option<Policy>,
}

/// Whom a statement lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    /// The bucket's own account, or AWS's services.
    Own,
    /// Other accounts alone, or everybody.
    Foreign,
    /// The own account and others.
    Both,
    /// Somebody whose account its name does not tell.
    Unknown,
}

/// One value, or a list of them; `None` where one is no text.
fn texts(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(one) => Some(vec![one]),
        Value::Array(many) => many.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

/// Whether a pattern of actions, with `*` and `?`, stands for `action`. Case does not count.
fn covers(pattern: &str, action: &str) -> bool {
    let (pattern, action) = (pattern.as_bytes(), action.as_bytes());
    let (mut at, mut next) = (0, 0);
    // Where the last asterisk stands, and how far it reaches: only the last one ever has to reach further.
    let mut asterisk: Option<(usize, usize)> = None;
    while next < action.len() {
        match (pattern.get(at), action.get(next)) {
            (Some(b'*'), _) => {
                asterisk = Some((at, next));
                at += 1;
            }
            (Some(one), Some(other)) if *one == b'?' || one.eq_ignore_ascii_case(other) => {
                at += 1;
                next += 1;
            }
            _ => {
                let Some((star, reach)) = asterisk else { return false };
                asterisk = Some((star, reach + 1));
                (at, next) = (star + 1, reach + 1);
            }
        }
    }
    pattern.iter().skip(at).all(|left| *left == b'*')
}

/// Whether the control forbids this action, or any that it stands for.
fn is_control(pattern: &str) -> bool {
    CONTROL.iter().any(|action| covers(pattern, action))
}

fn principal(value: &Value, own: &str) -> Who {
    let kinds = match value {
        Value::String(everybody) if everybody == "*" => return Who::Foreign,
        Value::Object(kinds) => kinds,
        _ => return Who::Unknown,
    };
    let (mut ours, mut theirs) = (false, false);
    for (kind, names) in kinds {
        match kind.as_str() {
            "Service" => ours = true,
            "AWS" => {
                let Some(names) = texts(names) else { return Who::Unknown };
                for name in names {
                    let account = Arn::parse(name).map_or(name, |arn| arn.account);
                    if name == "*" {
                        theirs = true;
                    } else if account == own {
                        ours = true;
                    } else if account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()) {
                        theirs = true;
                    } else {
                        return Who::Unknown;
                    }
                }
            }
            _ => return Who::Unknown,
        }
    }
    match (ours, theirs) {
        (true, true) => Who::Both,
        (false, true) => Who::Foreign,
        _ => Who::Own,
    }
}

/// What must become of a statement.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It stays.
    Keep,
    /// These actions of it go.
    Narrow,
    /// All of its actions would go, and so it goes.
    Remove,
    /// It is for a person to change.
    Refuse(String),
}

fn judge(statement: &Value, own: &str) -> Verdict {
    let Some(fields) = statement.as_object() else {
        return Verdict::Refuse("is none".to_owned());
    };
    if let Some(unknown) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        return Verdict::Refuse(format!(
            "has an element `{}`, which redress does not know",
            excerpt(unknown)
        ));
    }
    match fields.get("Effect").and_then(Value::as_str) {
        Some("Deny") => return Verdict::Keep,
        Some("Allow") => {}
        _ => return Verdict::Refuse("neither allows nor denies".to_owned()),
    }
    let who = match fields.get("Principal") {
        Some(value) => principal(value, own),
        // All but these are everybody else.
        None => Who::Foreign,
    };
    if who == Who::Own {
        return Verdict::Keep;
    }
    let Some(actions) = fields.get("Action").and_then(texts) else {
        let excepted = fields.get("NotAction").and_then(texts);
        // An exception for every one of them leaves none.
        return match excepted {
            Some(but) if CONTROL.iter().all(|action| but.iter().any(|pattern| covers(pattern, action))) => {
                Verdict::Keep
            }
            _ => Verdict::Refuse("allows other accounts all but some actions (`NotAction`)".to_owned()),
        };
    };
    let forbidden: Vec<&str> = actions.iter().copied().filter(|action| is_control(action)).collect();
    if forbidden.is_empty() {
        return Verdict::Keep;
    }
    if fields.contains_key("NotPrincipal") {
        return Verdict::Refuse("allows everybody but some (`NotPrincipal`)".to_owned());
    }
    match who {
        Who::Both => {
            return Verdict::Refuse(
                "lets in this account or a service of AWS's as well, which would lose the same: give them a \
                 statement of their own"
                    .to_owned(),
            );
        }
        Who::Unknown => {
            return Verdict::Refuse("names a principal whose account can't be told".to_owned());
        }
        Who::Own | Who::Foreign => {}
    }
    if let Some(pattern) = forbidden.iter().find(|action| action.contains(['*', '?'])) {
        return Verdict::Refuse(format!(
            "allows `{}`, which stands for more than the control forbids: list the actions that are needed",
            excerpt(pattern)
        ));
    }
    if forbidden.len() == actions.len() { Verdict::Remove } else { Verdict::Narrow }
}

/// How a statement is called in messages.
fn called(statement: &Value, at: usize) -> String {
    match statement.get("Sid").and_then(Value::as_str) {
        Some(sid) => format!("statement `{}`", excerpt(sid)),
        None => format!("statement {}", at + 1),
    }
}

/// The policy as it should be, with a note for each change; `None` for the policy where nothing of it is left.
fn revoked(document: &Document, own: &str) -> Result<(Option<Document>, Vec<String>), String> {
    let mut notes = Vec::new();
    let mut statements = Vec::new();
    for (at, text) in document.statements().iter().enumerate() {
        let value: Value = serde_json::from_str(text).unwrap_or_default();
        let name = called(&value, at);
        match judge(&value, own) {
            Verdict::Keep => statements.push(text.clone()),
            Verdict::Refuse(why) => return Err(format!("{name} of the bucket policy {why}")),
            Verdict::Remove => notes.push(format!("{name} is removed: it allows nothing else")),
            Verdict::Narrow => {
                let gone = |action: &Value| action.as_str().is_some_and(is_control);
                let text = narrowed(text, "Action", gone)
                    .ok_or_else(|| format!("{name} of the bucket policy can't be edited"))?;
                notes.push(format!("{name} no longer allows other accounts to change who may do what"));
                statements.push(text);
            }
        }
    }
    Ok((document.with_statements(statements), notes))
}

fn value(text: &str) -> Value {
    serde_json::from_str::<Value>(text).map(|value| normal(&value)).unwrap_or_default()
}

/// The statements that a change altered: as they were, and as it left them, if it did.
fn edits(from: &Document, to: Option<&Document>) -> Vec<(String, Option<String>)> {
    fn beside(text: &str) -> Value {
        let mut rest = value(text);
        if let Some(fields) = rest.as_object_mut() {
            fields.remove("Action");
        }
        rest
    }
    let mut left = to.map(|to| to.statements().iter()).into_iter().flatten().peekable();
    let mut edits = Vec::new();
    for before in from.statements() {
        // Order is kept: what is not there next, alike but for its actions, has been removed.
        match left.next_if(|after| beside(after) == beside(before)) {
            Some(after) if value(after) == value(before) => {}
            after => edits.push((before.clone(), after.cloned())),
        }
    }
    edits
}

impl Remediator for RevokeForeignControl {
    const SPEC: Spec = Spec {
        name: "s3.revoke_foreign_control",
        version: 1,
        controls: &["S3.6"],
        risk: Risk::Access,
        what: "Takes five actions out of those statements of the bucket policy that allow them to other accounts or \
               to everybody: deleting and replacing the policy, setting the ACLs of bucket and objects, and changing \
               the encryption. A statement that allows nothing else is removed, and the policy where no statement is \
               left. No other byte of the policy changes. Statements that allow them by a wildcard, or name this \
               account as well, are refused and named: they are for a person to split.",
        who_notices: "Other accounts that manage the bucket's policy, ACLs or encryption, and those that set ACLs on \
                      objects which they upload: they get 403. Reading and writing objects stays as it is.",
        way_back: "Puts those statements back as they were; statements that others have added or changed meanwhile \
                   stay. Refused where somebody has changed the same statement since.",
        reads: &[Action::new("s3:GetBucketPolicy", On::Resource)],
        writes: &[
            Action::new("s3:PutBucketPolicy", On::Resource),
            Action::new("s3:DeleteBucketPolicy", On::Resource),
        ],
        undo: &[],
        implied: &[],
    };
    type Resource = Bucket;
    type Params = NoParams;
    type State = Shared;

    async fn observe(aws: &Aws, at: &Bucket) -> Result<Shared> {
        let policy =
            aws.s3().get_bucket_policy().bucket(&at.name).expected_bucket_owner(&at.owner).send().await;
        let policy = policy.absent_if("NoSuchBucketPolicy")?;
        Ok(Shared {
            account: at.owner.clone(),
            policy: policy.map(|found| Policy::read(found.policy.unwrap_or_default())),
        })
    }

    fn plan(now: &Shared, _: &Ask<'_, NoParams>) -> Plan<Shared> {
        let document = match &now.policy {
            None => return Plan::Compliant,
            Some(Policy::Opaque { why, .. }) => {
                return Plan::Refuse(format!("the bucket policy can't be edited: {why}"));
            }
            Some(Policy::Document(document)) => document,
        };
        match revoked(document, &now.account) {
            Err(why) => Plan::Refuse(why),
            Ok((_, notes)) if notes.is_empty() => Plan::Compliant,
            Ok((left, mut notes)) => {
                if left.is_none() {
                    notes.push("no other statement is left: the whole policy is removed".to_owned());
                }
                let to = Shared { policy: left.map(Policy::Document), ..now.clone() };
                Plan::Change(Proposal { to, risk: Risk::Access, notes })
            }
        }
    }

    async fn apply(aws: &Aws, at: &Bucket, change: &Change<Shared>) -> Result<()> {
        if let Some(policy) = &change.to.policy {
            let request = aws.s3().put_bucket_policy().bucket(&at.name).expected_bucket_owner(&at.owner);
            request.policy(policy.text()).send().await?;
        } else {
            aws.s3().delete_bucket_policy().bucket(&at.name).expected_bucket_owner(&at.owner).send().await?;
        }
        Ok(())
    }

    fn undo(change: &Change<Shared>, now: &Shared) -> Undo<Shared> {
        let back = |policy: Option<Policy>| Undo::To {
            to: Shared { policy, ..now.clone() },
            notes: vec!["other accounts may change who may do what again".to_owned()],
        };
        if *now == change.from {
            return Undo::Nothing;
        }
        if *now == change.to {
            return back(change.from.policy.clone());
        }
        let Some(Policy::Document(from)) = &change.from.policy else { return Undo::Nothing };
        let to = match &change.to.policy {
            Some(Policy::Document(to)) => Some(to),
            _ => None,
        };
        // Where others have begun a policy anew, what is missing goes behind theirs.
        let current = match &now.policy {
            Some(Policy::Document(current)) => current,
            None => {
                return Undo::Refuse("somebody has removed the bucket policy since".to_owned());
            }
            Some(Policy::Opaque { why, .. }) => {
                return Undo::Refuse(format!("the bucket policy can't be edited: {why}"));
            }
        };
        let mut statements = current.statements().to_vec();
        let mut changed = false;
        for (before, after) in edits(from, to) {
            let place = |wanted: &str| statements.iter().position(|text| value(text) == value(wanted));
            match after {
                _ if place(&before).is_some() => {}
                None => {
                    statements.push(before);
                    changed = true;
                }
                Some(after) => {
                    let Some(found) = place(&after).and_then(|at| statements.get_mut(at)) else {
                        return Undo::Refuse(format!(
                            "somebody has changed or removed {} since",
                            called(&value(&before), 0)
                        ));
                    };
                    *found = before;
                    changed = true;
                }
            }
        }
        if changed { back(current.with_statements(statements).map(Policy::Document)) } else { Undo::Nothing }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use serde_json::json;

    use super::*;
    use crate::remediator::test::ask;

    const OWN: &str = "123456789012";

    fn state(policy: Option<&str>) -> Shared {
        Shared { account: OWN.to_owned(), policy: policy.map(|text| Policy::read(text.to_owned())) }
    }

    fn text(state: &Shared) -> Option<String> {
        state.policy.as_ref().map(Policy::text)
    }

    fn plan(now: &Shared) -> Plan<Shared> {
        RevokeForeignControl::plan(now, &ask("S3.6", &NoParams {}))
    }

    fn change(now: &Shared) -> Change<Shared> {
        let Plan::Change(change) = plan(now) else { panic!("{:?}", plan(now)) };
        assert_eq!(plan(&change.to), Plan::Compliant);
        Change { from: now.clone(), to: change.to }
    }

    fn one(principal: &Value, action: &Value) -> Shared {
        let statement =
            json!({ "Effect": "Allow", "Principal": principal, "Action": action, "Resource": "*" });
        state(Some(&json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string()))
    }

    #[test]
    fn patterns_stand_for_what_iam_says() {
        for pattern in
            ["*", "s3:*", "S3:put*", "s3:Put*Policy", "s3:PutBucketAc?", "s3:putbucketpolicy", "*Acl", "***"]
        {
            assert!(is_control(pattern), "{pattern}");
        }
        for pattern in
            ["s3:Get*", "s3:PutObject", "s3:PutObjec?", "s3:PutBucketPolicyX", "", "s3:", "?", "iam:*"]
        {
            assert!(!is_control(pattern), "{pattern}");
        }
        assert!(!is_control(&"*?".repeat(40)), "and not for what is longer than any action");
    }

    #[test]
    fn the_forbidden_actions_go_and_no_other_byte() {
        let theirs = "{ \"Version\": \"2012-10-17\",\n \"Statement\": [\n  {\"Sid\":\"a\", \"Effect\":\"Allow\",\"Principal\":{\"AWS\":[\"arn:aws:iam::210987654321:root\",\"111122223333\"]},\n   \"Act\\u0069on\" : [ \"s3:GetObject\", \"s3:PutObjectAcl\" , \"s3:putBucketPolicy\"],\"Resource\":\"*\" } , {\"Effect\":\"Deny\",\"Principal\":\"*\",\"Action\":\"s3:*\",\"Resource\":\"*\"}]}";
        let now = state(Some(theirs));
        let change = change(&now);
        assert_eq!(
            text(&change.to).unwrap(),
            theirs.replace(", \"s3:PutObjectAcl\" , \"s3:putBucketPolicy\"", "")
        );
        let Undo::To { to, .. } = RevokeForeignControl::undo(&change, &change.to) else {
            panic!("no way back")
        };
        assert_eq!(text(&to).unwrap(), theirs);
        assert_eq!(RevokeForeignControl::undo(&change, &now), Undo::Nothing);
    }

    #[test]
    fn what_lets_no_other_account_in_control_passes() {
        let put = json!("s3:PutBucketPolicy");
        for (who, what) in [
            (json!({ "AWS": OWN }), put.clone()),
            (
                json!({ "AWS": ["arn:aws:iam::123456789012:role/a", "arn:aws:sts::123456789012:assumed-role/a/b"] }),
                put.clone(),
            ),
            (json!({ "Service": "logging.s3.amazonaws.com" }), json!("s3:*")),
            (json!("*"), json!(["s3:GetObject", "s3:PutObject"])),
            (json!({ "AWS": "210987654321" }), json!("s3:Get*")),
            (json!({ "CanonicalUser": "abc" }), json!("s3:GetObject")),
        ] {
            assert_eq!(plan(&one(&who, &what)), Plan::Compliant, "{who} {what}");
        }
        assert_eq!(plan(&state(None)), Plan::Compliant);
    }

    #[test]
    fn what_a_person_must_split_is_refused() {
        let put = json!("s3:PutBucketPolicy");
        for (who, what, why) in [
            (json!({ "AWS": "210987654321" }), json!(["s3:PutObject", "s3:Put*"]), "`s3:Put*`"),
            (json!("*"), json!("*"), "`*`"),
            (json!({ "AWS": ["210987654321", OWN] }), put.clone(), "of their own"),
            (json!({ "AWS": "*", "Service": "a.amazonaws.com" }), put.clone(), "of their own"),
            (json!({ "CanonicalUser": "abc" }), put.clone(), "can't be told"),
            (json!({ "AWS": "AIDAEXAMPLE" }), put.clone(), "can't be told"),
            (json!({ "AWS": "arn:aws:iam::cloudfront:user/x" }), put.clone(), "can't be told"),
            (json!({ "AWS": [7] }), put.clone(), "can't be told"),
        ] {
            let Plan::Refuse(said) = plan(&one(&who, &what)) else { panic!("{who} {what}") };
            assert!(said.contains(why) && said.starts_with("statement 1"), "{said}");
        }
        for (field, other, why) in [
            ("Principal", "NotPrincipal", "NotPrincipal"),
            ("Action", "NotAction", "NotAction"),
            ("Resource", "Resources", "`Resources`"),
        ] {
            let now = text(&one(&json!({ "AWS": "210987654321" }), &put)).unwrap();
            let now = state(Some(&now.replace(&format!("\"{field}\""), &format!("\"{other}\""))));
            assert!(matches!(plan(&now), Plan::Refuse(said) if said.contains(why)), "{other}");
        }
        assert!(matches!(plan(&state(Some("{}"))), Plan::Refuse(_)));
    }

    #[test]
    fn a_statement_of_nothing_else_goes_and_comes_back_beside_what_others_did() {
        let (who, put) = (json!({ "AWS": "210987654321" }), json!(["s3:PutBucketPolicy", "s3:PutBucketAcl"]));
        let alone = one(&who, &put);
        let removed = change(&alone);
        assert_eq!(removed.to.policy, None);
        let Undo::To { to, .. } = RevokeForeignControl::undo(&removed, &removed.to) else {
            panic!("no way back")
        };
        assert_eq!(to, alone);

        let theirs = one(&who, &json!("s3:GetObject"));
        let Undo::To { to, .. } = RevokeForeignControl::undo(&removed, &theirs) else {
            panic!("no way back")
        };
        let (was, is, all) = (text(&alone).unwrap(), text(&theirs).unwrap(), text(&to).unwrap());
        let inner = |text: &str| text.split_once('[').unwrap().1.strip_suffix("]}").unwrap().to_owned();
        assert_eq!(inner(&all), format!("{},{}", inner(&is), inner(&was)));
        assert_eq!(RevokeForeignControl::undo(&removed, &to), Undo::Nothing);

        let narrowed = change(&one(&who, &json!(["s3:GetObject", "s3:PutBucketAcl"])));
        let other = one(&who, &json!(["s3:GetObject", "s3:ListBucket"]));
        assert!(matches!(RevokeForeignControl::undo(&narrowed, &other), Undo::Refuse(_)));
    }
}
