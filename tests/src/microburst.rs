//! [microburst](https://pypi.org/project/microburst/): a proxy in front of an emulator that answers with
//! AWS's faults, in the wire form of each service. For faults by call number, and for holding a call, see
//! [`crate::hold_proxy`].

use std::{fs, time::Duration};

use bytes::Bytes;
use http::{Method, Request};
use serde_json::Value;

use crate::{
    error::{Context, Error, Result},
    http1,
    process::{Process, Program, free_port, log_file},
    venv::{self, Kind},
};

const PATIENCE: Duration = Duration::from_secs(30);
/// Another process may take the free port first.
const TRIES: usize = 3;

/// A running microburst; dropped, it is killed.
#[derive(Debug)]
pub struct Microburst {
    url: String,
    process: Process,
}

impl Microburst {
    /// Starts one in front of `upstream` (`http://127.0.0.1:PORT`). `rules` is YAML: the list that its
    /// manual describes, without the key `rules` above it, or empty.
    pub async fn start(upstream: &str, rules: &str) -> Result<Self> {
        let venv = venv::get(Kind::EndToEnd).await?;
        let config = log_file("microburst", "yml")?;
        let rules = if rules.trim().is_empty() { "[]" } else { rules };
        let indented: String = rules.lines().flat_map(|line| ["  ", line, "\n"]).collect();
        fs::write(&config, format!("rules:\n{indented}"))
            .context(|| format!("can't write `{}`", config.display()))?;
        let mut failure = None;
        for _ in 0..TRIES {
            let port = free_port()?;
            let process = Program::new("microburst", venv.program("microburst"))
                .bare()
                .env("PYTHONUNBUFFERED", "1")
                .args(["--host", "127.0.0.1", "-u", upstream, "-p"])
                .arg(port.to_string())
                .arg("--config")
                .arg(&config)
                .start()?;
            match process.wait_for_port(port, PATIENCE).await {
                Ok(()) => return Ok(Self { url: format!("http://127.0.0.1:{port}"), process }),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| Error::new("microburst was not started")))
    }

    /// The endpoint to call in the emulator's place.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its process: log, usage, signals.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The faults that it has answered with, oldest first: `service`, `operation`, `action` and more.
    pub async fn fired(&self) -> Result<Vec<Value>> {
        let answer = self.control(Method::GET, "/_microburst/fired", Bytes::new()).await?;
        let fired: Value =
            serde_json::from_slice(&answer).context(|| "microburst answered no JSON".into())?;
        match fired {
            Value::Array(fired) => Ok(fired),
            other => other
                .get("fired")
                .and_then(Value::as_array)
                .cloned()
                .context(|| format!("microburst answered `{other}`")),
        }
    }

    /// Forgets what has fired.
    pub async fn clear_fired(&self) -> Result<()> {
        self.control(Method::DELETE, "/_microburst/fired", Bytes::new()).await.map(drop)
    }

    /// Replaces the rules, given as JSON.
    pub async fn set_rules(&self, rules: &Value) -> Result<()> {
        self.control(Method::POST, "/_microburst/rules", Bytes::from(rules.to_string())).await.map(drop)
    }

    async fn control(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body)
            .context(|| format!("`{path}` is no path"))?;
        let answer = http1::send(&self.url, request).await?;
        if answer.status().is_success() {
            return Ok(answer.into_body());
        }
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        Err(Error::new(format!("microburst answered {} to {path}: {text}", answer.status())))
    }
}
