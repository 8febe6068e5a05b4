//! State and records in two DynamoDB tables: for a deployment.
//!
//! ```text
//! state   key: S                 etag: S, body: S (JSON)      an item
//!                                n: N                         a counter
//! audit   pk: S, sk: S           "run#<run>", "<number>"      a record: line: S, or z: B (gzip)
//!                                "resource#<key>",            a run that has ended, once for each way
//!                                "finding#<id>",              of looking it up
//!                                "account#<account>", "<time>#<run>"
//! both    expires: N             seconds since 1970; the table's TTL attribute
//! ```
//!
//! Index entries are items of the audit table, written with the last record of their run, because a global
//! secondary index [can't be read consistently](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.ReadConsistency.html).
//!
//! DynamoDB deletes expired items [within a few days](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html),
//! not at once: until then they are there, and count as absent.
//!
//! In the audit table items are only ever put, and only where there is none.

use std::{
    collections::{HashMap, HashSet},
    error::Error as StdError,
    io::{Read as _, Write as _},
    time::Duration,
};

use aws_sdk_dynamodb::{
    Client,
    error::{BuildError, ProvideErrorMetadata, SdkError},
    operation::{put_item::PutItemError, transact_write_items::TransactWriteItemsError},
    primitives::Blob,
    types::{
        AttributeValue, CancellationReason, Delete, KeysAndAttributes, Put,
        ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
    },
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use jiff::{SignedDuration, Timestamp};
use redress_remediators::{BoxFuture, Error, ErrorKind};
use serde_json::{Value, json};

use super::{Clock, Commit, CommitError, Expect, Index, Item, Op, RunRef, Store};
use crate::audit::{
    Record, Sealed,
    check::{Content, Row},
    open, sha256,
};

/// The longest line that is stored as it is, in bytes: a person who looks at the table can read it.
const LONGEST_PLAIN_LINE: usize = 32 * 1024;

/// The longest line that is unpacked, in bytes.
const LONGEST_LINE: u64 = 16 << 20;

/// The [largest item](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html),
/// in bytes of names and values.
const LARGEST_ITEM: usize = 400 * 1024;

/// What is kept free for what is not known of a record before its run has ended.
const ROOM_TO_SPARE: usize = 40 * 1024;

/// The longest part of a partition or sort key that is stored as it is, in bytes. DynamoDB takes
/// [2048 and 1024](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html).
const LONGEST_KEY_PART: usize = 900;

/// The most keys of one [BatchGetItem](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html).
const KEYS_A_CALL: usize = 100;

/// How often a call is made that others stand in the way of.
const MOST_TRIES: u32 = 8;

/// The first pause between such tries; doubled each time.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause between such tries. All of them together take some three seconds.
const LONGEST_PAUSE: Duration = Duration::from_millis(800);

type Attributes = HashMap<String, AttributeValue>;

/// A store in two DynamoDB tables.
pub struct DynamoDb {
    client: Client,
    state: String,
    audit: String,
    retention: SignedDuration,
    clock: Clock,
}

/// What a part of a transaction is about, to tell why it was refused.
#[derive(Clone, Copy, Debug)]
enum Part<'a> {
    Op(&'a Op),
    /// A counter that is taken to have expired: it begins anew.
    Anew(&'a Op),
    Record(&'a Record),
}

/// Why a call to write was not carried out.
enum Refused {
    /// For good.
    Final(CommitError),
    /// Because others were at it, and nothing was written.
    Contended(Error),
    /// There is no answer yet to the very same call.
    Unanswered(Error),
    /// Counters of these keys are not as the call took them to be: they have expired, or begun anew.
    Counters(Vec<String>),
}

impl DynamoDb {
    /// A store in the tables `state` and `audit`. All records of a run expire `retention_days` days after its
    /// start.
    pub fn new(
        client: Client,
        state: impl Into<String>,
        audit: impl Into<String>,
        retention_days: u32,
        clock: Clock,
    ) -> Self {
        let retention = SignedDuration::from_hours(24 * i64::from(retention_days));
        Self { client, state: state.into(), audit: audit.into(), retention, clock }
    }

    async fn read_all(&self, keys: &[String]) -> Result<HashMap<String, Item>, Error> {
        let now = self.now();
        let mut items = HashMap::new();
        if let [key] = keys {
            let answer = self
                .client
                .get_item()
                .table_name(&self.state)
                .key("key", text(key))
                .consistent_read(true)
                .send()
                .await
                .map_err(|error| failed(&self.state, error))?;
            items.extend(answer.item.and_then(|found| state_item(&found, now).transpose()).transpose()?);
            return Ok(items);
        }
        // A key that is asked for twice in one call is refused.
        let mut asked = HashSet::new();
        let keys: Vec<&String> = keys.iter().filter(|key| asked.insert(*key)).collect();
        for keys in keys.chunks(KEYS_A_CALL) {
            let keys = keys.iter().map(|key| Attributes::from([("key".to_owned(), text(*key))])).collect();
            let request = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build();
            let mut wanted =
                HashMap::from([(self.state.clone(), request.map_err(|error| unusable(&error))?)]);
            let mut pause = Pause::default();
            while !wanted.is_empty() {
                let answer = self
                    .client
                    .batch_get_item()
                    .set_request_items(Some(wanted))
                    .send()
                    .await
                    .map_err(|error| failed(&self.state, error))?;
                for found in answer.responses.into_iter().flat_map(HashMap::into_values).flatten() {
                    items.extend(state_item(&found, now)?);
                }
                wanted = answer.unprocessed_keys.unwrap_or_default();
                if !wanted.is_empty() && !pause.wait().await {
                    let why = format!("DynamoDB table `{}` leaves reads unanswered", self.state);
                    return Err(Error::new(ErrorKind::Throttled, why));
                }
            }
        }
        Ok(items)
    }

    async fn commit_all(&self, commit: &Commit) -> Result<(), CommitError> {
        // Kept over all tries: a call is known again only if it is the same to the letter.
        let now = self.now();
        let single = match (commit.ops.as_slice(), commit.records.as_slice()) {
            ([], []) => return Ok(()),
            ([op @ Op::Put { .. }], []) => Some(op),
            _ => None,
        };
        let mut anew = HashSet::new();
        let mut parts = self.parts(commit, now, &anew)?;
        let mut token = new_token();
        let mut pause = Pause::default();
        loop {
            let sent = match (single, parts.as_slice()) {
                (Some(op), [(_, TransactWriteItem { put: Some(put), .. })]) => self.put(op, put).await,
                _ => self.transact(&parts, &token, now).await,
            };
            let error = match sent {
                Ok(()) => return Ok(()),
                Err(Refused::Final(error)) => return Err(error),
                Err(Refused::Unanswered(error)) => error,
                Err(Refused::Contended(error)) => {
                    token = new_token();
                    error
                }
                Err(Refused::Counters(keys)) => {
                    for key in keys {
                        if !anew.remove(&key) {
                            anew.insert(key);
                        }
                    }
                    parts = self.parts(commit, now, &anew)?;
                    token = new_token();
                    Error::new(ErrorKind::Transient, "counters keep changing")
                }
            };
            if !pause.wait().await {
                let kind = ErrorKind::Transient;
                return Err(CommitError::Failed(Error { kind, ..error }));
            }
        }
    }

    /// Everything that a commit writes, in its order. Counters in `anew` have expired.
    fn parts<'a>(
        &self,
        commit: &'a Commit,
        now: i64,
        anew: &HashSet<String>,
    ) -> Result<Vec<(Part<'a>, TransactWriteItem)>, Error> {
        let mut parts = Vec::with_capacity(commit.ops.len() + 4 * commit.records.len());
        for op in &commit.ops {
            let anew = anew.contains(op.key());
            let item = self.write(op, now, anew).map_err(|error| unusable(&error))?;
            if let Some(put) = &item.put {
                check_size(&put.item, LARGEST_ITEM, op.key())?;
            }
            parts.push((if anew { Part::Anew(op) } else { Part::Op(op) }, item));
        }
        for (record, sealed) in &commit.records {
            for attributes in self.record_items(record, sealed)? {
                check_size(
                    &attributes,
                    LARGEST_ITEM,
                    &format!("record {} of run {}", record.seq, record.run),
                )?;
                let put = Put::builder()
                    .table_name(&self.audit)
                    .set_item(Some(attributes))
                    .condition_expression("attribute_not_exists(pk)")
                    .build()
                    .map_err(|error| unusable(&error))?;
                parts.push((Part::Record(record), TransactWriteItem::builder().put(put).build()));
            }
        }
        Ok(parts)
    }

    fn write(&self, op: &Op, now: i64, anew: bool) -> Result<TransactWriteItem, BuildError> {
        let item = TransactWriteItem::builder();
        Ok(match op {
            Op::Put { key, body, etag, expect, expires } => {
                let mut attributes = Attributes::from([
                    ("key".to_owned(), text(key)),
                    ("etag".to_owned(), text(etag)),
                    ("body".to_owned(), text(body.to_string())),
                ]);
                if let Some(expires) = expires {
                    attributes.insert("expires".to_owned(), number(expires.as_second()));
                }
                let condition = Condition::of(expect, now);
                let put = Put::builder()
                    .table_name(&self.state)
                    .set_item(Some(attributes))
                    .set_condition_expression(condition.expression)
                    .set_expression_attribute_names(condition.names)
                    .set_expression_attribute_values(condition.values)
                    .set_return_values_on_condition_check_failure(condition.returns)
                    .build()?;
                item.put(put).build()
            }
            Op::Delete { key, expect } => {
                let condition = Condition::of(expect, now);
                let delete = Delete::builder()
                    .table_name(&self.state)
                    .key("key", text(key))
                    .set_condition_expression(condition.expression)
                    .set_expression_attribute_names(condition.names)
                    .set_expression_attribute_values(condition.values)
                    .build()?;
                item.delete(delete).build()
            }
            Op::Count { key, limit, expires } => {
                let update = Update::builder()
                    .table_name(&self.state)
                    .key("key", text(key))
                    .expression_attribute_names("#n", "n")
                    .expression_attribute_names("#expires", "expires")
                    .expression_attribute_values(":one", number(1))
                    .expression_attribute_values(":expires", number(expires.as_second()))
                    .expression_attribute_values(":now", number(now))
                    .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
                let update = if anew {
                    update
                        .update_expression("SET #n = :one, #expires = :expires")
                        .condition_expression("#expires <= :now")
                } else {
                    // Nothing is there to be compared with before the first.
                    let first = if *limit == 0 { "" } else { "attribute_not_exists(#n) OR " };
                    update
                        .update_expression("SET #n = if_not_exists(#n, :zero) + :one, #expires = :expires")
                        .condition_expression(format!("{first}(#n < :limit AND #expires > :now)"))
                        .expression_attribute_values(":zero", number(0))
                        .expression_attribute_values(":limit", number(*limit))
                };
                item.update(update.build()?).build()
            }
        })
    }

    /// A record, and what it is found by once its run has ended.
    fn record_items(&self, record: &Record, sealed: &Sealed) -> Result<Vec<Attributes>, Error> {
        let subject = &record.subject;
        let resource = subject.resource.as_ref().map(ToString::to_string);
        let expires = self.expires(record).as_second();
        let described = |pk: String, sk: String| {
            let mut attributes = Attributes::from([
                ("pk".to_owned(), text(pk)),
                ("sk".to_owned(), text(sk)),
                ("run".to_owned(), text(&record.run)),
                ("time".to_owned(), text(record.time.to_string())),
                ("stage".to_owned(), text(record.stage.as_str())),
                ("control".to_owned(), text(&subject.control)),
                ("account".to_owned(), text(&subject.account)),
                ("expires".to_owned(), number(expires)),
            ]);
            let optional = [
                ("resource", &resource),
                ("rule", &subject.rule),
                ("remediator", &subject.remediator),
                ("undoes", &subject.undoes),
            ];
            for (name, value) in optional {
                if let Some(value) = value {
                    attributes.insert(name.to_owned(), text(value));
                }
            }
            attributes
        };
        let mut first = described(key_of("run", &record.run), format!("{:010}", record.seq));
        if sealed.line.len() <= LONGEST_PLAIN_LINE {
            first.insert("line".to_owned(), text(&sealed.line));
        } else {
            first.insert("z".to_owned(), AttributeValue::B(Blob::new(packed(&sealed.line)?)));
        }
        let mut items = vec![first];
        if record.last {
            // Nine digits after the second, always: the order of texts is the order of times.
            let sk = format!("{:.9}#{}", record.time, bounded(&record.run));
            items.extend(found_by(record).into_iter().map(|pk| described(pk, sk.clone())));
        }
        Ok(items)
    }

    /// Counted from the start of the run, so that its records go together.
    fn expires(&self, record: &Record) -> Timestamp {
        record.started().checked_add(self.retention).unwrap_or(Timestamp::MAX)
    }

    /// One conditional put. The SDK repeats it when an answer is lost, and is then told that its own item is in
    /// the way.
    async fn put(&self, op: &Op, put: &Put) -> Result<(), Refused> {
        let sent = self
            .client
            .put_item()
            .table_name(&put.table_name)
            .set_item(Some(put.item.clone()))
            .set_condition_expression(put.condition_expression.clone())
            .set_expression_attribute_names(put.expression_attribute_names.clone())
            .set_expression_attribute_values(put.expression_attribute_values.clone())
            .set_return_values_on_condition_check_failure(
                put.return_values_on_condition_check_failure.clone(),
            )
            .send()
            .await;
        let Err(error) = sent else { return Ok(()) };
        match error.as_service_error() {
            Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                if failed.item.as_ref() == Some(&put.item) {
                    return Ok(());
                }
                Err(Refused::Final(CommitError::Conflict(op.key().to_owned())))
            }
            Some(PutItemError::TransactionConflictException(_)) => {
                Err(Refused::Contended(failed(&self.state, error)))
            }
            _ => Err(refused(self.name(), error)),
        }
    }

    /// One transaction. By its token DynamoDB
    /// [knows it again](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html)
    /// for ten minutes, should the SDK repeat it because an answer was lost.
    async fn transact(
        &self,
        parts: &[(Part<'_>, TransactWriteItem)],
        token: &str,
        now: i64,
    ) -> Result<(), Refused> {
        let items = parts.iter().map(|(_, item)| item.clone()).collect();
        let sent = self
            .client
            .transact_write_items()
            .set_transact_items(Some(items))
            .client_request_token(token)
            .send()
            .await;
        let Err(error) = sent else { return Ok(()) };
        if let Some(TransactWriteItemsError::TransactionCanceledException(canceled)) =
            error.as_service_error()
        {
            let reasons = canceled.cancellation_reasons();
            let why = why_canceled(parts, reasons, now);
            return Err(why.unwrap_or_else(|| refused(self.name(), error)));
        }
        Err(refused(self.name(), error))
    }

    async fn lines_of(&self, run: &str) -> Result<Vec<String>, Error> {
        let mut items = self
            .client
            .query()
            .table_name(&self.audit)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", text(key_of("run", run)))
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        let now = self.now();
        let mut lines = Vec::new();
        while let Some(item) = items.next().await {
            let item = item.map_err(|error| failed(&self.audit, error))?;
            if is_alive(&item, now) {
                lines.push(self.line(&item)?);
            }
        }
        Ok(lines)
    }

    fn line(&self, item: &Attributes) -> Result<String, Error> {
        if let Some(AttributeValue::S(line)) = item.get("line") {
            return Ok(line.clone());
        }
        let unreadable = |why: &str| {
            let number = string(item, "sk").unwrap_or_default();
            let run = string(item, "run").unwrap_or_default();
            let why = format!("DynamoDB table `{}`: record {number} of run {run}: {why}", self.audit);
            Error::new(ErrorKind::Invalid, why)
        };
        let Some(AttributeValue::B(packed)) = item.get("z") else {
            return Err(unreadable("it has no `line` or `z`"));
        };
        let mut line = String::new();
        GzDecoder::new(packed.as_ref())
            .take(LONGEST_LINE)
            .read_to_string(&mut line)
            .map_err(|error| unreadable(&error.to_string()))?;
        Ok(line)
    }

    async fn runs_by(&self, by: Index<'_>, limit: usize) -> Result<Vec<RunRef>, Error> {
        let mut runs = Vec::new();
        if limit == 0 {
            return Ok(runs);
        }
        let mut items = self
            .client
            .query()
            .table_name(&self.audit)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", text(key_of_index(by)))
            .consistent_read(true)
            .scan_index_forward(false)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX).min(1000))
            .into_paginator()
            .items()
            .send();
        let now = self.now();
        while let Some(item) = items.next().await {
            let item = item.map_err(|error| failed(&self.audit, error))?;
            if !is_alive(&item, now) {
                continue;
            }
            let run = run_ref(&item).ok_or_else(|| {
                let key = [string(&item, "pk"), string(&item, "sk")].map(Option::unwrap_or_default).join(" ");
                let why = format!("DynamoDB table `{}`: item `{key}` can't be read", self.audit);
                Error::new(ErrorKind::Invalid, why)
            })?;
            runs.push(run);
            if runs.len() == limit {
                break;
            }
        }
        Ok(runs)
    }

    async fn scan_all(&self, prefix: &str) -> Result<Vec<(String, Item)>, Error> {
        let mut found = self
            .client
            .scan()
            .table_name(&self.state)
            .filter_expression("begins_with(#key, :prefix)")
            .expression_attribute_names("#key", "key")
            .expression_attribute_values(":prefix", text(prefix))
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        let now = self.now();
        let mut items = Vec::new();
        while let Some(item) = found.next().await {
            items.extend(state_item(&item.map_err(|error| failed(&self.state, error))?, now)?);
        }
        Ok(items)
    }

    async fn all_rows(&self) -> Result<Vec<Row>, Error> {
        let mut found =
            self.client.scan().table_name(&self.audit).consistent_read(true).into_paginator().items().send();
        let now = self.now();
        let mut rows = Vec::new();
        let mut entries = HashSet::new();
        let mut ended = Vec::new();
        while let Some(item) = found.next().await {
            let item = item.map_err(|error| failed(&self.audit, error))?;
            if !is_alive(&item, now) {
                continue;
            }
            let [pk, sk] = ["pk", "sk"].map(|name| string(&item, name).unwrap_or_default());
            let place = format!("item `{pk}` `{sk}`");
            let content = if let Some(run) = pk.strip_prefix("run#") {
                // The key is what an item is found by; its other attributes are never believed.
                let seq = sk.parse().unwrap_or_default();
                match self.line(&item) {
                    Ok(line) => {
                        if let Ok((record, _)) = open(&line)
                            && record.last
                        {
                            ended.push(record);
                        }
                        Content::Record { line, key: Some((run.to_owned(), seq)) }
                    }
                    Err(error) => {
                        Content::Wrong { run: Some(run.to_owned()), seq: Some(seq), why: error.message }
                    }
                }
            } else if let Some((_, run)) = sk.split_once('#') {
                entries.insert((pk.to_owned(), run.to_owned()));
                Content::Entry { run: run.to_owned() }
            } else {
                Content::Wrong { run: None, seq: None, why: "it is nothing that is stored here".to_owned() }
            };
            rows.push(Row { place, content });
        }
        for record in ended {
            for pk in found_by(&record) {
                if !entries.contains(&(pk.clone(), record.run.clone())) {
                    let why = "it is missing, and the run is not listed there".to_owned();
                    let content = Content::Wrong { run: Some(record.run.clone()), seq: None, why };
                    rows.push(Row { place: format!("the entry under `{pk}`"), content });
                }
            }
        }
        Ok(rows)
    }

    fn now(&self) -> i64 {
        (self.clock)().as_second()
    }
}

/// A condition on a state item.
#[derive(Default)]
struct Condition {
    expression: Option<String>,
    names: Option<HashMap<String, String>>,
    values: Option<Attributes>,
    returns: Option<ReturnValuesOnConditionCheckFailure>,
}

impl Condition {
    fn of(expect: &Expect, now: i64) -> Self {
        let (expression, own, value) = match expect {
            Expect::Absent => ("attribute_not_exists(#key) OR #expires <= :now", ("#key", "key"), None),
            Expect::Etag(etag) => {
                let alive = "#etag = :etag AND (attribute_not_exists(#expires) OR #expires > :now)";
                (alive, ("#etag", "etag"), Some((":etag".to_owned(), text(etag))))
            }
            Expect::Anything => return Self::default(),
        };
        let names =
            [own, ("#expires", "expires")].map(|(name, stands_for)| (name.to_owned(), stands_for.to_owned()));
        let values = [(":now".to_owned(), number(now))].into_iter().chain(value);
        Self {
            expression: Some(expression.to_owned()),
            names: Some(names.into()),
            values: Some(values.collect()),
            returns: Some(ReturnValuesOnConditionCheckFailure::AllOld),
        }
    }
}

/// Why a transaction was cancelled; `None` where no reason is one that is known. The first part that fails for
/// good is named, as a store that checks one after the other would.
fn why_canceled(
    parts: &[(Part<'_>, TransactWriteItem)],
    reasons: &[CancellationReason],
    now: i64,
) -> Option<Refused> {
    let mut counters = Vec::new();
    let mut contended = None;
    for ((part, _), reason) in parts.iter().zip(reasons) {
        let message = reason.message().unwrap_or_default();
        match (reason.code().unwrap_or_default(), part) {
            ("None" | "", _) => {}
            ("ConditionalCheckFailed", Part::Op(Op::Count { key, limit, .. }))
                if *limit > 0 && reason.item().is_some_and(|old| !is_alive(old, now)) =>
            {
                counters.push(key.clone());
            }
            ("ConditionalCheckFailed", Part::Op(Op::Count { key, .. })) => {
                return Some(Refused::Final(CommitError::Limit(key.clone())));
            }
            ("ConditionalCheckFailed", Part::Anew(op)) => counters.push(op.key().to_owned()),
            ("ConditionalCheckFailed", Part::Op(op)) => {
                return Some(Refused::Final(CommitError::Conflict(op.key().to_owned())));
            }
            ("ConditionalCheckFailed", Part::Record(record)) => {
                let exists = CommitError::Exists { run: record.run.clone(), seq: record.seq };
                return Some(Refused::Final(exists));
            }
            (code @ ("TransactionConflict" | "ThrottlingError" | "ProvisionedThroughputExceeded"), _) => {
                let kind =
                    if code == "TransactionConflict" { ErrorKind::Transient } else { ErrorKind::Throttled };
                contended = Some(Error {
                    kind,
                    message: format!("{code}: {message}"),
                    code: Some(code.to_owned()),
                    request_id: None,
                });
            }
            (code, _) => {
                return Some(Refused::Final(CommitError::Failed(Error {
                    kind: ErrorKind::Rejected,
                    message: format!("{code}: {message}"),
                    code: Some(code.to_owned()),
                    request_id: None,
                })));
            }
        }
    }
    if counters.is_empty() { contended.map(Refused::Contended) } else { Some(Refused::Counters(counters)) }
}

/// A failure of a call to write, for which no part of the commit stands.
fn refused<E>(name: String, error: SdkError<E, HttpResponse>) -> Refused
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code).map(str::to_owned);
    let error = explained(error.into()).context(name);
    match code.as_deref() {
        Some("TransactionInProgressException") => Refused::Unanswered(error),
        _ if error.kind == ErrorKind::Throttled => Refused::Unanswered(error),
        _ => Refused::Final(CommitError::Failed(error)),
    }
}

fn failed<E>(table: &str, error: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    explained(error.into()).context(format_args!("DynamoDB table `{table}`"))
}

/// A missing table is not a missing resource: nothing may be closed for it.
fn explained(error: Error) -> Error {
    let kind = if error.kind == ErrorKind::NotFound { ErrorKind::Rejected } else { error.kind };
    Error { kind, ..error }
}

fn unusable(error: &BuildError) -> Error {
    Error::new(ErrorKind::Invalid, error.to_string())
}

/// A pause that grows, and in which no two processes agree.
#[derive(Default)]
struct Pause {
    tries: u32,
}

impl Pause {
    /// Whether there is to be another try; waits before it says so.
    async fn wait(&mut self) -> bool {
        self.tries += 1;
        if self.tries >= MOST_TRIES {
            return false;
        }
        let longest = LONGEST_PAUSE.min(SHORTEST_PAUSE * (1 << (self.tries - 1)));
        let [random, ..] = *uuid::Uuid::new_v4().as_bytes();
        tokio::time::sleep(longest / 2 + longest / 2 * u32::from(random) / 255).await;
        true
    }
}

fn new_token() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

fn number(value: impl Into<i128>) -> AttributeValue {
    AttributeValue::N(value.into().to_string())
}

fn string<'a>(item: &'a Attributes, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

fn integer(item: &Attributes, name: &str) -> Option<i128> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

fn is_alive(item: &Attributes, now: i64) -> bool {
    integer(item, "expires").is_none_or(|expires| expires > i128::from(now))
}

/// The partition keys under which a run that has ended is listed.
fn found_by(last: &Record) -> Vec<String> {
    let subject = &last.subject;
    let resource = subject.resource.as_ref().map(ToString::to_string);
    let finding = subject.finding.as_ref();
    let keys = [
        resource.as_ref().map(|key| key_of_index(Index::Resource(key))),
        finding.map(|finding| key_of_index(Index::Finding(&finding.id))),
        Some(key_of_index(Index::Account(&subject.account))),
    ];
    keys.into_iter().flatten().collect()
}

/// A state item with its key; `None` where it has expired.
fn state_item(item: &Attributes, now: i64) -> Result<Option<(String, Item)>, Error> {
    if !is_alive(item, now) {
        return Ok(None);
    }
    let key = string(item, "key").unwrap_or_default().to_owned();
    let unreadable = |why: &str| Error::new(ErrorKind::Invalid, format!("state item `{key}`: {why}"));
    let found = if let Some(n) = integer(item, "n") {
        let n = u64::try_from(n).map_err(|error| unreadable(&error.to_string()))?;
        Item { etag: n.to_string(), body: json!({ "n": n }) }
    } else {
        let etag = string(item, "etag").ok_or_else(|| unreadable("it has no `etag`"))?.to_owned();
        let body = string(item, "body").ok_or_else(|| unreadable("it has no `body`"))?;
        Item { etag, body: serde_json::from_str(body).map_err(|error| unreadable(&error.to_string()))? }
    };
    Ok(Some((key, found)))
}

fn run_ref(item: &Attributes) -> Option<RunRef> {
    Some(RunRef {
        run: string(item, "run")?.to_owned(),
        time: string(item, "time")?.parse().ok()?,
        stage: serde_json::from_value(Value::from(string(item, "stage")?)).ok()?,
        control: string(item, "control").map(str::to_owned),
        remediator: string(item, "remediator").map(str::to_owned),
        undoes: string(item, "undoes").map(str::to_owned),
    })
}

fn key_of_index(by: Index<'_>) -> String {
    match by {
        Index::Resource(key) => key_of("resource", key),
        Index::Finding(id) => key_of("finding", id),
        Index::Account(account) => key_of("account", account),
    }
}

fn key_of(kind: &str, name: &str) -> String {
    format!("{kind}#{}", bounded(name))
}

/// The name, or its hash where it is too long for a key.
fn bounded(name: &str) -> String {
    if name.len() <= LONGEST_KEY_PART { name.to_owned() } else { format!("sha256:{}", sha256(name)) }
}

fn packed(line: &str) -> Result<Vec<u8>, Error> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let packed = encoder.write_all(line.as_bytes()).and_then(|()| encoder.finish());
    packed.map_err(|error| Error::new(ErrorKind::Invalid, error.to_string()))
}

