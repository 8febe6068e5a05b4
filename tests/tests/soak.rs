//! The real function under load: thousands of events of all kinds through a queue, with faults on one in twenty of its
//! calls. Nothing is lost, every event ends or comes again, and memory does not grow.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use jiff::Timestamp;
use redress_router::{
    audit::{Stage, check::Trail},
    store::{Store, dynamodb::DynamoDb},
};
use redress_sandbox::{
    emulator::{Call, Emulator, Fault},
    findings::{ComplianceStatus, ControlFinding, Standard},
    securityhub::SecurityHub,
    tables,
};
use redress_tests::{
    deployment::{ACCOUNT, AUDIT_TABLE, REGION, STATE_TABLE, binary},
    http1::{self, Reset},
    runtime_api::{Bootstrap, Function, Outcome},
    sqs_poller::{Poller, Queue, Settings},
};
use serde_json::{Value, json};

const RULES: &str = "
account_limits: { per_hour: 1000000, per_day: 1000000 }
rules:
  - name: s3-versioning
    control: S3.14
    remediator: s3.enable_versioning
    automatic: apply
    limits: { per_hour: 1000000, per_day: 1000000 }
";

/// How many copies of the function run at a time.
const FUNCTIONS: usize = 8;

/// Pseudo-random numbers (splitmix64), the same in every run.
struct Dice(AtomicU64);

