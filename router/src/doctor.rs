//! The function's look at itself: whether what it was configured with can be used, with its own credentials.
//!
//! `redress doctor` asks for it by a direct invocation with `{"redress":"doctor"}`. It writes nothing, and needs no
//! permission that the function does not have for its work ([`permissions`](crate::permissions)).

use std::{collections::HashMap, fmt::Display, future::Future, sync::Arc, time::Duration};

use aws_config::SdkConfig;
use aws_sdk_securityhub::types::AwsSecurityFindingFilters;
use aws_sdk_sqs::types::QueueAttributeName;
use redress_remediators::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};

use crate::{
    activity::ActivityTable,
    aws::Accounts,
    config::Config,
    guard::{Stop, StopScope},
    hub,
    rules::RuleSet,
    store::{Item, Store},
};

/// The longest that it takes, whatever does not answer.
const LONGEST: Duration = Duration::from_secs(40);

/// Roles that are tried at the same time.
const AT_ONCE: usize = 16;

/// Names what no user, run or finding is called: looked up, it is not there.
const NOBODY: &str = "doctor";

/// The check of the kill switch, by which whoever reads the report knows it.
pub const KILL_SWITCH: &str = "kill_switch";

/// What the function says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The function's version.
    pub version: String,
    /// The deployment's name, if it was told.
    pub deployment: Option<String>,
    /// The hash of its rules.
    pub rules_hash: String,
    /// How far any run goes.
    pub ceiling: String,
    /// What was tried.
    pub checks: Vec<Check>,
}

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What kind of thing.
    pub check: String,
    /// Which one.
    pub subject: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found.
    pub what: String,
    /// How to mend it.
    pub mend: Option<String>,
}

impl Check {
    fn new(check: &str, subject: impl Into<String>, found: Result<String>, mend: impl Display) -> Self {
        let (ok, what) = match found {
            Ok(what) => (true, what),
            Err(error) => (false, error.to_string()),
        };
        Self {
            check: check.to_owned(),
            subject: subject.into(),
            ok,
            what,
            mend: (!ok).then(|| mend.to_string()),
        }
    }
}

/// What the function is made of.
#[expect(missing_debug_implementations, reason = "a store has none")]
pub struct Parts<'a> {
    /// Its settings.
    pub config: &'a Config,
    /// Its rules.
    pub rules: &'a RuleSet,
    /// State and records.
    pub store: &'a dyn Store,
    /// The activity table, if there is one.
    pub activity: Option<&'a ActivityTable>,
    /// AWS, by the function's own credentials.
    pub aws: &'a SdkConfig,
    /// `aws`, `aws-cn`, …
    pub partition: &'a str,
}

/// Tries everything, and ends before the deadline.
pub async fn examine(parts: &Parts<'_>, deadline: Instant) -> Report {
    let until = deadline.min(Instant::now() + LONGEST);
    let (mut checks, tables, activity, queues, hub) = tokio::join!(
        roles(parts, until),
        tables(parts, until),
        activity(parts, until),
        queues(parts, until),
        security_hub(parts, until),
    );
    checks.extend(tables);
    checks.extend(activity);
    checks.extend(queues);
    checks.push(hub);
    Report {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        deployment: parts.config.deployment.clone(),
        rules_hash: parts.rules.hash.to_string(),
        ceiling: parts.config.ceiling.as_str().to_owned(),
        checks,
    }
}

async fn within<T>(until: Instant, trying: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| Err(Error::new(ErrorKind::Transient, "no answer in time"));
    tokio::time::timeout_at(until, trying).await.unwrap_or_else(late)
}

async fn roles(parts: &Parts<'_>, until: Instant) -> Vec<Check> {
    let config = parts.config;
    let name = config.member_role.as_ref().map(|role| role.name.clone());
    if config.member_accounts.is_empty() {
        let found = match name {
            None => Ok("the function works in its own account, by its own role".to_owned()),
            Some(_) => Err(Error::new(ErrorKind::Invalid, "REDRESS_MEMBER_ACCOUNTS names no account to try")),
        };
        return vec![Check::new(
            "role",
            "member accounts",
            found,
            "apply the deployment again, which sets it",
        )];
    }
    let accounts = Arc::new(Accounts::new(parts.aws.clone(), config.member_role.clone()));
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut trying = JoinSet::new();
    for (number, account) in config.member_accounts.iter().cloned().enumerate() {
        let (accounts, turns, partition) =
            (Arc::clone(&accounts), Arc::clone(&turns), parts.partition.to_owned());
        let subject = match &name {
            Some(name) => format!("arn:{partition}:iam::{account}:role/{name}"),
            None => format!("account {account}"),
        };
        trying.spawn(async move {
            let tried = within(until, async {
                let _turn = turns.acquire().await;
                accounts.try_account(&partition, &account, NOBODY).await
            });
            let found = tried.await.map(|()| "can be assumed".to_owned());
            let mend = format!(
                "apply modules/member in account {account} (the same name, external_id and dispatcher_role_arn), or \
                 take it out of member_accounts"
            );
            (number, Check::new("role", subject, found, mend))
        });
    }
    let mut tried = trying.join_all().await;
    tried.sort_by_key(|(number, _)| *number);
    tried.into_iter().map(|(_, check)| check).collect()
}

