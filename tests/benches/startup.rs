//! What a process costs until its first answer and after it: to the first poll and to the first answer,
//! processor time per warm event, peak memory.
//!
//! The dispatcher, beside the Python function of the AWS article, which makes one unverified call: runs are
//! interleaved, the figures are medians, and ratios of medians. The sign-in recorder, beside its limits: its
//! users wait for it. All speak to ministack.
//!
//! `cargo bench --profile dev --bench startup [-- [FUNCTION] [ROUNDS] [--built DIR]]`: the functions are built for
//! release, the harness need not be. What `cargo xtask package` has built, which is what is deployed, is measured
//! with `--built target/lambda/ARCHITECTURE`.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use redress_sandbox::{findings::ControlFinding, tables};
use redress_tests::{
    background,
    deployment::{ACCOUNT, Deployment, REGION},
    error::{Context, Error, Result},
    process::target_dir,
    runtime_api::{Bootstrap, Function},
    venv::{self, Kind},
};
use serde_json::{Value, json};

const FUNCTIONS: [&str; 2] = ["sign-in-recorder", "dispatcher"];
/// The workspace.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const WARM_EVENTS: usize = 50;
const ACTIVITY_TABLE: &str = "redress-activity";

fn main() {
    let rounds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(15);
    let only = std::env::args().find(|argument| FUNCTIONS.contains(&argument.as_str()));
    let built = std::env::args().skip_while(|argument| argument != "--built").nth(1).map(PathBuf::from);
    let ended = background::block_on(bench(rounds, only, built.as_deref())).and_then(|ended| ended);
    if let Err(error) = ended {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

#[derive(Default)]
struct Figures {
    first_poll: Vec<f64>,
    first_answer: Vec<f64>,
    warm_cpu: Vec<f64>,
    memory: Vec<f64>,
}

async fn bench(rounds: usize, only: Option<String>, built: Option<&Path>) -> Result<()> {
    let wanted = FUNCTIONS.into_iter().filter(|name| only.as_deref().is_none_or(|only| only == *name));
    let mut binaries = Vec::new();
    for name in wanted {
        let binary = match built {
            // Cargo runs a benchmark in the folder of its crate.
            Some(dir) => Path::new(ROOT).join(dir).join(name).join("bootstrap"),
            None => build(name)?,
        };
        binaries.push((name, binary));
    }
    let deployment = Deployment::start().await?;
    for (name, binary) in binaries {
        if name == "dispatcher" {
            bench_dispatcher(&deployment, &binary, rounds).await?;
        } else {
            bench_recorder(&deployment, &binary, rounds).await?;
        }
    }
    Ok(())
}

/// Builds a function as it is deployed.
fn build(name: &str) -> Result<PathBuf> {
    let built = Command::new("cargo")
        .args(["build", "--release", "--bin", name])
        .current_dir(ROOT)
        .status()
        .context(|| "cargo build".to_owned())?;
    if !built.success() {
        return Err(Error::new(format!("`{name}` does not build")));
    }
    Ok(target_dir().join("release").join(name))
}

fn size(binary: &Path) -> Result<f64> {
    Ok(mega(std::fs::metadata(binary).context(|| "the binary".to_owned())?.len()))
}

async fn bench_recorder(deployment: &Deployment, binary: &Path, rounds: usize) -> Result<()> {
    make_activity_table(deployment).await?;
    let mut figures = Figures::default();
    for round in 0..rounds {
        // Users of their own: each event is a read and a write.
        let events: Vec<Value> = (0..=WARM_EVENTS).map(|number| sign_in(round, number)).collect();
        let function = Bootstrap::new(binary)
            .aws(deployment.ministack.url(), ACCOUNT, "secret")
            .place(ACCOUNT, REGION)
            .env("REDRESS_ACTIVITY_TABLE", ACTIVITY_TABLE)
            .cold();
        measure(function, &events, &mut figures).await?;
    }
    println!("sign-in-recorder, {rounds} rounds");
    println!("{:<34} {:>11} {:>11}", "median", "measured", "limit");
    for (name, unit, measured, limit) in [
        ("process start to first poll", "ms", median(figures.first_poll), None),
        ("process start to first answer", "ms", median(figures.first_answer), Some(40)),
        ("processor time per warm event", "ms", median(figures.warm_cpu), None),
        ("peak memory", "MiB", median(figures.memory), Some(25)),
        ("binary", "MiB", size(binary)?, Some(8)),
    ] {
        let limit = limit.map_or_else(String::new, |limit| format!("{limit:>7} {unit}"));
        println!("{name:<34} {measured:>7.2} {unit:<3} {limit}");
    }
    println!();
    Ok(())
}

async fn make_activity_table(deployment: &Deployment) -> Result<()> {
    let client = aws_sdk_dynamodb::Client::new(&deployment.aws);
    tables::make(&client, ACTIVITY_TABLE, tables::ACTIVITY).await.context(|| "activity table".to_owned())
}

fn sign_in(round: usize, number: usize) -> Value {
    json!({
        "version": "1",
        "region": REGION,
        "userPoolId": "eu-west-1_AbC123dEf",
        "userName": format!("user-{round}-{number}"),
        "callerContext": { "awsSdkVersion": "aws-sdk-unknown-unknown", "clientId": "1example23456789" },
        "triggerSource": "PostAuthentication_Authentication",
        "request": {
            "userAttributes": {
                "sub": format!("0b7d5c1e-6a2f-4c55-{round:04}-{number:012}"),
                "cognito:user_status": "CONFIRMED",
                "email_verified": "true",
            },
            "newDeviceUsed": false,
        },
        "response": {},
    })
}

async fn bench_dispatcher(deployment: &Deployment, binary: &Path, rounds: usize) -> Result<()> {
    let venv = venv::get(Kind::Baseline).await?;

    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/baseline");
    let ours = || -> Result<Bootstrap> {
        Ok(deployment
            .function_at(binary.to_owned())
            .env("REDRESS_LOG", "info")
            .env("AWS_ENDPOINT_URL", deployment.ministack.url())
            .env("AWS_ENDPOINT_URL_SECURITYHUB", deployment.hub_url()))
    };
    let theirs = || {
        Bootstrap::new(venv.program("python"))
            .args(["-m", "awslambdaric", "article.handler"])
            .aws(deployment.ministack.url(), ACCOUNT, "secret")
            .place(ACCOUNT, REGION)
            .dir(dir)
    };

    let (mut rust, mut python) = (Figures::default(), Figures::default());
    for round in 0..rounds {
        let events = events(deployment, round).await?;
        measure(ours()?.cold(), &events, &mut rust).await?;
        measure(theirs().cold(), &events, &mut python).await?;
    }
    println!("dispatcher, {rounds} interleaved rounds; binary {:.1} MiB", size(binary)?);
    println!("{:<34} {:>10} {:>10} {:>8} {:>10}", "median", "redress", "article", "ratio", "limit");
    for (name, unit, rust, python, limit) in [
        ("process start to first poll", "ms", rust.first_poll, python.first_poll, Some(15)),
        ("process start to first answer", "ms", rust.first_answer, python.first_answer, None),
        ("processor time per warm event", "ms", rust.warm_cpu, python.warm_cpu, None),
        ("peak memory", "MiB", rust.memory, python.memory, None),
    ] {
        let (rust, python) = (median(rust), median(python));
        let limit = limit.map_or_else(String::new, |limit: u32| format!("{limit:>7} {unit}"));
        println!("{name:<34} {rust:>7.2} {unit} {python:>7.2} {unit} {:>7.1}x {limit}", python / rust);
    }
    Ok(())
}

/// A bucket and a custom-action event for each: a fix of its own every time.
async fn events(deployment: &Deployment, round: usize) -> Result<Vec<Value>> {
    let mut events = Vec::new();
    for number in 0..=WARM_EVENTS {
        let bucket = format!("bench-{round}-{number}");
        deployment.bucket(&bucket).await?;
        let finding = ControlFinding::new("S3.14")
            .resource("AwsS3Bucket", &format!("arn:aws:s3:::{bucket}"))
            .account(ACCOUNT)
            .region(REGION);
        deployment.hub.import_as_aws([finding.asff()]).context(|| "finding".to_owned())?;
        let mut clicked = deployment
            .hub
            .custom_action("RedressFix", &[&finding.id()])
            .context(|| "custom action".to_owned())?;
        events.push(clicked.remove(0));
    }
    Ok(events)
}

async fn measure(function: Function, events: &[Value], figures: &mut Figures) -> Result<()> {
    let Some((first, warm)) = events.split_first() else { return Ok(()) };
    let answer = function.invoke(first).await?;
    if !answer.succeeded() {
        return Err(Error::new(format!("{answer:?}\n{}", function.log())));
    }
    let timings = function.timings();
    figures.first_poll.push(millis(timings.first_poll));
    figures.first_answer.push(millis(timings.first_answer));
    let before = function.usage()?.cpu_of_threads;
    for event in warm {
        if !function.invoke(event).await?.succeeded() {
            return Err(Error::new(function.log()));
        }
    }
    let usage = function.usage()?;
    let spent = usage.cpu_of_threads.saturating_sub(before).as_secs_f64() * 1e3;
    figures.warm_cpu.push(spent / f64::from(u32::try_from(warm.len()).unwrap_or(u32::MAX)));
    figures.memory.push(mega(usage.peak_memory));
    function.kill().await;
    Ok(())
}

fn millis(duration: Option<Duration>) -> f64 {
    duration.unwrap_or_default().as_secs_f64() * 1e3
}

/// In units of 2^20. A figure for people: what a `f64` can't hold of it does not show.
#[allow(clippy::cast_precision_loss, reason = "sizes of some millions, shown with one decimal")]
fn mega(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
