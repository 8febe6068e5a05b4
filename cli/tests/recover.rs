//! `redress recover`, on a run whose process was ended between its intent and its change.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use jiff::{SignedDuration, Timestamp};
use redress::Exit;
use redress_router::{
    audit::{Sealed, open},
    engine::lease_item,
    rules::RuleSet,
    store::{Commit, Expect, Op, Store, dynamodb::DynamoDb, file::File},
};
use redress_sandbox::{
    account::{Furnished, furnish},
    emulator::{Call, Emulator, Fault},
    findings::ControlFinding,
    securityhub::SecurityHub,
    tables,
};
use serde_json::{Value, json};

use self::common::{ACCOUNT, Dir, Ended, REGION, applying, command, function};

struct World {
    emulator: Emulator,
    made: Furnished,
    dir: Dir,
}

impl World {
    async fn new() -> Self {
        let hub = SecurityHub::new();
        let emulator = Emulator::new().with_service(
            "securityhub",
            Arc::new(move |request| hub.handle_request(&request).map(Into::into)),
        );
        let made = furnish(&emulator, ACCOUNT, REGION).await.unwrap();
        Self { emulator, made, dir: Dir::new() }
    }

    async fn command(&self, args: &[&str]) -> Ended {
        command(&self.emulator, &self.dir, args, None).await
    }

    fn folder(&self) -> File {
        File::open(self.dir.join("state")).unwrap()
    }

    /// The two tables of a deployment.
    async fn deployment(&self, name: &str) -> DynamoDb {
        let client = Client::new(&self.emulator.sdk_config(ACCOUNT, REGION));
        let [state, audit] = ["state", "audit"].map(|table| format!("{name}-{table}"));
        tables::make(&client, &state, tables::STATE).await.unwrap();
        tables::make(&client, &audit, tables::AUDIT).await.unwrap();
        DynamoDb::new(client, state, audit, 400, Arc::new(Timestamp::now))
    }

    fn function(&self, deployment: &str, variables: &[(&str, &str)]) {
        function(&self.emulator, deployment, variables);
    }

    /// Leaves behind what a run does whose process is ended right after its intent; its lease runs out in so many
    /// seconds. Returns the run.
    async fn cut_off(&self, store: &dyn Store, lease: i64) -> String {
        let finding = ControlFinding::new("S3.14").account(ACCOUNT).region(REGION);
        let finding = finding.resource("AwsS3Bucket", &self.made.unversioned.arn);
        let file = self.dir.join("finding.json");
        std::fs::write(&file, finding.asff().to_string()).unwrap();
        // A run whose change is denied, with a folder of its own; its intent is all that is taken over.
        let dir = Dir::new();
        let denied = |call: &Call| (call.operation == "PutBucketVersioning").then_some(Fault::Denied);
        self.emulator.on_call(Arc::new(denied));
        let file = file.display().to_string();
        let ended = command(&self.emulator, &dir, &["apply", &file, "--yes"], None).await;
        assert_eq!(ended.exit, Exit::Denied, "{}{}", ended.out, ended.err);
        self.emulator.clear_hook();
        let records = std::fs::read_to_string(dir.join("state/audit.jsonl")).unwrap();
        let line = records.lines().next().unwrap().to_owned();
        let (record, hash) = open(&line).unwrap();
        let resource = record.subject.resource.clone().unwrap();
        let run = record.run.clone();
        let until = Timestamp::now() + SignedDuration::from_secs(lease);
        let op = Op::Put {
            key: lease_item(&resource),
            body: json!({ "run": run, "until": until, "work": "", "memo": "", "resource": resource }),
            etag: run.clone(),
            expect: Expect::Absent,
            expires: None,
        };
        let commit = Commit { ops: vec![op], records: vec![(record, Sealed { line, hash })] };
        store.commit(&commit).await.unwrap();
        self.emulator.forget_calls();
        run
    }

    async fn versioning(&self) -> Option<String> {
        let s3 = aws_sdk_s3::Client::new(&self.emulator.sdk_config(ACCOUNT, REGION));
        let found = s3.get_bucket_versioning().bucket(&self.made.unversioned.name).send().await.unwrap();
        found.status.map(|status| status.as_str().to_owned())
    }

    /// Calls that could have changed a bucket or a table.
    fn writes(&self) -> Vec<String> {
        let of = |service: &str| matches!(service, "s3" | "dynamodb");
        let writes = self.emulator.calls().into_iter().filter(|call| call.is_write() && of(&call.service));
        writes.map(|call| call.operation).collect()
    }

    /// State and records in the folder.
    fn files(&self) -> [String; 2] {
        ["state/state.json", "state/audit.jsonl"]
            .map(|name| std::fs::read_to_string(self.dir.join(name)).unwrap())
    }
}

fn json_of(ended: &Ended) -> Value {
    serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{}\n{}", ended.out, ended.err))
}