/// Refuses what DynamoDB would refuse, with words that help.
fn check_size(item: &Attributes, largest: usize, what: &str) -> Result<(), Error> {
    // A number takes at most 21 bytes; nothing else than these types is written.
    let of = |value: &AttributeValue| match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        _ => 21,
    };
    let size: usize = item.iter().map(|(name, value)| name.len() + of(value)).sum();
    if size > largest {
        let why = format!("{what} takes {size} bytes; DynamoDB stores at most {largest}");
        return Err(Error::new(ErrorKind::Invalid, why));
    }
    Ok(())
}

impl Store for DynamoDb {
    fn read<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<HashMap<String, Item>, Error>> {
        Box::pin(self.read_all(keys))
    }

    fn commit<'a>(&'a self, commit: &'a Commit) -> BoxFuture<'a, Result<(), CommitError>> {
        Box::pin(self.commit_all(commit))
    }

    fn has_room_for(&self, record: &Record, sealed: &Sealed) -> Result<(), Error> {
        let what = format!("the last record of run {}", record.run);
        let items = self.record_items(record, sealed)?;
        items.iter().try_for_each(|item| check_size(item, LARGEST_ITEM - ROOM_TO_SPARE, &what))
    }

    fn run<'a>(&'a self, run: &'a str) -> BoxFuture<'a, Result<Vec<String>, Error>> {
        Box::pin(self.lines_of(run))
    }

    fn runs<'a>(&'a self, by: Index<'a>, limit: usize) -> BoxFuture<'a, Result<Vec<RunRef>, Error>> {
        Box::pin(self.runs_by(by, limit))
    }

    fn scan<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<(String, Item)>, Error>> {
        Box::pin(self.scan_all(prefix))
    }

    fn rows(&self) -> BoxFuture<'_, Result<Vec<Row>, Error>> {
        Box::pin(self.all_rows())
    }

    fn name(&self) -> String {
        format!("DynamoDB tables {} and {}", self.state, self.audit)
    }
}
