//! SQS and its event source mapping as Lambda runs it, in the test's own memory: fast, and without a clock
//! that runs by itself. A message becomes visible again when the test (or [`Poller::drain`]) moves the
//! queue's time, so an hour of retries takes milliseconds and comes out the same each time.
//!
//! Standard queues only. Records carry no `md5OfBody`, which nothing of ours reads.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Map, Value, json};

use crate::{
    aws_call::{AwsError, identify},
    error::{Error, Result},
    http1::{self, Server},
    runtime_api::{Answer, Function, Outcome, new_id},
};

/// A batch's largest size without a batching window.
const BATCH: usize = 10;
/// [`Poller::drain`] gives up after this many rounds: the queue would never get empty.
const ROUNDS: usize = 10_000;

/// A queue's attributes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The queue's name.
    pub name: String,
    /// Its account.
    pub account: String,
    /// Its Region.
    pub region: String,
    /// How long a received message stays invisible (SQS: 30 s; AWS advises six times the function's
    /// timeout).
    pub visibility: Duration,
    /// After so many receives a message goes to the dead letters at the next; none: it stays forever.
    pub max_receive_count: Option<u32>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "redress".to_owned(),
            account: "123456789012".to_owned(),
            region: "us-east-1".to_owned(),
            visibility: Duration::from_mins(3),
            max_receive_count: Some(5),
        }
    }
}

/// A message, in the queue or among the dead letters.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Its id.
    pub id: String,
    /// Its body.
    pub body: String,
    /// Message attributes in the form of the SQS API (`DataType`, `StringValue`).
    pub attributes: BTreeMap<String, Value>,
    /// How often it was received.
    pub receive_count: u32,
    /// The time on the queue's clock when it can next be received.
    pub visible_at: Duration,
    sent_at: Duration,
    first_received_at: Option<Duration>,
    receipt: String,
}

#[derive(Debug)]
struct State {
    now: Duration,
    messages: Vec<Message>,
    dead: Vec<Message>,
    deleted: usize,
}

/// A queue in memory; clones are the same one.
#[derive(Clone, Debug)]
pub struct Queue {
    settings: Arc<Settings>,
    epoch: SystemTime,
    state: Arc<Mutex<State>>,
}

impl Queue {
    /// An empty queue, its clock at zero.
    pub fn new(settings: Settings) -> Self {
        let state = State { now: Duration::ZERO, messages: Vec::new(), dead: Vec::new(), deleted: 0 };
        Self { settings: Arc::new(settings), epoch: SystemTime::now(), state: Arc::new(Mutex::new(state)) }
    }

    /// Its ARN.
    pub fn arn(&self) -> String {
        let Settings { name, account, region, .. } = &*self.settings;
        format!("arn:aws:sqs:{region}:{account}:{name}")
    }

    /// Sends a message, visible at once, and returns its id.
    pub fn send(&self, body: impl Into<String>) -> String {
        self.send_with(body, BTreeMap::new())
    }

    /// [`Queue::send`] with message attributes in the form of the SQS API.
    pub fn send_with(&self, body: impl Into<String>, attributes: BTreeMap<String, Value>) -> String {
        let mut state = self.state();
        let id = new_id();
        let now = state.now;
        state.messages.push(Message {
            id: id.clone(),
            body: body.into(),
            attributes,
            receive_count: 0,
            visible_at: now,
            sent_at: now,
            first_received_at: None,
            receipt: String::new(),
        });
        id
    }

    /// Messages in the queue, visible or not.
    pub fn messages(&self) -> Vec<Message> {
        self.state().messages.clone()
    }

    /// What was received too often, or sent to the queue's dead letters.
    pub fn dead_letters(&self) -> Vec<Message> {
        self.state().dead.clone()
    }

    /// How many messages were processed and deleted.
    pub fn deleted(&self) -> usize {
        self.state().deleted
    }

    /// The time on the queue's clock.
    pub fn now(&self) -> Duration {
        self.state().now
    }

    /// Moves the queue's clock.
    pub fn advance(&self, time: Duration) {
        self.state().now += time;
    }

    /// Moves the clock to when the next message becomes visible, and says whether there is one.
    pub fn advance_to_next(&self) -> bool {
        let mut state = self.state();
        let Some(next) = state.messages.iter().map(|message| message.visible_at).min() else { return false };
        state.now = state.now.max(next);
        true
    }