#[tokio::test]
async fn nothing_is_gone_on_with_before_it_was_shown_and_agreed_to() {
    let world = World::new().await;
    let run = world.cut_off(&world.folder(), -60).await;
    let before = world.files();
    let resource = format!("aws/{ACCOUNT}/{REGION}/AwsS3Bucket/{}", world.made.unversioned.name);

    let shown = world.command(&["recover", "--dry-run"]).await;
    assert_eq!((shown.exit, shown.err.as_str()), (Exit::Done, ""), "{}", shown.out);
    for part in [
        "S3.14  cut off",
        &resource,
        "fix: its lease ran out at ",
        "~ status: never -> enabled",
        &format!("run {run}, by s3.enable_versioning, rule s3-enable-versioning, risk "),
        "Recover: 1 cut off, 0 under way, 0 failed.",
    ] {
        assert!(shown.out.contains(part), "{part}: {}", shown.out);
    }
    let document = json_of(&world.command(&["recover", "--dry-run", "--format", "json"]).await);
    assert_eq!(document["schema"], "redress.recover/1");
    assert_eq!(document["summary"], json!({ "planned": 1 }));
    let item = &document["items"][0];
    assert_eq!(
        [&item["outcome"], &item["run"], &item["control"], &item["resource"], &item["verb"]],
        ["planned", &run, "S3.14", &resource, "fix"]
    );
    assert!(item["begun"].is_string() && item["until"].is_string(), "{item:#}");

    let mute = world.command(&["recover", "--format", "json"]).await;
    assert_eq!(mute.exit, Exit::Input, "{}", mute.out);
    assert!(mute.err.contains("--yes or --dry-run"), "{}", mute.err);
    let unasked = world.command(&["recover"]).await;
    assert_eq!(unasked.exit, Exit::Refused, "{}", unasked.out);
    assert!(unasked.out.contains(&run) && unasked.err.contains("nobody can be asked"), "{}", unasked.err);
    let declined = command(&world.emulator, &world.dir, &["recover"], Some("y\n")).await;
    assert_eq!(declined.exit, Exit::Refused, "{}", declined.out);
    assert!(declined.err.contains("Go on with this run?"), "{}", declined.err);
    assert!(declined.out.contains("Nothing was changed."), "{}", declined.out);
    assert_eq!((world.files(), world.writes(), world.versioning().await), (before, vec![], None));

    let agreed = command(&world.emulator, &world.dir, &["recover"], Some("yes\n")).await;
    assert_eq!(agreed.exit, Exit::Done, "{}{}", agreed.out, agreed.err);
    assert!(agreed.out.contains("fixed, and seen fixed"), "{}", agreed.out);
    assert!(agreed.out.contains("Recover: 1 fixed, "), "{}", agreed.out);
    assert_eq!(world.versioning().await.as_deref(), Some("Enabled"));
    assert_eq!(world.writes(), ["PutBucketVersioning"]);
    let again = world.command(&["recover"]).await;
    assert_eq!(again.exit, Exit::Done, "{}", again.err);
    assert!(again.out.contains("No run was cut off"), "{}", again.out);
}

#[tokio::test]
async fn a_run_that_is_under_way_is_told_and_left_alone() {
    let world = World::new().await;
    let run = world.cut_off(&world.folder(), 600).await;
    let before = world.files();
    for args in [&["recover"][..], &["recover", "--yes"], &["recover", "--dry-run"]] {
        let told = world.command(args).await;
        assert_eq!((told.exit, told.err.as_str()), (Exit::Done, ""), "{args:?}: {}", told.out);
        assert!(told.out.contains("S3.14  under way") && told.out.contains(&run), "{args:?}: {}", told.out);
        assert!(told.out.contains("0 cut off, 1 under way"), "{args:?}: {}", told.out);
    }
    let document = json_of(&world.command(&["recover", "--dry-run", "--format", "json"]).await);
    assert_eq!(document["items"][0]["outcome"], "skipped");
    let settled = json_of(&world.command(&["recover", "--yes", "--format", "json"]).await);
    assert_eq!(settled["items"], json!([]));
    assert_eq!((world.files(), world.versioning().await), (before, None));
}

/// Whose records can't be believed is not gone on with, and nobody is asked about it.
#[tokio::test]
async fn a_run_whose_records_were_altered_is_told_as_failed() {
    let world = World::new().await;
    let run = world.cut_off(&world.folder(), -60).await;
    let audit = world.dir.join("state/audit.jsonl");
    let altered = std::fs::read_to_string(&audit).unwrap().replace("\"never\"", "\"suspended\"");
    std::fs::write(&audit, altered).unwrap();
    for args in [&["recover"][..], &["recover", "--dry-run"]] {
        let told = world.command(args).await;
        assert_eq!(told.exit, Exit::Failed, "{args:?}: {}{}", told.out, told.err);
        assert!(told.out.contains(&run) && told.out.contains("1 failed"), "{args:?}: {}", told.out);
    }
    assert_eq!(world.versioning().await, None);
}

