//! The Lambda function: events in, one by one or in SQS batches; outcomes told; what must wait given back.

mod stream;

use std::{sync::Arc, time::Duration};

use aws_config::SdkConfig;
use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use aws_sdk_sqs::types::MessageAttributeValue;
use jiff::{SignedDuration, Timestamp};
use redress_remediators::Disposition;
use serde_json::{Value, value::RawValue};
use tokio::{sync::OnceCell, task::JoinSet, time::Instant};
use tracing::{error, info, warn};

use crate::{
    activity::ActivityTable,
    audit::{Asker, FindingRef, Stage, Subject, Verb},
    config::Config,
    doctor,
    engine::{Dismissed, Done, Engine, Outcome, Request, told},
    event::{Decoded, Door, Envelope, Glance, Ignored, Incoming, decode, glance, printable, shown},
    finding::Finding,
    inactive::{Home, Importer},
    report::Reporter,
    rules::OWN_ACTIONS,
    telemetry,
};

/// The longest that a message is hidden before it is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);

/// What is kept of the function's time to tell of a run that was settled: so much, or a quarter of it.
const TIME_TO_TELL: Duration = Duration::from_secs(15);

/// What the hourly schedule sends: `{"redress":"recover"}`.
const RECOVER: &str = "recover";

/// What `redress doctor` sends: `{"redress":"doctor"}`.
const DOCTOR: &str = "doctor";

/// The function's parts, made once and kept warm.
pub struct Service {
    engine: Engine,
    reporter: Reporter,
    config: Config,
    aws: SdkConfig,
    sqs: OnceCell<aws_sdk_sqs::Client>,
    activity: Option<Arc<ActivityTable>>,
    importer: Importer,
}

/// An event that was read.
enum Ready {
    /// It has findings to be handled.
    Incoming(Box<Incoming>),
    /// Nobody wants it, and why.
    Unwanted(String),
    /// It can't be decoded, and why.
    Dead(String),
}

impl Ready {
    /// The one finding that it has.
    fn finding(&self) -> Option<&Finding> {
        match self {
            Self::Incoming(incoming) => match incoming.findings.as_slice() {
                [Decoded::Finding(finding)] => Some(finding),
                _ => None,
            },
            Self::Unwanted(_) | Self::Dead(_) => None,
        }
    }

    fn control(&self) -> Option<&str> {
        self.finding().map(|finding| finding.control.as_str())
    }

    /// What names the one resource that it is about, in either format; that two names are one resource's is left to the
    /// lease.
    fn resource(&self) -> Option<String> {
        let finding = self.finding()?;
        let [resource] = finding.resources.as_slice() else { return None };
        let id = match &resource.id_alt {
            Some(arn) if !resource.id.starts_with("arn:") => arn,
            _ => &resource.id,
        };
        Some(format!("{}/{}/{id}", finding.account, finding.region))
    }
}

/// What becomes of one event.
#[derive(Debug)]
enum Verdict {
    Done,
    Retry { after: Duration, why: String },
    Dead(String),
}

/// Why an invocation fails as a whole, so that Lambda tries it again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TryAgain(pub String);

impl Service {
    /// The function around an engine.
    pub fn new(
        engine: Engine,
        reporter: Reporter,
        config: Config,
        aws: SdkConfig,
        activity: Option<Arc<ActivityTable>>,
    ) -> Self {
        let importer = Importer::new(aws.clone());
        Self { engine, reporter, config, aws, sqs: OnceCell::new(), activity, importer }
    }

    /// Answers one invocation of the function with this ARN: an EventBridge event, an SQS batch of them, a
    /// batch of the activity table's stream, the hourly `recover`, or the question of `redress doctor`.
    ///
    /// # Errors
    /// [`TryAgain`] where a single event must be tried again. Items of a batch fail on their own.
    pub async fn invoke(
        self: &Arc<Self>,
        payload: &RawValue,
        function_arn: &str,
        deadline: Instant,
    ) -> Result<Value, TryAgain> {
        let text = payload.get();
        if let Some(records) = stream::records(text) {
            return Box::pin(self.stream(records, home(function_arn)?, deadline)).await;
        }
        if let Some(batch) = sqs_batch(text) {
            return Ok(Box::pin(self.batch(batch, deadline)).await);
        }
        match direct(text).as_deref() {
            Some(RECOVER) => return Box::pin(self.recover(function_arn, deadline)).await,
            Some(DOCTOR) => return Ok(Box::pin(self.examine(deadline)).await),
            _ => {}
        }
        match Box::pin(self.event(self.read(text.as_bytes()), &mut Vec::new(), deadline, false)).await {
            Verdict::Done => Ok(Value::Null),
            Verdict::Retry { why, .. } => Err(TryAgain(why)),
            // There is no queue to put it aside on: trying again would not help, so it is logged whole
            // enough to be found, and acknowledged.
            Verdict::Dead(why) => {
                error!(why, "an event that can't be decoded");
                Ok(Value::Null)
            }
        }
    }

