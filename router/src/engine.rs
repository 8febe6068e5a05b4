//! The way of one finding, from top to bottom:
//!
//! ```text
//! authenticate ─► route ─► locate ─► observe ─► plan ─► guard ─► [dry run: record and stop]
//!     ─► lease + intent (one commit) ─► observe again ─► apply ─► observe until settled ─► outcome
//! ```
//!
//! No step knows the door through which the finding came, save for who asked. Decoding comes before
//! ([`crate::event`]), telling people after ([`crate::report`]).

mod members;
mod run;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use redress_remediators::{
    Access, BoxFuture, Change, Connection, Erased, Error, ErrorKind, Key, LastSeen, RegionOfAccount,
    Resource as _, Risk, Sighting,
};
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::{info, warn};

#[cfg(feature = "aws")]
pub(crate) use self::run::address;
use self::run::{Ending, Goal, Run, Stop};
use crate::{
    audit::{Asker, FindingRef, Stage, Subject, Verb, verify_run_of},
    budget::Budget,
    event::shown,
    finding::{Finding, Note},
    guard::{self, Keys, Lease, Memo, lease_key},
    rules::{Mode, Rule, RuleSet},
    store::{self, Commit, Expect, Item, Op, Store},
};

/// How many resources of one finding are handled. AWS sends
/// [at most 32](https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_AwsSecurityFinding.html).
const MOST_RESOURCES: usize = 32;

/// When to look again at what passes by itself. The queue doubles it.
const SOON: Duration = Duration::from_secs(20);

/// How often a request starts over because it had to settle what another left.
const MOST_STARTS: usize = 3;

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
    /// When users were last seen; `None` where no activity table is kept.
    pub activity: Option<Arc<dyn Activity>>,
    /// What keeps calls within redress's share of AWS's quotas.
    pub budget: Arc<Budget>,
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
    /// For how long after a user was disabled a sign-in from before may still be on its way to the activity
    /// table: Cognito gives a trigger
    /// [five seconds, three times](https://docs.aws.amazon.com/cognito/latest/developerguide/cognito-user-pools-working-with-lambda-triggers.html).
    pub sign_in_window: Duration,
    /// Whether the run of another event that was cut off is gone on with by whoever comes to its resource. Where rules
    /// and ceiling may be others than its own, it is left to [`Engine::finish`].
    pub settles_others: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ceiling: Mode::Plan,
            partition: "aws".to_owned(),
            time_to_verify: Duration::from_secs(5),
            settle: Duration::from_secs(45),
            sign_in_window: Duration::from_secs(15),
            settles_others: true,
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
    ) -> BoxFuture<'a, Result<Option<ControlParams>, Error>>;
}

/// A control's parameters, by name. What has one value is a list of one.
pub type ControlParams = BTreeMap<String, Vec<String>>;

/// What a finding is fixed by; undo has no rule.
type Routed<'e> = (&'static dyn Erased, Option<&'e Rule>);

/// When users were last seen.
pub trait Activity: Send + Sync {
    /// When the user of this key was last seen, read consistently; `None` where nothing is known of it.
    fn last<'a>(&'a self, user: &'a Key) -> BoxFuture<'a, Result<Option<LastSeen>, Error>>;

    /// Keeps that this run has disabled the user, unless it has been seen later than `seen` says: then it
    /// keeps nothing, and answers `false`.
    fn disabled<'a>(
        &'a self,
        user: &'a Key,
        seen: &'a LastSeen,
        run: &'a str,
    ) -> BoxFuture<'a, Result<bool, Error>>;

    /// Keeps that the user was enabled again: its inactivity counts from then on.
    fn restored<'a>(&'a self, user: &'a Key, at: Timestamp) -> BoxFuture<'a, Result<(), Error>>;
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
    /// What the rule's parameters leave of the remediator's declared ARNs.
    pub narrowed: &'a [(&'static str, String)],
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
    /// When it was asked, by the event; `None` where that is now.
    pub asked_at: Option<Timestamp>,
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
    /// Whether Security Hub has the finding, and is told of outcomes.
    pub listed: bool,
    /// What was fixed right before, together with this: a change that would make it fail again is refused.
    pub after: Vec<Subject>,
}

/// A finding that never became one, and why.
#[derive(Clone, Debug)]
pub struct Dismissed<'a> {
    /// What names it to Security Hub; `None` where the event names no finding.
    pub finding: Option<FindingRef>,
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
    /// The note that stands on it.
    pub note: Option<Note>,
    /// Skipped or refused.
    pub stage: Stage,
    /// Why, in a line.
    pub why: &'a str,
}

