//! The real `sign-in-recorder`, against an emulator outside its process: whatever comes in or fails goes back
//! byte for byte, in time, and nothing of a user but pool and `sub` is ever printed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use redress_activity::{
    loss::{DIMENSION, Loss, METRIC, UNREADABLE},
    row::{self, Phase, Row},
};
use redress_sandbox::tables;
use redress_tests::{
    aws_call::AwsError,
    deployment::{ACCOUNT, REGION, binary, sdk_config},
    hold_proxy::{Fault, HoldProxy, Target, Upstreams},
    http1,
    microburst::Microburst,
    ministack::Ministack,
    process::free_port,
    runtime_api::{Bootstrap, Function, Outcome},
};
use serde_json::{Value, json};

const TABLE: &str = "redress-activity";
const POOL: &str = "eu-west-1_AbC123dEf";
const SUB: &str = "0b7d5c1e-6a2f-4c55-9c3e-2f1f6a7d8e90";
const USERNAME: &str = "wilhelmina@thistlewood.example";
/// Of each name, address, number and secret in the events.
const PRIVATE: [&str; 3] = ["wilhelmina", "thistle", "5550142857"];
const READ: &str = "dynamodb:GetItem";
const WRITE: &str = "dynamodb:PutItem";

/// Before this the answer is there, whatever DynamoDB does.
const LATEST: Duration = Duration::from_millis(1_500);

fn fixture(name: &str) -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cognito-triggers");
    let text = std::fs::read_to_string(dir.join(name).with_extension("json")).unwrap();
    text.trim_end().to_owned()
}

fn changed(name: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut event = serde_json::from_str(&fixture(name)).unwrap();
    change(&mut event);
    event.to_string()
}

fn bootstrap(endpoint: &str) -> Bootstrap {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    Bootstrap::new(BINARY.get_or_init(|| binary("sign-in-recorder").unwrap()))
        .name("sign-in-recorder")
        .place(ACCOUNT, REGION)
        .timeout(Duration::from_secs(5))
        .aws(endpoint, ACCOUNT, "secret")
        .env("REDRESS_ACTIVITY_TABLE", TABLE)
}

/// Cognito's side of a trigger: the event comes back as it was, in time, and the log tells nothing of the user.
async fn invoke(function: &Function, event: &str) {
    let answer = function.invoke_raw(Bytes::from(event.to_owned())).await.unwrap();
    let Outcome::Response(body) = &answer.outcome else {
        panic!("{:?} to {event:.2000}\n{}", answer.outcome, function.log());
    };
    assert!(body == event.as_bytes(), "{} for {event:.2000}", String::from_utf8_lossy(body));
    assert!(answer.took < LATEST, "{:?} for {event:.2000}\n{}", answer.took, function.log());
    let log = function.log().to_lowercase();
    for word in PRIVATE {
        assert!(!log.contains(word), "{log}");
    }
}

fn losses(function: &Function) -> Vec<(Loss, String)> {
    let log = function.log();
    let lines = log.lines().filter_map(|line| Some((Loss::read(line)?, line.to_owned())));
    lines.collect()
}

/// The one loss is counted by pool, tells who it was and why.
fn lost_one(function: &Function, why: &str) {
    let losses = losses(function);
    assert_eq!(losses.len(), 1, "{}", function.log());
    let (loss, line) = &losses[0];
    assert_eq!((loss.pool.as_str(), loss.sub.as_str(), loss.signed_in), (POOL, SUB, true));
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["why"], &line[METRIC], &line[DIMENSION]), (&json!(why), &json!(1), &json!(POOL)));
}

struct World {
    ministack: Ministack,
    proxy: HoldProxy,
    client: Client,
}

impl World {
    async fn start() -> Self {
        let ministack = Ministack::start().await.unwrap();
        let proxy = HoldProxy::start(Upstreams::to(ministack.url())).unwrap();
        let client = Client::new(&sdk_config(ministack.url(), ACCOUNT));
        tables::make(&client, TABLE, tables::ACTIVITY).await.unwrap();
        Self { ministack, proxy, client }
    }

