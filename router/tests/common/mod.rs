//! A world for the engine: one kind of thing that can be on or off, with every fault on demand.
#![allow(dead_code, missing_docs, reason = "each test uses its part")]
#![allow(clippy::struct_excessive_bools, reason = "each is a fault on demand")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    time::Duration,
};

use aws_config::SdkConfig;
use jiff::Timestamp;
use redress_remediators::{
    Access, Ask, Aws, BoxFuture, Change, Connection, Erased, Error, ErrorKind, Evidence, Facts, Key,
    KindInfo, LastSeen, Misplaced, NoParams, Plan, Progress, Proposal, Remediator, Resource, Result, Risk,
    Sighting, Spec, Undo,
};
use redress_router::{
    audit::{Asker, Record, Sealed, Stage, Verb, verify_run},
    budget::Budget,
    engine::{Activity, Connect, ControlParams, Done, Engine, Outcome, Purpose, Request, Settings},
    event::decode,
    finding::Finding,
    rules::{Mode, RuleSet},
    store::{Commit, CommitError, Expect, Index, Item, Op, RunRef, Store, memory::Memory},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

/// What there is to know of one thing.
#[derive(Clone, Default)]
pub struct Thing {
    pub on: bool,
    pub beside: u32,
    pub writes: u32,
    pub tags: Vec<(String, String)>,
    pub reading_fails: Option<Error>,
    pub writing_fails: Option<Error>,
    /// The write is done, and its answer lost.
    pub answer_lost: bool,
    /// How many looks it takes until a write is seen.
    pub lag: u32,
    /// What is done to it after so many looks.
    pub meddle_after: Option<u32>,
    pub looks: u32,
    pub wait_until: Option<Timestamp>,
    pub risk: Risk,
    /// Its proof of ownership fails.
    pub inspection_fails: Option<Error>,
    /// Looks fail so long, from the one after so many on.
    pub looks_fail: Option<(u32, u32, Error)>,
    /// A write that fails has changed what is beside.
    pub half_done: bool,
    /// Turning it on never returns.
    pub hangs_before: bool,
    pub hangs_after: bool,
    /// What was started for it.
    pub started: Started,
    /// How what was started ends, once the lag is over.
    pub ends_as: String,
}

static THINGS: LazyLock<Mutex<HashMap<String, Thing>>> = LazyLock::new(Mutex::default);

pub fn thing<T>(id: &str, look: impl FnOnce(&mut Thing) -> T) -> T {
    look(THINGS.lock().unwrap().entry(id.to_owned()).or_default())
}

pub struct ThingAt(String);

impl Resource for ThingAt {
    const KIND: KindInfo = KindInfo {
        what: "a thing",
        asff: "AwsTestThing",
        cfn: "AWS::Test::Thing",
        arn: "arn:{partition}:test:{region}:{account}:thing/{id}",
        reads: &[],
        longest_id: 64,
    };

    fn locate(seen: &Sighting<'_>) -> Result<Key, Misplaced> {
        let arn = seen.agreed("test")?.ok_or_else(|| Misplaced::new("no ARN"))?;
        let id = arn.resource.strip_prefix("thing/").ok_or_else(|| Misplaced::new("no thing"))?;
        Ok(seen.key(Self::KIND.asff, seen.region, id))
    }

    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        Ok(Self(key.id.clone()))
    }

    async fn inspect(&self, _: &Aws, tags: bool) -> Result<Facts> {
        thing(&self.0, |thing| match thing.tags.first() {
            _ if thing.inspection_fails.is_some() => Err(thing.inspection_fails.clone().unwrap()),
            Some((key, _)) if tags && key == "unreadable" => {
                Err(Error::new(ErrorKind::Denied, "AccessDenied: tags"))
            }
            _ => Ok(Facts { tags: Some(thing.tags.clone()) }),
        })
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Switch {
    pub on: bool,
    pub beside: u32,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// How patient it is.
    pub patience: u32,
    /// What is to stand beside it.
    pub beside: Option<u32>,
}

/// What stands beside a thing that is not to be turned on.
pub const REFUSED: u32 = 2000;

/// What stands beside a user whom somebody has enabled, as far as the way back is concerned.
pub const ENABLED: u32 = 2001;

pub struct TurnOn;

impl Remediator for TurnOn {
    const SPEC: Spec = Spec {
        name: "s3.turn_on",
        version: 1,
        controls: &["S3.14", "S3.5"],
        risk: Risk::Loss,
        what: "Turns it on.",
        who_notices: "Nobody.",
        way_back: "Turns it off.",
        reads: &[],
        writes: &[],
        undo: &[],
        implied: &[],
    };
    type Resource = ThingAt;
    type Params = Params;
    type State = Switch;

    async fn observe(_: &Aws, at: &ThingAt) -> Result<Switch> {
        tokio::task::yield_now().await;
        thing(&at.0, |thing| {
            thing.looks += 1;
            if thing.meddle_after.is_some_and(|looks| thing.looks > looks) {
                thing.beside += 1;
            }
            if let Some(error) = &thing.reading_fails {
                return Err(error.clone());
            }
            if let Some((after, many, error)) = &thing.looks_fail
                && thing.looks > *after
                && thing.looks <= after + many
            {
                return Err(error.clone());
            }
            if thing.lag > 0 && thing.writes > 0 {
                thing.lag -= 1;
                return Ok(Switch { on: !thing.on, beside: thing.beside });
            }
            Ok(Switch { on: thing.on, beside: thing.beside })
        })
    }

    fn plan(now: &Switch, ask: &Ask<'_, Params>) -> Plan<Switch> {
        let beside = ask.params.beside.unwrap_or(now.beside);
        if now.on && now.beside == beside {
            return Plan::Compliant;
        }
        if now.beside == REFUSED {
            return Plan::Refuse("it is not to be turned on".to_owned());
        }
        if let Some(since) = ask.since
            && !ask.by_person
            && ask.params.patience > 0
        {
            let until = since + jiff::SignedDuration::from_hours(24 * i64::from(ask.params.patience));
            if until > ask.at {
                return Plan::Wait { until, why: "patience".to_owned() };
            }
        } else if ask.params.patience > 0 && !ask.by_person {
            return Plan::Wait {
                until: ask.at + jiff::SignedDuration::from_hours(24),
                why: "patience".into(),
            };
        }
        // Even numbers beside it are free of risk.
        let risk = match now.beside {
            1000 => Risk::Downtime,
            1001 => Risk::Loss,
            _ => Risk::Cost,
        };
        Plan::Change(Proposal { to: Switch { on: true, beside }, risk, notes: vec!["a note".into()] })
    }

    async fn apply(_: &Aws, at: &ThingAt, change: &Change<Switch>) -> Result<()> {
        if thing(&at.0, |thing| thing.hangs_before) {
            std::future::pending::<()>().await;
        }
        let result = thing(&at.0, |thing| {
            if let Some(error) = &thing.writing_fails {
                if thing.half_done {
                    thing.beside += 1;
                }
                return Err(error.clone());
            }
            thing.writes += 1;
            thing.on = change.to.on;
            thing.beside = change.to.beside;
            if thing.answer_lost {
                return Err(Error::new(ErrorKind::Transient, "connection reset"));
            }
            Ok(())
        });
        if thing(&at.0, |thing| thing.hangs_after) {
            std::future::pending::<()>().await;
        }
        result
    }

    fn undo(change: &Change<Switch>, now: &Switch) -> Undo<Switch> {
        if now.on == change.from.on {
            Undo::Nothing
        } else {
            Undo::To { to: Switch { on: change.from.on, beside: now.beside }, notes: vec![] }
        }
    }

    fn aging(now: &Switch) -> bool {
        !now.on
    }
}

/// Another remediator of the same things, which asks what Security Hub says of the control.
pub struct Match;

impl Remediator for Match {
    const SPEC: Spec =
        Spec { name: "s3.match", version: 3, controls: &["EC2.18"], risk: Risk::Cost, ..TurnOn::SPEC };
    type Resource = ThingAt;
    type Params = NoParams;
    type State = Switch;

    async fn observe(aws: &Aws, at: &ThingAt) -> Result<Switch> {
        <TurnOn as Remediator>::observe(aws, at).await
    }

    fn plan(now: &Switch, ask: &Ask<'_, NoParams>) -> Plan<Switch> {
        if now.on {
            return Plan::Compliant;
        }
        let Some(known) = ask.control_params.and_then(|params| params.get("level")) else {
            return Plan::Refuse("the level is not known".to_owned());
        };
        Plan::Change(Proposal {
            to: Switch { on: true, ..now.clone() },
            risk: Risk::Cost,
            notes: vec![format!("level {}", known.join(","))],
        })
    }

    async fn apply(aws: &Aws, at: &ThingAt, change: &Change<Switch>) -> Result<()> {
        <TurnOn as Remediator>::apply(aws, at, change).await
    }

    fn wants_control_params(control: &str, _: &NoParams) -> bool {
        control == "EC2.18"
    }
}

/// A user, in that it is turned off when it was not seen for a long time.
pub struct Retire;

impl Remediator for Retire {
    const SPEC: Spec =
        Spec { name: "s3.retire", version: 1, controls: &["EC2.13"], risk: Risk::Access, ..TurnOn::SPEC };
    const EVIDENCE: Evidence = Evidence::Activity;
    type Resource = ThingAt;
    type Params = NoParams;
    type State = Switch;

    async fn observe(aws: &Aws, at: &ThingAt) -> Result<Switch> {
        <TurnOn as Remediator>::observe(aws, at).await
    }

    fn plan(now: &Switch, ask: &Ask<'_, NoParams>) -> Plan<Switch> {
        if !now.on {
            return Plan::Compliant;
        }
        match ask.seen {
            None => Plan::Refuse("nothing is known of it".to_owned()),
            Some(seen) if ask.at.duration_since(seen.since) < jiff::SignedDuration::from_hours(24 * 90) => {
                Plan::Refuse("it is active".to_owned())
            }
            Some(_) => Plan::change(Switch { on: false, ..now.clone() }, Risk::Access),
        }
    }

    async fn apply(aws: &Aws, at: &ThingAt, change: &Change<Switch>) -> Result<()> {
        <TurnOn as Remediator>::apply(aws, at, change).await
    }

    fn undo(change: &Change<Switch>, now: &Switch) -> Undo<Switch> {
        match now.beside {
            _ if now.on == change.from.on => Undo::Nothing,
            ENABLED => Undo::Nothing,
            REFUSED => Undo::Refuse("it is not to be turned on".to_owned()),
            _ => Undo::To { to: Switch { on: change.from.on, ..now.clone() }, notes: vec![] },
        }
    }
}

/// Things of any type.
pub struct Anything(String);

impl Resource for Anything {
    const KIND: KindInfo =
        KindInfo { what: "a resource", asff: "*", cfn: "*", arn: "{id}", reads: &[], longest_id: 64 };

    fn locate(seen: &Sighting<'_>) -> Result<Key, Misplaced> {
        ThingAt::locate(seen)
    }

    fn arn(key: &Key) -> String {
        key.fill(ThingAt::KIND.arn)
    }

    fn from_key(key: &Key) -> Result<Self, Misplaced> {
        Ok(Self(key.id.clone()))
    }

    async fn inspect(&self, _: &Aws, _: bool) -> Result<Facts> {
        Ok(Facts { tags: None })
    }
}

/// What was started for a thing: number 0 is nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Started {
    pub number: u32,
    /// What for; said before it is started.
    #[serde(default)]
    pub what: String,
    /// How it stands: `going`, `done` or whatever went wrong.
    #[serde(default)]
    pub status: String,
    /// The run that has started it.
    #[serde(default)]
    pub run: String,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct What {
    /// The fields that it is started with.
    pub with: Vec<String>,
}

/// Starts something that AWS carries out in its own time, for any control.
pub struct StartIt;

impl Remediator for StartIt {
    const SPEC: Spec = Spec { name: "test.start_it", version: 1, controls: &[], ..TurnOn::SPEC };
    type Resource = Anything;
    type Params = What;
    type State = Started;

    async fn observe(_: &Aws, at: &Anything) -> Result<Started> {
        thing(&at.0, |thing| {
            if let Some(error) = &thing.reading_fails {
                return Err(error.clone());
            }
            let mut started = thing.started.clone();
            if started.status == "going" {
                if thing.lag == 0 {
                    started.status.clone_from(&thing.ends_as);
                }
                thing.lag = thing.lag.saturating_sub(1);
            }
            Ok(started)
        })
    }

    fn plan(now: &Started, ask: &Ask<'_, What>) -> Plan<Started> {
        if now.number > 0 && !(ask.by_person && now.status == "broken") {
            return Plan::Wait { until: ask.at, why: format!("number {} is {}", now.number, now.status) };
        }
        let known = ask.params.with.iter().map(|name| ask.fields[name].as_str());
        Plan::change(Started { what: known.collect::<Vec<_>>().join(" "), ..now.clone() }, Risk::Downtime)
    }

    async fn apply(aws: &Aws, at: &Anything, change: &Change<Started>) -> Result<()> {
        if thing(&at.0, |thing| thing.hangs_before) {
            std::future::pending::<()>().await;
        }
        let result = thing(&at.0, |thing| {
            if let Some(error) = &thing.writing_fails {
                return Err(error.clone());
            }
            // Whoever asks twice for the same run starts it once.
            if thing.started.run != aws.run() {
                thing.writes += 1;
                thing.started = Started {
                    number: thing.started.number + 1,
                    what: change.to.what.clone(),
                    status: "going".to_owned(),
                    run: aws.run().to_owned(),
                };
            }
            if thing.answer_lost {
                return Err(Error::new(ErrorKind::Rejected, "it was started already"));
            }
            Ok(())
        });
        if thing(&at.0, |thing| thing.hangs_after) {
            std::future::pending::<()>().await;
        }
        result
    }

    fn progress(change: &Change<Started>, now: &Started) -> Option<Progress> {
        (now.number > change.from.number).then(|| match now.status.as_str() {
            "done" => Progress::Done(format!("number {} is done", now.number)),
            "going" => Progress::Going(format!("number {} goes on", now.number)),
            other => Progress::Failed(format!("number {} is {other}", now.number)),
        })
    }

    fn undo(_: &Change<Started>, _: &Started) -> Undo<Started> {
        Undo::Refuse("there is no way back".to_owned())
    }

    fn fields(params: &What) -> std::collections::BTreeSet<String> {
        params.with.iter().cloned().collect()
    }
}

/// What is to be known of the things of one account.
#[derive(Clone, Default)]
pub struct Group {
    /// Their ids; those that are off are listed.
    pub things: Vec<String>,
    pub listing_fails: Option<Error>,
    pub listed: u32,
}

static GROUPS: LazyLock<Mutex<HashMap<String, Group>>> = LazyLock::new(Mutex::default);

pub fn group<T>(account: &str, look: impl FnOnce(&mut Group) -> T) -> T {
    look(GROUPS.lock().unwrap().entry(account.to_owned()).or_default())
}

/// Turns on what an account's finding stands for.
pub struct TurnAllOn;

impl Remediator for TurnAllOn {
    const SPEC: Spec = Spec { name: "s3.turn_all_on", controls: &["EC2.1"], ..TurnOn::SPEC };
    const OF_ACCOUNT: bool = true;
    type Resource = ThingAt;
    type Params = NoParams;
    type State = Switch;

    async fn members(aws: &Aws) -> Result<Vec<String>> {
        tokio::task::yield_now().await;
        let things = group(&aws.key().account, |group| {
            group.listed += 1;
            group.listing_fails.clone().map_or_else(|| Ok(group.things.clone()), Err)
        })?;
        Ok(things.into_iter().filter(|id| !thing(id, |thing| thing.on)).collect())
    }

    async fn observe(aws: &Aws, at: &ThingAt) -> Result<Switch> {
        <TurnOn as Remediator>::observe(aws, at).await
    }

    fn plan(now: &Switch, ask: &Ask<'_, NoParams>) -> Plan<Switch> {
        let Ask { control, control_params, at, since, seen, by_person, fields, .. } = *ask;
        let params = &Params::default();
        <TurnOn as Remediator>::plan(
            now,
            &Ask { control, params, control_params, at, since, seen, by_person, fields },
        )
    }

    async fn apply(aws: &Aws, at: &ThingAt, change: &Change<Switch>) -> Result<()> {
        <TurnOn as Remediator>::apply(aws, at, change).await
    }

    fn undo(change: &Change<Switch>, now: &Switch) -> Undo<Switch> {
        <TurnOn as Remediator>::undo(change, now)
    }
}

pub const REGISTRY: &[&dyn Erased] = &[&TurnOn, &Match, &Retire, &StartIt, &TurnAllOn];

/// What a connection was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Way {
    pub access: Access,
    pub resource: String,
    pub remediator: &'static str,
    pub run: String,
    pub control_params: bool,
}

/// The way into accounts: there is nothing to reach, and it is kept what was asked for.
#[derive(Default)]
pub struct Ways {
    pub asked: Mutex<Vec<Way>>,
    /// What Security Hub says of controls, and how often it was asked.
    pub params: Mutex<Option<Result<Option<ControlParams>>>>,
    pub params_asked: AtomicU32,
}

impl Ways {
    /// How far each connection since the last time went.
    pub fn accesses(&self) -> Vec<Access> {
        self.asked.lock().unwrap().drain(..).map(|way| way.access).collect()
    }
}

impl Connect for Ways {
    fn connect<'a>(&'a self, to: &'a Purpose<'a>) -> BoxFuture<'a, Result<Connection>> {
        self.asked.lock().unwrap().push(Way {
            access: to.access,
            resource: to.key.id.clone(),
            remediator: to.remediator.spec().name,
            run: to.run.to_owned(),
            control_params: to.control_params,
        });
        Box::pin(async { Ok(Connection::new(SdkConfig::builder().build())) })
    }

    fn control_params<'a>(
        &'a self,
        _: &'a Connection,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Option<BTreeMap<String, Vec<String>>>>> {
        self.params_asked.fetch_add(1, Ordering::SeqCst);
        let said = self.params.lock().unwrap().clone().unwrap_or(Ok(None));
        Box::pin(async { said })
    }
}

