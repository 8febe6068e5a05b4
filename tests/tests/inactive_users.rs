//! Inactive users, from the row that runs out to the user who can't sign in any more: the real service, in
//! process, against the embedded emulator and redress's own Security Hub. Time is virtual, so that days and
//! quotas pass as fast as they can.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_config::SdkConfig;
use jiff::{SignedDuration, Timestamp};
use redress_activity::{
    loss::Loss,
    row::{Phase, Row},
};
use redress_remediators::{BoxFuture, Connection, Error, REGISTRY};
use redress_router::{
    activity::ActivityTable,
    audit::{Record, Stage, verify_run},
    budget::Budget,
    config::Config,
    engine::{Connect, ControlParams, Engine, Purpose, Settings},
    losses::Accounted,
    report::{Channels, Reporter},
    rules::{Mode, RuleSet},
    service::Service,
    store::{Clock, Index, Store, dynamodb::DynamoDb, memory::Memory},
};
use redress_sandbox::{
    emulator::{Call, Emulator, Fault},
    securityhub::SecurityHub,
    tables,
};
use redress_tests::stream::{Change, Stream};
use serde_json::{Value, json, value::RawValue};
use tokio::time::Instant;

const ACCOUNT: &str = "123456789012";
const REGION: &str = "eu-west-1";
const TABLE: &str = "activity";
const FUNCTION: &str = "arn:aws:lambda:eu-west-1:123456789012:function:redress";
const DAY: i64 = 86_400;

/// A rule that disables by itself; `params` are the policy's.
fn rule(params: &str) -> String {
    format!(
        "
account_limits: {{per_hour: 100000, per_day: 100000}}
rules:
  - name: inactive
    control: redress.cognito-inactive-user
    remediator: cognito.disable_user
    automatic: apply
    max_risk: access
    limits: {{per_hour: 100000, per_day: 100000}}
    params: {{{params}}}
"
    )
}

/// Sessions on users of the denied pool belong to nobody who may do anything.
struct InProcess {
    emulator: Emulator,
    denied: Arc<Mutex<Option<String>>>,
}

const NOBODY: &str = "999999999999";

impl Connect for InProcess {
    fn connect<'a>(&'a self, to: &'a Purpose<'a>) -> BoxFuture<'a, Result<Connection, Error>> {
        let denied = self.denied.lock().unwrap().clone();
        let denied = denied.is_some_and(|pool| to.key.id.starts_with(&pool));
        let key = if denied { NOBODY } else { &to.key.account };
        let config = self.emulator.sdk_config(key, &to.key.region);
        Box::pin(async move { Ok(Connection { config, path_style: true, pace: None }) })
    }

    fn control_params<'a>(
        &'a self,
        _: &'a Connection,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Option<ControlParams>, Error>> {
        Box::pin(async { Ok(None) })
    }
}

#[derive(Clone)]
struct User {
    pool: String,
    sub: String,
    name: String,
}

/// What a batch came to.
#[derive(Debug)]
struct Came {
    /// The sequence numbers that are to come again.
    again: Vec<String>,
}

/// The row of a user who was seen then, as the recorder writes it.
fn seen(user: &User, at: Timestamp) -> Row {
    let ttl = at.as_second() + 90 * DAY;
    let trigger = "PostAuthentication_Authentication";
    Row { ttl: Some(ttl), ..Row::seen(&user.pool, &user.sub, &user.name, trigger, at) }
}

struct World {
    emulator: Emulator,
    hub: SecurityHub,
    store: Arc<dyn Store>,
    rules: String,
    aws: SdkConfig,
    clock: Clock,
    passed: Arc<AtomicI64>,
    dead: Arc<Mutex<Vec<Value>>>,
    stream: Stream,
    denied: Arc<Mutex<Option<String>>>,
}

impl World {
    async fn new(params: &str) -> Self {
        let hub = SecurityHub::new();
        let handler = hub.clone();
        let dead: Arc<Mutex<Vec<Value>>> = Arc::default();
        let queue = Arc::clone(&dead);
        let emulator = Emulator::new()
            .with_service(
                "securityhub",
                Arc::new(move |request| handler.handle_request(&request).map(bytes::Bytes::from)),
            )
            .with_service(
                "sqs",
                Arc::new(move |request| {
                    let sent: Value = serde_json::from_slice(request.body()).unwrap();
                    queue.lock().unwrap().push(sent);
                    let answer = json!({ "MessageId": "1", "MD5OfMessageBody": "x" }).to_string();
                    http::Response::new(bytes::Bytes::from(answer))
                }),
            );
        let aws = emulator.sdk_config(ACCOUNT, REGION);
        let begun = Instant::now();
        let passed = Arc::new(AtomicI64::new(0));
        let seconds = Arc::clone(&passed);
        // The command line has the machine's clock: to it, nothing here is yet to come.
        let start = Timestamp::now().round(jiff::Unit::Second).unwrap() - SignedDuration::from_hours(1);
        let clock: Clock = Arc::new(move || {
            start + SignedDuration::from_secs(seconds.load(Ordering::SeqCst)) + begun.elapsed()
        });
        let world = Self {
            emulator,
            hub,
            store: Arc::new(Memory::default()),
            rules: rule(params),
            aws,
            clock,
            passed,
            dead,
            stream: Stream::of(TABLE),
            denied: Arc::default(),
        };
        world.make_table(TABLE, tables::ACTIVITY).await;
        world
    }

    /// With state and records in tables, which the command line can reach as well.
    async fn deployed(params: &str) -> Self {
        let mut world = Self::new(params).await;
        world.make_table("redress-state", tables::STATE).await;
        world.make_table("redress-audit", tables::AUDIT).await;
        let (state, audit) = ("redress-state", "redress-audit");
        world.store = Arc::new(DynamoDb::new(world.dynamodb(), state, audit, 400, Arc::clone(&world.clock)));
        world
    }

    async fn make_table(&self, name: &str, keys: &[&str]) {
        tables::make(&self.dynamodb(), name, keys).await.unwrap();
    }

    fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.aws)
    }

    fn cognito(&self) -> aws_sdk_cognitoidentityprovider::Client {
        aws_sdk_cognitoidentityprovider::Client::new(&self.aws)
    }

    /// A process of the function.
    fn service(&self) -> Arc<Service> {
        let store = Arc::clone(&self.store);
        let clock = Arc::clone(&self.clock);
        let activity = Arc::new(ActivityTable::new(&self.aws, TABLE, Arc::clone(&store), Arc::clone(&clock)));
        let engine = Engine {
            registry: REGISTRY,
            rules: RuleSet::parse(&[("rules.yaml", &self.rules)], None, REGISTRY).unwrap(),
            store: Arc::clone(&store),
            connect: Arc::new(InProcess {
                emulator: self.emulator.clone(),
                denied: Arc::clone(&self.denied),
            }),
            activity: Some(Arc::clone(&activity) as _),
            budget: Arc::new(Budget::new(store, Arc::clone(&clock))),
            settings: Settings { ceiling: Mode::Apply, ..Settings::default() },
            clock,
        };
        let reporter =
            Reporter::new(self.aws.clone(), Channels { findings: true, bus: Some("default".to_owned()) });
        let config = Config::read(&|name| {
            Ok((name == "REDRESS_DEAD_LETTER_URL")
                .then(|| "https://sqs.eu-west-1.amazonaws.com/1/dead".to_owned()))
        });
        Arc::new(Service::new(engine, reporter, config.unwrap(), self.aws.clone(), Some(activity)))
    }

    fn now(&self) -> Timestamp {
        (self.clock)()
    }

    fn days_ago(&self, days: i64) -> Timestamp {
        self.now() - SignedDuration::from_secs(days * DAY)
    }

    fn pass(&self, days: i64) {
        self.passed.fetch_add(days * DAY, Ordering::SeqCst);
    }

    async fn pool(&self) -> String {
        let made = self.cognito().create_user_pool().pool_name("customers").send().await.unwrap();
        made.user_pool.unwrap().id.unwrap()
    }

    async fn user(&self, pool: &str, name: &str) -> User {
        let made = self.cognito().admin_create_user().user_pool_id(pool).username(name).send().await.unwrap();
        let attributes = made.user.unwrap().attributes.unwrap();
        let sub = attributes.into_iter().find(|is| is.name == "sub").unwrap().value.unwrap();
        User { pool: pool.to_owned(), sub, name: name.to_owned() }
    }

    async fn write(&self, row: &Row) {
        self.dynamodb().put_item().table_name(TABLE).set_item(Some(row.item())).send().await.unwrap();
    }

    async fn row(&self, user: &User) -> Option<Row> {
        let key = Row::key(&user.pool, &user.sub);
        let found = self.dynamodb().get_item().table_name(TABLE).set_key(Some(key)).send().await.unwrap();
        found.item.map(|item| Row::read(&item).unwrap())
    }

    /// What the stream says when the user's row has run out; the row is gone.
    async fn expire(&self, user: &User) -> Value {
        let row = self.row(user).await.unwrap();
        let key = Row::key(&user.pool, &user.sub);
        self.dynamodb().delete_item().table_name(TABLE).set_key(Some(key)).send().await.unwrap();
        self.removed(&row)
    }

    /// A user who was seen a hundred days ago, and what the stream says of that row.
    async fn run_out(&self) -> (User, Value) {
        let user = self.user(&self.pool().await, "ada").await;
        self.write(&seen(&user, self.days_ago(100))).await;
        let record = self.expire(&user).await;
        (user, record)
    }

    /// The record of a row that has run out.
    fn removed(&self, row: &Row) -> Value {
        self.stream.record(Change::Expired, &row.item()).unwrap()
    }

    async fn invoke(&self, service: &Arc<Service>, event: &Value) -> Value {
        let payload = RawValue::from_string(event.to_string()).unwrap();
        for _ in 0..20 {
            let deadline = Instant::now() + Duration::from_secs(300);
            match service.invoke(&payload, FUNCTION, deadline).await {
                Ok(answer) => return answer,
                // Its queue sends it again.
                Err(_) => tokio::time::sleep(Duration::from_secs(20)).await,
            }
        }
        panic!("it comes again and again: {event}")
    }

    async fn batch(&self, service: &Arc<Service>, records: &[Value]) -> Came {
        let answer = self.invoke(service, &json!({ "Records": records })).await;
        let failures = answer["batchItemFailures"].as_array().unwrap();
        let again =
            failures.iter().map(|failure| failure["itemIdentifier"].as_str().unwrap().to_owned()).collect();
        Came { again }
    }

    /// A batch until nothing of it comes again, as Lambda sends it: from the first failure on.
    async fn deliver(&self, service: &Arc<Service>, records: &[Value]) {
        let mut left = records.to_vec();
        for _ in 0..50 {
            let came = self.batch(service, &left).await;
            let Some(first) = came.again.iter().min() else { return };
            let sequence = |record: &Value| record["dynamodb"]["SequenceNumber"].as_str().map(str::to_owned);
            left.retain(|record| sequence(record).as_ref() >= Some(first));
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        panic!("it comes again and again: {left:?}");
    }

    async fn enabled(&self, user: &User) -> bool {
        let filter = format!("sub = \"{}\"", user.sub);
        let found = self.cognito().list_users().user_pool_id(&user.pool).filter(filter).send().await.unwrap();
        found.users.unwrap().first().unwrap().enabled
    }

    fn key(user: &User) -> String {
        format!("aws/{ACCOUNT}/{REGION}/CognitoUser/{}/{}", user.pool, user.sub)
    }

    async fn stages(&self, user: &User) -> Vec<Stage> {
        let runs = self.store.runs(Index::Resource(&Self::key(user)), 100).await.unwrap();
        runs.iter().map(|run| run.stage).collect()
    }

    async fn records(&self, user: &User) -> Vec<Record> {
        let runs = self.store.runs(Index::Resource(&Self::key(user)), 100).await.unwrap();
        let mut records = Vec::new();
        for run in runs {
            let lines = self.store.run(&run.run).await.unwrap();
            records.extend(verify_run(lines.iter().map(String::as_str)).unwrap());
        }
        records
    }

    fn finding(&self, user: &User) -> Option<Value> {
        self.hub.finding(&format!("redress/inactive-user/{}/{}", user.pool, user.sub))
    }

    fn imported(&self) -> Vec<Value> {
        self.hub
            .events()
            .into_iter()
            .filter(|event| event["detail-type"] == "Security Hub Findings - Imported")
            .collect()
    }

    /// From now on, nobody may do anything about users of this pool.
    fn deny(&self, pool: &str) {
        *self.denied.lock().unwrap() = Some(pool.to_owned());
        self.emulator.on_call(Arc::new(|call: &Call| (call.access_key == NOBODY).then_some(Fault::Denied)));
    }

    fn made(&self, operation: &str) -> usize {
        let done = |call: &&Call| call.operation == operation && call.status == Some(200);
        self.emulator.calls().iter().filter(done).count()
    }
}

