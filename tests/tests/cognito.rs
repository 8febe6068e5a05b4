//! Inactive users from end to end, with nothing of redress in the emulators: a real sign-in at cognito-local
//! runs the recorder as a function of ministack, and the real dispatcher does the rest. Every claim is read
//! from outside: from the user pool, the tables, Security Hub, the outcome queue.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use aws_sdk_cognitoidentityprovider::types::{AttributeType, AuthFlowType, ExplicitAuthFlowsType};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    StreamSpecification, StreamViewType, TimeToLiveSpecification,
};
use jiff::{SignedDuration, Timestamp};
use redress_activity::{
    loss::Loss,
    row::{self, Phase, Row},
};
use redress_router::audit::Stage;
use redress_tests::{
    cognito_local::{self, CognitoLocal},
    deployment::{ACCOUNT, AUDIT_TABLE, Deployment, REGION, STATE_TABLE, binary, sdk_config},
    hold_proxy::Target,
    http1::{self, Reset, Server},
    ministack::{self, Ministack},
    process::{Program, log_dir},
    runtime_api::{Function, Outcome},
    stream::{Change, Item, Stream, batch},
};
use serde_json::{Value, json};

const TABLE: &str = "redress-activity";
const RECORDER: &str = "sign-in-recorder";
/// A function that writes at every sign-in, however soon after another.
const EAGER_RECORDER: &str = "eager-recorder";
/// A function whose table does not exist.
const LOSING_RECORDER: &str = "losing-recorder";
const PASSWORD: &str = "Correct-Horse-7-Battery";
const USERNAME: &str = "wilhelmina@thistlewood.example";
const NAME: &str = "Wilhelmina Quillfeather";
const PHONE: &str = "+15550142857";
/// A word of each: none of them stands anywhere but in the pool and in the activity table.
const PRIVATE: [&str; 4] = ["wilhelmina", "thistlewood", "quillfeather", "5550142857"];
const DAY: SignedDuration = SignedDuration::from_hours(24);

const RULES: &str = "
rules:
  - name: inactive-users
    control: redress.cognito-inactive-user
    remediator: cognito.disable_user
    automatic: apply
    max_risk: access
    params: {inactive_days: 90, through: finding}
";

struct World {
    deployment: Deployment,
    cognito: CognitoLocal,
    stream: Stream,
    pool: String,
    client: String,
    sub: String,
}

impl World {
    /// One pool, one user; this function runs at every sign-in.
    async fn start(recorder: &str) -> Self {
        let ministack = ministack::Options::default().account(ACCOUNT).region(REGION).start().await.unwrap();
        make_table(&ministack).await;
        let program = binary("sign-in-recorder").unwrap();
        let functions =
            [(RECORDER, TABLE, "60"), (EAGER_RECORDER, TABLE, "0"), (LOSING_RECORDER, "no-such-table", "60")];
        for (name, table, interval) in functions {
            let environment = [("REDRESS_ACTIVITY_TABLE", table), ("REDRESS_INTERVAL_MINUTES", interval)];
            ministack.create_function(name, &program, REGION, &environment).await.unwrap();
        }
        let cognito = cognito_local::Options::default()
            .lambda(ministack.url())
            .trigger("PostAuthentication", recorder)
            .trigger("PreTokenGeneration", recorder)
            .start()
            .await
            .unwrap();
        let deployment = Deployment::around(ministack, &[("cognito-idp", cognito.url())]).await.unwrap();
        let mut world = Self {
            deployment,
            cognito,
            stream: Stream::of(TABLE),
            pool: String::new(),
            client: String::new(),
            sub: String::new(),
        };
        world.make_user().await;
        world
    }

    fn pool(&self) -> aws_sdk_cognitoidentityprovider::Client {
        aws_sdk_cognitoidentityprovider::Client::new(&sdk_config(&self.cognito.url(), ACCOUNT))
    }

    fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.deployment.aws)
    }

    async fn make_user(&mut self) {
        let pool = self.pool().create_user_pool().pool_name("members").send().await.unwrap();
        self.pool = pool.user_pool.unwrap().id.unwrap();
        let client = self
            .pool()
            .create_user_pool_client()
            .user_pool_id(&self.pool)
            .client_name("app")
            .explicit_auth_flows(ExplicitAuthFlowsType::AllowUserPasswordAuth)
            .explicit_auth_flows(ExplicitAuthFlowsType::AllowRefreshTokenAuth)
            .send()
            .await
            .unwrap();
        self.client = client.user_pool_client.unwrap().client_id.unwrap();
        let attribute = |name, value| AttributeType::builder().name(name).value(value).build().unwrap();
        let made = self
            .pool()
            .admin_create_user()
            .user_pool_id(&self.pool)
            .username(USERNAME)
            .user_attributes(attribute("email", USERNAME))
            .user_attributes(attribute("name", NAME))
            .user_attributes(attribute("phone_number", PHONE))
            .send()
            .await
            .unwrap();
        let attributes = made.user.unwrap().attributes.unwrap();
        let sub = attributes.into_iter().find(|attribute| attribute.name == "sub").unwrap();
        self.sub = sub.value.unwrap();
        let set = self.pool().admin_set_user_password().user_pool_id(&self.pool).username(USERNAME);
        set.password(PASSWORD).permanent(true).send().await.unwrap();
    }

    /// A sign-in as an application makes it.
    async fn sign_in(&self) {
        let answer = self
            .pool()
            .initiate_auth()
            .client_id(&self.client)
            .auth_flow(AuthFlowType::UserPasswordAuth)
            .auth_parameters("USERNAME", USERNAME)
            .auth_parameters("PASSWORD", PASSWORD)
            .send()
            .await
            .unwrap();
        assert!(answer.authentication_result.unwrap().access_token.is_some());
    }

    async fn enabled(&self) -> bool {
        let user = self.pool().admin_get_user().user_pool_id(&self.pool).username(USERNAME);
        user.send().await.unwrap().enabled
    }

    async fn item(&self) -> Option<Item> {
        let key = Row::key(&self.pool, &self.sub);
        let found = self.dynamodb().get_item().table_name(TABLE).set_key(Some(key)).consistent_read(true);
        found.send().await.unwrap().item
    }

    async fn row(&self) -> Row {
        Row::read(&self.item().await.unwrap()).unwrap()
    }

    /// A person deletes the row.
    async fn forget(&self) {
        let key = Row::key(&self.pool, &self.sub);
        self.dynamodb().delete_item().table_name(TABLE).set_key(Some(key)).send().await.unwrap();
    }

    /// The table deletes the row; what its stream says of it.
    async fn expire(&self, item: &Item) -> Value {
        self.forget().await;
        batch([self.stream.record(Change::Expired, item).unwrap()])
    }

    /// The dispatcher, with a window that is long enough for emulators of this machine.
    async fn dispatcher(&self) -> Function {
        let function = self.deployment.function().unwrap();
        let function = function
            .env("REDRESS_RULES", rules_file())
            .env("REDRESS_ACTIVITY_TABLE", TABLE)
            .env("REDRESS_SIGN_IN_WINDOW_SECONDS", "1");
        function.start().await.unwrap()
    }

    fn finding_id(&self) -> String {
        format!("redress/inactive-user/{}/{}", self.pool, self.sub)
    }

    fn user_key(&self) -> String {
        format!("aws/{ACCOUNT}/{REGION}/CognitoUser/{}/{}", self.pool, self.sub)
    }

    async fn stages(&self, run: &str) -> Vec<Stage> {
        let records = self.deployment.records(run).await.unwrap();
        records.iter().map(|record| record.stage).collect()
    }

    /// What the command line says: the real program, with the function's settings.
    async fn redress(&self, args: &[&str]) -> String {
        let process = Program::new("redress", binary("redress").unwrap())
            .bare()
            .args(args)
            .env("AWS_ENDPOINT_URL", self.deployment.proxy.url())
            .env("AWS_REGION", REGION)
            .env("AWS_ACCESS_KEY_ID", ACCOUNT)
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .env("REDRESS_RULES", rules_file())
            .env("REDRESS_STATE_TABLE", STATE_TABLE)
            .env("REDRESS_AUDIT_TABLE", AUDIT_TABLE)
            .env("REDRESS_ACTIVITY_TABLE", TABLE)
            .start()
            .unwrap();
        let status = process.wait().await;
        assert!(status.success(), "{status}: {}", process.log());
        process.log()
    }

    /// Hands the function all events that Security Hub has sent since.
    async fn deliver(&self, function: &Function) {
        for event in self.deployment.hub.events() {
            let answer = function.invoke(&event).await.unwrap();
            assert!(answer.succeeded(), "{answer:?}\n{}", function.log());
        }
    }

    /// What a function of ministack has printed.
    async fn log_of(&self, function: &str) -> String {
        let logs = aws_sdk_cloudwatchlogs::Client::new(&self.deployment.aws);
        let found = logs.filter_log_events().log_group_name(format!("/aws/lambda/{function}")).send().await;
        let events = found.unwrap().events.unwrap_or_default();
        events.into_iter().filter_map(|event| event.message).collect::<Vec<_>>().join("\n")
    }

    /// Everything that a table holds.
    async fn content_of(&self, table: &str) -> String {
        let found = self.dynamodb().scan().table_name(table).send().await.unwrap();
        assert!(found.last_evaluated_key.is_none());
        format!("{:?}", found.items)
    }

    /// Neither log, record, finding, event nor dead letter has a word of the user; nor has any call but those
    /// to the pool and to the activity table.
    async fn tells_nobody(&self, function: &Function, outcomes: &[Value]) {
        let deployment = &self.deployment;
        let mut told = vec![
            ("the dispatcher's log", function.log()),
            ("the audit table", self.content_of(AUDIT_TABLE).await),
            ("the outcome events", json!(outcomes).to_string()),
            ("the finding", deployment.hub.finding(&self.finding_id()).unwrap().to_string()),
        ];
        for (place, text) in &told {
            assert!(text.contains(&self.sub), "{place} does not say who it was: {text}");
        }
        told.extend([
            ("the recorder's log", self.log_of(RECORDER).await),
            ("the state table", self.content_of(STATE_TABLE).await),
            ("the dead letters", format!("{:?}", deployment.queue.dead_letters())),
        ]);
        for call in deployment.proxy.calls() {
            let body = call.text();
            let may = call.aws.service == "cognito-idp" || body.contains(&format!("\"{TABLE}\""));
            if !may {
                told.push(("a call", format!("{} {} {body}", call.action(), call.path)));
            }
        }
        for (place, text) in told {
            discreet(place, &text);
        }
    }
}