    /// Handles the messages of a batch side by side, those about one resource one after the other: the lease would send
    /// all but the first of them back to the queue, and two changes at odds are seen as such only together.
    async fn batch(self: &Arc<Self>, batch: SqsEvent, deadline: Instant) -> Value {
        let mut groups: Vec<(String, Vec<(SqsMessage, Ready)>)> = Vec::new();
        for message in batch.records {
            let ready = self.read(message.body.as_deref().unwrap_or_default().as_bytes());
            let place = ready.resource();
            match groups.iter_mut().find(|(known, _)| place.as_ref() == Some(known)) {
                Some((_, group)) => group.push((message, ready)),
                None => groups.push((place.unwrap_or_default(), vec![(message, ready)])),
            }
        }
        let mut tasks = JoinSet::new();
        for (_, mut group) in groups {
            // A fix that may bring another finding goes before the fix of that one.
            let raised: Vec<&str> =
                group.iter().flat_map(|(_, ready)| self.may_raise(ready)).copied().collect();
            group.sort_by_key(|(_, ready)| ready.control().is_some_and(|control| raised.contains(&control)));
            let service = Arc::clone(self);
            tasks.spawn(async move {
                let (mut given_back, mut after) = (Vec::new(), Vec::new());
                for (message, ready) in group {
                    given_back.extend(Box::pin(service.message(message, ready, &mut after, deadline)).await);
                }
                given_back
            });
        }
        let mut answer = SqsBatchResponse::default();
        for failed in tasks.join_all().await.into_iter().flatten() {
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = failed;
            answer.batch_item_failures.push(failure);
        }
        serde_json::to_value(answer).unwrap_or_default()
    }

