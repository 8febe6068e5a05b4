//! A finding of an account that stands for resources of it: which those are, and which of them are at hand.
//!
//! Some controls fail an account for each of its resources that is not as it should be, and name none (EC2.1). The
//! engine lists them, or for an undo looks up those that the finding's runs have changed, and handles each as if the
//! finding had named it: see `docs/decisions/0011-findings-of-an-account.md`.
//!
//! A resource that is put right is not listed any more. So what an event has begun is kept: when it comes again,
//! because of one of them or because its report got lost, the others are part of it still.

use std::time::Duration;

use jiff::SignedDuration;
use redress_remediators::{Access, Disposition, Erased, Error, Key};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Done, Engine, MOST_RESOURCES, Request, SOON,
    run::{Ending, Run, Stop},
};
use crate::{
    audit::{Stage, Subject, Verb, sha256},
    event::printable,
    guard::{self, Keys, Memo},
    rules::{Mode, Rule},
    store::{self, Commit, CommitError, Expect, Index, Item, Op, RunRef},
    undo::undoable,
};

/// How many runs of an account's finding are looked through for those to undo: one for each of its resources, and more.
const HORIZON: usize = 2_000;

/// For how long an event may come again: as long as its memos are kept.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 45);

/// What an event has begun, as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Begun {
    /// Every resource that was at hand, in this order.
    keys: Vec<Key>,
    /// Those that came to an end.
    #[serde(default)]
    ended: Vec<Key>,
}

/// The resources that an account's finding stands for, as far as they are at hand now.
pub(super) struct Members {
    account: Key,
    /// Each is to be a run.
    pub(super) keys: Vec<Key>,
    /// How many come after these.
    left: usize,
    begun: Begun,
    /// What is kept under [`Members::item`] so far; `None` where nothing is.
    kept: Option<Item>,
}

/// Why there is nothing to be done.
enum Nothing {
    /// The finding stands for no resource.
    Found(Box<Ending>),
    /// The event has come once more than it had to.
    Again,
}

impl Members {
    fn item(request: &Request, account: &Key) -> String {
        format!("members#{}", sha256(format!("{}\n{}\n{account}", request.event, request.finding.id)))
    }
}

impl Engine {
    /// What a finding of this account stands for; `Err` where that is an outcome of its own.
    pub(super) async fn members(
        &self,
        request: &Request,
        subject: &Subject,
        account: &Key,
        remediator: &'static dyn Erased,
        rule: Option<&Rule>,
    ) -> Result<Members, Done> {
        // The one that is meant needs no list: its own run proves whose it is.
        if let Some(only) = &request.only_resource {
            let keys = if is_within(only, account, remediator) { vec![only.clone()] } else { Vec::new() };
            let (left, begun, kept) = (0, Begun::default(), None);
            return Ok(Members { account: account.clone(), keys, left, begun, kept });
        }
        let asked = if request.verb == Verb::Plan || request.dry_run { Mode::Plan } else { Mode::Apply };
        let (mode, _) = guard::mode(asked, &request.asked_by, rule, self.settings.ceiling);
        let subject = Subject { mode, resource: Some(account.clone()), ..subject.clone() };
        let mut run = self.start(request, subject, account, remediator, rule);
        match Box::pin(self.found(&run, request, mode)).await {
            Ok(Ok(members)) => Ok(members),
            Ok(Err(Nothing::Found(ending))) => {
                run.look_back().await;
                Err(run.conclude(*ending).await)
            }
            Ok(Err(Nothing::Again)) => {
                let reason = "all that this event has begun has ended".to_owned();
                Err(Done::Repeat { stage: Stage::Skipped, reason, error: None })
            }
            Err(Stop::Retry { after, why, error }) => Err(Done::Retry { after, why, error }),
            Err(Stop::Again) => Err(Done::Retry { after: SOON, why: "start over".to_owned(), error: None }),
            Err(Stop::Stage { stage, reason, error }) => {
                let ending = Ending { reason: Some(reason), error, ..Ending::new(stage, Vec::new()) };
                run.look_back().await;
                Err(run.conclude(ending).await)
            }
        }
    }