fn rules_file() -> PathBuf {
    let path = log_dir().unwrap().join(format!("rules-{}.yaml", uuid::Uuid::new_v4()));
    std::fs::write(&path, RULES).unwrap();
    path
}

/// Hands what it gets to a function, as its event.
fn relay_to(function: Function) -> Server {
    http1::serve(move |request: http::Request<bytes::Bytes>| {
        let function = function.clone();
        async move {
            let answer = function.invoke_raw(request.into_body()).await.map_err(|_| Reset)?;
            match answer.outcome {
                Outcome::Response(body) => Ok(http1::answer(200, "application/json", body)),
                other => Ok(http1::answer(500, "text/plain", format!("{other:?}"))),
            }
        }
    })
    .unwrap()
}

/// There is no word of the user in it.
fn discreet(place: &str, text: &str) {
    let text = text.to_lowercase();
    for word in PRIVATE {
        assert!(!text.contains(word), "{place} has `{word}`: {text}");
    }
}

async fn make_table(ministack: &Ministack) {
    let client = aws_sdk_dynamodb::Client::new(&sdk_config(ministack.url(), ACCOUNT));
    let stream = StreamSpecification::builder()
        .stream_enabled(true)
        .stream_view_type(StreamViewType::NewAndOldImages)
        .build()
        .unwrap();
    let mut table = client
        .create_table()
        .table_name(TABLE)
        .billing_mode(BillingMode::PayPerRequest)
        .stream_specification(stream);
    for (name, kind) in [(row::POOL, KeyType::Hash), (row::SUB, KeyType::Range)] {
        let attribute =
            AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S);
        let key = KeySchemaElement::builder().attribute_name(name).key_type(kind);
        table = table.attribute_definitions(attribute.build().unwrap()).key_schema(key.build().unwrap());
    }
    table.send().await.unwrap();
    let alive = TimeToLiveSpecification::builder().attribute_name(row::TTL).enabled(true).build().unwrap();
    let set = client.update_time_to_live().table_name(TABLE).time_to_live_specification(alive);
    set.send().await.unwrap();
}

/// The same row of a user who was last seen so many days ago.
fn aged(item: &Item, days: i64) -> Item {
    let mut item = item.clone();
    let seen = Timestamp::now() - SignedDuration::from_hours(24 * days);
    item.insert(row::TIMESTAMP.to_owned(), AttributeValue::S(row::written(seen)));
    item
}

