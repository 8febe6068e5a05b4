//! The harness itself: each piece does what the end-to-end tests take for granted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Method, Request, Response};
use redress_tests::{
    aws_call::{AwsError, identify},
    hold_proxy::{Fault, HoldProxy, Target, Upstreams},
    http1::{self, Server},
    microburst::Microburst,
    ministack::{self, Ministack},
    moto::Moto,
    process::{Process, Program, target_dir},
    runtime_api::{Bootstrap, Outcome},
    sqs_poller::{Poller, Queue, Settings, failures},
    venv::{self, Kind},
};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

const SOON: Duration = Duration::from_secs(10);

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A runtime in a few lines of Python.
fn python_function() -> Bootstrap {
    Bootstrap::new("python3").args([fixture("bootstrap.py")])
}

fn signed(method: Method, path: &str, service: &str, body: &str) -> Request<Bytes> {
    let scope = format!("123456789012/20260101/us-east-1/{service}/aws4_request");
    let signature =
        format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-date, Signature=0123");
    Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", signature)
        .body(Bytes::from(body.to_owned()))
        .unwrap()
}

fn text(answer: &Response<Bytes>) -> String {
    String::from_utf8_lossy(answer.body()).into_owned()
}

async fn buckets(url: &str) -> Response<Bytes> {
    http1::send(url, signed(Method::GET, "/", "s3", "")).await.unwrap()
}

async fn make_bucket(url: &str, name: &str) -> Response<Bytes> {
    http1::send(url, signed(Method::PUT, &format!("/{name}"), "s3", "")).await.unwrap()
}

