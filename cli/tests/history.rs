//! `redress history --verify`: real runs, whose records are then tampered with.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    fs,
    io::Write,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use redress::Exit;
use redress_sandbox::{
    account::furnish, emulator::Emulator, findings::ControlFinding, securityhub::SecurityHub, tables,
};
use serde_json::Value;

use self::common::{ACCOUNT, Dir, Ended, REGION, applying, command};

/// What the function would have logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A folder with the records of three runs (a fix, its undo, another fix), and the log of all.
struct World {
    emulator: Emulator,
    dir: Dir,
    finding: String,
    log: Log,
    _logging: tracing::subscriber::DefaultGuard,
}

impl World {
    async fn new(at: &[&str]) -> Self {
        let hub = SecurityHub::new();
        let emulator = Emulator::new().with_service(
            "securityhub",
            Arc::new(move |request| hub.handle_request(&request).map(Into::into)),
        );
        let made = furnish(&emulator, ACCOUNT, REGION).await.unwrap();
        let dynamodb = aws_sdk_dynamodb::Client::new(&emulator.sdk_config(ACCOUNT, REGION));
        for (table, keys) in [("state", tables::STATE), ("audit", tables::AUDIT)] {
            tables::make(&dynamodb, &format!("theirs-{table}"), keys).await.unwrap();
        }
        let dir = Dir::new();
        let bucket = &made.unversioned.arn;
        let finding =
            ControlFinding::new("S3.14").account(ACCOUNT).region(REGION).resource("AwsS3Bucket", bucket);
        let path = dir.join("finding.json");
        fs::write(&path, finding.asff().to_string()).unwrap();
        let log = Log::default();
        let (writer, lines) = (log.clone(), tracing_subscriber::fmt().json().flatten_event(true));
        let subscriber =
            lines.with_max_level(tracing::Level::INFO).with_writer(move || writer.clone()).finish();
        let logging = tracing::subscriber::set_default(subscriber);
        let finding = path.display().to_string();
        applying(&emulator, "theirs");
        let world = Self { emulator, dir, finding, log, _logging: logging };
        for verb in ["apply", "undo", "apply"] {
            let done = world.command(&[&[verb, &world.finding, "--yes"], at].concat()).await;
            assert_eq!(done.exit, Exit::Done, "{}{}", done.out, done.err);
        }
        world
    }

    async fn command(&self, args: &[&str]) -> Ended {
        command(&self.emulator, &self.dir, args, None).await
    }

    fn audit(&self) -> PathBuf {
        self.dir.join("state/audit.jsonl")
    }

    fn records(&self) -> Vec<String> {
        fs::read_to_string(self.audit()).unwrap().lines().map(str::to_owned).collect()
    }

    fn write(&self, lines: &[String]) {
        fs::write(self.audit(), lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect::<String>())
            .unwrap();
    }

    fn copy(&self) -> String {
        let path = self.dir.join("log.jsonl");
        fs::write(&path, &*self.log.0.lock().unwrap()).unwrap();
        path.display().to_string()
    }
}

