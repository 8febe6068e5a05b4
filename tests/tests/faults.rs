//! Faults in the wire form of each service, by an independent proxy in front of an independent emulator: at each call
//! of each remediator that ministack can show there and back. tests/tests/promises tries far more of them, in process
//! and by our own hand.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use redress_router::{
    audit::{Stage, Verb},
    aws::{retries, timeouts},
    engine::Done,
};
use redress_sandbox::scenarios::{Case, Expect, OnMinistack, SCENARIOS, Scenarios};
use redress_tests::{
    deployment::sdk_config,
    microburst::Microburst,
    ministack::{Ministack, Options},
    scene::{Class, Scene, admits, comes_to_its_end, holds, plausible},
    subject::{ACCOUNT, REGION, Sessions, Subject, place},
};
use serde_json::{Value, json};

/// A call, as the proxy names it.
type Call = (String, String);

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Throttled,
    Failed,
    Unavailable,
    Expired,
    Denied,
    /// The connection is closed before the request has gone on.
    Reset,
    /// The request is carried out, and its answer ends in its midst with the connection.
    Lost,
    /// The request is carried out, and half of its answer comes as if it were all.
    CutOff,
}

impl Fault {
    /// In such an order that a sample has something of each kind.
    const ALL: [Self; 8] = [
        Self::Throttled,
        Self::Lost,
        Self::Denied,
        Self::Failed,
        Self::CutOff,
        Self::Expired,
        Self::Reset,
        Self::Unavailable,
    ];

    fn class(self) -> Class {
        match self {
            Self::Denied => Class::Denied,
            _ => Class::Passing,
        }
    }

    /// What each service has of it: the code alone; its form is the proxy's to know.
    fn code(self, service: &str) -> Option<(&'static str, u16)> {
        let xml = matches!(service, "iam" | "sts" | "sns" | "rds" | "elasticache" | "monitoring");
        Some(match (self, service) {
            (Self::Throttled, "s3") => ("SlowDown", 503),
            (Self::Throttled, "ec2") => ("RequestLimitExceeded", 503),
            (Self::Throttled, _) if xml => ("Throttling", 400),
            (Self::Throttled, _) => ("ThrottlingException", 400),
            (Self::Failed, "s3" | "ec2") => ("InternalError", 500),
            (Self::Failed, _) => ("InternalFailure", 500),
            (Self::Unavailable, "ec2") => ("Unavailable", 503),
            (Self::Unavailable, _) => ("ServiceUnavailable", 503),
            (Self::Expired, "s3") => ("ExpiredToken", 400),
            (Self::Expired, "ec2") => ("RequestExpired", 400),
            (Self::Expired, _) if xml => ("ExpiredToken", 403),
            (Self::Expired, _) => ("ExpiredTokenException", 400),
            (Self::Denied, "s3") => ("AccessDenied", 403),
            (Self::Denied, "ec2") => ("UnauthorizedOperation", 403),
            (Self::Denied, _) if xml => ("AccessDenied", 403),
            (Self::Denied, _) => ("AccessDeniedException", 400),
            (Self::Reset | Self::Lost | Self::CutOff, _) => return None,
        })
    }

    /// The proxy's rule.
    fn rule(self, (service, operation): &Call, lasting: bool) -> Value {
        let mut rule = json!({ "service": service, "operation": operation });
        match (self, self.code(service)) {
            (_, Some((code, status))) => rule["error"] = json!({ "code": code, "status": status }),
            (Self::Lost, _) => rule["response"] = json!({ "abort_frac": 0.3 }),
            (Self::CutOff, _) => rule["response"] = json!({ "truncate_frac": 0.5 }),
            _ => rule["reset"] = json!(true),
        }
        if !lasting {
            rule["times"] = json!(1);
        }
        rule
    }
}

/// A way to the emulator on which things go wrong, for all who pass.
struct Line {
    emulator: String,
    proxy: Microburst,
    sessions: Arc<Sessions>,
}

impl Line {
    async fn to(emulator: &Ministack) -> Self {
        let proxy = Microburst::start(emulator.url(), "").await.unwrap();
        let config = sdk_config(proxy.url(), ACCOUNT).into_builder();
        let config = config.timeout_config(timeouts()).retry_config(retries()).build();
        Self { emulator: emulator.url().to_owned(), proxy, sessions: Arc::new(Sessions::new(config)) }
    }

    async fn subject(&self, scenarios: &'static Scenarios, case: &'static Case) -> Result<Subject, String> {
        Subject::make(scenarios, case, place(&self.emulator), self.sessions.clone(), "").await
    }

    async fn rules(&self, rules: &[Value]) {
        self.proxy.set_rules(&json!(rules)).await.unwrap();
        self.proxy.clear_fired().await.unwrap();
    }

    /// What the rules have done to.
    async fn met(&self) -> Vec<Call> {
        let fired = self.proxy.fired().await.unwrap();
        let text = |fired: &Value, key: &str| fired[key].as_str().unwrap_or_default().to_owned();
        fired.iter().map(|fired| (text(fired, "service"), text(fired, "operation"))).collect()
    }

