//! The way of one finding, from top to bottom:
//!
//! ```text
//! authenticate ─► route ─► locate ─► observe ─► plan ─► guard ─► [dry run: record and stop]
//!     ─► lease + intent (one commit) ─► observe again ─► apply ─► observe until settled ─► outcome
//! ```
//!
//! No step knows the door through which the finding came, save for who asked. Decoding comes before
//! ([`crate::event`]), telling people after ([`crate::report`]).

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use redress_remediators::{
    Access, Aws, BoxFuture, Call, Change, Connection, Disposition, Erased, Error, ErrorKind, Key, Plan,
    Proposal, RawAsk, Risk, Sighting, Undo,
};
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::{
    audit::{Asker, FindingRef, Record, Stage, Subject, Verb, verify_run},
    event::shown,
    exemption::{self, Found},
    finding::{Finding, Note},
    guard::{self, Fixes, Hold, Keys, Lease, Memo, Since, digest, lease_key},
    rules::{ExemptBy, Mode, Rule, RuleSet},
    store::{Commit, CommitError, Expect, Index, Item, Op, Store},
};

/// How many resources of one finding are handled. AWS sends
/// [at most 32](https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_AwsSecurityFinding.html).
const MOST_RESOURCES: usize = 32;

/// A lease outlives its holder's deadline by this: by then the process has been ended.
const LEASE_AFTER_DEADLINE: Duration = Duration::from_secs(60);

/// The longest record that is stored, in bytes of JSON. A DynamoDB item holds
/// [400 KB](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html); a policy
/// that large compresses well below it.
const LONGEST_RECORD: usize = 1 << 20;

/// When to look again at what passes by itself. The queue doubles it.
const SOON: Duration = Duration::from_secs(20);

/// How often a request starts over because it had to settle what another left.
const MOST_STARTS: usize = 3;

/// How many runs of a resource are looked through for the one to undo.
const UNDO_HORIZON: usize = 200;

/// What the engine is given once.
pub struct Engine {
    /// Every remediator it may use.
    pub registry: &'static [&'static dyn Erased],
    /// The rules.
    pub rules: RuleSet,
    /// State and records.
    pub store: Arc<dyn Store>,
    /// The way into accounts.
    pub connect: Arc<dyn Connect>,
    /// The deployment's limits.
    pub settings: Settings,
    /// The time. Runs take theirs from here, so that tests can let days pass.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

/// The deployment's limits.
#[derive(Clone, Debug)]
pub struct Settings {
    /// No run goes further, whatever rules and people say.
    pub ceiling: Mode,
    /// `aws`, `aws-cn`, …: findings of others are refused.
    pub partition: String,
    /// No write begins with less time than this left: it must be seen settled.
    pub time_to_verify: Duration,
    /// How long a change is looked for before the event goes back to its queue.
    pub settle: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ceiling: Mode::Plan,
            partition: "aws".to_owned(),
            time_to_verify: Duration::from_secs(5),
            settle: Duration::from_secs(45),
        }
    }
}

/// The way into accounts: credentials narrowed to one remediator, one resource, one access.
pub trait Connect: Send + Sync {
    /// A connection for one run. `region` is where a resource without one is called from.
    fn connect<'a>(&'a self, to: &'a Purpose<'a>) -> BoxFuture<'a, Result<Connection, Error>>;

    /// The parameters of a control in Security Hub, in the account and Region of a connection.
    fn control_params<'a>(
        &'a self,
        connection: &'a Connection,
        control: &'a str,
    ) -> BoxFuture<'a, Result<Option<BTreeMap<String, Vec<String>>>, Error>>;
}

/// What a connection is for.
pub struct Purpose<'a> {
    /// The resource.
    pub key: &'a Key,
    /// The Region to call from.
    pub region: &'a str,
    /// What will be done.
    pub remediator: &'a dyn Erased,
    /// How far.
    pub access: Access,
    /// The run; part of the session's name, so that CloudTrail leads back to the record.
    pub run: &'a str,
    /// Whether Security Hub is asked for the control's parameters as well.
    pub control_params: bool,
}

/// One finding, and what is asked of it.
#[derive(Clone, Debug)]
pub struct Request {
    /// The finding.
    pub finding: Finding,
    /// What is asked.
    pub verb: Verb,
    /// By whom.
    pub asked_by: Asker,
    /// The event's id, or what stands for one on the command line.
    pub event: String,
    /// The one rule that may answer: a rule's own custom action.
    pub only_rule: Option<String>,
    /// The one resource that is meant; `None` for all of the finding.
    pub only_resource: Option<Key>,
    /// The change that was agreed to. Anything else is refused.
    pub agreed: Option<Change<Value>>,
    /// When the process will be ended.
    pub deadline: Instant,
    /// Whether nothing is to be written, whatever is asked.
    pub dry_run: bool,
    /// Whether outcomes are stored. A dry run on the command line leaves no trace.
    pub record: bool,
}

/// A finding that never became one, and why.
#[derive(Clone, Debug)]
pub struct Dismissed<'a> {
    /// What names it to Security Hub.
    pub finding: FindingRef,
    /// The event's id.
    pub event: &'a str,
    /// Who asked.
    pub asked_by: Asker,
    /// What was asked.
    pub verb: Verb,
    /// The account that received the event.
    pub account: &'a str,
    /// The Region that received the event.
    pub region: &'a str,
    /// Skipped or refused.
    pub stage: Stage,
    /// Why, in a line.
    pub why: &'a str,
}

/// How a run ended, for whoever is told.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The run.
    pub run: String,
    /// How it ended.
    pub stage: Stage,
    /// What it was about.
    pub subject: Subject,
    /// Why, in a line.
    pub reason: Option<String>,
    /// The change that was made, or would be.
    pub change: Option<Change<Value>>,
    /// What was seen at the end.
    pub after: Option<Value>,
    /// The worst that can come of it.
    pub risk: Option<Risk>,
    /// What else to know.
    pub notes: Vec<String>,
    /// The kind of failure, where there was one.
    pub error: Option<ErrorKind>,
    /// AWS's error code.
    pub error_code: Option<String>,
    /// The finding's title, for people. Untrusted.
    pub title: String,
    /// The note that stands on the finding.
    pub note: Option<Note>,
    /// The user-defined fields that stand on the finding.
    pub fields: BTreeMap<String, String>,
    /// Whether the workflow is still NEW.
    pub workflow_new: bool,
    /// When it was decided.
    pub time: Timestamp,
    /// The memo to mark once everybody is told, with its etag; `None` where nothing was stored.
    pub memo: Option<(String, Memo)>,
    /// An alarm to raise, such as a hold for too many fixes.
    pub alarm: Option<&'static str>,
}

/// What came of one resource of a request.
#[derive(Clone, Debug)]
pub enum Done {
    /// It ended.
    Outcome(Box<Outcome>),
    /// It ended as it did before; nobody is told again.
    Repeat {
        /// How it ended.
        stage: Stage,
        /// Why, in a line.
        reason: String,
    },
    /// Nobody wants this finding handled.
    Unwanted(String),
    /// Give the event back to its queue.
    Retry {
        /// Not before.
        after: Duration,
        /// Why, in a line.
        why: String,
        /// The kind of failure, where there was one.
        error: Option<ErrorKind>,
    },
}

/// A run on one resource, from its plan to its outcome.
struct Run<'e> {
    engine: &'e Engine,
    request: Option<&'e Request>,
    id: String,
    subject: Subject,
    key: Key,
    remediator: &'static dyn Erased,
    rule: Option<&'e Rule>,
    goal: Goal,
    keys: Keys,
    items: HashMap<String, Item>,
    deadline: Instant,
    started: Timestamp,
    since: Option<Timestamp>,
    /// The chain so far: the number and hash of the last record.
    chain: (u32, String),
    /// The lease's etag, once it is ours.
    lease: Option<String>,
    /// The state before the first intent, if this run goes on where another left off.
    origin: Option<Value>,
    recorded_calls: usize,
}

