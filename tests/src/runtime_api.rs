//! Lambda's side of a function: the [Runtime API](https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html)
//! and the [Extensions API](https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html), on
//! 127.0.0.1, around a real `bootstrap` process.
//!
//! A [`Function`] has one execution environment at a time, as with reserved concurrency 1: events wait their
//! turn, and a process that crashed, was killed or ran into its deadline is replaced at the next event. Start
//! several for several at once. Unlike Lambda it never freezes a process between events, and a response in
//! streaming mode is taken as a whole, without its trailers.

use std::{
    collections::VecDeque,
    ffi::OsString,
    path::PathBuf,
    process::ExitStatus,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use serde_json::{Value, json};
use tokio::{
    sync::{Notify, oneshot, watch},
    time::{sleep, timeout},
};
use uuid::Uuid;

use crate::{
    error::{Context, Error, Result},
    http1::{self, Reply, Server},
    process::{Process, Program, Usage},
};

/// The [largest answer](https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html) of a
/// synchronous invocation.
const LARGEST_ANSWER: usize = 6 * 1024 * 1024;

/// What runs as a function, and with which configuration.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    dir: Option<PathBuf>,
    name: String,
    handler: String,
    account: String,
    region: String,
    memory: u32,
    timeout: Duration,
    init_timeout: Duration,
}

impl Bootstrap {
    /// A function whose `bootstrap` is this program. Timeout 30 s, 256 MB (told to the process, not
    /// enforced), `us-east-1` of account `123456789012`. It gets the environment of a Lambda function,
    /// credentials apart, and nothing of the developer's.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            dir: None,
            name: "function".to_owned(),
            handler: "bootstrap".to_owned(),
            account: "123456789012".to_owned(),
            region: "us-east-1".to_owned(),
            memory: 256,
            timeout: Duration::from_secs(30),
            init_timeout: Duration::from_secs(10),
        }
    }

    /// Adds arguments (a Python runtime has some).
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable; it wins over those that Lambda sets.
    #[must_use]
    pub fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    /// Points the process's AWS clients to an emulator, with credentials (the access key can be an account
    /// id for ministack).
    #[must_use]
    pub fn aws(self, endpoint: &str, access_key: &str, secret_key: &str) -> Self {
        self.env("AWS_ENDPOINT_URL", endpoint)
            .env("AWS_ACCESS_KEY_ID", access_key)
            .env("AWS_SECRET_ACCESS_KEY", secret_key)
    }

    /// The working directory, which is also `LAMBDA_TASK_ROOT`.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// The function's name, in its ARN and its log file.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// `_HANDLER`, which a Python runtime loads.
    #[must_use]
    pub fn handler(mut self, handler: impl Into<String>) -> Self {
        self.handler = handler.into();
        self
    }

    /// Account and Region of the function's ARN and environment.
    #[must_use]
    pub fn place(mut self, account: impl Into<String>, region: impl Into<String>) -> Self {
        self.account = account.into();
        self.region = region.into();
        self
    }

    /// How long one event may take. At the deadline the process is killed, as Lambda does.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long the process may take until it asks for its first event (10 s, as in Lambda).
    #[must_use]
    pub fn init_timeout(mut self, timeout: Duration) -> Self {
        self.init_timeout = timeout;
        self
    }

    /// The function, with no process until its first event: a cold start, its event waiting.
    pub fn cold(&self) -> Function {
        Function(Arc::new(Inner {
            bootstrap: self.clone(),
            turn: tokio::sync::Mutex::new(()),
            environment: Mutex::new(None),
            starts: AtomicU64::new(0),
        }))
    }

    /// The function with its process up and asking for an event.
    pub async fn start(&self) -> Result<Function> {
        let function = self.cold();
        function.warm_up().await?;
        Ok(function)
    }

    fn arn(&self) -> String {
        format!("arn:aws:lambda:{}:{}:function:{}", self.region, self.account, self.name)
    }

    fn program(&self, api: &Server) -> Program {
        let root = self.dir.clone().unwrap_or_else(|| PathBuf::from("/var/task"));
        let mut program = Program::new(&self.name, &self.program)
            .bare()
            .args(self.args.iter().cloned())
            .env("AWS_LAMBDA_RUNTIME_API", api.address().to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", &self.name)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", self.memory.to_string())
            .env("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", self.name))
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "2026/01/01/[$LATEST]0123456789abcdef0123456789abcdef")
            .env("AWS_EXECUTION_ENV", "AWS_Lambda_provided.al2023")
            .env("AWS_REGION", &self.region)
            .env("AWS_DEFAULT_REGION", &self.region)
            .env("LAMBDA_TASK_ROOT", root)
            .env("LAMBDA_RUNTIME_DIR", "/var/runtime")
            .env("_HANDLER", &self.handler)
            .env("LANG", "en_US.UTF-8")
            .env("TZ", ":UTC")
            // A function has neither, and a test must not reach for what the machine has.
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
        if let Some(dir) = &self.dir {
            program = program.dir(dir);
        }
        for (key, value) in &self.env {
            program = program.env(key, value);
        }
        program
    }
}

