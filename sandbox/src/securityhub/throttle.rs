//! Rates of calls that are let through.

use std::collections::HashMap;

use jiff::Timestamp;

use super::{Caller, Operation};

/// A token bucket for each account, Region and operation.
#[derive(Clone, Debug)]
pub struct Throttle {
    uniform: Option<(f64, f64)>,
    buckets: HashMap<(String, String, Operation), (f64, Timestamp)>,
}

impl Throttle {
    /// The rates that AWS documents, in calls a second and burst: `GetFindings` 3 and 6, all others that
    /// are served here 10 and 30
    /// ([API reference](https://docs.aws.amazon.com/securityhub/1.0/APIReference/Welcome.html)).
    pub fn documented() -> Self {
        Self { uniform: None, buckets: HashMap::new() }
    }

    /// One rate (calls a second) and one burst (calls at once) for every operation.
    pub fn uniform(rate: f64, burst: f64) -> Self {
        Self { uniform: Some((rate, burst)), buckets: HashMap::new() }
    }

    /// Takes a token, if there is one.
    pub(super) fn admits(&mut self, caller: &Caller, operation: Operation, now: Timestamp) -> bool {
        let documented = if operation == Operation::GetFindings { (3.0, 6.0) } else { (10.0, 30.0) };
        let (rate, burst) = self.uniform.unwrap_or(documented);
        let key = (caller.account.clone(), caller.region.clone(), operation);
        let (tokens, last) = self.buckets.entry(key).or_insert((burst, now));
        let seconds = now.duration_since(*last).as_secs_f64().max(0.0);
        *tokens = (*tokens + seconds * rate).min(burst);
        *last = now;
        let admitted = *tokens >= 1.0;
        if admitted {
            *tokens -= 1.0;
        }
        admitted
    }
}
