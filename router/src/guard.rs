//! What stands between a plan and a write: kill switch, mode, risk, exemption, hold, caps.
//!
//! The items below live in the state table. Each is read fresh before the intent, in one consistent read;
//! one that can't be read stops the write.

use std::{collections::HashMap, time::Duration};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use redress_remediators::{Erased, Key, Risk};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    audit::{Asker, Stage, sha256},
    event::shown,
    rules::{ExemptBy, Limits, Mode, Rule, RuleSet},
    store::{Item, Op},
};

/// For how long a failed or denied change is not attempted again by itself.
const ATTEMPT_AGAIN: SignedDuration = SignedDuration::from_hours(24);

/// How often the automatic door may fix one resource within [`REFIX_WINDOW`], for one control or by one change, before it
/// is held.
const REFIXES: usize = 3;

/// The window of [`REFIXES`].
const REFIX_WINDOW: SignedDuration = SignedDuration::from_hours(24);

/// After how long a finding that still fails, of a resource that we see fixed, is a disagreement.
const DISAGREES_AFTER: SignedDuration = SignedDuration::from_hours(48);

/// A stop: the kill switch, for everything, one rule or one account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Who set it.
    pub by: String,
    /// Since when.
    pub at: Timestamp,
    /// Why.
    #[serde(default)]
    pub why: String,
}

/// What a stop is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopScope {
    /// Everything.
    All,
    /// One rule.
    Rule(String),
    /// The findings of one account.
    Account(String),
}

impl StopScope {
    /// The state item.
    pub fn key(&self) -> String {
        match self {
            Self::All => "stop#all".to_owned(),
            Self::Rule(rule) => format!("stop#rule#{rule}"),
            Self::Account(account) => format!("stop#account#{account}"),
        }
    }
}

/// Who is at a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lease {
    /// The run. Its intent has no outcome yet.
    pub(crate) run: String,
    /// Nobody else may take it before.
    pub(crate) until: Timestamp,
    /// What it does: remediator, parameters, verb. Who wants the same is spared the work.
    pub(crate) work: String,
    /// The memo of the event that caused it, so that its own redelivery is told from others.
    pub(crate) memo: String,
    /// The resource.
    pub(crate) resource: Key,
}

/// Why the automatic door leaves a resource alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hold {
    pub(crate) until: Timestamp,
    pub(crate) run: String,
    pub(crate) why: String,
}

/// When a remediator has fixed a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fixes {
    /// Automatic fixes within [`REFIX_WINDOW`].
    pub(crate) automatic: Vec<Fix>,
    /// The last fix for each control, by any door.
    pub(crate) last: Vec<Fix>,
}

/// One fix of a resource. A remediator may serve several controls, which may ask for the same or for something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fix {
    pub(crate) at: Timestamp,
    pub(crate) run: String,
    pub(crate) control: String,
    /// What was changed, hashed.
    pub(crate) change: String,
}

/// For how long a state that ages may go without a look. A resource that is put in order has a finding that passes,
/// which brings nobody here: that it was so in between shows only by the looks that are missing. Security Hub sends a
/// finding that fails
/// [at least once a day](https://docs.aws.amazon.com/securityhub/latest/userguide/securityhub-standards-schedule.html).
pub(crate) const UNSEEN_AT_MOST: SignedDuration = SignedDuration::from_hours(72);

/// How long a look counts before another one is kept.
const SEEN_AGAIN_AFTER: SignedDuration = SignedDuration::from_hours(6);

/// Since when a state that a remediator watches is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Since {
    pub(crate) since: Timestamp,
    /// When it was last found to be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seen: Option<Timestamp>,
}

impl Since {
    /// Whether it has been seen often enough to have been there all the time.
    pub(crate) fn holds(&self, now: Timestamp) -> bool {
        now.duration_since(self.seen.unwrap_or(self.since)) <= UNSEEN_AT_MOST
    }

    /// Whether it was seen so lately that another look need not be kept.
    pub(crate) fn is_fresh(&self, now: Timestamp) -> bool {
        self.seen.is_some_and(|seen| now.duration_since(seen) < SEEN_AGAIN_AFTER)
    }
}

/// What was decided, so that it is neither done nor told twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memo {
    /// The run that the decision is recorded under.
    pub run: String,
    /// How it ended.
    pub stage: Stage,
    /// Rule, hash of the rules, plan or reason.
    pub decision: String,
    /// The change that was attempted, hashed.
    #[serde(default)]
    pub attempt: Option<String>,
    /// When.
    pub at: Timestamp,
    /// Whether everybody who is told has been told.
    #[serde(default)]
    pub reported: bool,
}

