//! One run on one resource: from the first look at the state to the stored outcome.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use redress_remediators::{
    Access, Aws, Call, Change, Connection, Disposition, Erased, Error, ErrorKind, Evidence, Key, LastSeen,
    Plan, Progress, Proposal, RawAsk, Risk, Tags, Undo,
};
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::warn;

use super::{Done, Engine, OnFinding, Outcome, Purpose, Request, SOON};
use crate::{
    audit::{Record, Stage, Subject, Verb},
    control,
    event::{printable, shown},
    exemption::{self, Found},
    finding::{Finding, Note, Workflow},
    guard::{self, Fix, Fixes, Hold, Keys, Lease, Memo, Since, digest},
    rules::{ExemptBy, Mode, Rule},
    store::{self, Commit, CommitError, Expect, Item, Op, Unread},
    undo,
};

/// A lease outlives its holder's deadline by this: by then the process has been ended.
const LEASE_AFTER_DEADLINE: Duration = Duration::from_secs(60);

/// The longest record that is stored, in bytes of JSON. A DynamoDB item holds
/// [400 KB](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html); a policy
/// that large compresses well below it.
const LONGEST_RECORD: usize = 1 << 20;

/// What is kept free for what an outcome holds beyond what is known when it begins: calls, reasons, and what AWS adds to
/// a state.
const LEFT_FOR_THE_END: usize = 64 * 1024;

/// Why nothing is done or undone about a user.
const NO_ACTIVITY: &str = "no table of users' activity is named (REDRESS_ACTIVITY_TABLE, --activity-table)";

/// A run on one resource, from its plan to its outcome.
pub(super) struct Run<'e> {
    pub(super) engine: &'e Engine,
    pub(super) request: Option<&'e Request>,
    pub(super) id: String,
    pub(super) subject: Subject,
    pub(super) key: Key,
    pub(super) remediator: &'static dyn Erased,
    pub(super) rule: Option<&'e Rule>,
    /// The rule whose fix an undo puts back.
    pub(super) undone_rule: Option<&'e Rule>,
    pub(super) goal: Goal,
    pub(super) keys: Keys,
    pub(super) items: HashMap<String, Item>,
    pub(super) deadline: Instant,
    pub(super) started: Timestamp,
    pub(super) since: Option<Timestamp>,
    pub(super) seen: Option<LastSeen>,
    /// The chain so far: the number and hash of the last record.
    pub(super) chain: (u32, String),
    /// The lease's etag, once it is ours.
    pub(super) lease: Option<String>,
    /// The state before the first intent, if this run goes on where another left off.
    pub(super) origin: Option<Value>,
    pub(super) recorded_calls: usize,
    /// What could not be read and need not be.
    pub(super) asides: Vec<String>,
    /// The note that stands on the finding, as far as it is at hand.
    pub(super) note: Option<Note>,
    /// The end of another's run, which stood in the way.
    pub(super) other: Option<Done>,
}

/// What a run is to reach.
#[derive(Clone, Debug)]
pub(super) enum Goal {
    Fix,
    Undo(Change<Value>),
}

/// Why a run ends before its goal.
pub(super) enum Stop {
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
        let reason = printable(&error.message);
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

impl From<Unread> for Stop {
    fn from(error: Unread) -> Self {
        match error {
            Unread::Store(error) => error.into(),
            broken @ Unread::Broken { .. } => Self::stage(Stage::Refused, broken.to_string()),
        }
    }
}

impl Stop {
    pub(super) fn stage(stage: Stage, reason: impl Into<String>) -> Self {
        Self::Stage { stage, reason: reason.into(), error: None }
    }

    pub(super) fn retry(after: Duration, why: impl Into<String>) -> Self {
        Self::Retry { after, why: why.into(), error: None }
    }
}

/// What a run ends with.
pub(super) struct Ending {
    pub(super) stage: Stage,
    pub(super) reason: Option<String>,
    pub(super) proposal: Option<(Change<Value>, Risk, Vec<String>)>,
    pub(super) after: Option<Value>,
    pub(super) error: Option<Error>,
    pub(super) calls: Vec<Call>,
    pub(super) alarm: Option<&'static str>,
    /// Whether a write was attempted.
    pub(super) attempted: bool,
}

impl Ending {
    /// Nothing but how it ended, and all calls that were made until then.
    pub(super) fn new(stage: Stage, calls: Vec<Call>) -> Self {
        Self {
            stage,
            reason: None,
            proposal: None,
            after: None,
            error: None,
            calls,
            alarm: None,
            attempted: false,
        }
    }
}

impl Run<'_> {
    /// Reads what was decided before. That it can't be read means that it is told once more.
    pub(super) async fn look_back(&mut self) {
        let memo = self.keys.memo(&self.subject.asked_by).to_owned();
        match self.engine.store.read(&[memo]).await {
            Ok(items) => self.items = items,
            Err(error) => warn!(%error, "the state can't be read"),
        }
    }

