//! Expiries: rows of the activity table that their time to live has run out for.
//!
//! An expiry is an alarm clock, not a decision. `DynamoDB`'s own clock
//! [lags by days](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html), rules change, and
//! the user may have signed in meanwhile; so the row is put back first, on condition that there is none, and
//! what it says is compared with the time and the rules of now. [`decide`] is that comparison.

use std::collections::HashMap;

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use redress_activity::row::{self, Phase, Row};
use redress_remediators::{LastSeen, cognito::policy::Policy};
use serde::Deserialize;
use serde_json::Value;

use crate::{activity::seen, event::shown};

/// When a row rings again that is waiting for somebody: a person, a cap, a log to be read.
const TOMORROW: SignedDuration = SignedDuration::from_hours(24);

/// When a row rings again of a user whom nothing is to be done about as things are.
const NEXT_MONTH: SignedDuration = SignedDuration::from_hours(24 * 30);

/// One record of the activity table's
/// [stream](https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html), of which nothing is taken for granted.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Raw {
    #[serde(rename = "eventID")]
    event_id: Option<String>,
    event_name: Option<String>,
    user_identity: Option<Identity>,
    dynamodb: Option<Images>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Identity {
    #[serde(rename = "type")]
    kind: Option<String>,
    principal_id: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Images {
    sequence_number: Option<String>,
    keys: Option<Value>,
    old_image: Option<Value>,
}

/// Whose row a record is about, as far as it can be told. Fit to be logged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whose {
    /// The pool's id.
    pub pool: String,
    /// The user's `sub`.
    pub sub: String,
    /// The record's own id.
    pub event: String,
    /// The record's place in the stream; what Lambda is told if it must come again.
    pub sequence: String,
}

/// What a record of the stream is.
#[derive(Clone, Debug, PartialEq)]
pub enum Read {
    /// A row has run out.
    Expired(Box<Row>),
    /// Anything else: somebody wrote or deleted a row. Why it is none of ours, in a line.
    Other(String),
    /// An expiry that can't be read, and why.
    Poison(String),
}

/// Reads a record of the stream.
pub fn read(record: &str) -> (Whose, Read) {
    let raw: Raw = match serde_json::from_str(record) {
        Ok(raw) => raw,
        Err(error) => {
            return (
                Whose::default(),
                Read::Poison(format!("no stream record: {}", shown(&error.to_string()))),
            );
        }
    };
    let images = raw.dynamodb.unwrap_or_default();
    let key = |name: &str| {
        let text = |image: Option<&Value>| image?.get(name)?.get("S")?.as_str().map(shown);
        text(images.keys.as_ref()).or_else(|| text(images.old_image.as_ref())).unwrap_or_default()
    };
    let whose = Whose {
        pool: key(row::POOL),
        sub: key(row::SUB),
        event: raw.event_id.clone().unwrap_or_default(),
        sequence: images.sequence_number.clone().unwrap_or_default(),
    };
    let read = match (raw.event_name.as_deref(), raw.user_identity) {
        (Some("REMOVE"), Some(Identity { kind: Some(kind), principal_id: Some(by) }))
            if kind == "Service" && by == "dynamodb.amazonaws.com" =>
        {
            expired(images.old_image.as_ref(), &whose)
        }
        (Some("REMOVE"), Some(Identity { principal_id: Some(by), .. })) => {
            Read::Other(format!("deleted by `{}`, not by its time to live", shown(&by)))
        }
        // Also what a replica of a global table deletes: only the Region in which a row runs out says so.
        (Some("REMOVE"), _) => Read::Other("deleted by somebody, not by its time to live".to_owned()),
        (Some(name @ ("INSERT" | "MODIFY")), _) => Read::Other(format!("{name}: only expiries are acted on")),
        (Some(name), _) => Read::Other(format!("`{}` is no kind of stream record", shown(name))),
        (None, _) => Read::Poison("no stream record: it has no `eventName`".to_owned()),
    };
    (whose, read)
}

fn expired(image: Option<&Value>, whose: &Whose) -> Read {
    let Some(Value::Object(image)) = image else {
        return Read::Poison("the stream has no old images".to_owned());
    };
    if whose.event.is_empty() {
        return Read::Poison("the record has no `eventID`".to_owned());
    }
    let mut item = HashMap::new();
    for (name, value) in image {
        match attribute(value) {
            Some(value) => drop(item.insert(name.clone(), value)),
            None => return Read::Poison(format!("attribute `{}` can't be read", shown(name))),
        }
    }
    match Row::read(&item) {
        Ok(row) if shown(&row.pool) == whose.pool && shown(&row.sub) == whose.sub => {
            Read::Expired(Box::new(row))
        }
        Ok(_) => Read::Poison("keys and old image are of two rows".to_owned()),
        Err(unreadable) => Read::Poison(unreadable.to_string()),
    }
}

