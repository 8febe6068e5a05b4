//! Expiries of the activity table: whose rows have run out, and what becomes of them.

use std::sync::Arc;

use aws_sdk_securityhub::types::SortOrder;
use jiff::Timestamp;
use redress_activity::row::{Phase, Row};
use redress_remediators::{
    Disposition, Error, ErrorKind,
    cognito::policy::{Policy, Through},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};
use tracing::{error, info, warn};

use super::{Service, TryAgain};
use crate::{
    activity::{ActivityTable, PutBack},
    audit::{Asker, Stage, Verb},
    engine::{Done, Outcome, Request},
    event::shown,
    expiry::{self, Read, Whose, decide, rest},
    finding::Finding,
    inactive::{Home, Inactive, Open, OpenPages, Says},
};

/// How many users are handled at once. More would only wait for their turns.
const AT_ONCE: usize = 64;

/// A batch of a stream's records, each of which may be broken without the others.
#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(rename = "Records", borrow)]
    records: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Source<'a> {
    #[serde(rename = "eventSource", borrow)]
    event_source: Option<std::borrow::Cow<'a, str>>,
}

/// The records, if the payload is a batch of a DynamoDB stream: one of them says so.
pub(super) fn records(text: &str) -> Option<Vec<String>> {
    if !text.contains("aws:dynamodb") {
        return None;
    }
    let batch: Batch<'_> = serde_json::from_str(text).ok()?;
    let ours = |record: &&RawValue| {
        let source = serde_json::from_str::<Source<'_>>(record.get()).ok();
        source.and_then(|source| source.event_source).as_deref() == Some("aws:dynamodb")
    };
    let any = batch.records.iter().any(ours);
    any.then(|| batch.records.iter().map(|record| record.get().to_owned()).collect())
}

/// What became of a record.
enum Ended {
    Done,
    /// A finding is to be written, together with those of the other records.
    Finding(Box<Inactive>),
    /// Come again.
    Retry(String),
    /// It would be the same each time: somebody has to look.
    Dead(String),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    batch_item_failures: Vec<Failure>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    item_identifier: String,
}

impl Service {
    /// Handles a batch of the activity table's stream. Lambda sends everything from the first failed record
    /// on once more
    /// ([batch responses](https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html)):
    /// what was done is found done.
    pub(super) async fn stream(
        self: &Arc<Self>,
        records: Vec<String>,
        home: Home,
        deadline: Instant,
    ) -> Result<Value, TryAgain> {
        let home = Arc::new(home);
        let handled = records.into_iter().enumerate().map(|(index, record)| {
            let (service, home) = (Arc::clone(self), Arc::clone(&home));
            async move {
                let (whose, read) = expiry::read(&record);
                let ended = Box::pin(service.expired(&whose, read, &home, deadline)).await;
                (index, whose, ended)
            }
        });
        let mut ended = some_at_once(handled).await;
        ended.sort_by_key(|(index, ..)| *index);
        self.import(&mut ended, deadline).await;
        let mut failures = Vec::new();
        for (_, whose, ended) in ended {
            let failed = match ended {
                Ended::Done | Ended::Finding(_) => None,
                Ended::Retry(why) => {
                    info!(pool = whose.pool, sub = whose.sub, why, "given back to the stream");
                    Some(why)
                }
                Ended::Dead(why) => self.bury(&whose, &why).await.err(),
            };
            let Some(why) = failed else { continue };
            // Without its place in the stream, it can only come again with all others.
            if whose.sequence.is_empty() {
                return Err(TryAgain(why));
            }
            failures.push(Failure { item_identifier: whose.sequence });
        }
        Ok(serde_json::to_value(Answer { batch_item_failures: failures }).unwrap_or_default())
    }

