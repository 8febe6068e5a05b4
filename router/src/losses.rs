//! Sign-ins that the recorder could not write down.
//!
//! The recorder counts them in a metric, by pool; this reads the metric by day. Whoever may have been seen on
//! such a day is not disabled, until somebody has looked after it: `redress cognito reconcile` reads who they
//! were from the recorder's log, and keeps how many it has accounted for. More of them later count again.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use aws_sdk_cloudwatch::types::{Dimension, Statistic};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use redress_activity::loss;
use redress_remediators::{BoxFuture, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{sync::Mutex, time::Instant};

use crate::store::{Clock, Commit, CommitError, Expect, Op, Store};

/// CloudWatch keeps an hour's sums for
/// [455 days](https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricStatistics.html);
/// older losses can't be seen.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 454);

/// For how long an answer of CloudWatch's is used again. Its sums lag by minutes anyway.
const FRESH: Duration = Duration::from_secs(60);

/// A day of UTC, in seconds.
const DAY: i32 = 86_400;

/// How many sign-ins were lost, by day.
pub trait Count: Send + Sync {
    /// The days from `since` on, of UTC, on which sign-ins of the pool were lost, and how many.
    fn by_day<'a>(&'a self, pool: &'a str, since: Date) -> BoxFuture<'a, Result<BTreeMap<Date, u64>>>;
}

/// What is known of one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Day {
    /// The day, of UTC.
    pub day: Date,
    /// How many sign-ins were lost.
    pub lost: u64,
    /// What somebody has said of it.
    pub accounted: Option<Accounted>,
}

impl Day {
    /// Whether sign-ins are still unaccounted for.
    pub fn is_open(&self) -> bool {
        self.accounted.as_ref().is_none_or(|accounted| accounted.lost < self.lost)
    }
}

/// What somebody has said of the lost sign-ins of a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounted {
    /// How many it was about.
    pub lost: u64,
    /// Who said it: an ARN.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why the day was waived; `None` where the log was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waived: Option<String>,
}

/// The lost sign-ins of a deployment.
pub struct Losses {
    count: Arc<dyn Count>,
    store: Arc<dyn Store>,
    clock: Clock,
    /// What CloudWatch said last, by pool.
    known: Mutex<HashMap<String, Known>>,
}

/// An answer of CloudWatch's.
struct Known {
    asked: Instant,
    since: Date,
    lost: BTreeMap<Date, u64>,
}

impl Losses {
    /// Losses as `count` says, accounted for in `store`.
    pub fn new(count: Arc<dyn Count>, store: Arc<dyn Store>, clock: Clock) -> Self {
        Self { count, store, clock, known: Mutex::default() }
    }

    /// Until when a user of this pool, last seen then, may have been seen without a record: the end of the
    /// last day with lost sign-ins that nobody has accounted for.
    ///
    /// # Errors
    /// Where it can't be found out: then nobody may be disabled.
    pub async fn in_doubt(&self, pool: &str, since: Timestamp) -> Result<Option<Timestamp>> {
        let days = self.days(pool, since).await?;
        let last = days.iter().filter(|day| day.is_open()).map(|day| day.day).max();
        Ok(last.and_then(|day| day.tomorrow().ok()).map(start_of))
    }

    /// The days since then with lost sign-ins of this pool, accounted for or not.
    ///
    /// # Errors
    /// Where CloudWatch or the state can't be read.
    pub async fn days(&self, pool: &str, since: Timestamp) -> Result<Vec<Day>> {
        let lost = self.lost(pool, since).await?;
        if lost.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<String> = lost.keys().map(|day| key(pool, *day)).collect();
        let mut items = HashMap::new();
        for keys in keys.chunks(50) {
            items.extend(self.store.read(keys).await?);
        }
        Ok(lost
            .into_iter()
            .map(|(day, lost)| {
                let item = items.get(&key(pool, day));
                // What can't be read accounts for nothing.
                let accounted = item.and_then(|item| Accounted::deserialize(&item.body).ok());
                Day { day, lost, accounted }
            })
            .collect())
    }