#[tokio::test(start_paused = true)]
async fn a_finding_leads_to_the_user_and_is_closed_when_that_is_settled() {
    let world = World::new("").await;
    let user = world.user(&world.pool().await, "wilhelmina").await;
    let first = seen(&user, world.days_ago(100));
    world.write(&first).await;
    let service = world.service();
    let record = world.expire(&user).await;
    world.deliver(&service, std::slice::from_ref(&record)).await;

    // A finding and a row that is due; nobody is disabled yet.
    let finding = world.finding(&user).unwrap();
    assert_eq!(finding["Compliance"]["Status"], "FAILED");
    assert!(!finding.to_string().contains("wilhelmina"), "{finding}");
    assert_eq!(world.row(&user).await.unwrap().phase, Some(Phase::Due));
    assert!(world.enabled(&user).await);
    assert_eq!(world.stages(&user).await, []);

    let event = world.imported().remove(0);
    world.invoke(&service, &event).await;
    assert!(!world.enabled(&user).await);
    let row = world.row(&user).await.unwrap();
    assert_eq!((row.phase, row.ttl), (Some(Phase::Disabled), None));
    assert_eq!(world.stages(&user).await, [Stage::Verified]);
    assert_eq!(world.finding(&user).unwrap()["Workflow"]["Status"], "NOTIFIED");
    // Again, by the same event and by the same expiry: nothing.
    world.invoke(&service, &event).await;
    world.deliver(&service, &[record]).await;
    assert_eq!(world.made("AdminDisableUser"), 1);

    let swept = world.invoke(&service, &json!({ "redress": "recover" })).await;
    assert_eq!(swept["closed"], 1);
    let closed = world.finding(&user).unwrap();
    assert_eq!(
        (&closed["Compliance"]["Status"], &closed["RecordState"]),
        (&json!("PASSED"), &json!("ARCHIVED"))
    );
    assert_eq!(world.invoke(&service, &json!({ "redress": "recover" })).await["closed"], 0);

    let hub = aws_sdk_securityhub::Client::new(&world.aws);
    let action = hub.create_action_target().name("Undo").description("Undo").id("RedressUndo");
    action.send().await.unwrap();
    // A person gives the user back: no batch takes it away again.
    let undo = world.hub.custom_action("RedressUndo", &[closed["Id"].as_str().unwrap()]).unwrap().remove(0);
    world.invoke(&service, &undo).await;
    assert!(world.enabled(&user).await);
    let row = world.row(&user).await.unwrap();
    assert_eq!((row.phase, row.seen), (None, first.seen));
    assert!(row.restored.is_some());
    world.pass(1);
    let record = world.expire(&user).await;
    world.deliver(&service, &[record]).await;
    assert!(world.enabled(&user).await);
    let row = world.row(&user).await.unwrap();
    assert_eq!(row.phase, Some(Phase::NotYet));
    assert_eq!(row.ttl.unwrap() - row.since().as_second(), 90 * DAY);
    // Ninety days after that, it is due again; the hold of the undo has ended.
    world.pass(90);
    let record = world.expire(&user).await;
    world.deliver(&service, &[record]).await;
    let event = world.imported().into_iter().next_back().unwrap();
    world.invoke(&service, &event).await;
    assert!(!world.enabled(&user).await);
}

