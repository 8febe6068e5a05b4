//! Redress's share of AWS's quotas, kept across all processes that use the same state table.
//!
//! One item a quota, account and Region holds when the next call may go out. Whoever wants to call moves that
//! time on by one interval, by a conditional write, and calls at the time that stood there. So there is never
//! a burst, and a reservation costs one write; see `docs/decisions/0006-shared-budget.md`.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use redress_remediators::{BoxFuture, Error, ErrorKind, Key, Pace, Quota, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{sync::Mutex, time::Instant};

use crate::store::{Clock, Commit, CommitError, Expect, Item, Op, Store};

/// A tenth of the share is kept back, so that calls which come a little late don't make a second too full.
const SLACK: u32 = 10;

/// A call that is later than this takes another turn: a process that was held up must not let all that it
/// had reserved go at once.
const LATEST: SignedDuration = SignedDuration::from_millis(250);

/// How often a reservation is tried against others before it gives up.
const MOST_TRIES: usize = 200;

/// When the next call may go out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Next {
    next: Timestamp,
}

/// The shares of one deployment.
pub struct Budget {
    store: Arc<dyn Store>,
    clock: Clock,
    /// Shares that differ from what a quota states, by its name.
    shares: BTreeMap<&'static str, u32>,
    /// What was last written, so that it need not be read while nobody else writes.
    known: Mutex<HashMap<String, Item>>,
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").field("shares", &self.shares).finish_non_exhaustive()
    }
}

impl Budget {
    /// Shares kept in this store.
    pub fn new(store: Arc<dyn Store>, clock: Clock) -> Self {
        Self { store, clock, shares: BTreeMap::new(), known: Mutex::default() }
    }

    /// Takes another share of a quota, in requests a second; at most what AWS grants.
    #[must_use]
    pub fn share(mut self, quota: &'static Quota, per_second: u32) -> Self {
        self.shares.insert(quota.name, per_second.clamp(1, quota.per_second));
        self
    }

    /// The turns of a run that ends then.
    pub fn until(self: &Arc<Self>, deadline: Instant) -> Arc<dyn Pace> {
        Arc::new(Turns { budget: Arc::clone(self), deadline })
    }

    fn interval(&self, quota: &Quota) -> SignedDuration {
        let share = self.shares.get(quota.name).copied().unwrap_or(quota.share).max(1);
        SignedDuration::from_micros(i64::from((1_000_000 + 1_000_000 / SLACK) / share))
    }