    /// From the first look at the state to the outcome.
    pub(super) async fn go(&mut self, mode: Mode, lowered: Option<String>) -> Result<Done, Stop> {
        let Some(request) = self.request else { return Err(Stop::stage(Stage::Failed, "no request")) };
        self.items = match self.engine.store.read(&self.keys.all()).await {
            Ok(items) => items,
            Err(error) if error.disposition() == Disposition::Retry => return Err(error.into()),
            Err(error) => {
                return Err(Stop::stage(
                    Stage::Refused,
                    format!("the kill switch can't be read, so it is on: {}", printable(&error.message)),
                ));
            }
        };
        if let Some(done) = self.told_before(request).await? {
            return Ok(done);
        }
        let writes = mode == Mode::Apply;
        if writes && let Some(done) = self.wait_for_others(request).await? {
            return Ok(done);
        }

        let undoes = match request.verb {
            Verb::Undo => Some(self.choose_undo(request).await?),
            Verb::Plan | Verb::Fix => None,
        };
        self.subject.undoes = undoes;
        self.subject.remediator = Some(self.remediator.spec().name.to_owned());
        self.subject.remediator_version = self.remediator.spec().version;

        if matches!(self.goal, Goal::Fix) {
            self.subject.fields = self.fields(&request.finding)?;
        }

        // observe: what stops a run is known before credentials that could write are asked for
        let stopped = guard::stopped(&self.items, &self.keys);
        let access = match (writes && stopped.is_none(), &self.goal) {
            (false, _) => Access::Plan,
            (true, Goal::Fix) => Access::Apply,
            (true, Goal::Undo(_)) => Access::Undo,
        };
        let aws = self.aws(access).await?;
        let reads_tags = guard::reads_tags(self.rule);
        let (facts, observed) = tokio::join!(self.remediator.inspect(&aws, reads_tags), self.look(&aws));
        let (facts, now) = match (facts, observed) {
            (Ok(facts), Ok(now)) => (facts, now),
            // Of a resource that is gone, both say so; what the proof of ownership says comes first.
            (Err(error), _) | (_, Err(error)) => return Err(error.into()),
        };
        match (self.remediator.evidence(), &self.goal) {
            (Evidence::State, _) => self.keep_since(request, &now).await?,
            (Evidence::Activity, Goal::Fix) => self.seen = self.last_seen().await?,
            (Evidence::Activity, Goal::Undo(_)) if self.goes_unheard() => {
                return Err(Stop::stage(Stage::Refused, NO_ACTIVITY));
            }
            (Evidence::Activity, Goal::Undo(_)) => {}
        }

        // plan
        let Proposal { to, risk, mut notes } = match self.decide(&now)? {
            Plan::Change(proposal) => proposal,
            // By AWS's defaults, which need not be what is set in this account.
            Plan::Compliant if !self.asides.is_empty() => {
                let why = "what the control asks for in this account is not known".to_owned();
                return Err(Stop::stage(Stage::Refused, self.with_asides(why)));
            }
            Plan::Compliant => return Ok(self.compliant(now, aws.calls()).await),
            Plan::Wait { until, why } => {
                let reason = format!("waits until {}: {why}", until.strftime("%Y-%m-%d %H:%M UTC"));
                return Err(Stop::stage(Stage::Waiting, reason));
            }
            Plan::Refuse(why) => return Err(Stop::stage(Stage::Refused, self.with_asides(why))),
            Plan::Exempt(why) => return Err(Stop::stage(Stage::Exempt, why)),
        };
        if matches!(self.goal, Goal::Fix) {
            notes.extend(self.remediator.raises(&to)?.iter().map(|raised| {
                let title = control::info(raised).map_or("", |info| info.title);
                format!("once this is done, {raised} fails: {title}")
            }));
        }
        notes.extend(self.asides.iter().map(|aside| format!("AWS's defaults are assumed: {aside}")));
        let change = Change { from: now, to };
        if let Some(agreed) = &request.agreed
            && !(self.remediator.same(&agreed.from, &change.from)?
                && self.remediator.same(&agreed.to, &change.to)?)
        {
            return Err(Stop::Stage {
                stage: Stage::Failed,
                reason: "the resource is not as it was when the plan was made; plan again".to_owned(),
                error: Some(Error::new(ErrorKind::Drifted, "drifted")),
            });
        }

        if let Some(why) = self.undoes_what_came_before(request, &change.to)? {
            return Err(Stop::stage(Stage::Refused, why));
        }

        // guard
        let verdict = self.guard(stopped.filter(|_| writes), risk, facts.tags.as_ref(), &mut notes);
        let proposal = Some((change.clone(), risk, notes.clone()));
        if let Some((stage, reason)) = verdict {
            let ending = Ending { reason: Some(reason), proposal, ..Ending::new(stage, aws.calls()) };
            return Ok(self.conclude(ending).await);
        }
        if !writes {
            let ending = Ending { reason: lowered, proposal, ..Ending::new(Stage::Planned, aws.calls()) };
            return Ok(self.conclude(ending).await);
        }
        Box::pin(self.write(&aws, change, risk, notes)).await
    }

    /// An event whose outcome is stored is not run again; only its report is made up.
    async fn told_before(&mut self, request: &Request) -> Result<Option<Done>, Stop> {
        let Ok(Some(memo)) = guard::read::<Memo>(&self.items, &self.keys.event) else { return Ok(None) };
        if !memo.stage.changed() || request.verb == Verb::Plan {
            return Ok(None);
        }
        let reason = format!("this event has ended as `{}` in run {}", memo.stage.as_str(), memo.run);
        if memo.reported {
            return Ok(Some(Done::Repeat { stage: memo.stage, reason, error: None }));
        }
        let stage = memo.stage;
        Ok(Some(match self.told_late(&self.keys.event, memo).await? {
            Some(outcome) => Done::Outcome(outcome),
            None => Done::Repeat { stage, reason, error: None },
        }))
    }

    /// What ended and was not told, from its records; `None` where they have no end.
    async fn told_late(&self, key: &str, memo: Memo) -> Result<Option<Box<Outcome>>, Stop> {
        let records = match store::records(&*self.engine.store, &memo.run).await {
            Err(broken @ Unread::Broken { .. }) => {
                return Err(Stop::stage(Stage::Failed, broken.to_string()));
            }
            read => read?,
        };
        Ok(records.last().filter(|record| record.last).map(|last| {
            let mut outcome = outcome_of(last);
            self.address(&mut outcome);
            if last.replaced_note.is_none() {
                outcome.on_finding = crate::report::room_for_note(&outcome);
            }
            outcome.memo = Some((key.to_owned(), memo));
            Box::new(outcome)
        }))
    }

