//! One case of one remediator: a resource in the embedded emulator, the real engine, a store of its own, and a
//! clock that stands still unless somebody waits. Every call and every operation of the store is a point at
//! which something can go wrong.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use redress_remediators::{BoxFuture, Connection, Erased, Error, ErrorKind, REGISTRY, Result};
use redress_router::{
    audit::{Stage, Verb},
    aws::{retries, timeouts},
    budget::Budget,
    engine::{Connect, ControlParams, Done, Engine, Purpose, Settings, told},
    rules::{Mode, RuleSet},
    store::{Commit, CommitError, Index, Item, RunRef, Store, memory::Memory},
};
use redress_sandbox::{
    emulator::{Call, Emulator, Fault},
    findings::Standard,
    scenarios::{Case, Place, Scenarios},
};
use redress_tests::scene::{Scene, Seen, is_settled, request};
use serde_json::Value;
use tokio::{sync::Notify, time::Instant};

pub const ACCOUNT: &str = "123456789012";
pub const REGION: &str = "eu-west-1";

/// What goes wrong at a point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The call fails; in the store, an error of the same meaning.
    Fault(Fault),
    /// The process ends before the call is made.
    CrashBefore,
    /// The process ends when the call has been carried out, before its answer is seen.
    CrashAfter,
}

/// Something that is to go wrong.
#[derive(Clone, Debug)]
pub struct Order {
    /// At which point, from 0.
    pub at: usize,
    /// What.
    pub trouble: Trouble,
    /// Whether it also befalls every later call of the same name.
    pub lasting: bool,
}

/// A point that was passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// `service:Operation`, or `store:read` and the like.
    pub name: String,
    /// Whether it was a write to the resource, and carried out.
    pub wrote: bool,
}

tokio::task_local! {
    /// Which of the runs that take turns this is.
    static TURN: usize;
}

/// In which order runs get on: each up to so many points, then the next; `usize::MAX` to its end.
#[derive(Clone, Debug, Default)]
pub struct Turns {
    order: Vec<(usize, usize)>,
    passed: Vec<usize>,
    ended: Vec<bool>,
}

impl Turns {
    /// Run, and the number of points that it may have passed by then.
    pub fn new(runs: usize, order: &[(usize, usize)]) -> Self {
        Self { order: order.to_vec(), passed: vec![0; runs], ended: vec![false; runs] }
    }

    /// Whether this run may pass one more point now.
    fn may(&mut self, run: usize) -> bool {
        while let Some((first, up_to)) = self.order.first().copied() {
            if !self.ended[first] && self.passed[first] < up_to {
                if first == run {
                    self.passed[run] += 1;
                }
                return first == run;
            }
            self.order.remove(0);
        }
        true
    }
}

#[derive(Default)]
struct Points {
    turns: Mutex<Turns>,
    turned: Notify,
    /// The point of the first run at which its machine is suspended, and for how many seconds.
    freeze_at: AtomicUsize,
    freeze_for: AtomicI64,
    /// The seconds that no process has seen pass.
    frozen: Arc<AtomicI64>,
    armed: AtomicUsize,
    passed: Mutex<Vec<Point>>,
    order: Mutex<Option<Order>>,
    crashed: Notify,
}

impl Points {
    /// What goes wrong here, if anything.
    fn pass(&self, name: &str, wrote: bool) -> Option<Trouble> {
        if self.armed.load(Ordering::SeqCst) == 0 {
            return None;
        }
        let mut passed = self.passed.lock().unwrap();
        let number = passed.len();
        let order = self.order.lock().unwrap().clone();
        let met = order.filter(|order| {
            let same = || passed.get(order.at).is_some_and(|point| point.name == name);
            order.at == number || order.lasting && number > order.at && same()
        });
        let trouble = met.map(|order| order.trouble);
        let done = match &trouble {
            None
            | Some(
                Trouble::CrashAfter
                | Trouble::Fault(Fault::AnswerLost | Fault::Truncated | Fault::Garbled | Fault::Silent),
            ) => true,
            Some(Trouble::Fault(_) | Trouble::CrashBefore) => false,
        };
        passed.push(Point { name: name.to_owned(), wrote: wrote && done });
        trouble
    }

    /// Waits until it is this run's turn.
    async fn turn(&self) {
        let Ok(run) = TURN.try_with(|run| *run) else { return };
        loop {
            let turned = self.turned.notified();
            if self.turns.lock().unwrap().may(run) {
                let first =
                    run == 0 && self.turns.lock().unwrap().passed[0] == self.freeze_at.load(Ordering::SeqCst);
                if first {
                    self.frozen.fetch_add(self.freeze_for.swap(0, Ordering::SeqCst), Ordering::SeqCst);
                }
                self.turned.notify_waiters();
                return;
            }
            turned.await;
        }
    }