    /// Receives up to ten visible messages, as `ReceiveMessage` does: they are invisible from now on, and
    /// one that has been received too often becomes a dead letter instead.
    pub fn receive(&self) -> Vec<Message> {
        let mut state = self.state();
        let (now, limit) = (state.now, self.settings.max_receive_count);
        let exhausted = |message: &Message| {
            message.visible_at <= now && limit.is_some_and(|limit| message.receive_count >= limit)
        };
        let dead: Vec<Message> = state.messages.extract_if(.., |message| exhausted(message)).collect();
        state.dead.extend(dead);
        let visible = state.messages.iter_mut().filter(|message| message.visible_at <= now).take(BATCH);
        visible
            .map(|message| {
                message.receive_count += 1;
                message.first_received_at.get_or_insert(now);
                message.visible_at = now + self.settings.visibility;
                message.receipt = new_id();
                message.clone()
            })
            .collect()
    }

    /// Deletes a message by id.
    pub fn delete(&self, id: &str) {
        let mut state = self.state();
        let before = state.messages.len();
        state.messages.retain(|message| message.id != id);
        state.deleted += before - state.messages.len();
    }

    /// The event that Lambda makes of received messages.
    pub fn event(&self, messages: &[Message]) -> Value {
        let records: Vec<Value> = messages.iter().map(|message| self.record(message)).collect();
        json!({ "Records": records })
    }

    fn record(&self, message: &Message) -> Value {
        let millis = |at: Duration| {
            let since = (self.epoch + at).duration_since(UNIX_EPOCH).unwrap_or_default();
            since.as_millis().to_string()
        };
        let attributes: Map<String, Value> = message
            .attributes
            .iter()
            .map(|(name, value)| {
                let field = |key: &str| value.get(key).cloned().unwrap_or_default();
                let lower = json!({
                    "stringValue": field("StringValue"),
                    "binaryValue": field("BinaryValue"),
                    "stringListValues": [],
                    "binaryListValues": [],
                    "dataType": field("DataType"),
                });
                (name.clone(), lower)
            })
            .collect();
        json!({
            "messageId": message.id,
            "receiptHandle": message.receipt,
            "body": message.body,
            "attributes": {
                "ApproximateReceiveCount": message.receive_count.to_string(),
                "SentTimestamp": millis(message.sent_at),
                "SenderId": "AIDAIENQZJOLO23YVJ4VO",
                "ApproximateFirstReceiveTimestamp": millis(message.first_received_at.unwrap_or_default()),
            },
            "messageAttributes": attributes,
            "eventSource": "aws:sqs",
            "eventSourceARN": self.arn(),
            "awsRegion": self.settings.region,
        })
    }

    /// Serves the queue at an endpoint for `AWS_ENDPOINT_URL_SQS`, as far as a function needs that was
    /// invoked from it: `GetQueueUrl`, `ChangeMessageVisibility`, `DeleteMessage`, and `SendMessage`, which
    /// to any queue but this one means its dead letters. Anything else is refused.
    pub fn serve(&self) -> Result<Server> {
        let queue = self.clone();
        http1::serve(move |request| {
            let answer = queue.answer(&request);
            async move { Ok(answer) }
        })
    }