    /// The calls of a run in which nothing goes wrong, each once.
    async fn calls(&self, subject: &Subject, verb: Verb, good: Stage) -> Result<Vec<Call>, String> {
        // To be a millisecond late is no harm, and noted by the proxy.
        self.rules(&[json!({ "service": "*", "latency": 1 })]).await;
        let done = subject.ask(verb, &format!("clean {verb:?}")).await?;
        let stage = if let Some(Done::Outcome(outcome)) = &done { Some(outcome.stage) } else { None };
        holds(stage == Some(good), || format!("{}, {verb:?}: {done:?}", subject.name()))?;
        let mut calls = Vec::new();
        for call in self.met().await {
            if !calls.contains(&call) {
                calls.push(call);
            }
        }
        self.rules(&[]).await;
        holds(!calls.is_empty(), || format!("{}, {verb:?}: the proxy saw nothing", subject.name()))?;
        Ok(calls)
    }

    async fn survives(
        &self,
        scenarios: &'static Scenarios,
        case: &'static Case,
        verb: Verb,
        (fault, lasting): (Fault, bool),
        call: &Call,
    ) -> Result<(), String> {
        let subject = self.subject(scenarios, case).await?;
        let untouched = subject.look().await?;
        if verb == Verb::Undo {
            subject.ask(Verb::Fix, "fix").await?;
        }
        let before = subject.look().await?;
        self.rules(&[fault.rule(call, lasting)]).await;
        let done = subject.ask(verb, "event").await?;
        let met = self.met().await.len();
        self.rules(&[]).await;
        let now = subject.look().await?;
        let judged = async {
            holds(met > 0, || "the proxy did nothing".to_owned())?;
            plausible(case, verb, fault.class(), done.as_ref().ok_or("it ended")?)?;
            admits(done.as_ref(), now != before)?;
            comes_to_its_end(&subject, verb, untouched, &before, done.as_ref()).await
        };
        judged.await.map_err(|why| {
            let often = if lasting { "for good" } else { "once" };
            format!("{}, {verb:?}, {fault:?} {often} at {call:?}: {why}", subject.name())
        })
    }

    /// All of one remediator; gives how many faults there were, and what went wrong.
    async fn all(&self, scenarios: &'static Scenarios) -> Result<(usize, Vec<String>), String> {
        let long = std::env::var_os("REDRESS_LONG").is_some();
        let turn = scenarios.remediator.bytes().map(usize::from).sum::<usize>();
        let case = scenarios.cases.iter().find(|case| case.expect.changes()).ok_or("no case")?;
        let subject = self.subject(scenarios, case).await?;
        let there = self.calls(&subject, Verb::Fix, Stage::Verified).await?;
        let back = match case.expect {
            Expect::FixedForGood(_) => Vec::new(),
            _ => self.calls(&subject, Verb::Undo, Stage::Undone).await?,
        };
        let (mut tried, mut wrong) = (0, Vec::new());
        let calls = there.iter().map(|call| (Verb::Fix, call));
        let calls = calls.chain(back.iter().map(|call| (Verb::Undo, call)));
        for (number, (verb, call)) in calls.enumerate() {
            for (kind, fault) in Fault::ALL.into_iter().enumerate() {
                for lasting in [false, true] {
                    // One at each call: which one goes by remediator and call.
                    let sample = (turn + number) % Fault::ALL.len() == kind
                        && ((turn + number) / Fault::ALL.len() % 2 == 1) == lasting;
                    if long || sample {
                        tried += 1;
                        wrong
                            .extend(self.survives(scenarios, case, verb, (fault, lasting), call).await.err());
                    }
                }
            }
        }
        Ok((tried, wrong))
    }
}

#[tokio::test]
async fn faults_as_services_word_them_do_no_harm() {
    let only = std::env::var("REDRESS_CASES").unwrap_or_default();
    // A proxy reads the model of a service when it first meets it, which takes seconds.
    let mut services: BTreeMap<&str, Vec<&'static Scenarios>> = BTreeMap::new();
    for scenarios in SCENARIOS.iter().copied() {
        if scenarios.remediator.contains(&only) && matches!(scenarios.ministack, OnMinistack::Whole(_)) {
            services.entry(scenarios.remediator.split('.').next().unwrap()).or_default().push(scenarios);
        }
    }
    let mut services: Vec<_> = services.into_values().collect();
    services.sort_by_key(Vec::len);
    let work = Mutex::new(services);

    let ministack = Options::default().account(ACCOUNT).region(REGION).start().await.unwrap();
    let line = async || {
        let line = Line::to(&ministack).await;
        let (mut tried, mut wrong) = (0, Vec::new());
        loop {
            let Some(service) = work.lock().unwrap().pop() else { return (tried, wrong) };
            for scenarios in service {
                match line.all(scenarios).await {
                    Ok((more, ended)) => {
                        tried += more;
                        wrong.extend(ended);
                    }
                    Err(why) => wrong.push(why),
                }
            }
        }
    };
    let lines = tokio::join!(line(), line(), line(), line());
    let (mut tried, mut wrong) = (0, Vec::new());
    for (more, ended) in [lines.0, lines.1, lines.2, lines.3] {
        tried += more;
        wrong.extend(ended);
    }
    println!("{tried} faults");
    let some: Vec<String> = wrong.iter().take(20).map(|why| why.chars().take(4000).collect()).collect();
    assert!(wrong.is_empty(), "{} of {tried}: {some:#?}", wrong.len());
}
