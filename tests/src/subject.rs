//! A case at an emulator that other programs can call as well: its resource, and the real engine, with a store in
//! memory.

use std::{
    error::Error as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_config::SdkConfig;
use jiff::{SignedDuration, Timestamp};
use redress_remediators::{BoxFuture, Connection, Error, Key, REGISTRY};
use redress_router::{
    audit::Verb,
    aws::{Accounts, MemberRole},
    budget::Budget,
    engine::{Connect, ControlParams, Done, Engine, Purpose, Settings, told},
    rules::{Mode, RuleSet},
    store::memory::Memory,
};
use redress_sandbox::scenarios::{Case, Place, Scenarios};
use serde_json::Value;

use crate::{
    deployment::sdk_config,
    scene::{Scene, Seen, request},
};

/// How long a run may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The account and Region of [`Place`]s here.
pub const ACCOUNT: &str = "123456789012";
/// See [`ACCOUNT`].
pub const REGION: &str = "eu-west-1";

/// The role that runs are made with.
pub const ROLE: &str = "redress-remediator";

/// A place at the emulator at `url` whose name no other place of this process has.
pub fn place(url: &str) -> Place {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    Place {
        config: sdk_config(url, ACCOUNT),
        account: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
        name: format!("case-{}", MADE.fetch_add(1, Ordering::SeqCst)),
    }
}

/// The way into the account: sessions of its [`ROLE`], narrowed as in a deployment. Controls have no parameters there.
pub struct Sessions {
    accounts: Accounts,
    instead: Mutex<Option<Key>>,
}

impl Sessions {
    /// `config` is the way to the emulator, with the account's own credentials.
    pub fn new(config: SdkConfig) -> Self {
        let role = MemberRole { name: ROLE.to_owned(), external_id: None };
        Self { accounts: Accounts::new(config, Some(role)), instead: Mutex::default() }
    }

    /// From now on, everybody gets the session that is for this resource.
    pub fn instead(&self, key: Option<Key>) {
        *self.instead.lock().unwrap_or_else(PoisonError::into_inner) = key;
    }
}

impl Connect for Sessions {
    fn connect<'a>(&'a self, to: &'a Purpose<'a>) -> BoxFuture<'a, Result<Connection, Error>> {
        Box::pin(async move {
            let instead = self.instead.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let key = instead.as_ref().unwrap_or(to.key);
            self.accounts.connect(&Purpose { key, ..*to }).await
        })
    }

    fn control_params<'a>(
        &'a self,
        _: &'a Connection,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Option<ControlParams>, Error>> {
        Box::pin(async { Ok(Some(ControlParams::new())) })
    }
}

/// See the module.
pub struct Subject {
    /// What its case is one of.
    pub scenarios: &'static Scenarios,
    /// What is special about it.
    pub case: &'static Case,
    /// Where it is, and the way there for whoever makes it and looks at it.
    pub place: Place,
    /// Its id, as findings have it.
    pub id: String,
    /// The engine, with a rule for it.
    pub engine: Engine,
    memory: Arc<Memory>,
    /// How many seconds the engine's clock is ahead.
    ahead: Arc<AtomicI64>,
}

impl Subject {
    /// Makes the resource of a case. `rule` is more YAML for its rule, indented; `connect` is the engine's way to it.
    ///
    /// # Errors
    /// What the emulator did not do.
    pub async fn make(
        scenarios: &'static Scenarios,
        case: &'static Case,
        place: Place,
        connect: Arc<dyn Connect>,
        rule: &str,
    ) -> Result<Self, String> {
        let id = (case.make)(&place).await.map_err(|error| {
            format!("{} {}: {error}: {:?}", scenarios.remediator, case.name, error.source())
        })?;
        Self::at(scenarios, case, place, id, connect, rule)
    }

    /// The same of a resource that is there already.
    ///
    /// # Errors
    /// What is wrong with the rule.
    pub fn at(
        scenarios: &'static Scenarios,
        case: &'static Case,
        place: Place,
        id: String,
        connect: Arc<dyn Connect>,
        rule: &str,
    ) -> Result<Self, String> {
        let ahead = Arc::new(AtomicI64::new(0));
        let clock: Arc<dyn Fn() -> Timestamp + Send + Sync> = Arc::new({
            let ahead = Arc::clone(&ahead);
            move || Timestamp::now() + SignedDuration::from_secs(ahead.load(Ordering::SeqCst))
        });
        let memory = Arc::new(Memory::with_clock(Arc::clone(&clock)));
        let rules = scenarios.rules(case) + rule;
        let engine = Engine {
            registry: REGISTRY,
            rules: RuleSet::parse(&[("rules.yaml", &rules)], None, REGISTRY)
                .map_err(|error| format!("{rules}{error}"))?,
            store: memory.clone(),
            connect,
            activity: Some(Arc::new(Seen::of(case, Timestamp::now())?)),
            budget: Arc::new(Budget::new(memory.clone(), Arc::clone(&clock))),
            settings: Settings {
                ceiling: Mode::Apply,
                settle: Duration::from_secs(1),
                sign_in_window: Duration::ZERO,
                ..Settings::default()
            },
            clock,
        };
        Ok(Self { scenarios, case, place, id, engine, memory, ahead })
    }

    /// What it is called in failures.
    pub fn name(&self) -> String {
        format!("{}, {} {}", self.scenarios.remediator, self.case.control, self.case.name)
    }
}

impl Scene for Subject {
    fn case(&self) -> &'static Case {
        self.case
    }

    fn memory(&self) -> &Memory {
        &self.memory
    }

    async fn look(&self) -> Result<Value, String> {
        let looked = (self.scenarios.look)(&self.place, &self.id).await;
        looked.map_err(|error| format!("{}: {error}: {:?}", self.name(), error.source()))
    }

    async fn ask(&self, verb: Verb, event: &str) -> Result<Option<Done>, String> {
        let finding = self.scenarios.finding(self.case, &self.place, &self.id);
        let request = request(&finding, verb, event, PATIENCE)?;
        let mut done = self.engine.handle(&request).await;
        done.retain(|done| !done.is_of_another());
        let done = done.pop().filter(|_| done.is_empty()).ok_or("not one outcome")?;
        if let Done::Outcome(outcome) = &done
            && let Some(commit) = told(outcome)
        {
            self.engine.store.commit(&commit).await.map_err(|error| error.to_string())?;
        }
        Ok(Some(done))
    }

    async fn pass(&self, time: Duration) {
        self.ahead.fetch_add(i64::try_from(time.as_secs()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }
}
