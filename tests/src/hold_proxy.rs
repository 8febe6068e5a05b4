//! A proxy between a process under test and the emulators: it numbers and logs the AWS calls that pass, and
//! at a chosen call holds it, before it is forwarded or before its answer is given back, or answers with a
//! fault. With a held call a test can kill the process at exactly that point.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use tokio::{
    sync::{oneshot, watch},
    time::timeout,
};

use crate::{
    aws_call::{AwsCall, AwsError, form_value, identify},
    background,
    error::{Context, Error, Result},
    http1::{self, Reply, Reset, Server},
};

/// Where calls go: all to one emulator, but for services that have their own.
#[derive(Clone, Debug)]
pub struct Upstreams {
    default: String,
    services: HashMap<String, String>,
}

impl Upstreams {
    /// All calls to one base URL (`http://127.0.0.1:PORT`).
    pub fn to(url: impl Into<String>) -> Self {
        Self { default: url.into(), services: HashMap::new() }
    }

    /// Calls whose signature names this service go elsewhere.
    #[must_use]
    pub fn service(mut self, service: impl Into<String>, url: impl Into<String>) -> Self {
        self.services.insert(service.into(), url.into());
        self
    }
}

/// A call that has come to the proxy.
#[derive(Clone, Debug)]
pub struct Call {
    /// From 1, in the order of arrival.
    pub number: usize,
    /// HTTP method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Service, operation, Region, caller.
    pub aws: AwsCall,
    /// The request's body.
    pub body: Bytes,
    /// Whether it reached its upstream.
    pub forwarded: bool,
    /// The status given back, a fault's too; none while it is under way, and where the connection was
    /// reset or the upstream broke off.
    pub status: Option<u16>,
}

impl Call {
    /// The body as text; what is no UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A value of the body, where that is a form.
    pub fn form(&self, key: &str) -> Option<String> {
        form_value(&self.body, key)
    }

    /// `service:Operation`, as in an IAM action.
    pub fn action(&self) -> String {
        format!("{}:{}", self.aws.service, self.aws.operation)
    }
}

/// Which call an order is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The call of this number, counted from 1.
    Number(usize),
    /// The nth call from now on, counted from 1, of this operation of this service.
    Nth(String, String, usize),
    /// Every call of this operation of this service.
    Every(String, String),
    /// Every call to this service.
    Service(String),
}

/// What is answered in place of the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An AWS error in the service's form; the call does not reach its upstream.
    Error(AwsError),
    /// A TCP reset; the call does not reach its upstream.
    ResetBefore,
    /// A TCP reset after the upstream has done it: the answer is lost.
    ResetAfter,
}

impl From<AwsError> for Fault {
    fn from(error: AwsError) -> Self {
        Self::Error(error)
    }
}

/// What a test says to a held call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    GoOn,
    Discard,
}

#[derive(Debug)]
enum Action {
    HoldBefore(Option<oneshot::Sender<Held>>),
    HoldAfter(Option<oneshot::Sender<Held>>),
    Fault(Fault),
}

#[derive(Debug)]
struct Order {
    target: Target,
    seen: usize,
    action: Action,
}

#[derive(Debug, Default)]
struct State {
    calls: Vec<Call>,
    /// Counts resets: the fate of a call that was under way at one is not noted.
    epoch: usize,
    orders: Vec<Order>,
}

#[derive(Debug)]
struct Shared {
    upstreams: Upstreams,
    state: Mutex<State>,
    under_way: watch::Sender<usize>,
}

/// A running proxy on a free port of 127.0.0.1.
#[derive(Debug)]
pub struct HoldProxy {
    server: Server,
    shared: Arc<Shared>,
}

impl HoldProxy {
    /// Starts one in front of emulators.
    pub fn start(upstreams: Upstreams) -> Result<Self> {
        let shared = Arc::new(Shared { upstreams, state: Mutex::default(), under_way: watch::channel(0).0 });
        let proxy = Arc::clone(&shared);
        let server = http1::serve(move |request| {
            let proxy = Arc::clone(&proxy);
            async move {
                // A task of its own: a call that was sent before its process was killed still arrives.
                let passage =
                    background::handle().map_err(|_| Reset)?.spawn(async move { proxy.pass(request).await });
                passage.await.unwrap_or(Err(Reset))
            }
        })?;
        Ok(Self { server, shared })
    }