/// The state items of one run.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) lease: String,
    pub(crate) hold: String,
    pub(crate) since: String,
    pub(crate) fixes: String,
    /// Of this event.
    pub(crate) event: String,
    /// Of the last automatic decision about this finding and resource.
    pub(crate) decision: String,
    pub(crate) stops: Vec<(String, String)>,
}

impl Keys {
    pub(crate) fn new(
        key: &Key,
        remediator: &dyn Erased,
        event: &str,
        finding: &str,
        rule: Option<&str>,
    ) -> Self {
        let name = remediator.spec().name;
        let mut stops = vec![
            (StopScope::All.key(), "everything".to_owned()),
            (StopScope::Account(key.account.clone()).key(), format!("account {}", key.account)),
        ];
        if let Some(rule) = rule {
            stops.push((StopScope::Rule(rule.to_owned()).key(), format!("rule `{rule}`")));
        }
        Self {
            lease: lease_key(key),
            hold: format!("hold#{key}#{name}"),
            since: format!("since#{key}#{name}"),
            fixes: format!("fixes#{key}#{name}"),
            event: format!("event#{}", sha256(format!("{event}\n{finding}\n{key}"))),
            decision: format!("decision#{}", sha256(format!("{finding}\n{key}"))),
            stops,
        }
    }

    /// All of them, for one read.
    pub(crate) fn all(&self) -> Vec<String> {
        let own = [&self.lease, &self.hold, &self.since, &self.fixes, &self.event, &self.decision];
        own.into_iter().chain(self.stops.iter().map(|(key, _)| key)).cloned().collect()
    }

    /// Whether runs of others have left the same behind in both: none has ended in between, nor this event in another
    /// process.
    pub(crate) fn same_past(&self, before: &HashMap<String, Item>, now: &HashMap<String, Item>) -> bool {
        let etag = |items: &HashMap<String, Item>, key| items.get(key).map(|item| item.etag.clone());
        [&self.hold, &self.fixes, &self.event].into_iter().all(|key| etag(before, key) == etag(now, key))
    }

    /// What is read again right before a write.
    pub(crate) fn stop_keys(&self) -> Vec<String> {
        self.stops.iter().map(|(key, _)| key.clone()).collect()
    }

    pub(crate) fn memo(&self, asked_by: &Asker) -> &str {
        if asked_by.is_automatic() { &self.decision } else { &self.event }
    }
}

pub(crate) fn lease_key(key: &Key) -> String {
    format!("lease#{key}")
}

/// An item as the type it was written as; `Err` where it can't be read.
pub(crate) fn read<T: DeserializeOwned>(
    items: &HashMap<String, Item>,
    key: &str,
) -> Result<Option<T>, String> {
    items
        .get(key)
        .map(|item| T::deserialize(&item.body).map_err(|error| format!("state item `{key}`: {error}")))
        .transpose()
}

/// The first stop that is on, in a line. One that can't be read is on.
pub(crate) fn stopped(items: &HashMap<String, Item>, keys: &Keys) -> Option<String> {
    keys.stops.iter().find_map(|(key, what)| match read::<Stop>(items, key) {
        Ok(None) => None,
        Ok(Some(stop)) => Some(format!(
            "stopped for {what} since {} by {}{}, until `redress resume`",
            stop.at.strftime("%Y-%m-%d %H:%M UTC"),
            shown(&stop.by),
            if stop.why.is_empty() { String::new() } else { format!(" ({})", shown(&stop.why)) },
        )),
        Err(error) => Some(format!("the kill switch can't be read, so it is on: {error}")),
    })
}

/// How far this run may go, and what lowered it.
pub(crate) fn mode(
    asked: Mode,
    asked_by: &Asker,
    rule: Option<&Rule>,
    ceiling: Mode,
) -> (Mode, Option<String>) {
    let door = rule.map(|rule| {
        if asked_by.is_automatic() {
            (rule.source.automatic, format!("rule `{}` (automatic)", rule.name()))
        } else {
            (rule.source.on_request, format!("rule `{}` (on_request)", rule.name()))
        }
    });
    let bounds = door.into_iter().chain([(ceiling, "the deployment's ceiling".to_owned())]);
    bounds.fold((asked, None), |(mode, by), (bound, name)| {
        if bound < mode {
            (bound, Some(format!("lowered to `{}` by {name}", bound.as_str())))
        } else {
            (mode, by)
        }
    })
}