    fn bootstrap(&self) -> Bootstrap {
        bootstrap(&self.proxy.url())
    }

    async fn row(&self) -> Option<Row> {
        let key = Some(Row::key(POOL, SUB));
        let found = self.client.get_item().table_name(TABLE).set_key(key).consistent_read(true).send().await;
        found.unwrap().item.map(|item| Row::read(&item).unwrap())
    }

    async fn put(&self, row: &Row) {
        self.client.put_item().table_name(TABLE).set_item(Some(row.item())).send().await.unwrap();
    }

    async fn forget(&self) {
        let key = Some(Row::key(POOL, SUB));
        self.client.delete_item().table_name(TABLE).set_key(key).send().await.unwrap();
    }

    /// What was called since the last time.
    fn calls(&self) -> Vec<String> {
        let actions = self.proxy.actions();
        self.proxy.reset();
        actions
    }
}

/// A row of this age, as a sign-in writes it.
fn seen(ago: SignedDuration) -> Row {
    Row::seen(POOL, SUB, USERNAME, "PostAuthentication_Authentication", Timestamp::now() - ago)
}

#[tokio::test]
async fn every_sign_in_of_the_documentation_is_recorded() {
    let world = World::start().await;
    let function = world.bootstrap().env("REDRESS_INTERVAL_MINUTES", "0").start().await.unwrap();
    let federated = format!("Corporate_{USERNAME}");
    let mut events = vec![
        // The first: a sign-up makes no sign-in unknown.
        ("PostConfirmation_ConfirmSignUp", fixture("post-confirmation-sign-up"), false, USERNAME),
        ("PostAuthentication_Authentication", fixture("post-authentication"), true, USERNAME),
        ("PostConfirmation_ConfirmSignUp", fixture("post-confirmation-federated"), true, &federated),
    ];
    for version in ["pre-token-generation-v1", "pre-token-generation-v2", "pre-token-generation-v3"] {
        for source in [
            "TokenGeneration_HostedAuth",
            "TokenGeneration_Authentication",
            "TokenGeneration_NewPasswordChallenge",
            "TokenGeneration_AuthenticateDevice",
            "TokenGeneration_RefreshTokens",
        ] {
            let event = changed(version, |event| event["triggerSource"] = source.into());
            events.push((source, event, true, USERNAME));
        }
    }
    for (source, event, signed_in, username) in events {
        world.forget().await;
        let before = Timestamp::now();
        invoke(&function, &event).await;
        let row = world.row().await.unwrap();
        // Rows hold milliseconds.
        assert!(row.seen >= before - SignedDuration::from_millis(1) && row.seen <= Timestamp::now());
        let days = (row.ttl.unwrap() - row.seen.as_second()) / 86_400;
        let expected = Row {
            signed_in,
            ttl: row.ttl,
            username: Some(username.to_owned()),
            trigger: Some(source.to_owned()),
            ..Row { seen: row.seen, ..seen(SignedDuration::ZERO) }
        };
        assert_eq!((row, days), (expected, 90));
    }
    assert_eq!(losses(&function), []);
}

#[tokio::test]
async fn what_is_no_sign_in_goes_back_without_a_call() {
    let world = World::start().await;
    let function = world.bootstrap().start().await.unwrap();
    for name in [
        "post-confirmation-forgot-password",
        "pre-token-generation-v3-client-credentials",
        "pre-sign-up",
        "pre-authentication",
        "custom-message",
        "user-migration",
        "define-auth-challenge",
    ] {
        invoke(&function, &fixture(name)).await;
    }
    assert_eq!(world.calls(), Vec::<String>::new());
    assert_eq!(function.log().trim(), "");
    // A password reset counts where a pool's owner wants it.
    let counting = world.bootstrap().env("REDRESS_COUNT_PASSWORD_RESET", "on").start().await.unwrap();
    invoke(&counting, &fixture("post-confirmation-forgot-password")).await;
    assert_eq!(world.calls(), [READ, WRITE]);
    assert!(world.row().await.unwrap().signed_in);
}

