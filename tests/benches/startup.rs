//! The dispatcher beside the Python function of the AWS article, which makes one unverified call: from
//! process start to the first poll and to the first answer, processor time per warm event, peak memory.
//!
//! Runs are interleaved; the figures are medians, and ratios of medians. Both speak to ministack.
//!
//! `cargo bench --profile dev --bench startup [-- ROUNDS]`: the dispatcher is built for release, the harness need not be

use std::{process::Command, time::Duration};

use redress_sandbox::findings::ControlFinding;
use redress_tests::{
    background,
    deployment::{ACCOUNT, Deployment, REGION},
    error::{Context, Error, Result},
    process::target_dir,
    runtime_api::{Bootstrap, Function},
    venv::{self, Kind},
};
use serde_json::Value;

const WARM_EVENTS: usize = 50;

fn main() {
    let rounds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(15);
    let ended = background::block_on(bench(rounds)).and_then(|ended| ended);
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

async fn bench(rounds: usize) -> Result<()> {
    let built = Command::new("cargo")
        .args(["build", "--release", "--bin", "dispatcher"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .status()
        .context(|| "cargo build".to_owned())?;
    if !built.success() {
        return Err(Error::new("the dispatcher does not build".to_owned()));
    }
    let binary = target_dir().join("release/dispatcher");
    let size = std::fs::metadata(&binary).context(|| "the binary".to_owned())?.len();
    let deployment = Deployment::start().await?;
    let venv = venv::get(Kind::Baseline).await?;

    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/baseline");
    let ours = || -> Result<Bootstrap> {
        Ok(deployment
            .function_at(binary.clone())
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
        let events = events(&deployment, round).await?;
        measure(ours()?.cold(), &events, &mut rust).await?;
        measure(theirs().cold(), &events, &mut python).await?;
    }
    println!("{rounds} interleaved rounds; binary {:.1} MB", mega(size));
    println!("{:<34} {:>10} {:>10} {:>8}", "median", "redress", "article", "ratio");
    for (name, unit, rust, python) in [
        ("process start to first poll", "ms", rust.first_poll, python.first_poll),
        ("process start to first answer", "ms", rust.first_answer, python.first_answer),
        ("processor time per warm event", "ms", rust.warm_cpu, python.warm_cpu),
        ("peak memory", "MiB", rust.memory, python.memory),
    ] {
        let (rust, python) = (median(rust), median(python));
        println!("{name:<34} {rust:>7.2} {unit} {python:>7.2} {unit} {:>7.1}x", python / rust);
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
