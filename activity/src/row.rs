//! A row of the activity table: what is known of one user of one pool.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

/// The table's partition key: the pool's id.
pub const POOL: &str = "userpool_id";
/// The table's sort key: the user's `sub`.
pub const SUB: &str = "sub";
/// The name under which Cognito knows the user. It may be an e-mail address, and is never logged.
pub const USERNAME: &str = "username";
/// When the user was last seen, in RFC 3339, UTC.
pub const TIMESTAMP: &str = "timestamp";
/// When the row rings: the table's
/// [TTL attribute](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html), in seconds
/// since 1970.
pub const TTL: &str = "ttl";
/// What the user was last seen by: a trigger's source, or one of the words below.
pub const TRIGGER: &str = "trigger";
/// `false` where the user is only known to exist; absent after a sign-in.
pub const SIGNED_IN: &str = "signed_in";
/// When a person gave the user the time anew, in RFC 3339, UTC.
pub const RESTORED: &str = "restored";
/// When the user's disabling was announced, in RFC 3339, UTC.
pub const WARNED: &str = "warned";
/// How far the user is: a [`Phase`].
pub const PHASE: &str = "phase";
/// The stream event that the row was put back for.
pub const RING: &str = "ring";
/// The run that disabled the user.
pub const RUN: &str = "run";

/// The [`TRIGGER`] of a row that a backfill made from the day on which the user was created.
pub const CREATED: &str = "Backfill_Created";
/// The [`TRIGGER`] of a row that a backfill made from Cognito's own log of sign-ins.
pub const AUTH_EVENT: &str = "Backfill_AuthEvent";

/// How far a user is on the way to being disabled. A sign-in writes a row without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The row rang early: by the rules as they are now, nothing is due.
    NotYet,
    /// It was announced that the user will be disabled.
    Warned,
    /// The user has not been seen for as long as the rule says.
    Due,
    /// The rules exempt the user.
    Exempt,
    /// Redress has disabled the user.
    Disabled,
    /// Somebody else has disabled the user.
    DisabledElsewhere,
}

impl Phase {
    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotYet => "not_yet",
            Self::Warned => "warned",
            Self::Due => "due",
            Self::Exempt => "exempt",
            Self::Disabled => "disabled",
            Self::DisabledElsewhere => "disabled_elsewhere",
        }
    }

    /// The phase of this word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::NotYet, Self::Warned, Self::Due, Self::Exempt, Self::Disabled, Self::DisabledElsewhere]
            .into_iter()
            .find(|phase| phase.as_str() == word)
    }
}

/// What is known of one user.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The pool's id.
    pub pool: String,
    /// The user's `sub`.
    pub sub: String,
    /// The user's name in Cognito; it may be an e-mail address. `None` in rows that others made.
    pub username: Option<String>,
    /// When the user was last seen.
    pub seen: Timestamp,
    /// The same as it stands in the table, where that is another form than ours.
    pub seen_as: Option<String>,
    /// When the row rings, in seconds since 1970; `None` never.
    pub ttl: Option<i64>,
    /// What the user was last seen by.
    pub trigger: Option<String>,
    /// Whether a sign-in is known at all.
    pub signed_in: bool,
    /// When a person gave the user the time anew.
    pub restored: Option<Timestamp>,
    /// When the disabling was announced.
    pub warned: Option<Timestamp>,
    /// How far the user is.
    pub phase: Option<Phase>,
    /// The stream event that the row was put back for.
    pub ring: Option<String>,
    /// The run that disabled the user.
    pub run: Option<String>,
    /// Attributes of others, kept as they are.
    pub rest: HashMap<String, AttributeValue>,
}