    async fn crash(&self) -> ! {
        self.crashed.notify_one();
        std::future::pending::<()>().await;
        unreachable!("the process has ended")
    }
}

/// A store that fails when it is told to.
struct Faulty {
    inner: Arc<Memory>,
    points: Arc<Points>,
}

/// What DynamoDB's errors come to.
fn store_error(fault: &Fault) -> Error {
    let kind = match fault {
        Fault::Throttled => ErrorKind::Throttled,
        Fault::Denied => ErrorKind::Denied,
        Fault::Error { code, .. } if code.contains("NotFound") => ErrorKind::NotFound,
        _ => ErrorKind::Transient,
    };
    Error::new(kind, format!("the store: {fault:?}"))
}

impl Faulty {
    async fn pass<T>(
        &self,
        name: &str,
        act: impl AsyncFnOnce() -> Result<T, CommitError>,
    ) -> Result<T, CommitError> {
        self.points.turn().await;
        match self.points.pass(name, false) {
            None => act().await,
            Some(Trouble::CrashBefore) => self.points.crash().await,
            Some(Trouble::CrashAfter) => {
                let _ = act().await;
                self.points.crash().await
            }
            Some(Trouble::Fault(
                fault @ (Fault::AnswerLost | Fault::Truncated | Fault::Garbled | Fault::Silent),
            )) => {
                act().await?;
                Err(store_error(&fault).into())
            }
            Some(Trouble::Fault(fault)) => Err(store_error(&fault).into()),
        }
    }
}

fn plain(error: CommitError) -> Error {
    match error {
        CommitError::Failed(error) => error,
        other => Error::new(ErrorKind::Invalid, other.to_string()),
    }
}

impl Store for Faulty {
    fn read<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<HashMap<String, Item>>> {
        Box::pin(async move {
            self.pass("store:read", async || Ok(self.inner.read(keys).await?)).await.map_err(plain)
        })
    }

    fn commit<'a>(&'a self, commit: &'a Commit) -> BoxFuture<'a, Result<(), CommitError>> {
        Box::pin(async move { self.pass("store:commit", async || self.inner.commit(commit).await).await })
    }

    fn run<'a>(&'a self, run: &'a str) -> BoxFuture<'a, Result<Vec<String>>> {
        Box::pin(async move {
            self.pass("store:run", async || Ok(self.inner.run(run).await?)).await.map_err(plain)
        })
    }

    fn runs<'a>(&'a self, by: Index<'a>, limit: usize) -> BoxFuture<'a, Result<Vec<RunRef>>> {
        Box::pin(async move {
            self.pass("store:runs", async || Ok(self.inner.runs(by, limit).await?)).await.map_err(plain)
        })
    }

    fn scan<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<(String, Item)>>> {
        Box::pin(async move {
            self.pass("store:scan", async || Ok(self.inner.scan(prefix).await?)).await.map_err(plain)
        })
    }

    fn name(&self) -> String {
        "faulty".to_owned()
    }
}

/// The emulator, with the time-outs and retries of a real connection.
struct InProcess(Emulator);

impl Connect for InProcess {
    fn connect<'a>(&'a self, to: &'a Purpose<'a>) -> BoxFuture<'a, Result<Connection>> {
        let region = if to.key.region == "global" { to.region } else { &to.key.region };
        let config = self.0.sdk_config(&to.key.account, region).into_builder();
        let config = config.timeout_config(timeouts()).retry_config(retries()).build();
        Box::pin(async move { Ok(Connection { config, path_style: true, pace: None }) })
    }

    fn control_params<'a>(
        &'a self,
        _: &'a Connection,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Option<ControlParams>>> {
        Box::pin(async { Ok(Some(BTreeMap::new())) })
    }
}

/// Whether a run has said what it is about to write, and not yet how it ended.
fn has_open_intent(memory: &Memory) -> bool {
    let mut open = std::collections::BTreeSet::new();
    for record in memory.records() {
        match record.stage {
            Stage::Intent | Stage::Applied => open.insert(record.run),
            _ => open.remove(&record.run),
        };
    }
    !open.is_empty()
}

/// One case.
pub struct World {
    _emulator: Emulator,
    pub engine: Engine,
    pub memory: Arc<Memory>,
    pub scenarios: &'static Scenarios,
    pub case: &'static Case,
    place: Place,
    id: String,
    finding: Value,
    points: Arc<Points>,
    breaches: Arc<Mutex<Vec<String>>>,
}

impl World {
    pub async fn new(scenarios: &'static Scenarios, case: &'static Case) -> Self {
        Self::with(REGISTRY, scenarios, case).await
    }