#[tokio::test(start_paused = true)]
async fn findings_that_one_hour_has_no_time_for_are_closed_from_the_other_end() {
    let world = World::new("").await;
    let pool = world.pool().await;
    let mut users = Vec::new();
    for number in 0..250 {
        let user = world.user(&pool, &format!("user-{number}")).await;
        world.write(&seen(&user, world.days_ago(400 - number))).await;
        users.push(user);
    }
    let service = world.service();
    let mut records = Vec::new();
    for user in &users {
        records.push(world.expire(user).await);
    }
    world.deliver(&service, &records).await;
    for user in &users {
        assert_eq!(world.finding(user).unwrap()["RecordState"], "ACTIVE");
        world.write(&seen(user, world.now())).await;
    }
    let closed = || users.iter().map(|user| world.finding(user).unwrap()["RecordState"] == "ARCHIVED");

    // Each page takes longer than half of the time.
    world.emulator.meanwhile(Some(Arc::new(|call: &Call| {
        let pause = Duration::from_secs(if call.operation == "GetFindings" { 16 } else { 0 });
        Box::pin(tokio::time::sleep(pause))
    })));
    let recover = RawValue::from_string(json!({ "redress": "recover" }).to_string()).unwrap();
    for left in [150, 50, 0] {
        // An hour and no more, whatever the machine's clock says.
        world.passed.fetch_add(3600 - world.now().as_second() % 3600, Ordering::SeqCst);
        let deadline = Instant::now() + Duration::from_secs(30);
        service.invoke(&recover, FUNCTION, deadline).await.unwrap();
        assert_eq!(closed().filter(|closed| !closed).count(), left);
        if left == 50 {
            // One hour those of the longest absence, one hour those of the shortest.
            assert!(closed().next().unwrap() && closed().next_back().unwrap());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn through_the_engine_security_hub_hears_nothing() {
    let world = World::new("through: engine").await;
    let user = world.user(&world.pool().await, "wilhelmina").await;
    world.write(&seen(&user, world.days_ago(91))).await;
    let service = world.service();
    let record = world.expire(&user).await;
    world.deliver(&service, &[record]).await;
    assert!(!world.enabled(&user).await);
    assert_eq!(world.row(&user).await.unwrap().phase, Some(Phase::Disabled));
    assert_eq!(world.stages(&user).await, [Stage::Verified]);
    assert!(world.finding(&user).is_none());
    assert!(world.emulator.calls().iter().all(|call| call.service != "securityhub"));
    let text = serde_json::to_string(&world.records(&user).await).unwrap();
    assert!(!text.contains("wilhelmina"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn who_is_warned_hears_of_it_before() {
    let world = World::new("through: engine, warn_days: 7").await;
    let user = world.user(&world.pool().await, "wilhelmina").await;
    world.write(&seen(&user, world.days_ago(83))).await;
    let service = world.service();
    let record = world.expire(&user).await;
    world.deliver(&service, &[record]).await;
    let row = world.row(&user).await.unwrap();
    assert_eq!(row.phase, Some(Phase::Warned));
    assert_eq!(row.ttl.unwrap() - row.seen.as_second(), 90 * DAY);
    assert_eq!(world.stages(&user).await, [Stage::Waiting]);
    assert!(world.enabled(&user).await);
    // One event, for whoever writes to users: it says who, and until when, and nothing else of the user.
    let events = world.emulator.events();
    assert_eq!(events.len(), 1);
    let told = events[0].detail.to_string();
    let until = (row.seen + SignedDuration::from_secs(90 * DAY)).strftime("%Y-%m-%d").to_string();
    assert!(told.contains(&user.sub) && told.contains(&user.pool) && told.contains(&until), "{told}");
    assert!(!told.contains("wilhelmina"), "{told}");
    world.pass(7);
    let record = world.expire(&user).await;
    world.deliver(&service, &[record]).await;
    assert!(!world.enabled(&user).await);
    assert_eq!(world.stages(&user).await, [Stage::Verified, Stage::Waiting]);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_disabled_on_account_of_a_sign_in_that_was_lost() {
    let world = World::new("through: engine").await;
    let user = world.user(&world.pool().await, "ada").await;
    world.write(&seen(&user, world.days_ago(100))).await;
    let lost = world.days_ago(50);
    world.emulator.count(ACCOUNT, REGION, &user.pool, lost, 2);
    let service = world.service();
    let record = world.expire(&user).await;
    world.deliver(&service, &[record]).await;
    assert!(world.enabled(&user).await);
    assert_eq!(world.stages(&user).await, [Stage::Refused]);
    let row = world.row(&user).await.unwrap();
    assert_eq!(row.phase, Some(Phase::Due));

    // Somebody looks after them: the next day's ring goes through.
    let table = ActivityTable::new(&world.aws, TABLE, Arc::clone(&world.store), Arc::clone(&world.clock));
    let losses = table.losses();
    let day = losses.days(&user.pool, world.days_ago(100)).await.unwrap().remove(0);
    assert_eq!(day.lost, 2);
    let accounted =
        Accounted { lost: 2, by: "arn:aws:iam::1:user/x".to_owned(), at: world.now(), waived: None };
    losses.account_for(&user.pool, day.day, &accounted).await.unwrap();
    world.pass(1);
    let record = world.expire(&user).await;
    world.deliver(&service, &[record]).await;
    assert!(!world.enabled(&user).await);
}

#[tokio::test(start_paused = true)]
async fn a_finding_is_closed_when_the_user_returns_or_is_gone() {
    let world = World::new("").await;
    let pool = world.pool().await;
    let (back, gone) = (world.user(&pool, "ada").await, world.user(&pool, "bob").await);
    let service = world.service();
    for user in [&back, &gone] {
        world.write(&seen(user, world.days_ago(100))).await;
        let record = world.expire(user).await;
        world.deliver(&service, &[record]).await;
        assert_eq!(world.finding(user).unwrap()["RecordState"], "ACTIVE");
    }
    world.write(&seen(&back, world.now())).await;
    world.cognito().admin_delete_user().user_pool_id(&pool).username("bob").send().await.unwrap();
    world.pass(1);
    let record = world.expire(&gone).await;
    world.deliver(&service, &[record]).await;
    assert!(world.row(&gone).await.is_none());
    assert_eq!(world.finding(&gone).unwrap()["RecordState"], "ARCHIVED");
    assert_eq!(world.finding(&back).unwrap()["RecordState"], "ACTIVE");
    world.invoke(&service, &json!({ "redress": "recover" })).await;
    assert_eq!(world.finding(&back).unwrap()["RecordState"], "ARCHIVED");
    assert!(world.enabled(&back).await);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_exempt_is_left_alone_and_not_looked_at_each_day() {
    let world = World::new("through: engine, protected_groups: [admins]").await;
    let pool = world.pool().await;
    let cognito = world.cognito();
    let (admin, off) = (world.user(&pool, "ada").await, world.user(&pool, "bob").await);
    cognito.create_group().user_pool_id(&pool).group_name("admins").send().await.unwrap();
    let join = cognito.admin_add_user_to_group().user_pool_id(&pool).username("ada").group_name("admins");
    join.send().await.unwrap();
    cognito.admin_disable_user().user_pool_id(&pool).username("bob").send().await.unwrap();
    world.emulator.forget_calls();
    let service = world.service();
    for (user, phase) in [(&admin, Phase::Exempt), (&off, Phase::DisabledElsewhere)] {
        world.write(&seen(user, world.days_ago(100))).await;
        let record = world.expire(user).await;
        world.deliver(&service, &[record]).await;
        let row = world.row(user).await.unwrap();
        assert_eq!(row.phase, Some(phase));
        assert_eq!(row.ttl.unwrap(), world.now().as_second() + 30 * DAY);
    }
    assert!(world.enabled(&admin).await);
    assert_eq!(world.made("AdminDisableUser"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_poison_record_blocks_nobody() {
    let world = World::new("through: engine").await;
    let (pool, denied) = (world.pool().await, world.pool().await);
    let mut users = Vec::new();
    let mut records = Vec::new();
    for number in 0..99 {
        let user = world.user(if number == 50 { &denied } else { &pool }, &format!("user-{number}")).await;
        world.write(&seen(&user, world.days_ago(100))).await;
        records.push(world.expire(&user).await);
        users.push(user);
    }
    let mut poison = world.removed(&seen(&users[0], world.days_ago(100)));
    poison["dynamodb"]["Keys"]["sub"]["S"] = json!("poisoned");
    poison["dynamodb"]["OldImage"]["sub"]["S"] = json!("poisoned");
    records.insert(30, poison);
    let gone = users[10].clone();
    world.cognito().admin_delete_user().user_pool_id(&pool).username(&gone.name).send().await.unwrap();
    world.deny(&denied);
    world.emulator.forget_calls();

    let came = world.batch(&world.service(), &records).await;
    assert_eq!(came.again, Vec::<String>::new());
    for (index, user) in users.iter().enumerate() {
        match index {
            10 => assert!(world.row(user).await.is_none(), "closed"),
            50 => {
                assert_eq!(world.row(user).await.unwrap().phase, Some(Phase::Due));
                assert_eq!(world.stages(user).await, [Stage::Denied]);
            }
            _ => {
                assert!(!world.enabled(user).await, "{index}");
                assert_eq!(world.row(user).await.unwrap().phase, Some(Phase::Disabled));
            }
        }
    }
    let dead = world.dead.lock().unwrap().clone();
    assert_eq!(dead.len(), 2, "{dead:?}");
    for (letter, sub) in dead.iter().zip(["poisoned", &users[50].sub]) {
        let body: Value = serde_json::from_str(letter["MessageBody"].as_str().unwrap()).unwrap();
        assert_eq!(body["sub"], sub, "{body}");
        let reason = letter["MessageAttributes"]["reason"]["StringValue"].as_str().unwrap();
        assert_eq!(body["why"], reason);
        assert!(!letter.to_string().contains("user-"), "{letter}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_that_cannot_be_put_back_stays_in_the_stream() {
    let world = World::new("through: engine").await;
    let (user, record) = world.run_out().await;
    for fault in [Fault::Denied, Fault::Throttled, Fault::NoConnection, Fault::Failed] {
        let now = fault.clone();
        world
            .emulator
            .on_call(Arc::new(move |call: &Call| (call.operation == "PutItem").then(|| now.clone())));
        let came = world.batch(&world.service(), std::slice::from_ref(&record)).await;
        assert_eq!(came.again.len(), 1, "{fault:?}");
    }
    world.emulator.clear_hook();
    world.deliver(&world.service(), &[record]).await;
    assert_eq!(world.row(&user).await.unwrap().phase, Some(Phase::Disabled));
    assert!(world.dead.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_told_of_a_user_is_told_with_its_records_second_time() {
    let world = World::new("through: engine").await;
    let (user, record) = world.run_out().await;
    let service = world.service();
    let unheard = |call: &Call| (call.operation == "PutEvents").then_some(Fault::Throttled);
    world.emulator.on_call(Arc::new(unheard));
    let came = world.batch(&service, std::slice::from_ref(&record)).await;
    assert_eq!(came.again.len(), 1);
    assert_eq!(world.row(&user).await.unwrap().phase, Some(Phase::Disabled));
    world.emulator.clear_hook();
    // A third time is of no use to anybody.
    for _ in 0..2 {
        let came = world.batch(&service, std::slice::from_ref(&record)).await;
        assert_eq!((came.again, world.made("PutEvents")), (vec![], 1));
    }
    assert_eq!((world.stages(&user).await, world.made("AdminDisableUser")), (vec![Stage::Verified], 1));
    assert!(!world.enabled(&user).await);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_told_with_a_records_second_time_of_a_user_who_was_enabled_by_hand() {
    let mut world = World::new("through: engine").await;
    let (user, record) = world.run_out().await;
    assert!(world.batch(&world.service(), std::slice::from_ref(&record)).await.again.is_empty());
    assert_eq!(world.emulator.events().len(), 1);
    assert_eq!(world.stages(&user).await, [Stage::Verified]);
    let enable = world.cognito().admin_enable_user().user_pool_id(&user.pool).username(&user.name);
    enable.send().await.unwrap();
    for remembered in [true, false] {
        if !remembered {
            world.store = Arc::new(Memory::default());
        }
        let came = world.batch(&world.service(), std::slice::from_ref(&record)).await;
        assert_eq!((came.again, world.emulator.events().len()), (vec![], 1), "{remembered}");
        assert!(world.enabled(&user).await, "{remembered}");
    }
    assert_eq!((world.stages(&user).await, world.made("AdminDisableUser")), (vec![], 1));
}

#[tokio::test(start_paused = true)]
async fn what_the_bus_never_takes_is_not_sent_again_and_again() {
    for (code, again) in [
        ("InternalFailure", true),
        ("InternalException", true),
        ("ThrottlingException", true),
        ("MalformedDetail", false),
        ("NotAuthorizedForSource", false),
    ] {
        let world = World::new("through: engine").await;
        let refusing = move |_| {
            let entry = json!({ "ErrorCode": code, "ErrorMessage": "refused" });
            let body = json!({ "FailedEntryCount": 1, "Entries": [entry] });
            http::Response::new(body.to_string().into())
        };
        drop(world.emulator.clone().with_service("events", Arc::new(refusing)));
        let (user, record) = world.run_out().await;
        let service = world.service();
        let came = world.batch(&service, std::slice::from_ref(&record)).await;
        assert_eq!(came.again.len(), usize::from(again), "{code}");
        let came = world.batch(&service, std::slice::from_ref(&record)).await;
        assert_eq!(came.again.len(), usize::from(again), "{code}");
        assert_eq!(world.made("PutEvents"), 1 + usize::from(again), "{code}");
        assert_eq!((world.stages(&user).await, world.made("AdminDisableUser")), (vec![Stage::Verified], 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_finding_that_there_is_no_time_to_write_stays_in_the_stream() {
    let world = World::new("").await;
    let (user, record) = world.run_out().await;
    let sequence = record["dynamodb"]["SequenceNumber"].clone();
    let batch = RawValue::from_string(json!({ "Records": [record] }).to_string()).unwrap();
    for (seconds, again) in [(4, vec![json!({ "itemIdentifier": sequence })]), (6, vec![])] {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        let answer = world.service().invoke(&batch, FUNCTION, deadline).await.unwrap();
        assert_eq!(answer["batchItemFailures"], Value::from(again.clone()), "{seconds}");
        // All that comes before the finding was done.
        assert_eq!(world.row(&user).await.unwrap().phase, Some(Phase::Due), "{seconds}");
        let written = usize::from(again.is_empty());
        assert_eq!(world.imported().len(), written, "{seconds}");
    }
    assert!(world.enabled(&user).await);
    assert!(world.dead.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_no_expiry_changes_nothing() {
    let world = World::new("through: engine").await;
    let user = world.user(&world.pool().await, "ada").await;
    world.write(&seen(&user, world.days_ago(100))).await;
    let expiry = world.expire(&user).await;
    world.emulator.forget_calls();
    let service = world.service();
    let with = |change: fn(&mut Value)| {
        let mut record = expiry.clone();
        change(&mut record);
        record
    };
    let records = [
        with(|record| drop(record.as_object_mut().unwrap().remove("userIdentity"))),
        with(|record| record["userIdentity"]["principalId"] = json!("AIDACKCEVSQ6C2EXAMPLE")),
        with(|record| record["userIdentity"]["type"] = json!("AWSService")),
        with(|record| record["eventName"] = json!("MODIFY")),
        with(|record| record["eventName"] = json!("INSERT")),
    ];
    assert_eq!(world.batch(&service, &records).await.again, Vec::<String>::new());
    assert!(world.emulator.calls().is_empty(), "{:?}", world.emulator.calls());
    assert!(world.dead.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_backfill_in_between_does_not_make_a_user_older() {
    let world = World::new("through: engine").await;
    let user = world.user(&world.pool().await, "ada").await;
    let last = seen(&user, world.days_ago(80));
    world.write(&last).await;
    let service = world.service();
    let record = world.expire(&user).await;
    world.write(&Row { signed_in: false, ..seen(&user, world.days_ago(400)) }).await;
    world.deliver(&service, &[record]).await;
    let row = world.row(&user).await.unwrap();
    assert_eq!((row.seen, row.signed_in, row.phase), (last.seen, true, Some(Phase::NotYet)));
    assert!(world.enabled(&user).await);
}

/// How many of these times lie within the fullest second.
fn fullest_second(times: &[Timestamp]) -> usize {
    let mut times = times.to_vec();
    times.sort();
    let (mut first, mut most) = (0, 0);
    for (last, at) in times.iter().enumerate() {
        while at.duration_since(times[first]) >= SignedDuration::from_secs(1) {
            first += 1;
        }
        most = most.max(last + 1 - first);
    }
    most
}

/// A Cognito and a DynamoDB that can do no more than this takes, and take thousands of users: the sandbox's
/// copy all that they hold at each change.
#[derive(Default)]
struct Stub {
    disabled: Mutex<HashMap<String, usize>>,
    rows: Mutex<HashMap<String, Value>>,
}

impl Stub {
    fn answer(&self, request: &http::Request<bytes::Bytes>) -> http::Response<bytes::Bytes> {
        let input: Value = serde_json::from_slice(request.body()).unwrap();
        let target = request.headers()["x-amz-target"].to_str().unwrap();
        let answer = match target.rsplit('.').next().unwrap() {
            "ListUsers" => {
                // sub = "…"
                let sub = input["Filter"].as_str().unwrap().split('"').nth(1).unwrap();
                let disabled = self.disabled.lock().unwrap().contains_key(sub);
                json!({ "Users": [{
                    "Username": sub,
                    "Attributes": [{ "Name": "sub", "Value": sub }],
                    "Enabled": !disabled,
                    "UserStatus": "CONFIRMED",
                }] })
            }
            "AdminListGroupsForUser" => json!({ "Groups": [] }),
            "ListTagsForResource" => json!({ "Tags": {} }),
            "AdminDisableUser" => {
                let name = input["Username"].as_str().unwrap().to_owned();
                *self.disabled.lock().unwrap().entry(name).or_default() += 1;
                json!({})
            }
            "GetItem" => match self.rows.lock().unwrap().get(&input["Key"]["sub"].to_string()) {
                Some(row) => json!({ "Item": row }),
                None => json!({}),
            },
            "PutItem" => {
                let mut rows = self.rows.lock().unwrap();
                let sub = input["Item"]["sub"].to_string();
                let there = rows.get(&sub).cloned();
                let condition = input["ConditionExpression"].as_str().unwrap();
                let holds = if condition.contains(":seen") {
                    there.as_ref().map(|row| &row["timestamp"])
                        == Some(&input["ExpressionAttributeValues"][":seen"])
                } else {
                    there.is_none()
                };
                if !holds {
                    let error = json!({
                        "__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
                        "message": "The conditional request failed",
                        "Item": there,
                    });
                    let answer = http::Response::builder().status(400);
                    return answer.body(bytes::Bytes::from(error.to_string())).unwrap();
                }
                rows.insert(sub, input["Item"].clone());
                json!({})
            }
            other => panic!("{other}"),
        };
        http::Response::new(bytes::Bytes::from(answer.to_string()))
    }
}

#[tokio::test(start_paused = true)]
async fn five_thousand_at_once_drain_within_the_budget() {
    const USERS: usize = 5000;
    let mut world = World::new("through: engine").await;
    let stub = Arc::new(Stub::default());
    let (cognito, dynamodb) = (Arc::clone(&stub), Arc::clone(&stub));
    world.emulator = world
        .emulator
        .clone()
        .with_service("cognito-idp", Arc::new(move |request| cognito.answer(&request)))
        .with_service("dynamodb", Arc::new(move |request| dynamodb.answer(&request)));
    let world = Arc::new(world);
    let users: Vec<User> = (0..USERS)
        .map(|number| User {
            pool: format!("eu-west-1_Pool{}", number % 7),
            sub: uuid::Uuid::from_u128(number.try_into().unwrap()).to_string(),
            name: "somebody".to_owned(),
        })
        .collect();
    let records: Vec<Value> =
        users.iter().map(|user| world.removed(&seen(user, world.days_ago(100)))).collect();
    world.emulator.forget_calls();
    // When changes of users reach Cognito; every fiftieth is throttled.
    let times: Arc<Mutex<Vec<Timestamp>>> = Arc::default();
    let reads: Arc<Mutex<Vec<Timestamp>>> = Arc::default();
    let (changes, lists, clock) = (Arc::clone(&times), Arc::clone(&reads), Arc::clone(&world.clock));
    world.emulator.on_call(Arc::new(move |call: &Call| match call.operation.as_str() {
        "AdminDisableUser" => {
            let mut changes = changes.lock().unwrap();
            changes.push(clock());
            (changes.len() % 50 == 0).then_some(Fault::Throttled)
        }
        "ListUsers" => {
            let mut lists = lists.lock().unwrap();
            lists.push(clock());
            (lists.len() % 50 == 0).then_some(Fault::Throttled)
        }
        _ => None,
    }));
    let begun = world.now();
    let shards: Vec<Vec<Value>> =
        (0..3).map(|shard| records.iter().skip(shard).step_by(3).cloned().collect()).collect();
    let mut processors = tokio::task::JoinSet::new();
    for shard in shards {
        let world = Arc::clone(&world);
        processors.spawn(async move {
            let service = world.service();
            for batch in shard.chunks(100) {
                world.deliver(&service, batch).await;
            }
        });
    }
    processors.join_all().await;
    let took = world.now().duration_since(begun);
    world.emulator.clear_hook();

    let times = times.lock().unwrap().clone();
    assert!(fullest_second(&times) <= 10, "{}", fullest_second(&times));
    assert!(fullest_second(&reads.lock().unwrap()) <= 25);
    let disabled = stub.disabled.lock().unwrap().clone();
    assert_eq!(disabled.len(), users.len(), "none lost");
    assert!(disabled.values().all(|times| *times == 1), "none twice");
    let rows = stub.rows.lock().unwrap().clone();
    assert!(rows.len() == USERS && rows.values().all(|row| row["phase"]["S"] == "disabled"));
    assert_eq!(world.dead.lock().unwrap().len(), 0);
    let throttled = times.len() - users.len();
    assert!(throttled >= 100, "{throttled}");
    println!("{} users in {} virtual seconds, {throttled} calls throttled", users.len(), took.as_secs());
}

/// A user who signs in while an expiry is handled: Cognito lets it in at one moment, if it is enabled then,
/// and the recorder's write reaches the table at another, within the time that Cognito gives a trigger.
struct SignIn {
    world: Arc<World>,
    user: User,
    /// The numbers of the calls before which the two happen.
    at: usize,
    recorded: usize,
    calls: AtomicUsize,
    ours: AtomicBool,
    let_in: Mutex<Option<Timestamp>>,
    written: AtomicBool,
    /// Whether the recorder could not write.
    lost: bool,
}

impl SignIn {
    /// Has it happen before the calls with these numbers.
    fn begin(world: &Arc<World>, user: &User, (at, recorded): (usize, usize), lost: bool) -> Arc<Self> {
        let sign_in = Arc::new(Self {
            world: Arc::clone(world),
            user: user.clone(),
            at,
            recorded,
            calls: AtomicUsize::new(0),
            ours: AtomicBool::new(false),
            let_in: Mutex::default(),
            written: AtomicBool::new(false),
            lost,
        });
        let hook = Arc::clone(&sign_in);
        world.emulator.meanwhile(Some(Arc::new(move |_| Box::pin(Arc::clone(&hook).before_call()))));
        sign_in
    }

    async fn before_call(self: Arc<Self>) {
        if self.ours.swap(true, Ordering::SeqCst) {
            return;
        }
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        if call == self.at && self.world.enabled(&self.user).await {
            *self.let_in.lock().unwrap() = Some(self.world.now());
            let recorder = Arc::clone(&self);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(14_900)).await;
                recorder.record().await;
            });
        }
        if call >= self.recorded {
            self.record().await;
        }
        self.ours.store(false, Ordering::SeqCst);
    }

    async fn record(&self) {
        let Some(at) = *self.let_in.lock().unwrap() else { return };
        if self.written.swap(true, Ordering::SeqCst) {
            return;
        }
        if self.lost {
            self.world.emulator.count(ACCOUNT, REGION, &self.user.pool, at, 1);
        } else {
            self.world.write(&seen(&self.user, at)).await;
        }
    }
}

/// Every moment of a sign-in, and every moment of its record after it.
async fn sign_ins_at_every_moment(params: &str) -> (usize, usize) {
    let (mut tried, mut let_in) = (0, 0);
    let mut moments = 1;
    let mut at = 0;
    while at < moments {
        let mut recorded = at;
        while recorded <= moments {
            let world = Arc::new(World::new(params).await);
            let user = world.user(&world.pool().await, "ada").await;
            world.write(&seen(&user, world.days_ago(100))).await;
            let record = world.expire(&user).await;
            let sign_in = SignIn::begin(&world, &user, (at, recorded), false);
            let service = world.service();
            world.deliver(&service, &[record]).await;
            for event in world.imported() {
                world.invoke(&service, &event).await;
            }
            tokio::time::sleep(Duration::from_secs(20)).await;
            world.emulator.meanwhile(None);
            moments = moments.max(sign_in.calls.load(Ordering::SeqCst));
            // What was given back comes again, whatever came of it; and a day passes, if the row rings.
            world.pass(1);
            let row = world.row(&user).await.unwrap();
            if row.ttl.is_some_and(|ttl| ttl <= world.now().as_second()) {
                let record = world.expire(&user).await;
                world.deliver(&service, &[record]).await;
                for event in world.imported() {
                    world.invoke(&service, &event).await;
                }
            }
            let came = sign_in.let_in.lock().unwrap().is_some();
            assert_eq!(
                world.enabled(&user).await,
                came,
                "let in before call {at}, recorded before {recorded}"
            );
            let phase = world.row(&user).await.unwrap().phase;
            assert_eq!(
                phase,
                (!came).then_some(Phase::Disabled),
                "let in before call {at}, recorded before {recorded}"
            );
            // Whole, or it could not be read; and none is left open.
            let records = world.records(&user).await;
            let runs: std::collections::BTreeSet<_> = records.iter().map(|record| &record.run).collect();
            assert_eq!(records.iter().filter(|record| record.last).count(), runs.len());
            tried += 1;
            recorded += 1;
            let_in += usize::from(came);
        }
        at += 1;
    }
    (tried, let_in)
}

#[tokio::test(start_paused = true)]
async fn whoever_signs_in_at_any_moment_is_not_left_disabled() {
    for params in ["through: engine", ""] {
        let (tried, let_in) = sign_ins_at_every_moment(params).await;
        println!("{params:?}: {tried} interleavings, {let_in} of them let in");
        assert!(tried > 100 && let_in > 50 && let_in < tried, "{tried} {let_in}");
    }
}

/// The process ends before each call in turn, and with it whatever it was about to do. Its record comes again;
/// `then` is what happens in between.
async fn cut_off_before_every_call(signs_in: bool) -> usize {
    let mut at = 0;
    loop {
        let world = Arc::new(World::new("through: engine").await);
        let user = world.user(&world.pool().await, "ada").await;
        world.write(&seen(&user, world.days_ago(100))).await;
        let record = world.expire(&user).await;
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        world.emulator.meanwhile(Some(Arc::new(move |_| {
            let dies = counted.fetch_add(1, Ordering::SeqCst) == at;
            Box::pin(async move {
                if dies {
                    std::future::pending::<()>().await;
                }
            })
        })));
        let (dying, sent) = (Arc::clone(&world), record.clone());
        let process = tokio::spawn(async move {
            let service = dying.service();
            dying.batch(&service, &[sent]).await
        });
        let ended = tokio::time::timeout(Duration::from_secs(100), process).await;
        world.emulator.meanwhile(None);
        if ended.is_ok() {
            return at;
        }
        let came = signs_in && world.enabled(&user).await;
        if came {
            world.write(&seen(&user, world.now())).await;
        }
        // The stream sends the record again, and the schedule settles what is left open.
        tokio::time::sleep(Duration::from_secs(400)).await;
        let service = world.service();
        world.invoke(&service, &json!({ "redress": "recover" })).await;
        world.deliver(&service, &[record]).await;
        world.pass(1);
        if world.row(&user).await.unwrap().ttl.is_some_and(|ttl| ttl <= world.now().as_second()) {
            let record = world.expire(&user).await;
            world.deliver(&service, &[record]).await;
        }
        assert_eq!(world.enabled(&user).await, came, "cut off before call {at}");
        let phase = world.row(&user).await.unwrap().phase;
        assert_eq!(phase, (!came).then_some(Phase::Disabled), "cut off before call {at}");
        let records = world.records(&user).await;
        let verified = records.iter().filter(|record| record.stage == Stage::Verified).count();
        assert_eq!(verified, usize::from(!came), "cut off before call {at}");
        assert!(world.store.scan("lease#").await.unwrap().is_empty(), "cut off before call {at}");
        at += 1;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_cut_off_is_gone_on_with_or_taken_back() {
    let calls = cut_off_before_every_call(false).await;
    assert!(calls > 10, "{calls}");
    assert_eq!(cut_off_before_every_call(true).await, calls);
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_given_back_at_once_is_given_back_later() {
    let world = Arc::new(World::new("through: engine").await);
    let (user, record) = world.run_out().await;
    let signed_in = Arc::clone(&world);
    let (back, once) = (user.clone(), Arc::new(AtomicBool::new(false)));
    // Seen while it is being disabled; and nobody may enable it for now.
    world.emulator.meanwhile(Some(Arc::new(move |call: &Call| {
        let now = call.operation == "AdminDisableUser" && !once.swap(true, Ordering::SeqCst);
        let (world, user) = (Arc::clone(&signed_in), back.clone());
        Box::pin(async move {
            if now {
                world.write(&seen(&user, world.now())).await;
            }
        })
    })));
    world
        .emulator
        .on_call(Arc::new(|call: &Call| (call.operation == "AdminEnableUser").then_some(Fault::Denied)));
    let service = world.service();
    let came = world.batch(&service, std::slice::from_ref(&record)).await;
    assert_eq!(came.again.len(), 1);
    assert!(!world.enabled(&user).await);
    let lease = world.store.scan("lease#").await.unwrap();
    assert_eq!(lease.len(), 1, "the run is open");
    world.emulator.clear_hook();
    tokio::time::sleep(Duration::from_secs(400)).await;
    world.invoke(&service, &json!({ "redress": "recover" })).await;
    assert!(world.enabled(&user).await);
    assert_eq!(world.stages(&user).await, [Stage::Skipped]);
    let reasons: Vec<_> = world.records(&user).await.into_iter().filter_map(|record| record.reason).collect();
    assert!(reasons.iter().any(|why| why.contains("enabled again")), "{reasons:?}");
    assert!(world.store.scan("lease#").await.unwrap().is_empty());
}

/// Both changes stand in the records with their calls, each call once.
#[tokio::test(start_paused = true)]
async fn records_of_what_was_taken_back_hold_all_calls() {
    let world = Arc::new(World::new("through: engine").await);
    let (user, record) = world.run_out().await;
    let (signed_in, back) = (Arc::clone(&world), user.clone());
    world.emulator.meanwhile(Some(Arc::new(move |call: &Call| {
        let now = call.operation == "AdminDisableUser";
        let (world, user) = (Arc::clone(&signed_in), back.clone());
        Box::pin(async move {
            if now {
                world.write(&seen(&user, world.now())).await;
            }
        })
    })));
    world.batch(&world.service(), &[record]).await;
    world.emulator.meanwhile(None);
    assert!(world.enabled(&user).await);
    let records = world.records(&user).await;
    assert_eq!(records.last().unwrap().stage, Stage::Skipped);
    let calls = || records.iter().flat_map(|record| &record.calls);
    for write in ["AdminDisableUser", "AdminEnableUser"] {
        assert_eq!(calls().filter(|call| call.operation == write).count(), 1, "{records:?}");
    }
}

/// `redress …` of somebody who may do everything.
async fn redress(world: &World, args: &[&str]) -> redress::Exit {
    let mut around = redress::Surroundings {
        out: Box::new(std::io::sink()),
        err: Box::new(std::io::stderr()),
        input: Box::new(std::io::empty()),
        out_in_colour: false,
        in_is_terminal: false,
        err_is_terminal: false,
        aws: Some(world.aws.clone()),
        sign_in_window: Some(Duration::ZERO),
    };
    let global = ["--deployment", "redress", "--activity-table", TABLE];
    let args = ["redress"].iter().chain(args).chain(&global).map(Into::into);
    redress::run(args, &mut around).await
}

/// The recorder could not write, and CloudWatch counts it, at once or when all is over. Whoever was let in is
/// not left disabled once the recorder's log was read.
#[tokio::test(start_paused = true)]
async fn whoever_was_let_in_and_not_recorded_is_given_back() {
    let folder = redress_tests::process::log_dir().unwrap();
    let (mut at, mut let_in, mut given_back) = (0, 0, 0);
    let mut moments = 1;
    while at < moments {
        for recorded in [at, at + 2, usize::MAX] {
            let world = Arc::new(World::deployed("through: engine").await);
            let user = world.user(&world.pool().await, "ada").await;
            world.write(&seen(&user, world.days_ago(100))).await;
            let record = world.expire(&user).await;
            let sign_in = SignIn::begin(&world, &user, (at, recorded), true);
            let service = world.service();
            world.deliver(&service, &[record]).await;
            tokio::time::sleep(Duration::from_secs(20)).await;
            world.emulator.meanwhile(None);
            moments = moments.max(sign_in.calls.load(Ordering::SeqCst));
            let came = *sign_in.let_in.lock().unwrap();
            let Some(came) = came else {
                assert!(!world.enabled(&user).await, "call {at}");
                continue;
            };
            let_in += 1;
            given_back += usize::from(!world.enabled(&user).await);
            let log = folder.join(format!("{}.log", uuid::Uuid::new_v4()));
            let loss = Loss {
                pool: user.pool.clone(),
                sub: user.sub.clone(),
                at: came,
                trigger: "TokenGeneration_RefreshTokens".to_owned(),
                signed_in: true,
            };
            std::fs::write(&log, loss.line("throttled") + "\n").unwrap();
            let args = ["cognito", "reconcile", &user.pool, "--log", &log.display().to_string(), "--yes"];
            assert_eq!(redress(&world, &args).await, redress::Exit::Done, "call {at}, lost at {recorded}");
            assert!(world.enabled(&user).await, "call {at}, lost at {recorded}");
            world.pass(1);
            let row = world.row(&user).await.unwrap();
            assert!(row.since() >= came.round(jiff::Unit::Second).unwrap() - SignedDuration::from_secs(1));
            if row.ttl.is_some_and(|ttl| ttl <= world.now().as_second()) {
                let record = world.expire(&user).await;
                world.deliver(&service, &[record]).await;
            }
            assert!(world.enabled(&user).await, "call {at}, lost at {recorded}");
        }
        at += 1;
    }
    println!("{let_in} let in without a record, {given_back} of them given back by reconcile");
    assert!(let_in > 20 && given_back > 0, "{let_in} {given_back}");
}