/// A row that can't be read. It proves nothing, and must not pass for one that is missing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the activity row has no readable `{0}`")]
pub struct Unreadable(pub &'static str);

impl Row {
    /// A row for a user who is seen now.
    pub fn seen(pool: &str, sub: &str, username: &str, trigger: &str, at: Timestamp) -> Self {
        Self {
            pool: pool.to_owned(),
            sub: sub.to_owned(),
            username: Some(username.to_owned()),
            seen: at,
            seen_as: None,
            ttl: None,
            trigger: Some(trigger.to_owned()),
            signed_in: true,
            restored: None,
            warned: None,
            phase: None,
            ring: None,
            run: None,
            rest: HashMap::new(),
        }
    }

    /// From when on the user's inactivity counts: the last sight, or a restore after it.
    pub fn since(&self) -> Timestamp {
        self.restored.map_or(self.seen, |restored| restored.max(self.seen))
    }

    /// [`TIMESTAMP`] as it stands in the table: rows of others may hold it in another form than ours.
    pub fn timestamp(&self) -> String {
        self.seen_as.clone().unwrap_or_else(|| written(self.seen))
    }

    /// The row as the table holds it.
    pub fn item(&self) -> HashMap<String, AttributeValue> {
        let mut item = self.rest.clone();
        let mut text = |name: &str, value: &str| {
            item.insert(name.to_owned(), AttributeValue::S(value.to_owned()));
        };
        text(POOL, &self.pool);
        text(SUB, &self.sub);
        text(TIMESTAMP, &self.timestamp());
        for (name, value) in [
            (USERNAME, &self.username),
            (TRIGGER, &self.trigger),
            (RING, &self.ring),
            (RUN, &self.run),
            (RESTORED, &self.restored.map(written)),
            (WARNED, &self.warned.map(written)),
            (PHASE, &self.phase.map(|phase| phase.as_str().to_owned())),
        ] {
            if let Some(value) = value {
                text(name, value);
            }
        }
        if let Some(ttl) = self.ttl {
            item.insert(TTL.to_owned(), AttributeValue::N(ttl.to_string()));
        }
        if !self.signed_in {
            item.insert(SIGNED_IN.to_owned(), AttributeValue::Bool(false));
        }
        item
    }

    /// Reads an item of the table.
    ///
    /// # Errors
    /// Names the attribute that is missing or of another form. An unknown phase is one: whoever wrote it
    /// knows something that this version does not.
    pub fn read(item: &HashMap<String, AttributeValue>) -> Result<Self, Unreadable> {
        let mut rest = item.clone();
        let mut text = |name: &'static str| match rest.remove(name) {
            None => Ok(None),
            Some(AttributeValue::S(value)) if !value.is_empty() => Ok(Some(value)),
            Some(_) => Err(Unreadable(name)),
        };
        let pool = text(POOL)?.ok_or(Unreadable(POOL))?;
        let sub = text(SUB)?.ok_or(Unreadable(SUB))?;
        let seen_as = text(TIMESTAMP)?.ok_or(Unreadable(TIMESTAMP))?;
        let seen = time(&seen_as).ok_or(Unreadable(TIMESTAMP))?;
        let seen_as = Some(seen_as).filter(|text| *text != written(seen));
        let username = text(USERNAME)?;
        let trigger = text(TRIGGER)?;
        let ring = text(RING)?;
        let run = text(RUN)?;
        let mut instant =
            |name: &'static str| text(name)?.map(|text| time(&text).ok_or(Unreadable(name))).transpose();
        let restored = instant(RESTORED)?;
        let warned = instant(WARNED)?;
        let phase = text(PHASE)?.map(|word| Phase::parse(&word).ok_or(Unreadable(PHASE))).transpose()?;
        let ttl = match rest.remove(TTL) {
            None => None,
            Some(AttributeValue::N(number)) => Some(number.parse().map_err(|_| Unreadable(TTL))?),
            Some(_) => return Err(Unreadable(TTL)),
        };
        let signed_in = match rest.remove(SIGNED_IN) {
            None => true,
            Some(AttributeValue::Bool(known)) => known,
            Some(_) => return Err(Unreadable(SIGNED_IN)),
        };
        Ok(Self {
            pool,
            sub,
            username,
            seen,
            seen_as,
            ttl,
            trigger,
            signed_in,
            restored,
            warned,
            phase,
            ring,
            run,
            rest,
        })
    }

    /// The key of a user's row.
    pub fn key(pool: &str, sub: &str) -> HashMap<String, AttributeValue> {
        HashMap::from([
            (POOL.to_owned(), AttributeValue::S(pool.to_owned())),
            (SUB.to_owned(), AttributeValue::S(sub.to_owned())),
        ])
    }
}

/// A time as rows hold it: milliseconds, UTC, so that texts sort as the times do.
pub fn written(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// RFC 3339; a time without offset, as Python's `isoformat` writes it, is one of UTC.
pub fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok().or_else(|| {
        let civil: DateTime = text.parse().ok()?;
        civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    const POOL_ID: &str = "eu-west-1_AbC123";
    const SUB_ID: &str = "0b7d5c1e-6a2f-4c55-9c3e-2f1f6a7d8e90";

    fn row() -> Row {
        let at = "2026-08-01T10:11:12.345Z".parse().unwrap();
        Row::seen(POOL_ID, SUB_ID, "mary", "PostAuthentication_Authentication", at)
    }

    #[test]
    fn what_is_written_is_read() {
        let full = Row {
            ttl: Some(1_790_000_000),
            signed_in: false,
            restored: Some("2026-09-01T00:00:00Z".parse().unwrap()),
            warned: Some("2026-10-01T00:00:00Z".parse().unwrap()),
            phase: Some(Phase::Due),
            ring: Some("ring".to_owned()),
            run: Some("run".to_owned()),
            rest: HashMap::from([("team".to_owned(), AttributeValue::S("blue".to_owned()))]),
            ..row()
        };
        for row in [row(), full] {
            assert_eq!(Row::read(&row.item()).unwrap(), row);
        }
        assert_eq!(row().item().len(), 5, "{:?}", row().item());
    }

    #[test]
    fn rows_of_others_are_read_where_they_say_enough() {
        let mut item = Row::key(POOL_ID, SUB_ID);
        assert_eq!(Row::read(&item), Err(Unreadable(TIMESTAMP)));
        item.insert(TIMESTAMP.to_owned(), AttributeValue::S("2026-08-01T10:11:12.345678".to_owned()));
        let read = Row::read(&item).unwrap();
        assert_eq!(read.seen, "2026-08-01T10:11:12.345678Z".parse().unwrap());
        assert!(read.signed_in && read.username.is_none() && read.ttl.is_none());
        for (name, value) in [
            (TIMESTAMP, AttributeValue::S("yesterday".to_owned())),
            (TIMESTAMP, AttributeValue::N("1".to_owned())),
            (TTL, AttributeValue::S("1".to_owned())),
            (PHASE, AttributeValue::S("gone".to_owned())),
            (SIGNED_IN, AttributeValue::S("no".to_owned())),
            (RESTORED, AttributeValue::S("x".to_owned())),
            (SUB, AttributeValue::S(String::new())),
        ] {
            let mut broken = item.clone();
            broken.insert(name.to_owned(), value);
            assert_eq!(Row::read(&broken), Err(Unreadable(name)));
        }
    }

    #[test]
    fn a_restore_gives_the_time_anew_and_never_less() {
        let early = Row { restored: Some("2026-07-01T00:00:00Z".parse().unwrap()), ..row() };
        assert_eq!(early.since(), early.seen);
        let late = Row { restored: Some("2026-09-01T00:00:00Z".parse().unwrap()), ..row() };
        assert_eq!(Some(late.since()), late.restored);
    }
}