/// Why a change of this risk is not made, in a line.
pub(crate) fn too_risky(risk: Risk, asked_by: &Asker, rule: &Rule) -> Option<String> {
    let allowed = rule.source.max_risk.unwrap_or_default();
    let bound = if asked_by.is_automatic() {
        allowed
    } else if allowed == Risk::Loss {
        Risk::Loss
    } else {
        Risk::Downtime
    };
    (risk > bound).then(|| match (asked_by.is_automatic(), risk) {
        (_, Risk::Loss) => format!(
            "risk `loss`: it can't be had back, and rule `{}` does not say `max_risk: loss`",
            rule.name()
        ),
        _ => format!("risk `{}` is above the rule's `max_risk: {}`", risk.as_str(), allowed.as_str()),
    })
}

/// Why the automatic door leaves the resource alone, in a line.
pub(crate) fn held(hold: Option<&Hold>, asked_by: &Asker, now: Timestamp) -> Option<String> {
    let hold = hold.filter(|hold| asked_by.is_automatic() && hold.until > now)?;
    Some(format!(
        "held until {} by run {}: {}",
        hold.until.strftime("%Y-%m-%d %H:%M UTC"),
        hold.run,
        hold.why
    ))
}

/// The counters of an automatic change, conditional on their limits.
pub(crate) fn caps(rules: &RuleSet, rule: &Rule, account: &str, now: Timestamp) -> Vec<Op> {
    let now = now.to_zoned(TimeZone::UTC);
    let windows = [("h", "%Y-%m-%dT%H", 2), ("d", "%Y-%m-%d", 48)];
    let owners = [
        (format!("rule#{}", rule.name()), rule.source.limits),
        (format!("account#{account}"), rules.account_limits),
    ];
    owners
        .into_iter()
        .flat_map(|(owner, Limits { per_hour, per_day })| {
            windows.map(|(window, format, keep)| Op::Count {
                key: format!("cap#{owner}#{window}#{}", now.strftime(format)),
                limit: if window == "h" { per_hour } else { per_day },
                expires: now.timestamp() + Duration::from_secs(keep * 3600),
            })
        })
        .collect()
}

/// A reached cap, in a line. `key` is the counter's.
pub(crate) fn cap_reached(key: &str, limit: u64) -> String {
    let mut parts = key.splitn(5, '#').skip(1);
    let (owner, name, window) = (parts.next(), parts.next(), parts.next());
    format!(
        "{} `{}` has made its {limit} automatic changes of this {}",
        owner.unwrap_or_default(),
        name.unwrap_or_default(),
        if window == Some("h") { "hour" } else { "day" },
    )
}

/// Whether the same change failed within the last day, so that it is not attempted again by itself.
pub(crate) fn failed_lately(memo: Option<&Memo>, decision: &str, attempt: &str, now: Timestamp) -> bool {
    memo.is_some_and(|memo| {
        matches!(memo.stage, Stage::Failed | Stage::Denied)
            && memo.decision.starts_with(decision)
            && memo.attempt.as_deref() == Some(attempt)
            && now.duration_since(memo.at) < ATTEMPT_AGAIN
    })
}

/// The fixes with one more, and whether it is one too many.
pub(crate) fn refixed(fixes: Option<Fixes>, fix: &Fix, automatic: bool) -> (Fixes, bool) {
    let mut fixes = fixes.unwrap_or_default();
    fixes.automatic.retain(|other| fix.at.duration_since(other.at) < REFIX_WINDOW);
    fixes.last.retain(|other| other.control != fix.control);
    fixes.last.push(fix.clone());
    if !automatic {
        return (fixes, false);
    }
    fixes.automatic.push(fix.clone());
    let again = |other: &&Fix| other.control == fix.control || other.change == fix.change;
    let too_often = fixes.automatic.iter().filter(again).count() >= REFIXES;
    (fixes, too_often)
}

/// Whether a finding that still fails contradicts what was fixed then.
pub(crate) fn disagrees(fixed: Timestamp, now: Timestamp) -> bool {
    now.duration_since(fixed) >= DISAGREES_AFTER
}

/// Whether tags of the resource are to be read.
pub(crate) fn reads_tags(rule: Option<&Rule>) -> bool {
    rule.is_some_and(|rule| rule.source.exempt_by.contains(&ExemptBy::Tag))
}

/// A short name for a JSON value, such as a change or parameters.
pub(crate) fn digest(value: &impl Serialize) -> String {
    let text = serde_json::to_string(&canonical(serde_json::to_value(value).unwrap_or_default()));
    sha256(text.unwrap_or_default())[..16].to_owned()
}

/// With the keys of every object in order, so that equal values are equal texts.
fn canonical(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().map(|(key, value)| (key, canonical(value))).collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(canonical).collect()),
        other => other,
    }
}