    /// Writes the findings of a batch together: Security Hub takes
    /// [ten calls a second](https://docs.aws.amazon.com/securityhub/1.0/APIReference/API_BatchImportFindings.html).
    async fn import(&self, ended: &mut [(usize, Whose, Ended)], deadline: Instant) {
        let findings: Vec<Inactive> = ended
            .iter()
            .filter_map(|(.., ended)| match ended {
                Ended::Finding(finding) => Some((**finding).clone()),
                Ended::Done | Ended::Retry(_) | Ended::Dead(_) => None,
            })
            .collect();
        if findings.is_empty() {
            return;
        }
        let mut results = self.importer.import(&findings, deadline).await.into_iter();
        for (_, whose, ended) in ended {
            if !matches!(ended, Ended::Finding(_)) {
                continue;
            }
            match results.next() {
                Some(Ok(())) => info!(pool = whose.pool, sub = whose.sub, "a finding was written"),
                Some(Err(error)) if error.disposition() == Disposition::Retry => {
                    *ended = Ended::Retry(error.to_string());
                }
                Some(Err(error)) => *ended = Ended::Dead(error.to_string()),
                None => *ended = Ended::Retry("no time to write the finding".to_owned()),
            }
        }
    }

    /// Puts a record aside with the user's ids and the reason. Lambda's own destination for failed batches
    /// gets neither ([errors](https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html)).
    async fn bury(&self, whose: &Whose, why: &str) -> Result<(), String> {
        let Whose { pool, sub, event, sequence } = whose;
        error!(pool, sub, event, sequence, why, "an expiry that can't be handled");
        if self.config.dead_letter_url.is_none() {
            // The shard must not wait for what nobody can take: the log has the ids.
            return Ok(());
        }
        let body = json!({
            "userpool_id": pool,
            "sub": sub,
            "event": event,
            "sequence_number": sequence,
            "why": why,
        });
        self.put_aside(&body.to_string(), why).await
    }

    async fn expired(&self, whose: &Whose, read: Read, home: &Home, deadline: Instant) -> Ended {
        let row = match read {
            Read::Expired(row) => row,
            Read::Other(why) => {
                info!(pool = whose.pool, sub = whose.sub, why, "no expiry: nothing is done");
                return Ended::Done;
            }
            Read::Poison(why) => return Ended::Dead(why),
        };
        let Some(table) = &self.activity else {
            return Ended::Dead("there is no REDRESS_ACTIVITY_TABLE".to_owned());
        };
        let at = (self.engine.clock)();
        let candidate = match candidate(home, &row, at) {
            Ok(finding) => finding,
            Err(why) => return Ended::Dead(why),
        };
        let policy = match self.policy(&candidate) {
            Ok(policy) => policy,
            Err(why) => return Ended::Dead(why),
        };
        let back = decide(&row, policy.as_ref(), &whose.event, at);
        let back = match self.put_back(table, back, whose).await {
            Ok(Some(back)) => back,
            Ok(None) => {
                info!(pool = whose.pool, sub = whose.sub, "seen since, or handled: nothing is done");
                return Ended::Done;
            }
            Err(error) if error.kind == ErrorKind::Invalid => return Ended::Dead(error.to_string()),
            // Whatever else keeps the row from being put back, the stream has it for a day.
            Err(error) => return Ended::Retry(error.to_string()),
        };
        let phase = back.phase.map_or("none", Phase::as_str);
        info!(pool = whose.pool, sub = whose.sub, phase, "an expiry");
        let Some(policy) = policy else { return Ended::Done };
        // A second time: who is disabled may not have been told yet.
        let untold = back.phase == Some(Phase::Disabled)
            && policy.through == Through::Engine
            && back.ring.as_deref() == Some(whose.event.as_str());
        match back.phase {
            Some(Phase::Due | Phase::Warned) => {}
            Some(Phase::Disabled) if untold => {}
            // A second time after all was done: how it ended stands in the row.
            Some(Phase::NotYet | Phase::Disabled | Phase::DisabledElsewhere | Phase::Exempt) | None => {
                return Ended::Done;
            }
        }
        let through_finding = back.phase == Some(Phase::Due) && policy.through == Through::Finding;
        let dry_run = through_finding || untold;
        let request = Request {
            finding: candidate,
            verb: if through_finding { Verb::Plan } else { Verb::Fix },
            asked_by: Asker::Automatic { event: whose.event.clone() },
            event: whose.event.clone(),
            asked_at: None,
            only_rule: None,
            only_resource: None,
            agreed: None,
            deadline,
            dry_run,
            record: !dry_run,
            listed: false,
            after: Vec::new(),
        };
        let mut done = Box::pin(self.engine.handle(&request)).await;
        if untold {
            // What this event has done, and nothing else: somebody may have enabled the user since.
            done.retain(|done| {
                matches!(done, Done::Retry { .. })
                    || done.outcome().is_some_and(|outcome| outcome.stage.changed())
            });
        }
        if !through_finding && let Some(why) = Box::pin(self.tell(&mut done, false)).await {
            return Ended::Retry(why);
        }
        done.retain(|done| !done.is_of_another());
        let says = Says::Inactive(policy.threshold(back.signed_in));
        self.follow(table, home, &back, done, through_finding.then_some(says), at).await
    }

