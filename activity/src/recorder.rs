//! The recorder: one row of the activity table for each sign-in, and never a sign-in the less.
//!
//! It stands between a user and a token. Whatever fails here is logged and counted ([`crate::loss`]), and the
//! event goes back as it came, in time: Cognito waits
//! [five seconds](https://docs.aws.amazon.com/cognito/latest/developerguide/cognito-user-pools-working-with-lambda-triggers.html#important-lambda-considerations),
//! and fails the sign-in when the answer is late or an error.
//!
//! | variable | meaning | without it |
//! |---|---|---|
//! | `REDRESS_ACTIVITY_TABLE` | the DynamoDB table; the function's role needs `GetItem` and `PutItem` on it | every sign-in is lost, and said to be |
//! | `REDRESS_INTERVAL_MINUTES` | a row younger than this is not written again; `0` writes every time, and reads never | `60` |
//! | `REDRESS_TTL_DAYS` | how long after a sign-in its row expires | `90` |
//! | `REDRESS_COUNT_PASSWORD_RESET` | `on` or `off`: whether a password that was reset counts as a sign-in | `off` |
//! | `REDRESS_CA_BUNDLE` | PEM file of certificate authorities, or `system` | Amazon's own |
//!
//! A value that can't be used is logged, and its default holds; without certificates every sign-in is lost.

use std::{
    io::{self, Write as _},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_sdk_dynamodb::{
    Client,
    config::{retry::RetryConfig, timeout::TimeoutConfig},
    error::{ProvideErrorMetadata, SdkError},
    operation::{get_item::GetItemOutput, put_item::PutItemOutput},
    types::AttributeValue,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    environment::{Roots, function_config, seed, variable},
    loss::{Loss, unreadable},
    memory::{Known, Memory},
    row::{self, Row},
    trigger::{self, Reading, Sight},
};

/// All calls together, from the receipt of the event.
const PATIENCE: Duration = Duration::from_secs(1);
/// Of that, what the read may take: a write must still be possible after it.
const READ_PATIENCE: Duration = Duration::from_millis(300);
const CONNECT_PATIENCE: Duration = Duration::from_millis(300);
const ATTEMPT_PATIENCE: Duration = Duration::from_millis(450);
const ATTEMPTS: u32 = 2;
const BACKOFF: Duration = Duration::from_millis(50);
/// The users that a process remembers: some 2 MB.
const REMEMBERED: usize = 10_000;

const DEFAULT_INTERVAL: u32 = 60;
/// A day: the shortest time in which a rule can put a phase into a row, which memory would not know of.
const LONGEST_INTERVAL: u32 = 24 * 60;
const DEFAULT_TTL: u32 = 90;
const LONGEST_TTL: u32 = 3_650;
const DAY: i64 = 24 * 60 * 60;

/// What the recorder is told by its environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// After this time a row is written anew.
    pub interval: SignedDuration,
    /// A row's time to live, in days. It rings no later than the first day on which a rule has something to
    /// say of the user; when it rings early, it is set anew.
    pub ttl_days: u32,
    /// Whether a password that was reset counts as a sign-in.
    pub password_reset: bool,
}

impl Settings {
    /// Reads `REDRESS_INTERVAL_MINUTES`, `REDRESS_TTL_DAYS` and `REDRESS_COUNT_PASSWORD_RESET`. What can't be
    /// used is logged, and its default holds.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let number = |name: &str, default: u32, allowed: std::ops::RangeInclusive<u32>| {
            let Some(text) = variable(name) else { return default };
            text.parse().ok().filter(|number| allowed.contains(number)).unwrap_or_else(|| {
                complain(&format!("{name} is no number from {} to {}", allowed.start(), allowed.end()));
                default
            })
        };
        let minutes = number("REDRESS_INTERVAL_MINUTES", DEFAULT_INTERVAL, 0..=LONGEST_INTERVAL);
        let password_reset = match variable("REDRESS_COUNT_PASSWORD_RESET").as_deref() {
            Some("on") => true,
            None | Some("off") => false,
            Some(_) => {
                complain("REDRESS_COUNT_PASSWORD_RESET is neither on nor off");
                false
            }
        };
        Self {
            interval: SignedDuration::from_mins(minutes.into()),
            ttl_days: number("REDRESS_TTL_DAYS", DEFAULT_TTL, 1..=LONGEST_TTL),
            password_reset,
        }
    }
}

/// The activity table.
#[derive(Clone, Debug)]
struct Table {
    client: Client,
    name: String,
}

/// Takes the sights of users down.
#[derive(Debug)]
pub struct Recorder {
    settings: Settings,
    /// Else why there is none.
    table: Result<Table, &'static str>,
    memory: Mutex<Memory>,
}