/// What a run is to reach.
#[derive(Clone, Debug)]
enum Goal {
    Fix,
    Undo(Change<Value>),
}

/// Why a run ends before its goal.
enum Stop {
    Stage {
        stage: Stage,
        reason: String,
        error: Option<Error>,
    },
    /// What stood in the way is gone: start over.
    Again,
    Retry {
        after: Duration,
        why: String,
        error: Option<ErrorKind>,
    },
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        let reason = shown(&error.message);
        match (error.disposition(), error.kind) {
            (Disposition::Retry, kind) => Self::Retry { after: SOON, why: reason, error: Some(kind) },
            (Disposition::Close, _) => Self::Stage {
                stage: Stage::Skipped,
                reason: format!("the resource does not exist: {reason}"),
                error: Some(error),
            },
            (Disposition::Escalate, ErrorKind::Denied) => {
                Self::Stage { stage: Stage::Denied, reason, error: Some(error) }
            }
            (Disposition::Escalate, ErrorKind::Invalid) => {
                Self::Stage { stage: Stage::Refused, reason, error: Some(error) }
            }
            (Disposition::Escalate, _) => Self::Stage { stage: Stage::Failed, reason, error: Some(error) },
        }
    }
}

impl Stop {
    fn stage(stage: Stage, reason: impl Into<String>) -> Self {
        Self::Stage { stage, reason: reason.into(), error: None }
    }

    fn retry(after: Duration, why: impl Into<String>) -> Self {
        Self::Retry { after, why: why.into(), error: None }
    }
}

impl Engine {
    /// Handles one finding: one result for each of its resources, at least one in all.
    pub async fn handle(&self, request: &Request) -> Vec<Done> {
        let finding = &request.finding;
        let automatic = request.asked_by.is_automatic();
        let mut subject = self.subject(request);
        let at_large = Key {
            partition: finding.partition.clone(),
            account: finding.account.clone(),
            region: finding.region.clone(),
            kind: "Finding".to_owned(),
            id: finding.id.clone(),
        };

        // authenticate
        if let Err(forged) = finding.authenticity() {
            return vec![self.refuse(request, subject, &at_large, &forged.to_string()).await];
        }
        if finding.partition != self.settings.partition {
            let why = format!("partition `{}` is not this deployment's", finding.partition.escape_debug());
            return vec![self.refuse(request, subject, &at_large, &why).await];
        }
        if request.verb != Verb::Undo
            && let Err(ignored) = finding.actionable(automatic)
        {
            if automatic {
                return vec![Done::Unwanted(ignored.to_string())];
            }
            return vec![self.close(request, subject, &at_large, Stage::Skipped, &ignored.to_string()).await];
        }

        // route
        let (remediator, rule) = match self.route(request) {
            Ok(Some(routed)) => routed,
            Ok(None) => return vec![Done::Unwanted(format!("no rule wants {}", finding.control))],
            Err(why) => return vec![self.refuse(request, subject, &at_large, &why).await],
        };
        subject.rule = rule.map(|rule| rule.name().to_owned());
        subject.params = rule.map_or(Value::Null, |rule| rule.source.params.clone());
        subject.remediator = Some(remediator.spec().name.to_owned());
        subject.remediator_version = remediator.spec().version;

        // locate: one run for each resource of the remediator's kind
        let kind = remediator.kind();
        let mut keys: Vec<Key> = Vec::new();
        let mut done = Vec::new();
        for resource in &finding.resources {
            if resource.kind != kind.asff && resource.kind != kind.cfn {
                continue;
            }
            let seen = Sighting {
                kind: &resource.kind,
                id: &resource.id,
                id_alt: resource.id_alt.as_deref(),
                account: &finding.account,
                region: resource.region.as_deref().unwrap_or(&finding.region),
                partition: resource.partition.as_deref().unwrap_or(&finding.partition),
            };
            let agreed = if seen.partition != finding.partition {
                Err("the resource's partition is not the finding's".to_owned())
            } else if resource.account.as_ref().is_some_and(|owner| *owner != finding.account) {
                Err("the resource's account is not the finding's".to_owned())
            } else {
                remediator.locate(&seen).map_err(|misplaced| misplaced.to_string())
            };
            match agreed {
                Ok(key) if keys.contains(&key) => {}
                Ok(key) => keys.push(key),
                Err(why) => done.push(self.refuse(request, subject.clone(), &at_large, &why).await),
            }
        }
        if let Some(only) = &request.only_resource {
            keys.retain(|key| key == only);
        }
        if keys.len() > MOST_RESOURCES {
            let why = format!("{} resources in one finding; {MOST_RESOURCES} are handled", keys.len());
            done.push(self.refuse(request, subject.clone(), &at_large, &why).await);
            keys.truncate(MOST_RESOURCES);
        }
        if keys.is_empty() && done.is_empty() {
            let why =
                format!("the finding names no {} that `{}` could fix", kind.asff, remediator.spec().name);
            done.push(self.refuse(request, subject.clone(), &at_large, &why).await);
        }
        for key in keys {
            subject.resource = Some(key.clone());
            done.push(self.one(request, subject.clone(), key, remediator, rule).await);
        }
        done
    }

    /// What the finding is fixed by. `Ok(None)`: nobody wants it, and nobody waits for an answer.
    fn route(&self, request: &Request) -> Result<Option<(&'static dyn Erased, Option<&Rule>)>, String> {
        let finding = &request.finding;
        let control = finding.control.as_str();
        if request.verb == Verb::Undo {
            // Undo asks for no rule: what was done is put back by whatever did it.
            return self
                .registry
                .iter()
                .copied()
                .find(|remediator| remediator.spec().controls.contains(&control))
                .map(|remediator| Some((remediator, None)))
                .ok_or_else(|| format!("{control} is not supported: no remediator serves it"));
        }
        let rule = match &request.only_rule {
            Some(name) => {
                let rule =
                    self.rules.rule(name).ok_or_else(|| format!("there is no rule `{name}` any more"))?;
                if !rule.matches(finding) {
                    return Err(format!("rule `{name}` is not for this finding"));
                }
                Some(rule)
            }
            None => self.rules.route(finding),
        };
        let automatic = request.asked_by.is_automatic();
        match rule {
            Some(rule) => {
                let (door, name) = if automatic {
                    (rule.source.automatic, "automatic")
                } else {
                    (rule.source.on_request, "on_request")
                };
                match door {
                    Mode::Off if automatic => Ok(None),
                    Mode::Off => Err(format!("rule `{}` has `{name}: off`", rule.name())),
                    Mode::Plan | Mode::Apply => Ok(Some((rule.remediator, Some(rule)))),
                }
            }
            None if automatic => Ok(None),
            None if self.registry.iter().any(|known| known.spec().controls.contains(&control)) => {
                Err(format!("no rule is for {control}"))
            }
            None => Err(format!("{control} is not supported: no remediator serves it")),
        }
    }

    /// The way of one resource.
    async fn one(
        &self,
        request: &Request,
        subject: Subject,
        key: Key,
        remediator: &'static dyn Erased,
        rule: Option<&Rule>,
    ) -> Done {
        let asked = if request.verb == Verb::Plan || request.dry_run { Mode::Plan } else { Mode::Apply };
        let (mode, lowered) = guard::mode(asked, &request.asked_by, rule, self.settings.ceiling);
        for _ in 0..MOST_STARTS {
            let subject = Subject { mode, ..subject.clone() };
            let mut run = self.start(request, subject, &key, remediator, rule);
            match run.go(mode, lowered.clone()).await {
                Ok(done) => return done,
                Err(Stop::Again) => {}
                Err(Stop::Retry { after, why, error }) => return Done::Retry { after, why, error },
                Err(Stop::Stage { stage, reason, error }) => {
                    let ending = Ending { stage, reason: Some(reason), error, ..Ending::default() };
                    return run.conclude(ending).await;
                }
            }
        }
        let why = "runs that were cut off keep turning up on the resource".to_owned();
        Done::Retry { after: SOON, why, error: None }
    }