/// The activity table, for one user.
#[derive(Default)]
pub struct Seen {
    pub last: Mutex<Option<LastSeen>>,
    /// What it says from the look after so many on.
    pub later: Mutex<Option<(u32, LastSeen)>>,
    pub looks: AtomicU32,
    pub fails: Mutex<Option<Error>>,
    /// The runs that were kept as having disabled the user.
    pub disabled: Mutex<Vec<String>>,
    pub restored: AtomicU32,
}

impl Activity for Seen {
    fn last<'a>(&'a self, _: &'a Key) -> BoxFuture<'a, Result<Option<LastSeen>>> {
        let looks = self.looks.fetch_add(1, Ordering::SeqCst) + 1;
        let later = self.later.lock().unwrap().clone().filter(|(after, _)| looks > *after);
        let seen = later.map(|(_, seen)| seen).or_else(|| self.last.lock().unwrap().clone());
        Box::pin(async move { Ok(seen) })
    }

    fn disabled<'a>(
        &'a self,
        user: &'a Key,
        seen: &'a LastSeen,
        run: &'a str,
    ) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move {
            if let Some(error) = &*self.fails.lock().unwrap() {
                return Err(error.clone());
            }
            if self.last(user).await?.as_ref() != Some(seen) {
                return Ok(false);
            }
            self.disabled.lock().unwrap().push(run.to_owned());
            Ok(true)
        })
    }

    fn restored<'a>(&'a self, _: &'a Key, _: Timestamp) -> BoxFuture<'a, Result<()>> {
        self.restored.fetch_add(1, Ordering::SeqCst);
        let failed = self.fails.lock().unwrap().clone();
        Box::pin(async move { failed.map_or(Ok(()), Err) })
    }
}

