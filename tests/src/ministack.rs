//! [ministack](https://pypi.org/project/ministack/): the independent emulator of the end-to-end tests. It
//! runs a Rust `bootstrap` as a function without Docker, matches `EventBridge` patterns as AWS does, and with
//! [`Options::auth`] enforces IAM policies. A 12-digit access key is the root of that account, and `test` that
//! of the default account, whatever the secret; an unsigned `GET /` is answered even then.

use std::{collections::HashMap, path::Path, process::Command, time::Duration};

use bytes::Bytes;
use http::Request;

use crate::{
    background,
    error::{Context, Error, Result},
    http1,
    process::{Process, Program, free_port},
    venv::{self, Kind},
};

const PATIENCE: Duration = Duration::from_secs(30);
/// It stops its functions' processes on SIGTERM.
const GRACE: Duration = Duration::from_secs(3);
/// Another process may take the free port first.
const TRIES: usize = 3;

/// The test has no client for Lambda, and no writer of ZIP files: Python has both.
const CREATE_FUNCTION: &str = r#"
import io, json, sys, zipfile, boto3
url, region, name, program, environment = sys.argv[1:]
package = io.BytesIO()
with zipfile.ZipFile(package, "w") as archive:
    bootstrap = zipfile.ZipInfo("bootstrap")
    bootstrap.external_attr = 0o755 << 16
    archive.writestr(bootstrap, open(program, "rb").read())
client = boto3.client("lambda", endpoint_url=url, region_name=region, aws_access_key_id="test",
                      aws_secret_access_key="test")
client.create_function(FunctionName=name, Runtime="provided.al2023", Handler="bootstrap", Timeout=5,
                       Role="arn:aws:iam::123456789012:role/function", Code={"ZipFile": package.getvalue()},
                       Environment={"Variables": json.loads(environment)})
"#;

const MAP_STREAM: &str = r#"
import sys, boto3
url, region, function, stream, pattern = sys.argv[1:]
client = boto3.client("lambda", endpoint_url=url, region_name=region, aws_access_key_id="test",
                      aws_secret_access_key="test")
wanted = {"FilterCriteria": {"Filters": [{"Pattern": pattern}]}} if pattern else {}
client.create_event_source_mapping(FunctionName=function, EventSourceArn=stream, StartingPosition="TRIM_HORIZON",
                                   BatchSize=100, FunctionResponseTypes=["ReportBatchItemFailures"], **wanted)
"#;

/// How to start it.
#[derive(Clone, Debug)]
pub struct Options {
    auth: bool,
    account: String,
    region: String,
    env: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            auth: false,
            account: "123456789012".to_owned(),
            region: "us-east-1".to_owned(),
            env: Vec::new(),
        }
    }
}

impl Options {
    /// Enforces IAM: identity and session policies, boundaries, trust, external ids.
    #[must_use]
    pub fn auth(mut self) -> Self {
        self.auth = true;
        self
    }

    /// The account of callers whose access key is no account id (default `123456789012`).
    #[must_use]
    pub fn account(mut self, account: impl Into<String>) -> Self {
        self.account = account.into();
        self
    }

    /// The default Region (default `us-east-1`).
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = region.into();
        self
    }

    /// Sets an environment variable of the emulator.
    #[must_use]
    pub fn env(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    /// Starts an empty emulator of its own on a free port, in about half a second.
    pub async fn start(&self) -> Result<Ministack> {
        let venv = venv::get(Kind::EndToEnd).await?;
        let mut failure = None;
        for _ in 0..TRIES {
            let port = free_port()?;
            let mut program = Program::new("ministack", venv.program("ministack"))
                .bare()
                .env("GATEWAY_PORT", port.to_string())
                // It listens on every interface, and on 8883 for IoT, unless told otherwise.
                .env("BIND_HOST", "127.0.0.1")
                .env("IOT_MTLS_ENABLED", "0")
                .env("MINISTACK_HOST", "127.0.0.1")
                .env("MINISTACK_ACCOUNT_ID", &self.account)
                .env("MINISTACK_REGION", &self.region)
                .env("AUTH", if self.auth { "true" } else { "false" })
                .env("PYTHONUNBUFFERED", "1")
                .grace(GRACE);
            for (key, value) in &self.env {
                program = program.env(key, value);
            }
            let process = program.start()?;
            match process.wait_for_port(port, PATIENCE).await {
                Ok(()) => return Ok(Ministack { url: format!("http://127.0.0.1:{port}"), process }),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| Error::new("ministack was not started")))
    }
}

/// A running ministack; dropped, it stops, and its functions with it.
#[derive(Debug)]
pub struct Ministack {
    url: String,
    process: Process,
}

impl Ministack {
    /// Starts one without IAM for account `123456789012`.
    pub async fn start() -> Result<Self> {
        Options::default().start().await
    }

    /// Its endpoint for every service, for `AWS_ENDPOINT_URL`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its process: log, usage, signals.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Makes a function of a program, which it runs as `bootstrap`. Its clients call back to this emulator, and
    /// its output goes to the log group `/aws/lambda/NAME`.
    ///
    /// # Errors
    /// Where it is refused.
    pub async fn create_function(
        &self,
        name: &str,
        program: &Path,
        region: &str,
        environment: &[(&str, &str)],
    ) -> Result<()> {
        let environment: HashMap<_, _> =
            environment.iter().copied().chain([("AWS_ENDPOINT_URL", self.url.as_str())]).collect();
        let environment = serde_json::json!(environment).to_string();
        let program = program.to_string_lossy();
        self.python(CREATE_FUNCTION, &[region, name, &program, &environment]).await
    }

    /// Has a function take a stream's records from its beginning, those of this pattern if one is given.
    ///
    /// # Errors
    /// Where it is refused.
    pub async fn map_stream(
        &self,
        stream: &str,
        function: &str,
        region: &str,
        pattern: Option<&str>,
    ) -> Result<()> {
        self.python(MAP_STREAM, &[region, function, stream, pattern.unwrap_or_default()]).await
    }

    /// Runs Python code with boto3, its first argument being the endpoint.
    ///
    /// # Errors
    /// With what it said, where it fails.
    pub async fn python(&self, code: &str, args: &[&str]) -> Result<()> {
        let venv = venv::get(Kind::EndToEnd).await?;
        let mut python = Command::new(venv.program("python"));
        python.args(["-c", code, &self.url]).args(args);
        background::blocking(move || venv::run("set up ministack", &mut python)).await
    }

    /// Forgets everything: all accounts, all services.
    pub async fn reset(&self) -> Result<()> {
        post(&self.url, "/_ministack/reset").await
    }
}

/// Posts nothing to an emulator's own path.
pub(crate) async fn post(url: &str, path: &str) -> Result<()> {
    let request = Request::post(path).body(Bytes::new()).context(|| format!("`{path}` is no path"))?;
    let answer = http1::send(url, request).await?;
    if answer.status().is_success() {
        return Ok(());
    }
    Err(Error::new(format!("`{url}{path}` answered {}", answer.status())))
}
