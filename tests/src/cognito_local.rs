//! [cognito-local](https://www.npmjs.com/package/cognito-local): an independent Cognito that runs triggers as
//! functions of another emulator. It differs from AWS: its pools are `local_…`, they share their triggers,
//! a disabled user can still sign in, sessions can't be ended, and nothing has tags.

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use crate::{
    aws_call::identify,
    deployment::{ACCOUNT, REGION},
    error::{Context, Error, Result},
    hold_proxy::pass_on,
    http1::{self, Reply, Server},
    node,
    process::{Process, free_port, log_file},
};

const PATIENCE: Duration = Duration::from_secs(30);
/// Another process may take the free port first.
const TRIES: usize = 3;

/// How to start it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    lambda: Option<String>,
    triggers: BTreeMap<String, String>,
}

impl Options {
    /// Where the functions of its triggers are: an emulator's endpoint.
    #[must_use]
    pub fn lambda(mut self, url: impl Into<String>) -> Self {
        self.lambda = Some(url.into());
        self
    }

    /// Runs this function as this trigger (`PostAuthentication`, `PreTokenGeneration`, …) of every pool.
    #[must_use]
    pub fn trigger(mut self, trigger: impl Into<String>, function: impl Into<String>) -> Self {
        self.triggers.insert(trigger.into(), function.into());
        self
    }

    /// Starts one without pools on a free port, in about half a second.
    ///
    /// # Errors
    /// Where it can't be installed or does not start.
    pub async fn start(&self) -> Result<CognitoLocal> {
        let node = node::get().await?;
        let dir = Dir(log_file("cognito-local", "dir")?);
        let config_dir = dir.0.join(".cognito");
        fs::create_dir_all(&config_dir).context(|| format!("can't make `{}`", config_dir.display()))?;
        let config = config_dir.join("config.json");
        fs::write(&config, self.config().to_string())
            .context(|| format!("can't write `{}`", config.display()))?;
        let mut failure = None;
        for _ in 0..TRIES {
            let port = free_port()?;
            let process = node
                .program("cognito-local", "cognito-local/lib/bin/start.js")
                .bare()
                .dir(&dir.0)
                .env("HOST", "127.0.0.1")
                .env("PORT", port.to_string())
                .start()?;
            match process.wait_for_port(port, PATIENCE).await {
                Ok(()) => return CognitoLocal::new(format!("http://127.0.0.1:{port}"), process, dir),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| Error::new("cognito-local was not started")))
    }

    fn config(&self) -> Value {
        json!({
            "LambdaClient": {
                "endpoint": self.lambda,
                "region": REGION,
                "credentials": { "accessKeyId": ACCOUNT, "secretAccessKey": "secret" },
            },
            "TriggerFunctions": self.triggers,
            // By default, names would have to be e-mail addresses, and would be replaced by the `sub`.
            "UserPoolDefaults": { "UsernameAttributes": [] },
        })
    }
}

/// Where it keeps its pools; gone with it.
#[derive(Debug)]
struct Dir(PathBuf);

impl Drop for Dir {
    fn drop(&mut self) {
        // What is left lies in the build directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running cognito-local; dropped, it stops.
#[derive(Debug)]
pub struct CognitoLocal {
    gaps: Server,
    // Fields are dropped in this order: its directory outlives the process.
    process: Process,
    _dir: Dir,
}

impl CognitoLocal {
    fn new(url: String, process: Process, dir: Dir) -> Result<Self> {
        let gaps = http1::serve(move |request: Request<Bytes>| {
            let url = url.clone();
            async move { fill_gaps(&url, request).await }
        })?;
        Ok(Self { gaps, process, _dir: dir })
    }

    /// Its endpoint. One operation that it does not have is answered before it gets there, as AWS answers
    /// it; see the source.
    pub fn url(&self) -> String {
        self.gaps.url()
    }

    /// Its process: log, usage, signals.
    pub fn process(&self) -> &Process {
        &self.process
    }
}

/// Pools have no tags here, so that
/// [`ListTagsForResource`](https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_ListTagsForResource.html),
/// which it lacks, finds none. Everything else goes through.
async fn fill_gaps(url: &str, request: Request<Bytes>) -> Reply {
    if identify(&request).operation == "ListTagsForResource" {
        let mut answer = http1::json(200, &json!({ "Tags": {} }));
        let json = http::HeaderValue::from_static("application/x-amz-json-1.1");
        answer.headers_mut().insert(http::header::CONTENT_TYPE, json);
        return Ok(answer);
    }
    pass_on(url, request).await
}