/// All records of the batch are done with.
async fn handled(function: &Function, event: &Value) {
    let answer = function.invoke(event).await.unwrap();
    let Outcome::Response(body) = &answer.outcome else { panic!("{answer:?}\n{}", function.log()) };
    let body: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(body, json!({ "batchItemFailures": [] }), "{}", function.log());
}

/// From the sign-in to the user who is disabled. Says which run it was, and what was told of it.
async fn seen_and_disabled(world: &World, function: &Function) -> (String, Vec<Value>) {
    let deployment = &world.deployment;
    let begun = Timestamp::now();
    world.sign_in().await;

    // The trigger has written the row.
    let recorded = world.item().await.unwrap();
    let row = world.row().await;
    assert_eq!((row.pool.as_str(), row.sub.as_str()), (world.pool.as_str(), world.sub.as_str()));
    assert_eq!(row.username.as_deref(), Some(USERNAME));
    assert!(row.signed_in && row.phase.is_none(), "{row:?}");
    assert!(row.seen.duration_since(begun).abs() < SignedDuration::from_secs(20), "{row:?}");
    assert_eq!(row.ttl, Some(row.seen.as_second() + 90 * DAY.as_secs()));
    let trigger = row.trigger.unwrap();
    assert!(["PostAuthentication_Authentication", "TokenGeneration_Authentication"].contains(&&*trigger));

    // It runs out: there is a finding, and as yet nothing else.
    handled(function, &world.expire(&aged(&recorded, 100)).await).await;
    let finding = deployment.hub.finding(&world.finding_id()).unwrap();
    assert_eq!(finding["GeneratorId"], "redress.cognito-inactive-user");
    assert_eq!(finding["Compliance"]["Status"], "FAILED");
    assert_eq!(world.row().await.phase, Some(Phase::Due));
    assert!(world.enabled().await);

    // The finding comes back as an event: the user is disabled.
    world.deliver(function).await;
    assert!(!world.enabled().await, "{}", function.log());
    let runs = deployment.runs(&world.user_key()).await.unwrap();
    let verified: Vec<_> = runs.iter().filter(|run| run.stage == Stage::Verified).collect();
    assert_eq!(verified.len(), 1, "{runs:?}");
    let run = verified[0].run.clone();
    assert_eq!(world.stages(&run).await, [Stage::Intent, Stage::Verified]);
    let row = world.row().await;
    assert_eq!((row.phase, row.run.as_ref(), row.ttl), (Some(Phase::Disabled), Some(&run), None));
    let finding = deployment.hub.finding(&world.finding_id()).unwrap();
    let note = finding["Note"]["Text"].as_str().unwrap();
    assert!(note.contains(&run), "{note}");
    assert_eq!(finding["UserDefinedFields"]["redress_outcome"], "verified");
    let outcomes = deployment.outcomes().await.unwrap();
    let of_run = outcomes.iter().filter(|event| event["detail"]["command_uid"] == json!(run));
    assert_eq!(of_run.count(), 1, "{outcomes:?}");

    // What the write-back brings about changes nothing.
    world.deliver(function).await;
    assert_eq!(deployment.runs(&world.user_key()).await.unwrap().len(), runs.len());
    (run, outcomes)
}

/// The user is enabled and has its days anew: the next batch leaves it alone, though the last sign-in is as
/// long ago as before.
async fn given_back_for_good(world: &World, function: &Function, begun: Timestamp) {
    assert!(world.enabled().await, "{}", function.log());
    let row = world.row().await;
    assert!(row.phase.is_none() && row.restored.is_some_and(|at| at >= begun), "{row:?}");
    assert!(row.seen < begun - DAY * 99, "{row:?}");
    assert!(row.ttl.is_some(), "it rings again");

    let item = world.item().await.unwrap();
    handled(function, &world.expire(&item).await).await;
    world.deliver(function).await;
    assert!(world.enabled().await, "{}", function.log());
    let row = world.row().await;
    assert_eq!(row.phase, Some(Phase::NotYet));
    assert!(row.ttl.is_some_and(|ttl| ttl > (begun + DAY * 89).as_second()), "{row:?}");
}