/// How much of an outcome is written to its finding, so that nothing that stands there is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OnFinding {
    /// All of it.
    Everything,
    /// All but the note: somebody else's stands there, behind ours it would be cut, and no record has it whole.
    AllButNote,
    /// Nothing: what stands there is not known.
    Nothing,
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
    /// How much of it is written to the finding.
    pub on_finding: OnFinding,
    /// Whether the run was cut off and is ended by something else than its event: then nothing is known of the finding.
    pub settled: bool,
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
        /// The kind of failure, where there was one.
        error: Option<ErrorKind>,
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

impl Done {
    /// What there is to tell, if anything.
    pub fn outcome(&self) -> Option<&Outcome> {
        match self {
            Self::Outcome(outcome) => Some(outcome),
            Self::Repeat { .. } | Self::Unwanted(_) | Self::Retry { .. } => None,
        }
    }

    /// Whether it is the end of another's run, which stood in the way and was settled.
    pub fn is_of_another(&self) -> bool {
        self.outcome().is_some_and(|outcome| outcome.settled)
    }
}

/// A run that was cut off: its lease has run out.
pub struct CutOff {
    lease: Lease,
    item: Item,
}

impl Engine {
    /// Handles one finding: one result for each of its resources, at least one in all; then the ends of others' runs
    /// that stood in the way.
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