    fn answer(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let call = identify(request);
        let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
        let receipt = text("ReceiptHandle");
        let by_receipt = |message: &&mut Message| !receipt.is_empty() && message.receipt == receipt;
        let refuse = |code: &str, message: &str| {
            let error = AwsError::Other { status: 400, code: code.to_owned(), message: message.to_owned() };
            error.answer(&call)
        };
        let reply = |body: &Value| http1::answer(200, "application/x-amz-json-1.0", body.to_string());
        match call.operation.as_str() {
            "GetQueueUrl" => {
                let host =
                    request.headers().get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
                let name = text("QueueName");
                reply(&json!({ "QueueUrl": format!("http://{host}/{}/{name}", self.settings.account) }))
            }
            "ChangeMessageVisibility" => {
                let seconds = body.get("VisibilityTimeout").and_then(Value::as_u64);
                let Some(seconds) = seconds.filter(|seconds| *seconds <= 43_200) else {
                    return refuse("InvalidParameterValue", "VisibilityTimeout must be between 0 and 43200");
                };
                let mut state = self.state();
                let now = state.now;
                match state.messages.iter_mut().find(by_receipt) {
                    Some(message) if message.visible_at > now => {
                        message.visible_at = now + Duration::from_secs(seconds);
                        reply(&json!({}))
                    }
                    Some(_) => refuse("MessageNotInflight", "the message is not in flight"),
                    None => refuse("ReceiptHandleIsInvalid", "the receipt handle is not valid"),
                }
            }
            "DeleteMessage" => {
                let id = self.state().messages.iter_mut().find(by_receipt).map(|message| message.id.clone());
                if let Some(id) = id {
                    self.delete(&id);
                }
                reply(&json!({}))
            }
            "SendMessage" => {
                let attributes: BTreeMap<String, Value> = body
                    .get("MessageAttributes")
                    .and_then(Value::as_object)
                    .into_iter()
                    .flatten()
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect();
                let id = self.send_with(text("MessageBody"), attributes);
                if text("QueueUrl").rsplit('/').next() != Some(self.settings.name.as_str()) {
                    let mut state = self.state();
                    let sent: Vec<Message> =
                        state.messages.extract_if(.., |message| message.id == id).collect();
                    state.dead.extend(sent);
                }
                reply(&json!({ "MessageId": id }))
            }
            other => refuse("UnsupportedOperation", &format!("{other} is not served")),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One invocation of the mapping.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The messages of the event.
    pub messages: Vec<String>,
    /// What the function answered.
    pub answer: Answer,
    /// The messages that stay in the queue: those that the answer named, or all.
    pub failed: Vec<String>,
}

/// An event source mapping from a queue to functions.
#[derive(Clone, Debug)]
pub struct Poller {
    queue: Queue,
    functions: Vec<Function>,
    batch_size: usize,
    partial: bool,
}

impl Poller {
    /// A mapping with batches of 10 and `ReportBatchItemFailures`. With several functions, each stands for
    /// one execution environment of the same function, and they work at the same time.
    pub fn new(queue: &Queue, functions: impl IntoIterator<Item = Function>) -> Self {
        Self {
            queue: queue.clone(),
            functions: functions.into_iter().collect(),
            batch_size: BATCH,
            partial: true,
        }
    }

    /// The most messages in an event (1 to 10).
    #[must_use]
    pub fn batch_size(mut self, size: usize) -> Self {
        self.batch_size = size.clamp(1, BATCH);
        self
    }

    /// Without `ReportBatchItemFailures`: a batch succeeds or fails as a whole, whatever the answer says.
    #[must_use]
    pub fn whole_batches(mut self) -> Self {
        self.partial = false;
        self
    }

    /// One round: receives what is visible, up to ten messages per function, invokes, and deletes what was
    /// processed. What failed stays invisible for the rest of its visibility timeout. Empty if nothing is
    /// visible.
    pub async fn poll(&self) -> Result<Vec<Batch>> {
        let mut work = Vec::new();
        for function in &self.functions {
            let messages = self.queue.receive();
            for messages in messages.chunks(self.batch_size) {
                work.push((function.clone(), messages.to_vec()));
            }
        }
        let mut tasks = Vec::new();
        for (function, messages) in work {
            let poller = self.clone();
            tasks.push(tokio::spawn(async move { poller.run(&function, &messages).await }));
        }
        let mut batches = Vec::new();
        for task in tasks {
            let batch = task.await.map_err(|error| Error::new(format!("a batch was cut short: {error}")))?;
            batches.push(batch?);
        }
        Ok(batches)
    }

    /// Polls until the queue is empty: every message deleted or among the dead letters. Moves the queue's
    /// clock whenever nothing is visible.
    pub async fn drain(&self) -> Result<Vec<Batch>> {
        let mut batches = Vec::new();
        for _ in 0..ROUNDS {
            let round = self.poll().await?;
            if round.is_empty() && !self.queue.advance_to_next() {
                return Ok(batches);
            }
            batches.extend(round);
        }
        Err(Error::new(format!("the queue is not empty after {ROUNDS} rounds")))
    }

    async fn run(&self, function: &Function, messages: &[Message]) -> Result<Batch> {
        let ids: Vec<String> = messages.iter().map(|message| message.id.clone()).collect();
        let answer = function.invoke(&self.queue.event(messages)).await?;
        let failed = match &answer.outcome {
            Outcome::Response(body) if self.partial => failures(body, &ids).unwrap_or_else(|| ids.clone()),
            Outcome::Response(_) => Vec::new(),
            _ => ids.clone(),
        };
        for id in ids.iter().filter(|id| !failed.contains(id)) {
            self.queue.delete(id);
        }
        Ok(Batch { messages: ids, answer, failed })
    }
}

/// The messages that a function's answer says have failed, by
/// [Lambda's rules](https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html): an empty
/// answer or list means none; `None`, for anything malformed or an id that is not of the batch, means all.
pub fn failures(answer: &[u8], batch: &[String]) -> Option<Vec<String>> {
    if answer.trim_ascii().is_empty() {
        return Some(Vec::new());
    }
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let list = match answer.get("batchItemFailures") {
        None | Some(Value::Null) => return Some(Vec::new()),
        Some(list) => list.as_array()?,
    };
    list.iter()
        .map(|item| {
            let id = item.get("itemIdentifier")?.as_str()?;
            batch.iter().find(|known| *known == id).cloned()
        })
        .collect()
}