/// What befalls the store at a call.
pub enum Trouble {
    /// It fails, and nothing is done.
    Fails(Error),
    /// Somebody writes this item right before.
    Puts(String, Value),
    /// It takes so long.
    Takes(Duration),
}

/// A store that stops answering, for good, before or after a call of its choosing.
pub struct Fragile {
    pub inner: Arc<Memory>,
    pub calls: AtomicU32,
    /// Hang at this call: positive before it is carried out, negative after.
    pub hang_at: AtomicI64,
    pub reading_fails: Mutex<Option<Error>>,
    pub writing_fails: Mutex<Option<Error>>,
    /// By the number of the call, from 1.
    pub troubles: Mutex<Vec<(u32, Trouble)>>,
    /// Every operation that was carried out.
    pub done: Mutex<Vec<Op>>,
    /// The ends for which there was to be room, and their lengths.
    pub ends: Mutex<Vec<(Record, usize)>>,
    /// How many runs at most were asked for, each time.
    pub listed: Mutex<Vec<usize>>,
    /// Somebody has altered every record: this text of it is that one.
    pub altered: Mutex<Option<(&'static str, &'static str)>>,
}

impl Fragile {
    /// What goes wrong with the call that is under way.
    async fn trouble(&self) -> Result<()> {
        let number = self.calls.load(Ordering::SeqCst);
        let met = {
            let mut troubles = self.troubles.lock().unwrap();
            let at = troubles.iter().position(|(at, _)| *at == number);
            at.map(|at| troubles.remove(at).1)
        };
        match met {
            None => Ok(()),
            Some(Trouble::Fails(error)) => Err(error),
            Some(Trouble::Takes(time)) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
            Some(Trouble::Puts(key, body)) => {
                let etag = "somebody".to_owned();
                let op = Op::Put { key, body, etag, expect: Expect::Anything, expires: None };
                let commit = Commit { ops: vec![op], records: vec![] };
                self.inner.commit(&commit).await.map_err(|error| panic!("{error}"))
            }
        }
    }