    /// Controls that may fail once the finding is fixed.
    fn may_raise(&self, ready: &Ready) -> &'static [&'static str] {
        let rule = ready.finding().and_then(|finding| self.engine.rules.route(finding));
        rule.map_or(&[], |rule| rule.remediator.may_raise())
    }

    /// Handles a message; gives its id back if it must come again.
    async fn message(
        &self,
        message: SqsMessage,
        ready: Ready,
        after: &mut Vec<Subject>,
        deadline: Instant,
    ) -> Option<String> {
        let id = message.message_id.clone().unwrap_or_default();
        match self.event(ready, after, deadline, receive_count(&message) > 1).await {
            Verdict::Done => None,
            Verdict::Retry { after, why } => {
                let pause = pause(after, receive_count(&message), &id);
                info!(message = id, why, seconds = pause.as_secs(), "given back to the queue");
                self.hide(&message, pause).await;
                Some(id)
            }
            Verdict::Dead(why) => {
                error!(message = id, why, "a message that can't be decoded");
                match self.put_aside(message.body.as_deref().unwrap_or_default(), &why).await {
                    Ok(()) => None,
                    Err(error) => {
                        warn!(message = id, error, "it could not be put aside");
                        Some(id)
                    }
                }
            }
        }
    }

    async fn sqs(&self) -> &aws_sdk_sqs::Client {
        self.sqs.get_or_init(async || aws_sdk_sqs::Client::new(&self.aws)).await
    }

    /// Sets when the message comes again. If that fails, it comes when the queue says.
    async fn hide(&self, message: &SqsMessage, pause: Duration) {
        let (Some(url), Some(receipt)) = (&self.config.queue_url, &message.receipt_handle) else { return };
        let seconds = i32::try_from(pause.as_secs()).unwrap_or(i32::MAX);
        let hidden = self
            .sqs()
            .await
            .change_message_visibility()
            .queue_url(url)
            .receipt_handle(receipt)
            .visibility_timeout(seconds)
            .send()
            .await;
        if let Err(error) = hidden {
            let error = redress_remediators::Error::from(error);
            warn!(%error, "the message's visibility could not be set");
        }
    }

    /// Sends a message to the dead-letter queue, with the reason.
    async fn put_aside(&self, body: &str, why: &str) -> Result<(), String> {
        let Some(url) = &self.config.dead_letter_url else {
            return Err("there is no REDRESS_DEAD_LETTER_URL".to_owned());
        };
        let reason =
            MessageAttributeValue::builder().data_type("String").string_value(printable(why)).build();
        let reason = reason.map_err(|error| error.to_string())?;
        // SQS takes no empty body, and only the characters of XML 1.0.
        let body: String =
            body.chars().filter(|c| !c.is_control() || matches!(c, '\t' | '\n' | '\r')).collect();
        let body = if body.is_empty() { "(empty)".to_owned() } else { body };
        let sent = self
            .sqs()
            .await
            .send_message()
            .queue_url(url)
            .message_body(body)
            .message_attributes("reason", reason)
            .send()
            .await;
        sent.map(drop).map_err(|error| redress_remediators::Error::from(error).to_string())
    }

    async fn recover(&self, function_arn: &str, deadline: Instant) -> Result<Value, TryAgain> {
        let cut_off = self.engine.cut_off().await.map_err(|error| TryAgain(error.to_string()))?;
        // What is settled is told at once: a run that has ended is found by no later look.
        let spare = TIME_TO_TELL.min(deadline.saturating_duration_since(Instant::now()) / 4);
        let until = deadline.checked_sub(spare).unwrap_or(deadline);
        let (mut settled, mut untold) = (0, None);
        for cut_off in cut_off {
            if Instant::now() + self.engine.settings.time_to_verify > until {
                info!("the runs that are left are settled in an hour");
                break;
            }
            let Some(done) = Box::pin(self.engine.finish(cut_off, until)).await else { continue };
            settled += 1;
            untold = Box::pin(self.tell(&mut [done], false)).await.or(untold);
        }
        if let Some(why) = untold {
            return Err(TryAgain(why));
        }
        let mut answer = serde_json::json!({ "settled": settled });
        if self.activity.is_some() {
            answer["closed"] = Box::pin(self.sweep(&home(function_arn)?, deadline)).await?.into();
        }
        Ok(answer)
    }

    async fn examine(&self, deadline: Instant) -> Value {
        let parts = doctor::Parts {
            config: &self.config,
            rules: &self.engine.rules,
            store: &*self.engine.store,
            activity: self.activity.as_deref(),
            aws: &self.aws,
            partition: &self.engine.settings.partition,
        };
        let report = Box::pin(doctor::examine(&parts, deadline)).await;
        serde_json::to_value(report).unwrap_or_default()
    }

    /// What there is to do about an event, as far as its text says.
    fn read(&self, bytes: &[u8]) -> Ready {
        if let Glance::Drop(ignored) = glance(bytes, &|control| self.engine.rules.wants(control)) {
            return Ready::Unwanted(ignored.to_string());
        }
        match decode(bytes) {
            Ok(incoming) => Ready::Incoming(Box::new(incoming)),
            Err(invalid) => Ready::Dead(invalid.to_string()),
        }
    }

    /// Handles an event, for the first time or `again`. `after` is what was fixed before it in the same batch, and takes
    /// up what is fixed now.
    async fn event(&self, ready: Ready, after: &mut Vec<Subject>, deadline: Instant, again: bool) -> Verdict {
        let incoming = match ready {
            Ready::Incoming(incoming) => *incoming,
            Ready::Unwanted(why) => {
                Self::emit(&[Done::Unwanted(why)]);
                return Verdict::Done;
            }
            Ready::Dead(why) => return Verdict::Dead(why),
        };
        let late = again || is_old(&incoming.envelope, Timestamp::now());
        let (mut done, dead) = Box::pin(self.findings(incoming, after, deadline)).await;
        if let Some(why) = self.tell(&mut done, late).await {
            return Verdict::Retry { after: Duration::from_secs(20), why };
        }
        let retry = done.into_iter().find_map(|done| match done {
            Done::Retry { after, why, .. } => Some((after, why)),
            Done::Outcome(_) | Done::Repeat { .. } | Done::Unwanted(_) => None,
        });
        match (retry, dead) {
            (Some((after, why)), _) => Verdict::Retry { after, why },
            (None, Some(why)) => Verdict::Dead(why),
            (None, None) => Verdict::Done,
        }
    }

    /// Handles the findings of an event, one after the other: they may be of one resource.
    async fn findings(
        &self,
        incoming: Incoming,
        after: &mut Vec<Subject>,
        deadline: Instant,
    ) -> (Vec<Done>, Option<String>) {
        let Incoming { envelope, findings, keys } = incoming;
        let mut done = Vec::new();
        let mut dead = None;
        let order = match self.order(&envelope) {
            Ok(order) => order,
            Err(why) => {
                done.push(Done::Unwanted(why));
                return (done, None);
            }
        };
        for (decoded, key) in findings.into_iter().zip(keys) {
            let (stage, why) = match decoded {
                Decoded::Finding(finding) => {
                    let request = Request {
                        finding: *finding,
                        verb: order.verb,
                        asked_by: order.asked_by.clone(),
                        event: envelope.id.clone(),
                        asked_at: envelope.time.as_deref().and_then(|time| time.parse().ok()),
                        only_rule: order.only_rule.clone(),
                        only_resource: None,
                        agreed: None,
                        deadline,
                        dry_run: false,
                        record: true,
                        listed: true,
                        after: after.clone(),
                    };
                    let ended = Box::pin(self.engine.handle(&request)).await;
                    after.extend(ended.iter().filter_map(|done| match done {
                        Done::Outcome(outcome)
                            if outcome.stage == Stage::Verified && !done.is_of_another() =>
                        {
                            Some(outcome.subject.clone())
                        }
                        _ => None,
                    }));
                    done.extend(ended);
                    continue;
                }
                Decoded::Ignored(ignored @ Ignored::InsightResults) => (Stage::Refused, ignored.to_string()),
                Decoded::Ignored(ignored) => (Stage::Skipped, ignored.to_string()),
                Decoded::Invalid(invalid) => {
                    dead.get_or_insert_with(|| invalid.to_string());
                    (Stage::Refused, invalid.to_string())
                }
            };
            if order.asked_by.is_automatic() {
                done.push(Done::Unwanted(why));
                continue;
            }
            // A person who clicked gets an answer.
            let note = key.as_ref().and_then(|key| key.note.clone());
            let finding = key.map(|key| FindingRef {
                id: key.id,
                product: key.product_arn,
                metadata_uid: key.metadata_uid,
                unlisted: false,
            });
            let dismissed = Dismissed {
                finding,
                event: &envelope.id,
                asked_by: order.asked_by.clone(),
                verb: order.verb,
                account: &envelope.account,
                region: &envelope.region,
                note,
                stage,
                why: &why,
            };
            done.push(self.engine.dismiss(&dismissed).await);
        }
        (done, dead)
    }

    /// What an event asks for.
    fn order(&self, envelope: &Envelope) -> Result<Order, String> {
        let (action_arn, name) = match &envelope.door {
            Door::Imported => {
                let asked_by = Asker::Automatic { event: envelope.id.clone() };
                return Ok(Order { verb: Verb::Fix, asked_by, only_rule: None });
            }
            Door::CustomAction { action_arn, name } => (action_arn, name),
            Door::Cli => return Err("an event can't come from the command line".to_owned()),
        };
        let asked_by = Asker::CustomAction {
            action: action_arn.clone(),
            event: envelope.id.clone(),
            account: envelope.account.clone(),
            region: envelope.region.clone(),
        };
        // arn:PARTITION:securityhub:REGION:ACCOUNT:action/custom/ID
        let id = action_arn.rsplit('/').next().unwrap_or_default();
        let order = |verb, only_rule| Ok(Order { verb, asked_by: asked_by.clone(), only_rule });
        match id {
            // Insight results come without an action; decode has said that they are not supported.
            "" | "RedressPlan" => order(Verb::Plan, None),
            "RedressFix" => order(Verb::Fix, None),
            "RedressUndo" => order(Verb::Undo, None),
            _ => match self.engine.rules.by_action(id) {
                Some(rule) => order(Verb::Fix, Some(rule.name().to_owned())),
                None => Err(format!(
                    "custom action `{}` ({}) is neither one of {} nor a rule's",
                    shown(id),
                    shown(name),
                    OWN_ACTIONS.join(", ")
                )),
            },
        }
    }

    /// Tells what is to be told, and marks it as told; `late` where findings may bear more by now than the event says.
    /// `Some`: not everybody was told, and why.
    async fn tell(&self, done: &mut [Done], late: bool) -> Option<String> {
        Self::emit(done);
        let mut failed = None;
        match self.reporter.look_up(done, late).await {
            // The records and the events tell of it; the note is made up if the run's own event comes again.
            Err(error) if error.disposition() != Disposition::Retry => {
                error!(%error, "findings can't be read: nothing is written to them");
            }
            Err(error) => failed = Some(error.to_string()),
            Ok(()) => {}
        }
        let outcomes: Vec<&Outcome> = done.iter().filter_map(Done::outcome).collect();
        if outcomes.is_empty() {
            return failed;
        }
        for (outcome, told_all) in outcomes.iter().zip(self.reporter.report(&outcomes).await) {
            match told_all {
                // Whoever may not write to Security Hub now may not do so in a minute either: the record
                // stands, and the log has the reason.
                Err(error) if error.disposition() != Disposition::Retry => {
                    error!(%error, run = outcome.run, "the outcome could not be told");
                }
                Err(error) => {
                    warn!(%error, run = outcome.run, "the outcome could not be told yet");
                    failed.get_or_insert_with(|| error.to_string());
                    continue;
                }
                Ok(()) => {}
            }
            if let Some(commit) = told(outcome)
                && let Err(error) = self.engine.store.commit(&commit).await
            {
                failed.get_or_insert_with(|| format!("the outcome could not be marked as told: {error}"));
            }
        }
        failed
    }

    fn emit(done: &[Done]) {
        let millis = Timestamp::now().as_millisecond();
        for done in done {
            match done {
                Done::Outcome(_) => {}
                Done::Repeat { stage, reason, .. } => {
                    info!(stage = stage.as_str(), reason, "as before: not told again");
                }
                Done::Unwanted(reason) => info!(reason, "not wanted"),
                Done::Retry { why, .. } => info!(why, "to be tried again"),
            }
            for line in telemetry::metrics(done, millis) {
                telemetry::print(&line);
            }
        }
    }
}