/// How an invocation ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The function's answer, as it was posted.
    Response(Bytes),
    /// The function reported an error.
    Error {
        /// `errorType` of the body, else the header `Lambda-Runtime-Function-Error-Type`.
        kind: String,
        /// `errorMessage` of the body.
        message: String,
    },
    /// The deadline passed, and the process was killed (Lambda: `Sandbox.Timedout`).
    TimedOut,
    /// The process ended with the event in hand (Lambda: `Runtime.ExitError`).
    Exited(ExitStatus),
    /// The process reported that it can't start, ended, or ran out of time before it asked for an event.
    NotReady(String),
}

/// What came of one event.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The invocation's request id.
    pub request_id: String,
    /// How it ended.
    pub outcome: Outcome,
    /// From handing the event to the process until its answer, its end or the deadline; zero if it was
    /// never handed over.
    pub took: Duration,
    /// Whether a process was started for it.
    pub cold: bool,
}

impl Answer {
    /// The answer's JSON; an error if the invocation failed.
    pub fn json(&self) -> Result<Value> {
        match &self.outcome {
            Outcome::Response(body) => {
                serde_json::from_slice(body).context(|| "the function's answer is no JSON".into())
            }
            other => Err(Error::new(format!("invocation {} failed: {other:?}", self.request_id))),
        }
    }

    /// Whether the function answered.
    pub fn succeeded(&self) -> bool {
        matches!(self.outcome, Outcome::Response(_))
    }
}

/// How long the process of a function took to get going, from directly before it was spawned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Until it asked for its first event.
    pub first_poll: Option<Duration>,
    /// Until it posted its first answer, or error.
    pub first_answer: Option<Duration>,
}

/// How a process took being shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// How it ended.
    pub status: ExitStatus,
    /// Whether it ended by itself, in the time that Lambda gives it.
    pub graceful: bool,
}

/// A function; clones are the same one.
#[derive(Clone, Debug)]
pub struct Function(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bootstrap: Bootstrap,
    /// Held through an invocation: one at a time, in the order of arrival.
    turn: tokio::sync::Mutex<()>,
    environment: Mutex<Option<Arc<Environment>>>,
    starts: AtomicU64,
}

impl Function {
    /// Starts the process if there is none, and waits until it asks for an event.
    pub async fn warm_up(&self) -> Result<Timings> {
        let _turn = self.0.turn.lock().await;
        let (environment, _) = self.environment()?;
        match environment.ready(self.0.bootstrap.init_timeout).await {
            Ok(()) => Ok(environment.timings()),
            Err(why) => Err(environment.process.complaint(&format!("was not ready: {why}"))),
        }
    }

    /// Hands over one event and waits for what comes of it. A failing function is an [`Outcome`]; an error
    /// is a failing harness.
    pub async fn invoke(&self, event: &Value) -> Result<Answer> {
        self.invoke_raw(Bytes::from(event.to_string())).await
    }