fn run_of(line: &str) -> String {
    let value: Value = serde_json::from_str(line).unwrap();
    value["run"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn whatever_is_done_to_a_folder_of_records_shows() {
    let world = World::new(&[]).await;
    let lines = world.records();
    assert_eq!(lines.len(), 6, "{lines:#?}");
    let whole = world.command(&["history", "--verify"]).await;
    assert_eq!(whole.exit, Exit::Done, "{}{}", whole.out, whole.err);
    assert!(
        whole.out.contains("3 runs, 6 records") && whole.out.contains("0 broken, 0 open."),
        "{}",
        whole.out
    );
    assert!(whole.out.contains("One copy can't show"), "{}", whole.out);

    for (at, line) in lines.iter().enumerate() {
        let run = run_of(line);
        let found = async |what: &str, lines: &[String]| {
            world.write(lines);
            let ended = world.command(&["history", "--verify"]).await;
            assert_eq!(ended.exit, Exit::Failed, "{what}: {}{}", ended.out, ended.err);
            assert!(ended.out.contains(&format!("failed: run {run}")), "{what}: {}", ended.out);
            assert!(ended.out.contains(" 1 broken"), "{what}: {}", ended.out);
            ended.out
        };
        let removed = [&lines[..at], &lines[at + 1..]].concat();
        let out = found("removed", &removed).await;
        let said = if at % 2 == 0 { "record 1: it is missing" } else { "it is cut off behind record 1" };
        assert!(out.contains(said), "{out}");
        let out = found("twice", &[&lines[..], std::slice::from_ref(line)].concat()).await;
        assert!(out.contains("it is there 2 times"), "{out}");
        let mut edited = lines.clone();
        edited[at] = line.replace("enabled", "ENABLED");
        let out = found("edited", &edited).await;
        assert!(out.contains(&format!(
            "record {}: audit.jsonl: line {}: a record was altered",
            at % 2 + 1,
            at + 1
        )));
        // So that it is no record any more, which no other command reads past.
        edited[at] = line.replacen("\"seq\":", "\"seq\"=", 1);
        world.write(&edited);
        let ended = world.command(&["history", "--verify", "--format", "json"]).await;
        assert_eq!(ended.exit, Exit::Failed, "{}{}", ended.out, ended.err);
        let document: Value = serde_json::from_str(&ended.out).unwrap();
        assert_eq!(document["schema"], "redress.history-verify/1");
        let faults = document["faults"].as_array().unwrap();
        assert!(faults.iter().any(|fault| fault["run"] == run.as_str()), "{document:#}");
    }
    world.write(&lines);
    let (one, other) = (run_of(&lines[0]), run_of(&lines[2]));
    let mut edited = lines.clone();
    edited[1] = lines[1].replace("enabled", "ENABLED");
    world.write(&edited);
    assert_eq!(world.command(&["history", "--verify", "--run", &one]).await.exit, Exit::Failed);
    assert_eq!(world.command(&["history", "--verify", "--run", &other]).await.exit, Exit::Done);
    assert_eq!(world.command(&["history", "--verify", "--run", "no-such-run"]).await.exit, Exit::Input);
    assert_eq!(world.command(&["history", "--verify", "--account", "210987654321"]).await.exit, Exit::Done);
}

/// Nothing found is not nothing wrong.
#[tokio::test]
async fn a_folder_that_is_not_there_is_no_folder_without_records() {
    let world = World::new(&[]).await;
    let run = run_of(&world.records()[0]);
    let state = world.dir.join("state");
    fs::rename(&state, world.dir.join("elsewhere")).unwrap();
    for command in [
        &["history", "--verify"][..],
        &["history", "--run", &run],
        &["history", "--account", "123456789012"],
        &["undo", "--run", &run, "--dry-run"],
    ] {
        let ended = world.command(command).await;
        assert_eq!(ended.exit, Exit::Input, "{command:?}: {}{}", ended.out, ended.err);
        assert!(ended.err.contains("it does not exist"), "{command:?}: {}", ended.err);
        assert!(!state.exists(), "{command:?}");
    }
    let ended = world.command(&["plan", &world.finding]).await;
    assert_eq!(ended.exit, Exit::Done, "{}{}", ended.out, ended.err);
    assert!(!state.exists(), "a plan keeps nothing");
}

#[tokio::test]
async fn the_log_shows_what_the_folder_alone_can_not() {
    let world = World::new(&[]).await;
    let (lines, copy) = (world.records(), world.copy());
    let against = async |lines: &[String]| {
        world.write(lines);
        world.command(&["history", "--verify", "--against", &copy]).await
    };
    let whole = against(&lines).await;
    assert_eq!(whole.exit, Exit::Done, "{}{}", whole.out, whole.err);
    assert!(whole.out.contains("6 records agree; 0 records outside"), "{}", whole.out);

    let removed = against(&[&lines[..2], &lines[4..]].concat()).await;
    assert_eq!(removed.exit, Exit::Failed, "{}", removed.out);
    let run = run_of(&lines[2]);
    assert!(removed.out.contains(&format!("run {run}: the copy holds 2 of its records, the store none")));

    // Written anew, hashes and all.
    let mut prev = String::new();
    let anew: Vec<String> = lines
        .iter()
        .take(2)
        .map(|line| {
            let mut record = redress_router::audit::open(line).unwrap().0;
            record.subject.control = "S3.15".to_owned();
            record.prev.clone_from(&prev);
            let sealed = record.seal().unwrap();
            prev.clone_from(&sealed.hash);
            sealed.line
        })
        .collect();
    world.write(&[&anew[..], &lines[2..]].concat());
    assert_eq!(world.command(&["history", "--verify"]).await.exit, Exit::Done, "one copy can't show it");
    let found = against(&[&anew[..], &lines[2..]].concat()).await;
    assert_eq!(found.exit, Exit::Failed, "{}", found.out);
    let run = run_of(&lines[0]);
    assert!(
        found.out.contains(&format!("run {run} record 1: its hash is not the one in the copy")),
        "{}",
        found.out
    );

    // Another's words, or none, are no copy.
    world.write(&lines);
    for path in [world.finding.clone(), "/no/such/log".to_owned()] {
        let ended = world.command(&["history", "--verify", "--against", &path]).await;
        assert_eq!(ended.exit, Exit::Input, "{}{}", ended.out, ended.err);
        assert!(ended.err.contains("--against: "), "{}", ended.err);
    }
}

#[tokio::test]
async fn a_deployments_table_is_verified_as_well() {
    let at = ["--deployment", "theirs"];
    let world = World::new(&at).await;
    let copy = world.copy();
    let verify =
        async || world.command(&[&["history", "--verify", "--against", &copy], &at[..]].concat()).await;
    let whole = verify().await;
    assert_eq!(whole.exit, Exit::Done, "{}{}", whole.out, whole.err);
    assert!(whole.out.contains("3 runs, 6 records"), "{}", whole.out);
    let dynamodb = aws_sdk_dynamodb::Client::new(&world.emulator.sdk_config(ACCOUNT, REGION));
    let items = dynamodb.scan().table_name("theirs-audit").send().await.unwrap().items.unwrap();
    for item in items {
        let delete = dynamodb.delete_item().table_name("theirs-audit");
        delete.key("pk", item["pk"].clone()).key("sk", item["sk"].clone()).send().await.unwrap();
        let ended = verify().await;
        let run = item["run"].as_s().unwrap();
        assert_eq!(ended.exit, Exit::Failed, "{item:?}: {}{}", ended.out, ended.err);
        assert!(ended.out.contains(&format!("failed: run {run}")), "{item:?}: {}", ended.out);
        dynamodb.put_item().table_name("theirs-audit").set_item(Some(item)).send().await.unwrap();
    }
    assert_eq!(verify().await.exit, Exit::Done);

    // The lists still name a run whose records are all gone: `history` itself must not call it whole.
    let items = dynamodb.scan().table_name("theirs-audit").send().await.unwrap().items.unwrap();
    for item in items.iter().filter(|item| item["pk"].as_s().unwrap().starts_with("run#")) {
        let delete = dynamodb.delete_item().table_name("theirs-audit");
        delete.key("pk", item["pk"].clone()).key("sk", item["sk"].clone()).send().await.unwrap();
    }
    let shown = world.command(&[&["history"], &at[..]].concat()).await;
    assert_eq!(shown.exit, Exit::Failed, "{}", shown.out);
    assert!(shown.out.contains("its records are gone"), "{}", shown.out);
}