/// What an event asks for, and at whose word.
struct Order {
    verb: Verb,
    asked_by: Asker,
    only_rule: Option<String>,
}

/// Whether an event happened so long ago that people may have written on its findings since.
fn is_old(envelope: &Envelope, now: Timestamp) -> bool {
    let time = envelope.time.as_deref().and_then(|time| time.parse::<Timestamp>().ok());
    time.is_none_or(|time| now.duration_since(time) > SignedDuration::from_mins(2))
}

fn home(function_arn: &str) -> Result<Home, TryAgain> {
    Home::of_function(function_arn).ok_or_else(|| TryAgain("the function's ARN is not known".to_owned()))
}

fn sqs_batch(text: &str) -> Option<SqsEvent> {
    // An EventBridge event has no `Records`; looking for the word spares parsing every event twice.
    if !text.contains("\"Records\"") {
        return None;
    }
    let batch: SqsEvent = serde_json::from_str(text).ok()?;
    let ours = |message: &SqsMessage| message.event_source.as_deref() == Some("aws:sqs");
    (!batch.records.is_empty() && batch.records.iter().all(ours)).then_some(batch)
}

/// What a direct invocation asks for. No event is one: it has other members, and comes by the queue.
fn direct(text: &str) -> Option<String> {
    if text.len() >= 100 {
        return None;
    }
    let value: Value = serde_json::from_str(text).ok()?;
    let members = value.as_object().filter(|members| members.len() == 1)?;
    members.get("redress")?.as_str().map(str::to_owned)
}