    /// Keeps that the lost sign-ins of a day are accounted for.
    ///
    /// # Errors
    /// Where the state can't be written.
    pub async fn account_for(&self, pool: &str, day: Date, accounted: &Accounted) -> Result<()> {
        let op = Op::Put {
            key: key(pool, day),
            body: json!(accounted),
            etag: uuid::Uuid::new_v4().to_string(),
            expect: Expect::Anything,
            // Nobody's time rests on a day for longer than the longest threshold, ten years.
            expires: start_of(day).checked_add(SignedDuration::from_hours(24 * 3660)).ok(),
        };
        match self.store.commit(&Commit { ops: vec![op], records: Vec::new() }).await {
            Ok(()) => Ok(()),
            Err(CommitError::Failed(error)) => Err(error),
            Err(error) => Err(Error::new(ErrorKind::Transient, error.to_string())),
        }
    }

    async fn lost(&self, pool: &str, since: Timestamp) -> Result<BTreeMap<Date, u64>> {
        let now = (self.clock)();
        let earliest = now.saturating_sub(KEPT).unwrap_or(Timestamp::MIN);
        let since = day_of(since.max(earliest));
        let mut known = self.known.lock().await;
        if let Some(before) = known.get(pool)
            && before.asked.elapsed() < FRESH
            && before.since <= since
        {
            return Ok(before.lost.range(since..).map(|(day, lost)| (*day, *lost)).collect());
        }
        let lost = self.count.by_day(pool, since).await?;
        // A process that lives long meets many pools.
        if known.len() > 1000 {
            known.clear();
        }
        known.insert(pool.to_owned(), Known { asked: Instant::now(), since, lost: lost.clone() });
        Ok(lost)
    }
}

/// The metric, as CloudWatch has it.
pub struct CloudWatch {
    client: aws_sdk_cloudwatch::Client,
    clock: Clock,
}

impl CloudWatch {
    /// The metric of the client's account and Region.
    pub fn new(client: aws_sdk_cloudwatch::Client, clock: Clock) -> Self {
        Self { client, clock }
    }

    async fn ask(&self, pool: &str, since: Date) -> Result<BTreeMap<Date, u64>> {
        let seconds = |at: Timestamp| aws_smithy_types::DateTime::from_secs(at.as_second());
        let found = self
            .client
            .get_metric_statistics()
            .namespace(loss::NAMESPACE)
            .metric_name(loss::METRIC)
            .dimensions(Dimension::builder().name(loss::DIMENSION).value(pool).build())
            .start_time(seconds(start_of(since)))
            // The end is exclusive, and the minute that is under way counts.
            .end_time(seconds(
                (self.clock)().saturating_add(SignedDuration::from_secs(60)).unwrap_or(Timestamp::MAX),
            ))
            .period(DAY)
            .statistics(Statistic::Sum)
            .send()
            .await
            .map_err(|error| Error::from(error).context("lost sign-ins"))?;
        let mut lost = BTreeMap::new();
        for point in found.datapoints.unwrap_or_default() {
            let (Some(at), Some(sum)) = (point.timestamp, point.sum) else {
                return Err(Error::new(ErrorKind::Transient, "lost sign-ins: a sum without its day"));
            };
            let at = Timestamp::from_second(at.secs())
                .map_err(|_| Error::new(ErrorKind::Invalid, "lost sign-ins: a day beyond all time"))?;
            if sum > 0.0 {
                *lost.entry(day_of(at)).or_insert(0) += whole(sum);
            }
        }
        Ok(lost)
    }
}

impl Count for CloudWatch {
    fn by_day<'a>(&'a self, pool: &'a str, since: Date) -> BoxFuture<'a, Result<BTreeMap<Date, u64>>> {
        Box::pin(self.ask(pool, since))
    }
}