    /// From the next call on: this befalls the one of that number, counted from now.
    pub fn then(&self, at: u32, trouble: Trouble) {
        self.troubles.lock().unwrap().push((self.calls.load(Ordering::SeqCst) + at, trouble));
    }

    async fn pass(&self, after: bool) {
        let number = if after {
            -i64::from(self.calls.load(Ordering::SeqCst))
        } else {
            i64::from(self.calls.fetch_add(1, Ordering::SeqCst)) + 1
        };
        if self.hang_at.load(Ordering::SeqCst) == number {
            std::future::pending::<()>().await;
        }
        tokio::task::yield_now().await;
    }
}

impl Store for Fragile {
    fn read<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<HashMap<String, Item>>> {
        Box::pin(async move {
            self.pass(false).await;
            self.trouble().await?;
            if let Some(error) = &*self.reading_fails.lock().unwrap() {
                return Err(error.clone());
            }
            self.inner.read(keys).await
        })
    }

    fn commit<'a>(&'a self, commit: &'a Commit) -> BoxFuture<'a, Result<(), CommitError>> {
        Box::pin(async move {
            self.pass(false).await;
            self.trouble().await?;
            if let Some(error) = &*self.writing_fails.lock().unwrap() {
                return Err(CommitError::Failed(error.clone()));
            }
            let result = self.inner.commit(commit).await;
            if result.is_ok() {
                self.done.lock().unwrap().extend(commit.ops.iter().cloned());
            }
            self.pass_after().await;
            result
        })
    }