    async fn found(
        &self,
        run: &Run<'_>,
        request: &Request,
        mode: Mode,
    ) -> Result<Result<Members, Nothing>, Stop> {
        let account = run.key.clone();
        let item = Members::item(request, &account);
        let kept = if request.record { self.kept(&item).await? } else { None };
        let begun = match &kept {
            Some(item) => Begun::deserialize(&item.body)
                .map_err(|error| Stop::stage(Stage::Refused, format!("state item of the event: {error}")))?,
            None => Begun::default(),
        };
        let (found, calls) = match request.verb {
            Verb::Undo => (self.undoable_members(request, &account, run.remediator).await?, Vec::new()),
            Verb::Plan | Verb::Fix => {
                let aws = run.clients(Access::Plan).await?;
                let found = run.remediator.members(&aws).await;
                (
                    found.map_err(|error| error.context("the account's resources can't be listed"))?,
                    aws.calls(),
                )
            }
        };

        // What was begun comes first, then what is new; of what has ended, only what nobody was told of.
        let mut keys: Vec<Key> =
            begun.keys.iter().filter(|key| !begun.ended.contains(key)).cloned().collect();
        keys.extend(found.into_iter().filter(|key| !begun.keys.contains(key)));
        // A dry run on the command line shows all: it keeps nothing that would bring the rest another time.
        let most = if request.record { MOST_RESOURCES } else { usize::MAX };
        let left = keys.len().saturating_sub(most);
        keys.truncate(most);
        if keys.is_empty() && begun.keys.is_empty() {
            return Ok(Err(Nothing::Found(Box::new(self.none(request, &account, calls).await?))));
        }
        let mut members = Members { account, keys, left, begun, kept };
        let new = members.keys.iter().filter(|key| !members.begun.keys.contains(key)).cloned();
        let new: Vec<Key> = new.collect();
        if mode == Mode::Apply && !new.is_empty() {
            members.begun.keys.extend(new);
            self.keep(request, &mut members).await?;
        }
        let untold = self.untold(request, &members, run.remediator).await?;
        members.keys.extend(untold);
        Ok(if members.keys.is_empty() { Err(Nothing::Again) } else { Ok(members) })
    }

    /// There is nothing that the finding stands for: by somebody else's hand, or against Security Hub's reading.
    async fn none(
        &self,
        request: &Request,
        account: &Key,
        calls: Vec<redress_remediators::Call>,
    ) -> Result<Ending, Stop> {
        let Key { account, region, .. } = account;
        if request.verb == Verb::Undo {
            let reason = "nothing to undo: no verified change of this finding's is left in the records";
            return Ok(Ending { reason: Some(reason.to_owned()), ..Ending::new(Stage::Skipped, calls) });
        }
        let runs = self.store.runs(Index::Finding(&request.finding.id), HORIZON).await?;
        let last = runs.iter().filter(|run| run.stage == Stage::Verified).map(|run| run.time).max();
        let disagrees = last.is_some_and(|last| guard::disagrees(last, (self.clock)()));
        let (stage, reason, alarm) = if disagrees {
            let why = "fixed more than 48 hours ago by our reading of the account, and still failed by Security Hub's";
            (Stage::Disagrees, why.to_owned(), Some("disagrees"))
        } else {
            (
                Stage::Compliant,
                format!("no resource of account {account} in {region} fails the control"),
                None,
            )
        };
        Ok(Ending { reason: Some(reason), alarm, ..Ending::new(stage, calls) })
    }

    /// The resources that runs of this finding have changed, and nobody has put back.
    async fn undoable_members(
        &self,
        request: &Request,
        account: &Key,
        remediator: &'static dyn Erased,
    ) -> Result<Vec<Key>, Stop> {
        let runs = self.store.runs(Index::Finding(&request.finding.id), HORIZON).await?;
        let mut keys = Vec::new();
        let of_remediator = |run: &&RunRef| run.remediator.as_deref() == Some(remediator.spec().name);
        for run in undoable(&runs).filter(of_remediator) {
            let records = store::records(&*self.store, &run.run).await?;
            let key = records.last().and_then(|record| record.subject.resource.clone());
            keys.extend(key.filter(|key| is_within(key, account, remediator)));
        }
        keys.sort();
        keys.dedup();
        Ok(keys)
    }