    /// The endpoint to give to the process, for `AWS_ENDPOINT_URL`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// All calls so far, in the order of arrival.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.state().calls.clone()
    }

    /// The actions called so far (`s3:PutBucketVersioning`), in the order of arrival.
    pub fn actions(&self) -> Vec<String> {
        self.shared.state().calls.iter().map(Call::action).collect()
    }

    /// Forgets calls and orders, and numbers from 1 again. A call that is held stays held.
    pub fn reset(&self) {
        let mut state = self.shared.state();
        state.calls.clear();
        state.orders.clear();
        state.epoch += 1;
    }

    /// Holds the first call that the target names before it is forwarded.
    pub fn hold_before(&self, target: Target) -> Hold {
        let (sender, held) = oneshot::channel();
        self.order(target, Action::HoldBefore(Some(sender)));
        Hold { held }
    }

    /// Forwards the first call that the target names, and holds its answer.
    pub fn hold_after(&self, target: Target) -> Hold {
        let (sender, held) = oneshot::channel();
        self.order(target, Action::HoldAfter(Some(sender)));
        Hold { held }
    }

    /// Answers the calls that the target names with a fault.
    pub fn fault(&self, target: Target, fault: impl Into<Fault>) {
        self.order(target, Action::Fault(fault.into()));
    }

    /// Waits until no call is under way: whatever a killed process has sent has then been done.
    pub async fn settled(&self, patience: Duration) -> Result<()> {
        let mut under_way = self.shared.under_way.subscribe();
        let waited = timeout(patience, under_way.wait_for(|count| *count == 0)).await;
        waited
            .context(|| format!("calls are still under way after {} s", patience.as_secs_f32()))?
            .map(drop)
            .context(|| "the proxy has ended".to_owned())
    }

    fn order(&self, target: Target, action: Action) {
        self.shared.state().orders.push(Order { target, seen: 0, action });
    }
}

/// An order to hold a call that has not come yet.
#[derive(Debug)]
pub struct Hold {
    held: oneshot::Receiver<Held>,
}

impl Hold {
    /// Waits until the call has come, and is held.
    pub async fn reached(self, patience: Duration) -> Result<Held> {
        match timeout(patience, self.held).await {
            Ok(held) => held.context(|| "the order to hold a call was withdrawn".into()),
            Err(_) => {
                Err(Error::new(format!("the call to hold did not come within {} s", patience.as_secs_f32())))
            }
        }
    }
}

/// A call that is held until it is told to go on. Dropped, it goes on.
#[derive(Debug)]
pub struct Held {
    /// The call, as it came.
    pub call: Call,
    verdict: oneshot::Sender<Verdict>,
}

impl Held {
    /// Lets it go on: it is forwarded, even if its process is dead by now, or its answer is given back.
    pub fn release(self) {
        let _ = self.verdict.send(Verdict::GoOn);
    }

    /// Breaks its connection: held before, it never reaches its upstream; held after, its answer is lost.
    pub fn discard(self) {
        let _ = self.verdict.send(Verdict::Discard);
    }
}

/// What is to be done with one call.
enum Plan {
    Forward,
    HoldBefore(oneshot::Sender<Held>),
    HoldAfter(oneshot::Sender<Held>),
    Fault(Fault),
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn pass(&self, request: Request<Bytes>) -> Reply {
        self.under_way.send_modify(|count| *count += 1);
        let reply = self.pass_counted(request).await;
        self.under_way.send_modify(|count| *count = count.saturating_sub(1));
        reply
    }