    /// [`Function::invoke`] with any bytes as event: Lambda itself would refuse what is no JSON.
    pub async fn invoke_raw(&self, event: Bytes) -> Result<Answer> {
        let _turn = self.0.turn.lock().await;
        let bootstrap = &self.0.bootstrap;
        let (environment, cold) = self.environment()?;
        let request_id = new_id();
        let (delivered, delivery) = oneshot::channel();
        let (answered, mut answer) = oneshot::channel();
        environment.api.push(Invocation {
            request_id: request_id.clone(),
            event,
            arn: bootstrap.arn(),
            timeout: bootstrap.timeout,
            delivered: Some(delivered),
            answered,
        });
        let conclude = |outcome, took| Ok(Answer { request_id: request_id.clone(), outcome, took, cold });

        if let Err(why) = environment.ready(bootstrap.init_timeout).await {
            environment.process.kill().await;
            return conclude(Outcome::NotReady(why), Duration::ZERO);
        }
        let delivered_at = tokio::select! {
            at = delivery => at.unwrap_or_else(|_| Instant::now()),
            status = environment.process.wait() => return conclude(Outcome::Exited(status), Duration::ZERO),
            // It still works on the event before, whose answer it has given.
            () = sleep(bootstrap.timeout) => {
                environment.process.kill().await;
                return conclude(Outcome::TimedOut, Duration::ZERO);
            }
        };
        let left = bootstrap.timeout.saturating_sub(delivered_at.elapsed());
        let outcome = tokio::select! {
            biased;
            outcome = &mut answer => outcome.unwrap_or_else(|_| Outcome::NotReady("no answer".to_owned())),
            status = environment.process.wait() => match answer.try_recv() {
                Ok(outcome) => outcome,
                Err(_) => Outcome::Exited(status),
            },
            () = sleep(left) => {
                environment.process.kill().await;
                Outcome::TimedOut
            }
        };
        conclude(outcome, delivered_at.elapsed())
    }

    /// Hands over events one after the other.
    pub async fn invoke_all(&self, events: &[Value]) -> Result<Vec<Answer>> {
        let mut answers = Vec::with_capacity(events.len());
        for event in events {
            answers.push(self.invoke(event).await?);
        }
        Ok(answers)
    }

    /// SIGKILL to the process, in the middle of whatever it does; returns when it is gone. The next event
    /// starts another. Without a process: nothing.
    pub async fn kill(&self) -> Option<ExitStatus> {
        match self.current() {
            Some(environment) => Some(environment.process.kill().await),
            None => None,
        }
    }

    /// SIGTERM to the process; returns at once.
    pub fn terminate(&self) {
        if let Some(environment) = self.current() {
            environment.process.terminate();
        }
    }

    /// Shuts the process down as Lambda does when it retires an environment: with no extension registered,
    /// SIGKILL at once; else a Shutdown event to those that asked for it, SIGTERM, and SIGKILL after 500 ms
    /// (internal extensions only; the process group holds no external ones).
    pub async fn shut_down(&self) -> Option<Shutdown> {
        let environment = self.current()?;
        let grace = Duration::from_millis(500);
        if !environment.api.announce_shutdown("spindown", grace) {
            let status = environment.process.kill().await;
            return Some(Shutdown { status, graceful: false });
        }
        environment.process.terminate();
        if let Ok(status) = timeout(grace, environment.process.wait()).await {
            return Some(Shutdown { status, graceful: true });
        }
        let status = environment.process.kill().await;
        Some(Shutdown { status, graceful: false })
    }

    /// Start-up times of the present, or last, process.
    pub fn timings(&self) -> Timings {
        self.current().map(|environment| environment.timings()).unwrap_or_default()
    }

    /// Memory and processor time of the process, which must be running.
    pub fn usage(&self) -> Result<Usage> {
        self.current().context(|| format!("`{}` has no process", self.0.bootstrap.name))?.process.usage()
    }

    /// What the present, or last, process has printed.
    pub fn log(&self) -> String {
        self.current().map(|environment| environment.process.log()).unwrap_or_default()
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        let environment = self.current()?;
        environment.process.exited().is_none().then(|| environment.process.pid())
    }

