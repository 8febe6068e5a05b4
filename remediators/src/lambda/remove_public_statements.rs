//! Removes the statements of a function's policy that let everybody in.

use aws_sdk_lambda::types::FunctionUrlAuthType;
use serde_json::{Map, Value, json};

use super::function::Function;
use crate::{
    Resource as _,
    document::{Policy, normal},
    prelude::*,
    public_statements::{Reach, condition, is_empty, label, reach},
    remediator::Proposal,
};

pub(crate) struct RemovePublicStatements;

/// What a rule may set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Params {
    /// Also remove statements that open the function's URL to everybody.
    function_urls: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Access {
    /// The function's ARN, with its qualifier. Read, never altered.
    function: String,
    /// The statements of its policy, in a normal form.
    statements: Vec<Value>,
    /// Why the policy can't be read, where it can't. Read, never altered.
    #[serde(default)]
    unreadable: Option<String>,
}

/// What Lambda answers where there is a function, or a version or alias of it, and no policy; of a function that is not
/// there it says another thing under the same code.
const NO_POLICY: [&str; 2] =
    ["The resource you requested does not exist.", "No policy is associated with the given resource."];

/// What Lambda answers where a call is about another revision of the policy than there is now.
const OLD_REVISION: &str = "PreconditionFailedException";

/// S3's word for itself, of which the control
/// [asks for more](https://docs.aws.amazon.com/config/latest/developerguide/lambda-function-public-access-prohibited.html)
/// than of other services: a bucket's name alone does not say whose it is.
const S3: &str = "s3.amazonaws.com";

const URL_KEYS: [&str; 2] = ["lambda:functionurlauthtype", "lambda:invokedviafunctionurl"];

/// Why a statement is one that the control takes for public; `None` where it is none.
fn public(statement: &Value, params: Params) -> Result<Option<&'static str>, String> {
    let is_s3 = statement.pointer("/Principal/Service").is_some_and(|service| service == S3);
    let Some(keys) = condition(statement) else {
        return Err("has a condition that can't be read: correct it by hand".to_owned());
    };
    let has = |key: &str| keys.iter().any(|(own, _)| own.eq_ignore_ascii_case(key));
    let of_account = keys.iter().any(|(key, fixes)| *fixes && key.eq_ignore_ascii_case("aws:SourceAccount"));
    match reach(statement) {
        Reach::Fixed if is_s3 && statement["Effect"] == "Allow" && !of_account => {
            if keys.is_empty() {
                Ok(Some("lets everybody's buckets in"))
            } else {
                Err("lets S3 in without one `aws:SourceAccount`, so that whoever gets the bucket's name gets in: add \
                     the account"
                    .to_owned())
            }
        }
        Reach::Fixed => Ok(None),
        Reach::Public => Ok(Some("lets everybody in")),
        Reach::Conditional(_) if URL_KEYS.iter().any(|key| has(key)) => {
            if params.function_urls {
                Ok(Some("opens the function's URL to everybody"))
            } else {
                Err("opens the function's URL to everybody, which may be meant; the rule can say `function_urls`"
                    .to_owned())
            }
        }
        Reach::Conditional(why) => Err(format!("lets everybody in, and {why}: correct it by hand")),
        Reach::Unclear(why) => Err(format!("may let everybody in: {why}; correct it by hand")),
    }
}

/// A statement as [`AddPermission`](https://docs.aws.amazon.com/lambda/latest/api/API_AddPermission.html) says it.
#[derive(Debug, Default, PartialEq)]
struct Permission {
    sid: String,
    action: String,
    principal: String,
    source_arn: Option<String>,
    source_account: Option<String>,
    org: Option<String>,
    token: Option<String>,
    url: Option<String>,
    by_url: bool,
}