#[tokio::test]
async fn an_inactive_user_is_disabled_and_given_back_by_a_custom_action() {
    let world = World::start(RECORDER).await;
    let function = world.dispatcher().await;
    let begun = Timestamp::now();
    let (run, mut outcomes) = seen_and_disabled(&world, &function).await;
    let undo = world.deployment.hub.custom_action("RedressUndo", &[&world.finding_id()]).unwrap().remove(0);
    assert!(function.invoke(&undo).await.unwrap().succeeded(), "{}", function.log());
    given_back_for_good(&world, &function, begun).await;
    let finding = world.deployment.hub.finding(&world.finding_id()).unwrap();
    assert_eq!(finding["UserDefinedFields"]["redress_outcome"], "undone", "{finding}");
    assert!(!finding["Note"]["Text"].as_str().unwrap().contains(&run), "{finding}");
    outcomes.extend(world.deployment.outcomes().await.unwrap());
    world.tells_nobody(&function, &outcomes).await;
}

#[tokio::test]
async fn an_inactive_user_is_disabled_and_given_back_on_the_command_line() {
    let world = World::start(RECORDER).await;
    let function = world.dispatcher().await;
    let begun = Timestamp::now();
    let (_, mut outcomes) = seen_and_disabled(&world, &function).await;
    // By name, as somebody at a help desk knows the user.
    let restore = ["cognito", "restore", USERNAME, "--pool", &world.pool, "--yes"];
    let said = world.redress(&restore).await;
    given_back_for_good(&world, &function, begun).await;
    assert!(said.contains(&world.sub), "{said}");
    outcomes.extend(world.deployment.outcomes().await.unwrap());
    world.tells_nobody(&function, &outcomes).await;
    discreet("the command line", &said);
    // Once is enough.
    let again = world.redress(&restore).await;
    assert!(again.contains("is enabled"), "{again}");
}

#[tokio::test]
async fn who_was_there_before_the_recorder_is_taken_in_by_a_backfill() {
    let world = World::start(RECORDER).await;
    let backfill = ["cognito", "backfill", &world.pool];
    let counted = world.redress(&backfill).await;
    assert_eq!(world.item().await, None, "{counted}");
    let said = world.redress(&[&backfill[..], &["--apply"]].concat()).await;
    let row = world.row().await;
    assert_eq!((row.signed_in, row.trigger.as_deref()), (false, Some(row::CREATED)));
    assert!(row.ttl.is_some_and(|ttl| ttl > Timestamp::now().as_second()), "{row:?}");
    let counts = async || {
        let said = world.redress(&["cognito", "status", &world.pool, "--users", "--format", "json"]).await;
        discreet("the status", &said);
        let status: Value = serde_json::from_str(&said).unwrap();
        let counts = &status["pools"][0]["counts"];
        ["users", "tracked", "never_signed_in", "due_now"].map(|name| counts[name].as_u64().unwrap())
    };
    assert_eq!(counts().await, [1, 1, 1, 0]);
    world.sign_in().await;
    assert!(world.row().await.signed_in);
    assert_eq!(counts().await, [1, 1, 0, 0]);
    for text in [counted, said] {
        discreet("the backfill", &text);
    }
}

#[tokio::test]
async fn who_signs_in_while_it_is_disabled_is_enabled_again() {
    let world = World::start(EAGER_RECORDER).await;
    let function = world.dispatcher().await;
    world.sign_in().await;
    let recorded = world.item().await.unwrap();
    handled(&function, &world.expire(&aged(&recorded, 100)).await).await;
    // All is decided, and the call is on its way.
    let disable = Target::Nth("cognito-idp".to_owned(), "AdminDisableUser".to_owned(), 1);
    let hold = world.deployment.proxy.hold_before(disable);
    let events = world.deployment.hub.events();
    assert_eq!(events.len(), 1, "{events:?}");
    let invoked = tokio::spawn({
        let (function, event) = (function.clone(), events[0].clone());
        async move { function.invoke(&event).await }
    });
    let held = hold.reached(Duration::from_secs(20)).await.unwrap();
    world.sign_in().await;
    held.release();
    let answer = invoked.await.unwrap().unwrap();
    assert!(answer.succeeded(), "{answer:?}\n{}", function.log());

    let calls = world.deployment.proxy.actions();
    let count = |action: &str| calls.iter().filter(|call| *call == action).count();
    let counted = (count("cognito-idp:AdminDisableUser"), count("cognito-idp:AdminEnableUser"));
    assert_eq!(counted, (1, 1), "{calls:?}");
    assert!(world.enabled().await, "{}", function.log());
    let row = world.row().await;
    assert!(row.phase.is_none() && row.run.is_none(), "{row:?}");
}