    /// How many processes were started so far.
    pub fn starts(&self) -> u64 {
        self.0.starts.load(Ordering::Relaxed)
    }

    /// The names of the extensions that the process has registered.
    pub fn extensions(&self) -> Vec<String> {
        let Some(environment) = self.current() else { return Vec::new() };
        environment.api.state().extensions.iter().map(|extension| extension.name.clone()).collect()
    }

    fn current(&self) -> Option<Arc<Environment>> {
        self.0.environment.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The running environment, or a new one, and whether it is new.
    fn environment(&self) -> Result<(Arc<Environment>, bool)> {
        let mut slot = self.0.environment.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(environment) = slot.as_ref().filter(|environment| environment.process.exited().is_none())
        {
            return Ok((Arc::clone(environment), false));
        }
        let environment = Arc::new(Environment::start(&self.0.bootstrap)?);
        self.0.starts.fetch_add(1, Ordering::Relaxed);
        *slot = Some(Arc::clone(&environment));
        Ok((environment, true))
    }
}

/// One process and the API that it alone talks to.
#[derive(Debug)]
struct Environment {
    process: Process,
    api: Arc<Api>,
    _server: Server,
}

impl Environment {
    fn start(bootstrap: &Bootstrap) -> Result<Self> {
        let api = Arc::new(Api::new(bootstrap));
        let shared = Arc::clone(&api);
        let server = http1::serve(move |request| {
            let (api, at) = (Arc::clone(&shared), Instant::now());
            async move { api.answer(request, at).await }
        })?;
        let process = bootstrap.program(&server).start()?;
        Ok(Self { process, api, _server: server })
    }

    fn timings(&self) -> Timings {
        let state = self.api.state();
        let since = |at: Option<Instant>| at.map(|at| at.duration_since(self.process.started()));
        Timings { first_poll: since(state.first_poll), first_answer: since(state.first_answer) }
    }