#[tokio::test]
async fn malformed_events_go_back_as_they_came() {
    let world = World::start().await;
    let function = world.bootstrap().start().await.unwrap();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let attribute = |name: &'static str, value: Value| {
        changed("post-authentication", move |event| event["request"]["userAttributes"][name] = value)
    };
    let member =
        |name: &'static str, value: Value| changed("post-authentication", move |event| event[name] = value);
    let without = |name: &str| {
        changed("post-authentication", |event| drop(event.as_object_mut().unwrap().shift_remove(name)))
    };
    let unreadable = [
        "null".to_owned(),
        "true".to_owned(),
        "-1e999".to_owned(),
        "\"wilhelmina\"".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        r#"["PostAuthentication_Authentication", 1]"#.to_owned(),
        r#"{ "triggerSource" : "PostAuthentication_Authentication" }"#.to_owned(),
        deep.clone(),
        fixture("post-authentication").replace("\"sub\"", "\"SUB\""),
        fixture("post-authentication").replacen('{', r#"{"triggerSource":"PreSignUp_SignUp","#, 1),
        without("triggerSource"),
        without("userPoolId"),
        without("request"),
        member("triggerSource", json!(["PostAuthentication_Authentication"])),
        member("userPoolId", json!({ "thistle": 1 })),
        member("userPoolId", json!("thistle/../*")),
        member("userPoolId", json!("")),
        member("userPoolId", json!("x".repeat(1_000_000))),
        member("request", json!(null)),
        member("request", json!({ "userAttributes": [] })),
        member("request", json!({ "userAttributes": "thistle" })),
        attribute("sub", json!(null)),
        attribute("sub", json!(5)),
        attribute("sub", json!("")),
        attribute("sub", json!("thistle wood")),
        attribute("sub", json!("\u{0}\u{202e}")),
        attribute("sub", json!("thistle".repeat(1_000))),
    ];
    for (number, event) in unreadable.iter().enumerate() {
        invoke(&function, event).await;
        let log = function.log();
        let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
        assert_eq!(last[UNREADABLE], 1, "{event:.200}");
        assert_eq!(log.lines().count(), number + 1, "{log}");
    }
    assert_eq!(world.calls(), Vec::<String>::new());

    // Odd, but it says who signed in.
    for event in [
        without("userName"),
        without("version"),
        without("response"),
        member("userName", json!({})),
        member("userName", json!("wilhelmina".repeat(100_000))),
        member("callerContext", json!("thistle")),
        member("response", json!([[]])),
        fixture("post-authentication").replace("{}", &deep),
        fixture("post-authentication").replace("\"Wilhelmina Thistlewood\"", r#""\ud800\udead\u0000""#),
        fixture("post-authentication").replace(USERNAME, r"\ud800"),
        attribute("cognito:user_status", json!([1])),
        attribute("email", json!("wilhelmina".repeat(500_000))),
    ] {
        world.forget().await;
        let fresh = world.bootstrap().env("REDRESS_INTERVAL_MINUTES", "0").start().await.unwrap();
        invoke(&fresh, &event).await;
        assert!(world.row().await.is_some(), "{event:.200}\n{}", fresh.log());
        fresh.kill().await;
    }
    assert_eq!(function.starts(), 1);
}

#[tokio::test]
async fn a_young_row_is_not_written_again() {
    let world = World::start().await;
    let function = world.bootstrap().start().await.unwrap();
    let event = fixture("post-authentication");
    invoke(&function, &event).await;
    assert_eq!(world.calls(), [READ, WRITE]);
    invoke(&function, &event).await;
    invoke(&function, &fixture("pre-token-generation-v2")).await;
    assert_eq!(world.calls(), Vec::<String>::new());
    // Another process knows it from the table, and from then on from its memory.
    let other = world.bootstrap().start().await.unwrap();
    invoke(&other, &event).await;
    assert_eq!(world.calls(), [READ]);
    invoke(&other, &event).await;
    assert_eq!(world.calls(), Vec::<String>::new());
    // Another user is another.
    let another = event.replace("0b7d5c1e", "1b7d5c1e");
    invoke(&other, &another).await;
    assert_eq!(world.calls(), [READ, WRITE]);
    assert_eq!((losses(&function), losses(&other)), (vec![], vec![]));
}

#[tokio::test]
async fn a_young_row_is_written_where_a_sign_in_changes_more_than_its_time() {
    let world = World::start().await;
    let young = SignedDuration::from_mins(5);
    let phase = |phase| Row { phase: Some(phase), ..seen(young) };
    for (before, calls) in [
        (seen(young), &[READ][..]),
        (seen(SignedDuration::from_mins(59)), &[READ]),
        (seen(SignedDuration::from_mins(61)), &[READ, WRITE]),
        // Somebody's clock was wrong.
        (seen(SignedDuration::from_hours(-1)), &[READ, WRITE]),
        (Row { signed_in: false, ..seen(young) }, &[READ, WRITE]),
        (phase(Phase::Exempt), &[READ, WRITE]),
        (phase(Phase::Disabled), &[READ, WRITE]),
        (phase(Phase::NotYet), &[READ, WRITE]),
        (Row { seen_as: Some("yesterday".to_owned()), ..seen(young) }, &[READ, WRITE]),
    ] {
        world.put(&before).await;
        let function = world.bootstrap().start().await.unwrap();
        invoke(&function, &fixture("post-authentication")).await;
        assert_eq!(world.calls(), calls, "{before:?}");
        let after = world.row().await.unwrap();
        assert!(after.phase.is_none() && after.signed_in, "{after:?}");
        function.kill().await;
    }
    // A sign-up is not a sign-in, also in the memory of the process that wrote it.
    world.forget().await;
    let function = world.bootstrap().start().await.unwrap();
    invoke(&function, &fixture("post-confirmation-sign-up")).await;
    assert!(!world.row().await.unwrap().signed_in);
    world.proxy.reset();
    invoke(&function, &fixture("pre-token-generation-v1")).await;
    assert_eq!(world.calls(), [READ, WRITE]);
    assert!(world.row().await.unwrap().signed_in);
    // And one that arrives late makes no sign-in unknown.
    world.put(&seen(SignedDuration::from_hours(2))).await;
    let late = world.bootstrap().start().await.unwrap();
    invoke(&late, &fixture("post-confirmation-sign-up")).await;
    assert_eq!(world.calls(), [READ, WRITE]);
    assert!(world.row().await.unwrap().signed_in);
}

#[tokio::test]
async fn what_dynamodb_refuses_is_lost_and_said() {
    let world = World::start().await;
    let dynamodb = || Target::Service("dynamodb".to_owned());
    let other =
        |status, code: &str| AwsError::Other { status, code: code.to_owned(), message: USERNAME.to_owned() };
    for (fault, why) in [
        (Fault::Error(AwsError::Throttled), "throttled"),
        (Fault::Error(other(400, "ProvisionedThroughputExceededException")), "throttled"),
        (Fault::Error(AwsError::Denied), "denied"),
        (Fault::Error(AwsError::Internal), "unavailable"),
        (Fault::Error(AwsError::Unavailable), "unavailable"),
        (Fault::Error(other(400, "ValidationException")), "refused"),
        (Fault::Error(other(400, "ResourceNotFoundException")), "no table"),
        (Fault::ResetBefore, "unreachable"),
        (Fault::ResetAfter, "unreachable"),
    ] {
        world.proxy.fault(dynamodb(), fault.clone());
        let function = world.bootstrap().start().await.unwrap();
        invoke(&function, &fixture("post-authentication")).await;
        lost_one(&function, why);
        // A loss is not remembered as a row.
        world.proxy.reset();
        world.forget().await;
        invoke(&function, &fixture("post-authentication")).await;
        assert_eq!(world.calls(), [READ, WRITE], "{fault:?}");
        assert!(world.row().await.is_some());
        world.forget().await;
        function.kill().await;
    }
}

#[tokio::test]
async fn a_passing_fault_loses_nothing() {
    let world = World::start().await;
    let event = fixture("post-authentication");
    let nth = |operation: &str| Target::Nth("dynamodb".to_owned(), operation.to_owned(), 1);
    for (operation, fault) in [
        ("PutItem", Fault::Error(AwsError::Throttled)),
        ("PutItem", Fault::ResetBefore),
        ("PutItem", Fault::ResetAfter),
        ("GetItem", Fault::ResetBefore),
        ("GetItem", Fault::Error(AwsError::Throttled)),
    ] {
        world.forget().await;
        world.proxy.fault(nth(operation), fault.clone());
        let function = world.bootstrap().start().await.unwrap();
        invoke(&function, &event).await;
        assert_eq!(losses(&function), [], "{fault:?}");
        assert!(world.row().await.is_some(), "{fault:?}");
        world.proxy.reset();
        function.kill().await;
    }
    // A connection that died while the process was frozen: the second attempt has another.
    world.forget().await;
    let held = world.proxy.hold_before(nth("PutItem"));
    let function = world.bootstrap().env("REDRESS_INTERVAL_MINUTES", "0").start().await.unwrap();
    invoke(&function, &event).await;
    assert!(world.row().await.is_some() && losses(&function).is_empty(), "{}", function.log());
    drop(held);
    world.proxy.reset();
    // A role that may only write, and a read that never ends: the write is made without it.
    world.forget().await;
    let every = || Target::Every("dynamodb".to_owned(), "GetItem".to_owned());
    world.proxy.fault(every(), AwsError::Denied);
    let function = world.bootstrap().start().await.unwrap();
    invoke(&function, &event).await;
    assert!(world.row().await.is_some() && losses(&function).is_empty(), "{}", function.log());
    world.proxy.reset();
    world.forget().await;
    let held = world.proxy.hold_before(nth("GetItem"));
    let function = world.bootstrap().start().await.unwrap();
    invoke(&function, &event).await;
    assert!(world.row().await.is_some() && losses(&function).is_empty(), "{}", function.log());
    drop(held);
}

#[tokio::test]
async fn an_independent_proxy_throttles_and_denies() {
    let world = World::start().await;
    for (code, why) in [("ThrottlingException", "throttled"), ("AccessDeniedException", "denied")] {
        let rules = format!("- service: dynamodb\n  error: {{code: {code}}}");
        let proxy = Microburst::start(world.ministack.url(), &rules).await.unwrap();
        // Its first fault takes it seconds.
        let warm = Client::new(&sdk_config(proxy.url(), ACCOUNT));
        assert!(
            warm.put_item()
                .table_name(TABLE)
                .set_item(Some(seen(SignedDuration::ZERO).item()))
                .send()
                .await
                .is_err()
        );
        let function = bootstrap(proxy.url()).start().await.unwrap();
        invoke(&function, &fixture("post-authentication")).await;
        lost_one(&function, why);
    }
}

#[tokio::test]
async fn the_answer_does_not_wait_for_dynamodb() {
    let event = fixture("post-authentication");
    let slow = http1::serve(|_| async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        Ok(http1::answer(200, "application/x-amz-json-1.0", "{}"))
    })
    .unwrap();
    // The kernel takes connections, and nobody ever reads.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let deaf_url = format!("http://{}", deaf.local_addr().unwrap());
    let babble = http1::serve(|_| async { Ok(http1::answer(200, "text/html", "<thistle>")) }).unwrap();
    let absent = format!("http://127.0.0.1:{}", free_port().unwrap());
    let unknown = "http://thistle.invalid:8000".to_owned();
    for (url, whys) in [
        (slow.url(), &["timeout"][..]),
        (deaf_url, &["timeout"]),
        (babble.url(), &["unreadable answer"]),
        (absent, &["unreachable"]),
        // A resolver may be as slow as it likes.
        (unknown, &["unreachable", "timeout"]),
        // TLS that is no TLS.
        (slow.url().replace("http:", "https:"), &["unreachable", "timeout"]),
    ] {
        for cold in [true, false] {
            let function = if cold { bootstrap(&url).cold() } else { bootstrap(&url).start().await.unwrap() };
            invoke(&function, &event).await;
            let losses = losses(&function);
            assert_eq!(losses.len(), 1, "{url}: {}", function.log());
            let line: Value = serde_json::from_str(&losses[0].1).unwrap();
            assert!(whys.contains(&line["why"].as_str().unwrap()), "{url}: {line}");
            // It keeps its time with each event.
            invoke(&function, &event).await;
            function.kill().await;
        }
    }
}