    /// Puts a row back. `None`: the user was seen since.
    async fn put_back(&self, table: &ActivityTable, back: Row, whose: &Whose) -> Result<Option<Row>, Error> {
        match table.put_back(&back).await? {
            PutBack::Done => Ok(Some(back)),
            // It is this record's second time: whatever came after the first is gone on with.
            PutBack::Exists(there) if there.ring.as_deref() == Some(whose.event.as_str()) => Ok(Some(*there)),
            // A backfill took the user for one without a row, and knows less than the row that ran out.
            PutBack::Exists(there) if there.since() < back.since() => {
                if table.replace(&there, &back).await? {
                    return Ok(Some(back));
                }
                Err(Error::new(ErrorKind::Transient, "the row changes as it is put back"))
            }
            PutBack::Exists(_) => Ok(None),
        }
    }

    /// Takes into the row what the engine found, and says what is left to do.
    async fn follow(
        &self,
        table: &ActivityTable,
        home: &Home,
        back: &Row,
        done: Vec<Done>,
        says: Option<Says>,
        at: Timestamp,
    ) -> Ended {
        let finding = |row: &Row, says| Ended::Finding(Box::new(Inactive::new(home, row, says, at)));
        for done in done {
            let (stage, why, kind) = match done {
                Done::Outcome(outcome) => {
                    let Outcome { stage, reason, error, .. } = *outcome;
                    (stage, reason.unwrap_or_default(), error)
                }
                Done::Repeat { stage, reason, error } => (stage, reason, error),
                Done::Unwanted(_) => continue,
                Done::Retry { why, .. } => return Ended::Retry(why),
            };
            let next = match stage {
                Stage::Skipped if kind == Some(ErrorKind::NotFound) => {
                    info!(pool = back.pool, sub = back.sub, "the user is gone");
                    if let Err(error) = table.close(back).await {
                        return Ended::Retry(error.to_string());
                    }
                    return if says.is_some() { finding(back, Says::Over) } else { Ended::Done };
                }
                Stage::Denied | Stage::Failed => return Ended::Dead(why),
                Stage::Compliant | Stage::Disagrees => Some(rest(back, Phase::DisabledElsewhere, at)),
                Stage::Exempt => Some(rest(back, Phase::Exempt, at)),
                _ => None,
            };
            if let Some(next) = next {
                match table.replace(back, &next).await {
                    Ok(_) => return Ended::Done,
                    Err(error) if error.disposition() == Disposition::Retry => {
                        return Ended::Retry(error.to_string());
                    }
                    Err(error) => return Ended::Dead(error.to_string()),
                }
            }
        }
        match says {
            Some(says) => finding(back, says),
            None => Ended::Done,
        }
    }

    /// The policy of the first rule for the user; `None` where no rule, or one that is off, is for it.
    fn policy(&self, finding: &Finding) -> Result<Option<Policy>, String> {
        let Some(rule) = self.engine.rules.route(finding) else { return Ok(None) };
        if rule.source.automatic == crate::rules::Mode::Off {
            return Ok(None);
        }
        let policy = Policy::of(&rule.source.params);
        policy.map(Some).map_err(|error| format!("parameters of rule `{}`: {error}", rule.name()))
    }

