//! One resource in the embedded emulator, and the real engine.

use std::{cell::RefCell, collections::BTreeMap, sync::Arc, time::Duration};

use aws_config::SdkConfig;
use jiff::Timestamp;
use redress_remediators::{BoxFuture, Connection, REGISTRY, Result};
use redress_router::{
    audit::{Asker, Stage, Verb},
    budget::Budget,
    engine::{Connect, ControlParams, Done, Engine, Outcome, Purpose, Request, Settings, told},
    event::{Decoded, decode_many},
    rules::{Mode, RuleSet},
    store::memory::Memory,
};
use redress_sandbox::{
    emulator::{Call, Emulator},
    findings::ControlFinding,
};
use tokio::time::Instant;

pub const ACCOUNT: &str = "123456789012";
pub const REGION: &str = "eu-west-1";
pub const BUCKET: &str = "the-bucket";
pub const BUCKET_ARN: &str = "arn:aws:s3:::the-bucket";

/// A control, what its finding says of its parameters, and the rule for it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub control: &'static str,
    pub parameters: Vec<(&'static str, Vec<String>)>,
    pub remediator: &'static str,
    /// In YAML's flow style.
    pub params: String,
}

struct InProcess(Emulator);

impl Connect for InProcess {
    fn connect<'a>(&'a self, to: &'a Purpose<'a>) -> BoxFuture<'a, Result<Connection>> {
        let config = self.0.sdk_config(&to.key.account, &to.key.region);
        Box::pin(async move { Ok(Connection { config, path_style: true, pace: None }) })
    }

    fn control_params<'a>(
        &'a self,
        _: &'a Connection,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Option<ControlParams>>> {
        Box::pin(async { Ok(Some(BTreeMap::new())) })
    }
}

pub struct World {
    emulator: Emulator,
    pub config: SdkConfig,
}

impl World {
    pub fn new() -> Self {
        let emulator = Emulator::new();
        let config = emulator.sdk_config(ACCOUNT, REGION);
        Self { emulator, config }
    }

    pub fn s3(&self) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::config::Builder::from(&self.config).force_path_style(true).build();
        aws_sdk_s3::Client::from_conf(config)
    }

    pub fn ec2(&self) -> aws_sdk_ec2::Client {
        aws_sdk_ec2::Client::new(&self.config)
    }

    pub async fn bucket(&self) {
        let constraint = aws_sdk_s3::types::BucketLocationConstraint::from(REGION);
        let place = aws_sdk_s3::types::CreateBucketConfiguration::builder();
        let place = place.location_constraint(constraint).build();
        self.s3().create_bucket().bucket(BUCKET).create_bucket_configuration(place).send().await.unwrap();
    }

    /// An engine that knows nothing of what was before but its records.
    pub fn engine(&self, asked: &Asked) -> Engine {
        let rules = format!(
            "rules:\n  - name: generated\n    control: {}\n    remediator: {}\n    params: {}\n    \
             on_request: apply\n    max_risk: loss\n",
            asked.control, asked.remediator, asked.params,
        );
        Engine {
            registry: REGISTRY,
            rules: RuleSet::parse(&[("rules.yaml", &rules)], None, REGISTRY)
                .unwrap_or_else(|error| panic!("{rules}{error}")),
            store: Arc::new(Memory::default()),
            connect: Arc::new(InProcess(self.emulator.clone())),
            activity: None,
            budget: Arc::new(Budget::new(Arc::new(Memory::default()), Arc::new(Timestamp::now))),
            settings: Settings { ceiling: Mode::Apply, ..Settings::default() },
            clock: Arc::new(Timestamp::now),
        }
    }

    /// Asks as a person does; gives the outcome and the writes that it took.
    pub async fn ask(
        &self,
        engine: &Engine,
        verb: Verb,
        asked: &Asked,
        kind: &str,
        id: &str,
    ) -> (Outcome, Vec<Call>) {
        let mut finding =
            ControlFinding::new(asked.control).resource(kind, id).account(ACCOUNT).region(REGION);
        for (name, values) in &asked.parameters {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            finding = finding.parameter(name, &values);
        }
        let finding = match decode_many(finding.asff().to_string().as_bytes()).unwrap().remove(0) {
            Decoded::Finding(finding) => *finding,
            other => panic!("{other:?}"),
        };
        let request = Request {
            finding,
            verb,
            asked_by: Asker::Cli { caller: "arn:aws:iam::123456789012:user/tester".to_owned() },
            event: format!("{verb:?}"),
            asked_at: None,
            only_rule: None,
            only_resource: None,
            agreed: None,
            deadline: Instant::now() + Duration::from_secs(120),
            dry_run: false,
            record: true,
            listed: true,
            after: Vec::new(),
        };
        self.emulator.forget_calls();
        let mut done = engine.handle(&request).await;
        let Some(Done::Outcome(outcome)) = done.pop() else { panic!("{done:?}") };
        if let Some(commit) = told(&outcome) {
            engine.store.commit(&commit).await.unwrap();
        }
        (*outcome, self.emulator.calls().into_iter().filter(Call::is_write).collect())
    }
}

/// A clock that stands still unless somebody waits, and everything on this thread.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.unwrap().block_on(future)
}

/// How often each outcome came: a property that only ever sees one of them says little.
#[derive(Debug, Default)]
pub struct Seen(RefCell<BTreeMap<&'static str, u32>>);

impl Seen {
    pub fn count(&self, stage: Stage) {
        *self.0.borrow_mut().entry(stage.as_str()).or_default() += 1;
    }

    pub fn had(&self, stages: &[Stage]) {
        println!("{:?}", self.0.borrow());
        for stage in stages {
            assert!(self.0.borrow().contains_key(stage.as_str()), "no case of {stage:?}: {self:?}");
        }
    }
}
