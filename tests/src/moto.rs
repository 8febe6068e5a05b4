//! [moto](https://docs.getmoto.org/en/latest/docs/server_mode.html) in server mode, for what ministack
//! lacks: instance metadata options, EBS default encryption, RDS snapshots, Redshift, `GuardDuty`. Its account
//! is always `123456789012`, whatever the access key.

use std::time::Duration;

use crate::{
    error::{Error, Result},
    ministack::post,
    process::{Process, Program, free_port},
    venv::{self, Kind},
};

const PATIENCE: Duration = Duration::from_secs(30);
/// Another process may take the free port first.
const TRIES: usize = 3;

/// A running moto; dropped, it is killed.
#[derive(Debug)]
pub struct Moto {
    url: String,
    process: Process,
}

impl Moto {
    /// Starts an empty one on a free port, in about a second.
    pub async fn start() -> Result<Self> {
        let venv = venv::get(Kind::EndToEnd).await?;
        let mut failure = None;
        for _ in 0..TRIES {
            let port = free_port()?;
            let process = Program::new("moto", venv.program("moto_server"))
                .bare()
                .env("PYTHONUNBUFFERED", "1")
                .args(["-H", "127.0.0.1", "-p"])
                .arg(port.to_string())
                .start()?;
            match process.wait_for_port(port, PATIENCE).await {
                Ok(()) => return Ok(Self { url: format!("http://127.0.0.1:{port}"), process }),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| Error::new("moto was not started")))
    }

    /// Its endpoint, for `AWS_ENDPOINT_URL` or that of a single service.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its process: log, usage, signals.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Forgets everything.
    pub async fn reset(&self) -> Result<()> {
        post(&self.url, "/moto-api/reset").await
    }
}