impl Permission {
    /// The permission that makes exactly this statement of this function's policy; `None` where there is none.
    fn of(statement: &Value, function: &str) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let line = |operator: &str, key: &str| {
            let lines = statement.get("Condition")?.get(operator)?.as_object()?;
            let (_, value) = lines.iter().find(|(own, _)| own.eq_ignore_ascii_case(key))?;
            text(value)
        };
        let principal = statement.get("Principal")?;
        let found = Self {
            sid: text(statement.get("Sid")?)?,
            action: text(statement.get("Action")?)?,
            principal: text(principal).or_else(|| text(principal.get("Service")?))?,
            source_arn: line("ArnLike", "AWS:SourceArn"),
            source_account: line("StringEquals", "AWS:SourceAccount"),
            org: line("StringEquals", "aws:PrincipalOrgID"),
            token: line("StringEquals", "lambda:EventSourceToken"),
            url: line("StringEquals", "lambda:FunctionUrlAuthType"),
            by_url: line("Bool", "lambda:InvokedViaFunctionUrl").is_some_and(|so| so == "true"),
        };
        let is_same = lower_keys(&found.statement(function)) == lower_keys(&normal(statement));
        is_same.then_some(found)
    }

    /// The statement that Lambda makes of it.
    fn statement(&self, function: &str) -> Value {
        let principal = if self.principal == "*" { json!("*") } else { json!({ "Service": self.principal }) };
        let mut statement = json!({
            "Sid": self.sid,
            "Effect": "Allow",
            "Principal": principal,
            "Action": self.action,
            "Resource": function,
        });
        let mut conditions = Map::new();
        let by_url = self.by_url.then(|| "true".to_owned());
        for (operator, key, value) in [
            ("ArnLike", "AWS:SourceArn", &self.source_arn),
            ("StringEquals", "AWS:SourceAccount", &self.source_account),
            ("StringEquals", "aws:PrincipalOrgID", &self.org),
            ("StringEquals", "lambda:EventSourceToken", &self.token),
            ("StringEquals", "lambda:FunctionUrlAuthType", &self.url),
            ("Bool", "lambda:InvokedViaFunctionUrl", &by_url),
        ] {
            if let Some(value) = value {
                let lines = conditions.entry(operator).or_insert_with(|| json!({}));
                lines[key] = json!(value);
            }
        }
        if !conditions.is_empty() {
            statement["Condition"] = Value::Object(conditions);
        }
        statement
    }
}

/// A statement whose condition keys are in lower case, which is all the same to AWS.
fn lower_keys(statement: &Value) -> Value {
    let mut statement = statement.clone();
    if let Some(operators) = statement.get_mut("Condition").and_then(Value::as_object_mut) {
        for lines in operators.values_mut().filter_map(Value::as_object_mut) {
            *lines = std::mem::take(lines)
                .into_iter()
                .map(|(key, value)| (key.to_ascii_lowercase(), value))
                .collect();
        }
    }
    statement
}

fn sid(statement: &Value) -> &str {
    statement.get("Sid").and_then(Value::as_str).unwrap_or_default()
}

/// Those of `these` that `others` lacks.
fn beyond<'a>(these: &'a [Value], others: &[Value]) -> Vec<&'a Value> {
    these.iter().filter(|one| !others.contains(one)).collect()
}

/// The policy as it is now, and which revision of it that is, where Lambda says so.
async fn read(aws: &Aws, at: &Function) -> Result<(Access, Option<String>)> {
    let found = aws.lambda().get_policy().function_name(&at.name).send().await;
    let (policy, revision) = match found.map_err(Error::from) {
        Ok(found) => (found.policy, found.revision_id),
        Err(error) if NO_POLICY.iter().any(|text| error.message.contains(text)) => (None, None),
        Err(error) => return Err(error),
    };
    let function = aws.key().fill(Function::KIND.arn);
    let mut state = Access { function, statements: Vec::new(), unreadable: None };
    match policy.map(Policy::read) {
        None => {}
        Some(Policy::Document(document)) => {
            state.statements = document.values().iter().map(normal).collect();
            state.statements.sort_by_cached_key(Value::to_string);
        }
        // The last statement may leave an empty policy behind.
        Some(Policy::Opaque { text, .. }) if is_empty(&text) => {}
        Some(Policy::Opaque { why, .. }) => state.unreadable = Some(why),
    }
    Ok((state, revision))
}