fn is_alive(pid: u32) -> bool {
    // A zombie has been killed, and waits for the init process only.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

async fn until(what: &str, mut met: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !met() {
        assert!(Instant::now() < end, "not in time: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

// --- venv ---

#[test]
fn a_venv_is_made_once_and_again_when_its_requirements_change() {
    let scratch = target_dir().join(format!("venv-test-{}", std::process::id()));
    fs::create_dir_all(&scratch).unwrap();
    let (dir, requirements) = (scratch.join("venv"), scratch.join("requirements.txt"));
    fs::write(&requirements, "# nothing\n").unwrap();

    let make = || venv::make(&dir, &requirements);
    std::thread::scope(|scope| {
        let makers: Vec<_> = (0..3).map(|_| scope.spawn(make)).collect();
        for maker in makers {
            assert!(maker.join().unwrap().unwrap().program("python").exists());
        }
    });
    let marker = dir.join("marker");
    fs::write(&marker, "").unwrap();
    make().unwrap();
    assert!(marker.exists(), "made again without need");

    fs::write(&requirements, "./nowhere/at-all.whl\n").unwrap();
    let error = make().unwrap_err().to_string();
    assert!(error.contains("at-all.whl"), "{error}");
    assert!(!marker.exists(), "not made again though the requirements have changed");
    assert!(make().is_err(), "a failed installation counts as a good one");
    fs::remove_dir_all(&scratch).unwrap();
}

// --- process ---

fn sleeper_with_child() -> Program {
    Program::new("sleeper", "sh").args(["-c", "sleep 1000 & echo child $!; wait"])
}

async fn child_of(process: &Process) -> u32 {
    process.wait_for_line("child ", SOON).await.unwrap();
    process.log().trim().strip_prefix("child ").unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_dropped_process_takes_its_children_along() {
    let process = sleeper_with_child().start().unwrap();
    let (pid, child) = (process.pid(), child_of(&process).await);
    assert!(is_alive(pid) && is_alive(child));
    assert!(process.usage().unwrap().peak_memory > 100_000);
    drop(process);
    assert!(!is_alive(pid));
    until("the child ends", || !is_alive(child)).await;
}

#[tokio::test]
#[ignore = "the process that `a_killed_test_leaves_no_process_behind` starts"]
async fn leaves_a_process_behind() {
    let process = sleeper_with_child().start().unwrap();
    println!("left {} {}", process.pid(), child_of(&process).await);
    sleep(Duration::from_mins(1)).await;
}

#[tokio::test]
async fn a_killed_test_leaves_no_process_behind() {
    let test = Program::new("killed-test", std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "leaves_a_process_behind", "--nocapture"])
        .start()
        .unwrap();
    test.wait_for_line("left ", SOON).await.unwrap();
    sleep(Duration::from_millis(20)).await;
    let log = test.log();
    let line = log.lines().find_map(|line| line.split_once("left ")).unwrap().1;
    let pids: Vec<u32> = line.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(pids.len(), 2);
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    test.kill().await;
    until("the processes end", || pids.iter().all(|pid| !is_alive(*pid))).await;
}

#[tokio::test]
async fn a_process_that_ends_early_is_reported_with_its_output() {
    let process = Program::new("early", "sh").args(["-c", "echo no such table; exit 7"]).start().unwrap();
    let error = process.wait_for_port(1, SOON).await.unwrap_err().to_string();
    assert!(error.contains("exit status: 7") && error.contains("no such table"), "{error}");
    assert!(Program::new("absent", "/no/such/program").start().is_err());

    let polite = Program::new("polite", "sh")
        .args(["-c", "trap 'echo bye; exit 4' TERM; echo up; while :; do sleep 0.05; done"]);
    let polite = polite.start().unwrap();
    polite.wait_for_line("up", SOON).await.unwrap();
    assert_eq!(polite.stop(SOON).await.code(), Some(4));
    assert!(polite.log().contains("bye"));
}

// --- emulators ---

/// The addresses on which something listens on this port, as the kernel writes them.
fn listeners(port: u16) -> Vec<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let lines = tables.iter().flat_map(|table| table.lines().skip(1));
    lines
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (address, hex) = fields[1].split_once(':')?;
            (fields[3] == "0A" && u16::from_str_radix(hex, 16) == Ok(port)).then(|| address.to_owned())
        })
        .collect()
}

#[tokio::test]
async fn ministack_answers_on_loopback_alone_and_forgets_on_reset() {
    let ministack = Ministack::start().await.unwrap();
    let port = ministack.url().rsplit(':').next().unwrap().parse().unwrap();
    assert_eq!(listeners(port), ["0100007F"]);

    let none = buckets(ministack.url()).await;
    assert_eq!(none.status(), 200);
    assert!(text(&none).contains("<ListAllMyBucketsResult"), "{}", text(&none));
    assert_eq!(make_bucket(ministack.url(), "one").await.status(), 200);
    assert!(text(&buckets(ministack.url()).await).contains("<Name>one</Name>"));
    ministack.reset().await.unwrap();
    assert!(!text(&buckets(ministack.url()).await).contains("<Name>"));

    let pid = ministack.process().pid();
    drop(ministack);
    assert!(!is_alive(pid));
}

#[tokio::test]
async fn ministack_with_auth_refuses_strangers() {
    let open = Ministack::start().await.unwrap();
    let guarded = ministack::Options::default().auth().start().await.unwrap();
    for (url, status) in [(open.url(), 200), (guarded.url(), 403)] {
        assert_eq!(make_bucket(url, "one").await.status(), 200, "an account id is its account's root");
        let anonymous = Request::get("/one?versioning").body(Bytes::new()).unwrap();
        let answer = http1::send(url, anonymous).await.unwrap();
        assert_eq!(answer.status(), status, "{}", text(&answer));
    }
}

#[tokio::test]
async fn moto_answers_and_forgets_on_reset() {
    let moto = Moto::start().await.unwrap();
    assert_eq!(make_bucket(moto.url(), "one").await.status(), 200);
    assert!(text(&buckets(moto.url()).await).contains("<Name>one</Name>"));
    moto.reset().await.unwrap();
    assert!(!text(&buckets(moto.url()).await).contains("<Name>"));
}

#[tokio::test]
async fn microburst_answers_with_a_fault_and_says_so() {
    let upstream = counting_upstream();
    let rules = "- service: s3\n  operation: ListBuckets\n  times: 1\n  error: {code: SlowDown}";
    let proxy = Microburst::start(&upstream.server.url(), rules).await.unwrap();
    let (first, second) = (buckets(proxy.url()).await, buckets(proxy.url()).await);
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (503, 200));
    assert!(text(&first).contains("<Code>SlowDown</Code>"));
    assert_eq!(upstream.count(), 1);
    let fired = proxy.fired().await.unwrap();
    assert_eq!(fired.len(), 1);
    assert_eq!(fired[0]["operation"], "ListBuckets");
    proxy.clear_fired().await.unwrap();
    assert!(proxy.fired().await.unwrap().is_empty());
    proxy.set_rules(&json!([{ "service": "s3", "error": { "code": "AccessDenied" } }])).await.unwrap();
    assert_eq!(buckets(proxy.url()).await.status(), 403);
}