    fn has_room_for(&self, record: &Record, sealed: &Sealed) -> Result<()> {
        self.ends.lock().unwrap().push((record.clone(), sealed.line.len()));
        Ok(())
    }

    fn run<'a>(&'a self, run: &'a str) -> BoxFuture<'a, Result<Vec<String>>> {
        let altered = *self.altered.lock().unwrap();
        Box::pin(async move {
            let lines = self.inner.run(run).await?;
            Ok(match altered {
                Some((from, to)) => lines.iter().map(|line| line.replace(from, to)).collect(),
                None => lines,
            })
        })
    }

    fn runs<'a>(&'a self, by: Index<'a>, limit: usize) -> BoxFuture<'a, Result<Vec<RunRef>>> {
        self.listed.lock().unwrap().push(limit);
        self.inner.runs(by, limit)
    }

    fn scan<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<(String, Item)>>> {
        self.inner.scan(prefix)
    }

    fn name(&self) -> String {
        "fragile".to_owned()
    }
}

impl Fragile {
    async fn pass_after(&self) {
        self.pass(true).await;
    }
}

pub struct World {
    pub engine: Engine,
    pub memory: Arc<Memory>,
    pub store: Arc<Fragile>,
    pub ways: Arc<Ways>,
    now: Arc<AtomicI64>,
    pub id: String,
    pub deadline: Duration,
}