/// Whether this very statement stands in the policy. Lambda removes and adds by name alone, so another one of the same
/// name is a reason to do neither.
fn stands(now: &Access, statement: &Value) -> Result<bool> {
    let drifted = |why: String| Err(Error::new(ErrorKind::Drifted, why));
    if let Some(why) = &now.unreadable {
        return drifted(format!("the function's policy can't be read any more: {why}"));
    }
    match now.statements.iter().find(|other| sid(other) == sid(statement)) {
        None => Ok(false),
        Some(other) if lower_keys(other) == lower_keys(statement) => Ok(true),
        Some(_) => {
            let label = label(statement, 0);
            drifted(format!("{label} is not as it was when the change was planned"))
        }
    }
}

/// Passes over the error of a call that had done its work before, where the answer to a first try was lost: the
/// statement is gone, or there, as it is to be. `revision` is what the call was to be about.
async fn settled(
    aws: &Aws,
    at: &Function,
    called: Result<()>,
    statement: &Value,
    there: bool,
    revision: Option<&str>,
) -> Result<()> {
    let Err(error) = called else { return Ok(()) };
    let code = if there { "ResourceConflictException" } else { "ResourceNotFoundException" };
    let is_old = error.code.as_deref() == Some(OLD_REVISION);
    if !is_old && error.code.as_deref() != Some(code) {
        return Err(error);
    }
    let (now, found) = read(aws, at).await?;
    if stands(&now, statement)? == there {
        return Ok(());
    }
    Err(match found.as_deref() {
        _ if !is_old => error,
        // What is read lags behind what is there, as it may after this run's own last call.
        found if found == revision => Error { kind: ErrorKind::Transient, ..error },
        _ => Error { kind: ErrorKind::Drifted, ..error },
    })
}

impl Remediator for RemovePublicStatements {
    const SPEC: Spec = Spec {
        name: "lambda.remove_public_statements",
        version: 1,
        controls: &["Lambda.1"],
        risk: Risk::Loss,
        what: "Removes those statements from the function's policy that let everybody in: that allow the principal \
               `*` without a condition, or S3 without saying for which account. Others stay. Statements that open \
               the function's URL to everybody are refused unless the rule says `function_urls`; those of a \
               condition that does not fix who it is are refused.",
        who_notices: "Whoever invokes the function by such a statement alone: callers of other accounts, buckets that \
                      notify it, and with `function_urls` everybody who calls its URL. Roles and users of the \
                      function's own account keep what their own policies allow.",
        way_back: "Adds the same statements again. Where Lambda has no way to say one exactly, the plan's risk is \
                   `loss` and says so, and undo puts back the others. Refused where somebody has made another \
                   statement of the same name since.",
        reads: &[Action::new("lambda:GetPolicy", On::Resource)],
        writes: &[Action::new("lambda:RemovePermission", On::Resource)],
        undo: &[Action::new("lambda:AddPermission", On::Resource)],
        implied: &[],
    };
    type Resource = Function;
    type Params = Params;
    type State = Access;

    async fn observe(aws: &Aws, at: &Function) -> Result<Access> {
        let (state, _) = read(aws, at).await?;
        Ok(state)
    }

    fn plan(now: &Access, ask: &Ask<'_, Params>) -> Plan<Access> {
        if let Some(why) = &now.unreadable {
            return Plan::Refuse(format!("the function's policy can't be read: {why}"));
        }
        let (mut kept, mut notes, mut risk) = (Vec::new(), Vec::new(), Risk::Access);
        for (index, statement) in now.statements.iter().enumerate() {
            let label = label(statement, index);
            match public(statement, *ask.params) {
                Err(why) => return Plan::Refuse(format!("{label} {why}")),
                Ok(None) => kept.push(statement.clone()),
                Ok(Some(_)) if sid(statement).is_empty() => {
                    return Plan::Refuse(format!("{label} has no `Sid` by which Lambda could remove it"));
                }
                Ok(Some(what)) => {
                    notes.push(format!("{label} goes, which {what}"));
                    if Permission::of(statement, &now.function).is_none() {
                        risk = Risk::Loss;
                        notes.push(format!("Lambda has no way to add {label} again as it is"));
                    }
                }
            }
        }
        if notes.is_empty() {
            return Plan::Compliant;
        }
        Plan::Change(Proposal { to: Access { statements: kept, ..now.clone() }, risk, notes })
    }