    /// Keeps clear of whoever is at the resource, and settles what was cut off. AWS's refusal of a change that
    /// this event had begun is the event's outcome, and so is that it may not be gone on with: a run anew would say that
    /// nothing was changed.
    async fn wait_for_others(&mut self, request: &Request) -> Result<Option<Done>, Stop> {
        let now = (self.engine.clock)();
        let Some(item) = self.items.get(&self.keys.lease).cloned() else { return Ok(None) };
        let lease: Lease = match guard::read(&self.items, &self.keys.lease) {
            Ok(Some(lease)) => lease,
            Ok(None) => return Ok(None),
            Err(error) => return Err(Stop::stage(Stage::Refused, error)),
        };
        if lease.until > now {
            return Err(self.taken(&lease, now));
        }
        let own = lease.memo == self.keys.event;
        if !own && !self.engine.settings.settles_others {
            let why =
                format!("run {} was cut off here, and is gone on with by `redress recover` alone", lease.run);
            return Err(Stop::stage(Stage::Refused, why));
        }
        match Box::pin(self.engine.settle(lease, item, request.deadline)).await? {
            Done::Retry { after, why, error } => return Err(Stop::Retry { after, why, error }),
            Done::Outcome(mut outcome)
                if own
                    && matches!(outcome.stage, Stage::Denied | Stage::Failed)
                    && (outcome.error_code.is_some() || outcome.error == Some(ErrorKind::Blocked)) =>
            {
                self.address(&mut outcome);
                outcome.on_finding = crate::report::room_for_note(&outcome);
                return Ok(Some(Done::Outcome(outcome)));
            }
            // Whoever waits for it has to be told, and by its event it may never come to that.
            other @ Done::Outcome(_) if !own => self.other = Some(other),
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

    /// What the rule's parameters name of the finding. Anybody who can import a finding may write what is in it, so
    /// it may be a name, an id or an ARN and nothing that a template could take for more.
    fn fields(&self, finding: &Finding) -> Result<BTreeMap<String, String>, Stop> {
        let region = if self.key.region == "global" { &finding.region } else { &self.key.region };
        let text = |name: &str| -> Option<String> {
            Some(match name {
                "account" => self.key.account.clone(),
                "region" => region.clone(),
                "partition" => self.key.partition.clone(),
                "control" => finding.control.as_str().to_owned(),
                "resource.id" => self.key.id.clone(),
                "resource.arn" => self.remediator.arn(&self.key),
                "resource.type" => self.key.kind.clone(),
                _ => match finding.json.pointer(name.strip_prefix("finding:")?)? {
                    Value::String(text) => text.clone(),
                    Value::Number(number) => number.to_string(),
                    Value::Bool(flag) => flag.to_string(),
                    Value::Null | Value::Array(_) | Value::Object(_) => return None,
                },
            })
        };
        let read = |name: String| {
            let why = match text(&name) {
                None => "names nothing that the finding has",
                Some(text) if !is_plain(&text) => {
                    "is not made of 1 to 512 letters, digits and `-_.:/=+@#` in this finding"
                }
                Some(text) => return Ok((name, text)),
            };
            Err(Stop::stage(Stage::Refused, format!("the rule's `{{{}}}` {why}", shown(&name))))
        };
        self.remediator.fields(&self.subject.params)?.into_iter().map(read).collect()
    }

    fn work(&self) -> String {
        let Subject { control, params, verb, .. } = &self.subject;
        digest(&json!([self.remediator.spec().name, control, params, verb]))
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
        let connection = self.connection(access, asks).await?;
        if asks {
            match self.engine.connect.control_params(&connection, &control).await {
                Ok(params) => self.subject.control_params = params,
                Err(error) if error.disposition() == Disposition::Retry => return Err(error.into()),
                // The plan decides what can be done without them: nothing that removes something.
                Err(error) => self.asides.push(printable(&error.message)),
            }
        }
        Ok(Aws::new(connection, self.key.clone(), self.remediator, access).of_run(&self.id))
    }

    /// A reason, with what could not be read.
    fn with_asides(&self, why: String) -> String {
        self.asides.iter().fold(why, |why, aside| why + " (" + aside + ")")
    }

    /// Other credentials for the same run.
    pub(super) async fn clients(&self, access: Access) -> Result<Aws, Error> {
        let connection = self.connection(access, false).await?;
        Ok(Aws::new(connection, self.key.clone(), self.remediator, access).of_run(&self.id))
    }

    async fn connection(&self, access: Access, control_params: bool) -> Result<Connection, Error> {
        let narrowed = self.remediator.narrowed(&self.subject.params)?;
        let purpose = Purpose {
            key: &self.key,
            region: &self.subject.region,
            remediator: self.remediator,
            access,
            run: &self.id,
            control_params,
            narrowed: &narrowed,
        };
        let mut connection = self.engine.connect.connect(&purpose).await?;
        connection.pace = Some(self.engine.budget.until(self.deadline));
        Ok(connection)
    }

    /// Whether the plan rests on when a user was last seen.
    fn rests_on_activity(&self) -> bool {
        self.remediator.evidence() == Evidence::Activity && matches!(self.goal, Goal::Fix)
    }

    /// Whether no table is there to be told of an undo: without its row, the user would never be looked at again.
    fn goes_unheard(&self) -> bool {
        let of_user = self.remediator.evidence() == Evidence::Activity;
        of_user && matches!(self.goal, Goal::Undo(_)) && self.engine.activity.is_none()
    }

    /// When the user that this run is about was last seen.
    async fn last_seen(&self) -> Result<Option<LastSeen>, Error> {
        match &self.engine.activity {
            Some(activity) => activity.last(&self.key).await,
            None => Ok(None),
        }
    }

    /// The evidence that the plan rests on, once more.
    async fn evidence(&self) -> Result<Option<LastSeen>, Error> {
        if self.rests_on_activity() { self.last_seen().await } else { Ok(self.seen.clone()) }
    }

    /// The live state. Before an undo it is looked for where the fix has put it: what was released or
    /// deleted is not a resource that does not exist.
    async fn look(&self, aws: &Aws) -> Result<Value, Error> {
        match &self.goal {
            Goal::Fix => self.remediator.observe(aws).await,
            Goal::Undo(change) => self.remediator.check(aws, change).await,
        }
    }

    /// Keeps since when a state that the remediator watches has been there.
    async fn keep_since(&mut self, request: &Request, now: &Value) -> Result<(), Stop> {
        let known = self.items.get(&self.keys.since).cloned();
        let aging = matches!(self.goal, Goal::Fix) && self.remediator.aging(now)?;
        let op = match (aging, &known) {
            (true, known) => {
                let kept = guard::read::<Since>(&self.items, &self.keys.since).ok().flatten();
                let kept = kept.filter(|kept| kept.holds(self.started));
                self.since = kept.as_ref().map(|kept| kept.since);
                // Our own notes bring the finding back at once: that is no news.
                if kept.is_some_and(|kept| kept.is_fresh(self.started)) {
                    return Ok(());
                }
                let since = self.since.unwrap_or(self.started);
                Op::Put {
                    key: self.keys.since.clone(),
                    body: json!(Since { since, seen: Some(self.started) }),
                    etag: self.id.clone(),
                    expect: Expect::unchanged(known.as_ref()),
                    expires: Some(self.started + guard::UNSEEN_AT_MOST),
                }
            }
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
                    seen: self.seen.as_ref(),
                    fields: &self.subject.fields,
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

    /// Why a change is at odds with one that was made right before: what that one was for would fail again.
    fn undoes_what_came_before(&self, request: &Request, to: &Value) -> Result<Option<String>, Stop> {
        if matches!(self.goal, Goal::Undo(_)) {
            return Ok(None);
        }
        for before in &request.after {
            let same = before.resource.as_ref() == Some(&self.key)
                && before.remediator.as_deref() == Some(self.remediator.spec().name);
            if !same {
                continue;
            }
            let ask = RawAsk {
                control: &before.control,
                params: &before.params,
                control_params: before.control_params.as_ref(),
                at: self.started,
                since: self.since,
                seen: self.seen.as_ref(),
                fields: &before.fields,
                by_person: !before.asked_by.is_automatic(),
            };
            if matches!(self.remediator.plan(to, &ask)?, Plan::Change(_)) {
                let rule = before.rule.as_deref().unwrap_or_default();
                return Ok(Some(format!(
                    "{} of rule `{}`, fixed a moment ago, would fail again: the two rules are at odds",
                    before.control,
                    shown(rule)
                )));
            }
        }
        Ok(None)
    }

    /// The first reason not to make the change.
    fn guard(
        &self,
        stopped: Option<String>,
        risk: Risk,
        tags: Option<&Tags>,
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
        let name = self.remediator.spec().name;
        let is_named =
            |resource: &str| exemption::is_named(resource, &self.key, self.remediator, &self.subject.region);
        match exemption::find(file, is_named, name, tags, self.started) {
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

    /// Looks up the run that is to be undone, and what it has changed.
    async fn choose_undo(&mut self, request: &Request) -> Result<String, Stop> {
        let Engine { store, registry, .. } = self.engine;
        let control = request.finding.control.as_str();
        if let Some(asked) = request.asked_at
            && let Some(run) = undo::undone_since(&**store, &self.key, control, asked).await?
        {
            return Err(Stop::stage(Stage::Skipped, format!("run {run} has undone it since this was asked")));
        }
        let Some((run, remediator)) = undo::last(&**store, registry, &self.key, Some(control)).await? else {
            let none = format!("nothing to undo: no verified change for {control} is left in the records");
            let other = undo::last(&**store, registry, &self.key, None).await?;
            let hint = other.and_then(|(other, _)| Some((other.run, other.control?)));
            let hint = hint.map(|(run, about)| format!("; run {run} on this resource was for {about}"));
            return Err(Stop::stage(Stage::Skipped, none + &hint.unwrap_or_default()));
        };
        self.remediator = remediator;
        let (change, rule) = self.engine.recorded_change(&run.run).await?;
        (self.goal, self.undone_rule) = (Goal::Undo(change), rule);
        Ok(run.run)
    }

    /// There is nothing to change: by somebody else's hand, or against Security Hub's reading.
    async fn compliant(&mut self, now: Value, calls: Vec<Call>) -> Done {
        let fix = matches!(self.goal, Goal::Fix);
        let (stage, reason, alarm) = if fix && self.was_fixed_long_ago().await {
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
            (Stage::Skipped, "nothing to undo: of what can be put back, all is as it was".to_owned(), None)
        };
        let ending = Ending { reason: Some(reason), after: Some(now), alarm, ..Ending::new(stage, calls) };
        self.conclude(ending).await
    }

    /// Whether what the control asks for was brought about so long ago that Security Hub must have seen it. A fix for
    /// another control counts where this one failed before it, too.
    async fn was_fixed_long_ago(&self) -> bool {
        let fixes = guard::read::<Fixes>(&self.items, &self.keys.fixes).ok().flatten().unwrap_or_default();
        let mut last = fixes.last;
        last.sort_by_key(|fix| Reverse(fix.at));
        for fix in last {
            if fix.control == self.subject.control || self.failed_before(&fix).await {
                return guard::disagrees(fix.at, self.started);
            }
        }
        false
    }

    /// Whether the control failed on what a fix has changed.
    async fn failed_before(&self, fix: &Fix) -> bool {
        let recorded = self.engine.recorded_change(&fix.run).await;
        recorded.is_ok_and(|(change, _)| matches!(self.decide(&change.from), Ok(Plan::Change(_))))
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
            if let Some(memo) = memo.filter(|memo| !memo.reported)
                && let Some(outcome) = self.told_late(&self.keys.decision, memo).await?
            {
                return Ok(Done::Outcome(outcome));
            }
            let reason = "the same change failed less than 24 hours ago".to_owned();
            return Ok(Done::Repeat { stage: Stage::Skipped, reason, error: None });
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
        match self.begin(aws, record, expect, caps).await {
            Ok(()) => {}
            Err(CommitError::Conflict(_)) => return Err(self.lost_the_race().await?),
            Err(CommitError::Limit(key)) => {
                let limit = limits.iter().find(|(name, _)| *name == key).map_or(0, |(_, limit)| *limit);
                let ending = Ending {
                    reason: Some(guard::cap_reached(&key, limit)),
                    proposal: Some((change, risk, notes)),
                    alarm: Some("cap_reached"),
                    ..Ending::new(Stage::Refused, aws.calls())
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
        let keys = self.keys.all();
        let again = async { tokio::try_join!(self.look(aws), self.evidence()) };
        let (items, seen) = tokio::join!(self.engine.store.read(&keys), again);
        let proposal = Some((change.clone(), risk, notes));
        if let Some(Hindrance { stage, reason, error, passes }) = self.hindered(items) {
            let ending = Ending { reason: Some(reason), proposal, error, ..Ending::new(stage, aws.calls()) };
            return Ok(if passes { self.give_back(ending).await } else { self.conclude(ending).await });
        }
        match seen {
            Ok((now, seen)) if seen == self.seen && self.remediator.same(&now, &change.from)? => {}
            Ok((now, _)) => {
                let ending = Ending {
                    reason: Some(
                        "the resource changed between plan and write; nothing was written".to_owned(),
                    ),
                    proposal,
                    after: Some(now),
                    error: Some(Error::new(ErrorKind::Drifted, "drifted")),
                    ..Ending::new(Stage::Skipped, aws.calls())
                };
                return Ok(self.give_back(ending).await);
            }
            Err(error) => {
                let ending = Ending {
                    reason: Some(format!("nothing was written: {}", printable(&error.message))),
                    proposal,
                    error: Some(error.clone()),
                    ..Ending::new(Stage::Failed, aws.calls())
                };
                return Ok(match error.disposition() {
                    Disposition::Retry => self.give_back(ending).await,
                    Disposition::Close | Disposition::Escalate => self.conclude(ending).await,
                });
            }
        }
        self.apply(aws, change, risk, proposal.map(|(_, _, notes)| notes).unwrap_or_default()).await
    }

    /// What stands against a write by the state as it is under the lease.
    fn hindered(&mut self, items: Result<HashMap<String, Item>, Error>) -> Option<Hindrance> {
        let items = match items {
            Ok(items) => items,
            Err(error) => {
                let reason =
                    format!("the kill switch can't be read, so it is on: {}", printable(&error.message));
                let passes = error.disposition() == Disposition::Retry;
                return Some(Hindrance {
                    stage: Stage::Refused,
                    reason,
                    error: passes.then_some(error),
                    passes,
                });
            }
        };
        let others = !self.keys.same_past(&self.items, &items);
        self.items = items;
        if let Some(reason) = guard::stopped(&self.items, &self.keys) {
            return Some(Hindrance { stage: Stage::Refused, reason, error: None, passes: false });
        }
        // It has come and gone between the first look and the lease: what it left behind decides anew.
        others.then(|| Hindrance {
            stage: Stage::Skipped,
            reason: "another run has just ended on the resource; nothing was written".to_owned(),
            error: Some(Error::new(ErrorKind::Drifted, "drifted")),
            passes: true,
        })
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
        let proposal = Some((whole.clone(), risk, notes));
        match (settled, failure) {
            (Settled::Done(after, reason), _) => {
                let ending = Ending { reason, proposal, ..Ending::new(Stage::Verified, aws.calls()) };
                Box::pin(self.seal(whole, after, ending)).await
            }
            (Settled::Failed(after, why), _) => {
                let ending = Ending {
                    reason: Some(why),
                    proposal,
                    after: Some(after),
                    ..Ending::new(Stage::Failed, aws.calls())
                };
                Ok(self.conclude(ending).await)
            }
            // The write was refused and the resource is as it was: that is the end of it.
            (Settled::Not(Some(after)), Some(error))
                if error.disposition() != Disposition::Retry
                    && self.remediator.same(&after, &change.from)? =>
            {
                let stage = if error.kind == ErrorKind::Denied { Stage::Denied } else { Stage::Failed };
                let left = if self.remediator.same(&after, &whole.from)? {
                    "nothing was changed"
                } else {
                    "what this run had changed before is left"
                };
                let ending = Ending {
                    reason: Some(format!("{}; {left}", printable(&error.message))),
                    proposal,
                    after: Some(after),
                    error: Some(error),
                    attempted: true,
                    ..Ending::new(stage, aws.calls())
                };
                Ok(self.conclude(ending).await)
            }
            // Whatever else: it is not known to be done, so the intent stays open and is settled by
            // whoever comes next.
            (_, failure) => {
                let (why, kind) = match failure {
                    Some(error) => (printable(&error.message), error.kind),
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

    /// What was to be reached is reached; what it rested on is looked at for the last time.
    async fn seal(&mut self, whole: Change<Value>, after: Value, ending: Ending) -> Result<Done, Stop> {
        let stage = match self.goal {
            Goal::Fix => Stage::Verified,
            Goal::Undo(_) => Stage::Undone,
        };
        if self.remediator.evidence() == Evidence::Activity {
            match self.confirm(&whole).await {
                Ok(true) => {}
                Ok(false) => return Box::pin(self.give_way(whole, after, ending.calls)).await,
                // What is done is done, and is not known to be right: whoever comes next looks.
                Err(error) => {
                    self.release_open().await;
                    let why = format!("the activity table: {}", printable(&error.message));
                    return Err(Stop::Retry { after: SOON, why, error: Some(error.kind) });
                }
            }
        }
        let ending = Ending { stage, after: Some(after), ..ending };
        Ok(self.conclude(ending).await)
    }

    /// Whether a user is still inactive, now that no sign-in from before can be on its way any more. If so,
    /// that is kept on condition that it has not changed; an undo gives the user the time anew.
    async fn confirm(&mut self, whole: &Change<Value>) -> Result<bool, Error> {
        let Some(activity) = self.engine.activity.clone() else {
            return Err(Error::new(ErrorKind::Invalid, NO_ACTIVITY));
        };
        if matches!(self.goal, Goal::Undo(_)) {
            activity.restored(&self.key, (self.engine.clock)()).await?;
            return Ok(true);
        }
        tokio::time::sleep(self.engine.settings.sign_in_window).await;
        loop {
            self.seen = activity.last(&self.key).await?;
            let plan = self.decide(&whole.from).map_err(|_| Error::new(ErrorKind::Invalid, "no plan"))?;
            let (Plan::Change(_), Some(seen)) = (plan, &self.seen) else { return Ok(false) };
            if activity.disabled(&self.key, seen, &self.id).await? {
                return Ok(true);
            }
        }
    }

    /// Takes back what this run has done: the user was seen meanwhile.
    async fn give_way(&mut self, whole: Change<Value>, after: Value, calls: Vec<Call>) -> Result<Done, Stop> {
        let open = |error: &Error| Stop::Retry {
            after: SOON,
            why: format!(
                "the user was seen while it was being disabled, and is not enabled yet: {}",
                printable(&error.message)
            ),
            error: Some(error.kind),
        };
        let (to, notes) = match self.remediator.undo(&whole, &after)? {
            Undo::To { to, notes } => (to, notes),
            Undo::Nothing => {
                let reason = "seen while it was being disabled; somebody has enabled it".to_owned();
                let ending =
                    Ending { reason: Some(reason), after: Some(after), ..Ending::new(Stage::Skipped, calls) };
                return Ok(self.conclude(ending).await);
            }
            Undo::Refuse(why) => {
                let reason = format!("seen while it was being disabled, and not enabled again: {why}");
                let ending =
                    Ending { reason: Some(reason), after: Some(after), ..Ending::new(Stage::Failed, calls) };
                return Ok(self.conclude(ending).await);
            }
        };
        self.stays_open().await?;
        let back = Change { from: after, to };
        self.goal = Goal::Undo(whole);
        let aws = match self.clients(Access::Undo).await {
            Ok(aws) => aws,
            Err(error) => {
                self.release_open().await;
                return Err(open(&error));
            }
        };
        let why = "seen while it was being disabled: enabled again";
        let mut record = self.record_with(Stage::Intent, &calls);
        record.change = Some(back.clone());
        record.risk = Some(Risk::None);
        record.notes.clone_from(&notes);
        record.reason = Some(why.to_owned());
        let Some(etag) = self.lease.clone() else {
            return Err(Stop::retry(SOON, "the lease is not held any more"));
        };
        match self.begin(&aws, record, Expect::Etag(etag), Vec::new()).await {
            // The clients of the way back have made none yet.
            Ok(()) => self.recorded_calls = 0,
            Err(CommitError::Failed(error)) => return Err(open(&error)),
            Err(error) => return Err(Stop::retry(SOON, error.to_string())),
        }
        let failure = self.remediator.apply(&aws, &back).await.err();
        match (self.until_settled(&aws, &back, failure.as_ref()).await, failure) {
            (Settled::Done(after, _), _) => {
                let ending = Ending {
                    reason: Some(why.to_owned()),
                    after: Some(after),
                    ..Ending::new(Stage::Skipped, aws.calls())
                };
                Ok(self.conclude(ending).await)
            }
            (Settled::Not(_) | Settled::Failed(..), failure) => {
                self.release_open().await;
                let unseen = Error::new(ErrorKind::Unsettled, "it can't be seen yet");
                Err(open(&failure.unwrap_or(unseen)))
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
                Ok(now) => match self.left(change, now) {
                    Ok(Left::Nothing(said)) => return Settled::Done(now.clone(), said),
                    Ok(Left::Failed(why)) => return Settled::Failed(now.clone(), why),
                    Ok(Left::Going(_)) => {}
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
    pub(super) async fn resume(&mut self, lease: &Item, last: &Record) -> Result<Done, Stop> {
        self.items = self.engine.store.read(&self.keys.all()).await?;
        let stopped = guard::stopped(&self.items, &self.keys);
        let rule = self.rule.filter(|_| matches!(self.goal, Goal::Fix));
        let ceiling = self.engine.settings.ceiling;
        let (mut mode, mut lowered) = guard::mode(Mode::Apply, &self.subject.asked_by, rule, ceiling);
        // What a rule forbids is known no more where there is none.
        if let (Some(name), Goal::Fix, None) = (&self.subject.rule, &self.goal, rule) {
            (mode, lowered) = (Mode::Plan, Some(format!("there is no rule `{}` any more", shown(name))));
        }
        let access = match &self.goal {
            _ if stopped.is_some() || mode < Mode::Apply => Access::Plan,
            Goal::Fix => Access::Apply,
            Goal::Undo(_) => Access::Undo,
        };
        self.time_left()?;
        if self.goes_unheard() {
            return Err(Stop::retry(Duration::from_secs(900), format!("run {}: {NO_ACTIVITY}", self.id)));
        }
        let since = guard::read::<Since>(&self.items, &self.keys.since).ok().flatten();
        self.since = since.filter(|since| since.holds(self.started)).map(|since| since.since);
        if self.rests_on_activity() {
            self.seen = self.last_seen().await?;
        }
        let aws = self.aws(access).await?;
        let change = last
            .change
            .clone()
            .ok_or_else(|| Stop::stage(Stage::Failed, "the last record of the run names no change"))?;
        let (tags, now) = match self.remediator.inspect(&aws, guard::reads_tags(rule)).await {
            Ok(facts) => (facts.tags, self.remediator.check(&aws, &change).await),
            Err(error) => (None, Err(error)),
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
            reason,
            after,
            proposal: whole(to),
            ..Ending::new(stage, calls.clone())
        };
        let ending = match now {
            Ok(now) => match self.left(&change, &now)? {
                Left::Nothing(said) => {
                    let to = change.to.clone();
                    let from = self.origin.clone().unwrap_or_else(|| change.from.clone());
                    let ending = end(Stage::Verified, said, None, &to);
                    self.lease = Some(lease.etag.clone());
                    return Box::pin(self.seal(Change { from, to }, now, ending)).await;
                }
                Left::Failed(why) => end(Stage::Failed, Some(why), Some(now), &change.to),
                Left::Going(what) => return Err(self.unsettled(&what)),
                Left::Change(_) if stopped.is_some() => {
                    let why = stopped.unwrap_or_default();
                    let why = format!("run {} was cut off and can't be settled: {why}", self.id);
                    return Err(Stop::retry(Duration::from_secs(900), why));
                }
                // It was accepted and is still not there: look again, don't write again.
                Left::Change(_) if last.stage == Stage::Applied && self.young(last) => {
                    return Err(self.unsettled("the change can't be seen yet"));
                }
                Left::Change(Proposal { to, risk, .. }) if risk > last.risk.unwrap_or_default() => {
                    let reason = "the change that is left is riskier than the one that was begun".to_owned();
                    end(Stage::Failed, Some(reason), Some(now), &to)
                }
                Left::Change(mut proposal) => {
                    // What was decided since the intent counts as it does for a run that begins.
                    let forbidden = lowered.or_else(|| {
                        self.guard(None, proposal.risk, tags.as_ref(), &mut proposal.notes)
                            .map(|(_, why)| why)
                    });
                    let Some(why) = forbidden else {
                        return self.go_on(&aws, lease, now, proposal).await;
                    };
                    let (stage, reason) = self.not_gone_on(&change, &now, &why)?;
                    let blocked =
                        Some(Error::new(ErrorKind::Blocked, why)).filter(|_| stage == Stage::Failed);
                    Ending { error: blocked, ..end(stage, Some(reason), Some(now), &change.to) }
                }
                Left::No(why) => {
                    let (stage, reason) = self.not_gone_on(&change, &now, &why)?;
                    end(stage, Some(reason), Some(now), &change.to)
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
                            printable(&error.message)
                        ),
                    ));
                }
            },
        };
        // The lease is taken over by ending it: its etag is what we read.
        self.lease = Some(lease.etag.clone());
        Ok(self.conclude(ending).await)
    }

    /// How a run that was cut off ends where what is left is not to be made.
    fn not_gone_on(&self, change: &Change<Value>, now: &Value, why: &str) -> Result<(Stage, String), Stop> {
        let from = self.origin.as_ref().unwrap_or(&change.from);
        Ok(if self.remediator.same(now, from)? {
            (Stage::Skipped, format!("cut off, and nothing is changed: {why}"))
        } else {
            (Stage::Failed, format!("cut off, and not to be gone on with: {why}"))
        })
    }

    /// Whether a run that has a lease and has something to go on with is stopped, or would pass the ceiling; then it is
    /// left open.
    async fn stays_open(&mut self) -> Result<(), Stop> {
        let ceiling = self.engine.settings.ceiling;
        let why = match self.engine.store.read(&self.keys.stop_keys()).await {
            Ok(items) => guard::stopped(&items, &self.keys).or_else(|| {
                (ceiling < Mode::Apply).then(|| format!("the deployment's ceiling is `{}`", ceiling.as_str()))
            }),
            Err(error) => {
                Some(format!("the kill switch can't be read, so it is on: {}", printable(&error.message)))
            }
        };
        let Some(why) = why else { return Ok(()) };
        self.release_open().await;
        let why = format!("run {} was cut off and can't be settled: {why}", self.id);
        Err(Stop::retry(Duration::from_secs(900), why))
    }

    /// What is left of a change, by what is seen now.
    fn left(&self, change: &Change<Value>, now: &Value) -> Result<Left, Stop> {
        Ok(match self.remediator.progress(change, now)? {
            Some(Progress::Done(said)) => Left::Nothing(Some(said)),
            Some(Progress::Going(what)) => Left::Going(what),
            Some(Progress::Failed(why)) => Left::Failed(why),
            None => match self.decide(now)? {
                Plan::Compliant => Left::Nothing(None),
                Plan::Change(proposal) => Left::Change(proposal),
                Plan::Wait { why, .. } | Plan::Refuse(why) | Plan::Exempt(why) => Left::No(why),
            },
        })
    }

    /// What was accepted is under way: another time.
    fn unsettled(&self, what: &str) -> Stop {
        let why = format!("run {}: {what}", self.id);
        Stop::Retry { after: Duration::from_secs(60), why, error: Some(ErrorKind::Unsettled) }
    }

    /// Makes what is left of a change, under an intent of its own.
    async fn go_on(
        &mut self,
        aws: &Aws,
        lease: &Item,
        now: Value,
        left: Proposal<Value>,
    ) -> Result<Done, Stop> {
        let Proposal { to, risk, notes } = left;
        let next = Change { from: now, to };
        let mut record = self.record(Stage::Intent, aws);
        record.change = Some(next.clone());
        record.risk = Some(risk);
        record.notes.clone_from(&notes);
        record.reason = Some("goes on where the run was cut off".to_owned());
        match self.begin(aws, record, Expect::Etag(lease.etag.clone()), Vec::new()).await {
            Ok(()) => {}
            Err(CommitError::Failed(error)) => return Err(error.into()),
            Err(error) => return Err(Stop::retry(Duration::from_secs(5), error.to_string())),
        }
        self.stays_open().await?;

        // the last look before the write
        let why = match tokio::try_join!(self.remediator.check(aws, &next), self.evidence()) {
            Ok((now, seen)) if seen == self.seen && self.remediator.same(&now, &next.from)? => None,
            Ok(_) => Some("the resource changed before it could be gone on with".to_owned()),
            Err(error) => Some(printable(&error.message)),
        };
        if let Some(why) = why {
            self.release_open().await;
            return Err(Stop::retry(SOON, format!("run {}: {why}", self.id)));
        }
        self.apply(aws, next, risk, notes).await
    }

    /// For how long a change that was accepted is waited for before it is made again.
    fn young(&self, applied: &Record) -> bool {
        self.started.duration_since(applied.time) < SignedDuration::from_hours(1)
    }

    fn time_left(&self) -> Result<(), Stop> {
        let settings = &self.engine.settings;
        let window = if self.rests_on_activity() { settings.sign_in_window } else { Duration::ZERO };
        if Instant::now() + settings.time_to_verify + window > self.deadline {
            return Err(Stop::retry(SOON, "no time was left to verify a write"));
        }
        Ok(())
    }

    /// Takes the lease, counts the change and stores the intent, all or nothing. Then writes may go out, until the
    /// deadline; by the clock, which goes on where the process is frozen.
    async fn begin(
        &mut self,
        aws: &Aws,
        record: Record,
        expect: Expect,
        mut ops: Vec<Op>,
    ) -> Result<(), CommitError> {
        self.can_end(&record)?;
        let ends = (self.engine.clock)() + self.deadline.saturating_duration_since(Instant::now());
        let lease = Lease {
            run: self.id.clone(),
            until: ends + LEASE_AFTER_DEADLINE,
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
        aws.permit_writes(ends, Arc::clone(&self.engine.clock));
        Ok(())
    }

    /// Whether the outcome can be stored of what begins with this intent: it holds the state once more. A change whose
    /// end could not be recorded would stay open for ever, and keep everybody else from the resource.
    fn can_end(&self, intent: &Record) -> Result<(), CommitError> {
        let Some(change) = &intent.change else { return Ok(()) };
        let from = self.origin.clone().unwrap_or_else(|| change.from.clone());
        let outcome = Record {
            last: true,
            after: Some(change.to.clone()),
            change: Some(Change { from, to: change.to.clone() }),
            replaced_note: self.note.as_ref().map(|note| json!(note.text)),
            ..intent.clone()
        };
        let invalid = |why: String| CommitError::Failed(Error::new(ErrorKind::Invalid, why));
        let sealed = outcome.seal().map_err(|error| invalid(error.0))?;
        if sealed.line.len() > LONGEST_RECORD - LEFT_FOR_THE_END {
            let most = LONGEST_RECORD - LEFT_FOR_THE_END;
            return Err(invalid(format!(
                "the record of its end would be about {} bytes; at most {most} are stored",
                sealed.line.len()
            )));
        }
        Ok(self.engine.store.has_room_for(&outcome, &sealed)?)
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

    /// The fixes of the resource with this one, and whether it is one too many.
    fn refixed(&self, at: Timestamp, change: String) -> (Fixes, bool) {
        let fixes = guard::read::<Fixes>(&self.items, &self.keys.fixes).ok().flatten();
        let fix = Fix { at, run: self.id.clone(), control: self.subject.control.clone(), change };
        guard::refixed(fixes, &fix, self.subject.asked_by.is_automatic())
    }

    /// Ends the run: stores its outcome, releases its lease, and hands on what is to be told.
    pub(super) async fn conclude(&mut self, ending: Ending) -> Done {
        let Ending { stage, reason, proposal, after, error, calls, alarm, attempted } = ending;
        let automatic = self.subject.asked_by.is_automatic();
        let mut record = self.record_with(stage, &calls);
        record.last = true;
        record.reason.clone_from(&reason);
        record.error_code = error.as_ref().and_then(|error| error.code.clone());
        record.after = after;
        if crate::report::tells(stage, automatic)
            && let Some(note) = &self.note
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
            attempt: change_digest.clone().filter(|_| attempted),
            at: now,
            reported: false,
        };
        let before = guard::read::<Memo>(&self.items, &memo_key).ok().flatten();
        // The same decision is not told again; of a run that has begun, its end is stored all the same.
        let repeats =
            before.as_ref().is_some_and(|before| before.reported && before.decision == memo.decision);
        let kind = error.as_ref().map(|error| error.kind);
        if repeats && self.lease.is_none() {
            return Done::Repeat { stage, reason: reason.unwrap_or_default(), error: kind };
        }
        let memo = Memo { reported: repeats, ..memo };

        let mut outcome = outcome_of(&record);
        outcome.error = kind;
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
        let hold_days = self.rule.or(self.undone_rule).map_or(30, |rule| rule.source.hold_days);
        let hold = |days: u16, why: &str| {
            let until = now + SignedDuration::from_hours(24 * i64::from(days));
            let hold = Hold { until, run: self.id.clone(), why: why.to_owned() };
            put(&self.keys.hold, json!(hold), i64::from(days) + 1)
        };
        match stage {
            Stage::Verified => {
                let (fixes, too_often) = self.refixed(now, change_digest.unwrap_or_default());
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
            Ok(()) if repeats => Done::Repeat { stage, reason: reason.unwrap_or_default(), error: kind },
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

    fn address(&self, outcome: &mut Outcome) {
        if let Some(request) = self.request {
            address(outcome, &request.finding);
            outcome.settled = false;
        } else {
            outcome.note.clone_from(&self.note);
            outcome.settled = true;
        }
    }
}

/// Puts what is known of the finding into the outcome, for the report.
pub(crate) fn address(outcome: &mut Outcome, finding: &Finding) {
    outcome.title.clone_from(&finding.title);
    outcome.note.clone_from(&finding.note);
    outcome.fields.clone_from(&finding.user_defined_fields);
    outcome.workflow_new = finding.workflow == Workflow::New;
}

/// What stands against a write.
struct Hindrance {
    /// How the run ends.
    stage: Stage,
    reason: String,
    error: Option<Error>,
    /// Whether its event comes again for it.
    passes: bool,
}

/// How a look at the change ended.
enum Settled {
    /// With what AWS says of it, where that is all that is known.
    Done(Value, Option<String>),
    Not(Option<Value>),
    /// What AWS carried out has ended otherwise, and how.
    Failed(Value, String),
}

/// What is left of a change that was begun.
enum Left {
    /// It is made; with what AWS says of it, where that is all that is known.
    Nothing(Option<String>),
    /// AWS is at it.
    Going(String),
    /// What AWS carried out has ended otherwise, and how.
    Failed(String),
    /// This is still to be made.
    Change(Proposal<Value>),
    /// It is not to be made any more, and why.
    No(String),
}

/// Whether text of a finding can stand in a parameter.
fn is_plain(text: &str) -> bool {
    (1..=512).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/=+@#".contains(&byte))
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
        on_finding: OnFinding::Everything,
        settled: false,
        time: record.time,
        memo: None,
        alarm: None,
    }
}
