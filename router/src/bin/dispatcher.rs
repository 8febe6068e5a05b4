//! The Lambda function that handles findings: packed as `bootstrap`.
//!
//! A cold start reads settings and rules and makes no client: those come when they are first needed.

use std::{process::ExitCode, sync::Arc, time::Duration};

use jiff::Timestamp;
use lambda_runtime::{LambdaEvent, service_fn};
use redress_remediators::{REGISTRY, cognito::USER_UPDATE};
use redress_router::{
    activity::ActivityTable,
    aws::{Accounts, function_config, partition_of},
    budget::Budget,
    config::Config,
    engine::{Activity, Engine, Settings},
    event::shown,
    report::Reporter,
    service::Service,
    store::{Clock, Store, dynamodb::DynamoDb, memory::Memory},
};
use serde_json::value::RawValue;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::OnceCell,
    time::Instant,
};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// Kept from the deadline that Lambda sets: what has begun must end, and be recorded, before it.
const MARGIN: Duration = Duration::from_millis(500);

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let given = std::env::var("REDRESS_LOG").ok();
    let level: Option<LevelFilter> = given.as_deref().and_then(|level| level.parse().ok());
    // Records are logged whatever the level: the log is their second copy.
    let filter = Targets::new()
        .with_default(level.unwrap_or(LevelFilter::INFO))
        .with_target("audit", LevelFilter::INFO);
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true);
    tracing_subscriber::registry().with(lines).with(filter).init();
    if let (Some(given), None) = (&given, level) {
        tracing::error!(given = shown(given), "REDRESS_LOG is no level: the function can't start");
        return ExitCode::FAILURE;
    }
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the function can't start");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Failure> {
    let config = Config::from_env()?;
    let rules = config.load_rules()?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        rules = rules.rules.len(),
        rules_hash = %rules.hash,
        ceiling = config.ceiling.as_str(),
        "started"
    );
    let parts = Arc::new((config, rules));
    let service: Arc<OnceCell<Arc<Service>>> = Arc::default();
    let handler = service_fn(move |event: LambdaEvent<Box<RawValue>>| {
        let (parts, service) = (Arc::clone(&parts), Arc::clone(&service));
        async move {
            let service = service.get_or_try_init(async || assemble(&parts.0, &parts.1)).await?;
            let left = event.context.deadline().duration_since(std::time::SystemTime::now());
            let deadline = Instant::now() + left.unwrap_or_default().saturating_sub(MARGIN);
            service
                .invoke(&event.payload, &event.context.invoked_function_arn, deadline)
                .await
                .map_err(Failure::from)
        }
    });
    // Lambda sends SIGTERM between invocations, when it takes the environment down: nothing is under way.
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        ended = lambda_runtime::run(handler) => ended,
        _ = terminated.recv() => {
            tracing::info!("terminated");
            Ok(())
        }
    }
}

fn assemble(config: &Config, rules: &redress_router::rules::RuleSet) -> Result<Arc<Service>, Failure> {
    let aws = function_config(&config.roots)?;
    let region = aws.region().map(ToString::to_string).ok_or("AWS_REGION is not set")?;
    let clock: Clock = Arc::new(Timestamp::now);
    let store: Arc<dyn Store> = match &config.tables {
        Some(tables) => Arc::new(DynamoDb::new(
            aws_sdk_dynamodb::Client::new(&aws),
            &tables.state,
            &tables.audit,
            tables.retention_days,
            Arc::clone(&clock),
        )),
        None => Arc::new(Memory::with_clock(Arc::clone(&clock))),
    };
    let activity = config
        .activity_table
        .as_ref()
        .map(|table| Arc::new(ActivityTable::new(&aws, table, Arc::clone(&store), Arc::clone(&clock))));
    let budget = Budget::new(Arc::clone(&store), Arc::clone(&clock)).share(&USER_UPDATE, config.user_updates);
    let engine = Engine {
        registry: REGISTRY,
        rules: rules.clone(),
        store,
        activity: activity.clone().map(|table| table as Arc<dyn Activity>),
        budget: Arc::new(budget),
        connect: Arc::new(Accounts::new(aws.clone(), config.member_role.clone())),
        settings: Settings {
            ceiling: config.ceiling,
            partition: partition_of(&region).to_owned(),
            settle: config.settle,
            sign_in_window: config.sign_in_window,
            ..Settings::default()
        },
        clock,
    };
    let reporter = Reporter::new(aws.clone(), config.channels.clone());
    Ok(Arc::new(Service::new(engine, reporter, config.clone(), aws, activity)))
}