#[tokio::test]
async fn a_deployments_run_is_gone_on_with_by_its_own_rules_or_not_at_all() {
    let world = World::new().await;
    let store = world.deployment("team").await;
    world.cut_off(&store, -60).await;
    let hash = RuleSet::builtin().unwrap().hash;
    let own: &str = &hash;
    let at = ["recover", "--yes", "--deployment", "team"];
    let refused = async |args: &[&str], exit: Exit, parts: &[&str]| {
        let ended = world.command(args).await;
        assert_eq!(ended.exit, exit, "{args:?}: {}{}", ended.out, ended.err);
        for part in parts {
            assert!(ended.err.contains(part), "{args:?}: {part}: {}", ended.err);
        }
        assert_eq!((world.writes(), world.versioning().await), (vec![], None), "{args:?}");
    };

    refused(&at, Exit::Input, &["there is no function `team-dispatcher`"]).await;
    world.function("team", &[("REDRESS_CEILING", "apply"), ("REDRESS_RULES_HASH", "0123456789abcdef")]);
    refused(&at, Exit::Input, &["0123456789abcdef", own, "--rules"]).await;
    world.function("team", &[("REDRESS_CEILING", "apply")]);
    refused(&at, Exit::Input, &["REDRESS_RULES_HASH", own, "--rules"]).await;
    world.function("team", &[("REDRESS_CEILING", "aply"), ("REDRESS_RULES_HASH", own)]);
    refused(&at, Exit::Input, &["REDRESS_CEILING", "`aply`"]).await;
    world.function("team", &[("REDRESS_CEILING", "apply"), ("REDRESS_RULES_HASH", own)]);
    world.emulator.on_call(Arc::new(|call: &Call| (call.service == "lambda").then_some(Fault::Denied)));
    refused(&at, Exit::Denied, &["lambda:GetFunctionConfiguration"]).await;
    let named = ["--state-table", "team-state", "--audit-table", "team-audit"];
    let by_tables = [&["recover", "--yes"], &named[..]].concat();
    refused(&by_tables, Exit::Input, &["--rules", "--deployment"]).await;
    // To show what is open, neither the function nor the deployment's rules are needed.
    for place in [&["--deployment", "team"][..], &named[..]] {
        let shown = world.command(&[&["recover", "--dry-run"], place].concat()).await;
        assert_eq!((shown.exit, shown.err.as_str()), (Exit::Done, ""), "{place:?}: {}", shown.out);
        assert!(shown.out.contains("S3.14  cut off"), "{place:?}: {}", shown.out);
        assert_eq!((world.writes(), world.versioning().await), (vec![], None), "{place:?}");
    }
    world.emulator.clear_hook();

    let done = world.command(&at).await;
    assert_eq!(done.exit, Exit::Done, "{}{}", done.out, done.err);
    assert!(done.out.contains("Recover: 1 fixed, "), "{}", done.out);
    assert_eq!(world.versioning().await.as_deref(), Some("Enabled"));
    assert!(store.scan("lease#").await.unwrap().is_empty());
}

/// Whoever applies something else has not been shown it, nor asked.
#[tokio::test]
async fn no_other_command_goes_on_with_a_deployments_run() {
    let world = World::new().await;
    let store = world.deployment("team").await;
    let run = world.cut_off(&store, -60).await;
    applying(&world.emulator, "team");
    let file = world.dir.join("finding.json").display().to_string();
    let refused = world.command(&["apply", &file, "--yes", "--deployment", "team"]).await;
    assert_eq!(refused.exit, Exit::Refused, "{}{}", refused.out, refused.err);
    let why = format!("run {run} was cut off here, and is gone on with by `redress recover` alone");
    assert!(refused.out.contains(&why), "{}", refused.out);
    assert_eq!(world.versioning().await, None);
    let done = world.command(&["recover", "--yes", "--deployment", "team"]).await;
    assert_eq!(done.exit, Exit::Done, "{}{}", done.out, done.err);
    assert_eq!(world.versioning().await.as_deref(), Some("Enabled"));
}

#[tokio::test]
async fn no_run_of_a_deployment_is_gone_on_with_beyond_its_ceiling() {
    let world = World::new().await;
    let hash = RuleSet::builtin().unwrap().hash;
    for ceiling in ["plan", ""] {
        let name = format!("ceiling-{ceiling}x");
        let store = world.deployment(&name).await;
        world.cut_off(&store, -60).await;
        world.function(&name, &[("REDRESS_CEILING", ceiling), ("REDRESS_RULES_HASH", &*hash)]);
        let done = world.command(&["recover", "--yes", "--deployment", &name]).await;
        assert!(done.out.contains("the deployment's ceiling"), "{}{}", done.out, done.err);
        assert!(done.out.contains("1 skipped"), "{}", done.out);
        assert_eq!(world.versioning().await, None, "{}", done.out);
        assert!(store.scan("lease#").await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn two_tables_are_gone_on_with_by_the_rules_that_are_given() {
    let world = World::new().await;
    let store = world.deployment("team").await;
    world.cut_off(&store, -60).await;
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/../rules/default.yaml");
    let named = ["--state-table", "team-state", "--audit-table", "team-audit", "--rules", rules];
    let done = world.command(&[&["recover", "--yes"], &named[..]].concat()).await;
    assert_eq!(done.exit, Exit::Done, "{}{}", done.out, done.err);
    assert_eq!(world.versioning().await.as_deref(), Some("Enabled"));
}