pub const RULES: &str = "
rules:
  - name: turn-on
    control: S3.14
    remediator: s3.turn_on
    automatic: apply
";

impl World {
    /// A world with one thing that is off.
    pub fn new(id: &str, rules: &str) -> Self {
        thing(id, |thing| *thing = Thing::default());
        let memory = Arc::new(Memory::default());
        let store = Arc::new(Fragile {
            inner: Arc::clone(&memory),
            calls: AtomicU32::new(0),
            hang_at: AtomicI64::new(0),
            reading_fails: Mutex::default(),
            writing_fails: Mutex::default(),
            troubles: Mutex::default(),
            done: Mutex::default(),
            ends: Mutex::default(),
            listed: Mutex::default(),
            altered: Mutex::default(),
        });
        let ways = Arc::new(Ways::default());
        let now = Arc::new(AtomicI64::new(1_790_000_000));
        let clock = Arc::clone(&now);
        let engine = Engine {
            registry: REGISTRY,
            rules: RuleSet::parse(&[("rules.yaml", rules)], None, REGISTRY).unwrap(),
            store: store.clone(),
            connect: ways.clone(),
            activity: None,
            budget: Arc::new(Budget::new(Arc::new(Memory::default()), Arc::new(Timestamp::now))),
            settings: Settings {
                ceiling: Mode::Apply,
                settle: Duration::from_secs(3),
                ..Settings::default()
            },
            clock: Arc::new(move || Timestamp::from_second(clock.load(Ordering::SeqCst)).unwrap()),
        };
        Self { engine, memory, store, ways, now, id: id.to_owned(), deadline: Duration::from_secs(60) }
    }