    /// With other remediators under the names of the known ones.
    pub async fn with(
        registry: &'static [&'static dyn Erased],
        scenarios: &'static Scenarios,
        case: &'static Case,
    ) -> Self {
        let emulator = Emulator::new();
        let place = Place {
            config: emulator.sdk_config(ACCOUNT, REGION),
            account: ACCOUNT.to_owned(),
            region: REGION.to_owned(),
            name: "the-case".to_owned(),
        };
        let id = (case.make)(&place).await.unwrap_or_else(|error| {
            panic!("{} {}: {error}: {:?}", scenarios.remediator, case.name, std::error::Error::source(&error))
        });
        let start = Timestamp::now();
        let begun = Instant::now();
        let points = Arc::new(Points::default());
        let clock: Arc<dyn Fn() -> Timestamp + Send + Sync> = Arc::new({
            let frozen = Arc::clone(&points.frozen);
            move || {
                let slept = SignedDuration::from_secs(frozen.load(Ordering::SeqCst));
                start + SignedDuration::try_from(begun.elapsed()).unwrap() + slept
            }
        });
        let memory = Arc::new(Memory::with_clock(Arc::clone(&clock)));
        let breaches = Arc::new(Mutex::new(Vec::new()));
        let meets = {
            let (points, memory, breaches) =
                (Arc::clone(&points), Arc::clone(&memory), Arc::clone(&breaches));
            let told: Arc<Mutex<Option<Fault>>> = Arc::default();
            let hook = Arc::clone(&told);
            emulator.on_call(Arc::new(move |_: &Call| hook.lock().unwrap().take()));
            move |call: &Call| {
                let (points, told) = (Arc::clone(&points), Arc::clone(&told));
                let (memory, breaches) = (Arc::clone(&memory), Arc::clone(&breaches));
                let name = format!("{}:{}", call.service, call.operation);
                let writes = call.is_write();
                // Of two accounts' buckets, the one that has the name may be the other's.
                if call.service == "s3"
                    && points.armed.load(Ordering::SeqCst) > 0
                    && call.expected_owner.as_deref() != Some(ACCOUNT)
                {
                    breaches.lock().unwrap().push(format!("{name} of whosever bucket it is"));
                }
                let future: std::pin::Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
                    points.turn().await;
                    if points.armed.load(Ordering::SeqCst) > 0 && writes && !has_open_intent(&memory) {
                        breaches.lock().unwrap().push(format!("{name} without an open intent"));
                    }
                    match points.pass(&name, writes) {
                        None => {}
                        Some(Trouble::Fault(fault)) => *told.lock().unwrap() = Some(fault),
                        Some(Trouble::CrashBefore) => points.crash().await,
                        Some(Trouble::CrashAfter) => {
                            points.crashed.notify_one();
                            *told.lock().unwrap() = Some(Fault::Silent);
                        }
                    }
                });
                future
            }
        };
        emulator.meanwhile(Some(Arc::new(meets)));
        let rules = scenarios.rules(case);
        let engine = Engine {
            registry,
            rules: RuleSet::parse(&[("rules.yaml", &rules)], None, registry)
                .unwrap_or_else(|error| panic!("{rules}{error}")),
            store: Arc::new(Faulty { inner: Arc::clone(&memory), points: Arc::clone(&points) }),
            connect: Arc::new(InProcess(emulator.clone())),
            activity: Some(Arc::new(Seen::of(case, start).unwrap())),
            budget: Arc::new(Budget::new(Arc::new(Memory::default()), Arc::clone(&clock))),
            settings: Settings { ceiling: Mode::Apply, ..Settings::default() },
            clock,
        };
        let finding = scenarios.finding(case, &place, &id);
        emulator.forget_calls();
        Self { _emulator: emulator, engine, memory, scenarios, case, place, id, finding, points, breaches }
    }

    /// The finding of a resource that is not there.
    pub fn of_nothing(&mut self) -> bool {
        // A finding of the account names none.
        let Some(absent) = self.scenarios.absent.filter(|_| !self.case.of_account) else { return false };
        self.finding = self.scenarios.finding(self.case, &self.place, &absent(&self.place));
        true
    }

    /// The same finding in every spelling that Security Hub has for it, each with what it is called.
    pub fn spellings(&self) -> Vec<(String, Value)> {
        let finding = self.scenarios.control_finding(self.case, &self.place, &self.id);
        let mut spellings = vec![("OCSF".to_owned(), finding.ocsf())];
        for row in include_str!("../../../router/data/generator-ids.tsv").lines().skip(1) {
            let Some((generator, control)) = row.split_once('\t') else { continue };
            if control != self.case.control {
                continue;
            }
            let (of, number) = generator.rsplit_once('/').unwrap();
            let standard = Standard::ALL.into_iter().find(|standard| of.contains(standard.slug())).unwrap();
            let spelt = finding.clone().requirement(number).asff_unconsolidated(standard);
            assert_eq!(spelt["GeneratorId"], generator);
            spellings.push((generator.to_owned(), spelt));
        }
        spellings
    }

    /// Is about this finding from now on.
    pub fn tell(&mut self, finding: Value) {
        self.finding = finding;
    }

    /// What the case is called in failures.
    pub fn name(&self) -> String {
        format!("{}, {} {}", self.scenarios.remediator, self.case.control, self.case.name)
    }

    /// The resource as it is, read by the scenario's own calls.
    pub async fn look(&self) -> Value {
        let looked = (self.scenarios.look)(&self.place, &self.id).await;
        looked.unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)))
    }

    /// What goes wrong from now on; points are counted from 0 again.
    pub fn order(&self, order: Option<Order>) {
        *self.points.order.lock().unwrap() = order;
        self.points.passed.lock().unwrap().clear();
    }

    /// The points passed since the last order.
    pub fn points(&self) -> Vec<Point> {
        self.points.passed.lock().unwrap().clone()
    }

    /// Writes that were made without their intent stored, and calls of S3 that did not say whose bucket they are for.
    pub fn breaches(&self) -> Vec<String> {
        self.breaches.lock().unwrap().clone()
    }

    /// Asks several things at once, which get on in this order.
    pub async fn ask_at_once(&self, asked: &[(Verb, &str)], order: &[(usize, usize)]) -> Vec<Option<Done>> {
        *self.points.turns.lock().unwrap() = Turns::new(asked.len(), order);
        let mut runs: Vec<_> = asked
            .iter()
            .enumerate()
            .map(|(number, (verb, event))| {
                Box::pin(TURN.scope(number, async move {
                    let done = self.ask(*verb, event).await;
                    self.points.turns.lock().unwrap().ended[number] = true;
                    self.points.turned.notify_waiters();
                    done
                }))
            })
            .collect();
        let mut done: Vec<Option<Option<Done>>> = asked.iter().map(|_| None).collect();
        std::future::poll_fn(|cx| {
            for (run, done) in runs.iter_mut().zip(&mut done) {
                if done.is_none()
                    && let Poll::Ready(ended) = run.as_mut().poll(cx)
                {
                    *done = Some(ended);
                }
            }
            if done.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        done.into_iter().flatten().collect()
    }

    /// The same; when the first has got as far as it may at first, its machine is suspended for so many seconds, which
    /// the others see pass.
    pub async fn ask_frozen(
        &self,
        asked: &[(Verb, &str)],
        order: &[(usize, usize)],
        seconds: i64,
    ) -> Vec<Option<Done>> {
        self.points.freeze_at.store(order[0].1, Ordering::SeqCst);
        self.points.freeze_for.store(seconds, Ordering::SeqCst);
        self.ask_at_once(asked, order).await
    }

    /// Asks as a person does; `None` where the process ended on the way.
    pub async fn ask(&self, verb: Verb, event: &str) -> Option<Done> {
        let request = request(&self.finding, verb, event, Duration::from_secs(120)).unwrap();
        self.points.armed.fetch_add(1, Ordering::SeqCst);
        let done = tokio::select! {
            biased;
            () = self.points.crashed.notified() => Vec::new(),
            done = self.engine.handle(&request) => {
                // Its own end, then those of others' runs that stood in the way.
                let of_others = done.get(1..).is_some_and(|rest| rest.iter().all(Done::is_of_another));
                assert!(of_others && !done[0].is_of_another(), "{done:?}");
                done
            }
        };
        self.points.armed.fetch_sub(1, Ordering::SeqCst);
        for done in &done {
            if let Done::Outcome(outcome) = done
                && let Some(commit) = told(outcome)
            {
                self.engine.store.commit(&commit).await.unwrap();
            }
        }
        done.into_iter().next()
    }

    /// Whether every chain of records is whole, every run has ended, and no lease is left.
    pub async fn is_settled(&self) -> Result<(), String> {
        is_settled(&self.memory).await
    }
}

impl Scene for World {
    fn case(&self) -> &'static Case {
        self.case
    }

    fn memory(&self) -> &Memory {
        &self.memory
    }

    async fn look(&self) -> Result<Value, String> {
        Ok(self.look().await)
    }

    async fn ask(&self, verb: Verb, event: &str) -> Result<Option<Done>, String> {
        Ok(self.ask(verb, event).await)
    }

    async fn pass(&self, time: Duration) {
        tokio::time::advance(time).await;
    }
}