/// A count that CloudWatch holds as a float, rounded up.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is positive, and a cast from a float saturates"
)]
fn whole(sum: f64) -> u64 {
    sum.ceil() as u64
}

fn key(pool: &str, day: Date) -> String {
    format!("losses#{pool}#{day}")
}

/// The day of UTC that this is in.
pub fn day_of(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

/// When a day of UTC begins; beyond the end of time, the end of time.
pub fn start_of(day: Date) -> Timestamp {
    day.to_zoned(TimeZone::UTC).map_or(Timestamp::MAX, |zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::sync::Mutex as StdMutex;

    use super::*;
    use crate::store::memory::Memory;

    const POOL: &str = "eu-west-1_AbC123";

    #[derive(Default)]
    struct Counted(StdMutex<BTreeMap<Date, u64>>);

    impl Count for Counted {
        fn by_day<'a>(&'a self, _: &'a str, since: Date) -> BoxFuture<'a, Result<BTreeMap<Date, u64>>> {
            let lost = self.0.lock().unwrap().range(since..).map(|(day, lost)| (*day, *lost)).collect();
            Box::pin(async move { Ok(lost) })
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn losses(days: &[(&str, u64)]) -> (Losses, Arc<Counted>) {
        let count = Arc::new(Counted::default());
        count.0.lock().unwrap().extend(days.iter().map(|(day, lost)| (day.parse::<Date>().unwrap(), *lost)));
        let clock: Clock = Arc::new(|| at("2026-11-23T12:00:00Z"));
        (Losses::new(Arc::clone(&count) as _, Arc::new(Memory::default()), clock), count)
    }

    #[tokio::test]
    async fn the_end_of_the_last_open_day_is_in_doubt() {
        let (losses, _) = losses(&[("2026-08-01", 2), ("2026-08-03", 1), ("2026-07-01", 9)]);
        let doubt = |since: &'static str| losses.in_doubt(POOL, at(since));
        assert_eq!(doubt("2026-07-15T00:00:00Z").await.unwrap(), Some(at("2026-08-04T00:00:00Z")));
        // Seen on the very day: the lost sign-in may have come after.
        assert_eq!(doubt("2026-08-03T23:00:00Z").await.unwrap(), Some(at("2026-08-04T00:00:00Z")));
        assert_eq!(doubt("2026-08-04T00:00:00Z").await.unwrap(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_accounted_for_is_no_doubt_until_more_is_lost() {
        let (losses, count) = losses(&[("2026-08-01", 2)]);
        let day = "2026-08-01".parse().unwrap();
        let since = at("2026-07-15T00:00:00Z");
        let accounted =
            |lost| Accounted { lost, by: "arn:aws:iam::1:user/x".to_owned(), at: since, waived: None };
        losses.account_for(POOL, day, &accounted(1)).await.unwrap();
        assert!(losses.in_doubt(POOL, since).await.unwrap().is_some(), "one of two");
        losses.account_for(POOL, day, &accounted(2)).await.unwrap();
        assert_eq!(losses.in_doubt(POOL, since).await.unwrap(), None);
        count.0.lock().unwrap().insert(day, 3);
        assert_eq!(losses.in_doubt(POOL, since).await.unwrap(), None, "asked a moment ago");
        tokio::time::advance(FRESH).await;
        assert!(losses.in_doubt(POOL, since).await.unwrap().is_some());
        assert_eq!(losses.days(POOL, since).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn what_cannot_be_counted_is_an_error() {
        struct Denied;
        impl Count for Denied {
            fn by_day<'a>(&'a self, _: &'a str, _: Date) -> BoxFuture<'a, Result<BTreeMap<Date, u64>>> {
                Box::pin(async { Err(Error::new(ErrorKind::Denied, "no")) })
            }
        }
        let clock: Clock = Arc::new(Timestamp::now);
        let losses = Losses::new(Arc::new(Denied), Arc::new(Memory::default()), clock);
        assert!(losses.in_doubt(POOL, Timestamp::UNIX_EPOCH).await.is_err());
    }
}