async fn tables(parts: &Parts<'_>, until: Instant) -> Vec<Check> {
    let Some(tables) = &parts.config.tables else {
        let found = Err(Error::new(ErrorKind::Invalid, "state and records are kept in memory only"));
        let mend = "set REDRESS_STATE_TABLE and REDRESS_AUDIT_TABLE, or apply the deployment again";
        return vec![Check::new("state_table", "none", found, mend)];
    };
    let scopes = scopes(parts);
    let keys: Vec<String> = scopes.iter().map(StopScope::key).collect();
    let (state, audit) =
        tokio::join!(within(until, parts.store.read(&keys)), within(until, parts.store.run(NOBODY)));
    let mend =
        "apply the deployment again: the table, its keys, or the function's policy is not as it made them";
    let switch = state.as_ref().ok().map(|stops| kill_switch(parts, &scopes, stops));
    let readable = || "can be read".to_owned();
    [
        Some(Check::new("state_table", &tables.state, state.map(|_| readable()), mend)),
        Some(Check::new("audit_table", &tables.audit, audit.map(|_| readable()), mend)),
        switch,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Whatever may be stopped here.
fn scopes(parts: &Parts<'_>) -> Vec<StopScope> {
    let rules = parts.rules.rules.iter().map(|rule| StopScope::Rule(rule.name().to_owned()));
    let accounts = parts.config.member_accounts.iter().cloned().map(StopScope::Account);
    [StopScope::All].into_iter().chain(rules).chain(accounts).collect()
}

fn kill_switch(parts: &Parts<'_>, scopes: &[StopScope], stops: &HashMap<String, Item>) -> Check {
    let mut said = Vec::new();
    let mut lift = Vec::new();
    let deployment = parts.config.deployment.as_deref().unwrap_or("NAME");
    for (scope, item) in scopes.iter().filter_map(|scope| Some((scope, stops.get(&scope.key())?))) {
        let (what, option) = match scope {
            StopScope::All => ("everything".to_owned(), String::new()),
            StopScope::Rule(rule) => (format!("rule `{rule}`"), format!(" --rule {rule}")),
            StopScope::Account(account) => (format!("account {account}"), format!(" --account {account}")),
        };
        said.push(match serde_json::from_value::<Stop>(item.body.clone()) {
            Ok(Stop { by, at, why }) => {
                let why = if why.is_empty() { String::new() } else { format!(": {why}") };
                format!("{what} is stopped, since {} by {by}{why}", at.strftime("%Y-%m-%d %H:%M UTC"))
            }
            Err(_) => format!("{what} is stopped (the item can't be read, so it counts)"),
        });
        lift.push(format!("redress resume --deployment {deployment}{option}"));
    }
    let found = if said.is_empty() {
        Ok("off".to_owned())
    } else {
        Err(Error::new(ErrorKind::Rejected, said.join("; ")))
    };
    Check::new(KILL_SWITCH, "stops", found, lift.join("; "))
}

async fn activity(parts: &Parts<'_>, until: Instant) -> Option<Check> {
    let (name, table) = (parts.config.activity_table.as_deref()?, parts.activity?);
    let found = within(until, table.row(NOBODY, NOBODY)).await.map(|_| "can be read".to_owned());
    let mend =
        "apply the deployment again: the table, its keys, or the function's policy is not as it made them";
    Some(Check::new("activity_table", name, found, mend))
}

async fn queues(parts: &Parts<'_>, until: Instant) -> Vec<Check> {
    let sqs = aws_sdk_sqs::Client::new(parts.aws);
    let look = async |check: &str, variable: &str, url: &Option<String>| {
        let mend = "apply the deployment again: the queue, or the function's policy is not as it made them";
        let Some(url) = url else {
            let found = Err(Error::new(ErrorKind::Invalid, format!("{variable} is not set")));
            return Check::new(check, "none", found, mend);
        };
        let asked = sqs.get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::QueueArn);
        let found = within(until, async { asked.send().await.map_err(Error::from) }).await;
        Check::new(check, url, found.map(|_| "can be reached".to_owned()), mend)
    };
    let (queue, dead) = tokio::join!(
        look("event_queue", "REDRESS_QUEUE_URL", &parts.config.queue_url),
        look("dead_letter_queue", "REDRESS_DEAD_LETTER_URL", &parts.config.dead_letter_url),
    );
    vec![queue, dead]
}

async fn security_hub(parts: &Parts<'_>, until: Instant) -> Check {
    let filters = AwsSecurityFindingFilters::builder().id(hub::equals(NOBODY)).build();
    let client = aws_sdk_securityhub::Client::new(parts.aws);
    let found = within(until, hub::findings(&client, &filters, |_| {})).await;
    let region = parts.aws.region().map(ToString::to_string).unwrap_or_default();
    let mend = format!("switch Security Hub on in Region {region} of the deployment's account");
    Check::new("security_hub", region, found.map(|_| "findings can be read".to_owned()), mend)
}