    /// Of what has ended under this event, that which nobody was told of.
    async fn untold(
        &self,
        request: &Request,
        members: &Members,
        remediator: &'static dyn Erased,
    ) -> Result<Vec<Key>, Stop> {
        let ended = &members.begun.ended;
        if ended.is_empty() {
            return Ok(Vec::new());
        }
        let memos: Vec<[String; 2]> = ended
            .iter()
            .map(|key| {
                let keys = Keys::new(key, remediator, &request.event, &request.finding.id, None);
                [keys.event.clone(), keys.memo(&request.asked_by).to_owned()]
            })
            .collect();
        let items = self.store.read(&memos.concat()).await?;
        let untold = |name: &String| {
            guard::read::<Memo>(&items, name).ok().flatten().is_some_and(|memo| !memo.reported)
        };
        let of = ended.iter().zip(&memos).filter(|(_, memos)| memos.iter().any(untold));
        Ok(of.map(|(key, _)| key.clone()).collect())
    }

    /// What came of them. Where some are left, their event comes again: those that have ended are kept as such, so
    /// that it gets further each time.
    pub(super) async fn rest(
        &self,
        request: &Request,
        mut members: Members,
        done: &[(Key, bool)],
    ) -> Option<Done> {
        let late = members.keys.len().saturating_sub(done.len());
        let left = members.left + late;
        if left == 0 {
            return None;
        }
        let ended = done.iter().filter(|(key, ended)| *ended && !members.begun.ended.contains(key));
        let ended: Vec<Key> = ended.map(|(key, _)| key.clone()).collect();
        let why = format!("{left} more resources of account {} are left", members.account.account);
        if request.record {
            for key in ended {
                if !members.begun.keys.contains(&key) {
                    members.begun.keys.push(key.clone());
                }
                members.begun.ended.push(key);
            }
            if let Err(stop) = self.keep(request, &mut members).await {
                return Some(match stop {
                    Stop::Retry { after, why, error } => Done::Retry { after, why, error },
                    Stop::Stage { reason, error, .. } => {
                        let error = error.map(|error| error.kind);
                        Done::Retry { after: SOON, why: format!("{why}: {reason}"), error }
                    }
                    Stop::Again => Done::Retry { after: SOON, why, error: None },
                });
            }
        }
        Some(Done::Retry { after: SOON, why, error: None })
    }

    async fn kept(&self, item: &str) -> Result<Option<Item>, Stop> {
        let items = self.store.read(&[item.to_owned()]).await.map_err(unkept)?;
        Ok(items.into_values().next())
    }

    async fn keep(&self, request: &Request, members: &mut Members) -> Result<(), Stop> {
        let item = Item { etag: uuid::Uuid::new_v4().to_string(), body: json!(members.begun) };
        let op = Op::Put {
            key: Members::item(request, &members.account),
            body: item.body.clone(),
            etag: item.etag.clone(),
            expect: Expect::unchanged(members.kept.as_ref()),
            expires: Some((self.clock)() + KEPT),
        };
        match self.store.commit(&Commit { ops: vec![op], records: Vec::new() }).await {
            Ok(()) => {
                members.kept = Some(item);
                Ok(())
            }
            // The event is at work twice.
            Err(CommitError::Conflict(_)) => {
                Err(Stop::retry(Duration::from_secs(1), "the same event has begun elsewhere"))
            }
            Err(CommitError::Failed(error)) => Err(unkept(error)),
            Err(error) => Err(Stop::stage(Stage::Failed, error.to_string())),
        }
    }
}

/// Without what the event has begun, none of it is begun.
fn unkept(error: Error) -> Stop {
    if error.disposition() == Disposition::Retry {
        return error.into();
    }
    let reason =
        format!("what the event has begun can't be kept, nothing was written: {}", printable(&error.message));
    Stop::Stage { stage: Stage::Refused, reason, error: Some(error) }
}

/// Whether a resource is one of those that an account's finding can stand for.
fn is_within(key: &Key, account: &Key, remediator: &dyn Erased) -> bool {
    let Key { partition, account: number, region, kind, .. } = key;
    (partition, number, region) == (&account.partition, &account.account, &account.region)
        && kind == remediator.kind().asff
}
