//! Every store keeps the same promises: memory, files, and DynamoDB tables in an independent emulator.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::HashMap,
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_dynamodb::{Client, types::AttributeValue};
use bytes::Bytes;
use http::Request;
use jiff::Timestamp;
use redress_remediators::{Disposition, ErrorKind};
use redress_router::{
    audit::{Record, Sealed, Stage, verify_run},
    store::{
        Clock, Commit, CommitError, Expect, Index, Item, Op, RunRef, Store, dynamodb::DynamoDb, file::File,
        memory::Memory,
    },
};
use redress_sandbox::tables;
use redress_tests::{
    hold_proxy::{Fault, HoldProxy, Target, Upstreams},
    http1,
    ministack::Ministack,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const ACCOUNT: &str = "123456789012";
const RESOURCE: &str = "aws/123456789012/eu-west-1/AwsS3Bucket/logs";
const STATE: &str = "redress-state";
const AUDIT: &str = "redress-audit";
/// 2026-01-01T00:00:00Z.
const START: i64 = 1_767_225_600;
const DAY: i64 = 86_400;

// --- what is written ---

/// A clock that stands until it is moved.
#[derive(Clone)]
struct Hands(Arc<AtomicI64>);

impl Hands {
    fn new() -> Self {
        Self(Arc::new(AtomicI64::new(START)))
    }

    fn clock(&self) -> Clock {
        let hands = self.clone();
        Arc::new(move || hands.now())
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(Ordering::SeqCst)).unwrap()
    }

    fn pass(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

fn in_seconds(hands: &Hands, seconds: i64) -> Timestamp {
    Timestamp::from_second(hands.now().as_second() + seconds).unwrap()
}

fn put(key: &str, etag: &str, expect: Expect) -> Op {
    put_until(key, etag, expect, None)
}

fn put_until(key: &str, etag: &str, expect: Expect, expires: Option<Timestamp>) -> Op {
    Op::Put { key: key.to_owned(), body: json!({ "of": etag }), etag: etag.to_owned(), expect, expires }
}

fn delete(key: &str, expect: Expect) -> Op {
    Op::Delete { key: key.to_owned(), expect }
}

fn etag(etag: &str) -> Expect {
    Expect::Etag(etag.to_owned())
}

fn count(key: &str, limit: u64, expires: Timestamp) -> Op {
    Op::Count { key: key.to_owned(), limit, expires }
}

/// A record, with what makes it differ from another.
fn record(run: &str, seq: u32, more: Value) -> (Record, Sealed) {
    let mut record = json!({
        "run": run,
        "seq": seq,
        "time": "2026-01-01T00:00:00Z",
        "stage": "intent",
        "verb": "fix",
        "asked_by": { "door": "recovery" },
        "mode": "apply",
        "account": ACCOUNT,
        "region": "eu-west-1",
        "resource": RESOURCE,
    });
    let Value::Object(more) = more else { panic!("{more} is no object") };
    record.as_object_mut().unwrap().extend(more);
    let record: Record = serde_json::from_value(record).unwrap();
    let sealed = record.seal().unwrap();
    (record, sealed)
}

fn run_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

async fn write(store: &dyn Store, ops: Vec<Op>) -> Result<(), CommitError> {
    store.commit(&Commit { ops, records: Vec::new() }).await
}

async fn add(store: &dyn Store, records: Vec<(Record, Sealed)>) -> Result<(), CommitError> {
    store.commit(&Commit { ops: Vec::new(), records }).await
}

async fn read(store: &dyn Store, key: &str) -> Option<Item> {
    store.read(&[key.to_owned()]).await.unwrap().remove(key)
}

async fn etag_of(store: &dyn Store, key: &str) -> Option<String> {
    read(store, key).await.map(|item| item.etag)
}

#[track_caller]
fn is_conflict(result: &Result<(), CommitError>, key: &str) {
    assert!(matches!(result, Err(CommitError::Conflict(known)) if known == key), "{result:?}");
}

#[track_caller]
fn is_limit(result: &Result<(), CommitError>, key: &str) {
    assert!(matches!(result, Err(CommitError::Limit(known)) if known == key), "{result:?}");
}

// --- what every store promises ---

async fn conformance(store: &dyn Store, hands: &Hands) {
    assert!(!store.name().is_empty());
    write(store, Vec::new()).await.unwrap();
    assert!(store.read(&[]).await.unwrap().is_empty());
    conditions(store).await;
    contents(store).await;
    counters(store, hands).await;
    all_or_nothing(store, hands).await;
    expiry(store, hands).await;
    records(store).await;
    lookups(store).await;
    many(store).await;
}

async fn conditions(store: &dyn Store) {
    let key = "conditions#a";
    assert_eq!(read(store, key).await, None);
    is_conflict(&write(store, vec![put(key, "1", etag("0"))]).await, key);
    is_conflict(&write(store, vec![delete(key, etag("0"))]).await, key);
    assert_eq!(read(store, key).await, None);

    write(store, vec![put(key, "1", Expect::Absent)]).await.unwrap();
    let item = read(store, key).await.unwrap();
    assert_eq!(item, Item { etag: "1".to_owned(), body: json!({ "of": "1" }) });
    is_conflict(&write(store, vec![put(key, "2", Expect::Absent)]).await, key);
    is_conflict(&write(store, vec![put(key, "2", etag("0"))]).await, key);
    is_conflict(&write(store, vec![delete(key, etag("0"))]).await, key);
    is_conflict(&write(store, vec![delete(key, Expect::Absent)]).await, key);
    assert_eq!(read(store, key).await, Some(item.clone()));

    write(store, vec![put(key, "2", Expect::unchanged(Some(&item)))]).await.unwrap();
    write(store, vec![put(key, "3", Expect::Anything)]).await.unwrap();
    assert_eq!(etag_of(store, key).await.as_deref(), Some("3"));
    write(store, vec![delete(key, etag("3"))]).await.unwrap();
    assert_eq!(read(store, key).await, None);
    write(store, vec![delete(key, Expect::Anything)]).await.unwrap();
    write(store, vec![delete(key, Expect::Absent)]).await.unwrap();
    write(store, vec![put(key, "4", Expect::unchanged(None))]).await.unwrap();
    write(store, vec![delete(key, Expect::Anything)]).await.unwrap();
    assert_eq!(read(store, key).await, None);
    // An item that nobody has conditions for.
    write(store, vec![put("conditions#b", "1", Expect::Anything)]).await.unwrap();
    assert_eq!(etag_of(store, "conditions#b").await.as_deref(), Some("1"));
}

async fn contents(store: &dyn Store) {
    let bodies = [
        json!(null),
        json!(""),
        json!({ "z": 1, "a": { "": [], "ü\u{1f980}\"\\\n\u{0}": [1.5, -0.25, u64::MAX, i64::MIN, true] } }),
        json!([[], {}, "x".repeat(100_000)]),
    ];
    for (number, body) in bodies.into_iter().enumerate() {
        let key = format!("contents#%_*'\"/ü\u{1f980}#{number}");
        let op = Op::Put {
            key: key.clone(),
            body: body.clone(),
            etag: "1".to_owned(),
            expect: Expect::Absent,
            expires: None,
        };
        write(store, vec![op]).await.unwrap();
        assert_eq!(read(store, &key).await.unwrap().body, body);
    }
}

async fn counters(store: &dyn Store, hands: &Hands) {
    let key = "counters#a";
    let until = in_seconds(hands, 3600);
    for n in 1..=3_u64 {
        write(store, vec![count(key, 3, until)]).await.unwrap();
        assert_eq!(read(store, key).await.unwrap(), Item { etag: n.to_string(), body: json!({ "n": n }) });
    }
    is_limit(&write(store, vec![count(key, 3, until)]).await, key);
    is_limit(&write(store, vec![count(key, 2, until)]).await, key);
    write(store, vec![count(key, 4, until)]).await.unwrap();
    is_limit(&write(store, vec![count("counters#none", 0, until)]).await, "counters#none");
    assert_eq!(read(store, "counters#none").await, None);
    is_limit(&write(store, vec![count(key, 0, until)]).await, key);

    hands.pass(3600);
    assert_eq!(read(store, key).await, None);
    is_limit(&write(store, vec![count(key, 0, until)]).await, key);
    let until = in_seconds(hands, 3600);
    let ops = vec![count("counters#b", 1, until), count(key, 2, until)];
    write(store, ops).await.unwrap();
    write(store, vec![count(key, 2, until)]).await.unwrap();
    is_limit(&write(store, vec![count(key, 2, until)]).await, key);
    assert_eq!(etag_of(store, "counters#b").await.as_deref(), Some("1"));
    write(store, vec![delete(key, Expect::Anything)]).await.unwrap();
    write(store, vec![count(key, 1, until)]).await.unwrap();
}

async fn all_or_nothing(store: &dyn Store, hands: &Hands) {
    let until = in_seconds(hands, 3600);
    let run = run_id();
    let lease = |expect| put("whole#lease", &run, expect);
    let intent = record(&run, 1, json!({}));
    let ops = vec![lease(Expect::Absent), count("whole#cap", 1, until)];
    store.commit(&Commit { ops, records: vec![intent.clone()] }).await.unwrap();
    assert_eq!(etag_of(store, "whole#lease").await, Some(run.clone()));
    assert_eq!(store.run(&run).await.unwrap(), [intent.1.line]);

    let other = run_id();
    let records = || vec![record(&other, 1, json!({ "last": true, "stage": "verified" }))];
    let fresh = || put("whole#fresh", "1", Expect::Absent);
    let refusals = [
        (vec![fresh(), lease(Expect::Absent)], records()),
        (vec![fresh(), count("whole#other", 5, until), count("whole#cap", 1, until)], records()),
        (vec![fresh(), lease(etag("0")), count("whole#cap", 1, until)], records()),
        (vec![fresh(), count("whole#cap", 1, until), lease(etag("0"))], records()),
        (
            vec![fresh(), delete("whole#lease", etag(&run))],
            vec![record(&run, 1, json!({ "reason": "other" }))],
        ),
    ];
    let mut answers = Vec::new();
    for (ops, records) in refusals {
        answers.push(store.commit(&Commit { ops, records }).await.unwrap_err().to_string());
        assert_eq!(read(store, "whole#fresh").await, None);
        assert_eq!(read(store, "whole#other").await, None);
        assert_eq!(etag_of(store, "whole#lease").await, Some(run.clone()));
        assert_eq!(etag_of(store, "whole#cap").await.as_deref(), Some("1"));
        assert_eq!(store.run(&other).await.unwrap(), Vec::<String>::new());
        assert_eq!(store.run(&run).await.unwrap().len(), 1);
    }
    let expected = [
        "`whole#lease` has changed meanwhile".to_owned(),
        "`whole#cap` has reached its limit".to_owned(),
        "`whole#lease` has changed meanwhile".to_owned(),
        "`whole#cap` has reached its limit".to_owned(),
        format!("run {run} has a record 1 already"),
    ];
    assert_eq!(answers, expected);
    let runs = store.runs(Index::Account(ACCOUNT), 100).await.unwrap();
    assert!(runs.iter().all(|found| found.run != other), "{runs:?}");
}

async fn expiry(store: &dyn Store, hands: &Hands) {
    let until = in_seconds(hands, 60);
    let keys = ["a", "b", "c", "d"].map(|name| format!("expiry#{name}"));
    let ops = keys.iter().map(|key| put_until(key, "1", Expect::Absent, Some(until))).collect();
    write(store, ops).await.unwrap();
    hands.pass(59);
    assert_eq!(store.read(&keys).await.unwrap().len(), 4);
    assert_eq!(store.scan("expiry#").await.unwrap().len(), 4);
    hands.pass(1);
    assert_eq!(store.read(&keys).await.unwrap(), HashMap::new());
    assert_eq!(read(store, &keys[0]).await, None);
    assert_eq!(store.scan("expiry#").await.unwrap(), []);
    is_conflict(&write(store, vec![put(&keys[0], "2", etag("1"))]).await, &keys[0]);
    is_conflict(&write(store, vec![delete(&keys[0], etag("1"))]).await, &keys[0]);
    write(store, vec![put(&keys[0], "2", Expect::Absent)]).await.unwrap();
    write(store, vec![put_until(&keys[1], "2", Expect::Anything, Some(in_seconds(hands, 60)))])
        .await
        .unwrap();
    write(store, vec![delete(&keys[2], Expect::Absent)]).await.unwrap();
    let mut left: Vec<String> =
        store.scan("expiry#").await.unwrap().into_iter().map(|(key, _)| key).collect();
    left.sort();
    assert_eq!(left, &keys[..2]);
}

async fn records(store: &dyn Store) {
    let run = run_id();
    assert_eq!(store.run(&run).await.unwrap(), Vec::<String>::new());
    assert_eq!(store.run(&"long".repeat(1000)).await.unwrap(), Vec::<String>::new());
    assert_eq!(store.run("").await.unwrap(), Vec::<String>::new());
    let mut prev = String::new();
    let mut lines = Vec::new();
    for seq in 1..=12 {
        let what = if seq % 5 == 0 { "ü\u{1f980} ".repeat(20_000) } else { "short".to_owned() };
        let made = record(&run, seq, json!({ "prev": prev, "reason": what, "last": seq == 12 }));
        prev.clone_from(&made.1.hash);
        lines.push(made.1.line.clone());
        add(store, vec![made]).await.unwrap();
    }
    assert_eq!(store.run(&run).await.unwrap(), lines);
    assert_eq!(verify_run(lines.iter().map(String::as_str)).unwrap().len(), 12);

    let again = add(store, vec![record(&run, 2, json!({ "reason": "another" }))]).await.unwrap_err();
    assert!(matches!(&again, CommitError::Exists { run: known, seq: 2 } if *known == run), "{again}");
    assert_eq!(store.run(&run).await.unwrap(), lines);

    let both = run_id();
    let two = vec![record(&both, 2, json!({})), record(&both, 1, json!({}))];
    let expected = [two[1].1.line.clone(), two[0].1.line.clone()];
    add(store, two).await.unwrap();
    assert_eq!(store.run(&both).await.unwrap(), expected);
}

async fn lookups(store: &dyn Store) {
    let account = "210987654321";
    let resource = "aws/210987654321/eu-west-1/AwsS3Bucket/other";
    let finding = "\u{1f980}".repeat(512);
    let times = [
        "2026-01-01T00:00:01Z",
        "2026-01-01T00:00:00.5Z",
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:01Z",
        "2026-01-01T00:00:00.123456789Z",
    ];
    let mut runs = Vec::new();
    for (number, time) in times.into_iter().enumerate() {
        let run = run_id();
        let more = json!({
            "time": time,
            "account": account,
            "resource": if number == 2 { Value::Null } else { json!(resource) },
            "finding": if number == 1 { Value::Null } else { json!({ "id": finding, "product": "p" }) },
            "remediator": if number == 0 { json!("s3.enable_versioning") } else { Value::Null },
            "undoes": if number == 0 { json!("another") } else { Value::Null },
        });
        let mut end = more.clone();
        end["last"] = json!(true);
        end["stage"] = json!("verified");
        add(store, vec![record(&run, 1, more)]).await.unwrap();
        add(store, vec![record(&run, 2, end)]).await.unwrap();
        runs.push(run);
    }
    let open = record(&run_id(), 1, json!({ "account": account, "resource": resource }));
    add(store, vec![open]).await.unwrap();

    let by = async |index, limit| -> Vec<usize> {
        let found = store.runs(index, limit).await.unwrap();
        found.iter().map(|found| runs.iter().position(|run| *run == found.run).unwrap()).collect()
    };
    // Newest first; of two at once, the run that began later.
    assert_eq!(by(Index::Account(account), 100).await, [3, 0, 1, 4, 2]);
    assert_eq!(by(Index::Account(account), 2).await, [3, 0]);
    assert!(by(Index::Account(account), 0).await.is_empty());
    assert_eq!(by(Index::Resource(resource), 100).await, [3, 0, 1, 4]);
    assert_eq!(by(Index::Finding(&finding), 100).await, [3, 0, 4, 2]);
    assert!(by(Index::Finding(&finding[4..]), 100).await.is_empty());
    assert!(by(Index::Resource(account), 100).await.is_empty());
    assert!(by(Index::Resource(&"x".repeat(5000)), 100).await.is_empty());
    let found = store.runs(Index::Account(account), 2).await.unwrap();
    let expected = RunRef {
        run: runs[0].clone(),
        time: times[0].parse().unwrap(),
        stage: Stage::Verified,
        control: Some(String::new()),
        remediator: Some("s3.enable_versioning".to_owned()),
        undoes: Some("another".to_owned()),
    };
    assert_eq!(found[1], expected);
    assert_eq!((found[0].remediator.clone(), found[0].undoes.clone()), (None, None));
}

/// More than one page, and more than one batch, of anything: DynamoDB hands out one megabyte at a time, and a
/// hundred items.
async fn many(store: &dyn Store) {
    let body = "x".repeat(12_000);
    let keys: Vec<String> = (0..150).map(|number| format!("many#{number}")).collect();
    for keys in keys.chunks(50) {
        let put = |key: &String| Op::Put {
            key: key.clone(),
            body: json!([key, body]),
            etag: key.clone(),
            expect: Expect::Absent,
            expires: None,
        };
        write(store, keys.iter().map(put).collect()).await.unwrap();
    }
    write(store, vec![put("man", "1", Expect::Anything), put("many$", "1", Expect::Anything)]).await.unwrap();
    let twice: Vec<String> = keys.iter().chain(&keys).cloned().chain(["many#none".to_owned()]).collect();
    let found = store.read(&twice).await.unwrap();
    assert_eq!(found.len(), 150);
    assert!(keys.iter().all(|key| found[key].etag == *key && found[key].body[0] == **key));
    let scanned: HashMap<String, Item> = store.scan("many#").await.unwrap().into_iter().collect();
    assert_eq!(scanned, found);

    let (run, account) = (run_id(), "333333333333");
    for seq in 1..=40 {
        let more = json!({ "reason": "x".repeat(30_000), "account": account });
        add(store, vec![record(&run, seq, more)]).await.unwrap();
    }
    assert_eq!(store.run(&run).await.unwrap().len(), 40);
    for number in 0..12 {
        let time = Timestamp::from_second(START + number).unwrap();
        let more = json!({ "last": true, "time": time, "account": account, "rule": "x".repeat(100_000) });
        add(store, vec![record(&run_id(), 1, more)]).await.unwrap();
    }
    let found = store.runs(Index::Account(account), 11).await.unwrap();
    let seconds: Vec<i64> = found.iter().map(|run| run.time.as_second() - START).collect();
    assert_eq!(seconds, [11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
}

#[tokio::test]
async fn memory_keeps_the_promises() {
    let hands = Hands::new();
    conformance(&Memory::with_clock(hands.clock()), &hands).await;
}

#[tokio::test]
async fn files_keep_the_promises() {
    let dir = std::env::temp_dir().join(format!("redress-stores-{}", uuid::Uuid::new_v4()));
    let hands = Hands::new();
    conformance(&File::open_with_clock(&dir, hands.clock()).unwrap(), &hands).await;
    // Another process finds the same.
    let other = File::open_with_clock(&dir, hands.clock()).unwrap();
    assert_eq!(other.scan("many#").await.unwrap().len(), 150);
    assert_eq!(other.runs(Index::Account("333333333333"), 100).await.unwrap().len(), 12);
    fs::remove_dir_all(&dir).unwrap();
}

#[tokio::test]
async fn memory_without_a_clock_forgets_nothing() {
    let store = Memory::default();
    write(&store, vec![put_until("a", "1", Expect::Absent, Some(Timestamp::UNIX_EPOCH))]).await.unwrap();
    assert!(read(&store, "a").await.is_some());
}

// --- DynamoDB ---

struct Tables {
    ministack: Ministack,
    hands: Hands,
}

impl Tables {
    async fn start() -> Self {
        let tables = Self { ministack: Ministack::start().await.unwrap(), hands: Hands::new() };
        tables.make(STATE, tables::STATE).await;
        tables.make(AUDIT, tables::AUDIT).await;
        tables
    }

    async fn make(&self, table: &str, keys: &[&str]) {
        tables::make(&self.client(), table, keys).await.unwrap();
    }

    fn client(&self) -> Client {
        client(self.ministack.url())
    }

    fn store(&self) -> DynamoDb {
        self.store_at(self.ministack.url())
    }

    fn store_at(&self, url: &str) -> DynamoDb {
        DynamoDb::new(client(url), STATE, AUDIT, 400, self.hands.clock())
    }

    fn proxy(&self) -> HoldProxy {
        HoldProxy::start(Upstreams::to(self.ministack.url())).unwrap()
    }

    /// All items of a table.
    async fn items(&self, table: &str) -> Vec<HashMap<String, AttributeValue>> {
        self.client()
            .scan()
            .table_name(table)
            .into_paginator()
            .items()
            .send()
            .collect::<Result<_, _>>()
            .await
            .unwrap()
    }
}

fn client(url: &str) -> Client {
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(url)
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
            ACCOUNT, "secret", None, None, "test",
        )))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .sleep_impl(aws_smithy_async::rt::sleep::SharedAsyncSleep::new(
            aws_smithy_async::rt::sleep::TokioSleep::new(),
        ))
        .build();
    Client::new(&config)
}

/// A server before the emulator that answers some calls itself: those for which `answer` has one, given the
/// operation, how many of its kind came before, and the body.
fn before(
    url: &str,
    answer: impl Fn(&str, usize, &Value) -> Option<(u16, Value)> + Send + Sync + 'static,
) -> http1::Server {
    let url = url.to_owned();
    let (answer, calls) = (Arc::new(answer), Arc::new(Mutex::new(HashMap::<String, usize>::new())));
    http1::serve(move |request: Request<Bytes>| {
        let (url, answer, calls) = (url.clone(), Arc::clone(&answer), Arc::clone(&calls));
        async move {
            let target = request.headers()["x-amz-target"].to_str().unwrap();
            let operation = target.rsplit('.').next().unwrap().to_owned();
            let body = serde_json::from_slice(request.body()).unwrap();
            let number = {
                let mut calls = calls.lock().unwrap();
                let number = calls.entry(operation.clone()).or_default();
                *number += 1;
                *number - 1
            };
            match answer(&operation, number, &body) {
                Some((status, body)) => Ok(http1::json(status, &body)),
                None => http1::send(&url, request).await.map_err(|_| http1::Reset),
            }
        }
    })
    .unwrap()
}

fn canceled(codes: &[&str]) -> (u16, Value) {
    let reasons: Vec<Value> =
        codes.iter().map(|code| json!({ "Code": code, "Message": "said so" })).collect();
    let body = json!({
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "message": format!("Transaction cancelled, please refer cancellation reasons for specific reasons {codes:?}"),
        "CancellationReasons": reasons,
    });
    (400, body)
}

fn exception(name: &str) -> (u16, Value) {
    (400, json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{name}"), "message": "said so" }))
}

#[tokio::test]
async fn tables_keep_the_promises() {
    let tables = Tables::start().await;
    conformance(&tables.store(), &tables.hands).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_hundred_commits_at_once_stop_at_a_limit_of_twenty() {
    let tables = Tables::start().await;
    let until = in_seconds(&tables.hands, 3600);
    let (accepted, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut workers = JoinSet::new();
    for _ in 0..8 {
        let store = tables.store();
        let (accepted, refused) = (Arc::clone(&accepted), Arc::clone(&refused));
        workers.spawn(async move {
            // One of the hundred each, until none is left.
            while accepted.load(Ordering::SeqCst) + refused.load(Ordering::SeqCst) < 100 {
                let run = run_id();
                let ops = vec![put(&format!("lease#{run}"), "1", Expect::Absent), count("cap", 20, until)];
                let done =
                    match store.commit(&Commit { ops, records: vec![record(&run, 1, json!({}))] }).await {
                        Ok(()) => &accepted,
                        Err(CommitError::Limit(key)) if key == "cap" => &refused,
                        Err(error) => panic!("{error}"),
                    };
                done.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    workers.join_all().await;
    assert_eq!(accepted.load(Ordering::SeqCst), 20);
    assert!(refused.load(Ordering::SeqCst) >= 80);
    let store = tables.store();
    assert_eq!(etag_of(&store, "cap").await.as_deref(), Some("20"));
    assert_eq!(store.scan("lease#").await.unwrap().len(), 20);
    assert_eq!(tables.items(AUDIT).await.len(), 20);
}

#[tokio::test]
async fn a_lost_answer_is_neither_a_conflict_nor_a_second_count() {
    let tables = Tables::start().await;
    let proxy = tables.proxy();
    let store = tables.store_at(&proxy.url());
    let until = in_seconds(&tables.hands, 3600);
    let lose = |operation: &str| {
        proxy.fault(Target::Nth("dynamodb".to_owned(), operation.to_owned(), 1), Fault::ResetAfter);
    };
    lose("PutItem");
    write(&store, vec![put("a", "1", Expect::Absent)]).await.unwrap();
    lose("PutItem");
    write(&store, vec![put("a", "2", etag("1"))]).await.unwrap();
    lose("TransactWriteItems");
    write(&store, vec![count("n", 1, until)]).await.unwrap();
    lose("TransactWriteItems");
    write(&store, vec![delete("a", etag("2"))]).await.unwrap();
    lose("TransactWriteItems");
    let run = run_id();
    let ops = vec![put("b", "1", Expect::Absent), count("m", 1, until)];
    store.commit(&Commit { ops, records: vec![record(&run, 1, json!({}))] }).await.unwrap();
    let written = proxy.calls().iter().filter(|call| call.forwarded).count();
    assert_eq!(written, 10, "each came twice: {:?}", proxy.actions());
    assert_eq!(etag_of(&store, "n").await.as_deref(), Some("1"));
    assert_eq!(etag_of(&store, "m").await.as_deref(), Some("1"));
    assert_eq!(store.run(&run).await.unwrap().len(), 1);

    // Somebody else's item, even with the same etag, is still a conflict.
    let other = Op::Put {
        key: "b".to_owned(),
        body: json!("other"),
        etag: "1".to_owned(),
        expect: Expect::Absent,
        expires: None,
    };
    is_conflict(&write(&store, vec![other]).await, "b");
}

#[tokio::test]
async fn who_stands_in_the_way_is_waited_for() {
    let tables = Tables::start().await;
    let url = tables.ministack.url();
    let until = in_seconds(&tables.hands, 3600);
    let answers = [
        canceled(&["None", "TransactionConflict"]),
        canceled(&["ThrottlingError", "None"]),
        canceled(&["ProvisionedThroughputExceeded", "TransactionConflict"]),
        exception("TransactionInProgressException"),
    ];
    let tokens = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&tokens);
    let server = before(url, move |operation, number, body| match operation {
        "TransactWriteItems" => {
            seen.lock().unwrap().push(body["ClientRequestToken"].clone());
            answers.get(number).cloned()
        }
        "PutItem" if number < 2 => Some(exception("TransactionConflictException")),
        _ => None,
    });
    let store = tables.store_at(&server.url());
    write(&store, vec![put("a", "1", Expect::Absent), count("n", 1, until)]).await.unwrap();
    assert_eq!(etag_of(&store, "n").await.as_deref(), Some("1"));
    // Refused, a transaction is over; unanswered, it may be asked for again only by its own token.
    let tokens = tokens.lock().unwrap().clone();
    let same: Vec<bool> = tokens.windows(2).map(|pair| pair[0] == pair[1]).collect();
    assert_eq!(same, [false, false, false, true], "{tokens:?}");
    write(&store, vec![put("a", "2", etag("1"))]).await.unwrap();
    assert_eq!(etag_of(&store, "a").await.as_deref(), Some("2"));

    // Not for ever, and not where it is pointless.
    let server = before(url, |operation, _, body| match operation {
        "TransactWriteItems" if body.to_string().contains("hopeless") => {
            Some(canceled(&["None", "ConditionalCheckFailed", "TransactionConflict"]))
        }
        "TransactWriteItems" if body.to_string().contains("strange") => Some(canceled(&["ValidationError"])),
        "TransactWriteItems" => Some(canceled(&["TransactionConflict"])),
        _ => None,
    });
    let store = tables.store_at(&server.url());
    let error = write(&store, vec![count("n", 5, until)]).await.unwrap_err();
    let CommitError::Failed(error) = error else { panic!("{error}") };
    assert_eq!((error.kind, error.code.as_deref()), (ErrorKind::Transient, Some("TransactionConflict")));
    let ops = vec![put("a", "3", etag("2")), put("hopeless", "1", Expect::Absent), count("n", 5, until)];
    is_conflict(&write(&store, ops).await, "hopeless");
    let error = write(&store, vec![count("strange", 5, until)]).await.unwrap_err();
    let CommitError::Failed(error) = error else { panic!("{error}") };
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Rejected, "ValidationError: said so"));
}

#[tokio::test]
async fn reads_left_unanswered_are_asked_for_again() {
    let tables = Tables::start().await;
    let store = tables.store();
    write(&store, vec![put("a", "1", Expect::Absent), put("b", "1", Expect::Absent)]).await.unwrap();
    let keys = ["a".to_owned(), "b".to_owned()];
    let server = before(tables.ministack.url(), |operation, number, body| {
        assert_eq!(body["RequestItems"][STATE]["ConsistentRead"], json!(true));
        let unprocessed = json!({ "Responses": {}, "UnprocessedKeys": body["RequestItems"] });
        (operation == "BatchGetItem" && number < 2).then_some((200, unprocessed))
    });
    assert_eq!(tables.store_at(&server.url()).read(&keys).await.unwrap().len(), 2);
    let server = before(tables.ministack.url(), |_, _, body| {
        Some((200, json!({ "Responses": {}, "UnprocessedKeys": body["RequestItems"] })))
    });
    let error = tables.store_at(&server.url()).read(&keys).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Throttled);
}

#[tokio::test]
async fn records_are_only_put_where_there_is_none_and_expire_together() {
    let tables = Tables::start().await;
    let proxy = tables.proxy();
    let store = tables.store_at(&proxy.url());
    // 2026-01-01T00:00:00Z in its first 48 bits.
    let run = format!("{:08x}-{:04x}-7000-8000-000000000000", (START * 1000) >> 16, (START * 1000) & 0xffff);
    let finding = json!({ "id": "f-1", "product": "p" });
    let first = record(&run, 1, json!({ "time": "2026-01-01T23:00:00Z" }));
    let more =
        json!({ "time": "2026-01-05T00:00:00Z", "last": true, "stage": "verified", "finding": finding });
    let lease = || vec![put("lease", "1", Expect::Anything)];
    store.commit(&Commit { ops: lease(), records: vec![first] }).await.unwrap();
    store.commit(&Commit { ops: lease(), records: vec![record(&run, 2, more)] }).await.unwrap();

    let mut puts = 0;
    for call in proxy.calls() {
        let body: Value = serde_json::from_slice(&call.body).unwrap();
        for item in body["TransactItems"].as_array().unwrap() {
            let (action, what) = item.as_object().unwrap().iter().next().unwrap();
            if what["TableName"] == AUDIT {
                assert_eq!(
                    (action.as_str(), &what["ConditionExpression"]),
                    ("Put", &json!("attribute_not_exists(pk)"))
                );
                puts += 1;
            }
        }
    }
    assert_eq!(puts, 5, "two records, three ways to find their run");
    for item in tables.items(AUDIT).await {
        assert_eq!(item["expires"], AttributeValue::N((START + 400 * DAY).to_string()), "{item:?}");
    }

    tables.hands.pass(400 * DAY - 1);
    assert_eq!(store.run(&run).await.unwrap().len(), 2);
    assert_eq!(store.runs(Index::Finding("f-1"), 10).await.unwrap().len(), 1);
    tables.hands.pass(1);
    assert_eq!(store.run(&run).await.unwrap(), Vec::<String>::new());
    assert_eq!(store.runs(Index::Finding("f-1"), 10).await.unwrap(), []);
}

#[tokio::test]
async fn a_record_that_fits_no_item_is_refused_before_anything_is_written() {
    let tables = Tables::start().await;
    let store = tables.store();
    let run = run_id();
    // Text that does not compress to less than half.
    let random: String = (0..25_000).map(|_| uuid::Uuid::new_v4().to_string()).collect();
    let ops = vec![put("a", "1", Expect::Absent)];
    let records = vec![record(&run, 1, json!({ "reason": random }))];
    // What is going to be as large is known before.
    let (ending, sealed) = &records[0];
    let error = store.has_room_for(ending, sealed).unwrap_err();
    assert!(error.message.starts_with(&format!("the last record of run {run} takes ")), "{error}");
    let small = record(&run, 1, json!({}));
    store.has_room_for(&small.0, &small.1).unwrap();
    let error = store.commit(&Commit { ops, records }).await.unwrap_err();
    let CommitError::Failed(error) = error else { panic!("{error}") };
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.message.starts_with(&format!("record 1 of run {run} takes ")), "{error}");
    assert!(error.message.ends_with("bytes; DynamoDB stores at most 409600"), "{error}");
    assert_eq!(read(&store, "a").await, None);

    // Nearly as long, and packed: stored whole.
    let repeated = "policy ".repeat(140_000);
    let long = record(&run, 1, json!({ "reason": repeated }));
    let line = long.1.line.clone();
    add(&store, vec![long]).await.unwrap();
    assert_eq!(store.run(&run).await.unwrap(), [line]);
}

#[tokio::test]
async fn a_missing_table_is_not_a_missing_resource() {
    let tables = Tables::start().await;
    let store = DynamoDb::new(tables.client(), "none-state", "none-audit", 400, tables.hands.clock());
    let keys = ["a".to_owned(), "b".to_owned()];
    let mut errors = vec![
        store.read(&keys).await.unwrap_err(),
        store.read(&keys[..1]).await.unwrap_err(),
        store.run("r").await.unwrap_err(),
        store.runs(Index::Account(ACCOUNT), 1).await.unwrap_err(),
        store.scan("lease#").await.unwrap_err(),
    ];
    let one = put("a", "1", Expect::Absent);
    for ops in [vec![one.clone()], vec![one, put("b", "1", Expect::Absent)]] {
        match write(&store, ops).await.unwrap_err() {
            CommitError::Failed(error) => errors.push(error),
            error => panic!("{error}"),
        }
    }
    for error in errors {
        assert_eq!(error.disposition(), Disposition::Escalate, "{error}");
        assert!(error.message.starts_with("DynamoDB table") && error.message.contains("none-"), "{error}");
    }
}