        // locate: one run for each resource of the remediator's kind, or that an account stands for
        let (mut keys, accounts, misplaced) = locate(finding, remediator);
        let mut done = Vec::new();
        for why in misplaced {
            done.push(self.refuse(request, subject.clone(), &at_large, &why).await);
        }
        if let Some(only) = &request.only_resource {
            keys.retain(|key| key == only);
        }
        if keys.len() > MOST_RESOURCES {
            let why = format!("{} resources in one finding; {MOST_RESOURCES} are handled", keys.len());
            done.push(self.refuse(request, subject.clone(), &at_large, &why).await);
            keys.truncate(MOST_RESOURCES);
        }
        let (mut members, mut others) = (Vec::new(), Vec::new());
        for account in &accounts {
            match self.members(request, &subject, account, remediator, rule).await {
                Ok(found) => members.push(found),
                Err(ended) => done.push(ended),
            }
        }
        if keys.is_empty() && members.iter().all(|found| found.keys.is_empty()) && done.is_empty() {
            let (kind, name) = (remediator.kind().asff, remediator.spec().name);
            let why = format!("the finding names no {kind} that `{name}` could fix");
            done.push(self.refuse(request, subject.clone(), &at_large, &why).await);
        }
        for key in &keys {
            subject.resource = Some(key.clone());
            // Boxed: the way of a resource is a large future, and it is held once for each caller otherwise.
            let one = self.one(request, subject.clone(), key.clone(), (remediator, rule), &mut others);
            done.push(Box::pin(one).await);
        }
        for mut found in members {
            found.keys.retain(|key| !keys.contains(key));
            let mut ended = Vec::new();
            for key in &found.keys {
                if Instant::now() + self.settings.time_to_verify > request.deadline {
                    break;
                }
                subject.resource = Some(key.clone());
                let one = self.one(request, subject.clone(), key.clone(), (remediator, rule), &mut others);
                let one = Box::pin(one).await;
                ended.push((key.clone(), !matches!(one, Done::Retry { .. })));
                done.push(one);
            }
            done.extend(self.rest(request, found, &ended).await);
        }
        leave_new(&mut done);
        done.extend(others);
        done
    }

    /// What the finding is fixed by. `Ok(None)`: nobody wants it, and nobody waits for an answer.
    fn route(&self, request: &Request) -> Result<Option<Routed<'_>>, String> {
        let finding = &request.finding;
        let control = finding.control.as_str();
        if request.verb == Verb::Undo {
            // Undo asks for no rule: what was done is put back by whatever did it.
            let with = |general: bool| {
                let fits = move |known: &&dyn Erased| {
                    known.spec().is_general() == general && known.spec().serves(control)
                };
                self.registry.iter().copied().filter(fits)
            };
            let serving = || with(false).chain(with(true));
            return serving()
                .find(|remediator| finding.is_for(*remediator))
                .or_else(|| serving().next())
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
        (remediator, rule): Routed<'_>,
        others: &mut Vec<Done>,
    ) -> Done {
        let asked = if request.verb == Verb::Plan || request.dry_run { Mode::Plan } else { Mode::Apply };
        let (mode, lowered) = guard::mode(asked, &request.asked_by, rule, self.settings.ceiling);
        for _ in 0..MOST_STARTS {
            let subject = Subject { mode, ..subject.clone() };
            let mut run = self.start(request, subject, &key, remediator, rule);
            let gone = run.go(mode, lowered.clone()).await;
            others.extend(run.other.take());
            match gone {
                Ok(done) => return done,
                Err(Stop::Again) => {}
                Err(Stop::Retry { after, why, error }) => return Done::Retry { after, why, error },
                Err(Stop::Stage { stage, reason, error }) => {
                    let ending = Ending { reason: Some(reason), error, ..Ending::new(stage, Vec::new()) };
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
        let keys = Keys::new(key, remediator, &request.event, &request.finding.id, rule.map(Rule::name));
        Run {
            request: Some(request),
            note: request.finding.note.clone(),
            rule,
            ..self.new_run(keys, subject, key.clone(), remediator, request.deadline)
        }
    }

    /// A run under a number of its own, which has done nothing yet and stands on no request and no rule.
    fn new_run(
        &self,
        keys: Keys,
        subject: Subject,
        key: Key,
        remediator: &'static dyn Erased,
        deadline: Instant,
    ) -> Run<'_> {
        Run {
            engine: self,
            request: None,
            id: uuid::Uuid::now_v7().to_string(),
            keys,
            subject,
            key,
            remediator,
            rule: None,
            undone_rule: None,
            goal: Goal::Fix,
            items: HashMap::new(),
            deadline,
            started: (self.clock)(),
            since: None,
            seen: None,
            chain: (0, String::new()),
            lease: None,
            origin: None,
            recorded_calls: 0,
            asides: Vec::new(),
            note: None,
            other: None,
        }
    }

    /// Every run that was cut off, as far as its lease has run out.
    ///
    /// # Errors
    /// Where the leases can't be read.
    pub async fn cut_off(&self) -> Result<Vec<CutOff>, Error> {
        let mut found = Vec::new();
        for (_, item) in self.store.scan("lease#").await? {
            match serde_json::from_value::<Lease>(item.body.clone()) {
                Ok(lease) if lease.until <= (self.clock)() => found.push(CutOff { lease, item }),
                Ok(_) => {}
                Err(_) => warn!(body = %item.body, "a lease can't be read"),
            }
        }
        Ok(found)
    }

    /// Settles a run that was cut off; `None` where somebody else was faster.
    pub async fn finish(&self, CutOff { lease, item }: CutOff, deadline: Instant) -> Option<Done> {
        match self.settle(lease, item, deadline).await {
            Ok(done) => Some(done),
            Err(Stop::Retry { after, why, error }) => Some(Done::Retry { after, why, error }),
            Err(Stop::Stage { stage, reason, error }) => {
                Some(Done::Repeat { stage, reason, error: error.map(|error| error.kind) })
            }
            Err(Stop::Again) => None,
        }
    }

    /// Settles every run that was cut off, as far as its lease has run out.
    ///
    /// # Errors
    /// Where the leases can't be read.
    pub async fn recover(&self, deadline: Instant) -> Result<Vec<Done>, Error> {
        let mut done = Vec::new();
        for cut_off in self.cut_off().await? {
            done.extend(Box::pin(self.finish(cut_off, deadline)).await);
        }
        Ok(done)
    }

    /// Goes on with a run that was cut off, under its own number and chain.
    async fn settle(&self, lease: Lease, item: Item, deadline: Instant) -> Result<Done, Stop> {
        let lines = self.store.run(&lease.run).await?;
        let broken = |why: String| Stop::stage(Stage::Failed, format!("run {}: {why}", lease.run));
        let records = verify_run_of(&lease.run, &lines).map_err(|error| broken(error.0))?;
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
        let (goal, undone_rule) = match (subject.verb, &subject.undoes) {
            (Verb::Undo, Some(run)) => {
                let (change, rule) = self.recorded_change(run).await?;
                (Goal::Undo(change), rule)
            }
            _ => (Goal::Fix, None),
        };
        let finding = subject.finding.as_ref().map(|finding| finding.id.clone()).unwrap_or_default();
        let event = subject.event.clone().unwrap_or_default();
        let rule = subject.rule.as_deref().and_then(|name| self.rules.rule(name));
        let keys = Keys::new(&lease.resource, remediator, &event, &finding, subject.rule.as_deref());
        let mut last = last.clone();
        // That a change was accepted repeats neither its risk nor its notes.
        if last.risk.is_none()
            && let Some(intent) = records.iter().rev().find(|record| record.risk.is_some())
        {
            last.risk = intent.risk;
            last.notes.clone_from(&intent.notes);
        }
        let mut run = Run {
            id: lease.run.clone(),
            rule,
            undone_rule,
            goal,
            chain: (last.seq, hash),
            origin: Some(change.from.clone()),
            ..self.new_run(keys, subject, lease.resource.clone(), remediator, deadline)
        };
        info!(run = run.id, resource = %run.key, "settling a run that was cut off");
        run.resume(&item, &last).await
    }

    /// What a run made of the resource, from its first intent to its outcome, and the rule that it followed.
    async fn recorded_change(&self, run: &str) -> Result<(Change<Value>, Option<&Rule>), Stop> {
        let records = store::records(&*self.store, run).await?;
        // The change that an outcome tells of begins where the first intent of its run did.
        let last = records.last().filter(|record| record.last);
        let rule = last.and_then(|record| self.rules.rule(record.subject.rule.as_deref()?));
        let change = last.and_then(|record| record.change.clone());
        let why = || format!("records of run {run}: there is no whole change in them");
        Ok((change.ok_or_else(|| Stop::stage(Stage::Refused, why()))?, rule))
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
                unlisted: !request.listed,
            }),
            control: finding.control.as_str().to_owned(),
            rule: None,
            rules_hash: self.rules.hash.to_string(),
            remediator: None,
            remediator_version: 0,
            params: Value::Null,
            control_params: None,
            fields: BTreeMap::new(),
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
            finding: dismissed.finding.clone(),
            control: String::new(),
            rule: None,
            rules_hash: self.rules.hash.to_string(),
            remediator: None,
            remediator_version: 0,
            params: Value::Null,
            control_params: None,
            fields: BTreeMap::new(),
            mode: Mode::Plan,
            account: dismissed.account.to_owned(),
            region: dismissed.region.to_owned(),
            resource: None,
            undoes: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let id = dismissed.finding.as_ref().map(|finding| finding.id.clone()).unwrap_or_default();
        let key = Key {
            partition: self.settings.partition.clone(),
            account: dismissed.account.to_owned(),
            region: dismissed.region.to_owned(),
            kind: "Finding".to_owned(),
            id: id.clone(),
        };
        let keys = Keys::new(&key, remediator, dismissed.event, &id, None);
        let mut run = self.new_run(keys, subject, key, remediator, Instant::now());
        run.note.clone_from(&dismissed.note);
        run.look_back().await;
        let reason = Some(dismissed.why.to_owned());
        run.conclude(Ending { reason, ..Ending::new(dismissed.stage, Vec::new()) }).await
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
        run.conclude(Ending { reason: Some(why.to_owned()), ..Ending::new(stage, Vec::new()) }).await
    }
}