/// An attribute in
/// [DynamoDB's JSON](https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_AttributeValue.html).
fn attribute(value: &Value) -> Option<AttributeValue> {
    let map = value.as_object()?;
    let (kind, value) = map.iter().next().filter(|_| map.len() == 1)?;
    let texts =
        || value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
    let bytes = |value: &Value| STANDARD.decode(value.as_str()?).ok().map(Blob::new);
    Some(match kind.as_str() {
        "S" => AttributeValue::S(value.as_str()?.to_owned()),
        "N" => AttributeValue::N(value.as_str()?.to_owned()),
        "BOOL" => AttributeValue::Bool(value.as_bool()?),
        "NULL" => AttributeValue::Null(value.as_bool()?),
        "B" => AttributeValue::B(bytes(value)?),
        "SS" => AttributeValue::Ss(texts()?),
        "NS" => AttributeValue::Ns(texts()?),
        "BS" => AttributeValue::Bs(value.as_array()?.iter().map(bytes).collect::<Option<_>>()?),
        "L" => AttributeValue::L(value.as_array()?.iter().map(attribute).collect::<Option<_>>()?),
        "M" => AttributeValue::M(
            value
                .as_object()?
                .iter()
                .map(|(name, value)| Some((name.clone(), attribute(value)?)))
                .collect::<Option<_>>()?,
        ),
        _ => return None,
    })
}

/// What a row that has run out is put back as, by the policy of now; `None`: no rule is for the user.
pub fn decide(row: &Row, policy: Option<&Policy>, event: &str, at: Timestamp) -> Row {
    let back = |phase, ttl: Option<Timestamp>, warned| Row {
        phase,
        ttl: ttl.map(Timestamp::as_second),
        warned,
        ring: Some(event.to_owned()),
        ..row.clone()
    };
    // It rests until somebody enables the user.
    if row.phase == Some(Phase::Disabled) {
        return back(row.phase, None, row.warned);
    }
    let Some(policy) = policy else {
        return back(Some(Phase::NotYet), Some(later(at, NEXT_MONTH)), row.warned);
    };
    let seen = seen(row);
    let schedule = policy.schedule(&seen, at);
    let warns = schedule.warn_at.is_some_and(|warn_at| warn_at <= at);
    let warned = if warns { Some(at) } else { row.warned };
    let next = policy.schedule(&LastSeen { warned, ..seen }, at).next(at);
    if schedule.due_at <= at {
        let tomorrow = later(at, TOMORROW);
        return back(Some(Phase::Due), Some(next.unwrap_or(tomorrow).min(tomorrow)), warned);
    }
    let announced = warns || (policy.warn_days > 0 && schedule.warn_at.is_none());
    back(Some(if announced { Phase::Warned } else { Phase::NotYet }), next, warned)
}