impl Recorder {
    /// A recorder as the environment says. Where that is not enough, it loses every sight, and says so at each:
    /// a function that does not start would let nobody in.
    pub fn from_environment() -> Self {
        let settings = Settings::read(variable);
        let table = match (variable("REDRESS_ACTIVITY_TABLE"), client()) {
            (Some(name), Ok(client)) => Ok(Table { client, name }),
            (None, _) => {
                complain("REDRESS_ACTIVITY_TABLE is not in the environment");
                Err("not configured")
            }
            (_, Err(why)) => {
                complain(&why);
                Err("not configured")
            }
        };
        Self { settings, table, memory: Mutex::new(Memory::of(REMEMBERED)) }
    }

    /// Records what an event says, within a second of its receipt. There is nothing to be told of it.
    pub async fn observe(&self, event: &str) {
        let (received, at) = (Instant::now(), Timestamp::now());
        match trigger::read(event, self.settings.password_reset) {
            Reading::Nothing => {}
            Reading::Unreadable { lacks, pool } => print(&unreadable(at, lacks, pool.as_deref())),
            Reading::Seen(sight) => {
                let recorded = timeout_at(received + PATIENCE, self.record(&sight, at)).await;
                if let Err(why) = recorded.unwrap_or(Err("timeout")) {
                    print(&loss(&sight, at).line(why));
                }
            }
        }
    }

    async fn record(&self, sight: &Sight, at: Timestamp) -> Result<(), &'static str> {
        let table = self.table.as_ref().map_err(|why| *why)?;
        let covers = |known: &Known| known.covers(sight.signed_in, at, self.settings.interval);
        let mut known = self.memory().recall(sight);
        if known.as_ref().is_some_and(covers) {
            return Ok(());
        }
        if !self.settings.interval.is_zero() {
            // What can't be read may be anything, and is written.
            let read = timeout(READ_PATIENCE, table.read(sight)).await;
            if let Ok(Ok(found)) = read {
                known = found.as_ref().and_then(known_of);
            }
        }
        if let Some(known) = known.filter(covers) {
            self.memory().remember(sight, known);
            return Ok(());
        }
        // A sign-up can't make a sign-in unknown, in whichever order they arrive.
        let signed_in = sight.signed_in || known.is_some_and(|known| known.signed_in);
        let ttl = at.as_second().saturating_add(i64::from(self.settings.ttl_days).saturating_mul(DAY));
        let mut row = Row::seen(&sight.pool, &sight.sub, "", &sight.trigger, at);
        row.username.clone_from(&sight.username);
        row.signed_in = signed_in;
        row.ttl = Some(ttl);
        table.write(&row).await?;
        self.memory().remember(sight, Known { seen: at, signed_in, phase: false });
        Ok(())
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Eventually consistent, at half the price: what is missed is written once more.
    async fn read(&self, sight: &Sight) -> Result<Option<Item>, &'static str> {
        let found = self
            .client
            .get_item()
            .table_name(&self.name)
            .set_key(Some(Row::key(&sight.pool, &sight.sub)))
            .projection_expression("#timestamp, #phase, #signed_in")
            .expression_attribute_names("#timestamp", row::TIMESTAMP)
            .expression_attribute_names("#phase", row::PHASE)
            .expression_attribute_names("#signed_in", row::SIGNED_IN)
            .send()
            .await;
        found.map(|GetItemOutput { item, .. }| item).map_err(|error| class(&error))
    }

    async fn write(&self, row: &Row) -> Result<(), &'static str> {
        let written = self.client.put_item().table_name(&self.name).set_item(Some(row.item())).send().await;
        written.map(|PutItemOutput { .. }| ()).map_err(|error| class(&error))
    }
}

type Item = std::collections::HashMap<String, AttributeValue>;

/// `None` of a row whose time can't be read.
fn known_of(item: &Item) -> Option<Known> {
    let AttributeValue::S(text) = item.get(row::TIMESTAMP)? else { return None };
    Some(Known {
        seen: row::time(text)?,
        signed_in: !matches!(item.get(row::SIGNED_IN), Some(AttributeValue::Bool(false))),
        phase: item.contains_key(row::PHASE),
    })
}

fn client() -> Result<Client, String> {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_PATIENCE)
        .operation_attempt_timeout(ATTEMPT_PATIENCE)
        .operation_timeout(PATIENCE)
        .build();
    let retries = RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(BACKOFF);
    let roots = match variable("REDRESS_CA_BUNDLE").as_deref() {
        None => Roots::Amazon,
        Some("system") => Roots::System,
        Some(path) => {
            Roots::Pem(std::fs::read(path).map_err(|_| "REDRESS_CA_BUNDLE can't be read".to_owned())?)
        }
    };
    let config = function_config(&roots, timeouts, retries).map_err(|error| error.to_string())?;
    // An emulator may do without TLS.
    if config.endpoint_url().is_none_or(|url| !url.starts_with("http:")) {
        seed();
    }
    Ok(Client::new(&config))
}