    /// Reserves the next turn, and says when it is.
    async fn reserve(&self, quota: &Quota, key: &Key, latest: Timestamp) -> Result<Timestamp> {
        let name = format!("pace#{}#{}#{}", quota.name, key.account, key.region);
        let interval = self.interval(quota);
        // One at a time: those of this process would only be in each other's way.
        let mut known = self.known.lock().await;
        for tried in 0..MOST_TRIES {
            let item = match known.remove(&name) {
                Some(item) => Some(item),
                None => self.store.read(std::slice::from_ref(&name)).await?.remove(&name),
            };
            let now = (self.clock)();
            // A time that can't be read, or that lies beyond any queue, is none of ours.
            let next = item
                .as_ref()
                .and_then(|item| serde_json::from_value::<Next>(item.body.clone()).ok())
                .map(|item| item.next)
                .filter(|next| next.duration_since(now) < SignedDuration::from_hours(1));
            let turn = next.unwrap_or(now).max(now);
            if turn > latest {
                if let Some(item) = item {
                    known.insert(name, item);
                }
                return Err(Error::new(
                    ErrorKind::Throttled,
                    format!("redress's share of the quota {} is used up until {turn}", quota.name),
                ));
            }
            let body = json!(Next { next: turn + interval });
            let etag = uuid::Uuid::new_v4().to_string();
            let op = Op::Put {
                key: name.clone(),
                body: body.clone(),
                etag: etag.clone(),
                expect: Expect::unchanged(item.as_ref()),
                expires: Some(turn + SignedDuration::from_hours(24)),
            };
            match self.store.commit(&Commit { ops: vec![op], records: Vec::new() }).await {
                Ok(()) => {
                    known.insert(name, Item { etag, body });
                    return Ok(turn);
                }
                // Another process was faster.
                Err(CommitError::Conflict(_)) => {
                    let pause = u64::try_from(tried.min(20)).unwrap_or(20);
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
                Err(CommitError::Failed(error)) => return Err(error),
                Err(error) => return Err(Error::new(ErrorKind::Transient, error.to_string())),
            }
        }
        let why = format!("no turn for {}: too many others want one", quota.name);
        Err(Error::new(ErrorKind::Throttled, why))
    }
}

#[derive(Debug)]
struct Turns {
    budget: Arc<Budget>,
    deadline: Instant,
}

impl Pace for Turns {
    fn turn<'a>(&'a self, quota: &'static Quota, key: &'a Key) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let clock = &self.budget.clock;
            loop {
                let left = self.deadline.saturating_duration_since(Instant::now());
                let latest = clock().saturating_add(left).unwrap_or(Timestamp::MAX);
                let turn = self.budget.reserve(quota, key, latest).await?;
                let wait = turn.duration_since(clock());
                if let Ok(wait) = Duration::try_from(wait) {
                    tokio::time::sleep(wait).await;
                }
                if clock().duration_since(turn) < LATEST {
                    return Ok(());
                }
            }
        })
    }

    fn pause(&self, tried: u32) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(Duration::from_millis(100 << tried.min(6))))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::sync::Mutex as StdMutex;

    use super::*;
    use crate::store::memory::Memory;

    static QUOTA: Quota = Quota { name: "test:Calls", per_second: 25, share: 10 };

    fn key() -> Key {
        "aws/123456789012/eu-west-1/CognitoUser/x/y".parse().unwrap()
    }

    /// A clock that goes with tokio's, which tests can hold.
    fn clock() -> Clock {
        let start = Instant::now();
        Arc::new(move || Timestamp::UNIX_EPOCH + start.elapsed())
    }

    fn fullest_second(mut calls: Vec<Timestamp>) -> usize {
        calls.sort();
        let within = |first: &Timestamp| {
            calls.iter().filter(|at| *at >= first && at.duration_since(*first).as_millis() < 1000).count()
        };
        calls.iter().map(within).max().unwrap_or(0)
    }

    #[tokio::test(start_paused = true)]
    async fn three_processes_stay_within_one_share() {
        let clock = clock();
        let store: Arc<dyn Store> = Arc::new(Memory::default());
        let calls = Arc::new(StdMutex::new(Vec::new()));
        let deadline = Instant::now() + Duration::from_secs(600);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..3 {
            let budget = Arc::new(Budget::new(Arc::clone(&store), Arc::clone(&clock)));
            for _ in 0..100 {
                let (turns, calls, clock) = (budget.until(deadline), Arc::clone(&calls), Arc::clone(&clock));
                tasks.spawn(async move {
                    turns.turn(&QUOTA, &key()).await.unwrap();
                    calls.lock().unwrap().push(clock());
                });
            }
        }
        tasks.join_all().await;
        let calls = calls.lock().unwrap().clone();
        assert_eq!(calls.len(), 300);
        assert!(fullest_second(calls.clone()) <= 10);
        // And uses it: nine a second, not one.
        assert!(calls.iter().max().unwrap().as_second() < 36);
    }

    #[tokio::test(start_paused = true)]
    async fn who_would_come_too_late_takes_no_turn() {
        let store: Arc<dyn Store> = Arc::new(Memory::default());
        let budget = Arc::new(Budget::new(store, clock()).share(&QUOTA, 1));
        let turns = budget.until(Instant::now() + Duration::from_secs(2));
        turns.turn(&QUOTA, &key()).await.unwrap();
        turns.turn(&QUOTA, &key()).await.unwrap();
        let error = turns.turn(&QUOTA, &key()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Throttled);
        let later = budget.until(Instant::now() + Duration::from_secs(2));
        later.turn(&QUOTA, &key()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_is_never_more_than_the_quota() {
        let budget = Budget::new(Arc::new(Memory::default()), clock());
        assert_eq!(budget.interval(&QUOTA).as_millis(), 110);
        assert_eq!(budget.share(&QUOTA, 1000).interval(&QUOTA).as_millis(), 44);
    }

    #[tokio::test(start_paused = true)]
    async fn an_item_that_makes_no_sense_stops_nobody() {
        let store: Arc<dyn Store> = Arc::new(Memory::default());
        let name = "pace#test:Calls#123456789012#eu-west-1".to_owned();
        for body in [json!({ "next": "9999-01-01T00:00:00Z" }), json!(7)] {
            let op = Op::Put {
                key: name.clone(),
                body,
                etag: "x".to_owned(),
                expect: Expect::Anything,
                expires: None,
            };
            store.commit(&Commit { ops: vec![op], records: Vec::new() }).await.unwrap();
            let budget = Arc::new(Budget::new(Arc::clone(&store), clock()));
            let turns = budget.until(Instant::now() + Duration::from_secs(1));
            turns.turn(&QUOTA, &key()).await.unwrap();
        }
    }
}