#[tokio::test]
async fn without_a_configuration_users_sign_in_all_the_same() {
    let event = fixture("post-authentication");
    let complete = bootstrap("http://127.0.0.1:9");
    for (bootstrap, named) in [
        (complete.clone().env("REDRESS_ACTIVITY_TABLE", ""), "REDRESS_ACTIVITY_TABLE"),
        (complete.clone().env("AWS_REGION", ""), "AWS_REGION"),
        (complete.clone().env("AWS_ACCESS_KEY_ID", ""), "AWS_ACCESS_KEY_ID"),
        (complete.clone().env("AWS_SECRET_ACCESS_KEY", ""), "AWS_ACCESS_KEY_ID"),
        (complete.clone().env("REDRESS_CA_BUNDLE", "/nonexistent"), "REDRESS_CA_BUNDLE"),
        (complete.clone().env("REDRESS_CA_BUNDLE", "/dev/null"), "certificates"),
    ] {
        let function = bootstrap.start().await.unwrap();
        invoke(&function, &event).await;
        assert!(function.log().lines().next().unwrap().contains(named), "{}", function.log());
        lost_one(&function, "not configured");
    }
    for (name, value) in [
        ("AWS_ENDPOINT_URL", "no url"),
        ("AWS_REGION", "not a region\n"),
        ("REDRESS_ACTIVITY_TABLE", "no table's name"),
        ("AWS_SESSION_TOKEN", "line\nbreak"),
        ("REDRESS_INTERVAL_MINUTES", "soon"),
        ("REDRESS_TTL_DAYS", "999999999999"),
        ("REDRESS_COUNT_PASSWORD_RESET", "perhaps"),
    ] {
        let function = complete.clone().env(name, value).start().await.unwrap();
        invoke(&function, &event).await;
        assert_eq!(losses(&function).len(), 1, "{name}: {}", function.log());
    }
}

#[tokio::test]
async fn a_row_lives_as_long_as_the_function_is_told() {
    let world = World::start().await;
    let function = world.bootstrap().env("REDRESS_TTL_DAYS", "7").start().await.unwrap();
    invoke(&function, &fixture("post-authentication")).await;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let item = world
        .client
        .get_item()
        .table_name(TABLE)
        .set_key(Some(Row::key(POOL, SUB)))
        .send()
        .await
        .unwrap()
        .item
        .unwrap();
    // A number, in seconds: what DynamoDB's TTL asks for.
    let AttributeValue::N(ttl) = &item[row::TTL] else { panic!("{item:?}") };
    let left = ttl.parse::<u64>().unwrap() - now;
    assert!((7 * 86_400 - 10..=7 * 86_400).contains(&left), "{left}");
}