fn receive_count(message: &SqsMessage) -> u32 {
    message.attributes.get("ApproximateReceiveCount").and_then(|count| count.parse().ok()).unwrap_or(1)
}

/// 20 seconds, doubled with each try to 15 minutes, and up to a quarter more so that those that failed
/// together do not come again together.
fn pause(after: Duration, receive_count: u32, id: &str) -> Duration {
    let doubled = Duration::from_secs(20) * 2u32.pow(receive_count.saturating_sub(1).min(6));
    let base = if receive_count <= 1 { after } else { doubled.max(after) }.min(LONGEST_PAUSE);
    let spread = id.bytes().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % 256;
    (base + base * spread / 1024).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_a_quarter_of_an_hour() {
        let seconds = |count| pause(Duration::from_secs(20), count, "").as_secs();
        assert_eq!((1..=8).map(seconds).collect::<Vec<_>>(), [20, 40, 80, 160, 320, 640, 900, 900]);
        assert_eq!(pause(Duration::from_secs(1), 1, "").as_secs(), 1);
        assert!(pause(Duration::from_secs(20), 2, "a message id") > Duration::from_secs(40));
    }

    #[test]
    fn an_event_that_speaks_of_records_is_no_batch() {
        assert!(sqs_batch(r#"{"Records":[]}"#).is_none());
        assert!(sqs_batch(r#"{"detail":{"x":"\"Records\""}}"#).is_none());
        assert!(
            sqs_batch(r#"{"Records":[{"messageId":"m","eventSource":"aws:sqs","body":"{}"}]}"#).is_some()
        );
    }

    #[test]
    fn an_order_is_one_word_and_nothing_else() {
        assert_eq!(direct(r#"{"redress":"recover"}"#).as_deref(), Some(RECOVER));
        assert_eq!(direct(r#"{ "redress": "doctor" }"#).as_deref(), Some(DOCTOR));
        for text in [
            r#"{"redress":{"doctor":1}}"#,
            r#"{"redress":"doctor","detail-type":"x"}"#,
            r#""doctor""#,
            "[]",
            "{",
        ] {
            assert_eq!(direct(text), None, "{text}");
        }
    }
}