    /// Waits until it has asked for an event; else says why it never will.
    async fn ready(&self, patience: Duration) -> std::result::Result<(), String> {
        let mut init = self.api.init.subscribe();
        let begun = async { init.wait_for(Option::is_some).await.ok().and_then(|result| result.clone()) };
        tokio::select! {
            biased;
            result = begun => result.unwrap_or_else(|| Err("no answer".to_owned())),
            status = self.process.wait() => Err(format!("it ended before it asked for an event: {status}")),
            () = sleep(patience) => Err(format!("it asked for no event within {} s", patience.as_secs_f32())),
        }
    }
}

#[derive(Debug)]
struct Invocation {
    request_id: String,
    event: Bytes,
    arn: String,
    timeout: Duration,
    delivered: Option<oneshot::Sender<Instant>>,
    answered: oneshot::Sender<Outcome>,
}

#[derive(Debug)]
struct Extension {
    id: String,
    name: String,
    wants: Vec<String>,
    events: VecDeque<Value>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Invocation>,
    current: Option<Invocation>,
    first_poll: Option<Instant>,
    first_answer: Option<Instant>,
    extensions: Vec<Extension>,
}

#[derive(Debug)]
struct Api {
    name: String,
    handler: String,
    account: String,
    state: Mutex<State>,
    event_waits: Notify,
    extension_event_waits: Notify,
    /// Ready, or why not; `None` until either is known.
    init: watch::Sender<Option<std::result::Result<(), String>>>,
}

impl Api {
    fn new(bootstrap: &Bootstrap) -> Self {
        Self {
            name: bootstrap.name.clone(),
            handler: bootstrap.handler.clone(),
            account: bootstrap.account.clone(),
            state: Mutex::default(),
            event_waits: Notify::new(),
            extension_event_waits: Notify::new(),
            init: watch::channel(None).0,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, invocation: Invocation) {
        self.state().queue.push_back(invocation);
        self.event_waits.notify_one();
    }

    /// Whether any extension is registered, which alone earns a process its SIGTERM.
    fn announce_shutdown(&self, reason: &str, grace: Duration) -> bool {
        let mut state = self.state();
        let event = json!({
            "eventType": "SHUTDOWN",
            "shutdownReason": reason,
            "deadlineMs": epoch_millis(SystemTime::now() + grace),
        });
        for extension in state.extensions.iter_mut().filter(|extension| extension.wants("SHUTDOWN")) {
            extension.events.push_back(event.clone());
        }
        self.extension_event_waits.notify_waiters();
        !state.extensions.is_empty()
    }

    async fn answer(&self, request: Request<Bytes>, at: Instant) -> Reply {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let steps: Vec<&str> = path.trim_matches('/').split('/').collect();
        let reply = match (&head.method, steps.as_slice()) {
            (&Method::GET, ["2018-06-01", "runtime", "invocation", "next"]) => self.next(at).await,
            (&Method::POST, ["2018-06-01", "runtime", "invocation", id, "response"]) => {
                self.conclude(id, &body, None, at)
            }
            (&Method::POST, ["2018-06-01", "runtime", "invocation", id, "error"]) => {
                self.conclude(id, &body, Some(&head.headers), at)
            }
            (&Method::POST, ["2018-06-01", "runtime", "init", "error"]) => {
                let (kind, message) = function_error(&body, &head.headers);
                self.init.send_replace(Some(Err(format!("{kind}: {message}"))));
                accepted()
            }
            (&Method::POST, ["2020-01-01", "extension", "register"]) => self.register(&head.headers, &body),
            (&Method::GET, ["2020-01-01", "extension", "event", "next"]) => {
                self.next_extension_event(&head.headers).await
            }
            (&Method::POST, ["2020-01-01", "extension", "init" | "exit", "error"]) => accepted(),
            _ => refused(404, "InvalidPath", &format!("{} {path} is not served", head.method)),
        };
        Ok(reply)
    }

    async fn next(&self, at: Instant) -> Response<Bytes> {
        self.state().first_poll.get_or_insert(at);
        self.init.send_if_modified(|init| init.is_none() && init.replace(Ok(())).is_none());
        loop {
            let waiting = self.event_waits.notified();
            if let Some(reply) = self.hand_over() {
                return reply;
            }
            waiting.await;
        }
    }

    fn hand_over(&self) -> Option<Response<Bytes>> {
        let mut state = self.state();
        let mut invocation = state.queue.pop_front()?;
        let deadline = epoch_millis(SystemTime::now() + invocation.timeout);
        let (root, parent) = (Uuid::new_v4().as_u128() >> 32, Uuid::new_v4().as_u64_pair().1);
        let trace = format!("Root=1-{:08x}-{root:024x};Parent={parent:016x};Sampled=0", deadline / 1000);
        let mut reply = http1::answer(200, "application/json", invocation.event.clone());
        for (name, value) in [
            ("lambda-runtime-aws-request-id", invocation.request_id.as_str()),
            ("lambda-runtime-deadline-ms", &deadline.to_string()),
            ("lambda-runtime-invoked-function-arn", &invocation.arn),
            ("lambda-runtime-trace-id", &trace),
        ] {
            if let Ok(value) = HeaderValue::from_str(value) {
                reply.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        let event = json!({
            "eventType": "INVOKE",
            "deadlineMs": deadline,
            "requestId": invocation.request_id,
            "invokedFunctionArn": invocation.arn,
            "tracing": { "type": "X-Amzn-Trace-Id", "value": trace },
        });
        for extension in state.extensions.iter_mut().filter(|extension| extension.wants("INVOKE")) {
            extension.events.push_back(event.clone());
        }
        self.extension_event_waits.notify_waiters();
        if let Some(delivered) = invocation.delivered.take() {
            let _ = delivered.send(Instant::now());
        }
        state.current = Some(invocation);
        Some(reply)
    }

    fn conclude(&self, id: &str, body: &Bytes, error: Option<&HeaderMap>, at: Instant) -> Response<Bytes> {
        let mut state = self.state();
        let Some(invocation) = state.current.take_if(|invocation| invocation.request_id == id) else {
            return refused(400, "InvalidRequestID", "Invalid request ID");
        };
        state.first_answer.get_or_insert(at);
        let (reply, outcome) = match error {
            Some(headers) => {
                let (kind, message) = function_error(body, headers);
                (accepted(), Outcome::Error { kind, message })
            }
            None if body.len() > LARGEST_ANSWER => {
                let message = format!("Exceeded maximum allowed payload size ({LARGEST_ANSWER} bytes).");
                let reply = refused(413, "RequestEntityTooLarge", &message);
                (reply, Outcome::Error { kind: "Function.ResponseSizeTooLarge".to_owned(), message })
            }
            None => (accepted(), Outcome::Response(body.clone())),
        };
        // Nobody waits any more when the invocation has timed out at this moment.
        let _ = invocation.answered.send(outcome);
        reply
    }

    fn register(&self, headers: &HeaderMap, body: &Bytes) -> Response<Bytes> {
        let Some(name) = header(headers, "lambda-extension-name") else {
            return refused(400, "Extension.InvalidExtensionName", "Lambda-Extension-Name is missing");
        };
        if self.state().first_poll.is_some() {
            return refused(403, "Extension.RegistrationClosed", "registration is over once init is done");
        }
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let wants = body.get("events").and_then(Value::as_array).into_iter().flatten();
        let wants: Vec<String> = wants.filter_map(|event| event.as_str().map(str::to_owned)).collect();
        let id = new_id();
        let extension = Extension { id: id.clone(), name: name.to_owned(), wants, events: VecDeque::new() };
        self.state().extensions.push(extension);
        let mut reply = http1::json(
            200,
            &json!({
                "functionName": self.name,
                "functionVersion": "$LATEST",
                "handler": self.handler,
                "accountId": self.account,
            }),
        );
        if let Ok(id) = HeaderValue::from_str(&id) {
            reply.headers_mut().insert("lambda-extension-identifier", id);
        }
        reply
    }

    async fn next_extension_event(&self, headers: &HeaderMap) -> Response<Bytes> {
        let id = header(headers, "lambda-extension-identifier").unwrap_or_default();
        loop {
            let waiting = self.extension_event_waits.notified();
            tokio::pin!(waiting);
            // From here on it is woken by events announced between the look and the wait.
            waiting.as_mut().enable();
            {
                let mut state = self.state();
                let Some(extension) = state.extensions.iter_mut().find(|extension| extension.id == id) else {
                    return refused(403, "Extension.InvalidExtensionIdentifier", "unknown extension");
                };
                if let Some(event) = extension.events.pop_front() {
                    let mut reply = http1::json(200, &event);
                    if let Ok(id) = HeaderValue::from_str(&new_id()) {
                        reply.headers_mut().insert("lambda-extension-event-identifier", id);
                    }
                    return reply;
                }
            }
            waiting.await;
        }
    }
}

impl Extension {
    fn wants(&self, event: &str) -> bool {
        self.wants.iter().any(|wanted| wanted == event)
    }
}

fn accepted() -> Response<Bytes> {
    http1::json(202, &json!({ "status": "OK" }))
}

fn refused(status: u16, kind: &str, message: &str) -> Response<Bytes> {
    http1::json(status, &json!({ "errorType": kind, "errorMessage": message }))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn function_error(body: &Bytes, headers: &HeaderMap) -> (String, String) {
    let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |key: &str| parsed.get(key).and_then(Value::as_str).map(str::to_owned);
    let kind = text("errorType")
        .or_else(|| header(headers, "lambda-runtime-function-error-type").map(str::to_owned))
        .unwrap_or_else(|| "Unhandled".to_owned());
    (kind, text("errorMessage").unwrap_or_else(|| String::from_utf8_lossy(body).into_owned()))
}

fn epoch_millis(at: SystemTime) -> u128 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}

/// An id in the form that request ids have.
pub(crate) fn new_id() -> String {
    Uuid::new_v4().to_string()
}