impl Dice {
    fn below(&self, limit: u64) -> u64 {
        let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// AWS in this process, with a door for others.
struct Aws {
    emulator: Emulator,
    hub: SecurityHub,
    queue: Queue,
    spoils: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    spoilt: Arc<AtomicUsize>,
    servers: (http1::Server, http1::Server),
}

impl Aws {
    fn start() -> Self {
        let hub = SecurityHub::new();
        let handler = hub.clone();
        let emulator = Emulator::new().with_service(
            "securityhub",
            Arc::new(move |request: http::Request<Bytes>| handler.handle_request(&request).map(Bytes::from)),
        );
        let (spoils, calls, spoilt) =
            (Arc::new(AtomicBool::new(false)), Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let dice = Dice(AtomicU64::new(1));
        emulator.on_call(Arc::new({
            let (spoils, calls, spoilt) = (Arc::clone(&spoils), Arc::clone(&calls), Arc::clone(&spoilt));
            move |_: &Call| {
                if !spoils.load(Ordering::Relaxed) {
                    return None;
                }
                calls.fetch_add(1, Ordering::Relaxed);
                if dice.below(20) > 0 {
                    return None;
                }
                spoilt.fetch_add(1, Ordering::Relaxed);
                // Every one that the SDK tries again after. For what it does not, a lease is waited out, in real time:
                // tests/tests/promises has those, with a clock of its own.
                let faults = [Fault::Throttled, Fault::Failed, Fault::NoConnection, Fault::AnswerLost];
                faults.get(usize::try_from(dice.below(4)).unwrap()).cloned()
            }
        }));
        let settings = Settings {
            name: "redress".to_owned(),
            account: ACCOUNT.to_owned(),
            region: REGION.to_owned(),
            visibility: Duration::from_secs(180),
            // Nothing is given up: whatever does not end would come again for ever, and show.
            max_receive_count: None,
        };
        let queue = Queue::new(settings);
        let door = emulator.clone();
        let server = http1::serve(move |request| {
            let door = door.clone();
            async move { door.answer_to(request).await.ok_or(Reset) }
        });
        let servers = (server.unwrap(), queue.serve().unwrap());
        Self { emulator, hub, queue, spoils, calls, spoilt, servers }
    }

    async fn make_tables(&self) {
        let dynamodb = aws_sdk_dynamodb::Client::new(&self.config());
        for (table, keys) in [(STATE_TABLE, tables::STATE), (AUDIT_TABLE, tables::AUDIT)] {
            tables::make(&dynamodb, table, keys).await.unwrap();
        }
    }

    async fn drop_tables(&self) {
        let dynamodb = aws_sdk_dynamodb::Client::new(&self.config());
        for table in [STATE_TABLE, AUDIT_TABLE] {
            dynamodb.delete_table().table_name(table).send().await.unwrap();
        }
    }

    fn config(&self) -> aws_config::SdkConfig {
        self.emulator.sdk_config(ACCOUNT, REGION)
    }

    fn s3(&self) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::config::Builder::from(&self.config()).force_path_style(true).build();
        aws_sdk_s3::Client::from_conf(config)
    }

    fn store(&self) -> DynamoDb {
        let client = aws_sdk_dynamodb::Client::new(&self.config());
        DynamoDb::new(client, STATE_TABLE, AUDIT_TABLE, 400, Arc::new(Timestamp::now))
    }

    async fn bucket(&self, name: &str) {
        let constraint = aws_sdk_s3::types::BucketLocationConstraint::from(REGION);
        let place = aws_sdk_s3::types::CreateBucketConfiguration::builder();
        let place = place.location_constraint(constraint).build();
        let made = self.s3().create_bucket().bucket(name).create_bucket_configuration(place).send().await;
        made.unwrap();
    }

    async fn function(&self) -> Function {
        let rules =
            redress_tests::process::log_dir().unwrap().join(format!("soak-{}.yaml", std::process::id()));
        std::fs::write(&rules, RULES).unwrap();
        let (url, queue) = (self.servers.0.url(), self.servers.1.url());
        Bootstrap::new(binary("dispatcher").unwrap())
            .aws(&url, ACCOUNT, "secret")
            .place(ACCOUNT, REGION)
            .timeout(Duration::from_secs(30))
            .env("AWS_ENDPOINT_URL_SQS", &queue)
            .env("REDRESS_CEILING", "apply")
            .env("REDRESS_STATE_TABLE", STATE_TABLE)
            .env("REDRESS_AUDIT_TABLE", AUDIT_TABLE)
            .env("REDRESS_WRITE_BACK", "on")
            .env("REDRESS_EVENT_BUS", "default")
            .env("REDRESS_QUEUE_URL", format!("{queue}/{ACCOUNT}/redress"))
            .env("REDRESS_DEAD_LETTER_URL", format!("{queue}/{ACCOUNT}/redress-dead"))
            .env("REDRESS_RULES", rules)
            .start()
            .await
            .unwrap()
    }
}

fn finding(bucket: &str, number: u32) -> ControlFinding {
    ControlFinding::new("S3.14")
        .resource("AwsS3Bucket", &format!("arn:aws:s3:::{bucket}"))
        .account(ACCOUNT)
        .region(REGION)
        .number(number)
}

/// The events that are sent, and what is expected of them.
#[derive(Default)]
struct Sent {
    number: u32,
    /// By event id, in the order of sending.
    relevant: Vec<(String, Value)>,
    buckets: Vec<String>,
    /// Event ids that must end in this stage.
    ends: BTreeMap<String, Stage>,
    malformed: usize,
    kinds: BTreeMap<&'static str, usize>,
}

impl Sent {
    fn count(&mut self, kind: &'static str) {
        *self.kinds.entry(kind).or_default() += 1;
    }

    /// Forgets what records are looked for.
    fn expire(&mut self) {
        self.relevant.clear();
        self.buckets.clear();
        self.ends.clear();
    }

    async fn one(&mut self, aws: &Aws, dice: &Dice) {
        self.number += 1;
        let number = self.number;
        let bucket = format!("soak-{number}");
        let import = |finding: Value| aws.hub.import_as_aws([finding]).unwrap().remove(0);
        let id = |event: &Value| event["id"].as_str().unwrap().to_owned();
        match dice.below(100) {
            0..12 => {
                self.count("relevant");
                aws.bucket(&bucket).await;
                let event = import(finding(&bucket, number).asff());
                self.ends.insert(id(&event), Stage::Verified);
                aws.queue.send(event.to_string());
                self.relevant.push((id(&event), event));
                self.buckets.push(bucket);
            }
            // The same event again, or another finding of the same bucket.
            12..22 if !self.relevant.is_empty() => {
                self.count("duplicate");
                let last = u64::try_from(self.relevant.len()).unwrap();
                let before = usize::try_from(dice.below(last.min(20))).unwrap();
                let event = &self.relevant[self.relevant.len() - 1 - before].1;
                aws.queue.send(event.to_string());
            }
            22..26 if !self.buckets.is_empty() => {
                self.count("other standard");
                let last = u64::try_from(self.buckets.len()).unwrap();
                let bucket = self.buckets
                    [self.buckets.len() - 1 - usize::try_from(dice.below(last.min(20))).unwrap()]
                .clone();
                let standard = Standard::ALL[usize::try_from(dice.below(3)).unwrap()];
                aws.queue.send(import(finding(&bucket, number).asff_unconsolidated(standard)).to_string());
            }
            26..28 => {
                self.count("forged");
                let mut event = import(finding(&bucket, number).asff());
                event["detail"]["findings"][0]["ProductArn"] =
                    json!(format!("arn:aws:securityhub:{REGION}:{ACCOUNT}:product/{ACCOUNT}/default"));
                self.ends.insert(id(&event), Stage::Refused);
                aws.queue.send(event.to_string());
            }
            28..30 => {
                self.count("gone");
                let event = import(finding(&bucket, number).asff());
                self.ends.insert(id(&event), Stage::Skipped);
                aws.queue.send(event.to_string());
            }
            30..33 => {
                self.count("malformed");
                self.malformed += 1;
                let event = import(finding(&bucket, number).asff());
                let mut headless = event.clone();
                headless["detail"]["findings"][0].as_object_mut().unwrap().remove("Resources");
                let text = match dice.below(4) {
                    0 => event.to_string()[..900].to_owned(),
                    1 => headless.to_string(),
                    2 => "[".repeat(100_000),
                    _ => event.to_string().replacen("\"Workflow\"", "\"Workflow\":{},\"Workflow\"", 1),
                };
                aws.queue.send(text);
            }
            other => {
                self.count("irrelevant");
                let finding = finding(&bucket, number);
                let event = match other % 5 {
                    0 => finding.status(ComplianceStatus::Passed).asff(),
                    1 => finding.workflow("SUPPRESSED").asff(),
                    2 => finding.archived().asff(),
                    3 => ControlFinding::new("EC2.19")
                        .resource(
                            "AwsEc2SecurityGroup",
                            "arn:aws:ec2:eu-west-1:123456789012:security-group/sg-01234567",
                        )
                        .account(ACCOUNT)
                        .region(REGION)
                        .number(number)
                        .asff(),
                    _ => finding.sample().asff(),
                };
                aws.queue.send(import(event).to_string());
            }
        }
    }
}

/// Sends so many events and handles them until none is left.
async fn handle(many: usize, aws: &Aws, sent: &mut Sent, poller: &Poller) -> usize {
    let dice = Dice(AtomicU64::new(u64::from(sent.number) + 7));
    let mut retries = 0;
    for batch in (0..many).step_by(400) {
        aws.spoils.store(false, Ordering::Relaxed);
        for _ in batch..many.min(batch + 400) {
            sent.one(aws, &dice).await;
        }
        // What came of importing them has been sent above, or not at all.
        aws.hub.events();
        aws.spoils.store(true, Ordering::Relaxed);
        loop {
            let round = poller.poll().await.unwrap();
            for batch in &round {
                assert!(matches!(batch.answer.outcome, Outcome::Response(_)), "{:?}", batch.answer);
                retries += batch.failed.len();
            }
            // What the function writes to findings is told as AWS tells it.
            for event in aws.hub.events() {
                sent.count("echo");
                aws.queue.send(event.to_string());
            }
            if round.is_empty() && !aws.queue.advance_to_next() {
                break;
            }
        }
        aws.emulator.forget_calls();
    }
    aws.spoils.store(false, Ordering::Relaxed);
    retries
}

fn resident(functions: &[Function]) -> Vec<u64> {
    functions.iter().map(|function| function.usage().unwrap().memory).collect()
}

#[tokio::test]
async fn thousands_of_events_are_handled_and_none_is_lost() {
    let long = std::env::var_os("REDRESS_LONG").is_some();
    // How many rounds of so many events, and after which of them memory must be what it stays.
    let (rounds, many, warm_up) = if long { (100, 1_000, 10) } else { (4, 400, 1) };
    let aws = Aws::start();
    let mut functions = Vec::new();
    for _ in 0..FUNCTIONS {
        functions.push(aws.function().await);
    }
    let poller = Poller::new(&aws.queue, functions.clone());
    let mut sent = Sent::default();
    let (mut retries, mut warm) = (0, Vec::new());
    let begun = Instant::now();
    for round in 1..=rounds {
        aws.make_tables().await;
        retries += handle(many, &aws, &mut sent, &poller).await;
        check(&aws, &sent).await;
        let resident = resident(&functions);
        println!(
            "{} events in {:.0?}, {:?}; {} calls, {} of them spoilt; {retries} given back; resident {resident:?}",
            sent.number,
            begun.elapsed(),
            sent.kinds,
            aws.calls.load(Ordering::Relaxed),
            aws.spoilt.load(Ordering::Relaxed),
        );
        if round == warm_up {
            warm.clone_from(&resident);
        }
        // Records and findings expire, and so does what they are compared with: for each transaction the emulator copies
        // a table, and for each question it looks at all findings.
        sent.expire();
        aws.hub.reset();
        aws.drop_tables().await;

        // One process each from the first event to the last, and none grows.
        for ((function, warm), now) in functions.iter().zip(&warm).zip(resident) {
            assert_eq!(function.starts(), 1);
            assert!(now < warm + (6 << 20), "{warm} bytes in round {warm_up}, {now} in round {round}");
        }
    }
}

/// Nothing of what was sent is lost, and nothing was done twice.
async fn check(aws: &Aws, sent: &Sent) {
    // No event without an end: the queue is empty, and only what can't be read was put aside.
    assert_eq!(aws.queue.messages(), []);
    assert_eq!(aws.queue.dead_letters().len(), sent.malformed);

    // No record is lost: every chain is whole and has its end, and each event that had to leave one did.
    let store = aws.store();
    let trail = Trail::of(&store).await.unwrap();
    assert_eq!(trail.faults, []);
    let mut ends: BTreeMap<&str, Vec<Stage>> = BTreeMap::new();
    let mut verified: BTreeMap<String, usize> = BTreeMap::new();
    for run in trail.runs.values() {
        assert!(run.ended());
        let (last, _) = run.records.values().next_back().unwrap();
        if let Some(event) = &last.subject.event {
            ends.entry(event).or_default().push(last.stage);
        }
        if last.stage == Stage::Verified {
            *verified.entry(last.subject.resource.as_ref().unwrap().id.clone()).or_default() += 1;
        }
    }
    let relevant: BTreeSet<&String> = sent.relevant.iter().map(|(id, _)| id).collect();
    for (event, stage) in &sent.ends {
        let found = ends.get(event.as_str()).unwrap_or_else(|| panic!("no record of {event}, {stage:?}"));
        // Of two findings of one bucket, whichever came first has fixed it, or was at it.
        let as_well = relevant.contains(event)
            && found.iter().any(|end| matches!(end, Stage::Compliant | Stage::Skipped));
        assert!(found.contains(stage) || as_well, "{event}: {found:?}, not {stage:?}");
    }
    // Each bucket was fixed, once.
    for bucket in &sent.buckets {
        let status = aws.s3().get_bucket_versioning().bucket(bucket).send().await.unwrap().status;
        assert_eq!(status.map(|status| status.as_str().to_owned()).as_deref(), Some("Enabled"), "{bucket}");
        assert_eq!(verified.get(bucket), Some(&1), "{bucket}");
    }
    assert_eq!(store.scan("lease#").await.unwrap(), []);
}