    fn start<'e>(
        &'e self,
        request: &'e Request,
        subject: Subject,
        key: &Key,
        remediator: &'static dyn Erased,
        rule: Option<&'e Rule>,
    ) -> Run<'e> {
        Run {
            engine: self,
            request: Some(request),
            id: new_run(),
            keys: Keys::new(key, remediator, &request.event, &request.finding.id, rule.map(Rule::name)),
            subject,
            key: key.clone(),
            remediator,
            rule,
            goal: Goal::Fix,
            items: HashMap::new(),
            deadline: request.deadline,
            started: (self.clock)(),
            since: None,
            chain: (0, String::new()),
            lease: None,
            origin: None,
            recorded_calls: 0,
        }
    }

    /// Settles every run that was cut off, as far as its lease has run out.
    ///
    /// # Errors
    /// Where the leases can't be read.
    pub async fn recover(&self, deadline: Instant) -> Result<Vec<Done>, Error> {
        let mut done = Vec::new();
        for (_, item) in self.store.scan("lease#").await? {
            let Ok(lease) = serde_json::from_value::<Lease>(item.body.clone()) else {
                warn!(body = %item.body, "a lease can't be read");
                continue;
            };
            if lease.until > (self.clock)() {
                continue;
            }
            done.push(match self.settle(lease, item, deadline).await {
                Ok(done) => done,
                Err(Stop::Retry { after, why, error }) => Done::Retry { after, why, error },
                Err(Stop::Stage { stage, reason, .. }) => Done::Repeat { stage, reason },
                Err(Stop::Again) => continue,
            });
        }
        Ok(done)
    }

    /// Goes on with a run that was cut off, under its own number and chain.
    async fn settle(&self, lease: Lease, item: Item, deadline: Instant) -> Result<Done, Stop> {
        let lines = self.store.run(&lease.run).await?;
        let broken = |why: String| Stop::stage(Stage::Failed, format!("run {}: {why}", lease.run));
        let records = verify_run(lines.iter().map(String::as_str)).map_err(|error| broken(error.0))?;
        let (Some(first), Some(last), Some(line)) = (records.first(), records.last(), lines.last()) else {
            return Err(broken("its intent is not in the records".to_owned()));
        };
        let hash = crate::audit::open(line).map_err(|error| broken(error.0))?.1;
        let subject = first.subject.clone();
        let name = subject.remediator.clone().unwrap_or_default();
        let remediator = self
            .registry
            .iter()
            .copied()
            .find(|known| known.spec().name == name)
            .ok_or_else(|| broken(format!("there is no remediator `{}`", shown(&name))))?;
        let change = first.change.clone().ok_or_else(|| broken("its intent names no change".to_owned()))?;
        let goal = match (subject.verb, &subject.undoes) {
            (Verb::Undo, Some(run)) => Goal::Undo(self.recorded_change(run).await?),
            _ => Goal::Fix,
        };
        let finding = subject.finding.as_ref().map(|finding| finding.id.clone()).unwrap_or_default();
        let event = subject.event.clone().unwrap_or_default();
        let rule = subject.rule.as_deref().and_then(|name| self.rules.rule(name));
        let mut run = Run {
            engine: self,
            request: None,
            id: lease.run.clone(),
            keys: Keys::new(&lease.resource, remediator, &event, &finding, subject.rule.as_deref()),
            key: lease.resource.clone(),
            subject,
            remediator,
            rule,
            goal,
            items: HashMap::new(),
            deadline,
            started: (self.clock)(),
            since: None,
            chain: (last.seq, hash),
            lease: None,
            origin: Some(change.from.clone()),
            recorded_calls: 0,
        };
        info!(run = run.id, resource = %run.key, "settling a run that was cut off");
        run.resume(&item, last).await
    }

    /// What a run made of the resource: from its first intent to its outcome.
    async fn recorded_change(&self, run: &str) -> Result<Change<Value>, Stop> {
        let broken = |why: &str| Stop::stage(Stage::Refused, format!("records of run {run}: {why}"));
        let lines = self.store.run(run).await?;
        let records = verify_run(lines.iter().map(String::as_str)).map_err(|error| broken(&error.0))?;
        let mut intents = records.iter().filter(|record| record.stage == Stage::Intent);
        let first = intents.next().and_then(|record| record.change.clone());
        let last = records.last().filter(|record| record.last).and_then(|record| record.change.clone());
        match (first, last) {
            (Some(first), Some(last)) => Ok(Change { from: first.from, to: last.to }),
            _ => Err(broken("there is no whole change in them")),
        }
    }

    /// The last verified run on this resource that has not been undone.
    async fn undoable(
        &self,
        key: &Key,
        control: &str,
    ) -> Result<Option<(String, &'static dyn Erased)>, Stop> {
        let runs = self.store.runs(Index::Resource(&key.to_string()), UNDO_HORIZON).await?;
        let undone: Vec<&str> = runs
            .iter()
            .filter(|run| run.stage == Stage::Undone)
            .filter_map(|run| run.undoes.as_deref())
            .collect();
        Ok(runs.iter().filter(|run| run.stage == Stage::Verified).find_map(|run| {
            let remediator = self.registry.iter().copied().find(|known| {
                Some(known.spec().name) == run.remediator.as_deref()
                    && known.spec().controls.contains(&control)
            })?;
            (!undone.contains(&run.run.as_str())).then(|| (run.run.clone(), remediator))
        }))
    }

    fn subject(&self, request: &Request) -> Subject {
        let finding = &request.finding;
        Subject {
            verb: request.verb,
            asked_by: request.asked_by.clone(),
            event: Some(request.event.clone()),
            finding: Some(FindingRef {
                id: finding.id.clone(),
                product: finding.product_arn.clone(),
                metadata_uid: finding.metadata_uid.clone(),
            }),
            control: finding.control.as_str().to_owned(),
            rule: None,
            rules_hash: self.rules.hash.to_string(),
            remediator: None,
            remediator_version: 0,
            params: Value::Null,
            control_params: None,
            mode: Mode::Plan,
            account: finding.account.clone(),
            region: finding.region.clone(),
            resource: None,
            undoes: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Ends a request about a finding that never became one: it is no control's, or can't be read.
    ///
    /// A person who clicked gets this as their answer.
    pub async fn dismiss(&self, dismissed: &Dismissed<'_>) -> Done {
        let Some(remediator) = self.registry.first().copied() else {
            return Done::Unwanted(dismissed.why.to_owned());
        };
        let subject = Subject {
            verb: dismissed.verb,
            asked_by: dismissed.asked_by.clone(),
            event: Some(dismissed.event.to_owned()),
            finding: Some(dismissed.finding.clone()),
            control: String::new(),
            rule: None,
            rules_hash: self.rules.hash.to_string(),
            remediator: None,
            remediator_version: 0,
            params: Value::Null,
            control_params: None,
            mode: Mode::Plan,
            account: dismissed.account.to_owned(),
            region: dismissed.region.to_owned(),
            resource: None,
            undoes: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let key = Key {
            partition: self.settings.partition.clone(),
            account: dismissed.account.to_owned(),
            region: dismissed.region.to_owned(),
            kind: "Finding".to_owned(),
            id: dismissed.finding.id.clone(),
        };
        let mut run = Run {
            engine: self,
            request: None,
            id: new_run(),
            keys: Keys::new(&key, remediator, dismissed.event, &dismissed.finding.id, None),
            subject,
            key,
            remediator,
            rule: None,
            goal: Goal::Fix,
            items: HashMap::new(),
            deadline: Instant::now(),
            started: (self.clock)(),
            since: None,
            chain: (0, String::new()),
            lease: None,
            origin: None,
            recorded_calls: 0,
        };
        run.look_back().await;
        let reason = Some(dismissed.why.to_owned());
        run.conclude(Ending { stage: dismissed.stage, reason, ..Ending::default() }).await
    }

    async fn refuse(&self, request: &Request, subject: Subject, key: &Key, why: &str) -> Done {
        self.close(request, subject, key, Stage::Refused, why).await
    }

    /// Ends a request before it has come to a resource.
    async fn close(&self, request: &Request, subject: Subject, key: &Key, stage: Stage, why: &str) -> Done {
        let Some(remediator) = self.registry.first().copied() else {
            return Done::Unwanted("there are no remediators".to_owned());
        };
        let mut run = self.start(request, subject, key, remediator, None);
        run.look_back().await;
        run.conclude(Ending { stage, reason: Some(why.to_owned()), ..Ending::default() }).await
    }
}

/// What a run ends with.
#[derive(Default)]
struct Ending {
    stage: Stage,
    reason: Option<String>,
    proposal: Option<(Change<Value>, Risk, Vec<String>)>,
    after: Option<Value>,
    error: Option<Error>,
    calls: Vec<Call>,
    alarm: Option<&'static str>,
    /// Whether a write was attempted.
    attempted: bool,
}

impl Run<'_> {
    /// Reads what was decided before. That it can't be read means that it is told once more.
    async fn look_back(&mut self) {
        let memo = self.keys.memo(&self.subject.asked_by).to_owned();
        match self.engine.store.read(&[memo]).await {
            Ok(items) => self.items = items,
            Err(error) => warn!(%error, "the state can't be read"),
        }
    }

    /// From the first look at the state to the outcome.
    async fn go(&mut self, mode: Mode, lowered: Option<String>) -> Result<Done, Stop> {
        let Some(request) = self.request else { return Err(Stop::stage(Stage::Failed, "no request")) };
        self.items = match self.engine.store.read(&self.keys.all()).await {
            Ok(items) => items,
            Err(error) if error.disposition() == Disposition::Retry => return Err(error.into()),
            Err(error) => {
                return Err(Stop::stage(
                    Stage::Refused,
                    format!("the kill switch can't be read, so it is on: {}", shown(&error.message)),
                ));
            }
        };
        if let Some(done) = self.told_before(request).await? {
            return Ok(done);
        }
        let writes = mode == Mode::Apply;
        if writes {
            self.wait_for_others(request).await?;
        }

        let undoes = match request.verb {
            Verb::Undo => {
                let control = request.finding.control.as_str();
                let Some((run, remediator)) = self.engine.undoable(&self.key, control).await? else {
                    return Err(Stop::stage(
                        Stage::Skipped,
                        "nothing to undo: no verified change of this resource is left in the records",
                    ));
                };
                self.remediator = remediator;
                self.goal = Goal::Undo(self.engine.recorded_change(&run).await?);
                Some(run)
            }
            Verb::Plan | Verb::Fix => None,
        };
        self.subject.undoes = undoes;
        self.subject.remediator = Some(self.remediator.spec().name.to_owned());
        self.subject.remediator_version = self.remediator.spec().version;

        // observe: what stops a run is known before credentials that could write are asked for
        let stopped = guard::stopped(&self.items, &self.keys);
        let access = match (writes && stopped.is_none(), &self.goal) {
            (false, _) => Access::Plan,
            (true, Goal::Fix) => Access::Apply,
            (true, Goal::Undo(_)) => Access::Undo,
        };
        let aws = self.aws(access).await?;
        let reads_tags = guard::reads_tags(self.rule);
        let (facts, observed) =
            tokio::join!(self.remediator.inspect(&aws, reads_tags), self.remediator.observe(&aws));
        let (facts, now) = match (facts, observed) {
            (Ok(facts), Ok(now)) => (facts, now),
            // Of a resource that is gone, both say so; what the proof of ownership says comes first.
            (Err(error), _) | (_, Err(error)) => return Err(error.into()),
        };
        self.keep_since(request, &now).await?;

        // plan
        let Proposal { to, risk, mut notes } = match self.decide(&now)? {
            Plan::Change(proposal) => proposal,
            Plan::Compliant => return Ok(self.compliant(now, aws.calls()).await),
            Plan::Wait { until, why } => {
                let reason = format!("waits until {}: {why}", until.strftime("%Y-%m-%d %H:%M UTC"));
                return Err(Stop::stage(Stage::Waiting, reason));
            }
            Plan::Refuse(why) => return Err(Stop::stage(Stage::Refused, why)),
        };
        let change = Change { from: now, to };
        if let Some(agreed) = &request.agreed
            && *agreed != change
        {
            return Err(Stop::Stage {
                stage: Stage::Failed,
                reason: "the resource is not as it was when the plan was made; plan again".to_owned(),
                error: Some(Error::new(ErrorKind::Drifted, "drifted")),
            });
        }

        // guard
        let verdict = self.guard(stopped.filter(|_| writes), risk, facts.tags.as_ref(), &mut notes);
        let proposal = Some((change.clone(), risk, notes.clone()));
        if let Some((stage, reason)) = verdict {
            let ending =
                Ending { stage, reason: Some(reason), proposal, calls: aws.calls(), ..Ending::default() };
            return Ok(self.conclude(ending).await);
        }
        if !writes {
            let ending = Ending {
                stage: Stage::Planned,
                reason: lowered,
                proposal,
                calls: aws.calls(),
                ..Ending::default()
            };
            return Ok(self.conclude(ending).await);
        }
        self.write(&aws, change, risk, notes).await
    }

    /// An event whose outcome is stored is not run again; only its report is made up.
    async fn told_before(&mut self, request: &Request) -> Result<Option<Done>, Stop> {
        let Ok(Some(memo)) = guard::read::<Memo>(&self.items, &self.keys.event) else { return Ok(None) };
        if !memo.stage.changed() || request.verb == Verb::Plan {
            return Ok(None);
        }
        let reason = format!("this event has ended as `{}` in run {}", memo.stage.as_str(), memo.run);
        if memo.reported {
            return Ok(Some(Done::Repeat { stage: memo.stage, reason }));
        }
        let lines = self.engine.store.run(&memo.run).await?;
        let records = verify_run(lines.iter().map(String::as_str)).map_err(|error| {
            Stop::stage(Stage::Failed, format!("records of run {}: {}", memo.run, error.0))
        })?;
        let Some(last) = records.last().filter(|record| record.last) else {
            return Ok(Some(Done::Repeat { stage: memo.stage, reason }));
        };
        let mut outcome = outcome_of(last);
        self.address(&mut outcome);
        outcome.memo = Some((self.keys.event.clone(), memo));
        Ok(Some(Done::Outcome(Box::new(outcome))))
    }

    /// Keeps clear of whoever is at the resource, and settles what was cut off.
    async fn wait_for_others(&mut self, request: &Request) -> Result<(), Stop> {
        let now = (self.engine.clock)();
        let Some(item) = self.items.get(&self.keys.lease).cloned() else { return Ok(()) };
        let lease: Lease = match guard::read(&self.items, &self.keys.lease) {
            Ok(Some(lease)) => lease,
            Ok(None) => return Ok(()),
            Err(error) => return Err(Stop::stage(Stage::Refused, error)),
        };
        if lease.until > now {
            return Err(self.taken(&lease, now));
        }
        match self.engine.settle(lease, item, request.deadline).await? {
            Done::Retry { after, why, error } => return Err(Stop::Retry { after, why, error }),
            Done::Outcome(_) | Done::Repeat { .. } | Done::Unwanted(_) => {}
        }
        // The event that is settled by this may be our own: start over with what is known now.
        Err(Stop::Again)
    }

    /// What to do about a lease that somebody else holds.
    fn taken(&self, lease: &Lease, now: Timestamp) -> Stop {
        let left = lease.until.duration_since(now).max(SignedDuration::ZERO);
        let left = Duration::try_from(left).unwrap_or_default();
        if lease.work == self.work() && lease.memo != self.keys.event {
            return Stop::stage(Stage::Skipped, format!("run {} is on it", lease.run));
        }
        Stop::retry(left.min(SOON), format!("run {} holds the resource until {}", lease.run, lease.until))
    }

    fn work(&self) -> String {
        digest(&json!([self.remediator.spec().name, self.subject.params, self.subject.verb]))
    }

    async fn aws(&mut self, access: Access) -> Result<Aws, Stop> {
        let control = self.subject.control.clone();
        let own = self.request.and_then(|request| request.finding.control_parameters.clone());
        let wants = matches!(self.goal, Goal::Fix)
            && self.subject.control_params.is_none()
            && self.remediator.wants_control_params(&control, &self.subject.params)?;
        if wants {
            self.subject.control_params = own;
        }
        let asks = wants && self.subject.control_params.is_none();
        let purpose = Purpose {
            key: &self.key,
            region: &self.subject.region,
            remediator: self.remediator,
            access,
            run: &self.id,
            control_params: asks,
        };
        let connection = self.engine.connect.connect(&purpose).await?;
        if asks {
            self.subject.control_params = self.engine.connect.control_params(&connection, &control).await?;
        }
        Ok(Aws::new(connection, self.key.clone(), self.remediator, access))
    }

    /// Keeps since when a state that the remediator watches has been there.
    async fn keep_since(&mut self, request: &Request, now: &Value) -> Result<(), Stop> {
        let known = self.items.get(&self.keys.since).cloned();
        let aging = matches!(self.goal, Goal::Fix) && self.remediator.aging(now)?;
        let op = match (aging, &known) {
            (true, Some(item)) => {
                self.since = serde_json::from_value::<Since>(item.body.clone()).ok().map(|since| since.since);
                return Ok(());
            }
            (true, None) => Op::Put {
                key: self.keys.since.clone(),
                body: json!(Since { since: self.started }),
                etag: self.id.clone(),
                expect: Expect::Absent,
                expires: None,
            },
            (false, Some(item)) => {
                Op::Delete { key: self.keys.since.clone(), expect: Expect::Etag(item.etag.clone()) }
            }
            (false, None) => return Ok(()),
        };
        if !request.record {
            return Ok(());
        }
        match self.engine.store.commit(&Commit { ops: vec![op], records: Vec::new() }).await {
            // Somebody else saw it at the same time.
            Ok(()) | Err(CommitError::Conflict(_)) => Ok(()),
            Err(CommitError::Failed(error)) => Err(error.into()),
            Err(error) => Err(Stop::stage(Stage::Failed, error.to_string())),
        }
    }

    /// What is to be done about the state that is there now.
    fn decide(&self, now: &Value) -> Result<Plan<Value>, Stop> {
        Ok(match &self.goal {
            Goal::Fix => self.remediator.plan(
                now,
                &RawAsk {
                    control: &self.subject.control,
                    params: &self.subject.params,
                    control_params: self.subject.control_params.as_ref(),
                    at: self.started,
                    since: self.since,
                    by_person: !self.subject.asked_by.is_automatic(),
                },
            )?,
            Goal::Undo(change) => match self.remediator.undo(change, now)? {
                Undo::Nothing => Plan::Compliant,
                Undo::To { to, notes } => Plan::Change(Proposal { to, risk: Risk::None, notes }),
                Undo::Refuse(why) => Plan::Refuse(why),
            },
        })
    }

    /// The first reason not to make the change.
    fn guard(
        &self,
        stopped: Option<String>,
        risk: Risk,
        tags: Option<&redress_remediators::Tags>,
        notes: &mut Vec<String>,
    ) -> Option<(Stage, String)> {
        if let Some(why) = stopped {
            return Some((Stage::Refused, why));
        }
        // Undo is a person's word about a change that was recorded: only the ceiling and the kill switch
        // stand in its way.
        let rule = self.rule.filter(|_| matches!(self.goal, Goal::Fix))?;
        if let Some(why) = guard::too_risky(risk, &self.subject.asked_by, rule) {
            return Some((Stage::Refused, why));
        }
        let by = &rule.source.exempt_by;
        let file: &[_] = if by.contains(&ExemptBy::File) { &self.engine.rules.exemptions } else { &[] };
        let tags = tags.filter(|_| by.contains(&ExemptBy::Tag));
        let (key, arn) = (self.key.to_string(), self.key.fill(self.remediator.kind().arn));
        let name = self.remediator.spec().name;
        match exemption::find(file, &[&key, &arn], name, tags, self.started) {
            Found::None { expired } => notes.extend(expired),
            Found::Exempt(line) => return Some((Stage::Exempt, line)),
            Found::Malformed(line) => return Some((Stage::Refused, line)),
        }
        match guard::read::<Hold>(&self.items, &self.keys.hold) {
            Ok(hold) => guard::held(hold.as_ref(), &self.subject.asked_by, self.started)
                .map(|line| (Stage::Held, line)),
            Err(error) => Some((Stage::Refused, error)),
        }
    }

    /// There is nothing to change: by somebody else's hand, or against Security Hub's reading.
    async fn compliant(&mut self, now: Value, calls: Vec<Call>) -> Done {
        let fixes = guard::read::<Fixes>(&self.items, &self.keys.fixes).ok().flatten();
        let fix = matches!(self.goal, Goal::Fix);
        let (stage, reason, alarm) = if fix && guard::disagrees(fixes.as_ref(), self.started) {
            (
                Stage::Disagrees,
                "fixed more than 48 hours ago by our reading of the resource, and still failed by Security \
                 Hub's"
                    .to_owned(),
                Some("disagrees"),
            )
        } else if fix {
            (Stage::Compliant, "the resource is as the control wants it".to_owned(), None)
        } else {
            (Stage::Skipped, "nothing to undo: it is already as it was".to_owned(), None)
        };
        let ending =
            Ending { stage, reason: Some(reason), after: Some(now), calls, alarm, ..Ending::default() };
        self.conclude(ending).await
    }

    /// Lease and intent, then the change, then its proof.
    async fn write(
        &mut self,
        aws: &Aws,
        change: Change<Value>,
        risk: Risk,
        notes: Vec<String>,
    ) -> Result<Done, Stop> {
        let automatic = self.subject.asked_by.is_automatic();
        let memo = guard::read::<Memo>(&self.items, &self.keys.decision).ok().flatten();
        if automatic
            && guard::failed_lately(memo.as_ref(), &self.decision_base(), &digest(&change), self.started)
        {
            let reason = "the same change failed less than 24 hours ago".to_owned();
            return Ok(Done::Repeat { stage: Stage::Skipped, reason });
        }
        self.time_left()?;

        // lease and intent
        let mut record = self.record(Stage::Intent, aws);
        record.change = Some(change.clone());
        record.risk = Some(risk);
        record.notes.clone_from(&notes);
        let expect = Expect::unchanged(self.items.get(&self.keys.lease));
        let caps = match self.rule {
            Some(rule) if automatic => guard::caps(&self.engine.rules, rule, &self.key.account, self.started),
            _ => Vec::new(),
        };
        let limits: Vec<(String, u64)> = caps
            .iter()
            .filter_map(|op| match op {
                Op::Count { key, limit, .. } => Some((key.clone(), *limit)),
                Op::Put { .. } | Op::Delete { .. } => None,
            })
            .collect();
        match self.begin(record, expect, caps).await {
            Ok(()) => {}
            Err(CommitError::Conflict(_)) => return Err(self.lost_the_race().await?),
            Err(CommitError::Limit(key)) => {
                let limit = limits.iter().find(|(name, _)| *name == key).map_or(0, |(_, limit)| *limit);
                let ending = Ending {
                    stage: Stage::Refused,
                    reason: Some(guard::cap_reached(&key, limit)),
                    proposal: Some((change, risk, notes)),
                    calls: aws.calls(),
                    alarm: Some("cap_reached"),
                    ..Ending::default()
                };
                return Ok(self.conclude(ending).await);
            }
            Err(CommitError::Failed(error)) => {
                return Err(
                    match Stop::from(error.context("the intent can't be stored, nothing was written")) {
                        Stop::Stage { reason, error, .. } => {
                            Stop::Stage { stage: Stage::Refused, reason, error }
                        }
                        retry @ (Stop::Retry { .. } | Stop::Again) => retry,
                    },
                );
            }
            Err(error @ CommitError::Exists { .. }) => {
                return Err(Stop::stage(Stage::Failed, error.to_string()));
            }
        }

        // the last look before the write
        let stop_keys = self.keys.stop_keys();
        let (stops, seen) = tokio::join!(self.engine.store.read(&stop_keys), self.remediator.observe(aws));
        let stopped = match stops {
            Ok(items) => guard::stopped(&items, &self.keys),
            Err(error) => {
                Some(format!("the kill switch can't be read, so it is on: {}", shown(&error.message)))
            }
        };
        let proposal = Some((change.clone(), risk, notes));
        if let Some(reason) = stopped {
            let ending = Ending {
                stage: Stage::Refused,
                reason: Some(reason),
                proposal,
                calls: aws.calls(),
                ..Ending::default()
            };
            return Ok(self.conclude(ending).await);
        }
        match seen {
            Ok(seen) if seen == change.from => {}
            Ok(seen) => {
                let ending = Ending {
                    stage: Stage::Skipped,
                    reason: Some(
                        "the resource changed between plan and write; nothing was written".to_owned(),
                    ),
                    proposal,
                    after: Some(seen),
                    calls: aws.calls(),
                    error: Some(Error::new(ErrorKind::Drifted, "drifted")),
                    ..Ending::default()
                };
                return Ok(self.give_back(ending).await);
            }
            Err(error) => {
                let ending = Ending {
                    stage: Stage::Failed,
                    reason: Some(format!("nothing was written: {}", shown(&error.message))),
                    proposal,
                    calls: aws.calls(),
                    error: Some(error.clone()),
                    ..Ending::default()
                };
                return Ok(match error.disposition() {
                    Disposition::Retry => self.give_back(ending).await,
                    Disposition::Close | Disposition::Escalate => self.conclude(ending).await,
                });
            }
        }
        self.apply(aws, change, risk, proposal.map(|(_, _, notes)| notes).unwrap_or_default()).await
    }

    /// The change, and its proof.
    async fn apply(
        &mut self,
        aws: &Aws,
        change: Change<Value>,
        risk: Risk,
        notes: Vec<String>,
    ) -> Result<Done, Stop> {
        if self.time_left().is_err() {
            // Our own lease: whoever takes it next finds that nothing was written.
            self.release_open().await;
            return Err(Stop::retry(SOON, "no time was left to verify a write"));
        }
        let applied = self.remediator.apply(aws, &change).await;
        let failure = applied.err();
        let settled = self.until_settled(aws, &change, failure.as_ref()).await;
        let whole = Change {
            from: self.origin.clone().unwrap_or_else(|| change.from.clone()),
            to: change.to.clone(),
        };
        let proposal = Some((whole, risk, notes));
        match (settled, failure) {
            (Settled::Done(after), _) => {
                let stage = match self.goal {
                    Goal::Fix => Stage::Verified,
                    Goal::Undo(_) => Stage::Undone,
                };
                let ending = Ending {
                    stage,
                    proposal,
                    after: Some(after),
                    calls: aws.calls(),
                    attempted: true,
                    ..Ending::default()
                };
                Ok(self.conclude(ending).await)
            }
            // The write was refused and the resource is as it was: that is the end of it.
            (Settled::Not(Some(after)), Some(error))
                if after == change.from && error.disposition() != Disposition::Retry =>
            {
                let stage = if error.kind == ErrorKind::Denied { Stage::Denied } else { Stage::Failed };
                let ending = Ending {
                    stage,
                    reason: Some(format!("{}; nothing was changed", shown(&error.message))),
                    proposal,
                    after: Some(after),
                    calls: aws.calls(),
                    error: Some(error),
                    attempted: true,
                    ..Ending::default()
                };
                Ok(self.conclude(ending).await)
            }
            // Whatever else: it is not known to be done, so the intent stays open and is settled by
            // whoever comes next.
            (_, failure) => {
                let (why, kind) = match failure {
                    Some(error) => (shown(&error.message), error.kind),
                    None => ("the change can't be seen yet".to_owned(), ErrorKind::Unsettled),
                };
                if kind == ErrorKind::Unsettled {
                    self.note_applied(aws, &change).await;
                } else {
                    self.release_open().await;
                }
                Err(Stop::Retry { after: SOON, why, error: Some(kind) })
            }
        }
    }

    /// Looks until the plan for what is seen is empty, or time is up.
    async fn until_settled(&self, aws: &Aws, change: &Change<Value>, failure: Option<&Error>) -> Settled {
        // What is seen must still be stored.
        let latest = self.deadline.checked_sub(Duration::from_secs(2)).unwrap_or(self.deadline);
        let end = (Instant::now() + self.engine.settings.settle).min(latest);
        let mut pause = Duration::from_millis(100);
        loop {
            let seen = self.remediator.check(aws, change).await;
            match &seen {
                Ok(now) => match self.decide(now) {
                    Ok(Plan::Compliant) => return Settled::Done(now.clone()),
                    // A refused write is not waited for.
                    _ if failure.is_some_and(|error| error.disposition() != Disposition::Retry) => {
                        return Settled::Not(Some(now.clone()));
                    }
                    _ => {}
                },
                Err(error) if error.disposition() != Disposition::Retry => return Settled::Not(None),
                Err(_) => {}
            }
            if Instant::now() + pause >= end {
                return Settled::Not(seen.ok());
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    /// Goes on where another process stopped.
    async fn resume(&mut self, lease: &Item, last: &Record) -> Result<Done, Stop> {
        self.items = self.engine.store.read(&self.keys.all()).await?;
        let stopped = guard::stopped(&self.items, &self.keys);
        let access = match &self.goal {
            _ if stopped.is_some() => Access::Plan,
            Goal::Fix => Access::Apply,
            Goal::Undo(_) => Access::Undo,
        };
        self.time_left()?;
        self.since =
            guard::read::<Since>(&self.items, &self.keys.since).ok().flatten().map(|since| since.since);
        let aws = self.aws(access).await?;
        let change = last
            .change
            .clone()
            .ok_or_else(|| Stop::stage(Stage::Failed, "the last record of the run names no change"))?;
        let facts = self.remediator.inspect(&aws, false).await;
        let now = match facts {
            Ok(_) => self.remediator.check(&aws, &change).await,
            Err(error) => Err(error),
        };
        let whole = |to: &Value| {
            Some((
                Change { from: self.origin.clone().unwrap_or_else(|| change.from.clone()), to: to.clone() },
                last.risk.unwrap_or_default(),
                last.notes.clone(),
            ))
        };
        let calls = aws.calls();
        let end = |stage, reason: Option<String>, after, to: &Value| Ending {
            stage,
            reason,
            after,
            proposal: whole(to),
            calls: calls.clone(),
            ..Ending::default()
        };
        let ending = match now {
            Ok(now) => match self.decide(&now)? {
                Plan::Compliant => {
                    let stage = match self.goal {
                        Goal::Fix => Stage::Verified,
                        Goal::Undo(_) => Stage::Undone,
                    };
                    let to = change.to.clone();
                    Ending { attempted: true, ..end(stage, None, Some(now), &to) }
                }
                Plan::Change(_) if stopped.is_some() => {
                    return Err(Stop::retry(
                        Duration::from_secs(900),
                        format!(
                            "run {} was cut off and can't be settled: {}",
                            self.id,
                            stopped.unwrap_or_default()
                        ),
                    ));
                }
                // It was accepted and is still not there: look again, don't write again.
                Plan::Change(_) if last.stage == Stage::Applied && self.young(last) => {
                    return Err(Stop::Retry {
                        after: Duration::from_secs(60),
                        why: format!("run {}: the change can't be seen yet", self.id),
                        error: Some(ErrorKind::Unsettled),
                    });
                }
                Plan::Change(Proposal { to, risk, notes }) => {
                    if risk > last.risk.unwrap_or_default() {
                        let reason =
                            "the change that is left is riskier than the one that was begun".to_owned();
                        end(Stage::Failed, Some(reason), Some(now), &to)
                    } else {
                        let next = Change { from: now, to };
                        let mut record = self.record(Stage::Intent, &aws);
                        record.change = Some(next.clone());
                        record.risk = Some(risk);
                        record.notes.clone_from(&notes);
                        record.reason = Some("goes on where the run was cut off".to_owned());
                        let expect = Expect::Etag(lease.etag.clone());
                        match self.begin(record, expect, Vec::new()).await {
                            Ok(()) => return self.apply(&aws, next, risk, notes).await,
                            Err(CommitError::Failed(error)) => return Err(error.into()),
                            Err(error) => return Err(Stop::retry(Duration::from_secs(5), error.to_string())),
                        }
                    }
                }
                Plan::Wait { why, .. } | Plan::Refuse(why) => {
                    let to = change.to.clone();
                    end(
                        Stage::Failed,
                        Some(format!("cut off, and not to be gone on with: {why}")),
                        Some(now),
                        &to,
                    )
                }
            },
            Err(error) => match error.disposition() {
                Disposition::Retry => return Err(error.into()),
                Disposition::Close => {
                    let to = change.to.clone();
                    end(Stage::Failed, Some("the resource does not exist any more".to_owned()), None, &to)
                }
                // The run stays open: what it left can't be seen.
                Disposition::Escalate => {
                    return Err(Stop::retry(
                        Duration::from_secs(900),
                        format!(
                            "run {} was cut off and can't be looked at: {}",
                            self.id,
                            shown(&error.message)
                        ),
                    ));
                }
            },
        };
        // The lease is taken over by ending it: its etag is what we read.
        self.lease = Some(lease.etag.clone());
        Ok(self.conclude(ending).await)
    }

    /// For how long a change that was accepted is waited for before it is made again.
    fn young(&self, applied: &Record) -> bool {
        self.started.duration_since(applied.time) < SignedDuration::from_hours(1)
    }

    fn time_left(&self) -> Result<(), Stop> {
        if Instant::now() + self.engine.settings.time_to_verify > self.deadline {
            return Err(Stop::retry(SOON, "no time was left to verify a write"));
        }
        Ok(())
    }

    /// Takes the lease, counts the change and stores the intent, all or nothing.
    async fn begin(&mut self, record: Record, expect: Expect, mut ops: Vec<Op>) -> Result<(), CommitError> {
        let left = self.deadline.saturating_duration_since(Instant::now()) + LEASE_AFTER_DEADLINE;
        let lease = Lease {
            run: self.id.clone(),
            until: (self.engine.clock)() + left,
            work: self.work(),
            memo: self.keys.event.clone(),
            resource: self.key.clone(),
        };
        let etag = format!("{}-{}", self.id, record.seq);
        ops.insert(
            0,
            Op::Put {
                key: self.keys.lease.clone(),
                body: serde_json::to_value(lease).unwrap_or_default(),
                etag: etag.clone(),
                expect,
                expires: None,
            },
        );
        self.commit(record, ops).await?;
        self.lease = Some(etag);
        Ok(())
    }

    /// Stores a record and what goes with it.
    async fn commit(&mut self, record: Record, ops: Vec<Op>) -> Result<(), CommitError> {
        let invalid = |why: String| CommitError::Failed(Error::new(ErrorKind::Invalid, why));
        let sealed = record.seal().map_err(|error| invalid(error.0))?;
        if sealed.line.len() > LONGEST_RECORD {
            return Err(invalid(format!(
                "the record would be {} bytes; at most {LONGEST_RECORD} are stored",
                sealed.line.len()
            )));
        }
        let (seq, hash) = (record.seq, sealed.hash.clone());
        let calls = record.calls.len();
        let commit = Commit { ops, records: vec![(record, sealed)] };
        self.engine.store.commit(&commit).await?;
        for (record, sealed) in &commit.records {
            crate::telemetry::recorded(record, sealed);
        }
        self.chain = (seq, hash);
        self.recorded_calls += calls;
        Ok(())
    }

    /// The next record of the run.
    fn record(&self, stage: Stage, aws: &Aws) -> Record {
        self.record_with(stage, &aws.calls())
    }

    fn record_with(&self, stage: Stage, calls: &[Call]) -> Record {
        Record {
            run: self.id.clone(),
            seq: self.chain.0 + 1,
            time: (self.engine.clock)(),
            stage,
            last: false,
            subject: self.subject.clone(),
            reason: None,
            change: None,
            risk: None,
            notes: Vec::new(),
            after: None,
            replaced_note: None,
            calls: calls.get(self.recorded_calls..).unwrap_or_default().to_vec(),
            error_code: None,
            prev: self.chain.1.clone(),
        }
    }

    /// What a lost race for the lease means.
    async fn lost_the_race(&mut self) -> Result<Stop, Stop> {
        self.items = self.engine.store.read(&self.keys.all()).await?;
        let now = (self.engine.clock)();
        Ok(match guard::read::<Lease>(&self.items, &self.keys.lease) {
            Ok(Some(lease)) => self.taken(&lease, now),
            _ => Stop::retry(Duration::from_secs(1), "another run has just ended on the resource"),
        })
    }

    /// Says that the change was accepted, and lets the next one look.
    async fn note_applied(&mut self, aws: &Aws, change: &Change<Value>) {
        let mut record = self.record(Stage::Applied, aws);
        record.change = Some(change.clone());
        let ops = self.open_lease().into_iter().collect();
        if let Err(error) = self.commit(record, ops).await {
            warn!(%error, run = self.id, "the run stays open until its lease runs out");
        }
    }

    /// Ends the lease without ending the run.
    async fn release_open(&mut self) {
        let Some(op) = self.open_lease() else { return };
        if let Err(error) = self.engine.store.commit(&Commit { ops: vec![op], records: Vec::new() }).await {
            warn!(%error, run = self.id, "the run stays open until its lease runs out");
        }
    }

    fn open_lease(&self) -> Option<Op> {
        let etag = self.lease.as_ref()?;
        let lease = Lease {
            run: self.id.clone(),
            until: (self.engine.clock)(),
            work: self.work(),
            memo: self.keys.event.clone(),
            resource: self.key.clone(),
        };
        Some(Op::Put {
            key: self.keys.lease.clone(),
            body: serde_json::to_value(lease).unwrap_or_default(),
            etag: format!("{etag}-open"),
            expect: Expect::Etag(etag.clone()),
            expires: None,
        })
    }

    /// Ends a run that has written nothing, and gives its event back.
    async fn give_back(&mut self, ending: Ending) -> Done {
        let why = ending.reason.clone().unwrap_or_default();
        let error = ending.error.as_ref().map(|error| error.kind);
        let agreed = self.request.is_some_and(|request| request.agreed.is_some());
        match self.conclude(ending).await {
            Done::Outcome(_) | Done::Repeat { .. } if !agreed => {
                Done::Retry { after: Duration::from_secs(1), why, error }
            }
            done => done,
        }
    }

    fn decision_base(&self) -> String {
        format!("{}:{}:", self.subject.rule.as_deref().unwrap_or_default(), self.subject.rules_hash)
    }

    /// Ends the run: stores its outcome, releases its lease, and hands on what is to be told.
    async fn conclude(&mut self, ending: Ending) -> Done {
        let Ending { stage, reason, proposal, after, error, calls, alarm, attempted } = ending;
        let automatic = self.subject.asked_by.is_automatic();
        let mut record = self.record_with(stage, &calls);
        record.last = true;
        record.reason.clone_from(&reason);
        record.error_code = error.as_ref().and_then(|error| error.code.clone());
        record.after = after;
        if crate::report::tells(stage, automatic)
            && let Some(note) = self.request.and_then(|request| request.finding.note.as_ref())
            && crate::report::foreign(note)
        {
            let Note { text, updated_by, updated_at } = note;
            record.replaced_note =
                Some(json!({ "text": text, "updated_by": updated_by, "updated_at": updated_at }));
        }
        if let Some((change, risk, notes)) = proposal {
            record.change = Some(change);
            record.risk = Some(risk);
            record.notes = notes;
        }
        let now = record.time;
        let memo_key = if stage.changed() {
            self.keys.event.clone()
        } else {
            self.keys.memo(&self.subject.asked_by).to_owned()
        };
        // What a person should hear once, and what counts as the same: messages of AWS's hold ids that
        // differ each time, and the run that is on it is another each time.
        let gist = match (&error, stage) {
            (Some(error), _) => {
                format!("{} {}", error.kind.as_str(), error.code.as_deref().unwrap_or_default())
            }
            (None, Stage::Skipped) if self.lease.is_none() => String::new(),
            (None, _) => reason.clone().unwrap_or_default(),
        };
        let change_digest = record.change.as_ref().map(digest);
        let memo = Memo {
            run: self.id.clone(),
            stage,
            decision: format!(
                "{}{}:{}",
                self.decision_base(),
                stage.as_str(),
                digest(&json!([gist, change_digest]))
            ),
            attempt: change_digest.filter(|_| attempted),
            at: now,
            reported: false,
        };
        let before = guard::read::<Memo>(&self.items, &memo_key).ok().flatten();
        // The same decision is not told again; of a run that has begun, its end is stored all the same.
        let repeats =
            before.as_ref().is_some_and(|before| before.reported && before.decision == memo.decision);
        if repeats && self.lease.is_none() {
            return Done::Repeat { stage, reason: reason.unwrap_or_default() };
        }
        let memo = Memo { reported: repeats, ..memo };

        let mut outcome = outcome_of(&record);
        outcome.error = error.as_ref().map(|error| error.kind);
        outcome.alarm = alarm;
        self.address(&mut outcome);
        if !self.request.is_none_or(|request| request.record) {
            return Done::Outcome(Box::new(outcome));
        }

        let put = |key: &str, body: Value, days: i64| Op::Put {
            key: key.to_owned(),
            body,
            etag: self.id.clone(),
            expect: Expect::Anything,
            expires: Some(now + SignedDuration::from_hours(24 * days)),
        };
        let mut ops = vec![put(&memo_key, json!(memo), 45)];
        if let Some(etag) = &self.lease {
            ops.push(Op::Delete { key: self.keys.lease.clone(), expect: Expect::Etag(etag.clone()) });
        }
        let hold_days = self.rule.map_or(30, |rule| rule.source.hold_days);
        let hold = |days: u16, why: &str| {
            let until = now + SignedDuration::from_hours(24 * i64::from(days));
            let hold = Hold { until, run: self.id.clone(), why: why.to_owned() };
            put(&self.keys.hold, json!(hold), i64::from(days) + 1)
        };
        match stage {
            Stage::Verified => {
                let fixes = guard::read::<Fixes>(&self.items, &self.keys.fixes).ok().flatten();
                let (fixes, too_often) = guard::refixed(fixes, automatic, now);
                ops.push(put(&self.keys.fixes, json!(fixes), 45));
                if too_often {
                    outcome.alarm = Some("refixed");
                    ops.push(hold(hold_days, "fixed three times within 24 hours: something puts it back"));
                } else if !automatic && self.items.contains_key(&self.keys.hold) {
                    // A person's fix lifts the hold.
                    ops.push(Op::Delete { key: self.keys.hold.clone(), expect: Expect::Anything });
                }
                if self.items.contains_key(&self.keys.since) {
                    ops.push(Op::Delete { key: self.keys.since.clone(), expect: Expect::Anything });
                }
            }
            Stage::Undone => {
                ops.push(hold(hold_days, "undone by a person"));
                ops.push(Op::Delete { key: self.keys.fixes.clone(), expect: Expect::Anything });
            }
            _ => {}
        }
        // Two findings of one resource may end at once; what they remember of it is written by whoever
        // ends first, and none of it is worth losing the outcome for.
        match self.commit(record, ops).await {
            Ok(()) if repeats => Done::Repeat { stage, reason: reason.unwrap_or_default() },
            Ok(()) => {
                outcome.memo = Some((memo_key, memo));
                Done::Outcome(Box::new(outcome))
            }
            Err(CommitError::Failed(error))
                if error.disposition() != Disposition::Retry && self.lease.is_none() =>
            {
                // Nothing was written anywhere: the answer is still worth giving, and the log has it.
                warn!(%error, run = self.id, "the outcome can't be stored");
                Done::Outcome(Box::new(outcome))
            }
            Err(error) => Done::Retry {
                after: Duration::from_secs(5),
                why: format!("the outcome can't be stored: {error}"),
                error: Some(ErrorKind::Transient),
            },
        }
    }

    /// Puts what is known of the finding into the outcome, for the report.
    fn address(&self, outcome: &mut Outcome) {
        let Some(request) = self.request else { return };
        let finding = &request.finding;
        outcome.title.clone_from(&finding.title);
        outcome.note.clone_from(&finding.note);
        outcome.fields.clone_from(&finding.user_defined_fields);
        outcome.workflow_new = finding.workflow == crate::finding::Workflow::New;
    }
}

/// How a look at the change ended.
enum Settled {
    Done(Value),
    Not(Option<Value>),
}

/// The outcome that a last record tells of.
fn outcome_of(record: &Record) -> Outcome {
    Outcome {
        run: record.run.clone(),
        stage: record.stage,
        subject: record.subject.clone(),
        reason: record.reason.clone(),
        change: record.change.clone(),
        after: record.after.clone(),
        risk: record.risk,
        notes: record.notes.clone(),
        error: None,
        error_code: record.error_code.clone(),
        title: String::new(),
        note: None,
        fields: BTreeMap::new(),
        workflow_new: false,
        time: record.time,
        memo: None,
        alarm: None,
    }
}

fn new_run() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// What marks an outcome as told, once everybody is; `None` where nothing was stored.
pub fn told(outcome: &Outcome) -> Option<Commit> {
    let (key, memo) = outcome.memo.as_ref()?;
    let memo = Memo { reported: true, ..memo.clone() };
    let expires = memo.at + SignedDuration::from_hours(24 * 45);
    let op = Op::Put {
        key: key.clone(),
        body: json!(memo),
        etag: outcome.run.clone(),
        expect: Expect::Anything,
        expires: Some(expires),
    };
    Some(Commit { ops: vec![op], records: Vec::new() })
}

/// The state item of a resource's lease, for the command line.
pub fn lease_item(key: &Key) -> String {
    lease_key(key)
}