// --- runtime API ---

#[tokio::test]
async fn a_function_gets_events_with_lambdas_headers_and_environment() {
    let function = python_function().name("echo").env("REDRESS_MODE", "plan").timeout(SOON).cold();
    let events = [json!({ "n": 1 }), json!({ "n": 2 }), json!({ "n": [null, "ü"] })];
    let answers = function.invoke_all(&events).await.unwrap();
    for (answer, event) in answers.iter().zip(&events) {
        let body = answer.json().unwrap();
        assert_eq!(&body["event"], event);
        assert_eq!(body["id"], answer.request_id.as_str());
        let headers = &body["headers"];
        let left =
            headers["Deadline-Ms"].as_str().unwrap().parse::<f64>().unwrap() - body["now"].as_f64().unwrap();
        assert!((9_000.0..=10_000.0).contains(&left), "{left} ms until the deadline");
        assert_eq!(headers["Invoked-Function-Arn"], "arn:aws:lambda:us-east-1:123456789012:function:echo");
        assert!(headers["Trace-Id"].as_str().unwrap().starts_with("Root=1-"));
        assert_eq!(body["env"]["REDRESS_MODE"], "plan");
        assert_eq!(body["env"]["AWS_LAMBDA_FUNCTION_NAME"], "echo");
        assert!(body["env"].get("HOME").is_none(), "the developer's environment is passed on");
    }
    assert_eq!(answers.iter().map(|answer| answer.cold).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!(function.starts(), 1);
    let timings = function.timings();
    assert!(timings.first_poll.unwrap() < timings.first_answer.unwrap());
    let usage = function.usage().unwrap();
    assert!(usage.peak_memory > 4_000_000, "{usage:?}");
    assert!(usage.cpu.max(usage.cpu_of_threads) > Duration::from_millis(5), "{usage:?}");
}

#[tokio::test]
async fn a_function_that_fails_crashes_or_runs_out_of_time_is_told_apart() {
    let function = python_function().timeout(Duration::from_millis(400)).start().await.unwrap();
    let first = function.pid().unwrap();
    let failed = function.invoke(&json!({ "do": "fail" })).await.unwrap();
    assert_eq!(failed.outcome, Outcome::Error { kind: "Denied".into(), message: "may not".into() });
    assert!(failed.json().is_err());
    assert_eq!(function.pid(), Some(first), "an error does not end the process");

    let crashed = function.invoke(&json!({ "do": "crash" })).await.unwrap();
    assert!(matches!(crashed.outcome, Outcome::Exited(status) if status.code() == Some(3)), "{crashed:?}");

    let late = function.invoke(&json!({ "do": "sleep", "seconds": 5 })).await.unwrap();
    assert_eq!(late.outcome, Outcome::TimedOut);
    assert!(late.cold && late.took >= Duration::from_millis(400) && late.took < Duration::from_secs(2));
    assert_eq!(function.pid(), None, "a process past its deadline is killed");

    let next = function.invoke(&json!({})).await.unwrap();
    assert!(next.succeeded() && next.cold);
    assert_eq!(function.starts(), 3);

    function.invoke(&json!({ "do": "twice" })).await.unwrap();
    until("the second answer is refused", || function.log().contains("second: 400")).await;
}

#[tokio::test]
async fn a_function_that_never_gets_ready_says_why() {
    let refused = python_function().env("FAIL_INIT", "1").cold().invoke(&json!({})).await.unwrap();
    assert_eq!(refused.outcome, Outcome::NotReady("NoRules: no rules found".into()));
    let mute = Bootstrap::new("sleep").args(["1000"]).init_timeout(Duration::from_millis(100));
    let mute = mute.cold().invoke(&json!({})).await.unwrap();
    assert!(matches!(&mute.outcome, Outcome::NotReady(why) if why.contains("no event")), "{mute:?}");
    let error = Bootstrap::new("false").start().await.unwrap_err().to_string();
    assert!(error.contains("ended before it asked"), "{error}");
}

#[tokio::test]
async fn functions_run_side_by_side_and_can_be_killed_in_the_middle() {
    let functions: Vec<_> = (0..4).map(|_| python_function().cold()).collect();
    let running: Vec<_> = functions
        .iter()
        .map(|function| {
            let function = function.clone();
            tokio::spawn(
                async move { function.invoke(&json!({ "do": "sleep", "seconds": 30 })).await.unwrap() },
            )
        })
        .collect();
    until("all are up", || functions.iter().all(|function| function.log().contains("up"))).await;
    for function in &functions {
        assert!(function.kill().await.unwrap().code().is_none(), "not ended by a signal");
    }
    for task in running {
        let outcome = task.await.unwrap().outcome;
        assert!(matches!(outcome, Outcome::Exited(_) | Outcome::NotReady(_)), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_function_with_an_extension_may_say_goodbye() {
    let polite = python_function().env("EXTENSION", "1").start().await.unwrap();
    assert_eq!(polite.extensions(), ["goodbye"]);
    assert!(polite.invoke(&json!({})).await.unwrap().succeeded());
    let shutdown = polite.shut_down().await.unwrap();
    assert!(shutdown.graceful && shutdown.status.success(), "{shutdown:?}");
    assert!(polite.log().contains("SIGTERM: goodbye"));

    let plain = python_function().start().await.unwrap();
    assert!(!plain.shut_down().await.unwrap().graceful, "without an extension there is no time to say it");
    let plain = python_function().start().await.unwrap();
    plain.terminate();
    until("SIGTERM ends it", || plain.pid().is_none()).await;
}

// --- queue ---

#[tokio::test]
async fn a_message_that_keeps_failing_ends_among_the_dead_letters() {
    let queue = Queue::new(Settings { max_receive_count: Some(3), ..Settings::default() });
    let ids: Vec<String> = ["good", "bad", "good too"].iter().map(|body| queue.send(*body)).collect();
    let poller = Poller::new(&queue, [python_function().cold()]);

    let first = poller.poll().await.unwrap();
    assert_eq!(first[0].messages, ids);
    assert_eq!(first[0].failed, [ids[1].clone()]);
    assert!(poller.poll().await.unwrap().is_empty(), "it is invisible for its visibility timeout");
    assert_eq!(queue.deleted(), 2);

    let rest = poller.drain().await.unwrap();
    assert_eq!(rest.len(), 2, "received three times in all");
    let dead = queue.dead_letters();
    assert_eq!((dead.len(), dead[0].id.as_str(), dead[0].receive_count), (1, ids[1].as_str(), 3));
    assert!(queue.messages().is_empty());
    assert_eq!(queue.now(), 3 * Settings::default().visibility);
}

#[tokio::test]
async fn a_message_that_fails_at_first_is_processed_in_the_end() {
    let queue = Queue::new(Settings::default());
    for n in 0..25 {
        queue.send(if n % 5 == 0 { "bad" } else { "good" });
    }
    let functions = (0..2).map(|_| python_function().env("FAILURES", "2").cold());
    let batches = Poller::new(&queue, functions).drain().await.unwrap();
    assert!(batches.iter().all(|batch| batch.messages.len() <= 10));
    assert_eq!((queue.deleted(), queue.dead_letters().len()), (25, 0));

    let queue = Queue::new(Settings { max_receive_count: Some(2), ..Settings::default() });
    queue.send(json!({ "any": "thing" }).to_string());
    let crashing = Bootstrap::new("false").cold();
    let batches = Poller::new(&queue, [crashing]).drain().await.unwrap();
    assert_eq!((batches.len(), queue.dead_letters().len()), (2, 1), "a failing function fails the batch");
}

#[tokio::test]
async fn a_function_can_move_its_messages_visibility_and_send_to_the_dead_letters() {
    let queue = Queue::new(Settings::default());
    let server = queue.serve().unwrap();
    let id = queue.send("bad");
    let message = queue.receive().remove(0);
    let ask = async |operation: &str, body: Value| {
        let mut request = signed(Method::POST, "/", "sqs", &body.to_string());
        request.headers_mut().insert("x-amz-target", format!("AmazonSQS.{operation}").parse().unwrap());
        let answer = http1::send(&server.url(), request).await.unwrap();
        (answer.status().as_u16(), serde_json::from_slice::<Value>(answer.body()).unwrap())
    };
    let record = &queue.event(std::slice::from_ref(&message))["Records"][0];
    assert_eq!(record["eventSourceARN"], queue.arn().as_str());
    let url = ask("GetQueueUrl", json!({ "QueueName": "redress" })).await.1;
    let url = url["QueueUrl"].as_str().unwrap();
    let body = json!({ "QueueUrl": url, "ReceiptHandle": record["receiptHandle"], "VisibilityTimeout": 20 });
    assert_eq!(ask("ChangeMessageVisibility", body.clone()).await.0, 200);
    assert_eq!(queue.messages()[0].visible_at, Duration::from_secs(20));
    queue.advance(Duration::from_secs(20));
    assert_eq!(ask("ChangeMessageVisibility", body).await.0, 400, "no longer in flight");
    assert_eq!(queue.receive()[0].id, id);

    let dead = json!({
        "QueueUrl": url.replace("redress", "redress-dead"),
        "MessageBody": "undecodable",
        "MessageAttributes": { "reason": { "DataType": "String", "StringValue": "no JSON" } },
    });
    assert_eq!(ask("SendMessage", dead).await.0, 200);
    let dead = queue.dead_letters();
    assert_eq!(dead[0].body, "undecodable");
    assert_eq!(dead[0].attributes["reason"]["StringValue"], "no JSON");
    assert_eq!(ask("CreateQueue", json!({})).await.0, 400);
}

#[test]
fn malformed_answers_fail_the_whole_batch() {
    let batch = ["a".to_owned(), "b".to_owned()];
    let read = |answer: &str| failures(answer.as_bytes(), &batch);
    for none in ["", "null", "{}", r#"{"batchItemFailures":[]}"#, r#"{"batchItemFailures":null}"#] {
        assert_eq!(read(none), Some(Vec::new()), "{none}");
    }
    assert_eq!(read(r#"{"batchItemFailures":[{"itemIdentifier":"b"}]}"#), Some(vec!["b".to_owned()]));
    for all in [
        "{",
        r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#,
        r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#,
        r#"{"batchItemFailures":[{"item":"a"}]}"#,
        r#"{"batchItemFailures":[{"itemIdentifier":"c"}]}"#,
        r#"{"batchItemFailures":"a"}"#,
    ] {
        assert_eq!(read(all), None, "{all}");
    }
}

// --- proxy ---

struct Upstream {
    server: Server,
    count: Arc<AtomicUsize>,
}

impl Upstream {
    fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}

fn counting_upstream() -> Upstream {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let server = http1::serve(move |_| {
        let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
        async move { Ok(http1::answer(200, "text/plain", format!("answer {number}"))) }
    });
    Upstream { server: server.unwrap(), count }
}

#[tokio::test]
async fn the_proxy_numbers_calls_and_routes_by_service() {
    let (most, hub) = (counting_upstream(), counting_upstream());
    let proxy =
        HoldProxy::start(Upstreams::to(most.server.url()).service("securityhub", hub.server.url())).unwrap();
    let mut query = signed(Method::POST, "/", "sts", "Action=AssumeRole&Version=2011-06-15");
    query.headers_mut().insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
    let mut target = signed(Method::POST, "/", "dynamodb", "{}");
    target.headers_mut().insert("x-amz-target", "DynamoDB_20120810.PutItem".parse().unwrap());
    let requests = [
        signed(Method::GET, "/bucket?versioning", "s3", ""),
        query,
        target,
        signed(Method::PATCH, "/findings/batchupdate", "securityhub", r#"{"Note":"x"}"#),
        signed(Method::PUT, "/v20180820/configuration/publicAccessBlock", "s3", ""),
    ];
    for request in requests {
        assert_eq!(http1::send(&proxy.url(), request).await.unwrap().status(), 200);
    }
    let actions = [
        "s3:GetBucketVersioning",
        "sts:AssumeRole",
        "dynamodb:PutItem",
        "securityhub:BatchUpdateFindings",
        "s3:PutPublicAccessBlock",
    ];
    assert_eq!(proxy.actions(), actions);
    assert_eq!((most.count(), hub.count()), (4, 1));
    let calls = proxy.calls();
    assert_eq!(calls.iter().map(|call| call.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert!(calls.iter().all(|call| call.forwarded && call.status == Some(200)));
    assert_eq!(calls[0].aws.access_key, "123456789012");
    assert_eq!(calls[3].text(), r#"{"Note":"x"}"#);
    proxy.reset();
    buckets(&proxy.url()).await;
    assert_eq!((proxy.calls()[0].number, proxy.actions()), (1, vec!["s3:ListBuckets".to_owned()]));
}

#[test]
fn the_proxy_knows_s3s_operations() {
    for (method, path, operation) in [
        (Method::GET, "/", "ListBuckets"),
        (Method::GET, "/b?lifecycle", "GetBucketLifecycleConfiguration"),
        (Method::PUT, "/b?lifecycle", "PutBucketLifecycleConfiguration"),
        (Method::DELETE, "/b?lifecycle", "DeleteBucketLifecycle"),
        (Method::PUT, "/b/?publicAccessBlock", "PutPublicAccessBlock"),
        (Method::DELETE, "/b?policy", "DeleteBucketPolicy"),
        (Method::GET, "/b?policyStatus", "GetBucketPolicyStatus"),
        (Method::GET, "/b?website=", "GetBucketWebsite"),
        (Method::HEAD, "/b", "HeadBucket"),
        (Method::GET, "/b?list-type=2&prefix=versioning", "ListObjectsV2"),
        (Method::GET, "/b/k?tagging", "GetObjectTagging"),
        (Method::PUT, "/b/k?x-id=PutObject", "PutObject"),
        (Method::PATCH, "/b", "PATCH /b"),
    ] {
        assert_eq!(identify(&signed(method, path, "s3", "")).operation, operation, "{path}");
    }
}

#[tokio::test]
async fn the_proxy_holds_a_call_before_and_after() {
    let upstream = counting_upstream();
    let proxy = HoldProxy::start(Upstreams::to(upstream.server.url())).unwrap();
    let url = proxy.url();
    let call = || {
        let url = url.clone();
        tokio::spawn(async move { http1::send(&url, signed(Method::GET, "/b?versioning", "s3", "")).await })
    };

    let hold = proxy.hold_before(Target::Number(2));
    assert!(call().await.unwrap().is_ok());
    let second = call();
    let paused = hold.reached(SOON).await.unwrap();
    assert_eq!((paused.call.number, upstream.count()), (2, 1));
    assert!(proxy.settled(Duration::from_millis(50)).await.is_err());
    paused.release();
    assert_eq!(text(&second.await.unwrap().unwrap()), "answer 2");

    let hold = proxy.hold_before(Target::Nth("s3".into(), "GetBucketVersioning".into(), 1));
    let third = call();
    hold.reached(SOON).await.unwrap().discard();
    assert!(third.await.unwrap().is_err());
    assert_eq!(upstream.count(), 2, "a discarded call was forwarded");

    let hold = proxy.hold_after(Target::Number(4));
    let mut fourth = call();
    let paused = hold.reached(SOON).await.unwrap();
    assert_eq!(upstream.count(), 3);
    assert!(timeout(Duration::from_millis(50), &mut fourth).await.is_err(), "answered while held");
    paused.release();
    assert_eq!(text(&fourth.await.unwrap().unwrap()), "answer 3");
    let hold = proxy.hold_after(Target::Number(5));
    let fifth = call();
    hold.reached(SOON).await.unwrap().discard();
    assert!(fifth.await.unwrap().is_err());
    proxy.settled(SOON).await.unwrap();
    let fates: Vec<_> = proxy.calls().iter().map(|call| (call.forwarded, call.status)).collect();
    assert_eq!(fates, [(true, Some(200)), (true, Some(200)), (false, None), (true, Some(200)), (true, None)]);
    let never = proxy.hold_before(Target::Number(99)).reached(Duration::from_millis(20)).await;
    assert!(never.unwrap_err().to_string().contains("did not come"));
}

#[tokio::test]
async fn a_held_call_of_a_killed_process_arrives_only_when_released() {
    let upstream = counting_upstream();
    let proxy = HoldProxy::start(Upstreams::to(upstream.server.url())).unwrap();
    let code = "import sys, urllib.request; urllib.request.urlopen(urllib.request.Request(sys.argv[1] + '/b?versioning', method='PUT', data=b'x'))";
    let caller = || Program::new("caller", "python3").args(["-c", code, &proxy.url()]).start().unwrap();
    for (number, release) in [(1, false), (2, true)] {
        let hold = proxy.hold_before(Target::Number(number));
        let process = caller();
        let paused = hold.reached(SOON).await.unwrap();
        process.kill().await;
        if release {
            paused.release();
        } else {
            paused.discard();
        }
        proxy.settled(SOON).await.unwrap();
        assert_eq!(upstream.count(), usize::from(release));
        assert_eq!(proxy.calls()[number - 1].forwarded, release);
    }
}

#[tokio::test]
async fn the_proxy_answers_with_faults_in_the_services_form() {
    let upstream = counting_upstream();
    let proxy = HoldProxy::start(Upstreams::to(upstream.server.url())).unwrap();
    let ask = async |service: &str, fault: AwsError| {
        proxy.reset();
        proxy.fault(Target::Service(service.to_owned()), fault);
        let mut request = signed(Method::POST, "/findings", service, "Action=DescribeAddresses");
        if matches!(service, "ec2" | "sts") {
            request
                .headers_mut()
                .insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
        } else if service == "dynamodb" {
            request.headers_mut().insert("x-amz-target", "DynamoDB_20120810.GetItem".parse().unwrap());
        }
        let answer = http1::send(&proxy.url(), request).await.unwrap();
        (answer.status().as_u16(), text(&answer))
    };
    for (service, fault, status, part) in [
        ("s3", AwsError::Unavailable, 503, "<Error><Code>SlowDown</Code>"),
        ("s3", AwsError::Denied, 403, "<Error><Code>AccessDenied</Code>"),
        ("s3", AwsError::Internal, 500, "<Error><Code>InternalError</Code>"),
        ("ec2", AwsError::Throttled, 503, "<Errors><Error><Code>RequestLimitExceeded</Code>"),
        ("ec2", AwsError::Denied, 403, "<Errors><Error><Code>UnauthorizedOperation</Code>"),
        ("sts", AwsError::Denied, 403, "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>"),
        ("dynamodb", AwsError::Denied, 400, r#""__type":"AccessDeniedException""#),
        ("dynamodb", AwsError::Throttled, 400, r#""__type":"ThrottlingException""#),
        ("securityhub", AwsError::Throttled, 429, r#""Code":"TooManyRequestsException""#),
    ] {
        let (got, body) = ask(service, fault.clone()).await;
        assert_eq!(got, status, "{service} {fault:?}");
        assert!(body.contains(part), "{service} {fault:?}: {body}");
    }
    let gone = AwsError::Other { status: 404, code: "NoSuchBucket".into(), message: "gone".into() };
    assert!(ask("s3", gone).await.1.contains("<Code>NoSuchBucket</Code>"));
    assert_eq!(upstream.count(), 0);
    assert!(!proxy.calls()[0].forwarded);
    assert_eq!(proxy.calls()[0].status, Some(404));
}

#[tokio::test]
async fn the_proxy_resets_connections() {
    let upstream = counting_upstream();
    let proxy = HoldProxy::start(Upstreams::to(upstream.server.url())).unwrap();
    proxy.fault(Target::Number(1), Fault::ResetBefore);
    proxy.fault(Target::Number(2), Fault::ResetAfter);
    for reached in [0, 1] {
        let error = http1::send(&proxy.url(), signed(Method::GET, "/", "s3", "")).await.unwrap_err();
        assert!(is_reset(&error), "{error:?}");
        assert_eq!(upstream.count(), reached);
    }
    assert_eq!(buckets(&proxy.url()).await.status(), 200);
}

fn is_reset(error: &(dyn std::error::Error + 'static)) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
        || error.source().is_some_and(is_reset)
}

// --- baseline ---

#[tokio::test]
async fn the_articles_function_turns_versioning_on() {
    let ministack = Ministack::start().await.unwrap();
    make_bucket(ministack.url(), "plain").await;
    let baseline = venv::get(Kind::Baseline).await.unwrap();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("baseline");
    let function = Bootstrap::new(baseline.program("python"))
        .args(["-m", "awslambdaric", "article.handler"])
        .handler("article.handler")
        .dir(dir)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .aws(ministack.url(), "123456789012", "secret")
        .cold();
    let event = json!({ "detail": { "findings": [{ "Resources": [{ "Id": "arn:aws:s3:::plain" }] }] } });
    let answer = function.invoke(&event).await.unwrap();
    assert_eq!(answer.json().unwrap()["bucket"], "plain", "{}", function.log());
    let versioning =
        http1::send(ministack.url(), signed(Method::GET, "/plain?versioning", "s3", "")).await.unwrap();
    assert!(text(&versioning).contains("<Status>Enabled</Status>"), "{}", text(&versioning));
}