/// A row of a user whom nothing is to be done about as things are.
pub fn rest(row: &Row, phase: Phase, at: Timestamp) -> Row {
    Row { phase: Some(phase), ttl: Some(later(at, NEXT_MONTH).as_second()), ..row.clone() }
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
    use serde_json::json;

    use super::*;

    const POOL: &str = "eu-west-1_AbC123";
    const SUB: &str = "0b7d5c1e-6a2f-4c55-9c3e-2f1f6a7d8e90";

    fn record() -> Value {
        json!({
            "eventID": "e-1",
            "eventName": "REMOVE",
            "eventSource": "aws:dynamodb",
            "userIdentity": { "type": "Service", "principalId": "dynamodb.amazonaws.com" },
            "dynamodb": {
                "ApproximateCreationDateTime": 1_790_000_000,
                "Keys": { "userpool_id": { "S": POOL }, "sub": { "S": SUB } },
                "OldImage": {
                    "userpool_id": { "S": POOL },
                    "sub": { "S": SUB },
                    "username": { "S": "mary" },
                    "timestamp": { "S": "2026-08-01T00:00:00.000Z" },
                    "ttl": { "N": "1793000000" },
                    "tags": { "M": { "a": { "L": [{ "NULL": true }, { "BOOL": false }] }, "b": { "SS": ["x"] } } },
                },
                "SequenceNumber": "1000",
                "StreamViewType": "NEW_AND_OLD_IMAGES",
            },
        })
    }

    fn read_with(change: impl FnOnce(&mut Value)) -> (Whose, Read) {
        let mut record = record();
        change(&mut record);
        read(&record.to_string())
    }

    fn day(day: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * day)
    }

    fn row(seen: i64) -> Row {
        Row::seen(POOL, SUB, "mary", "x", day(seen))
    }

    #[test]
    fn an_expiry_is_read_with_all_its_attributes() {
        let (whose, Read::Expired(row)) = read_with(|_| {}) else { panic!("not read") };
        assert_eq!((whose.pool.as_str(), whose.sub.as_str(), whose.sequence.as_str()), (POOL, SUB, "1000"));
        assert_eq!(row.username.as_deref(), Some("mary"));
        assert_eq!(row.rest.len(), 1);
    }

    #[test]
    fn what_others_did_is_none_of_ours() {
        let other = |change: &dyn Fn(&mut Value)| match read_with(change) {
            (whose, Read::Other(why)) => {
                assert_eq!(whose.sub, SUB);
                why
            }
            other => panic!("{other:?}"),
        };
        assert!(other(&|record| record["eventName"] = json!("INSERT")).contains("INSERT"));
        assert!(other(&|record| record["eventName"] = json!("MODIFY")).contains("MODIFY"));
        assert!(other(&|record| record["eventName"] = json!("DROP\u{1b}")).contains("no kind"));
        // A person, a replica, another service.
        assert!(
            other(&|record| drop(record.as_object_mut().unwrap().remove("userIdentity")))
                .contains("somebody")
        );
        assert!(other(&|record| record["userIdentity"] = json!(null)).contains("somebody"));
        let by = |identity: Value| move |record: &mut Value| record["userIdentity"] = identity.clone();
        assert!(
            other(&by(json!({ "type": "Service", "principalId": "replication.dynamodb.amazonaws.com" })))
                .contains("replication")
        );
        assert!(
            other(&by(json!({ "type": "User", "principalId": "dynamodb.amazonaws.com" })))
                .contains("deleted")
        );
    }

    #[test]
    fn an_expiry_that_cannot_be_read_is_poison_with_its_ids() {
        for change in [
            (|record| record["dynamodb"]["OldImage"] = json!(null)) as fn(&mut Value),
            |record| record["dynamodb"]["OldImage"]["timestamp"] = json!({ "S": "yesterday" }),
            |record| record["dynamodb"]["OldImage"]["ttl"] = json!({ "N": 7 }),
            |record| record["dynamodb"]["OldImage"]["sub"] = json!({ "S": "another" }),
            |record| record["dynamodb"]["OldImage"]["odd"] = json!({ "Q": "x" }),
            |record| record["eventID"] = json!(null),
        ] {
            let (whose, read) = read_with(change);
            assert!(matches!(read, Read::Poison(_)), "{read:?}");
            assert_eq!((whose.sub.as_str(), whose.sequence.as_str()), (SUB, "1000"));
        }
        for text in ["7", "[]", "\"x\"", "{}", r#"{"eventName":7}"#, r#"{"dynamodb":[]}"#] {
            assert!(matches!(read(text).1, Read::Poison(_)), "{text}");
        }
    }

    #[test]
    fn a_row_that_rings_early_is_put_back_for_its_day() {
        let policy = Policy::default();
        let back = decide(&row(0), Some(&policy), "e", day(50));
        assert_eq!((back.phase, back.ttl), (Some(Phase::NotYet), Some(day(90).as_second())));
        assert_eq!((back.seen, back.ring.as_deref()), (day(0), Some("e")));
        let back = decide(&row(0), None, "e", day(500));
        assert_eq!((back.phase, back.ttl), (Some(Phase::NotYet), Some(day(530).as_second())));
    }

    #[test]
    fn who_is_due_rings_every_day_until_it_is_settled() {
        let policy = Policy { grace_days: 14, ..Policy::default() };
        let back = decide(&row(0), Some(&policy), "e", day(90));
        assert_eq!((back.phase, back.ttl), (Some(Phase::Due), Some(day(91).as_second())));
        let back = decide(&row(0), Some(&Policy::default()), "e", day(400));
        assert_eq!((back.phase, back.ttl), (Some(Phase::Due), Some(day(401).as_second())));
    }

    #[test]
    fn the_first_ring_warns_and_the_second_is_the_thresholds() {
        let policy = Policy { warn_days: 7, ..Policy::default() };
        let first = decide(&row(0), Some(&policy), "e", day(83));
        assert_eq!((first.phase, first.ttl), (Some(Phase::Warned), Some(day(90).as_second())));
        assert_eq!(first.warned, Some(day(83)));
        let second = decide(&first, Some(&policy), "e", day(90));
        assert_eq!((second.phase, second.warned), (Some(Phase::Due), Some(day(83))));
        // The table's clock lagged: the announcement has its days all the same.
        let late = decide(&row(0), Some(&policy), "e", day(88));
        assert_eq!((late.phase, late.ttl), (Some(Phase::Warned), Some(day(90).as_second())));
        let very_late = decide(&row(0), Some(&policy), "e", day(95));
        assert_eq!((very_late.phase, very_late.warned), (Some(Phase::Due), Some(day(95))));
    }

    #[test]
    fn who_is_disabled_rests() {
        let disabled = Row { phase: Some(Phase::Disabled), ..row(0) };
        assert_eq!(decide(&disabled, Some(&Policy::default()), "e", day(400)).ttl, None);
    }
}