    pub fn now(&self) -> Timestamp {
        (self.engine.clock)()
    }

    /// Somebody deletes a state item.
    pub async fn forget(&self, key: &str) {
        let op = Op::Delete { key: key.to_owned(), expect: Expect::Anything };
        self.memory.commit(&Commit { ops: vec![op], records: vec![] }).await.unwrap();
    }

    pub fn exemptions(&mut self, rules: &str, exemptions: &str) {
        self.engine.rules =
            RuleSet::parse(&[("rules.yaml", rules)], Some(("exemptions.yaml", exemptions)), REGISTRY)
                .unwrap();
    }

    pub fn pass(&self, hours: i64) {
        self.now.fetch_add(hours * 3600, Ordering::SeqCst);
    }

    pub fn pass_seconds(&self, seconds: i64) {
        self.now.fetch_add(seconds, Ordering::SeqCst);
    }

    pub fn thing<T>(&self, look: impl FnOnce(&mut Thing) -> T) -> T {
        thing(&self.id, look)
    }

    pub fn finding(&self, finding_id: &str) -> Finding {
        finding(&self.id, finding_id, "FAILED", "NEW")
    }

    pub fn request(&self, verb: Verb, asked_by: Asker, event: &str, finding: Finding) -> Request {
        Request {
            finding,
            verb,
            asked_by,
            event: event.to_owned(),
            asked_at: None,
            only_rule: None,
            only_resource: None,
            agreed: None,
            deadline: Instant::now() + self.deadline,
            dry_run: false,
            record: true,
            listed: true,
            after: Vec::new(),
        }
    }

    pub async fn imported(&self, event: &str) -> Done {
        self.imported_finding(event, self.finding("f-1")).await
    }

    pub async fn imported_finding(&self, event: &str, finding: Finding) -> Done {
        let asked_by = Asker::Automatic { event: event.to_owned() };
        self.one(self.request(Verb::Fix, asked_by, event, finding)).await
    }

    pub async fn clicked(&self, verb: Verb, event: &str) -> Done {
        self.one(self.request(verb, clicked(event), event, self.finding("f-1"))).await
    }

    pub async fn one(&self, request: Request) -> Done {
        let mut done = self.engine.handle(&request).await;
        done.retain(|done| !done.is_of_another());
        assert_eq!(done.len(), 1, "{done:?}");
        let done = done.remove(0);
        // The service tells it and marks it as told.
        if let Done::Outcome(outcome) = &done {
            self.told(outcome).await;
        }
        done
    }

    pub async fn told(&self, outcome: &Outcome) {
        if let Some(commit) = redress_router::engine::told(outcome) {
            self.store.commit(&commit).await.unwrap();
        }
    }

    pub fn records(&self) -> Vec<Record> {
        self.memory.records()
    }

    pub fn stages(&self) -> Vec<Stage> {
        self.records().iter().map(|record| record.stage).collect()
    }