    async fn apply(aws: &Aws, at: &Function, change: &Change<Access>) -> Result<()> {
        let Change { from, to } = change;
        // Each call makes another revision, which it does not tell.
        for statement in beyond(&from.statements, &to.statements) {
            let (now, revision) = read(aws, at).await?;
            if !stands(&now, statement)? {
                continue;
            }
            let request = aws.lambda().remove_permission().function_name(&at.name);
            let request = request.statement_id(sid(statement)).set_revision_id(revision.clone());
            let called = request.send().await.map(drop).map_err(Error::from);
            settled(aws, at, called, statement, false, revision.as_deref()).await?;
        }
        for statement in beyond(&to.statements, &from.statements) {
            let Some(permission) = Permission::of(statement, &to.function) else {
                return Err(Error::new(ErrorKind::Invalid, "Lambda has no way to add this statement"));
            };
            let (now, revision) = read(aws, at).await?;
            if stands(&now, statement)? {
                continue;
            }
            let request = aws.lambda().add_permission().function_name(&at.name);
            let request = request
                .set_revision_id(revision.clone())
                .statement_id(permission.sid)
                .action(permission.action)
                .principal(permission.principal)
                .set_source_arn(permission.source_arn)
                .set_source_account(permission.source_account)
                .set_principal_org_id(permission.org)
                .set_event_source_token(permission.token)
                .set_function_url_auth_type(permission.url.as_deref().map(FunctionUrlAuthType::from))
                .set_invoked_via_function_url(permission.by_url.then_some(true));
            let called = request.send().await.map(drop).map_err(Error::from);
            settled(aws, at, called, statement, true, revision.as_deref()).await?;
        }
        Ok(())
    }