    async fn pass_counted(&self, request: Request<Bytes>) -> Reply {
        let (call, epoch, plan) = self.receive(&request);
        let number = call.number;
        let note = |forwarded, status| self.note(epoch, number, forwarded, status);
        let forward = async || {
            let upstreams = &self.upstreams;
            let url = upstreams.services.get(&call.aws.service).unwrap_or(&upstreams.default);
            let answer = pass_on(url, request).await;
            note(true, None);
            answer
        };
        let (forwarded, reply) = match plan {
            Plan::Forward => (true, forward().await),
            Plan::HoldBefore(sender) => match hold(sender, call.clone()).await {
                Verdict::GoOn => (true, forward().await),
                Verdict::Discard => (false, Err(Reset)),
            },
            Plan::HoldAfter(sender) => {
                let reply = forward().await;
                match hold(sender, call.clone()).await {
                    Verdict::GoOn => (true, reply),
                    Verdict::Discard => (true, Err(Reset)),
                }
            }
            Plan::Fault(Fault::Error(error)) => (false, Ok(error.answer(&call.aws))),
            Plan::Fault(Fault::ResetBefore) => (false, Err(Reset)),
            Plan::Fault(Fault::ResetAfter) => {
                let _ = forward().await;
                (true, Err(Reset))
            }
        };
        note(forwarded, reply.as_ref().ok().map(|answer| answer.status().as_u16()));
        reply
    }

    /// Numbers a call, and finds the order that it falls under: the first given.
    fn receive(&self, request: &Request<Bytes>) -> (Call, usize, Plan) {
        let mut state = self.state();
        let call = Call {
            number: state.calls.len() + 1,
            method: request.method().clone(),
            path: request.uri().path_and_query().map(ToString::to_string).unwrap_or_default(),
            aws: identify(request),
            body: request.body().clone(),
            forwarded: false,
            status: None,
        };
        let mut plan = None;
        // All of them look at the call, since they count.
        for order in &mut state.orders {
            if order.meets(&call) && plan.is_none() {
                plan = order.take();
            }
        }
        let plan = plan.unwrap_or(Plan::Forward);
        state.calls.push(call.clone());
        (call, state.epoch, plan)
    }

    fn note(&self, epoch: usize, number: usize, forwarded: bool, status: Option<u16>) {
        let mut state = self.state();
        if state.epoch != epoch {
            return;
        }
        if let Some(call) = state.calls.get_mut(number.saturating_sub(1)) {
            call.forwarded = forwarded;
            call.status = status;
        }
    }
}

impl Order {
    /// Counts the call, and says whether it is the one meant.
    fn meets(&mut self, call: &Call) -> bool {
        let same =
            |service: &str, operation: &str| call.aws.service == service && call.aws.operation == operation;
        match &self.target {
            Target::Number(number) => *number == call.number,
            Target::Nth(service, operation, nth) => {
                if same(service, operation) {
                    self.seen += 1;
                }
                same(service, operation) && self.seen == *nth
            }
            Target::Every(service, operation) => same(service, operation),
            Target::Service(service) => call.aws.service == *service,
        }
    }

    /// What it asks for; a hold asks once.
    fn take(&mut self) -> Option<Plan> {
        match &mut self.action {
            Action::HoldBefore(sender) => sender.take().map(Plan::HoldBefore),
            Action::HoldAfter(sender) => sender.take().map(Plan::HoldAfter),
            Action::Fault(fault) => Some(Plan::Fault(fault.clone())),
        }
    }
}

async fn hold(sender: oneshot::Sender<Held>, call: Call) -> Verdict {
    let (verdict, told) = oneshot::channel();
    match sender.send(Held { call, verdict }) {
        Ok(()) => told.await.unwrap_or(Verdict::GoOn),
        // The test has dropped its order.
        Err(_) => Verdict::GoOn,
    }
}

/// Passes a request on, and its answer back.
pub(crate) async fn pass_on(url: &str, request: Request<Bytes>) -> Reply {
    let head_only = request.method() == Method::HEAD;
    let (mut head, body) = request.into_parts();
    // The Host header stays: the caller's signature covers it.
    hop_by_hop(&mut head.headers);
    head.headers.remove(header::EXPECT);
    head.headers.remove(header::CONTENT_LENGTH);
    // Where the upstream breaks off, so does the proxy.
    let mut answer = http1::send(url, Request::from_parts(head, body)).await.map_err(|_| Reset)?;
    hop_by_hop(answer.headers_mut());
    if !head_only {
        answer.headers_mut().remove(header::CONTENT_LENGTH);
    }
    *answer.version_mut() = http::Version::HTTP_11;
    Ok(answer)
}

/// Headers that belong to one connection only.
fn hop_by_hop(headers: &mut HeaderMap) {
    for name in
        ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"]
    {
        headers.remove(name);
    }
}