    /// Every run's chain is whole; open runs are those whose last record is not the last.
    pub async fn check_chains(&self) -> usize {
        let mut runs: Vec<String> = self.records().into_iter().map(|record| record.run).collect();
        runs.sort();
        runs.dedup();
        let mut open = 0;
        for run in runs {
            let lines = self.memory.run(&run).await.unwrap();
            let records = verify_run(lines.iter().map(String::as_str)).unwrap();
            open += usize::from(!records.last().unwrap().last);
        }
        open
    }
}

pub fn clicked(event: &str) -> Asker {
    Asker::CustomAction {
        action: "arn:aws:securityhub:eu-west-1:123456789012:action/custom/RedressFix".to_owned(),
        event: event.to_owned(),
        account: "123456789012".to_owned(),
        region: "eu-west-1".to_owned(),
    }
}

pub fn finding(thing: &str, id: &str, compliance: &str, workflow: &str) -> Finding {
    let arn = format!("arn:aws:test:eu-west-1:123456789012:thing/{thing}");
    let json = asff(&arn, id, compliance, workflow);
    let event = json!({
        "version": "0",
        "id": "e",
        "detail-type": "Security Hub Findings - Imported",
        "source": "aws.securityhub",
        "account": "123456789012",
        "time": "2026-11-23T00:00:00Z",
        "region": "eu-west-1",
        "resources": [],
        "detail": { "findings": [json] },
    });
    let mut incoming = decode(event.to_string().as_bytes()).unwrap();
    match incoming.findings.remove(0) {
        redress_router::event::Decoded::Finding(finding) => *finding,
        other => panic!("{other:?}"),
    }
}

pub fn asff(resource: &str, id: &str, compliance: &str, workflow: &str) -> Value {
    json!({
        "SchemaVersion": "2018-10-08",
        "Id": format!("arn:aws:securityhub:eu-west-1:123456789012:security-control/S3.14/finding/{id}"),
        "ProductArn": "arn:aws:securityhub:eu-west-1::product/aws/securityhub",
        "ProductName": "Security Hub",
        "CompanyName": "AWS",
        "Region": "eu-west-1",
        "GeneratorId": "security-control/S3.14",
        "AwsAccountId": "123456789012",
        "Types": ["Software and Configuration Checks/Industry and Regulatory Standards"],
        "CreatedAt": "2026-11-23T00:00:00Z",
        "UpdatedAt": "2026-11-23T00:00:00Z",
        "Severity": { "Label": "LOW", "Normalized": 1, "Original": "LOW" },
        "Title": "Things should be on",
        "Description": "d",
        "ProductFields": {},
        "Resources": [{ "Type": "AwsTestThing", "Id": resource, "Partition": "aws", "Region": "eu-west-1" }],
        "Compliance": { "Status": compliance, "SecurityControlId": "S3.14" },
        "Workflow": { "Status": workflow },
        "WorkflowState": workflow,
        "RecordState": "ACTIVE",
    })
}

pub fn stage(done: &Done) -> Stage {
    match done {
        Done::Outcome(outcome) => outcome.stage,
        other => panic!("no outcome: {other:?}"),
    }
}

pub fn reason(done: &Done) -> String {
    match done {
        Done::Outcome(outcome) => outcome.reason.clone().unwrap_or_default(),
        Done::Repeat { reason, .. } | Done::Unwanted(reason) => reason.clone(),
        Done::Retry { why, .. } => why.clone(),
    }
}

/// A finding that names these resources, as its type and id.
pub fn finding_of(control: &str, resources: &[(&str, &str)]) -> Finding {
    let mut json = asff("", "f-1", "FAILED", "NEW");
    json["Compliance"]["SecurityControlId"] = json!(control);
    json["GeneratorId"] = json!(format!("security-control/{control}"));
    json["Id"] = json!(json["Id"].as_str().unwrap().replace("S3.14", control));
    json["Resources"] = resources
        .iter()
        .map(|(kind, id)| json!({ "Type": kind, "Id": id, "Partition": "aws", "Region": "eu-west-1" }))
        .collect();
    match redress_router::event::decode_many(json.to_string().as_bytes()).unwrap().remove(0) {
        redress_router::event::Decoded::Finding(finding) => *finding,
        other => panic!("{other:?}"),
    }
}

/// The ARN of a thing.
pub fn arn(thing: &str) -> String {
    format!("arn:aws:test:eu-west-1:123456789012:thing/{thing}")
}