#[tokio::test]
async fn who_signs_in_before_the_expiry_is_handled_stays() {
    let world = World::start(EAGER_RECORDER).await;
    world.sign_in().await;
    let recorded = world.item().await.unwrap();
    let late = world.expire(&aged(&recorded, 100)).await;
    world.sign_in().await;
    let function = world.dispatcher().await;
    handled(&function, &late).await;
    world.deliver(&function).await;
    assert!(world.enabled().await);
    assert!(world.deployment.hub.finding(&world.finding_id()).is_none());
    assert!(world.row().await.phase.is_none());
    assert!(function.log().contains("seen since"), "{}", function.log());
}

#[tokio::test]
async fn what_is_no_expiry_is_left_alone_and_the_log_says_why() {
    let world = World::start(RECORDER).await;
    world.sign_in().await;
    let recorded = world.item().await.unwrap();
    let function = world.dispatcher().await;
    let old = aged(&recorded, 400);
    let cases = [
        (Change::Deleted, "deleted by somebody"),
        (Change::DeletedBy("replication.dynamodb.amazonaws.com"), "replication.dynamodb.amazonaws.com"),
        (Change::DeletedBy("backup.amazonaws.com"), "backup.amazonaws.com"),
        (Change::Modified, "MODIFY"),
        (Change::Inserted, "INSERT"),
    ];
    let records = cases.map(|(change, _)| world.stream.record(change, &old).unwrap());
    world.deployment.proxy.reset();
    handled(&function, &batch(records)).await;
    assert_eq!(world.deployment.proxy.actions(), Vec::<String>::new());
    assert!(world.deployment.queue.dead_letters().is_empty());
    assert!(world.enabled().await);
    assert_eq!(world.item().await.unwrap(), recorded);
    let log = function.log();
    for (change, why) in cases {
        let told = log.lines().any(|line| line.contains(why) && line.contains(&world.sub));
        assert!(told, "{change:?}: {log}");
    }
    discreet("the dispatcher's log", &log);
}

/// The records of another emulator's stream, by way of its own event source mapping.
#[tokio::test]
async fn what_a_stream_says_of_sign_ins_and_of_people_is_left_alone() {
    let world = World::start(EAGER_RECORDER).await;
    let function = world.dispatcher().await;
    let relay = relay_to(function.clone());
    let ministack = &world.deployment.ministack;
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/relay.py");
    let environment = [("RELAY_URL", relay.url())];
    let environment = environment.each_ref().map(|(name, url)| (*name, url.as_str()));
    ministack.create_function("relay", &program, REGION, &environment).await.unwrap();
    let table = world.dynamodb().describe_table().table_name(TABLE).send().await.unwrap();
    let stream = table.table.unwrap().latest_stream_arn.unwrap();
    // The documented pattern, which lets none of these through, and none.
    let documented = include_str!("../../docs/cognito.md");
    let pattern = documented.lines().find(|line| line.starts_with(r#"{ "eventName": ["REMOVE"]"#)).unwrap();
    ministack.map_stream(&stream, "relay", REGION, Some(pattern)).await.unwrap();
    world.sign_in().await;
    world.sign_in().await;
    world.forget().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!function.log().contains(&world.sub), "{}", function.log());

    ministack.map_stream(&stream, "relay", REGION, None).await.unwrap();
    for why in ["INSERT", "MODIFY", "deleted by somebody"] {
        let told = || function.log().lines().any(|line| line.contains(why) && line.contains(&world.sub));
        let until = tokio::time::Instant::now() + Duration::from_secs(20);
        while !told() {
            assert!(tokio::time::Instant::now() < until, "{why}: {}", function.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    assert_eq!(world.deployment.proxy.actions(), Vec::<String>::new());
    assert!(world.enabled().await);
    discreet("the dispatcher's log", &function.log());
}

#[tokio::test]
async fn a_sign_in_succeeds_though_its_record_is_lost() {
    let world = World::start(LOSING_RECORDER).await;
    world.sign_in().await;
    assert_eq!(world.item().await, None);
    let log = world.log_of(LOSING_RECORDER).await;
    let losses: Vec<Loss> = log.lines().filter_map(Loss::read).collect();
    assert!(!losses.is_empty(), "{log}");
    for loss in losses {
        assert_eq!((loss.pool.as_str(), loss.sub.as_str()), (world.pool.as_str(), world.sub.as_str()));
    }
    discreet("the recorder's log", &log);
}