/// The resources that the finding names and the remediator can fix, the accounts among them that stand for such
/// resources, and what is wrong with others.
fn locate(finding: &Finding, remediator: &dyn Erased) -> (Vec<Key>, Vec<Key>, Vec<String>) {
    let (mut keys, mut accounts, mut misplaced) = (Vec::new(), Vec::new(), Vec::new());
    for resource in &finding.resources {
        let stands = remediator.of_account() && RegionOfAccount::KIND.covers(&resource.kind);
        if !remediator.takes(&resource.kind) {
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
        // That its account and partition are the finding's is part of the finding's authenticity.
        let (located, known) = if stands {
            (RegionOfAccount::locate(&seen), &mut accounts)
        } else {
            (remediator.locate(&seen), &mut keys)
        };
        match located {
            Ok(key) if known.contains(&key) => {}
            Ok(key) => known.push(key),
            Err(why) => misplaced.push(why.to_string()),
        }
    }
    (keys, accounts, misplaced)
}

/// Of a finding of several resources one of which is still to be dealt with, the workflow stays NEW: rules take no
/// other, and would not come back to that one.
fn leave_new(done: &mut [Done]) {
    let dealt_with = |done: &Done| match done {
        Done::Outcome(outcome) => outcome.stage.is_dealt_with(),
        Done::Repeat { stage, .. } => stage.is_dealt_with(),
        Done::Unwanted(_) | Done::Retry { .. } => false,
    };
    if done.iter().all(dealt_with) {
        return;
    }
    for done in done {
        if let Done::Outcome(outcome) = done {
            outcome.workflow_new = false;
        }
    }
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