    fn undo(change: &Change<Access>, now: &Access) -> Undo<Access> {
        if let Some(why) = &now.unreadable {
            return Undo::Refuse(format!("the function's policy can't be read: {why}"));
        }
        let removed = beyond(&change.from.statements, &change.to.statements);
        let are_back = removed.iter().any(|one| now.statements.contains(one));
        let (mut statements, mut notes) = (now.statements.clone(), Vec::new());
        for (index, statement) in removed.into_iter().filter(|one| !now.statements.contains(one)).enumerate()
        {
            let label = label(statement, index);
            if now.statements.iter().any(|other| sid(other) == sid(statement)) {
                return Undo::Refuse(format!("somebody has made another {label} since"));
            }
            if Permission::of(statement, &now.function).is_some() {
                statements.push(statement.clone());
            } else {
                notes.push(format!("Lambda has no way to add {label} again as it was"));
            }
        }
        if statements.len() > now.statements.len() {
            statements.sort_by_cached_key(Value::to_string);
            Undo::To { to: Access { statements, ..now.clone() }, notes }
        } else if notes.is_empty() || are_back {
            // What Lambda can't say stays away: the plan has said so.
            Undo::Nothing
        } else {
            Undo::Refuse(notes.join("; "))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::{raw::test::Wire, remediator::test::ask};

    const ARN: &str = "arn:aws:lambda:eu-west-1:123456789012:function:resize";

    fn statement(sid: &str, principal: Value, condition: Value) -> Value {
        let mut made =
            json!({ "Sid": sid, "Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": ARN });
        made["Principal"] = principal;
        if condition != json!({}) {
            made["Condition"] = condition;
        }
        made
    }

    fn s3(condition: Value) -> Value {
        statement("s3", json!({ "Service": "s3.amazonaws.com" }), condition)
    }

    fn url() -> Value {
        statement("url", json!("*"), json!({ "StringEquals": { "lambda:FunctionUrlAuthType": "NONE" } }))
    }

    fn state(statements: &[Value]) -> Access {
        let mut statements: Vec<Value> = statements.iter().map(normal).collect();
        statements.sort_by_cached_key(Value::to_string);
        Access { function: ARN.to_owned(), statements, unreadable: None }
    }

    fn plan(now: &Access, function_urls: bool) -> Plan<Access> {
        RemovePublicStatements::plan(now, &ask("Lambda.1", &Params { function_urls }))
    }

    fn account() -> Value {
        json!({ "StringEquals": { "AWS:SourceAccount": "123456789012" } })
    }

    #[test]
    fn what_is_public_goes_and_the_rest_stays() {
        let kept = [
            statement("partner", json!({ "AWS": "arn:aws:iam::210987654321:root" }), json!({})),
            statement("events", json!({ "Service": "events.amazonaws.com" }), json!({})),
            statement("org", json!("*"), json!({ "StringEquals": { "aws:PrincipalOrgID": "o-0123456789" } })),
            s3(account()),
        ];
        assert_eq!(plan(&state(&kept), false), Plan::Compliant);
        assert_eq!(plan(&state(&[]), false), Plan::Compliant);
        for public in [
            statement("all", json!("*"), json!({})),
            statement("s3-all", s3(json!({}))["Principal"].clone(), json!({})),
        ] {
            let now = state(&[&kept[..], std::slice::from_ref(&public)].concat());
            let Plan::Change(change) = plan(&now, false) else { panic!("{public}") };
            assert_eq!((&change.to, change.risk), (&state(&kept), Risk::Access));
            assert_eq!(change.notes.len(), 1, "{:?}", change.notes);
            assert_eq!(plan(&change.to, false), Plan::Compliant);
            let change = Change { from: now.clone(), to: change.to };
            assert!(
                matches!(RemovePublicStatements::undo(&change, &change.to), Undo::To { to, .. } if to == now)
            );
            assert_eq!(RemovePublicStatements::undo(&change, &now), Undo::Nothing);
        }
    }

    #[test]
    fn what_may_be_meant_is_refused() {
        let refused = |statement: Value, reason: &str| {
            let plan = plan(&state(std::slice::from_ref(&statement)), false);
            assert!(matches!(&plan, Plan::Refuse(why) if why.contains(reason)), "{statement}: {plan:?}");
        };
        refused(url(), "`function_urls`");
        refused(s3(json!({ "ArnLike": { "AWS:SourceArn": "arn:aws:s3:::uploads" } })), "`aws:SourceAccount`");
        refused(statement("x", json!("*"), json!({ "Bool": { "aws:SecureTransport": "true" } })), "by hand");
        refused(statement("x", json!({ "AWS": ["*", "1"] }), json!({})), "by hand");
        refused(statement("", json!("*"), json!({})), "no `Sid`");
        assert!(matches!(plan(&state(&[url()]), true), Plan::Change(change) if change.to == state(&[])));
        let unreadable = Access { unreadable: Some("EOF".to_owned()), ..state(&[]) };
        assert!(matches!(plan(&unreadable, true), Plan::Refuse(why) if why.contains("EOF")));
    }

    #[test]
    fn a_statement_that_lambda_cannot_say_is_a_loss_and_says_so() {
        let mut odd = statement("odd", json!("*"), json!({}));
        odd["Action"] = json!(["lambda:InvokeFunction", "lambda:GetFunction"]);
        let all = statement("all", json!("*"), json!({}));
        let now = state(&[odd.clone(), all.clone()]);
        let Plan::Change(change) = plan(&now, false) else { panic!() };
        assert_eq!(change.risk, Risk::Loss);
        assert!(change.notes.iter().any(|note| note.contains("no way to add statement `odd`")));
        let change = Change { from: now, to: change.to };
        let Undo::To { to, notes } = RemovePublicStatements::undo(&change, &change.to) else { panic!() };
        assert_eq!((to, notes.len()), (state(std::slice::from_ref(&all)), 1));
        assert_eq!(RemovePublicStatements::undo(&change, &state(&[all])), Undo::Nothing);
        let alone = Change { from: state(&[odd]), to: state(&[]) };
        assert!(matches!(RemovePublicStatements::undo(&alone, &alone.to), Undo::Refuse(_)));
    }

    #[test]
    fn undo_leaves_what_others_made() {
        let all = statement("all", json!("*"), json!({}));
        let change = Change { from: state(std::slice::from_ref(&all)), to: state(&[]) };
        let undo = |now: &[Value]| RemovePublicStatements::undo(&change, &state(now));
        let both = [all.clone(), s3(account())];
        assert!(matches!(undo(&[s3(account())]), Undo::To { to, .. } if to == state(&both)));
        assert_eq!(undo(&both), Undo::Nothing);
        let namesake = statement("all", json!({ "Service": "events.amazonaws.com" }), json!({}));
        assert!(matches!(undo(&[namesake]), Undo::Refuse(why) if why.contains("`all`")));
    }

    const GET: &str = "GET /2015-03-31/functions/resize/policy ";
    const REMOVE: &str = "DELETE /2015-03-31/functions/resize/policy/all";
    const ADD: &str = "POST /2015-03-31/functions/resize/policy ";

    /// What the policy is answered with: these statements, or that there is none.
    fn answered(wire: &Wire, statements: &[Value], revision: Option<&str>) {
        if statements.is_empty() {
            let none = json!({ "__type": "ResourceNotFoundException", "Message": NO_POLICY[0] });
            return wire.answer(GET, (404, Vec::new(), none.to_string()));
        }
        let policy = json!({ "Version": "2012-10-17", "Id": "default", "Statement": statements }).to_string();
        let mut answer = json!({ "Policy": policy });
        if let Some(revision) = revision {
            answer["RevisionId"] = json!(revision);
        }
        wire.answer(GET, (200, Vec::new(), answer.to_string()));
    }

    fn resize() -> Function {
        Function { name: "resize".to_owned() }
    }

    /// The writes that were sent, each with its address and its body.
    fn writes(wire: &Wire) -> Vec<String> {
        let sent = wire.sent().into_iter().filter(|sent| sent.method != "GET");
        sent.map(|sent| format!("{} {}", sent.uri, sent.body)).collect()
    }

    /// What becomes of a change, or of its way back, on what the wire shows.
    async fn applied(wire: &Wire, from: &[Value], to: &[Value]) -> Result<()> {
        let aws = wire.aws(&RemovePublicStatements, crate::Access::Undo);
        let change = Change { from: state(from), to: state(to) };
        RemovePublicStatements::apply(&aws, &resize(), &change).await
    }

    #[tokio::test]
    async fn a_statement_is_removed_from_the_revision_that_was_read() {
        let all = [statement("all", json!("*"), json!({}))];
        for (revision, query) in [(Some("r-1"), "?RevisionId=r-1"), (None, "")] {
            let wire = Wire::default();
            wire.answer(REMOVE, (204, Vec::new(), String::new()));
            answered(&wire, &all, revision);
            applied(&wire, &all, &[]).await.unwrap();
            let sent = writes(&wire);
            assert_eq!(sent.len(), 1, "{sent:?}");
            assert_eq!(sent[0].trim_end(), format!("/2015-03-31/functions/resize/policy/all{query}"));
        }
    }

    #[tokio::test]
    async fn a_statement_is_added_to_the_revision_that_was_read() {
        let (all, own) = (statement("all", json!("*"), json!({})), s3(account()));
        for beside in [&[own][..], &[]] {
            let wire = Wire::default();
            wire.answer(ADD, (201, Vec::new(), "{}".to_owned()));
            answered(&wire, beside, Some("r-1"));
            applied(&wire, &[], std::slice::from_ref(&all)).await.unwrap();
            let sent = writes(&wire);
            assert_eq!(sent.len(), 1, "{sent:?}");
            assert!(sent[0].contains(r#""StatementId":"all""#), "{sent:?}");
            assert_eq!(sent[0].contains(r#""RevisionId":"r-1""#), !beside.is_empty(), "{sent:?}");
        }
    }

    #[tokio::test]
    async fn another_statement_of_the_name_is_neither_removed_nor_added_to() {
        let (all, own) = (statement("all", json!("*"), json!({})), s3(account()));
        let corrected = statement("all", json!({ "Service": "events.amazonaws.com" }), json!({}));
        let wire = Wire::default();
        answered(&wire, &[corrected, own.clone()], Some("r-2"));
        for (from, to) in
            [(vec![all.clone(), own.clone()], vec![own.clone()]), (Vec::new(), vec![all.clone()])]
        {
            let error = applied(&wire, &from, &to).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Drifted, "{error}");
            assert!(error.message.contains("statement `all` is not as it was"), "{error}");
        }
        let unreadable = json!({ "Policy": "{" }).to_string();
        wire.answer(GET, (200, Vec::new(), unreadable));
        let error = applied(&wire, std::slice::from_ref(&all), &[]).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Drifted, "{error}");
        // What is as it is to be is left alone.
        answered(&wire, std::slice::from_ref(&own), Some("r-2"));
        applied(&wire, &[all.clone(), own.clone()], std::slice::from_ref(&own)).await.unwrap();
        answered(&wire, std::slice::from_ref(&all), Some("r-2"));
        applied(&wire, &[], &[all]).await.unwrap();
        assert_eq!(writes(&wire), Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_call_about_an_old_revision_is_drift_unless_its_work_is_done() {
        let all = statement("all", json!("*"), json!({}));
        let wire = Wire::default();
        let old = json!({ "__type": OLD_REVISION, "Message": "m" }).to_string();
        wire.answer(REMOVE, (412, Vec::new(), old));
        answered(&wire, std::slice::from_ref(&all), Some("r-1"));
        // The wire goes on to show the revision that was refused.
        let lagging = applied(&wire, std::slice::from_ref(&all), &[]).await.unwrap_err();
        assert_eq!(lagging.kind, ErrorKind::Transient, "{lagging}");
        assert_eq!(writes(&wire).len(), 1);

        let aws = wire.aws(&RemovePublicStatements, crate::Access::Undo);
        let refused = |code: &str| {
            Err(Error { code: Some(code.to_owned()), ..Error::new(ErrorKind::Rejected, "refused") })
        };
        let corrected = statement("all", json!({ "Service": "events.amazonaws.com" }), json!({}));
        let (one, other) = (std::slice::from_ref(&all), std::slice::from_ref(&corrected));
        for (code, now, there, expected) in [
            (OLD_REVISION, &[][..], false, None),
            (OLD_REVISION, one, true, None),
            (OLD_REVISION, one, false, Some(ErrorKind::Drifted)),
            (OLD_REVISION, &[], true, Some(ErrorKind::Drifted)),
            (OLD_REVISION, other, false, Some(ErrorKind::Drifted)),
            (OLD_REVISION, other, true, Some(ErrorKind::Drifted)),
            ("ResourceNotFoundException", &[], false, None),
            ("ResourceNotFoundException", one, false, Some(ErrorKind::Rejected)),
            ("ResourceConflictException", one, true, None),
            ("ResourceConflictException", &[], true, Some(ErrorKind::Rejected)),
            ("ResourceConflictException", &[], false, Some(ErrorKind::Rejected)),
        ] {
            answered(&wire, now, Some("r-2"));
            let done = settled(&aws, &resize(), refused(code), &normal(&all), there, Some("r-1")).await;
            assert_eq!(done.err().map(|error| error.kind), expected, "{code}, {now:?}, {there}");
        }
    }

    #[test]
    fn permissions_make_the_statements_that_they_were_read_from() {
        for statement in [
            statement("all", json!("*"), json!({})),
            statement("all", json!({ "AWS": "*" }), json!({})),
            url(),
            statement("via", json!("*"), json!({ "Bool": { "lambda:InvokedViaFunctionUrl": true } })),
            s3(
                json!({ "ArnLike": { "aws:SourceArn": "arn:aws:s3:::uploads" }, "StringEquals": { "AWS:SourceAccount": "1" } }),
            ),
            statement("org", json!("*"), json!({ "StringEquals": { "aws:PrincipalOrgID": "o-0123456789" } })),
            statement(
                "alexa",
                json!({ "Service": "a.b.c" }),
                json!({ "StringEquals": { "lambda:EventSourceToken": "t" } }),
            ),
        ] {
            assert!(Permission::of(&normal(&statement), ARN).is_some(), "{statement}");
            assert_eq!(Permission::of(&normal(&statement), "arn:aws:lambda:::function:other"), None);
        }
        for statement in [
            statement("x", json!("*"), json!({ "Bool": { "aws:SecureTransport": "true" } })),
            statement("x", json!({ "AWS": "arn:aws:iam::123456789012:root" }), json!({})),
            statement("x", json!("*"), json!({ "StringLike": { "aws:PrincipalOrgID": "o-0123456789" } })),
            statement("x", json!("*"), json!({ "StringEquals": { "aws:PrincipalOrgID": ["a", "b"] } })),
        ] {
            assert_eq!(Permission::of(&normal(&statement), ARN), None, "{statement}");
        }
    }
}