    /// Closes findings of users who have been seen, disabled or exempted since. Says how many.
    ///
    /// Where there are more than there is time for, those that are left are looked at in an hour, from the other end.
    pub(super) async fn sweep(&self, home: &Home, deadline: Instant) -> Result<usize, TryAgain> {
        let Some(table) = &self.activity else { return Ok(0) };
        let at = (self.engine.clock)();
        let order = if at.as_second() / 3600 % 2 == 0 { SortOrder::Ascending } else { SortOrder::Descending };
        let half = Instant::now() + deadline.saturating_duration_since(Instant::now()) / 2;
        // All are looked at before one is closed, which would move the next page's findings into this one.
        let (mut over, mut failed) = (Vec::new(), None);
        let mut pages = self.importer.open(home, order).await;
        loop {
            match self.over(table, home, &mut pages, at).await {
                Ok(Some(found)) => over.extend(found),
                Ok(None) => break,
                Err(error) => {
                    failed = Some(TryAgain(error.to_string()));
                    break;
                }
            }
            if Instant::now() >= half {
                info!("the open findings that are left are looked at in an hour");
                break;
            }
        }
        let results = self.importer.import(&over, deadline).await;
        if results.len() < over.len() {
            info!("the findings that are left are closed in an hour");
        }
        let mut closed = 0;
        for (finding, result) in over.iter().zip(results) {
            match result {
                Ok(()) => closed += 1,
                Err(error) => warn!(finding = finding.id, %error, "a finding could not be closed"),
            }
        }
        failed.map_or(Ok(closed), Err)
    }

    /// Of the next page of open findings, those that are to be closed; `None` after the last one.
    async fn over(
        &self,
        table: &Arc<ActivityTable>,
        home: &Home,
        pages: &mut OpenPages<'_>,
        at: Timestamp,
    ) -> Result<Option<Vec<Inactive>>, Error> {
        let Some(open) = pages.next().await? else { return Ok(None) };
        let rows = open.into_iter().map(|Open { pool, sub }| {
            let table = Arc::clone(table);
            async move {
                let row = table.row(&pool, &sub).await;
                (pool, sub, row)
            }
        });
        let mut over = Vec::new();
        for (pool, sub, row) in some_at_once(rows).await {
            match row {
                Ok(Some(row)) if self.is_over(home, &row, at) => {
                    over.push(Inactive::new(home, &row, Says::Over, at));
                }
                // Without a row, its expiry is on its way, or says that the user is gone.
                Ok(_) => {}
                Err(error) if error.disposition() == Disposition::Retry => return Err(error),
                Err(error) => warn!(pool = shown(&pool), sub = shown(&sub), %error, "a row can't be read"),
            }
        }
        Ok(Some(over))
    }

    /// Whether a user's finding has nothing left to say.
    fn is_over(&self, home: &Home, row: &Row, at: Timestamp) -> bool {
        match row.phase {
            Some(Phase::Disabled | Phase::DisabledElsewhere | Phase::Exempt) => true,
            Some(Phase::NotYet | Phase::Warned | Phase::Due) | None => {
                let policy = candidate(home, row, at).ok().and_then(|finding| self.policy(&finding).ok());
                policy.flatten().is_some_and(|policy| {
                    let threshold = policy.threshold(row.signed_in);
                    row.since().saturating_add(threshold).is_ok_and(|due| due > at)
                })
            }
        }
    }
}

/// Runs these, no more than [`AT_ONCE`] of them at a time, and gives what they gave in the order in which they ended.
async fn some_at_once<F>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for future in futures {
        let turns = Arc::clone(&turns);
        tasks.spawn(async move {
            let _turn = turns.acquire_owned().await;
            future.await
        });
    }
    tasks.join_all().await
}

/// The finding that the user of this row would have: what rules are matched with.
fn candidate(home: &Home, row: &Row, at: Timestamp) -> Result<Finding, String> {
    let says = Says::Inactive(at.duration_since(row.since()));
    let finding = Inactive::new(home, row, says, at).decoded()?;
    let remediator = redress_remediators::find("cognito.disable_user")
        .ok_or_else(|| "this build has no `cognito.disable_user`".to_owned())?;
    let seen = redress_remediators::Sighting {
        kind: remediator.kind().asff,
        id: &finding.resources.first().map(|resource| resource.id.clone()).unwrap_or_default(),
        id_alt: None,
        account: &home.account,
        region: &home.region,
        partition: &home.partition,
    };
    match remediator.locate(&seen) {
        Ok(key) if key == home.user(&row.pool, &row.sub) => Ok(*finding),
        Ok(_) => Err("the row's pool and user are no key".to_owned()),
        Err(misplaced) => Err(misplaced.to_string()),
    }
}