/// What kind of failure it is, in words that hold nothing of the request.
fn class<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> &'static str {
    match error {
        SdkError::TimeoutError(_) => "timeout",
        SdkError::DispatchFailure(failure) if failure.is_timeout() => "timeout",
        SdkError::DispatchFailure(_) => "unreachable",
        SdkError::ResponseError(_) => "unreadable answer",
        SdkError::ServiceError(service) => {
            refusal(service.err().code().unwrap_or_default(), service.raw().status().as_u16())
        }
        _ => "not sent",
    }
}

/// [DynamoDB's errors](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html),
/// by code before status: nearly all of them come with 400.
fn refusal(code: &str, status: u16) -> &'static str {
    match code {
        "ProvisionedThroughputExceededException" | "RequestLimitExceeded" => "throttled",
        "UnrecognizedClientException"
        | "MissingAuthenticationTokenException"
        | "IncompleteSignatureException"
        | "InvalidSignatureException"
        | "ExpiredTokenException" => "denied",
        "ResourceNotFoundException" => "no table",
        _ if code.starts_with("Throttl") => "throttled",
        _ if code.starts_with("AccessDenied") => "denied",
        _ if status >= 500 => "unavailable",
        _ if status < 300 => "unreadable answer",
        _ => "refused",
    }
}

fn loss(sight: &Sight, at: Timestamp) -> Loss {
    Loss {
        pool: sight.pool.clone(),
        sub: sight.sub.clone(),
        at,
        trigger: sight.trigger.clone(),
        signed_in: sight.signed_in,
    }
}

/// Says what is wrong with the environment.
fn complain(what: &str) {
    print(&serde_json::json!({ "level": "ERROR", "message": what }).to_string());
}

/// A line of the log, which is also the channel that the metric format asks for. `println!` would panic where
/// nobody reads.
fn print(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cant_be_used_leave_the_defaults() {
        let read = |minutes: &str, days: &str, reset: &str| {
            let of = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            Settings::read(|name| match name {
                "REDRESS_INTERVAL_MINUTES" => of(minutes),
                "REDRESS_TTL_DAYS" => of(days),
                _ => of(reset),
            })
        };
        let settings = |minutes, ttl_days, password_reset| Settings {
            interval: SignedDuration::from_mins(minutes),
            ttl_days,
            password_reset,
        };
        assert_eq!(read("", "", ""), settings(60, 90, false));
        assert_eq!(read("0", "1", "on"), settings(0, 1, true));
        assert_eq!(read("1440", "3650", "off"), settings(1_440, 3_650, false));
        for (minutes, days, reset) in [("1441", "0", "yes"), ("-1", "x", "true"), ("1.5", "3651", "ON")] {
            assert_eq!(read(minutes, days, reset), settings(60, 90, false));
        }
    }

    #[test]
    fn a_row_is_known_by_what_can_be_read_of_it() {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let mut item = Item::from([(row::TIMESTAMP.to_owned(), text("2026-08-01T10:00:00.000Z"))]);
        let seen = "2026-08-01T10:00:00Z".parse().unwrap_or_default();
        assert_eq!(known_of(&item), Some(Known { seen, signed_in: true, phase: false }));
        // Whatever the phase is, it is one.
        item.insert(row::PHASE.to_owned(), AttributeValue::Null(true));
        item.insert(row::SIGNED_IN.to_owned(), AttributeValue::Bool(false));
        assert_eq!(known_of(&item), Some(Known { seen, signed_in: false, phase: true }));
        item.insert(row::TIMESTAMP.to_owned(), text("yesterday"));
        assert_eq!(known_of(&item), None);
        assert_eq!(known_of(&Item::new()), None);
    }

    #[test]
    fn refusals_are_told_apart() {
        for (code, status, class) in [
            ("ThrottlingException", 400, "throttled"),
            ("ProvisionedThroughputExceededException", 400, "throttled"),
            ("AccessDeniedException", 400, "denied"),
            ("ExpiredTokenException", 400, "denied"),
            ("ResourceNotFoundException", 400, "no table"),
            ("InternalServerError", 500, "unavailable"),
            ("", 503, "unavailable"),
            ("", 200, "unreadable answer"),
            ("ValidationException", 400, "refused"),
        ] {
            assert_eq!(refusal(code, status), class, "{code}");
        }
    }
}
